"""Figures of quickstart runs that were never made: what the page and the sentences are tried on."""

from __future__ import annotations

from dataclasses import replace

from teacherlm.api.quickstart_figures import (
    ALL,
    CHAIN_FIRST,
    COMPARED,
    PLAIN,
    Control,
    Difference,
    Exactness,
    Example,
    FamilyScore,
    Figures,
    Judged,
    Machine,
    Point,
    Rate,
    Said,
    Score,
    Size,
    Step,
    Student,
    Teacher,
    Text,
    Way,
)
from teacherlm.schemas.records import KINDS

FAMILIES = ("add", "shop", "week", "clock", "turn", "convert")


def rate(right: int, of: int, half: float = 0.03) -> Rate:
    share = right / of
    return Rate(right=right, of=of, distinct=-(-of // 2), low=max(0.0, share - half), high=min(1.0, share + half))


def score(student: str, way: Way, right: int, of: int = 600) -> Score:
    families = tuple(
        FamilyScore(family=name, rate=rate(min(100, right // 6 + 4 * place), 100, 0.09))
        for place, name in enumerate(FAMILIES)
    )
    return Score(student=student, way=way, rate=rate(right, of), unanswered=0, families=families)


def text(kind: str, written: str | None, gold: str, verdict: str = "accepted", *reasons: str) -> Text:
    return Text(kind=kind, text=written, gold=gold, verdict=verdict, reasons=reasons)


def example(number: int, *, wrong: bool, question: str | None = None) -> Example:
    chain = f"First add the tens: 10 + {number} = {10 + number}. The result is {10 + number}."
    written = chain.replace(f"= {10 + number}.", f"= {11 + number}.") if wrong else chain
    said = [
        Said(student=PLAIN, way="options", text=str(9 + number), answer=str(9 + number), is_right=False),
        Said(student=CHAIN_FIRST, way="writing", text=f"{chain} The answer is {10 + number}.",
             answer=str(10 + number), is_right=True),
        Said(student=PLAIN, way="writing", text="The answer is blue.", answer=None, is_right=False),
        Said(student=CHAIN_FIRST, way="options", text=str(10 + number), answer=str(10 + number), is_right=True),
    ]  # fmt: skip
    verdict = ("rejected", f"wrong_arithmetic: 10 + {number} = {11 + number} does not hold") if wrong else ("accepted",)
    return Example(
        sample_id=f"shown/test/add-{number:012x}",
        family=FAMILIES[number % len(FAMILIES)],
        question=question or f"Tom has 10 pens and buys {number} more. How many pens does he have now?",
        choices=(str(9 + number), str(10 + number), str(19 + number), str(20 + number)),
        answer=str(10 + number),
        texts=(
            text("fundamentals", "Buying more means adding.", "Buying more means adding."),
            text("chain_of_thought", written, chain, *verdict),
            text("common_mistakes", "People forget one.", "People forget one."),
        ),
        said=tuple(said),
    )


def figures(*, gain: float = 40.0, p: float = 1e-9, half: float = 4.0) -> Figures:
    """A run whose chain-first student has `gain` points more than the plain one."""
    plain, chain = 180, 180 + round(6 * gain)
    points = {0: gain, 1: gain + 2, 2: 0.5, 3: gain - 0.5}
    return Figures(
        size=Size(questions=2400, questions_declared=2400, test=600, test_seed=7, steps=None, families=FAMILIES),
        machine=Machine(cores=2, python="3.11.2", torch="2.13.0", teacherlm="0.1.0"),
        teacher=Teacher(
            name="nano", trained_here=False, declaration=None, parameters=1_900_000,
            texts=7200, asked_now=7200, texts_per_second=171.0,
            exactness=tuple(
                Exactness(family=family, kind=kind, rate=rate(380 - 20 * place, 400, 0.02))
                for family in (*FAMILIES, ALL) for place, kind in enumerate(KINDS)
            ),
        ),
        judged=tuple(
            Judged(kind=kind, asked=2400, accepted=2300, rejected=98, truncated=2, failed=0,
                   exact_of_accepted=rate(2290, 2300, 0.01), refused_of_wrong=rate(95, 105, 0.06))
            for kind in KINDS
        ),
        control=Control(rate=rate(152, 600), chance=0.25, about="a conditional logit over the options",
                        rule=rate(141, 600)),
        students=tuple(
            Student(name=name, layout=f"{name}-text", parameters=430_000, texts=2400, tokens=900_000 * (1 + place),
                    steps=2100, seconds=70.0 + 20 * place,
                    loss=tuple(Point(tokens=step * 9000 * (1 + place), loss=4 / (1 + step / 9) + 0.1 * place)
                               for step in range(1, 101)))
            for place, name in enumerate((PLAIN, CHAIN_FIRST))
        ),
        scores=(
            score(PLAIN, "options", plain),
            score(PLAIN, "writing", plain - 12),
            score(CHAIN_FIRST, "options", plain + 3),
            score(CHAIN_FIRST, "writing", chain),
        ),
        differences=tuple(
            Difference(first=a, first_way=way_a, second=b, second_way=way_b, points=points[place],
                       low=points[place] - half, high=points[place] + half,
                       p_value=p if abs(points[place]) > half else 0.6, distinct=300)
            for place, ((a, way_a), (b, way_b)) in enumerate(COMPARED)
        ),
        steps=(
            Step(name="build", did="2,400 questions of 6 families", seconds=0.8, done_now=True),
            Step(name="augment", did="7,200 texts by nano, 171 a second", seconds=42.0, done_now=True),
            Step(name="check", did="6,900 of 7,200 texts accepted", seconds=6.1, done_now=False),
            Step(name="train", did="two students side by side", seconds=92.4, done_now=True),
        ),
        examples=tuple(example(number, wrong=number < 3) for number in range(10)),
        published_to="published",
        published_rows=2400,
    )  # fmt: skip


def hostile(words: str) -> Figures:
    """A run in which every text that a model or a person wrote is `words`."""
    made = figures()
    first = example(0, wrong=True, question=words)
    first = replace(
        first,
        texts=tuple(replace(one, text=words, reasons=(words,)) for one in first.texts),
        said=tuple(replace(one, text=words) for one in first.said),
        choices=(words, *first.choices[1:]),
    )
    return replace(made, examples=(first,), published_to=words)
