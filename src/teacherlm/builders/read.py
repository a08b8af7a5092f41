"""Recipes and prompt profiles, read from a project's files."""

from __future__ import annotations

import re

from teacherlm.builders.mapping import BoundRecipe
from teacherlm.builders.prompts import BoundPrompts, PromptProfile
from teacherlm.builders.recipe import Recipe
from teacherlm.core.errors import Mistakes, Problem
from teacherlm.project.bind import bind
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import Located

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""What a dataset can be called: it names folders, and a configuration for `load_dataset`."""

RENAMES = {
    "max_tokens": "max_new_tokens",
    "licence": "license",
    "dataset": "source",
    "prompt": "prompts",
    "cot": "kinds",
}


def read_recipe(files: ProjectFiles, name: str) -> BoundRecipe:
    """The recipe `builders/<name>.yaml`.

    Raises:
        Mistake: there is no such recipe.
        Mistakes: all that is wrong in it.
    """
    located = files.recipe(name)
    _check_name(located, name)
    return BoundRecipe(bind(located, Recipe, data=_named(located.data, name), renames=RENAMES), located)


def read_prompts(files: ProjectFiles, name: str) -> BoundPrompts:
    """The prompt profile `builders/prompts/<name>.yaml`, every template tried once."""
    located = files.prompts(name)
    _check_name(located, name)
    prompts = BoundPrompts(bind(located, PromptProfile, data=_named(located.data, name)), located)
    prompts.check()
    return prompts


def _check_name(located: Located, name: str) -> None:
    declared = located.data.get("name", name) if isinstance(located.data, dict) else name
    problems = []
    if declared != name:
        found = f"`name` is {declared}, but the file's name is {name}"
        problems.append(Problem(located.where(("name",)), found, "leave `name` out, or rename the file"))
    if not re.fullmatch(NAME, name):
        found = f'"{name}" is no name: it names folders and configurations too'
        problems.append(
            Problem(located.where(()), found, "rename the file with letters, digits, `_`, `-` and `.` alone")
        )
    if problems:
        raise Mistakes(problems)


def _named(data: object, name: str) -> object:
    # A file's name is its name: declared again inside, the two could differ.
    return {"name": name, **data} if isinstance(data, dict) and "name" not in data else data
