"""The generated part of docs/quality.md: what `calibrate` found, as Markdown between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from teacherlm.api.calibrate import NO_GOLD, NOT_HELD_OUT, OTHER_SOURCES, SEEN_NONE, Calibration
from teacherlm.core.errors import Mistake
from teacherlm.core.files import replacing
from teacherlm.quality.calibration import ALL_REJECT

BEGIN = "<!-- made by teacherlm calibrate: begin -->"
END = "<!-- made by teacherlm calibrate: end -->"


def write_docs(found: Calibration, path: Path, command: str) -> None:
    """Put the tables into a Markdown file, in the place of those between the marks, else at its end.

    Raises:
        Mistake: the file has one mark and not the other.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (text.count(BEGIN), text.count(END)) not in ((0, 0), (1, 1)):
        raise Mistake("has no pair of marks", f"leave one line {BEGIN} and one line {END} below it", str(path))
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    joined = before if not before or before.endswith("\n\n") else before.rstrip("\n") + "\n\n"
    with replacing(path) as temporary:
        temporary.write_text(
            f"{joined}{BEGIN}\n\n{to_markdown(found, command)}\n{END}{after or chr(10)}", encoding="utf-8"
        )


def to_markdown(found: Calibration, command: str) -> str:
    """The tables as Markdown; the same findings give the same text."""
    tables = [(read.path.name, f"{read.rows:,}", f"{read.used:,}", _reasons(read.why)) for read in found.tables]
    parts = [
        f"Made by\n\n    {command}\n",
        "### Tables\n",
        _table(("table", "rows", "used", "left out"), tables),
    ]
    if found.scores:
        parts += ["### Score\n", _scores(found)]
    if found.judged:
        parts += ["### Judge\n", _judged(found)]
    for label, title in (("judgement", "judgements of people"), ("answer", "known answers")):
        if any(rule.label == label for rule in found.rules):
            parts += [f"### Rules, by {title}\n", _rules(found, label)]
    if found.scorer is not None:
        parts += ["### What the score rests on\n", _weights(found)]
    return "\n".join(parts)


def _scores(found: Calibration) -> str:
    by = {
        (one.by, one.agreement.label, one.agreement.source, one.agreement.people): one.agreement for one in found.scores
    }
    lines = []
    for (way, label, source, people), one in by.items():
        if way not in (SEEN_NONE, NOT_HELD_OUT):
            continue
        others = [by.get((name, label, source, people)) for name in (NO_GOLD, OTHER_SOURCES)]
        span = "" if one.low is None or one.high is None else f"{one.low:.3f} to {one.high:.3f}"
        lines.append(
            (
                *(label, source, people, f"{one.rationales:,}", _share(one.good / one.rationales), _number(one.auroc)),
                *(span, _number(one.same_question)),
                *(_number(other.auroc) if other else "" for other in others),
                *(_number(one.brier), _number(one.ece)),
            )
        )
    head = ("label", "source", "people", "texts", "good", "AUROC", "95 %", "same question", "no gold", "other sources")
    table = _table((*head, "Brier", "ECE"), sorted(lines, key=lambda line: (line[0] != "judgement", *line[:3])))
    if any(one.by == NOT_HELD_OUT for one in found.scores):
        table += "\nNot held out: the scorer may have been fitted on these very labels.\n"
    return table


def _judged(found: Calibration) -> str:
    lines = [
        (
            one.label,
            one.source,
            f"{one.asked:,}",
            f"{one.unreadable:,}",
            *map(_number, (one.accuracy, one.kappa, one.auroc)),
        )
        for one in found.judged
    ]
    return _table(("label", "source", "asked", "unreadable", "accuracy", "kappa", "AUROC"), lines)


def _rules(found: Calibration, label: str) -> str:
    lines = []
    for one in sorted(found.rules, key=lambda rule: (rule.rule == ALL_REJECT, rule.severity, rule.rule, rule.source)):
        if one.label == label and one.hits:
            shares = map(_share, (one.precision, one.recall, one.good_rejected))
            lines.append((one.rule, one.severity, one.source, f"{one.rationales:,}", f"{one.hits:,}", *shares))
    silent = sorted({r.rule for r in found.rules if r.label == label} - {line[0] for line in lines})
    table = _table(("rule", "severity", "source", "texts", "found", "precision", "recall", "good ones found"), lines)
    return table + (f"\nFound nothing here: {', '.join(silent)}.\n" if silent else "")


def _weights(found: Calibration) -> str:
    scorer = found.scorer
    assert scorer is not None
    lines = [
        (
            feature.name,
            "yes" if feature.gold else "",
            *(_signed(p.model.weights.get(feature.name)) for p in scorer.parts),
        )
        for feature in scorer.features
    ]
    return (
        f"Fitted on {sum(scorer.fitted_on.values()):,} labels. A weight adds to the log-odds for each unit."
        "\n\n" + _table(("feature", "gold", *(part.name for part in scorer.parts)), lines)
    )


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*rows, *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"


def _reasons(why: Any) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in why.items())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
