"""What the teacher wrote and what the rules made of it, beside the curriculum's own texts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from teacherlm.api.project import Project
from teacherlm.api.quickstart_declared import TEST, TRAIN, Declared
from teacherlm.api.quickstart_figures import ALL, Control, Exactness, Judged, Rate, Text
from teacherlm.curriculum.control import options_only
from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import families
from teacherlm.curriculum.question import Question
from teacherlm.evaluate.exactness import Written
from teacherlm.evaluate.exactness import exactness as exact_shares
from teacherlm.evaluate.intervals import Share, clustered_share
from teacherlm.schemas.records import KINDS
from teacherlm.text.normalise import one_line

TEXTS = """
    SELECT r.sample_id, r.kind, r.text, coalesce(v.verdict, r.status) AS verdict,
        coalesce((
            SELECT list(f.rule || ': ' || f.reason ORDER BY f.rule) FROM findings f
            WHERE (f.sample_id, f.kind, f.repeat) = (r.sample_id, r.kind, r.repeat) AND f.severity = 'reject'
        ), []) AS reasons
    FROM rationales r
    JOIN samples s ON s.sample_id = r.sample_id
    LEFT JOIN verdicts v ON (v.sample_id, v.kind, v.repeat) = (r.sample_id, r.kind, r.repeat)
    WHERE r.dataset = '{dataset}' AND r.split = '{split}' AND r.repeat = 0
    ORDER BY r.sample_id, r.kind"""


@dataclass(frozen=True)
class Made:
    """The questions of a run, by the id of their sample."""

    train: Mapping[str, Question]
    test: Mapping[str, Question]
    """All that the students are tested on; the teacher explains the first ones."""
    families: tuple[str, ...]


def make_questions(project: Project, declared: Declared) -> Made:
    """The questions of the run's recipe once more, with their gold texts; and the rest of the test questions."""
    source = project.recipe(declared.dataset).recipe.source.procedural
    assert source is not None
    chosen = families(source.families)

    def made(split: str, count: int) -> dict[str, Question]:
        drawn = questions(chosen, split, count, declared.seed)
        return {f"{declared.dataset}/{split}/{question.id}": question for question in drawn}

    return Made(made(TRAIN, declared.questions), made(TEST, declared.test), tuple(family.name for family in chosen))


def read_texts(
    project: Project, declared: Declared, split: str, gold: Mapping[str, Question]
) -> dict[str, dict[str, Text]]:
    """The teacher's texts with their verdicts, by sample and kind."""
    found: dict[str, dict[str, Text]] = {}
    rows = project.sql(TEXTS.format(dataset=declared.dataset, split=split)).fetchall()
    for sample, kind, text, verdict, reasons in rows:
        if sample in gold:
            found.setdefault(sample, {})[kind] = Text(
                kind=kind, text=text, gold=getattr(gold[sample], kind), verdict=verdict, reasons=tuple(reasons)
            )
    return found


def contents(made: Mapping[str, Question]) -> list[Hashable]:
    """What each question asks, whatever its names and wording."""
    return [(question.family, question.core) for question in made.values()]


def rate(right: Sequence[bool], clusters: Sequence[Hashable]) -> Rate:
    """With its interval; from 0 to 1 where nothing was counted.

    Args:
        right: of each item, whether it counts.
        clusters: its content, or its gold text.
    """
    return _rate(clustered_share(right, clusters)) if right else Rate(right=0, of=0, distinct=0, low=0.0, high=1.0)


def _rate(found: Share, distinct: int | None = None) -> Rate:
    count = found.clusters if distinct is None else distinct
    return Rate(right=found.count, of=found.total, distinct=count or found.total, low=found.low, high=found.high)


def _gold(texts: Sequence[Text]) -> list[str]:
    return [one_line(text.gold) for text in texts]


def exactness(
    texts: Mapping[str, Mapping[str, Text]], gold: Mapping[str, Question], names: Sequence[str]
) -> tuple[Exactness, ...]:
    """Of each family and kind, and of all families together."""
    written = [
        Written(gold[sample].family, kind, text.text, text.gold)
        for sample, of in texts.items()
        for kind, text in of.items()
    ]
    found = {(one.family or ALL, one.kind): one.exact for one in exact_shares(written)}
    return tuple(
        Exactness(family=family, kind=kind, rate=_rate(found[family, kind]))
        for family in (*names, ALL)
        for kind in KINDS
        if (family, kind) in found
    )


def judged(texts: Mapping[str, Mapping[str, Text]]) -> tuple[Judged, ...]:
    """What the rules made of each kind."""
    found = []
    for kind in KINDS:
        written = [of[kind] for of in texts.values() if kind in of]
        counts = {
            verdict: sum(text.verdict == verdict for text in written)
            for verdict in ("accepted", "rejected", "truncated", "failed")
        }
        accepted = [text for text in written if text.verdict == "accepted"]
        wrong = [text for text in written if not text.is_exact]
        found.append(
            Judged(
                kind=kind,
                asked=len(written),
                **counts,
                exact_of_accepted=rate([text.is_exact for text in accepted], _gold(accepted)),
                refused_of_wrong=rate([text.verdict != "accepted" for text in wrong], _gold(wrong)),
            )
        )
    return tuple(found)


def guess(declared: Declared, made: Made) -> Control:
    """Guess the test questions by their options alone."""
    learned = list(questions(families(made.families), TRAIN, declared.control, declared.seed))
    found = options_only(learned, list(made.test.values()))[-1]
    asked = contents(made.test)

    def of(hits: Sequence[bool]) -> Rate:
        return _rate(clustered_share(hits, asked), len(set(asked)))

    about = "a conditional logit over all that can be seen of the options"
    return Control(rate=of(found.hits), chance=found.chance, about=about, rule=of(found.rule_hits))
