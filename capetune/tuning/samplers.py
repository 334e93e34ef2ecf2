"""Optuna's samplers by the names that spaces use."""

from __future__ import annotations

from importlib.util import find_spec

import optuna
from optuna.samplers import BaseSampler

from capetune.errors import UserError
from capetune.tuning.space import LISTED

NEEDS = {"cmaes": "cmaes"}


def make_sampler(name: str, seed: int, conditional: bool = False) -> BaseSampler:
    """conditional: whether some keys of the space are varied under conditions only.

    Raises UserError where the package that it needs isn't installed.
    """
    package = NEEDS.get(name)
    if package and find_spec(package) is None:
        raise UserError(f"the sampler {name} needs {package}: pip install 'capetune[samplers]', or take sampler: tpe")
    if name == "tpe":
        # Trials run side by side: without constant_liar the sampler would propose the same place to all of them.
        # Without group, keys under a condition would be drawn one by one, as if they had nothing to do with the others.
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True, multivariate=True, group=conditional)
    made = {
        "random": optuna.samplers.RandomSampler,
        **dict.fromkeys(LISTED, optuna.samplers.RandomSampler),  # never asked
        "gp": optuna.samplers.GPSampler,
        "cmaes": optuna.samplers.CmaEsSampler,
        "nsga2": optuna.samplers.NSGAIISampler,
    }
    return made[name](seed=seed)
