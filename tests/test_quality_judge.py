"""Judging: verdicts, the augmented table, closed books, gates, reports, and rules that cannot be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quality_rows import METRICS, connect, judged, rationale, sample, shipped_rules
from teacherlm.core.errors import MachineFailed, Mistake, Mistakes
from teacherlm.core.stored import to_json
from teacherlm.quality.augmented import augment_view
from teacherlm.quality.books import BooksDoNotClose, close_books
from teacherlm.quality.gates import Gates, judge_gates
from teacherlm.quality.judge import judge
from teacherlm.quality.metrics import Metrics, load_metrics
from teacherlm.quality.report import from_json, make_report
from teacherlm.quality.rules import Rule, bind, load_rules
from teacherlm.schemas.records import KINDS, record


def few_metrics(
    folder: Path,
    sql: str = "create or replace temp table metrics as\n"
    "select *, len(regexp_extract_all(text, '\\w+')) as words from rationales where status = 'ok'",
) -> Metrics:
    """A small metrics table: quick, and enough for rules about words."""
    (folder / "few").mkdir(exist_ok=True)
    (folder / "few" / "metrics.sql").write_text(sql, encoding="utf-8")
    return load_metrics(folder / "few")


GOOD = "Iron reacts with oxygen and water; gold does not."


def rule_file(folder: Path, text: str, name: str = "odd") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.sql"
    path.write_text(text, encoding="utf-8")
    return path


def rule(
    folder: Path, query: str, header: str = "-- severity: reject | kinds: all | reason: it is odd"
) -> tuple[Rule, ...]:
    rule_file(folder, f"{header}\n{query}\n")
    return load_rules(folder)


def test_the_shipped_rules_say_what_they_are() -> None:
    rules = shipped_rules()
    assert [(rule.id, rule.severity) for rule in rules] == [
        ("contaminated", "reject"),
        ("contradicts_gold", "reject"),
        ("copies_question", "reject"),
        ("duplicate_text", "warn"),
        ("empty", "reject"),
        ("garbled", "reject"),
        ("kinds_alike", "reject"),
        ("leaks_answer", "reject"),
        ("low_score", "reject"),
        ("near_duplicate", "warn"),
        ("no_mistake", "warn"),
        ("only_answer", "reject"),
        ("orphan", "reject"),
        ("prompt_artefact", "reject"),
        ("repeats_itself", "reject"),
        ("runs_on", "reject"),
        ("too_long", "warn"),
        ("too_short", "reject"),
        ("unfinished", "warn"),
        ("unknown_option", "reject"),
        ("wrong_answer", "reject"),
        ("wrong_arithmetic", "reject"),
        ("wrong_language", "reject"),
        ("wrong_step", "reject"),
    ]
    assert rules[1].kinds == ("fundamentals", "chain_of_thought")
    assert rules[-2].parameters == {"min_share": 0.5, "min_letters": 20}


def test_all_mistakes_of_all_headers_are_shown_at_once(tmp_path: Path) -> None:
    rule_file(tmp_path, "select 1", "a")
    rule_file(tmp_path, "-- severity: rejects | kinds: cot | reason: no | really", "b")
    rule_file(tmp_path, "-- severity: warn | kind: all | reason: x\n-- parameters: a = , b = 2\nselect 1", "c")
    with pytest.raises(Mistakes) as caught:
        load_rules(tmp_path)
    assert [(problem.where.removeprefix(f"{tmp_path}/"), problem.found) for problem in caught.value.problems] == [
        ("a.sql:1:1", "the first line is no header"),
        ("b.sql:1:14", "`severity` is 'rejects'"),
        ("b.sql:1:31", "`kinds` has 'cot'; kinds are fundamentals, chain_of_thought, common_mistakes"),
        ("b.sql:1:1", "has no query"),
        ("c.sql:1:21", "unknown key `kind`"),
        ("c.sql:1:42", "the header does not say `kinds`"),
        ("c.sql:2:16", "'a =' is no parameter"),
    ]


def test_a_reason_may_hold_any_sign(tmp_path: Path) -> None:
    header = "-- severity: warn | kinds: chain_of_thought, fundamentals | reason: a | b: c"
    (odd,) = rule(tmp_path, "-- parameters: word = 'it''s, so', share = 0.5, on = true, n = -3\nselect 1", header)
    assert odd.reason == "a | b: c"
    assert odd.kinds == ("fundamentals", "chain_of_thought")
    assert odd.parameters == {"word": "it's, so", "share": 0.5, "on": True, "n": -3}


def test_overrides_change_parameters_and_severities_and_switch_rules_off() -> None:
    rules = bind(
        shipped_rules(),
        {
            "too_short": {"min_words": 9},
            "too_long": {"severity": "reject"},
            "orphan": {"off": True},
            "runs_on": {"off": False},
        },
    )
    by_id = {rule.id: rule for rule in rules}
    assert by_id["too_short"].parameters == {"min_words": 9}
    assert by_id["too_long"].severity == "reject"
    assert "orphan" not in by_id and "runs_on" in by_id


def test_overrides_of_what_does_not_exist_are_mistakes() -> None:
    with pytest.raises(Mistakes) as caught:
        bind(
            shipped_rules(),
            {
                "to_short": {"off": True},
                "too_short": {"min_word": 3},
                "too_long": {"max_words": "many", "severity": "fatal"},
                "empty": {"off": "yes"},
            },
            where="catalog.yaml:7:3",
        )
    assert [(problem.where, problem.edit) for problem in caught.value.problems] == [
        ("catalog.yaml:7:3: to_short", "did you mean `too_short`?"),
        ("catalog.yaml:7:3: too_short", "did you mean `min_words`?"),
        ("catalog.yaml:7:3: too_long", "write  severity: reject  or  severity: warn"),
        ("catalog.yaml:7:3: too_long", "write  max_words: 600  or another such value"),
        ("catalog.yaml:7:3: empty", "write  off: true  or leave it out"),
    ]


def test_an_overridden_parameter_reaches_the_query() -> None:
    rules = bind(shipped_rules(), {"too_short": {"min_words": 50}})
    con = judged([sample()], [rationale(GOOD)], rules)
    assert con.execute("select rule, reason from findings").fetchall() == [
        ("too_short", "9 words; at least 50 explain something")
    ]


KEYS = "select sample_id, kind, repeat"


@pytest.mark.parametrize(
    ("query", "place", "found", "edit"),
    [
        ("select sample_id,\n  kind repeat from metrics where", "3:28", "syntax error at or near", "mend the SQL"),
        (f"{KEYS} from metric", "2:37", "Table with name metric does not exist!", "did you mean metrics?"),
        (f"{KEYS}\nfrom metrics where wrods = 0", "3:20", 'Referenced column "wrods" not found', "words"),
        (f"{KEYS} from metrics where cast(text as int) = 1", "2:", "Could not convert string", "mend the query"),
        ("select sample_id, kind from metrics", "1:1", "repeat is missing", "select sample_id, kind, repeat"),
        (
            f"{KEYS}, text from metrics",
            "1:1",
            "the column `text`, which nobody reads",
            "select sample_id, kind, repeat",
        ),
        (f"{KEYS}, 1 as reason from metrics", "1:1", "`reason` is INTEGER", "as text"),
        ("select sample_id, kind, '0' as repeat from metrics", "1:1", "`repeat` is VARCHAR", "as it is"),
        ("drop table rationales", "1:1", "where one SELECT is wanted", "leave one"),
        (f"{KEYS} from metrics;\nselect 2", "1:1", "holds 2 statements", "leave one"),
        (f"{KEYS} from metrics where words < $few", "2:60", "`$few` has no value", "-- parameters: few = …"),
        (f"-- parameters: few = 2\n{KEYS} from metrics", "2:16", "`few` is not used", "use `$few`"),
    ],
)
def test_a_rule_that_cannot_be_run_is_a_mistake_with_its_place(
    tmp_path: Path, query: str, place: str, found: str, edit: str
) -> None:
    con = connect([sample()], [rationale(GOOD)])
    with pytest.raises(Mistake) as caught:
        judge(con, rule(tmp_path, query), few_metrics(tmp_path))
    (problem,) = caught.value.problems
    assert problem.where.startswith(f"{tmp_path}/odd.sql:{place}")
    assert found in problem.found
    assert edit in problem.edit


def test_metrics_that_cannot_be_computed_are_a_mistake(tmp_path: Path) -> None:
    wrong = few_metrics(tmp_path, "create or replace temp table metrics as\nselect nothing_here from rationales")
    with pytest.raises(Mistake, match="nothing_here") as caught:
        judge(connect([], []), (), wrong)
    assert caught.value.where == f"{tmp_path}/few/metrics.sql:2:8"


def test_rules_speak_only_of_their_kinds_and_of_answered_calls_and_once(tmp_path: Path) -> None:
    header = "-- severity: reject | kinds: fundamentals | reason: it is odd"
    query = f"{KEYS}, null as reason from rationales union all {KEYS}, 'said' from rationales -- twice"
    rows = [rationale(GOOD, kind=kind) for kind in KINDS]
    rows += [rationale(kind="fundamentals", repeat=1, status="failed"), rationale(kind="fundamentals", repeat=2)]
    con = connect([sample()], rows)
    judge(con, rule(tmp_path, query, header), few_metrics(tmp_path))
    assert con.execute("select kind, repeat, reason from findings").fetchall() == [
        ("fundamentals", 0, "said"),
        ("fundamentals", 2, "said"),
    ]
    assert con.execute("select kind, repeat, verdict from verdicts where verdict <> 'accepted'").fetchall() == [
        ("fundamentals", 0, "rejected"),
        ("fundamentals", 1, "failed"),
        ("fundamentals", 2, "rejected"),
    ]


def test_the_tables_have_the_columns_of_their_records() -> None:
    con = judged([sample()], [rationale(GOOD)])
    augment_view(con)
    for table, name in (("findings", "finding"), ("verdicts", "verdict"), ("augmented", "augmented")):
        contract = record(name)
        described = con.execute(f"describe {table}").fetchall()
        expected = con.execute(f"describe {contract.empty_select()}").fetchall()
        assert [row[:2] for row in described] == [row[:2] for row in expected]


def test_the_augmented_table_keeps_every_sample_in_order_and_the_lowest_accepted_repeat() -> None:
    def odd(kind: str, repeat: int, text: str) -> dict[str, Any]:
        return rationale(text, "d/train/9", kind=kind, repeat=repeat, call_key=f"{kind} {repeat}")

    con = judged(
        [sample("d/train/9"), sample("d/train/1"), sample("d/train/5")],
        [
            odd("fundamentals", 2, "Iron binds oxygen when it is moist."),
            odd("fundamentals", 1, "Iron rusts: it binds the oxygen of the air."),
            odd("fundamentals", 0, "Too short."),
            odd("chain_of_thought", 0, ""),
            rationale(GOOD, "d/train/gone"),
        ],
    )
    augment_view(con)
    rows = con.sql("select * from augmented").to_arrow_table().to_pylist()
    assert [row["sample_id"] for row in rows] == ["d/train/9", "d/train/1", "d/train/5"]
    assert rows[0]["fundamentals"] == "Iron rusts: it binds the oxygen of the air."
    assert rows[0]["chain_of_thought"] is None
    assert rows[0]["quality"] == {
        "fundamentals": {"score": None, "flags": []},
        "chain_of_thought": None,
        "common_mistakes": None,
    }
    assert rows[0]["provenance"]["fundamentals"] == {
        "call_key": "fundamentals 1",
        "teacher_model": "nano",
        "teacher_revision": None,
        "strategy": "explain",
        "repeat": 1,
    }
    assert rows[1]["quality"] == rows[1]["provenance"] == dict.fromkeys(KINDS)


UNLUCKY = [
    rationale(GOOD),
    rationale("Short.", kind="fundamentals"),
    rationale("", repeat=1),
    rationale("cut off he", repeat=2, status="truncated", finish_reason="length"),
    rationale(repeat=3, status="failed", failure="refused: 422 inputs must be shorter"),
    rationale(repeat=4, status="failed", failure="refused: 422 something else"),
    rationale(repeat=5, status="failed", failure="exhausted: timeout after 5 attempts", split="test"),
    rationale(repeat=6, status="failed"),
]


def test_the_books_tell_what_became_of_every_row_and_why() -> None:
    books = close_books(judged([sample()], UNLUCKY))
    chain, fundamentals = books.counts
    assert (chain.asked, chain.accepted, chain.rejected, chain.truncated, chain.failed) == (7, 1, 1, 1, 4)
    assert chain.reasons == {
        "refused: 422": 2,
        "empty": 1,
        "exhausted: timeout": 1,
        "failed for no stated reason": 1,
        "truncated: length": 1,
    }
    assert fundamentals.reasons == {"too_short": 1}
    assert [(count.kind, count.split, count.asked) for count in books.splits] == [
        ("chain_of_thought", "test", 1),
        ("chain_of_thought", "train", 6),
        ("fundamentals", "train", 1),
    ]


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        ("delete from verdicts where repeat = 1", "1 without a verdict, such as d/train/1"),
        ("insert into verdicts from verdicts where repeat = 1", "1 with several verdicts"),
        ("delete from rationales where repeat = 1", "1 judged but never asked"),
        ("delete from findings where rule = 'empty'", "1 rejected without a reason"),
        ("update verdicts set verdict = 'accepted' where repeat = 2", "1 with a verdict against their status"),
    ],
)
def test_books_that_do_not_close_stop_everything(tamper: str, said: str) -> None:
    con = judged([sample()], UNLUCKY, [rule for rule in shipped_rules() if rule.id in ("empty", "too_short")])
    con.execute(tamper)
    with pytest.raises(BooksDoNotClose, match=said) as caught:
        close_books(con)
    assert caught.value.exit_code == 1


ANSWERS = st.tuples(
    st.sampled_from(["a", "b", "gone"]),
    st.sampled_from(KINDS),
    st.integers(0, 2),
    st.sampled_from(["ok", "ok", "truncated", "failed"]),
    st.one_of(st.sampled_from([GOOD, "The answer is (A).", "", "Why? " * 40]), st.text(max_size=60)),
    st.one_of(st.none(), st.text(max_size=20)),
    st.sampled_from(["train", "test"]),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ANSWERS, max_size=30, unique_by=lambda answer: answer[:3]))
def test_every_rationale_has_one_verdict_and_the_books_close(answers: list[tuple[Any, ...]]) -> None:
    rows = [
        rationale(text, name, kind=kind, repeat=repeat, status=status, failure=failure, split=split)
        for name, kind, repeat, status, text, failure, split in answers
    ]
    con = judged([sample("a"), sample("b")], rows)
    books = close_books(con)
    assert books.asked == len(rows) == books.accepted + books.rejected + books.truncated + books.failed
    assert sum(count.asked for count in books.splits) == len(rows)
    keys = "sample_id, kind, repeat"
    once = con.execute(f"select {keys} from verdicts order by all").fetchall()
    assert once == sorted((row["sample_id"], row["kind"], row["repeat"]) for row in rows)
    augment_view(con)
    assert con.execute("select sample_id from augmented").fetchall() == [("a",), ("b",)]


def test_gates_hold_for_the_dataset_and_for_each_kind() -> None:
    books = close_books(judged([sample()], UNLUCKY))
    results = {
        result.name: result for result in judge_gates(books, Gates(max_rejected=0.3, max_failed=0.5, min_accepted=2))
    }
    assert {name: (result.value, result.passed) for name, result in results.items()} == {
        "asked": (8, True),
        "max_rejected": (2 / 8, True),
        "max_rejected[chain_of_thought]": (1 / 7, True),
        "max_rejected[fundamentals]": (1.0, False),
        "max_truncated": (1 / 8, False),
        "max_truncated[chain_of_thought]": (1 / 7, False),
        "max_truncated[fundamentals]": (0.0, True),
        "max_failed": (4 / 8, True),
        "max_failed[chain_of_thought]": (4 / 7, False),
        "max_failed[fundamentals]": (0.0, True),
        "min_accepted": (1, False),
    }
    assert all(bool(result.remedy) is not result.passed for result in results.values())


def test_a_dataset_that_was_never_augmented_passes_no_gate() -> None:
    (asked,) = judge_gates(close_books(judged([sample()], [])), Gates())
    assert (asked.name, asked.passed) == ("asked", False)
    assert asked.remedy.startswith("nothing was augmented yet")


@pytest.mark.parametrize("wrong", [{"max_rejcted": 0.1}, {"max_failed": 1.5}, {"min_accepted": -1}])
def test_gates_refuse_what_they_do_not_know(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Gates(**wrong)


def test_a_report_survives_its_json_and_names_examples() -> None:
    samples = [sample(f"d/train/{number}") for number in range(5)]
    con = judged(samples, [rationale("Short.", f"d/train/{number}") for number in range(5)])
    books = close_books(con)
    report = make_report(
        con,
        "d",
        rules=shipped_rules(),
        books=books,
        gates=judge_gates(books, Gates()),
        created_at="2026-01-02T03:04:05Z",
        inputs={"samples": "s1", "rules": "r1"},
        outputs={"augmented": "a1"},
    )
    (line,) = (line for line in report.rules if line.rule == "too_short")
    assert (line.hits, line.share, line.examples) == (5, 1.0, ("d/train/0", "d/train/1", "d/train/2"))
    assert not report.passed
    assert list(report.inputs) == ["rules", "samples"]
    text = to_json(report)
    assert from_json(text) == report
    assert to_json(from_json(text)) == text
    with pytest.raises(MachineFailed, match="the report cannot be read"):
        from_json(text[:-20])


def test_judging_again_replaces_what_was_judged() -> None:
    con = judged([sample()], [rationale("Short.")])
    judge(con, [], METRICS)
    assert con.execute("select verdict from verdicts").fetchall() == [("accepted",)]
    assert con.execute("select * from findings").fetchall() == []


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("bigscience/bloom-7b1", "bigscience/bloom-7b1"),
        ("/data/ada/models/bloom-7b1/", "bloom-7b1"),
        ("C:\\models\\bloom", "bloom"),
        ("/", "unnamed"),
    ],
)
def test_a_path_on_the_teachers_machine_is_not_in_the_augmented_table(model: str, shown: str) -> None:
    con = judged([sample()], [rationale(GOOD, teacher_model=model)])
    augment_view(con)
    assert con.execute("select provenance.chain_of_thought.teacher_model from augmented").fetchall() == [(shown,)]
