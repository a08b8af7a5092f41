"""Recipes and prompt profiles, read from a project's files."""

from __future__ import annotations

from teacherlm.builders.mapping import BoundRecipe
from teacherlm.builders.prompts import BoundPrompts, PromptProfile
from teacherlm.builders.recipe import Recipe
from teacherlm.project.bind import bind
from teacherlm.project.find import ProjectFiles

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
    return BoundRecipe(bind(located, Recipe, data=_named(located.data, name), renames=RENAMES), located)


def read_prompts(files: ProjectFiles, name: str) -> BoundPrompts:
    """The prompt profile `builders/prompts/<name>.yaml`, every template tried once."""
    located = files.prompts(name)
    prompts = BoundPrompts(bind(located, PromptProfile, data=_named(located.data, name)), located)
    prompts.check()
    return prompts


def _named(data: object, name: str) -> object:
    # A file's name is its name: declared again inside, the two could differ.
    return {"name": name, **data} if isinstance(data, dict) and "name" not in data else data
