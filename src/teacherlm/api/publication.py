"""Everything about one checked dataset that a publication holds: its table, and all that made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from teacherlm.api.catalog import Catalog
from teacherlm.api.check import changed_since, read_report
from teacherlm.api.contract import against_publishing, hold_contract, suite_files
from teacherlm.api.made import costs, made, shown_model
from teacherlm.api.standards import read_gates, read_rules, read_standards
from teacherlm.api.traced import traced
from teacherlm.api.workspace import Workspace, open_session
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import GateFailed, Mistake
from teacherlm.core.stored import to_json
from teacherlm.hub.manifest import Contract
from teacherlm.hub.publication import Publication
from teacherlm.project.find import ProjectFiles
from teacherlm.quality import contract as contracts
from teacherlm.quality.books import close_books
from teacherlm.quality.gates import judge_gates
from teacherlm.quality.measures import measure
from teacherlm.quality.report import Report

SCHEMAS = ("sample", "rationale", "verdict", "finding", "augmented")
"""Records that a published row can be traced through; others speak of a workspace alone."""


def publication(files: ProjectFiles, catalog: Catalog, workspace: Workspace, bound: BoundRecipe) -> Publication:
    """Everything about one checked dataset that a publication holds."""
    recipe = bound.recipe
    report = read_report(workspace, recipe.name)
    if report is None:
        raise Mistake(f"`{recipe.name}` was not checked", f"check it first: teacherlm check {recipe.name}")
    _gates_again(files, catalog, workspace, bound, report)
    folder = workspace.augmented(recipe.name)
    prompts, lost = traced(files, workspace, bound)
    changed = changed_since(files, catalog, workspace, bound, report)
    if lost:
        changed.append(f"prompts or questions since the teacher was asked, for example of {lost[0]}")
    # Loading Great Expectations takes seconds: not where the publication is refused anyway.
    held = hold_contract(files, catalog, workspace, recipe.name) if report.passed and not changed else None
    return Publication(
        dataset=recipe.name,
        title=recipe.title,
        about=recipe.about or None,
        task=recipe.task,
        license=recipe.license,
        redistribution=recipe.redistribution,
        licence_checked=catalog.licences.get(recipe.name),
        citation=recipe.citation or "",
        languages=(recipe.language,),
        source=recipe.source.hub or ("made questions" if recipe.source.procedural else "local file"),
        splits={path.name: sorted(path.glob("*.parquet")) for path in sorted(folder.glob("[!.]*")) if path.is_dir()},
        report=_with_reasons(report, files, catalog),
        teachers=_teachers(workspace, recipe.name),
        files=declarations(files, catalog, bound, prompts),
        changed=changed,
        broken=against_publishing(held) if held else (),
        made=made(files, workspace, bound, sorted(prompts)),
        costs=costs(workspace, recipe.name),
        contract=_contract(held) if held else None,
    )


def _contract(held: contracts.Contract) -> Contract:
    """What the expectations came to, without the rows that are named as examples."""
    return Contract(
        expectations=len(held.expectations),
        hold=sum(one.state == "holds" for one in held.expectations),
        broken=tuple(f"{one.table}: {one.about.rstrip('.')}" for one in held.broken),
    )


def _with_reasons(report: Report, files: ProjectFiles, catalog: Catalog) -> dict[str, Any]:
    """The report as it was written, with what each rule finds; of a failure no word of the server's, but the status."""
    import orjson

    rows: dict[str, Any] = orjson.loads(to_json(report))
    reasons = {rule.id: rule.reason for rule in read_rules(files, catalog)}
    for line in rows["rules"]:
        line["reason"] = reasons.get(line["rule"], "")
    for count in rows["books"]["counts"]:
        told: dict[str, int] = {}
        for reason, number in count["reasons"].items():
            shown = re.sub(r"^(exhausted|refused): (?!\d{3}$).*", r"\1", reason, flags=re.DOTALL)
            told[shown] = told.get(shown, 0) + number
        count["reasons"] = told
    return rows


def _gates_again(
    files: ProjectFiles, catalog: Catalog, workspace: Workspace, bound: BoundRecipe, report: Report
) -> None:
    """A report that says `passed` where its own verdicts do not let it pass was not written by `check`."""
    session = open_session(workspace, [bound.name])
    books, measures = close_books(session), measure(session)
    if not any(against.state == "run" for against in report.contamination):
        measures = replace(measures, by_task=None)
    not_run = [against.task for against in report.contamination if against.state != "run"]
    gates = judge_gates(books, read_gates(files, catalog, bound), measures, not_run)
    failing = [gate.name for gate in gates if not gate.passed]
    if report.passed and failing:
        raise GateFailed(
            f"{bound.name}: the report says that the gates pass, but by the verdicts {', '.join(failing)} fails",
            f"check it again: teacherlm check {bound.name}",
            str(workspace.report(bound.name)),
        )


def declarations(
    files: ProjectFiles, catalog: Catalog, bound: BoundRecipe, prompts: Mapping[str, Path]
) -> dict[str, str]:
    """The text of every declaration that made a dataset, by its path in the publication."""
    paths = {f"recipes/{bound.name}.yaml": bound.located.path}
    paths |= {f"prompts/{name}.yaml": path for name, path in prompts.items()}
    paths |= dict(read_standards(files, catalog).files)
    paths |= suite_files(files)
    paths |= {f"schemas/{name}.yaml": bundled() / "schemas" / f"{name}.yaml" for name in SCHEMAS}
    return {name: path.read_text(encoding="utf-8") for name, path in sorted(paths.items())}


def _teachers(workspace: Workspace, dataset: str) -> list[dict[str, str | None]]:
    rows = open_session(workspace, [dataset]).execute(
        "SELECT DISTINCT teacher_model, teacher_revision FROM rationales WHERE teacher_model IS NOT NULL ORDER BY ALL"
    )
    return [{"model": shown_model(model), "revision": revision} for model, revision in rows.fetchall()]
