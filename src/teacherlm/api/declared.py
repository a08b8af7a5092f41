"""What is declared in a directory, and the workspace where it lands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from teacherlm.api.catalog import Catalog, ChosenTeacher, choose_teacher, read_catalog
from teacherlm.api.workspace import Workspace
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.builders.prompts import BoundPrompts
from teacherlm.builders.read import read_prompts, read_recipe
from teacherlm.project.find import ProjectFiles

PAPER = "paper"
"""The prompts of a teacher that names none."""


@dataclass(frozen=True)
class Declared:
    """The declarations of a project: its catalogue, recipes, teachers and prompts."""

    files: ProjectFiles
    workspace: Workspace

    @cached_property
    def catalog(self) -> Catalog:
        return read_catalog(self.files)

    @property
    def datasets(self) -> list[str]:
        """Names of the declared datasets."""
        return self.files.recipes()

    @property
    def collections(self) -> list[str]:
        """Names of the declared collections."""
        return list(self.catalog.collections)

    def recipe(self, name: str) -> BoundRecipe:
        """The recipe `builders/<name>.yaml`.

        Raises:
            Mistake, Mistakes: there is none; all that is wrong in it.
        """
        return read_recipe(self.files, name)

    def teacher(self, given: str | None) -> ChosenTeacher:
        """The teacher that a name, a URL or $TEACHERLM_TEACHER stands for."""
        return choose_teacher(self.catalog, given, self.files.catalog())

    def prompts(self, bound: BoundRecipe, chosen: ChosenTeacher | None = None) -> BoundPrompts:
        """The prompts of a dataset: the recipe's own, else the teacher's, else the paper's."""
        return read_prompts(self.files, bound.recipe.prompts or (chosen.profile.prompts if chosen else None) or PAPER)
