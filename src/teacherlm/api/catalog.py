"""What `catalog.yaml` declares, each part bound to the spec of the room that it belongs to."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass as plain_dataclass
from dataclasses import field

from pydantic.dataclasses import dataclass

from teacherlm.core.errors import Mistake
from teacherlm.hub.publication import LicenceChecked
from teacherlm.project.bind import SPEC_CONFIG, bind
from teacherlm.project.find import ProjectFiles
from teacherlm.teacher.profile import NANO, TeacherProfile

TEACHER = "TEACHERLM_TEACHER"
"""Environment variable with the teacher to ask, where `--teacher` names none."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Catalog:
    """What a project has beside its datasets."""

    teachers: dict[str, TeacherProfile] = field(default_factory=dict)
    gates: dict[str, float] = field(default_factory=dict)
    rules: dict[str, dict[str, bool | int | float | str]] = field(default_factory=dict)
    licences: dict[str, LicenceChecked] = field(default_factory=dict)


@plain_dataclass(frozen=True)
class ChosenTeacher:
    """A teacher, and where the choice comes from."""

    name: str
    profile: TeacherProfile
    origin: str


def read_catalog(files: ProjectFiles) -> Catalog:
    """The project's catalogue.

    Raises:
        Mistakes: all that is wrong in it.
    """
    return bind(files.catalog(), Catalog, renames={"licenses": "licences", "teacher": "teachers"})


def choose_teacher(catalog: Catalog, given: str | None) -> ChosenTeacher:
    """The teacher that `given` names: a profile of the catalogue, `nano`, or a URL.

    Raises:
        Mistake: no teacher was named, or an unknown one.
    """
    origin = "--teacher"
    if given is None:
        given, origin = os.environ.get(TEACHER), f"${TEACHER}"
    teachers = {"nano": NANO, **catalog.teachers}
    if not given:
        raise Mistake("no teacher was named", f"name one: --teacher URL, or one of {', '.join(teachers)}", "--teacher")
    if given in teachers:
        return ChosenTeacher(given, teachers[given], origin)
    if "://" in given or ":" in given:
        return ChosenTeacher(given, TeacherProfile(url=given), origin)
    near = difflib.get_close_matches(given, teachers, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(teachers)}; a URL starts with http://"
    raise Mistake(f"there is no teacher `{given}`", hint, origin)
