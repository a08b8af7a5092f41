"""A report as Markdown: what the page says, without its plots; every text from a declaration is escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from teacherlm.experiments.report_contents import Contents, numeric
from teacherlm.experiments.report_facts import accepted, duration, told
from teacherlm.experiments.report_groups import WAYS, Group, Line
from teacherlm.experiments.words import UNKNOWN, counted, difference, effect, p_value, plain, with_bounds

BAR = 20
"""Characters of a bar of 100 %."""

WHERE = 6
"""Places of a sign that are named; the page names all."""

_SPECIAL = re.compile(r"[\\`*\[\]<>|~$]|(?<!\w)_|_(?!\w)")
_OPENING = re.compile(r"^(#{1,6}(?= |$)|[-+](?= |$)|=+$|(?:-{3,})$)")
_NUMBERED = re.compile(r"^(\d+)([.)])(?= |$)")


def markdown(contents: Contents) -> str:
    """GitHub's Markdown; ends with one line feed."""
    blocks = [
        f"# {escaped(contents.experiment.question)}",
        *([escaped(contents.experiment.about)] if contents.experiment.about else []),
        *_outcome(contents),
        *_signs(contents),
        *_groups(contents),
        *_setting(contents),
        *_tables(contents),
        *_all(contents),
        "## How the figures were made",
        _list([escaped(one) for one in contents.statistics]),
    ]
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """A text that stands for itself, on one line.

    >>> print(escaped("# a | b"), escaped("x_y *z* <b>"), escaped("1. one"))
    \\# a \\| b x_y \\*z\\* \\<b\\> 1\\. one
    """
    said = _SPECIAL.sub(lambda found: "\\" + found[0], " ".join(text.split())).replace("&", "&amp;")
    said = _OPENING.sub(lambda found: "\\" + found[0], said)
    return _NUMBERED.sub(r"\1\\\2", said)


