"""Plan: what a build and an augmentation would do, without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from teacherlm.api.augment import sample_batches
from teacherlm.api.workspace import Workspace
from teacherlm.builders.build import read_manifest
from teacherlm.builders.mapping import BoundRecipe, connect, given_table, mapped_query, run_examples
from teacherlm.builders.prompts import BoundPrompts
from teacherlm.core.errors import Mistake, Mistakes, Problem


@dataclass(frozen=True, kw_only=True)
class PlannedPrompt:
    """What the teacher would read for one kind of one sample."""

    sample_id: str
    kind: str
    prompt: str | list[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known of a dataset before anything is run."""

    dataset: str
    title: str
    source: str
    license: str
    redistribution: str
    kinds: tuple[str, ...]
    prompts: str
    max_new_tokens: int
    given: int
    """Example rows of the recipe that became what it expects."""
    built: bool
    samples: int | None
    """Samples of the last build."""
    calls: int | None
    """Texts to ask for: samples x kinds."""
    verify: tuple[str, ...]
    examples: tuple[PlannedPrompt, ...]

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


def plan(
    workspace: Workspace,
    bound: BoundRecipe,
    prompts: BoundPrompts,
    *,
    kinds: Sequence[str] | None = None,
    shown: int = 1,
) -> Plan:
    """Run the recipe's `given` rows and render what the teacher would be asked.

    Raises:
        Mistakes: a `given` row does not become what the recipe expects.
    """
    recipe = bound.recipe
    if unknown := [kind for kind in kinds or () if kind not in recipe.kinds]:
        raise Mistake(
            f"`{recipe.name}` has no kind `{unknown[0]}`", f"its kinds are {', '.join(recipe.kinds)}", "--kinds"
        )
    problems = run_examples(bound)
    if missing := prompts.missing(tuple(recipe.kinds)):
        found = f"the prompts `{prompts.profile.name}` have nothing for {', '.join(missing)}"
        problems.append(
            Problem(
                bound.located.where(("kinds",)), found, f"add them to {prompts.located.shown}, or take them out here"
            )
        )
    if problems:
        raise Mistakes(problems)
    manifest = read_manifest(workspace.samples(recipe.name))
    wanted = [kind for kind in recipe.kinds if kinds is None or kind in kinds]
    rows = _built_samples(workspace, recipe.name, shown) if manifest else _given_samples(bound, shown)
    return Plan(
        dataset=recipe.name,
        title=recipe.title,
        source=recipe.source.hub or "local files",
        license=recipe.license,
        redistribution=recipe.redistribution,
        kinds=tuple(wanted),
        prompts=prompts.profile.name,
        max_new_tokens=recipe.max_new_tokens,
        given=len(recipe.given),
        built=manifest is not None,
        samples=manifest.samples if manifest else None,
        calls=manifest.samples * len(wanted) if manifest else None,
        verify=recipe.verify,
        examples=tuple(
            PlannedPrompt(sample_id=row["sample_id"], kind=kind, prompt=prompts.render(kind, row))
            for row in rows
            for kind in wanted
        ),
    )


def _built_samples(workspace: Workspace, dataset: str, count: int) -> list[dict[str, Any]]:
    return [row for batch in sample_batches(workspace.sample_files(dataset), count) for row in batch]


def _given_samples(bound: BoundRecipe, count: int) -> list[dict[str, Any]]:
    if not bound.recipe.given:
        return []
    connection = connect(threads=1)
    connection.register("given", given_table(bound.recipe, connection))
    query = f"FROM ({mapped_query(bound.recipe, 'given', 'given')}) WHERE reason IS NULL ORDER BY row LIMIT {count}"
    rows: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return rows
