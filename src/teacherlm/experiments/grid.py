"""The cells of an experiment: every combination of levels that its grids name, with every seed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import yaml

from teacherlm.experiments.declaration import Experiment
from teacherlm.project.located import Located
from teacherlm.train.layers import EXTENDS, lay

ALL: Literal["all"] = "all"
_NAME = re.compile(r"\{([A-Za-z0-9_-]+)\}")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One model of the experiment."""

    factors: Mapping[str, str]
    """Factor -> level."""
    seed: int
    training: Mapping[str, Any]
    """The whole declaration, as a file of `train/` has it."""

    @property
    def label(self) -> str:
        """For people: `kinds=chain, order=answer-last, seed 1`."""
        return ", ".join([*(f"{factor}={level}" for factor, level in self.factors.items()), f"seed {self.seed}"])


def combinations(experiment: Experiment) -> list[dict[str, str]]:
    """Levels of all factors, each combination once, in the order of the grids."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for grid in experiment.grids or (_whole(experiment),):
        choices = []
        for factor in experiment.factors:
            named = grid.get(factor, (experiment.default(factor),))
            choices.append(experiment.levels(factor) if named == ALL else tuple(named))
        for levels in product(*choices):
            found.setdefault(levels, dict(zip(experiment.factors, levels, strict=True)))
    return list(found.values())


def _whole(experiment: Experiment) -> dict[str, tuple[str, ...] | Literal["all"]]:
    return dict.fromkeys(experiment.factors, ALL)


def cells(experiment: Experiment, base: Mapping[str, Any]) -> Iterator[Cell]:
    """All cells, seed by seed: where a run is stopped early, the seeds that are there are whole.

    Args:
        base: the declaration that `train.extends` names, laid over its own; empty where it names none.
    """
    for seed in experiment.seeds:
        for factors in combinations(experiment):
            yield Cell(factors=factors, seed=seed, training=_training(experiment, base, factors, seed))


def _training(experiment: Experiment, base: Mapping[str, Any], factors: Mapping[str, str], seed: int) -> dict[str, Any]:
    layers: list[Mapping[str, Any]] = [base, experiment.train]
    for factor, level in factors.items():
        if patch := experiment.factors[factor][level]:
            layers.append(patch)
    documents = [Located(Path(), experiment.name, {k: v for k, v in one.items() if k != EXTENDS}) for one in layers]
    whole: dict[str, Any] = _filled(lay(documents).data, factors)
    return {**whole, "seed": seed}


def _filled(value: Any, factors: Mapping[str, str]) -> Any:
    """The same with levels in the place of `{factor}`; a text that is nothing else may become a number."""
    if isinstance(value, dict):
        return {key: _filled(part, factors) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, factors) for part in value]
    if not isinstance(value, str):
        return value
    whole = _NAME.fullmatch(value)
    if whole and whole[1] in factors:
        return yaml.safe_load(factors[whole[1]])
    return _NAME.sub(lambda found: factors.get(found[1], found[0]), value)
