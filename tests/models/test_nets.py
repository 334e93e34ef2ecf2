"""The networks' weights, from files and from elsewhere, and what building one leaves and imports."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from capetune.config import ModelConfig
from capetune.errors import UserError
from capetune.models.backbone import Backbone

Make = Callable[..., ModelConfig]


def test_a_missing_file_names_the_key(make_config: Make, tmp_path: Path) -> None:
    config = make_config(backbone={"weights": str(tmp_path / "absent.pth")})
    with pytest.raises(UserError, match=r"absent\.pth; set model\.backbone\.weights"):
        Backbone(config)
    Backbone(config, pretrained=False)  # a checkpoint will fill it: the file isn't looked for


def _text(file: Path) -> None:
    file.write_text("these are not weights\n" * 20)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _cut(file: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(100)}, file)
    file.write_bytes(file.read_bytes()[:300])


def _code(file: Path) -> None:
    file.write_bytes(pickle.dumps(Path))


def _list(file: Path) -> None:
    torch.save([torch.zeros(3)], file)


def _nested(file: Path) -> None:
    torch.save({"weights": {"conv1.weight": torch.zeros(3)}}, file)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", [_text, _empty, _cut, _code, _list, _nested])
def test_a_file_that_is_no_state_dict_is_refused_in_one_line(
    make_config: Make, tmp_path: Path, write: Callable[[Path], None]
) -> None:
    file = tmp_path / "weights.pth"
    write(file)
    with pytest.raises(
        UserError, match=r"^model\.backbone\.weights=.*weights\.pth: not a PyTorch state dict"
    ) as caught:
        Backbone(make_config(backbone={"weights": str(file)}))
    assert "\n" not in str(caught.value)


def test_a_folder_is_refused(make_config: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"can't read model\.backbone\.weights="):
        Backbone(make_config(backbone={"weights": str(tmp_path)}))


@pytest.fixture(scope="module")
def resnet50() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return torchvision.models.resnet50(weights=None).state_dict()


@pytest.mark.parametrize("kind", ["whole", "without classifier", "other classes", "checkpoint", "old"])
def test_resnet50_files_load_whatever_their_classifier(
    make_config: Make, tmp_path: Path, resnet50: dict, kind: str
) -> None:
    state = dict(resnet50)
    if kind == "without classifier":
        state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    elif kind == "other classes":
        state |= {"fc.weight": torch.zeros(7, 2048), "fc.bias": torch.zeros(7)}
    elif kind == "old":
        state = {key: value for key, value in state.items() if "num_batches_tracked" not in key}
    file = tmp_path / "resnet50.pth"
    torch.save({"state_dict": state} if kind == "checkpoint" else state, file)
    backbone = Backbone(make_config(backbone={"name": "resnet50", "stride": 32, "weights": str(file)}))
    assert torch.equal(backbone.net.stages[0][0].weight, resnet50["conv1.weight"])
    assert torch.equal(backbone.net.stages[4][2].conv3.weight, resnet50["layer4.2.conv3.weight"])


@pytest.mark.parametrize(("library", "kind"), [("torchvision", "safetensors"), ("timm", "pth")])
def test_resnet50_of_either_library_gives_its_features(
    make_config: Make, tmp_path: Path, library: str, kind: str
) -> None:
    torch.manual_seed(4)
    if library == "timm":
        net = timm.create_model("resnet50", pretrained=False)
    else:
        net = torchvision.models.resnet50(weights=None)
    file = tmp_path / f"resnet50.{kind}"
    torch.save(net.state_dict(), file) if kind == "pth" else save_file(net.state_dict(), file)
    backbone = Backbone(make_config(backbone={"name": "resnet50", "stride": 32, "weights": str(file)})).eval()
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    shown = []
    net.eval().layer4.register_forward_hook(lambda module, given, found: shown.append(found))
    with torch.no_grad():
        net((images.float() - backbone.mean) / backbone.deviation)
        (found,) = backbone.features(images)
    largest = shown[0].abs().max()  # ours folds its norms, which rounds otherwise
    torch.testing.assert_close(found / largest, shown[0] / largest, rtol=0, atol=1e-5)


def test_a_damaged_safetensors_file_is_refused(make_config: Make, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"no header")
    with pytest.raises(UserError, match=r"weights\.safetensors: not a PyTorch state dict, or a damaged one"):
        Backbone(make_config(backbone={"name": "resnet50", "weights": str(file)}))


def _resnet18(state: dict) -> dict:
    return torchvision.models.resnet18(weights=None).state_dict()


def _deeper(state: dict) -> dict:
    return state | {"layer3.6.conv1.weight": torch.zeros(256, 1024, 1, 1)}  # as in ResNet-101


def _prefixed(state: dict) -> dict:
    return {f"module.{key}": value for key, value in state.items()}


def _lacking(state: dict) -> dict:
    return {key: value for key, value in state.items() if key != "layer2.0.bn1.weight"}


def _foreign(state: dict) -> dict:
    return {"weight": torch.zeros(3)}


@pytest.mark.parametrize("change", [_resnet18, _deeper, _prefixed, _lacking, _foreign])
def test_weights_of_another_net_are_refused(
    make_config: Make, tmp_path: Path, resnet50: dict, change: Callable[[dict], dict]
) -> None:
    torch.save(change(resnet50), tmp_path / "other.pth")
    config = make_config(backbone={"name": "resnet50", "weights": str(tmp_path / "other.pth")})
    with pytest.raises(UserError, match=r"other\.pth: not the weights of resnet50 \(tensors \d+ [a-z ]+, such as "):
        Backbone(config)


def test_lite0_loads_from_a_file_and_refuses_a_resnet(
    make_config: Make, tmp_path: Path, raw: dict, resnet50: dict
) -> None:
    torch.save(raw, tmp_path / "lite0.pth")
    backbone = Backbone(make_config(backbone={"weights": str(tmp_path / "lite0.pth")}))
    assert torch.equal(backbone.net.stages[0][0].weight, raw["_conv_stem.weight"])
    torch.save(resnet50, tmp_path / "resnet.pth")
    with pytest.raises(UserError, match="not the weights of efficientnet_lite0"):
        Backbone(make_config(backbone={"weights": str(tmp_path / "resnet.pth")}))


def test_weights_that_cannot_be_downloaded_say_what_to_do(make_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(self: object, **_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models.ResNet50_Weights, "get_state_dict", offline)
    with pytest.raises(UserError, match=r"--set model\.backbone\.weights=FILE\.pth"):
        Backbone(make_config(backbone={"name": "resnet50", "weights": "imagenet"}))


def test_a_model_is_built_without_wandb_which_timm_would_import():
    code = (
        "import sys\n"
        "from capetune.config import load_preset\n"
        "from capetune.models.estimator import PoseEstimator\n"
        "PoseEstimator(load_preset('demo').model, pretrained=False)\n"
        "print('timm' in sys.modules, 'wandb' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True False\n"


def test_a_model_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    code = (
        "import torch\n"
        "from capetune.config import load_preset\n"
        "from capetune.models.estimator import PoseEstimator\n"
        "torch.optim.AdamW(PoseEstimator(load_preset('demo').model, pretrained=False).parameters())"
    )
    (tmp_path / "t").mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR_")}
    own |= {"TMPDIR": str(tmp_path / "t"), "CAPETUNE_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], env=own, check=True)
    assert list((tmp_path / "t").iterdir()) == []
