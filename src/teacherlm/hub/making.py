"""The tables of a card about how texts were made, what became of them and what they took.

With one dataset a table has its rows. With several, a table of sums stands first; of many, each dataset's rows are
folded away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from teacherlm.hub.manifest import Asked, Counts, Entry
from teacherlm.hub.markdown import Ready, code, folded, prose, some, table, ticked
from teacherlm.schemas.records import KINDS

MANY = 8
"""Datasets; with more, what is said of each is folded away."""

NUMBERS = ("asked", "accepted", "rejected", "truncated", "failed")

STRATEGIES: Mapping[str, str] = {
    "explain": "the teacher was shown the gold answer and asked to explain it",
    "star": "the teacher was asked without the gold answer",
    "star_hinted": "asked again with the gold answer as a hint, since the first answer was another one",
    "human": "taken from the source, where a person wrote it; no teacher was asked",
}

_LONGEST = 60
"""Letters of a parameter's value that the card shows."""

_COSTS: Mapping[str, str] = {"hours": "hours of asking", "server_hours": "server-hours"}


def fold(entries: Mapping[str, Entry], summary: str, markdown: str) -> str:
    """What is said of each dataset; folded away where there are many."""
    return folded(summary, markdown) if len(entries) > MANY else markdown


def parts(*markdown: str) -> str:
    return "\n\n".join(filter(None, markdown))


def ways_table(entries: Mapping[str, Entry]) -> str:
    """How the accepted texts came about: those of all datasets and kinds together that came about alike."""
    ways: dict[tuple[str, ...], tuple[dict[str, None], dict[str, None], int]] = {}
    for name, entry in entries.items():
        for asked in entry.made.asked:
            way = (
                code(asked.model) if asked.model else Ready("nobody"),
                code(asked.revision or ""),
                code(asked.strategy),
                _prompts(asked, entry),
                _parameters(asked),
            )
            kinds, names, texts = ways.get(way, ({}, {}, 0))
            ways[way] = ({**kinds, asked.kind: None}, {**names, name: None}, texts + asked.texts)
    rows = [
        (
            *way,
            ticked(sorted(kinds, key=lambda kind: (*KINDS, kind).index(kind))),
            "" if len(entries) == 1 else "all" if len(names) == len(entries) else some(list(names), most=4),
            f"{texts:,}",
        )
        for way, (kinds, names, texts) in ways.items()
    ]
    header = ("teacher", "revision", "strategy", "prompts", "parameters", "kinds", "datasets", "accepted texts>")
    return table(header, rows)


def strategies(entries: Mapping[str, Entry]) -> list[str]:
    """What the strategies mean that were used."""
    used = {asked.strategy for entry in entries.values() for asked in entry.made.asked}
    return [f"{code(name)}: {meaning}" for name, meaning in STRATEGIES.items() if name in used]


def teachers_table(entries: Mapping[str, Entry]) -> str:
    """Teachers of datasets that were published before it was written down how they were asked."""
    rows = [
        (code(name), code(teacher.model), code(teacher.revision or ""))
        for name, entry in entries.items()
        if not entry.made.asked
        for teacher in entry.teachers
    ]
    return table(("dataset", "model", "revision"), rows)


def counts_table(entries: Mapping[str, Entry]) -> str:
    header = ("dataset", "kind", *(f"{n}>" for n in NUMBERS), "mean score>", "median score>", "most frequent reasons")
    rows = []
    for name, entry in entries.items():
        scores = {score.kind: score for score in entry.judged.scores}
        for counts in entry.counts:
            score = scores.get(counts.kind)
            rows.append(
                (
                    code(name),
                    code(counts.kind),
                    *(_count(getattr(counts, number)) for number in NUMBERS),
                    f"{score.mean:.3f}" if score else "",
                    f"{score.median:.3f}" if score else "",
                    "; ".join(f"{reason} ({number:,})" for reason, number in counts.reasons),
                )
            )
    each = fold(entries, "By dataset, with scores and reasons", table(header, rows))
    return parts(_counts_in_all(entries), each) if len(entries) > 1 else each


