"""What an experiment says, in sentences made from the outcomes of its tests alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from teacherlm.experiments.comparing import Compared
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.words import bounds, counted, effect, listed, p_value, percent, plain, signed

NOUN = {"exactness": "the share of exact texts"}
"""What a way measures, where it is not accuracy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusions:
    """Plain text."""

    paragraph: str
    """All of the experiment, in short."""
    sentences: tuple[str, ...]
    """Of each comparison, in their order."""
    paper: tuple[str, ...]
    """What the paper says, to be read beside it: whether that agrees is for the reader to judge."""


def conclude(experiment: Experiment, compared: Sequence[Compared]) -> Conclusions:
    """Sentences, paragraph, and the paper's claims."""
    return Conclusions(
        paragraph=paragraph(experiment, compared),
        sentences=tuple(sentence(experiment, one, compared) for one in compared),
        paper=tuple(f"{claim.says.rstrip()} ({claim.source})" for claim in experiment.paper),
    )


def sentence(experiment: Experiment, one: Compared, among: Sequence[Compared] = ()) -> str:
    """What one comparison came to.

    Args:
        among: comparisons it is told with: what is not the same in all of them is said.
    """
    with_what = f"With {one.level} in place of {one.baseline} ({_setting(experiment, one, among)})"
    noun = f"{_noun(one)} on {one.test}"
    if one.verdict == "not tested":
        return f"{with_what}: not tested: {(one.why or 'nothing was found').rstrip('.')}."
    end = f" Lacking: {one.why.rstrip('.')}." if one.why else ""
    if len(one.seeds) == 1:
        end = " Of one seed: other seeds may say otherwise." + end
    p = f"{p_value(one.p_adjusted)} after Holm's correction"
    if one.verdict == "not significant":
        interval = f"{signed(one.difference)} points, {bounds(one.low, one.high)}; {p}"
        return f"{with_what}, {noun} does not differ significantly ({interval}){_missed(experiment, one)}.{end}"
    rises = one.difference > 0
    low, high = (one.low, one.high) if rises else (-one.high, -one.low)
    return (
        f"{with_what}, {noun} {'rises' if rises else 'falls'} by {plain(abs(one.difference))} points "
        f"({bounds(low, high)}; {p}, {effect(one.effect)}): "
        f"{percent(one.first.mean)} against {percent(one.second.mean)}.{end}"
    )


def paragraph(experiment: Experiment, compared: Sequence[Compared]) -> str:
    """What all comparisons came to, those of one kind told together."""
    groups: dict[tuple[str, ...], list[Compared]] = {}
    for one in compared:
        groups.setdefault((one.vary, one.baseline, one.test, one.way, one.baseline_way), []).append(one)
    said = [
        sentence(experiment, group[0], group) if len(group) == 1 else _together(experiment, group)
        for group in groups.values()
    ]
    return " ".join(said) or "No comparison was planned."


def _together(experiment: Experiment, group: Sequence[Compared]) -> str:
    first = group[0]
    tested = [one for one in group if one.verdict != "not tested"]
    better = sorted((one for one in group if one.verdict == "better"), key=lambda one: -one.difference)
    worse = sorted((one for one in group if one.verdict == "worse"), key=lambda one: one.difference)
    same = [one for one in group if one.verdict == "not significant"]
    about = f"against {first.baseline} ({first.vary}{_asked(first)}), {_noun(first)} on {first.test}"
    if not tested:
        whys = list(dict.fromkeys(one.why or "nothing was found" for one in group))
        return f"{counted(len(group), 'comparison')} {about}: none could be tested: {listed(whys, most=2)}."
    words = ("significantly higher", better), ("significantly lower", worse), ("not significantly different", same)
    counts = [f"{word} in {len(several)}" for word, several in words if several]
    said = [f"Of {counted(len(tested), 'comparison')} {about} is {listed(counts)}."]
    for word, several in (("Higher", better), ("Lower", worse)):
        if several:
            shown = [
                f"{_name(experiment, one, group)} by {plain(abs(one.difference))} points "
                f"({bounds(*sorted((abs(one.low), abs(one.high))))})"
                for one in several
            ]
            said.append(f"{word}: {listed(shown)}.")
    if same:
        smallest = [one.detectable for one in same if one.detectable is not None]
        names = listed([_name(experiment, one, group) for one in same])
        low, high = plain(min(smallest, default=0.0)), plain(max(smallest, default=0.0))
        least = f"{low} points" if low == high else f"{low} to {high} points, by comparison,"
        could = f"; a difference below {least} could well have been missed" if smallest else ""
        said.append(f"Not significant: {names}{could}.")
        if many := [_name(experiment, one, group) for one in same if _by_itself(one)]:
            said.append(f"Significant by itself, but not among all comparisons: {listed(many)}.")
        if unsure := [
            _name(experiment, one, group) for one in same if _models_differ(experiment, one) and not _by_itself(one)
        ]:
            said.append(f"Of these the models of {listed(unsure)} do differ, but other seeds might turn it.")
    if few := [_name(experiment, one, group) for one in tested if len(one.seeds) == 1 and len(experiment.seeds) > 1]:
        said.append(f"Of one seed: {listed(few)}.")
    if lacking := list(dict.fromkeys(one.why.rstrip(".") for one in tested if one.why)):
        said.append(f"Lacking: {listed(lacking, most=2)}.")
    if skipped := len(group) - len(tested):
        said.append(f"{counted(skipped, 'comparison')} could not be tested.")
    return " ".join(said)


def _missed(experiment: Experiment, one: Compared) -> str:
    """What keeps a difference from being significant, or what could have been found."""
    if _by_itself(one):
        return ": it would by itself, but not among all comparisons"
    if _models_differ(experiment, one):
        return ": these models differ, but their seeds do so too, and other seeds might turn it"
    if one.detectable is None:
        return ""
    return f"; a difference below {plain(one.detectable)} points could well have been missed"


def _models_differ(experiment: Experiment, one: Compared) -> bool:
    """Whether the test of these very models refuses equality."""
    return one.p_of_models < 1 - experiment.level


def _by_itself(one: Compared) -> bool:
    """Whether the interval, which is not corrected, leaves 0 out; nothing is said so of one seed."""
    return (one.low > 0 or one.high < 0) and len(one.seeds) > 1


def _noun(one: Compared) -> str:
    return NOUN.get(one.way, "accuracy") if one.way == one.baseline_way else "accuracy"


def _asked(one: Compared) -> str:
    """How both sides were asked, unless `vary` says it."""
    return f", asked by {one.way}" if one.way == one.baseline_way and one.way not in ("exactness", "benchmark") else ""


def _setting(experiment: Experiment, one: Compared, among: Sequence[Compared]) -> str:
    fixed = _told(experiment, one, among)
    return f"{one.vary}{'; ' if fixed else ''}{', '.join(fixed)}{_asked(one)}"


def _name(experiment: Experiment, one: Compared, among: Sequence[Compared]) -> str:
    fixed = _told(experiment, one, among)
    return f"{one.level} ({', '.join(fixed)})" if fixed else one.level


def _told(experiment: Experiment, one: Compared, among: Sequence[Compared]) -> list[str]:
    """The fixed levels that say something: those that are not usual; where one factor alone differs, each of it."""
    alike = [other for other in among if other.vary == one.vary and other.test == one.test]
    differ = [factor for factor, level in one.fixed.items() if len({o.fixed.get(factor, level) for o in alike}) > 1]
    return [
        f"{factor} {level}"
        for factor, level in one.fixed.items()
        if level != experiment.default(factor) or differ == [factor]
    ]
