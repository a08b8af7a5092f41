"""The score: what its SQL gives, of what it speaks, how it is read and written, and how it is measured."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality_rows import METRICS, connect, rationale, sample, shipped_rules
from teacherlm.core.errors import Mistake
from teacherlm.quality.calibration import auroc, interval, kappa, within
from teacherlm.quality.judge import judge
from teacherlm.quality.score import FOLDS, Feature, Model, Part, Scorer, load_scorer, scorer_text

SCORER = Scorer(
    about="of a test",
    kinds=("chain_of_thought",),
    fitted_on={"s": 2},
    given={"seen": "list_distinct(words_of(text))"},
    features=(
        Feature(name="words", sql="words"),
        Feature(name="different", sql="len(g.seen)"),
        Feature(name="unknown", sql="null"),
    ),
    parts=(
        Part(name="options", when="len(choices) > 0", model=Model(intercept=-1.5, weights={"words": 0.25})),
        Part(name="others", when="true", model=Model(intercept=0.5, weights={"different": -0.125, "unknown": 9.0})),
    ),
)


def scores(scorer: Scorer | None) -> dict[tuple[str, str], float | None]:
    samples = [sample("d/train/1"), sample("d/train/2", choices=[], answer="it rusts", answer_index=None)]
    texts = [
        rationale("Iron rusts, iron does.", sample_id, kind=kind)
        for sample_id in ("d/train/1", "d/train/2")
        for kind in ("chain_of_thought", "fundamentals")
    ]
    con = connect(samples, texts)
    judge(con, shipped_rules(), METRICS, scorer)
    found = con.execute("select sample_id, kind, score from verdicts").fetchall()
    return {(sample_id, kind): score for sample_id, kind, score in found}


def test_each_form_of_question_has_weights_of_its_own_and_other_kinds_have_no_score() -> None:
    found = scores(SCORER)
    assert found["d/train/1", "chain_of_thought"] == pytest.approx(1 / (1 + math.exp(1.5 - 4 * 0.25)), abs=1e-12)
    assert found["d/train/2", "chain_of_thought"] == pytest.approx(1 / (1 + math.exp(-0.5 + 3 * 0.125)), abs=1e-12)
    assert found["d/train/1", "fundamentals"] is None
    assert set(scores(None).values()) == {None}


def test_where_no_form_fits_there_is_no_score() -> None:
    assert scores(replace(SCORER, parts=SCORER.parts[:1]))["d/train/2", "chain_of_thought"] is None


def test_a_scorer_reads_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "scorer.json"
    path.write_text(scorer_text(SCORER), encoding="utf-8")
    assert load_scorer(path) == SCORER
    assert load_scorer(path).fingerprint == SCORER.fingerprint
    heavier = replace(SCORER, parts=(replace(SCORER.parts[0], model=Model(intercept=0.0, weights={})),))
    assert heavier.fingerprint != SCORER.fingerprint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting property name"),
        ("{}", "about: Field required"),
        (scorer_text(SCORER).replace('"different": -0.125', '"other": -0.125'), "weighs other, which is no feature"),
    ],
)
def test_what_is_wrong_in_a_scorer_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "scorer.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Mistake, match=said) as caught:
        load_scorer(path)
    assert str(path) in str(caught.value)


def test_without_held_out_models_nothing_unseen_can_be_scored() -> None:
    with pytest.raises(Mistake, match="no held-out models"):
        SCORER.sql("0")
    part = replace(SCORER.parts[0], held_out=(SCORER.parts[0].model,) * FOLDS)
    assert "case 3 when 0" in replace(SCORER, parts=(part,)).sql("3")
    with pytest.raises(ValueError, match="held-out"):
        replace(SCORER, parts=(replace(part, held_out=part.held_out[1:]),))


labels_and_scores = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30)


@given(labels_and_scores)
def test_the_area_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[bool, int]]) -> None:
    good, score = np.array([row[0] for row in rows]), np.array([row[1] / 5 for row in rows])
    pairs = [(a > b) + 0.5 * (a == b) for a in score[good] for b in score[~good]]
    found = auroc(good, score)
    if not pairs:
        assert found is None
        return
    assert found == pytest.approx(float(np.mean(pairs)))
    assert auroc(good, -score) == pytest.approx(1 - float(np.mean(pairs)))
    assert within(good, score, np.zeros(len(rows)), least=1) == pytest.approx(float(np.mean(pairs)))


def test_the_interval_holds_the_area_and_narrows_with_more_questions() -> None:
    drawn = np.random.default_rng(1)
    widths = []
    for count in (100, 2000):
        good = drawn.random(count) < 0.5
        score = np.clip(0.3 * good + drawn.random(count), 0, 1)
        low, high = interval(good, score, np.arange(count))
        area = auroc(good, score)
        assert low is not None and high is not None and area is not None
        assert low < area < high
        widths.append(high - low)
        # Each text twice, about the same question: no more is known than before.
        twice = interval(np.tile(good, 2), np.tile(score, 2), np.tile(np.arange(count), 2))
        assert twice == pytest.approx((low, high))
    assert widths[1] < widths[0] / 2


def test_kappa_is_what_is_left_of_agreement_beyond_chance() -> None:
    left, right = np.array([1, 1, 0, 0], dtype=bool), np.array([1, 0, 0, 0], dtype=bool)
    assert kappa(left, left) == 1
    assert kappa(left, ~left) == -1
    assert kappa(left, right) == pytest.approx(0.5)
    assert kappa(left | True, right | True) is None
