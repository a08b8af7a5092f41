"""Which prompts made the texts: found by rendering them again, not by remembering."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from teacherlm.api.workspace import Workspace, open_session
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.builders.prompts import BoundPrompts
from teacherlm.builders.read import read_prompts
from teacherlm.core.bundle import bundled
from teacherlm.core.keys import canonical, text_digest
from teacherlm.project.find import ProjectFiles
from teacherlm.teacher.wire import Prompt

TRIED = 300
"""Texts of each kind and strategy that are traced back: prompts change by the file and questions by the recipe."""

LAST_ANSWERS = f"""
    SELECT r.kind, r.strategy, r.prompt_sha256, s.*
    FROM rationales r JOIN samples s USING (sample_id)
    WHERE r.prompt_sha256 IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY r.kind, r.strategy ORDER BY md5(r.sample_id), r.repeat) <= {TRIED}"""


def traced(files: ProjectFiles, workspace: Workspace, bound: BoundRecipe) -> tuple[dict[str, Path], list[str]]:
    """The prompt profiles that made a dataset's texts, as they are declared now.

    Returns:
        Name -> file of each profile that gives the prompt of at least one text again; and the ids of samples whose
        prompt no profile gives: the prompts, or the questions, have changed since the teacher was asked.
    """
    profiles = {prompts.profile.name: prompts for prompts in _profiles(files, bound)}
    used: dict[str, Path] = {}
    lost: list[str] = []
    rows = open_session(workspace, [bound.name], judged=False).sql(LAST_ANSWERS).to_arrow_table().to_pylist()
    for row in rows:
        makers = [name for name, prompts in profiles.items() if _prompt_of(prompts, row, bound) is not None]
        used |= {name: profiles[name].located.path for name in makers[:1]}
        if not makers:
            lost.append(row["sample_id"])
    return used, sorted(set(lost))


def maker_of(files: ProjectFiles, bound: BoundRecipe, row: Mapping[str, Any]) -> tuple[str, Prompt] | None:
    """The prompt profile that gives a text's prompt, as it is declared now, and the prompt; None where there is none.

    Args:
        row: kind, strategy and `prompt_sha256` of the text, and the sample's columns.
    """
    for prompts in _profiles(files, bound):
        if (prompt := _prompt_of(prompts, row, bound)) is not None:
            return prompts.profile.name, prompt
    return None


def prompt_digest(prompt: Prompt) -> str:
    """What the ledger keeps of a prompt."""
    return text_digest(prompt if isinstance(prompt, str) else canonical(prompt).decode())


def _profiles(files: ProjectFiles, bound: BoundRecipe) -> Iterator[BoundPrompts]:
    folders = (files.root / "builders" / "prompts", bundled() / "builders" / "prompts")
    names = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    declared = bound.recipe.prompts
    # The recipe's own first; a teacher may have brought another.
    for name in sorted(names, key=lambda name: name != declared):
        yield read_prompts(files, name)


def _prompt_of(prompts: BoundPrompts, row: Mapping[str, Any], bound: BoundRecipe) -> Prompt | None:
    """The prompt of one text, if the profile gives it."""
    rendered = _prompts(prompts, row, bound)
    return next((prompt for prompt in rendered if prompt_digest(prompt) == row["prompt_sha256"]), None)


def _prompts(prompts: BoundPrompts, row: Mapping[str, Any], bound: BoundRecipe) -> Iterator[Prompt]:
    """Every prompt that the profile may have given for one text."""
    name = row["strategy"] if row["strategy"].startswith("star") else row["kind"]
    if name not in prompts.profile.templates:
        return
    if prompts.profile.one_call is None or name != row["kind"]:
        yield prompts.render(name, row)
        return
    kinds = tuple(bound.recipe.kinds)
    for count in range(len(kinds), 0, -1):
        for asked in combinations(kinds, count):
            if row["kind"] in asked:
                yield prompts.render("one_call", row, asked)
