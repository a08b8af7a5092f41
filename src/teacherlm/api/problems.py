"""All mistakes of what is declared, found before anything is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from teacherlm.api.standards import read_gates, read_standards
from teacherlm.core.errors import Mistake, Problem

if TYPE_CHECKING:
    from teacherlm.api.project import Project


def declaration_problems(project: Project, names: Sequence[str]) -> list[Problem]:
    """What is wrong in the catalogue, the rules, and the recipes of `names` with their prompts and gates."""
    problems: list[Problem] = []
    catalog = _tried(problems, lambda: project.catalog)
    if catalog is not None:
        _tried(problems, lambda: read_standards(project.files, catalog))
    for name in names:
        bound = _tried(problems, partial(project.recipe, name))
        if bound is None:
            continue
        if catalog is not None:
            _tried(problems, partial(read_gates, project.files, catalog, bound))
        if bound.recipe.prompts is not None:
            _tried(problems, partial(project.prompts, bound))
    return list(dict.fromkeys(problems))


def _tried(problems: list[Problem], read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Mistake as error:
        problems += error.problems
        return None