def _counts_in_all(entries: Mapping[str, Entry]) -> str:
    of_kind: dict[str, list[Counts]] = {}
    for entry in entries.values():
        for counts in entry.counts:
            of_kind.setdefault(counts.kind, []).append(counts)
    rows = []
    for kind, found in sorted(of_kind.items(), key=lambda item: (*KINDS, item[0]).index(item[0])):
        scores = [score for entry in entries.values() for score in entry.judged.scores if score.kind == kind]
        scored = sum(score.scored for score in scores)
        sums = [sum(getattr(counts, number) or 0 for counts in found) for number in NUMBERS]
        mean = f"{sum(score.mean * score.scored for score in scores) / scored:.3f}" if scored else ""
        rows.append((code(kind), f"{len(found)}", *map(_count, sums), mean))
    return table(("kind", "datasets>", *(f"{number}>" for number in NUMBERS), "mean score>"), rows)


def rules_table(entries: Mapping[str, Entry]) -> str:
    """Every rule once, with what it finds; of several datasets those in which it found something."""
    if len(entries) == 1:
        (entry,) = entries.values()
        rows = [
            (_rule(rule.rule, [entry]), rule.severity, rule.reason, _count(rule.findings), _percent(rule.share))
            for rule in entry.rules
        ]
        return table(("rule", "severity", "what it finds", "found>", "share>"), rows)
    sums: dict[tuple[str, str, str], list[int]] = {}
    for entry in entries.values():
        for rule in entry.rules:
            sums.setdefault((rule.rule, rule.severity, rule.reason), []).append(rule.findings or 0)
    in_all = [
        (_rule(rule, entries.values()), severity, reason, _count(sum(hits)), f"{sum(map(bool, hits))} of {len(hits)}")
        for (rule, severity, reason), hits in sorted(sums.items())
    ]
    each = [
        (code(name), code(rule.rule), _count(rule.findings), _percent(rule.share))
        for name, entry in entries.items()
        for rule in entry.rules
        if rule.findings
    ]
    return parts(
        table(("rule", "severity", "what it finds", "found>", "in datasets>"), in_all),
        fold(entries, "By dataset, where a rule found something", table(("dataset", "rule", "found>", "share>"), each)),
    )


def contamination_table(entries: Mapping[str, Entry]) -> str:
    """Every evaluation set once; of several datasets those that share text with it."""
    sets: dict[str, list[tuple[bool, int, int]]] = {}
    for entry in entries.values():
        for one in entry.judged.contamination:
            sets.setdefault(one.task, []).append((one.is_run, one.items, one.samples))
    rows = []
    for task, found in sorted(sets.items()):
        run = [(items, samples) for is_run, items, samples in found if is_run]
        state = "run" if len(run) == len(found) else f"run for {len(run)} of {len(found)}" if run else "not run"
        items = f"{max(items for items, _ in run):,}" if run else ""
        rows.append((code(task), state, items, f"{sum(samples for _, samples in run):,}" if run else ""))
    each = [
        (code(name), code(one.task), f"{one.samples:,}")
        for name, entry in entries.items()
        for one in entry.judged.contamination
        if one.samples
    ]
    detail = table(("dataset", "evaluation set", "samples that share text>"), each) if len(entries) > 1 else ""
    return parts(
        table(("evaluation set", "comparison", "items>", "samples that share text>"), rows),
        fold(entries, "By dataset, where samples share text", detail),
    )


def duplicates_table(entries: Mapping[str, Entry]) -> str:
    kinds = list(dict.fromkeys(kind for entry in entries.values() for kind in sorted(entry.judged.duplicates)))
    kinds.sort(key=lambda kind: ("question", *KINDS, kind).index(kind))
    rows = [
        (code(name), *(f"{entry.judged.duplicates.get(kind, 0):,}" for kind in kinds))
        for name, entry in entries.items()
        if any(entry.judged.duplicates.values())
    ]
    found = table(("dataset", *(f"{kind.replace('_', ' ')}>" for kind in kinds)), rows)
    return fold(entries, "Near-duplicates, by dataset", found)


