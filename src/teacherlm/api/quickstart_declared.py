"""What `evaluate/quickstart.yaml` declares, and the small project in which a quickstart runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from teacherlm.api.project import Project
from teacherlm.api.quickstart_figures import CHAIN_FIRST, PLAIN
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.core.files import write_text
from teacherlm.project.bind import SPEC_CONFIG, bind
from teacherlm.project.find import CATALOG, ProjectFiles
from teacherlm.project.located import Located, read_yaml

FILE = "evaluate/quickstart.yaml"

TRAIN, TEST = "train", "test"
"""Splits of the dataset: what the students read; and questions that nobody is trained on."""

FOLDER = "quickstart"
"""In the workspace: the run's project, its figures, its page."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Declared:
    """Sizes, seed and parts of a quickstart."""

    dataset: str
    """A recipe whose source is procedural."""
    families: tuple[str, ...]
    """Of the curriculum."""
    teacher: str
    """A teacher of the catalogue that teacherlm serves itself."""
    teacher_training: str
    """The declaration that `--from-scratch` trains in its place; the end of its last stage explains."""
    questions: int
    """Explained by the teacher and read by the students."""
    seed: int
    """Of these questions and of the test questions."""
    students: dict[str, str]
    """`plain` and `chain-first`, and the declarations that train them."""
    test: int
    """Questions that the students are tested on."""
    shown: int
    """The first so many test questions are explained by the teacher too; the examples of the page are among them."""
    examples: int
    max_new_tokens: int
    """That a student may write as its answer, its chain included."""
    control: int
    """Questions from which the control learns to guess by the options alone."""

    @model_validator(mode="after")
    def _that_fits(self) -> Declared:
        for name in ("questions", "test", "shown", "examples", "control", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)} | write a number of 1 or more")
        if set(self.students) != {PLAIN, CHAIN_FIRST}:
            raise ValueError(f"`students` names {', '.join(self.students)} | name {PLAIN} and {CHAIN_FIRST}")
        if not self.examples <= self.shown <= self.test:
            raise ValueError("`examples` are drawn from `shown`, and these from `test` | let none exceed the next")
        return self


def read_declared() -> Declared:
    """The declaration that ships with teacherlm.

    Raises:
        Mistakes: all that is wrong in it.
    """
    return bind(read_yaml(bundled() / FILE, FILE), Declared)


def sized(declared: Declared, questions: int | None) -> Declared:
    """The same for another number of questions; the test shrinks with it, and never grows.

    Raises:
        Mistake: too few to be trained on.
    """
    if questions is None or questions == declared.questions:
        return declared
    least = 6 * len(declared.families)
    if questions < least:
        raise Mistake(f"is {questions}", f"give {least} or more, six of each family", "--questions")
    test = min(declared.test, max(56, declared.test * questions // declared.questions))
    shown = min(declared.shown, test, max(declared.examples, 28))
    control = max(280, min(declared.control, 2 * questions))
    return replace(declared, questions=questions, test=test, shown=shown, control=control)


def lay_out(declared: Declared, workspace: Path, teacher: Path | None) -> Project:
    """The run's own project: the recipe with the numbers and the seed of this run, and a catalogue.

    All else that is declared is what ships with teacherlm.

    Args:
        teacher: the folder of a model to ask in place of the declared teacher's.

    Raises:
        Mistakes: the recipe's source is not procedural.
    """
    from teacherlm.api.project import open as open_project

    shipped = ProjectFiles(bundled())
    root = workspace / FOLDER / "project"
    recipe = shipped.recipe(declared.dataset)
    _write(root / "builders" / f"{declared.dataset}.yaml", recipe, _recipe(recipe, declared))
    catalog = shipped.catalog()
    _write(root / CATALOG, catalog, _catalog(catalog.data, declared, teacher))
    return open_project(root, workspace=workspace)


def _recipe(located: Located, declared: Declared) -> dict[str, Any]:
    source = located.data.get("source") or {}
    if not isinstance(source.get("procedural"), dict):
        found = f"the source of `{declared.dataset}` is not procedural"
        raise Mistakes([Problem(located.where(("source",)), found, "write  procedural: {seed: 1, splits: {…}}")])
    made = {**source["procedural"], "families": list(declared.families), "seed": declared.seed}
    made["splits"] = {TRAIN: declared.questions, TEST: declared.shown}
    return {**located.data, "source": {**source, "procedural": made}}


def _catalog(data: dict[str, Any], declared: Declared, teacher: Path | None) -> dict[str, Any]:
    profile = dict(data["teachers"][declared.teacher])
    if teacher is not None:
        profile["embedded"] = str(teacher.resolve())
    return {"teachers": {declared.teacher: profile}, "gates": data.get("gates", {}), "rules": data.get("rules", {})}


def _write(path: Path, located: Located, data: dict[str, Any]) -> None:
    head = "# Written by teacherlm quickstart; the file that ships with teacherlm, with the numbers of that run.\n"
    text = head + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
