"""What `catalog.yaml` declares, each part bound to the spec of the room that it belongs to."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, replace

from pydantic.dataclasses import dataclass

from teacherlm.api.references import EvaluationSet
from teacherlm.builders.collection import Collection
from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.hub.publication import LicenceChecked
from teacherlm.project.bind import SPEC_CONFIG, bind
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import Located
from teacherlm.schemas.records import KINDS
from teacherlm.teacher.address import checked_url, without_secrets
from teacherlm.teacher.profile import NANO, TeacherProfile

TEACHER = "TEACHERLM_TEACHER"
"""Environment variable with the teacher to ask, where `--teacher` names none."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Catalog:
    """What a project has beside its datasets."""

    teachers: dict[str, TeacherProfile] = field(default_factory=dict)
    gates: dict[str, float | dict[str, float]] = field(default_factory=dict)
    """Gates of all datasets; a mapping under a dataset's name holds for it alone."""
    rules: dict[str, dict[str, bool | int | float | str]] = field(default_factory=dict)
    licences: dict[str, LicenceChecked] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)
    evaluation_sets: dict[str, EvaluationSet] = field(default_factory=dict)
    """What training splits must not share text with (docs/contamination.md)."""


@plain_dataclass(frozen=True)
class ChosenTeacher:
    """A teacher, and where the choice comes from."""

    name: str
    profile: TeacherProfile
    origin: str
    kinds: Mapping[str, ChosenTeacher] = field(default_factory=dict)
    """Its teacher for each kind, where `profile` names teachers for kinds."""
    where: str = ""
    """Where that stands."""

    def for_kind(self, kind: str) -> ChosenTeacher:
        """The teacher to ask for a kind.

        Raises:
            Mistake: there is none.
        """
        if self.profile.kinds is None:
            return self
        if kind not in self.kinds:
            raise Mistake(
                f"`{self.name}` has no teacher for `{kind}`",
                f"add  {kind}: NAME  or leave it out of --kinds",
                self.where,
            )
        return self.kinds[kind]


def read_catalog(files: ProjectFiles) -> Catalog:
    """The project's catalogue.

    Raises:
        Mistakes: all that is wrong in it.
    """
    return bind(files.catalog(), Catalog, renames={"licenses": "licences", "teacher": "teachers"})


def choose_teacher(catalog: Catalog, given: str | None, located: Located | None = None) -> ChosenTeacher:
    """The teacher that `given` names: a profile of the catalogue, `nano`, or a URL.

    Args:
        located: the catalogue's document, to show mistakes where they stand.

    Raises:
        Mistake: no teacher was named, or an unknown one.
        Mistakes: a profile whose teachers for kinds are none.
    """
    origin = "--teacher"
    if given is None:
        given, origin = os.environ.get(TEACHER), f"${TEACHER}"
    teachers = {"nano": NANO, **catalog.teachers}
    if not given:
        raise Mistake("no teacher was named", f"name one: --teacher URL, or one of {', '.join(teachers)}", "--teacher")
    if given in teachers:
        kinds, where = _teachers_of_kinds(given, teachers, origin, located)
        return ChosenTeacher(given, _addressed(given, teachers[given], located), origin, kinds, where)
    if "://" in given or ":" in given:
        urls = tuple(checked_url(part.strip(), origin) for part in given.split(",") if part.strip())
        one = urls[0] if len(urls) == 1 else None
        return ChosenTeacher(",".join(urls), TeacherProfile(url=one, urls=() if one else urls), origin)
    given = without_secrets(given)
    near = difflib.get_close_matches(given, teachers, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(teachers)}; a URL starts with http://"
    raise Mistake(f"there is no teacher `{given}`", hint, origin)


def _addressed(name: str, profile: TeacherProfile, located: Located | None) -> TeacherProfile:
    """A profile whose URL can be asked."""

    def where(*place: str | int) -> str:
        return located.where(("teachers", name, *place)) if located else f"teachers.{name}.{place[0]}"

    url = None if profile.url is None else checked_url(profile.url, where("url"))
    urls = tuple(checked_url(url, where("urls", number)) for number, url in enumerate(profile.urls))
    return replace(profile, url=url, urls=urls)


def _teachers_of_kinds(
    name: str, teachers: Mapping[str, TeacherProfile], origin: str, located: Located | None
) -> tuple[dict[str, ChosenTeacher], str]:
    """The teacher of each kind that a profile names, and where it does."""

    def where(*loc: str) -> str:
        return located.where(("teachers", name, "kinds", *loc)) if located else f"teachers.{name}.kinds"

    found: dict[str, ChosenTeacher] = {}
    problems: list[Problem] = []
    for kind, other in (teachers[name].kinds or {}).items():
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, n=1)
            hint = f"rename it to `{near[0]}`" if near else f"kinds are {', '.join(KINDS)}"
            problems.append(Problem(where(kind), f"there is no kind `{kind}`", hint))
        elif other not in teachers:
            near = difflib.get_close_matches(other, teachers, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(teachers)}"
            problems.append(Problem(where(kind), f"there is no teacher `{other}`", hint))
        elif teachers[other].kinds is not None:
            found_there = f"`{other}` names teachers for kinds itself"
            problems.append(Problem(where(kind), found_there, "name a profile with a `url` or an `embedded` model"))
        else:
            found[kind] = ChosenTeacher(other, _addressed(other, teachers[other], located), origin)
    if problems:
        raise Mistakes(problems)
    return found, where()
