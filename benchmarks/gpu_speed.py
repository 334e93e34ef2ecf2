"""Speed on a GPU against floors measured on the same card in the same process, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from harness import interleave
from paper import paper_config, random_batch, resnet50, weights_file
from torch.utils._python_dispatch import TorchDispatchMode

from capetune.config import Config, load_config
from capetune.models.backbone import Maps
from capetune.models.captured import Captured
from capetune.models.estimator import PoseEstimator
from capetune.models.execution import Way
from capetune.pose import Batch
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.step import CapturedStep, train_step

Tell = Callable[..., None]
WAYS = {"eager": Way(), "captured": Way(captured=True), "compiled": Way(compiled=True, captured=True)}
SMALL = ["data.size=64", "model.width=32", "model.heads=4", "model.decoder.layers=2", "model.support.layers=1"]
SMALL += ["model.backbone.name=resnet18", "model.backbone.weights=none"]  # a CPU compiles that in a minute
WARM = 4  # calls that aren't counted: compiling, and the two before a capture


@dataclass(frozen=True)
class Setting:
    device: str
    tiny: bool
    rounds: int
    names: tuple[str, ...] = tuple(WAYS)

    def finished(self, work: Callable[[], Any], times: int = 1) -> Callable[[], None]:
        """The same, `times` over, waiting for the GPU: kernels are only queued when a call returns."""

        def run() -> None:
            for _ in range(times):
                work()
            if self.device == "cuda":
                torch.cuda.synchronize()

        return run

    @property
    def ways(self) -> dict[str, Way]:
        """Those asked for; a CPU captures nothing."""
        gpu = self.device == "cuda"
        asked = {name: way for name, way in WAYS.items() if name in self.names}
        return asked if gpu else {name: Way(way.compiled) for name, way in asked.items() if name != "captured"}

    def paper(self, settings: Iterable[str] = ()) -> Config:
        return paper_config([*settings, *(SMALL if self.tiny else [])])


def compare(
    setting: Setting,
    tell: Tell,
    figure: str,
    work: dict[str, Callable[[], Any]],
    floor: str,
    count: int,
    times: int = 1,
) -> None:
    """Milliseconds a piece of work and its ratio to the floor, medians; first the seconds its first calls take, and
    the most memory of one."""
    first, memory = {}, {}
    for name, each in work.items():
        begun = time.perf_counter()
        setting.finished(each, WARM)()
        first[name] = round(time.perf_counter() - begun, 2)
        if setting.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            setting.finished(each)()
            memory[name] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    seconds = interleave({name: setting.finished(each, times) for name, each in work.items()}, setting.rounds)
    ratio = {
        name: round(median(mine / its for mine, its in zip(turns, seconds[floor], strict=True)), 3)
        for name, turns in seconds.items()
    }
    milliseconds = {name: round(1000 * median(turns) / times, 3) for name, turns in seconds.items()}
    a_second = {name: round(1000 * count / value) for name, value in milliseconds.items()}
    tell(
        figure,
        batch=count,
        floor=floor,
        ms=milliseconds,
        ratio=ratio,
        a_second=a_second,
        first_s=first,
        peak_gib=memory,
    )


def ceilings(setting: Setting, tell: Tell) -> None:
    """What the card gives to a large copy, and to a large product in bfloat16."""
    side = 256 if setting.tiny else 8192
    a, b = (torch.randn(side, side, device=setting.device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.randn(side, 4 * side, device=setting.device)
    target = torch.empty_like(source)
    work = {"copy": partial(target.copy_, source), "product": partial(torch.matmul, a, b)}
    times = 10
    seconds = interleave({name: setting.finished(each, times) for name, each in work.items()}, setting.rounds)
    copied, product = (median(seconds[name]) / times for name in work)
    moved = 2 * source.numel() * source.element_size()
    tell("ceilings", copy_gb_s=round(moved / copied / 1e9), bf16_tflop_s=round(2 * side**3 / product / 1e12))


class Trainer:
    """A function that makes one training step, run in a way."""

    def __init__(self, setting: Setting, config: Config, way: Way, batch: Batch, kept: Maps = ()) -> None:
        torch.manual_seed(0)
        self.config, self.batch, self.kept = config, batch, [kept] if kept else []
        self.model = PoseEstimator(config.model).to(setting.device).run_as(way).train()
        self.optimizer = make_optimizer(self.model, config.train)
        self.schedule = make_schedule(self.optimizer, config.train, 1_000_000)
        self.captured = None
        if way.captured:
            self.captured = CapturedStep(self.model, self.optimizer, self.schedule, config)

    def __call__(self) -> dict[str, torch.Tensor]:
        if self.captured is not None:
            return self.captured([self.batch], self.kept)
        return train_step(self.model, [self.batch], self.optimizer, self.schedule, self.config, self.kept)


class Plain:
    """ResNet-50 by itself, in bfloat16 on a GPU."""

    def __init__(self, setting: Setting, batch: Batch, compiled: bool = False) -> None:
        self.net, self.setting = resnet50().to(setting.device), setting
        self.run = torch.compile(self.net) if compiled else self.net
        self.pixels = batch.images.float().contiguous(memory_format=torch.channels_last)

    def backward(self) -> None:
        self.net.train()
        self.net.zero_grad(set_to_none=True)
        with torch.autocast(self.setting.device, torch.bfloat16, enabled=self.setting.device == "cuda"):
            loss = self.run(self.pixels).sum()
        loss.backward()

    @torch.no_grad()
    def forward(self) -> None:
        self.net.eval()
        with torch.autocast(self.setting.device, torch.bfloat16, enabled=self.setting.device == "cuda"):
            self.run(self.pixels)


def step(setting: Setting, tell: Tell, counts: tuple[int, ...] = (32, 64)) -> None:
    """A training step of the paper's configuration, with a pretrained backbone, against ResNet-50's."""
    config = setting.paper([f"model.backbone.weights={weights_file()}"])
    for count in (2,) if setting.tiny else counts:
        batch = random_batch(config.data.size, count).to(setting.device)
        work: dict[str, Callable[[], Any]] = {"ResNet-50": Plain(setting, batch).backward}
        work |= {name: Trainer(setting, config, way, batch) for name, way in setting.ways.items()}
        compare(setting, tell, "step", work, "ResNet-50", count)


def generation(setting: Setting, tell: Tell, counts: tuple[int, ...] = (64, 1)) -> None:
    """17 keypoints, image to points, against ResNet-50's forward pass."""
    config = setting.paper([f"model.backbone.weights={weights_file()}"])
    for count in (2,) if setting.tiny else counts:
        batch = random_batch(config.data.size, count).to(setting.device)
        work: dict[str, Callable[[], Any]] = {"ResNet-50": Plain(setting, batch).forward}
        for name, way in setting.ways.items():
            model = PoseEstimator(config.model).to(setting.device).run_as(way).eval()
            work[name] = Answering(model, batch, way)
            if name != "captured":
                work[f"{name}, backbone"] = torch.inference_mode()(partial(model.backbone, batch.images))
        compare(setting, tell, "generate", work, "ResNet-50", count)


