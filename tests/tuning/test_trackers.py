from __future__ import annotations

import builtins
import importlib
import tempfile

import pytest

from capetune.errors import UserError
from capetune.tuning.trackers import make_tracker


@pytest.fixture(autouse=True, scope="module")
def _folders_of_wandb(tmp_path_factory):
    """wandb makes two temporary folders when it is imported and clears them away when Python ends: a process of
    pytest-xdist may be ended before that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("wandb")))
        for name in ("wandb.sdk.artifacts.artifact", "wandb.sdk.data_types._private"):
            importlib.import_module(name)
        yield


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder to be in, and no settings from outside."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "package"), [("mlflow", "mlflow"), ("wandb", "wandb")])
def test_a_package_that_is_not_there_is_named_with_the_cure(name, package, place, monkeypatch):
    real = builtins.__import__

    def without(asked, *rest):
        if asked.split(".")[0] == package or asked.endswith(f"integrations.{name}"):
            raise ImportError(asked)
        return real(asked, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=rf"--track {name} needs another package: pip install 'capetune\[{name}\]'"):
        make_tracker(name, place / "run")


def test_nobody_logged_in_to_weights_and_biases_is_said_before_anything_starts(place):
    with pytest.raises(UserError, match="--track wandb: No WandB API key found"):
        make_tracker("wandb", place / "run")


def test_an_address_that_mlflow_does_not_know_is_said_before_anything_starts(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://somewhere")
    with pytest.raises(UserError, match=r"--track mlflow: .*gopher"):
        make_tracker("mlflow", place / "run")
