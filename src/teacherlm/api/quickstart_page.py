"""The page of a quickstart run: one file, drawn from its figures, that asks for nothing from anywhere and runs nothing.

Charts are inline SVG with their horizontal places in percent, so that they fit every width without a script. Every text
is escaped by the template; a content security policy forbids requests and scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from teacherlm.api.quickstart_claims import (
    KIND_WORDS,
    beside_chance,
    claims,
    limits,
    p_value,
    percent,
    signed,
    with_interval,
)
from teacherlm.api.quickstart_figures import CHAIN_FIRST, COMPARED, PLAIN, Difference, Figures, Rate, Score, Student
from teacherlm.core.pages import DOCUMENT, THEME, content_hash, style, templates
from teacherlm.schemas.records import KINDS

POINTS = 120
"""Places on a curve at most: each is the mean of those that it stands for."""

WAYS = {"options": "by the options", "writing": "by writing"}

KIND_NAMES = {
    "fundamentals": "Fundamentals",
    "chain_of_thought": "Chain of thought",
    "common_mistakes": "Common mistakes",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a chart: places in percent of its width and height, from the upper left corner."""

    name: str
    path: str


def quickstart_page(figures: Figures) -> bytes:
    """The page as UTF-8; the same figures give the same bytes."""
    look = style(THEME) + style(DOCUMENT)
    environment = templates("api")
    environment.filters |= {
        "signed": signed,
        "percent": percent,
        "interval": with_interval,
        "duration": _duration,
        "count": lambda number: f"{number:,}",
        "kind": KIND_NAMES.__getitem__,
        "kinds": KIND_WORDS.__getitem__,
        "way": WAYS.__getitem__,
        "p": p_value,
    }
    text = environment.get_template("quickstart.html.jinja").render(
        policy=f"default-src 'none'; style-src {content_hash(look)}; base-uri 'none'; form-action 'none'",
        style=Markup(look),
        figures=figures,
        claims=claims(figures),
        limits=limits(figures),
        taught=(figures.score(PLAIN, "options"), figures.score(CHAIN_FIRST, "writing")),
        scores=_in_order(figures),
        differences=[figures.difference(*pair) for pair in COMPARED],
        reach=_reach(figures.differences),
        beside_chance=beside_chance,
        families=_by_family(figures),
        kinds=[kind for kind in KINDS if any(row.kind == kind for row in figures.teacher.exactness)],
        exactness=_exactness(figures),
        longest_step=max((step.seconds for step in figures.steps), default=0.0) or 1.0,
        curves=_curves(figures.students),
        most_tokens=max((student.tokens for student in figures.students), default=0),
        most_loss=_most_loss(figures.students),
    )
    return text.encode()


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def _in_order(figures: Figures) -> list[tuple[Score, str]]:
    """The scores, those asked as they were taught first, each with what it means."""
    found: list[tuple[Score, str]] = []
    for student, way, said in (
        (PLAIN, "options", "as it was taught: answers at once"),
        (CHAIN_FIRST, "writing", "as it was taught: chain, then answer"),
        (PLAIN, "writing", "writes its answer at once"),
        (CHAIN_FIRST, "options", "without its chain"),
    ):
        found += [(score, said) for score in figures.scores if (score.student, score.way) == (student, way)]
    return found


def _by_family(figures: Figures) -> list[tuple[str, Rate, Rate]]:
    plain, chain = figures.score(PLAIN, "options"), figures.score(CHAIN_FIRST, "writing")
    other = {row.family: row.rate for row in chain.families}
    return [(row.family, row.rate, other[row.family]) for row in plain.families if row.family in other]


def _exactness(figures: Figures) -> list[tuple[str, dict[str, Rate]]]:
    rows: dict[str, dict[str, Rate]] = {}
    for row in figures.teacher.exactness:
        rows.setdefault(row.family, {})[row.kind] = row.rate
    return list(rows.items())


def _reach(differences: Sequence[Difference]) -> tuple[float, float]:
    """The ends of the axis of differences, in points: whole tens around all intervals, and 0 well inside."""
    low = min((found.low for found in differences), default=0.0)
    high = max((found.high for found in differences), default=0.0)
    return min(-10.0, 10 * (low // 10)), max(10.0, -10 * (-high // 10))


def _most_loss(students: Sequence[Student]) -> float:
    return max((point.loss for student in students for point in student.loss), default=1.0) or 1.0


def _curves(students: Sequence[Student]) -> list[Curve]:
    width = max((student.tokens for student in students), default=0) or 1
    height = _most_loss(students)
    return [
        Curve(
            student.name,
            " ".join(
                f"{100 * point.tokens / width:.2f},{100 - 100 * point.loss / height:.2f}" for point in student.loss
            ),
        )
        for student in students
    ]
