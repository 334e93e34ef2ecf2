from __future__ import annotations

from importlib import metadata

import pytest

from capetune.errors import UserError
from capetune.service.installed import check_installed


def test_what_capetune_requires_is_installed_here() -> None:
    check_installed()


def test_missing_and_older_packages_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["no-such-package", "numpy>=99", "optuna>=5", "wandb>=99; extra == 'wandb'"]
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    with pytest.raises(UserError) as found:
        check_installed()
    assert "no-such-package is missing; numpy is " in str(found.value)
    assert "optuna" not in str(found.value)
    assert "wandb" not in str(found.value)