def code(text: str) -> str:
    """A text in backticks, with as many as it takes.

    >>> print(code("a b"), code("a`b"))
    `a b` ``a`b``
    """
    said = " ".join(text.split())
    fence = "`" * (max((len(one) for one in re.findall("`+", said)), default=0) + 1)
    blank = " " if said.startswith("`") or said.endswith("`") else ""
    return f"{fence}{blank}{said}{blank}{fence}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Aligned also where nothing draws it.

    Args:
        head, rows: cells, escaped already.
        numbers: columns that stand on the right.

    >>> print(table(["a", "n"], [["x", "10"], ["yy", "5"]], numbers=[1]))
    | a  |  n |
    | -- | -: |
    | x  | 10 |
    | yy |  5 |
    """
    widths = [max(2, *(len(row[place]) for row in [head, *rows])) for place in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if place in numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * (width - 1) + ":" if place in numbers else "-" * width for place, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])


def _list(items: Sequence[str]) -> str:
    """Items that begin with blanks belong to the one before."""
    return "\n".join(f"  - {one.lstrip()}" if one.startswith(" ") else f"- {one}" for one in items)


def _outcome(contents: Contents) -> Iterator[str]:
    yield "## What was measured"
    yield _list([escaped(group.said) for group in contents.concluded] or [escaped(contents.conclusions.paragraph)])
    if contents.conclusions.paper:
        yield "## What the paper says"
        yield _list([escaped(claim) for claim in contents.conclusions.paper])
        yield ("The paper's models and data are others: the two stand beside each other, and neither proves the other.")


def _signs(contents: Contents) -> Iterator[str]:
    yield "## Before you believe it"
    if not contents.signatures:
        yield (
            "None of the signs was found that are looked for in every experiment: students that do not gain, "
            "inaccurate rationales, contaminated tests, accuracy at chance, unbalanced answers."
        )
    else:
        said = []
        for sign in contents.signatures:
            said.append(
                f"**{sign.severity}: {escaped(sign.name)}.** {escaped(sign.about)} To do: {escaped(sign.remedy)}."
            )
            for found, where in sign.found:
                more = f" and {len(where) - WHERE:,} more" if len(where) > WHERE else ""
                places = f" ({'; '.join(escaped(one) for one in where[:WHERE])}{more})" if where else ""
                said.append(f"  {escaped(found)}{places}.")
        yield _list(said)
    if contents.notes:
        yield _list([escaped(note) for note in contents.notes])


def _groups(contents: Contents) -> Iterator[str]:
    if not contents.groups:
        return
    yield "## By factor"
    yield (
        f"Means with their {100 * contents.experiment.level:g} % intervals; differences in points. Factors that are "
        "not named are at their usual level. Beside what is not significant stands the difference that would have been "
        "found about three times in four."
    )
    for group in contents.groups:
        yield f"### {escaped(group.title)}"
        asked = f"{escaped(group.test)}, {group.way}"
        if group.questions:
            asked += f": {counted(group.questions, 'question')} on {counted(group.clusters, 'content')}"
        if group.chance is not None:
            asked += f", chance {100 * group.chance:.1f} %"
        yield f"{asked}{'; ' + escaped(group.held) if group.held else ''}."
        yield _compared(group)


def _compared(group: Group) -> str:
    named = any(part.title for part in group.parts)
    head = ["#", *(["setting"] if named else []), escaped(group.vary), "accuracy"]
    numbers = [0, len(head) - 1]
    if group.baseline:
        head += ["difference", "p", "adjusted", "h", "verdict"]
        numbers += range(len(head) - 5, len(head) - 1)
    rows = []
    for part in group.parts:
        for line in part.lines:
            row = [str(line.number or ""), *([escaped(part.title)] if named else []), escaped(line.level)]
            row.append(with_bounds(line.estimate))
            rows.append(row + (_tested(line) if group.baseline else []))
    return table(head, rows, numbers)


def _tested(line: Line) -> list[str]:
    one = line.compared
    if one is None:
        return ["", "", "", "", "baseline"]
    if one.verdict == "not tested":
        return [UNKNOWN, "", "", "", f"not tested: {escaped(one.why or 'nothing was found')}"]
    said: str = one.verdict
    if one.verdict == "not significant" and one.detectable is not None:
        said += f" (finds {plain(one.detectable)} points or more)"
    said += f"; lacking: {escaped(one.why)}" if one.why else ""
    h = "" if math.isnan(one.effect) else effect(one.effect).removeprefix("h = ")
    return [difference(one), _p(one.p), _p(one.p_adjusted), h, said]


def _p(p: float) -> str:
    return p_value(p).removeprefix("p = ").removeprefix("p ")


def _setting(contents: Contents) -> Iterator[str]:
    facts, setting = contents.facts, contents.setting
    yield "## Setting"
    time = f"{duration(setting.seconds)} from start to end; " if setting.seconds is not None else ""
    yield _list(
        [
            f"Run again with {code(setting.command)}",
            f"{facts.cells}; {counted(facts.models, 'different model')}, seeds {', '.join(map(str, facts.seeds))}",
            *([f"Training extends {escaped(facts.student)}"] if facts.student else []),
            *([escaped(setting.machine)] if setting.machine else []),
            f"{time}{duration(facts.cpu_seconds)} of CPU for training and tests",
        ]
    )
    if facts.factors:
        rows = [
            [escaped(name), ", ".join(escaped(level) for level in levels), escaped(usual)]
            for name, levels, usual in facts.factors
        ]
        yield table(["factor", "levels", "usual"], rows)
    yield table(
        ["test", "asked", "ways", "questions", "contents", "chance"],
        [
            [
                *(escaped(one.name), escaped(one.about), one.ways, f"{one.questions:,}", f"{one.clusters:,}"),
                UNKNOWN if one.chance is None else f"{100 * one.chance:.1f} %",
            ]
            for one in facts.tests
        ],
        numbers=[3, 4, 5],
    )
    if facts.data:
        rows = [
            [
                *(escaped(one.name), escaped(one.about), _count(one.samples), _count(one.calls), _count(one.tokens)),
                accepted(one.accepted),
            ]
            for one in facts.data
        ]
        head = ["dataset", "made from", "samples", "teacher calls", "tokens written", "accepted"]
        yield table(head, rows, numbers=[2, 3, 4, 5])
    if facts.failures:
        yield "Cells that failed:"
        yield table(
            ["reason", "cells"],
            [[escaped(reason), "; ".join(escaped(cell) for cell in cells)] for reason, cells in facts.failures],
        )


def _tables(contents: Contents) -> Iterator[str]:
    if contents.tables:
        yield "## What it took"
    for one in contents.tables:
        yield f"### {escaped(one.title)}"
        rows = [[escaped(cell) for cell in row] for row in one.rows]
        yield table([escaped(name) for name in one.columns], rows, numeric(one))
        if one.notes:
            yield _list([escaped(note) for note in one.notes])


def _all(contents: Contents) -> Iterator[str]:
    yield "## All estimates"
    yield (
        "Every combination of levels in every test, whether a comparison was planned for it or not. Without a "
        "comparison two rows are not to be set against each other: so many pairs always hold some that differ by luck."
    )
    for test, way, rows in contents.asked:
        yield f"**{escaped(test)}**, {WAYS[way]}:"
        yield table(
            ["setting", "accuracy", "", "questions", "seeds", "unanswered"],
            [
                [
                    escaped(told(contents.experiment, row.factors)),
                    with_bounds(row.estimate),
                    "█" * round(BAR * row.estimate.mean) if row.estimate else "",
                    f"{row.questions:,}",
                    str(len(row.seeds)),
                    f"{row.unanswered:,} of {row.answers:,}",
                ]
                for row in rows
            ],
            numbers=[1, 3, 4, 5],
        )
    if contents.facts.costs:
        yield "What the models took (one model of each setting; the times are those of all its seeds together):"
        yield table(
            ["setting", "parameters", "texts", "tokens", "steps", "training", "CPU", "teacher calls", "teacher tokens"],
            [
                [
                    escaped(name),
                    *(f"{number:,.0f}" for number in (row.parameters, row.texts, row.tokens, row.steps)),
                    duration(row.train_seconds * len(row.seeds)),
                    duration(row.train_cpu_seconds * len(row.seeds)),
                    f"{row.calls:,.0f}",
                    f"{row.call_tokens:,.0f}",
                ]
                for name, row in contents.facts.costs
            ],
            numbers=range(1, 9),
        )


def _count(number: int | None) -> str:
    return f"{number:,}" if number else ""
