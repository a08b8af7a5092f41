"""Publish: checked datasets and all that made them become a folder that `load_dataset` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from teacherlm.api.catalog import Catalog
from teacherlm.api.check import changed_since, read_report
from teacherlm.api.standards import read_gates, read_standards
from teacherlm.api.traced import traced
from teacherlm.api.workspace import Workspace, open_session
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import GateFailed, Mistake
from teacherlm.hub.folder import Published, publish_folder
from teacherlm.hub.publication import Publication
from teacherlm.project.find import ProjectFiles
from teacherlm.quality.books import close_books
from teacherlm.quality.gates import judge_gates
from teacherlm.quality.measures import measure
from teacherlm.quality.report import Report, to_json


def publish(
    files: ProjectFiles, catalog: Catalog, workspace: Workspace, recipes: Sequence[BoundRecipe], to: str | Path
) -> Published:
    """Publish checked datasets to a folder.

    Raises:
        GateFailed: a gate failed, something changed since the check, or the licence forbids it.
        Mistake: a dataset was not checked; the folder holds something else.
        MachineFailed: the disk is full or refuses.
    """
    if str(to).startswith("hf://"):
        raise Mistake(f'"{to}": publishing to the Hub is not built yet', "publish to a folder: --to FOLDER", "--to")
    with ExitStack() as locks:
        # What was found to be whole must be what is copied: nobody may check or build meanwhile.
        for bound in sorted(recipes, key=lambda bound: bound.name):
            locks.enter_context(workspace.locked(bound.name))
        return publish_folder([publication(files, catalog, workspace, bound) for bound in recipes], Path(to))


def publication(files: ProjectFiles, catalog: Catalog, workspace: Workspace, bound: BoundRecipe) -> Publication:
    """Everything about one checked dataset that a publication holds."""
    import orjson

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
        source=recipe.source.hub or "local file",
        splits={path.name: sorted(path.glob("*.parquet")) for path in sorted(folder.glob("[!.]*")) if path.is_dir()},
        report=orjson.loads(to_json(report)),
        teachers=_teachers(workspace, recipe.name),
        files=declarations(files, catalog, bound, prompts),
        changed=changed,
    )


def _gates_again(
    files: ProjectFiles, catalog: Catalog, workspace: Workspace, bound: BoundRecipe, report: Report
) -> None:
    """A report that says `passed` where its own verdicts do not let it pass was not written by `check`."""
    session = open_session(workspace, [bound.name])
    books, measures = close_books(session), measure(session)
    if not any(against.state == "run" for against in report.contamination):
        measures = replace(measures, by_task=None)
    failing = [gate.name for gate in judge_gates(books, read_gates(files, catalog, bound), measures) if not gate.passed]
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
    paths |= {
        path if path.startswith("rules/") else f"rules/{path}": of for path, of in read_standards(files, catalog).files
    }
    paths |= {f"schemas/{path.name}": path for path in (bundled() / "schemas").glob("*.yaml")}
    return {name: path.read_text(encoding="utf-8") for name, path in sorted(paths.items())}


def _teachers(workspace: Workspace, dataset: str) -> list[dict[str, str | None]]:
    rows = open_session(workspace, [dataset]).execute(
        "SELECT DISTINCT teacher_model, teacher_revision FROM rationales WHERE teacher_model IS NOT NULL ORDER BY ALL"
    )
    return [{"model": model, "revision": revision} for model, revision in rows.fetchall()]
