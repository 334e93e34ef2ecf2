"""Learning on a GPU: the same as eager float32's? Loading, evaluation, trials side by side, accuracy."""

from __future__ import annotations

from gpu_speed import Setting, Tell


def losses(setting: Setting, tell: Tell) -> None: ...


def loading(setting: Setting, tell: Tell) -> None: ...


def evaluation(setting: Setting, tell: Tell) -> None: ...


def trials(setting: Setting, tell: Tell) -> None: ...


def scores(setting: Setting, tell: Tell) -> None: ...


def accuracy(setting: Setting, tell: Tell) -> None: ...
