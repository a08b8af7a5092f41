"""A recipe for one's own data: looked at, guessed, tried and written into the project."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from teacherlm.api.editor_schemas import schema_line, write_schemas
from teacherlm.builders.mapping import BoundRecipe, run_examples
from teacherlm.builders.propose import Proposal, propose
from teacherlm.builders.recipe import Recipe
from teacherlm.builders.survey import survey
from teacherlm.builders.written import written
from teacherlm.core.errors import Mistake, Problem
from teacherlm.core.files import disk_errors, replacing
from teacherlm.project.bind import bind
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import read_yaml

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Draft:
    """A recipe that was written."""

    path: Path
    row: dict[str, Any]
    """What was guessed, and what came of it."""


def _row(path: Path, proposal: Proposal) -> dict[str, Any]:
    return {
        "dataset": proposal.name,
        "file": os.path.relpath(path),
        "rows": proposal.rows,
        "samples": proposal.samples,
        "filtered": proposal.filtered,
        "rejected": None if proposal.rejected is None else dict(proposal.rejected),
        "examples": len(proposal.given),
        "to_write": list(proposal.missing),
        "guesses": [
            {
                "part": name,
                "expression": part.expression,
                "why": part.why,
                "to_write": name in proposal.missing or part.is_open,
            }
            for name, part in proposal.parts.items()
        ],
        "columns": [{"name": column.name, "type": column.type} for column in proposal.survey.columns],
        "passed_over": list(proposal.survey.passed_over),
    }


def new_recipe(
    files: ProjectFiles,
    name: str,
    source: str,
    *,
    split: str | None = None,
    config: str | None = None,
    force: bool = False,
) -> Draft:
    """Propose a recipe for a source and write it to `builders/NAME.yaml`.

    Args:
        source: a file, a folder of splits, or the id of a Hub dataset.
        split: of a file, what it is (`train` unless said); of the others the only one to take.
        config: the Hub dataset's configuration.
        force: also where there is such a recipe.

    Raises:
        Mistake: there is no project to write to, or such a recipe; the source cannot be read.
        RemoteFailed: the Hub cannot be reached.
    """
    if files.is_bundled:
        raise Mistake(
            "there is no project here to write a recipe into",
            "lay one out first: teacherlm init DIR, and run this in DIR",
            str(Path.cwd()),
        )
    if not NAME.fullmatch(name):
        raise Mistake(f'"{name}" is no name of a dataset', "use letters, digits, -, _ and .", "NAME")
    file = f"builders/{name}.yaml"
    path = files.root / file
    if path.exists() and not force:
        raise Mistake("there is a recipe already", "choose another name, or replace it: --force", file)
    proposal = propose(name, survey(name, source, split=split, config=config), path.parent, files.root)
    options = "".join(
        f" {option} {shlex.quote(value)}" for option, value in (("--split", split), ("--config", config)) if value
    )
    command = f"teacherlm recipe new {name} --source {shlex.quote(source)}{options}"
    with disk_errors(path):
        write_schemas(files.root)
    with replacing(path) as temporary:
        temporary.write_text(written(proposal, schema_line(file), command), encoding="utf-8")
        if not proposal.missing and _problems(temporary, name, file):
            # Values that a file of ours changes: the recipe is good, its examples are not.
            proposal = replace(proposal, given=(), expect=())
            temporary.write_text(written(proposal, schema_line(file), command), encoding="utf-8")
    proposal.survey.connection.close()
    return Draft(path, _row(path, proposal))


def _problems(path: Path, name: str, shown: str) -> list[Problem]:
    """Read what is about to be written as any other recipe, and run its examples."""
    located = read_yaml(path, shown)
    return run_examples(BoundRecipe(bind(located, Recipe, data={"name": name, **located.data}), located))