def contract_words(entries: Mapping[str, Entry]) -> tuple[str, list[str]]:
    """How many expectations hold, and those that do not; empty where it was not written down."""
    held = {name: entry.judged.contract for name, entry in entries.items() if entry.judged.contract}
    every = sum(contract.expectations for contract in held.values())
    hold = sum(contract.hold for contract in held.values())
    if not every:
        return "", []
    if hold == every:
        return f"All {every:,} hold.", []
    broken: dict[str, list[str]] = {}
    for name, one in held.items():
        for words in one.broken:
            broken.setdefault(words, []).append(name)
    lines = [f"{some(names)}: {prose(words)}" for words, names in broken.items()]
    return f"{hold:,} of {every:,} hold; none of the others is critical.", lines


def costs_table(entries: Mapping[str, Entry]) -> str:
    names = list(dict.fromkeys(what for entry in entries.values() for what in entry.costs))
    header = ("dataset", *(f"{_COSTS.get(what, what.replace('_', ' '))}>" for what in names))
    rows = [
        (code(name), *(_amount(entry.costs.get(what)) for what in names))
        for name, entry in entries.items()
        if entry.costs
    ]
    if len(rows) < 2:
        return table(header, rows)
    # A sum of a part would pass for the whole.
    known = [entry.costs for entry in entries.values() if entry.costs]
    sums = [_amount(sum(c[what] for c in known)) if all(what in c for c in known) else "" for what in names]
    in_all = (Ready("**all**"), *sums)
    if len(entries) <= MANY:
        return table(header, [*rows, in_all])
    return parts(table(("", *header[1:]), [in_all]), folded("By dataset", table(header, rows)))


def _prompts(asked: Asked, entry: Entry) -> Ready:
    """The names of prompt profiles, linked; a file stands beside another of its name with a hash in its own."""
    links = []
    for name in asked.prompts:
        of_name = re.compile(rf"prompts/{re.escape(name)}(-[0-9a-f]{{8}})?\.yaml")
        path = next(filter(of_name.fullmatch, entry.files), None)
        links.append(f"[{name}]({path})" if path else code(name))
    return Ready(", ".join(links))


def _parameters(asked: Asked) -> Ready:
    shown = [f"{code(name)} {_values(values)}" for name, values in asked.parameters.items()]
    if asked.seeds == 1 < asked.texts:
        shown.append("one seed")
    elif asked.seeds:
        shown.append("a seed for each call")
    if asked.drawn_from:
        shown[-1] += f", drawn from {', '.join(map(str, asked.drawn_from))}"
    return Ready("; ".join(shown))


def _values(values: Sequence[Any]) -> str:
    return " or ".join("unset" if value is None else code(_short(orjson.dumps(value).decode())) for value in values)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _rule(rule: str, entries: Iterable[Entry]) -> Ready:
    path = f"rules/{rule}.sql"
    return Ready(f"[{rule}]({path})") if any(path in entry.files for entry in entries) else code(rule)


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _percent(share: float | None) -> str:
    """
    >>> _percent(0.0004), _percent(0.1), _percent(0)
    ('<0.1%', '10.0%', '0%')
    """
    if share is None:
        return ""
    return "0%" if not share else "<0.1%" if share < 0.001 else f"{100 * share:.1f}%"


def _amount(value: float | None) -> str:
    """
    >>> _amount(4800.0), _amount(1.234), _amount(0.0004)
    ('4,800', '1.23', '<0.01')
    """
    if value is None:
        return ""
    if value == int(value):
        return f"{int(value):,}"
    return "<0.01" if value < 0.005 else f"{value:,.2f}"
