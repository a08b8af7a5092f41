"""`teacherlm quickstart`: a small run of the whole way, and the full one, whose figures are worked out again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import orjson
import pytest

from teacherlm.api.quickstart_claims import claims, limits
from teacherlm.api.quickstart_declared import TEST, TRAIN, lay_out, read_declared
from teacherlm.api.quickstart_figures import ALL, CHAIN_FIRST, PLAIN, Figures
from teacherlm.core.stored import from_json
from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import families
from teacherlm.evaluate.intervals import sign_flips
from teacherlm.schemas.records import KINDS
from teacherlm.text.normalise import one_line

BUDGET_S = 600
"""Of the full run, on a machine that others use as well; on two idle cores it takes less than four minutes."""


def run(folder: Path, *more: str, code: int = 0) -> dict[str, Any]:
    """The command's JSON."""
    command = [sys.executable, "-m", "teacherlm", "quickstart", "--format", "json"]
    command += ["--workspace", str(folder / "workspace"), *more]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == code, done.stderr.decode()
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def read_figures(folder: Path, workspace: str = "workspace") -> Figures:
    return from_json(Figures, (folder / workspace / "quickstart/figures.json").read_bytes(), "the figures")


def test_a_small_run_goes_the_whole_way(tmp_path: Path) -> None:
    row = run(tmp_path, "--questions", "56", "--steps", "20")["rows"][0]
    figures = read_figures(tmp_path, "workspace/quickstart-56")
    assert figures.size.questions == 56 and figures.size.steps == 20
    assert row["scores"][0]["rate"]["share"] == figures.scores[0].rate.share
    assert [step.name for step in figures.steps] == [
        *("build", "augment", "check", "publish", "read back", "control", "students", "test"),
    ]
    assert all(step.done_now and step.did for step in figures.steps)
    assert {student.steps for student in figures.students} == {20}
    assert len(figures.examples) == read_declared().examples
    assert row["claims"] == claims(figures) and row["limits"] == limits(figures)
    # Each workspace has a publication of its own.
    assert Path(row["published"]) == tmp_path / "workspace/quickstart-56/quickstart/published"
    assert Path(row["published"], "teacherlm.json").is_file() and list(tmp_path.iterdir()) == [tmp_path / "workspace"]
    assert {of.asked for of in figures.judged} == {figures.published_rows}
    page = Path(row["page"]).read_text(encoding="utf-8")
    assert "has not the declared size" in page and figures.examples[0].question in page


def test_what_cannot_be_run_is_said_before_anything_is(tmp_path: Path) -> None:
    for given in (["--questions", "5"], ["--steps", "0"]):
        error = run(tmp_path, *given, code=2)["errors"][0]
        assert error["where"] == given[0] and error["remedy"]
    assert not (tmp_path / "workspace").exists()


@pytest.mark.slow
@pytest.mark.timeout(2 * BUDGET_S)
def test_the_full_run_is_true_to_what_it_made(tmp_path: Path) -> None:
    began = time.monotonic()
    run(tmp_path)
    assert time.monotonic() - began < BUDGET_S
    figures = read_figures(tmp_path)
    declared = read_declared()
    assert figures.size.questions == declared.questions and figures.size.steps is None

    # The teacher: its texts beside the curriculum's, both read again.
    project = lay_out(declared, tmp_path / "workspace", None)
    made = questions(families(declared.families), TRAIN, declared.questions, declared.seed)
    gold = {f"curriculum/{TRAIN}/{one.id}": one for one in made}
    made = questions(families(declared.families), TEST, declared.shown, declared.seed)
    gold |= {f"curriculum/{TEST}/{one.id}": one for one in made}
    texts = project.sql("SELECT sample_id, kind, text, verdict FROM rationales JOIN verdicts USING "
                        "(sample_id, kind, repeat)").fetchall()  # fmt: skip
    assert len(texts) == figures.teacher.texts == (declared.questions + declared.shown) * len(KINDS)
    exact = {(sample, kind): one_line(text) == getattr(gold[sample], kind) for sample, kind, text, _ in texts}
    for row in figures.teacher.exactness:
        of = [hit for (sample, kind), hit in exact.items()
              if kind == row.kind and row.family in (ALL, gold[sample].family)]  # fmt: skip
        assert (row.rate.right, row.rate.of) == (sum(of), len(of))
    for judged in figures.judged:
        accepted = [exact[sample, kind] for sample, kind, _, verdict in texts
                    if kind == judged.kind and verdict == "accepted"]  # fmt: skip
        assert (judged.accepted, judged.exact_of_accepted.right) == (len(accepted), sum(accepted))

    # The students: none was trained on a test question, and each answer was counted as what it is.
    published = datasets.load_dataset(str(tmp_path / "workspace/quickstart/published"), "curriculum")
    assert sum(map(len, published.values())) == figures.published_rows
    tested = list(questions(families(declared.families), TEST, declared.test, declared.seed))
    assert not {one.question for one in tested} & set(published[TRAIN]["question"])
    answers = orjson.loads((tmp_path / "workspace/quickstart/answers.json").read_bytes())["answers"]
    right = {}
    for said in answers:
        hits = [one["is_right"] for one in said]
        assert hits == [one["answer"] == question.answer for one, question in zip(said, tested, strict=True)]
        right[said[0]["student"], said[0]["way"]] = hits
        score = figures.score(said[0]["student"], said[0]["way"])
        assert (score.rate.right, score.rate.of) == (sum(hits), declared.test)
    for found in figures.differences:
        pairs = list(zip(right[found.first, found.first_way], right[found.second, found.second_way], strict=True))
        only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
        assert found.points == pytest.approx(100 * (only_second - only_first) / declared.test)
        leads = Counter[object]()
        for question, (one, other) in zip(tested, pairs, strict=True):
            leads[question.family, question.core] += other - one
        assert found.distinct == len(leads) and found.p_value == sign_flips(list(leads.values()))
    assert not figures.control.rate.low > figures.control.chance, "the options give answers away"

    # The page says it, wrong ones included.
    page = (tmp_path / "workspace/quickstart/index.html").read_text(encoding="utf-8")
    for sentence in [*claims(figures), *limits(figures)]:
        assert sentence.replace("'", "&#39;").replace("<", "&lt;") in page
    assert sum(one.is_flawed for one in figures.examples) >= 3
    assert figures.score(PLAIN, "options").rate.of == figures.score(CHAIN_FIRST, "writing").rate.of

    # Nothing is done twice; only what is always looked at again takes time.
    run(tmp_path)
    again = read_figures(tmp_path)
    assert {step.name for step in again.steps if step.done_now} <= {"read back", "control"}
    assert (again.scores, again.teacher.exactness, again.examples) == (
        figures.scores,
        figures.teacher.exactness,
        figures.examples,
    )
