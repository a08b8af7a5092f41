"""What a quickstart run lets one say, in sentences made from its figures alone, and what it does not show."""

from __future__ import annotations

from teacherlm.api.quickstart_figures import ALL, CHAIN_FIRST, PLAIN, Difference, Figures, Judged, Rate, Score
from teacherlm.schemas.records import KINDS

KIND_WORDS = {
    "fundamentals": "fundamentals",
    "chain_of_thought": "chains of thought",
    "common_mistakes": "common mistakes",
}

LEAK = 0.05
"""Above chance: where the control's interval ends higher, that the options tell nothing cannot be said."""


def claims(figures: Figures) -> list[str]:
    """What came out, the comparison of the students first; each number with its interval."""
    return [
        _as_taught(figures),
        _both_writing(figures),
        _without_its_chain(figures),
        _teacher(figures),
        _checks(figures),
        _control(figures),
    ]


def limits(figures: Figures) -> list[str]:
    """What these figures do not show."""
    score = figures.score(PLAIN, "options").rate
    half = 100 * (score.high - score.low) / 2
    found = [
        "The questions are made from templates by a program, and their explanations are deterministic: a text counts "
        "as exact where it equals the program's, letter for letter. Nothing here is about knowledge of the world.",
        "The chain-first student learns a procedure that it reads in the chains, and is scored after writing one. The "
        "plain student answers at once. They do not spend the same number of tokens, neither in training nor in "
        "answering.",
        f"Many questions ask the same with other names and words: {score.of:,} test questions have {score.distinct:,} "
        "different contents, and many explanations the same gold text. The intervals and tests count those of one "
        "content, or of one gold text, together.",
        f"The {len(figures.size.families)} families of questions are ones that a student of this size can learn from "
        "some hundred examples each; other families of the curriculum are harder for it.",
        "Each student was trained once, with one seed. The intervals are about the draw of the questions, not about "
        "the draw of the weights; another seed moves an accuracy by some points more.",
        "The teacher was trained on other questions of the same families. It is shown the answer when it explains, so "
        "a chain that ends in the right answer proves little: that is why the rules recompute the steps.",
        "Writing is not bound to the options: who writes can fall below chance; who chooses among four hardly can.",
        f"With {score.of:,} test questions on {score.distinct:,} contents an accuracy near that of the plain student "
        f"is known to about ± {half:.1f} points, the accuracy of one family to much less.",
    ]
    size = figures.size
    if size.questions != size.questions_declared or size.steps is not None:
        steps = f", at most {size.steps:,} steps of training" if size.steps is not None else ""
        found.append(
            f"This run has not the declared size ({size.questions:,} questions in place of "
            f"{size.questions_declared:,}{steps}): its students are not those of the declaration."
        )
    if figures.teacher.trained_here:
        found.append(
            f"The teacher was trained in this run, by {figures.teacher.declaration}: on the families of this run "
            "alone, and on fewer tokens than the shipped one. Another machine or version may give other weights."
        )
    return found


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def with_interval(rate: Rate) -> str:
    """`71.2 % (68.0–74.2)`"""
    return f"{percent(rate.share)} ({100 * rate.low:.1f}–{100 * rate.high:.1f})"


def signed(number: float) -> str:
    """`+1.5`, `−1.5`; zero has no sign."""
    return f"{number:+.1f}".replace("-", "−") if abs(number) >= 0.05 else "0.0"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def points(difference: Difference) -> str:
    """`42.2 points more (38.1–46.2; p < 0.001)`, or that the difference is not significant."""
    low, high, found = difference.low, difference.high, difference.points
    if not difference.is_significant:
        said = f"{signed(found)} points, interval {signed(low)} to {signed(high)}; {p_value(difference.p_value)}"
        return f"a difference that is not significant ({said})"
    less, more = sorted((abs(low), abs(high)))
    word = "more" if found > 0 else "fewer"
    return f"{abs(found):.1f} points {word} ({less:.1f}–{more:.1f}; {p_value(difference.p_value)})"


def beside_chance(score: Score, chance: float) -> str:
    if score.rate.low > chance:
        return f"above chance ({percent(chance)})"
    if score.rate.high < chance:
        return f"below chance ({percent(chance)})"
    return f"not to be told from chance ({percent(chance)})"


