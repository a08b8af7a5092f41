"""Signs in the figures of an experiment's models: by test and way, with all settings that show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from teacherlm.experiments import answer_signs as signs
from teacherlm.experiments.answer_signs import P, Signature
from teacherlm.experiments.estimates import Row
from teacherlm.experiments.results import Item, Results
from teacherlm.experiments.words import counted, listed, percent, with_bounds

INACCURATE, HARMFUL = 0.9, 0.5
"""Share of rationales that are right below which it is said, and below which it is a problem."""

WIDE = 0.1
"""Between the best and the worst seed; less is not worth a word."""


def inaccurate(rows: Sequence[Row], results: Results) -> Iterator[Signature]:
    """Teachers whose texts are seldom the gold ones."""
    for (test, _), group in _by_test(rows, lambda row: row.way == "exactness" and bool(row.cells)).items():
        poor = [row for row in group if row.estimate and row.estimate.high < INACCURATE]
        if not poor:
            continue
        worst = min(poor, key=lambda row: row.estimate.mean if row.estimate else 1.0)
        kinds: dict[str, list[bool]] = {}
        for item in _items(worst, results):
            kinds.setdefault(item.sample_id.rpartition("#")[2], []).append(item.correct)
        shares = [f"{kind.replace('_', ' ')} {percent(fmean(right))}" for kind, right in kinds.items()]
        yield Signature(
            name="inaccurate rationales",
            severity="problem" if any(row.estimate and row.estimate.high < HARMFUL for row in poor) else "warning",
            about="Students learn the mistakes of a teacher whose rationales are wrong.",
            found=f"{test}: {len(poor)} of {counted(len(group), 'teacher')}; the worst ({worst.setting}) writes "
            f"{with_bounds(worst.estimate)} of its texts exactly: {listed(shares)}",
            remedy="train the teacher longer or on more questions, and let the rules reject what they can recompute",
            where=tuple(row.setting for row in poor),
        )


def beside_chance(rows: Sequence[Row]) -> Iterator[Signature]:
    """Accuracies that guessing explains, or beats."""
    for (test, way), group in _by_test(rows, lambda row: row.chance is not None).items():
        place = {
            row.setting: signs.beside_chance(row.estimate.low, row.estimate.high, row.chance)
            for row in group
            if row.estimate
        }
        chance = percent(group[0].chance)
        for name, word, about in (
            ("chance level", "at", "An accuracy that guessing explains says nothing of what a model learned."),
            ("below chance", "below", "Who guesses does better: answers are not given, not read, or misread."),
        ):
            where = tuple(setting for setting, one in place.items() if one == word)
            if where:
                every = len(where) == len(place)
                yield Signature(
                    name=name,
                    severity="warning" if every or word == "below" else "note",
                    about=about,
                    found=f"{test}, by {way}: {len(where)} of {counted(len(place), 'setting')} {word} chance ({chance})"
                    f"{', so that nothing there can be told apart' if every and word == 'at' else ''}",
                    remedy="ask them as they were trained, or easier questions; train longer or a larger model"
                    if word == "at"
                    else "look at what they write, and how many writings state no answer",
                    where=where,
                )


def answers(rows: Sequence[Row], results: Results) -> Iterator[Signature]:
    """Signs of single answers: a test's own once, those of models for all settings together."""
    for (test, way), group in _by_test(rows, lambda row: bool(row.cells)).items():
        gold = [item.position for item in results.items.get((group[0].cells[0], test, way), ())]
        if balance := signs.unbalanced(gold, _options(group[0].chance), where=f"{test}, by {way}"):
            yield balance
        several: dict[str, list[tuple[float, Signature]]] = {}
        for row in group:
            items = _items(row, results)
            said, positions = [item.said for item in items], [item.position for item in items]
            for count, one in (
                (0, signs.one_letter(said, positions, where=row.setting)),
                (row.unanswered, signs.unanswered(row.unanswered, row.answers, where=row.setting)),
                (row.cut, signs.cut(row.cut, row.answers, where=row.setting)),
            ):
                if one:
                    several.setdefault(one.name, []).append((count / max(1, row.answers), one))
        for weighed in several.values():
            found = [one for _, one in weighed]
            # Of equally grave ones that which concerns most answers.
            _, gravest = min(weighed, key=lambda one: (signs.SEVERITIES.index(one[1].severity), -one[0]))
            of = counted(len(group), "setting")
            said_of = f"{test}, by {way}: {len(found)} of {of}, such as {gravest.found}"
            yield replace(gravest, found=said_of, where=tuple(place for one in found for place in one.where))


def seeds(rows: Sequence[Row]) -> Iterator[Signature]:
    """Seeds that differ by more than the noise of their answers."""
    for (test, way), group in _by_test(rows, lambda row: row.spread is not None).items():
        wide = [row for row in group if _differ(row)]
        if not wide:
            continue
        widest = max(wide, key=_reach)
        runs = widest.spread.runs if widest.spread else ()
        shown = ", ".join(f"{percent(run)} (seed {seed})" for seed, run in zip(widest.seeds, runs, strict=True))
        yield Signature(
            name="seeds disagree",
            severity="warning",
            about="Where the same training ends differently with another seed, few seeds say little of it.",
            found=f"{test}, by {way}: {len(wide)} of {counted(len(group), 'setting')}; the widest ({widest.setting}): "
            f"{shown}",
            remedy="run more seeds; train longer, or with a lower learning rate, until they agree",
            where=tuple(row.setting for row in wide),
        )


def _differ(row: Row) -> bool:
    if row.spread is None or len(row.seeds) < 2 or _reach(row) < WIDE:
        return False
    if not row.spread.noise:
        return True
    freedom = len(row.seeds) - 1
    return signs.chi_square(freedom * (row.spread.between / row.spread.noise) ** 2, freedom) < P


def _reach(row: Row) -> float:
    return max(row.spread.runs) - min(row.spread.runs) if row.spread else 0.0


def _items(row: Row, results: Results) -> list[Item]:
    """Of all seeds."""
    return [item for cell in row.cells for item in results.items.get((cell, row.test, row.way), ())]


def _by_test(rows: Sequence[Row], wanted: Callable[[Row], bool]) -> dict[tuple[str, str], list[Row]]:
    """By test and way, without settings that come to a training which is there already."""
    found: dict[tuple[str, str], list[Row]] = {}
    seen: set[tuple[str, str, tuple[str, ...]]] = set()
    for row in rows:
        if wanted(row) and (row.test, row.way, row.cells) not in seen:
            seen.add((row.test, row.way, row.cells))
            found.setdefault((row.test, row.way), []).append(row)
    return found


def _options(chance: float | None) -> int | None:
    """How many options every question has; None where their number differs, or there are none."""
    if not chance:
        return None
    return round(1 / chance) if abs(1 / chance - round(1 / chance)) < 1e-6 else None