class Answering:
    """A pose of each image."""

    def __init__(self, model: PoseEstimator, batch: Batch, way: Way) -> None:
        self.model, self.batch = model, batch
        fields = len(batch.tensors())

        def work(tensors: Any) -> Any:
            return model.answer(Batch(*tensors[:fields]), tuple(tensors[fields:]))[0].xy

        self.work: Callable[..., Any] = Captured(work) if way.captured else work

    @torch.inference_mode()
    def __call__(self) -> torch.Tensor:
        found: torch.Tensor = self.work([*self.batch.tensors(), *self.model.backbone(self.batch.images)])
        return found


def pixelless(device: str) -> tuple[Config, Batch, Maps]:
    """demo's configuration, a batch of it without pixels, and maps to go with that."""
    config = load_config("demo", None, ["model.backbone.weights=none"])
    count = config.train.batch_size
    whole = random_batch(64, count)
    batch = Batch(*(whole.images[:, :, :0, :0], *whole.tensors()[1:])).to(device)
    channels = PoseEstimator(config.model).backbone.net.channels[0]
    return config, batch, (torch.randn(count, channels, 8, 8, device=device),)


def frozen(setting: Setting, tell: Tell) -> None:
    """A step of `demo` on kept features against the matrix products in it: queued one by one, and as a CUDA graph."""
    config, batch, kept = pixelless(setting.device)
    trainers = {name: Trainer(setting, config, way, batch, kept) for name, way in setting.ways.items()}
    products = Products()
    with products:
        Trainer(setting, config, Way(), batch, kept)()
    work: dict[str, Callable[[], Any]] = {"products": products, **trainers}
    if setting.device == "cuda":
        graph = Captured(lambda tensors: products())
        work["products, one graph"] = partial(graph, [torch.zeros(1, device=setting.device)])
    compare(setting, tell, "frozen", work, "products", len(batch), times=2 if setting.tiny else 30)


class Products(TorchDispatchMode):
    """Keeps the matrix products and convolutions that are made while it is entered; called, it makes them again."""

    NAMES = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward", "linear")

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket.__name__ in self.NAMES:
            self.calls.append((function, args, kwargs or {}))
        return function(*args, **(kwargs or {}))

    @torch.no_grad()
    def __call__(self) -> None:
        for function, args, kwargs in self.calls:
            function(*args, **kwargs)


def profiles(setting: Setting, tell: Tell) -> None:
    """The kernels that take most of a step and of a batch's generation, as written and as it is run by default."""
    config = setting.paper([f"model.backbone.weights={weights_file()}"])
    count = 2 if setting.tiny else 32
    batch = random_batch(config.data.size, count).to(setting.device)
    for name, way in setting.ways.items():
        model = PoseEstimator(config.model).to(setting.device).run_as(way).eval()
        for what, work in (("step", Trainer(setting, config, way, batch)), ("generate", Answering(model, batch, way))):
            setting.finished(work, WARM)()
            kinds = [torch.profiler.ProfilerActivity.CPU]
            if setting.device == "cuda":
                kinds.append(torch.profiler.ProfilerActivity.CUDA)
            with torch.profiler.profile(activities=kinds) as profile:
                setting.finished(work)()
            rows = profile.key_averages()
            mine = [row for row in rows if row.device_type.name == setting.device.upper() or setting.device == "cpu"]
            taken = {row: row.self_device_time_total or row.self_cpu_time_total for row in mine}
            total, kernels = sum(taken.values()), sum(row.count for row in mine)
            top = sorted(taken.items(), key=lambda item: -item[1])[:12]
            named = [[row.key[:90], row.count, round(value / 1000, 3)] for row, value in top]
            tell(
                "profile", work=what, way=name, batch=count, device_ms=round(total / 1000, 2), calls=kernels, top=named
            )
