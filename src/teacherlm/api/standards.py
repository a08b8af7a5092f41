"""What a project holds rationales to: its metrics, rules, scorer and gates, with those that ship with teacherlm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest
from teacherlm.project.bind import bind
from teacherlm.quality import rules as rule_files
from teacherlm.quality.gates import Gates
from teacherlm.quality.metrics import Metrics, load_metrics
from teacherlm.quality.rules import Rule, load_rules
from teacherlm.quality.score import Scorer, load_scorer
from teacherlm.schemas.records import SCHEMA_VERSION

if TYPE_CHECKING:
    from teacherlm.api.catalog import Catalog
    from teacherlm.builders.mapping import BoundRecipe
    from teacherlm.project.find import ProjectFiles

SCORER = "scorer.json"


@dataclass(frozen=True)
class Standards:
    """What decides whether a rationale is good enough."""

    rules: tuple[Rule, ...]
    metrics: Metrics
    scorer: Scorer | None
    scorer_path: Path | None = None

    @property
    def fingerprint(self) -> str:
        """Of all that verdicts depend on beside samples and rationales."""
        rules: list[Any] = [
            [rule.id, rule.severity, rule.kinds, dict(rule.parameters), rule.sql] for rule in self.rules
        ]
        return digest(
            [SCHEMA_VERSION, rules, self.metrics.fingerprint, self.scorer.fingerprint if self.scorer else None]
        )

    @property
    def files(self) -> Iterator[tuple[str, Path]]:
        """The files that they come from, by their path in a publication."""
        yield from ((f"rules/{rule.path.name}", rule.path) for rule in self.rules)
        yield from ((f"rules/metrics/{path.name}", path) for path, _ in self.metrics)
        if self.scorer_path:
            yield f"rules/{SCORER}", self.scorer_path


def read_standards(files: ProjectFiles, catalog: Catalog) -> Standards:
    """The standards of a project; its own files take the place of those with the same name, or stand beside them.

    Raises:
        Mistake, Mistakes: what is wrong in headers, settings, metrics and scorer.
    """
    shipped, own = bundled() / "quality", files.root / "quality"
    metrics = [shipped / "metrics", own / "metrics"] if not files.is_bundled else [shipped / "metrics"]
    scorer = next((folder / SCORER for folder in (own, shipped) if (folder / SCORER).is_file()), None)
    return Standards(
        read_rules(files, catalog), load_metrics(*metrics), load_scorer(scorer) if scorer else None, scorer
    )


def read_rules(files: ProjectFiles, catalog: Catalog) -> tuple[Rule, ...]:
    """The rules that ship with teacherlm and the project's own, which take the place of those with the same name.

    Settings are the catalogue's.

    Raises:
        Mistakes: headers and settings that are wrong, all of them.
    """
    rules = {rule.id: rule for rule in load_rules(bundled() / "quality" / "rules")}
    own = files.root / "quality" / "rules"
    if not files.is_bundled and own.is_dir():
        rules |= {rule.id: rule for rule in load_rules(own)}
    return tuple(rule_files.bind(rules.values(), catalog.rules, where="catalog.yaml"))


def read_gates(files: ProjectFiles, catalog: Catalog, bound: BoundRecipe) -> Gates:
    """The gates of a dataset: `gates.DATASET` of the catalogue over the recipe's over its collection's over `gates`.

    Raises:
        Mistakes: unknown gates, values that are none.
        Mistake: gates of a dataset that there is not.
    """
    everyone = {name: value for name, value in catalog.gates.items() if not isinstance(value, dict)}
    special = {name: value for name, value in catalog.gates.items() if isinstance(value, dict)}
    located = files.catalog()
    if everyone:
        bind(located, Gates, loc=("gates",), data=_whole(everyone))
    for name, gates in special.items():
        if name not in files.recipes():
            where = located.where(("gates", name), key=True)
            raise Mistake(f"there is no dataset `{name}`", "name a recipe of builders/, or a gate with a number", where)
        bind(located, Gates, loc=("gates", name), data=_whole(gates))
    merged = {**everyone, **(bound.recipe.gates or {}), **special.get(bound.name, {})}
    return bind(bound.located, Gates, loc=("gates",), data=_whole(merged))


def _whole(gates: Mapping[str, float]) -> dict[str, int | float]:
    """Numbers as they are written: a count such as `min_accepted: 1000` stays whole."""
    return {name: int(value) if value == int(value) else value for name, value in gates.items()}