def _as_taught(figures: Figures) -> str:
    chain, plain = figures.score(CHAIN_FIRST, "writing"), figures.score(PLAIN, "options")
    difference = figures.difference((PLAIN, "options"), (CHAIN_FIRST, "writing"))
    chance, read = figures.control.chance, {student.name: student.tokens for student in figures.students}
    text = (
        f"Of {chain.rate.of:,} unseen questions on {chain.rate.distinct:,} contents the student that learned to write "
        f"a chain of thought first answers {with_interval(chain.rate)} right, {beside_chance(chain, chance)}; the "
        f"plain student {with_interval(plain.rate)}, {beside_chance(plain, chance)}. "
        f"The first beside the second: {points(difference)}."
    )
    if read[CHAIN_FIRST] == read[PLAIN]:
        return text
    return (
        f"{text} In training they did not read the same number of tokens: the first {read[CHAIN_FIRST]:,}, the plain "
        f"one {read[PLAIN]:,}."
    )


def _both_writing(figures: Figures) -> str:
    plain, chain = figures.score(PLAIN, "writing"), figures.score(CHAIN_FIRST, "writing")
    difference = figures.difference((PLAIN, "writing"), (CHAIN_FIRST, "writing"))
    return (
        f"Where both write their answer freely, the plain student has {with_interval(plain.rate)} and the chain-first "
        f"student {with_interval(chain.rate)}: {points(difference)}."
    )


def _without_its_chain(figures: Figures) -> str:
    score = figures.score(CHAIN_FIRST, "options")
    beside_plain = figures.difference((PLAIN, "options"), (CHAIN_FIRST, "options"))
    gain = figures.difference((CHAIN_FIRST, "options"), (CHAIN_FIRST, "writing"))
    text = (
        f"Asked for the answer at once, without its chain, the chain-first student has {with_interval(score.rate)}, "
        f"{beside_chance(score, figures.control.chance)}; beside the plain student that is {points(beside_plain)}."
    )
    if not gain.is_significant:
        return f"{text} Whether writing the chain helps it is not decided: {points(gain)}."
    return f"{text} Writing the chain {'gives it' if gain.points > 0 else 'harms it:'} {points(gain)}."


def _teacher(figures: Figures) -> str:
    parts = []
    for kind in KINDS:
        rates = [row.rate for row in figures.teacher.exactness if (row.family, row.kind) == (ALL, kind)]
        parts += [
            f"{with_interval(rate)} of the {rate.of:,} {KIND_WORDS[kind]} on {rate.distinct:,} gold texts"
            for rate in rates
        ]
    return (
        f"The teacher, a model of {figures.teacher.parameters / 1e6:.1f} million parameters, explained questions that "
        f"it was not trained on: {_and(parts)} are the curriculum's own, letter for letter."
    )


def _checks(figures: Figures) -> str:
    parts = [_one_check(judged) for judged in figures.judged if judged.asked]
    return f"The rules, which work the steps out without those texts, {'; they '.join(parts)}."


def _one_check(judged: Judged) -> str:
    kept = f"accepted {judged.accepted:,} of {judged.asked:,} {KIND_WORDS[judged.kind]}"
    if judged.accepted:
        kept += f", of which {with_interval(judged.exact_of_accepted)} are exact"
    refused = judged.refused_of_wrong
    if not refused.of:
        return f"{kept}; there was no inexact one to refuse"
    return f"{kept}, and refused {refused.right:,} of the {refused.of:,} that are not"


def _control(figures: Figures) -> str:
    control = figures.control
    found = (
        f"Who sees the options alone, without the question, is right in {with_interval(control.rate)}; by the best "
        f"single rule of each family in {with_interval(control.rule)}; chance is {percent(control.chance)}: "
    )
    low, high = max(control.rate.low, control.rule.low), max(control.rate.high, control.rule.high)
    if low > control.chance:
        return f"{found}the options give part of the answers away."
    if high > control.chance + LEAK:
        return f"{found}no leak found; up to {percent(high)} is not excluded."
    return f"{found}the options do not give the answers away."


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
