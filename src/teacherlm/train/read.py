"""Declarations of training and the layouts they name, read from a project's `train/` folder."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.project.bind import bind
from teacherlm.project.find import ProjectFiles
from teacherlm.project.layouts import Layout, bind_layouts
from teacherlm.project.located import Loc, Located, read_yaml
from teacherlm.train.checks import check, check_stage_names
from teacherlm.train.declaration import Training
from teacherlm.train.layers import EXTENDS, Layered, lay

FOLDER = "train"
LAYOUTS = "layouts.yaml"
LAUNCH = "accelerate"
"""The folder of `accelerate launch --config_file`, which holds no declarations."""

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*"

RENAMES = {
    "extend": EXTENDS,
    "lr": "learning_rate",
    "model_name": "model",
    "max_length": "window",
    "max_seq_length": "window",
    "context": "window",
    "layout": "layouts",
    "batch_size": "batch_tokens",
    "dtype": "precision",
    "warmup_ratio": "warmup",
    "max_samples": "at_most",
}


@dataclass(frozen=True)
class BoundTraining:
    """A declaration, and where each of its keys stands."""

    training: Training
    located: Located

    def where(self, loc: Loc, *, key: bool = False) -> str:
        """`file:line:column` of a part, such as `("stages", 0, "window")`."""
        return self.located.where(loc, key=key)


def names(files: ProjectFiles) -> list[str]:
    """Names of all declarations: the project's own, then those that ship with teacherlm, each in order."""
    own = _names(files.root)
    return own + ([] if files.is_bundled else [name for name in _names(bundled()) if name not in own])


def plain_name(given: str) -> str:
    """A declaration's name, however it was given.

    >>> plain_name("train/paper/teacher-7b1.yaml")
    'paper/teacher-7b1'
    """
    return given.removeprefix("./").removeprefix(f"{FOLDER}/").removesuffix(".yaml")


def read_training(files: ProjectFiles, name: str) -> BoundTraining:
    """The declaration `train/<name>.yaml`, laid over those that it extends.

    Raises:
        Mistake: there is no such declaration.
        Mistakes: all that is wrong in it.
    """
    name = plain_name(name)
    located = read_raw(files, name)
    problems = check_stage_names(located)
    training = None
    try:
        training = bind(located, Training, data={"name": name, **located.data}, renames=RENAMES)
    except Mistakes as error:
        problems += [problem for problem in error.problems if problem.where not in {p.where for p in problems}]
    if problems or training is None:
        raise Mistakes(problems)
    bound = BoundTraining(training, located)
    problems = check(training, located, read_layouts(files)) + _trained_problems(files, bound)
    if problems:
        raise Mistakes(problems)
    return bound


def read_layouts(files: ProjectFiles) -> dict[str, Layout]:
    """Layouts by name: those that ship with teacherlm, and the project's own over them.

    Raises:
        Mistakes: all that is wrong in `train/layouts.yaml`.
    """
    found: dict[str, Layout] = {}
    for root in dict.fromkeys([bundled(), files.root]):
        if (path := root / FOLDER / LAYOUTS).is_file():
            found |= bind_layouts(read_yaml(path, f"{FOLDER}/{LAYOUTS}"))
    return found


def read_raw(files: ProjectFiles, name: str) -> Layered:
    """A declaration as it is written, laid over those that it extends.

    Raises:
        Mistake, Mistakes: there is none; it is no mapping; one extends itself.
    """
    documents: list[Located] = []
    seen: list[str] = []
    place = ""
    while True:
        located = _find(files, name, place)
        if not isinstance(located.data, dict):
            found = "holds no keys with values"
            raise Mistakes([Problem(located.where(()), found, "write  about: …  and the other keys")])
        if (declared := located.data.get("name", name)) != name:
            found = f"`name` is {declared}, but the file's name is {name}"
            edit = "leave `name` out, or rename the file"
            raise Mistakes([Problem(located.where(("name",)), found, edit)])
        located.data.pop("name", None)
        documents.insert(0, located)
        seen.append(name)
        below = located.data.get(EXTENDS)
        if below is None:
            return lay(documents)
        place = located.where((EXTENDS,))
        if not isinstance(below, str):
            raise Mistakes([Problem(place, "`extends` names no declaration", f"write  {EXTENDS}: paper/teacher-560m")])
        name = plain_name(below)
        if name in seen:
            raise Mistakes([Problem(place, f"extends itself: {' → '.join([*seen, name])}", "name another declaration")])


def _names(root: Path) -> list[str]:
    found = (path.relative_to(root / FOLDER) for path in (root / FOLDER).glob("**/*.yaml"))
    return sorted(str(PurePosixPath(p).with_suffix("")) for p in found if str(p) != LAYOUTS and p.parts[0] != LAUNCH)


def _find(files: ProjectFiles, name: str, place: str) -> Located:
    """The file of a declaration: the project's, else the one that ships with teacherlm."""
    known = names(files)
    if re.fullmatch(NAME, name) and name in known:
        relative = f"{FOLDER}/{name}.yaml"
        return read_yaml(next(p for p in (files.root / relative, bundled() / relative) if p.is_file()), relative)
    hint = nearest(name, known)
    raise Mistake(
        f"there is no declaration `{name}`", f"{hint} (or write {FOLDER}/{name}.yaml)", place or str(files.root)
    )


def nearest(name: str, known: list[str]) -> str:
    """What somebody may have meant, for a remedy."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near = near or [other for other in known if other.rpartition("/")[2] == name.rpartition("/")[2]][:3]
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known) or 'none'}"


def _trained_problems(files: ProjectFiles, bound: BoundTraining) -> list[Problem]:
    """What is wrong with a base that another declaration is to make: absent, without that stage, or in a circle."""
    place, chain, trained = bound.where(("base", "trained")), [bound.training.name], bound.training.base.trained
    while isinstance(trained, str):
        name, _, stage = plain_name(trained).partition(":")
        if name in chain:
            return [Problem(place, f"starts from itself: {' → '.join([*chain, name])}", "name another base")]
        if name not in (known := names(files)):
            return [Problem(place, f"`trained` names no declaration `{name}`", nearest(name, known))]
        try:
            data = read_raw(files, name).data
        except Mistake as error:
            return [Problem(place, f"`{name}` cannot be read: {error.problems[0]}", "mend it first")]
        stages = data.get("stages") if isinstance(data.get("stages"), list) else []
        there = [str(s.get("name")) for s in stages if isinstance(s, dict)]
        if stage and stage not in there:
            return [Problem(place, f"`{name}` has no stage `{stage}`", nearest(stage, there))]
        chain.append(name)
        base = data.get("base")
        trained = base.get("trained") if isinstance(base, dict) else None
    return []
