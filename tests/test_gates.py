"""Gates: what they are held against, whose gates hold for a dataset, and how a check shows it all."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import teacherlm
from quality_rows import METRICS, connect, judged, rationale, sample, shipped_rules
from recipes import parquet, recipe
from scripted import teacher
from teacherlm.api.standards import read_gates
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.cli import show_check
from teacherlm.core.errors import Mistake
from teacherlm.quality.books import close_books
from teacherlm.quality.gates import GateResult, Gates, judge_gates
from teacherlm.quality.judge import judge
from teacherlm.quality.measures import Measures, Score, measure
from teacherlm.quality.report import make_report
from teacherlm.quality.rules import load_rules
from teacherlm.quality.score import Feature, Model, Part, Scorer

GOLDEN = Path(__file__).parent / "golden" / "check.txt"
GOOD = "Iron reacts with oxygen and water and so it rusts; gold does not react with either of them."
SCORER = Scorer(
    about="longer is better",
    kinds=("chain_of_thought",),
    fitted_on={"nothing": 0},
    given={},
    features=(Feature(name="words", sql="words / 10"),),
    parts=(Part(name="all", when="true", model=Model(intercept=-1.0, weights={"words": 1.0})),),
)


def result(measures: Measures, gates: Gates, *not_run: str) -> GateResult:
    """What became of the gate that was declared last."""
    books = close_books(judged([sample()], [rationale(GOOD)], ()))
    return judge_gates(books, gates, measures, not_run)[-1]


def test_the_score_of_accepted_rationales_is_a_gate() -> None:
    measures = Measures(scores=(Score(kind="chain_of_thought", scored=30, mean=0.6, median=0.6),))
    assert result(measures, Gates(min_score=0.6)).passed
    failed = result(measures, Gates(min_score=0.61))
    assert (failed.passed, failed.value, failed.limit) == (False, 0.6, 0.61) and "low_score" in failed.remedy
    unscored = result(Measures(), Gates(min_score=0.1))
    assert not unscored.passed and "no rationale has a score" in unscored.remedy


def test_contamination_is_a_gate_that_fails_where_nobody_looked() -> None:
    looked = Measures(trained_on=200, contaminated=1, by_task={"mmlu": 1})
    assert result(looked, Gates(max_contaminated=0.005)).passed
    failed = result(looked, Gates(max_contaminated=0.0))
    assert not failed.passed and "contamination" in failed.remedy
    for measures, missing in ((Measures(trained_on=200), ()), (looked, ("ecqa",))):
        blind = result(measures, Gates(max_contaminated=1.0), *missing)
        assert not blind.passed and blind.remedy.startswith("not run")
    both = result(looked, Gates(max_contaminated=0.0), "ecqa")
    assert not both.passed and both.value == 0.005 and "take the samples out" in both.remedy and "ecqa" in both.remedy
    assert "ecqa" in result(looked, Gates(max_contaminated=1.0), "ecqa").remedy
    names = [gate.name for gate in judge_gates(close_books(judged([sample()], [rationale(GOOD)])), Gates())]
    assert "max_contaminated" not in names  # where nobody asks for it, it does not fail


def test_measures_are_taken_of_what_was_accepted_and_of_training_splits() -> None:
    rows = [sample(f"d/{split}/{n}", split=split) for split in ("train", "test") for n in range(3)]
    texts = [rationale(GOOD, row["sample_id"], split=row["split"]) for row in rows]
    texts += [rationale("Short.", "d/train/0", repeat=1), rationale(GOOD, "d/train/0", kind="fundamentals")]
    con = connect(rows, texts)
    judge(con, [rule for rule in shipped_rules() if rule.id == "too_short"], METRICS, SCORER)
    con.execute(
        "insert into contamination select sample_id, dataset, split, null, null, 'mmlu', '7', 'iron rusts', 1.0 "
        "from samples where sample_id like '%/1'"
    )
    found = measure(con)
    (score,) = found.scores
    assert (score.kind, score.scored) == ("chain_of_thought", 6)
    expected = 1 / (1 + math.exp(-(len(GOOD.split()) - 10) / 10))
    assert [score.mean, score.median] == pytest.approx([expected, expected])
    assert found.mean_score == pytest.approx(score.mean)
    assert (found.trained_on, found.contaminated, found.by_task) == (3, 1, {"mmlu": 1})
    assert found.contaminated_share == pytest.approx(1 / 3)


def gates_of(folder: Path, bound: BoundRecipe) -> Gates:
    project = teacherlm.open(folder)
    return read_gates(project.files, project.catalog, bound)


def test_the_nearest_gate_holds(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    gates = "gates: {max_rejected: 0.4, max_failed: 0.3, max_truncated: 0.2, d: {max_truncated: 0.01}}\n"
    bound = recipe(tmp_path, gates={"max_failed": 0.05})
    catalog.write_text(gates)
    found = gates_of(tmp_path, bound)
    assert (found.max_rejected, found.max_failed, found.max_truncated) == (0.4, 0.05, 0.01)
    other = replace(bound, recipe=replace(bound.recipe, name="e", gates=None))
    assert gates_of(tmp_path, other).max_truncated == 0.2
    catalog.write_text(gates + "collections: {zoo: {datasets: [d], gates: {max_rejected: 0.1, max_failed: 0.9}}}\n")
    (tmp_path / "builders" / "rows.parquet").touch()
    own = teacherlm.open(tmp_path).collection("zoo").project.recipe("d")
    found = gates_of(tmp_path, own)
    assert (found.max_rejected, found.max_failed, found.max_truncated) == (0.1, 0.05, 0.01)


@pytest.mark.parametrize(
    ("text", "where", "found"),
    [
        ("gates: {dd: {max_failed: 0.1}}", "catalog.yaml:1:9", "there is no dataset `dd`"),
        ("gates: {d: {max_fail: 0.1}}", "catalog.yaml:1:13", "unknown key `max_fail`"),
        ("gates: {min_score: 2}", "catalog.yaml:1:20", "less than or equal to 1"),
    ],
)
def test_wrong_gates_are_shown_where_they_stand(tmp_path: Path, text: str, where: str, found: str) -> None:
    bound = recipe(tmp_path)
    (tmp_path / "catalog.yaml").write_text(text + "\n")
    with pytest.raises(Mistake) as caught:
        gates_of(tmp_path, bound)
    assert caught.value.problems[0].where.endswith(where)
    assert found in str(caught.value)


def test_a_check_names_the_gates_that_fail(tmp_path: Path) -> None:
    rows = [{"q": "Which metal rusts when it is wet?", "a": "iron"}]
    parquet(tmp_path / "builders" / "rows.parquet", rows)
    recipe(tmp_path, gates={"min_accepted": 4, "max_contaminated": 0.0})
    project = teacherlm.open(tmp_path, workspace=tmp_path / "w")
    with teacher() as server:
        project.build("d")
        project.augment("d", teacher=server.url)
    report = project.check("d")
    assert [gate.name for gate in report.gates if not gate.passed] == ["min_accepted", "max_contaminated"]
    assert not report.passed


def shown(rows: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> str:
    written = io.StringIO()
    console = Console(file=written, width=100)
    for module in ("teacherlm.cli.output", "teacherlm.cli.show_check"):
        monkeypatch.setattr(f"{module}.out", console)
    show_check.reports(rows)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def test_a_report_shows_rules_by_severity_with_three_samples_each(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [sample(f"d/train/{n}") for n in range(5)]
    same = "Iron rusts since water and oxygen turn its surface into an oxide, which gold does not."
    texts = [rationale(same if n else "Iron.", f"d/train/{n}") for n in range(5)]
    texts += [rationale(f"{GOOD} That is step {n} of it.", f"d/train/{n}", kind="fundamentals") for n in range(5)]
    con = judged(rows, texts, [rule for rule in shipped_rules() if rule.id in ("too_short", "duplicate_text", "empty")])
    books = close_books(con)
    report = make_report(
        con,
        "d",
        rules=[rule for rule in shipped_rules() if rule.id in ("too_short", "duplicate_text", "empty")],
        books=books,
        gates=judge_gates(books, Gates(max_rejected=0.1, max_contaminated=0.1)),
        created_at="2026-01-01T00:00:00Z",
        measures=Measures(scores=(Score(kind="chain_of_thought", scored=4, mean=0.71, median=0.7049),)),
    )
    assert shown([show_check.report_row(report)], monkeypatch) == GOLDEN.read_text(encoding="utf-8")


def test_the_bundled_gates_are_valid(tmp_path: Path) -> None:
    project = teacherlm.open(tmp_path)
    assert project.files.is_bundled
    for name in project.datasets:
        assert read_gates(project.files, project.catalog, project.recipe(name)).max_failed <= 1


def test_the_documented_rules_are_those_that_ship() -> None:
    text = (Path(__file__).parents[1] / "docs" / "rules.md").read_text(encoding="utf-8")
    rows = {
        line.split("`")[1]: [part.strip() for part in line.split("|")[2:-1]]
        for line in text.splitlines()
        if re.match(r"\| `\w+` +\| (reject|warn)", line)
    }
    assert sorted(rows) == sorted(rule.id for rule in shipped_rules())
    for rule in shipped_rules():
        assert rows[rule.id][0] == rule.severity
        assert rows[rule.id][2] == rule.reason
        assert rows[rule.id][3] == ", ".join(f"`{name}` = {value}" for name, value in rule.parameters.items())


def test_the_documented_rule_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "rules.md").read_text(encoding="utf-8")
    (tmp_path / "argues.sql").write_text(text.split("```sql\n")[1].split("```")[0], encoding="utf-8")
    con = judged([sample()], [rationale(f"Obviously: {GOOD}")], load_rules(tmp_path))
    assert con.execute("select rule, severity, reason from findings").fetchall() == [
        ("argues", "warn", '1 times "obviously"')
    ]
