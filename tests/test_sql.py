"""`sql`: views over a workspace, macros, queries by name, parameters, and what is said of mistakes."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import teacherlm
from sql_workspace import SAMPLES, TEACHERS, fill
from teacherlm.api.sql import Sql
from teacherlm.api.sql_files import settings
from teacherlm.api.sql_text import is_whole, quoted_show, statements
from teacherlm.api.sql_views import ABOUT, RECORD_OF, WorkspaceSource
from teacherlm.cli.main import main
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.schemas.records import record

ASKED = len(TEACHERS) * 3 * sum(len(samples) for samples in SAMPLES.values())


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("sql") / "workspace").root


@pytest.fixture
def project(filled: Path, tmp_path: Path) -> teacherlm.Project:
    (tmp_path / "catalog.yaml").write_text("teachers: {}\n")
    return teacherlm.open(tmp_path, workspace=filled)


@pytest.fixture
def own(filled: Path, tmp_path: Path) -> teacherlm.Project:
    """A project with a workspace of its own, which a test may damage."""
    (tmp_path / "catalog.yaml").write_text("teachers: {}\n")
    shutil.copytree(filled, tmp_path / "workspace")
    return teacherlm.open(tmp_path, workspace=tmp_path / "workspace")


def opened(project: teacherlm.Project) -> Sql:
    return Sql(project.files, project.workspace)


# Views.


@pytest.mark.parametrize("view", WorkspaceSource.views)
def test_every_view_has_rows_and_the_types_that_it_has_when_empty(
    project: teacherlm.Project, view: str, tmp_path: Path
) -> None:
    full = project.sql(f"FROM {view}")
    empty = teacherlm.open(tmp_path, workspace=tmp_path / "nothing").sql(f"FROM {view}")
    assert full.to_arrow_table().num_rows > 0
    assert empty.to_arrow_table().num_rows == 0
    assert list(zip(full.columns, full.types, strict=True)) == list(zip(empty.columns, empty.types, strict=True))
    if view in RECORD_OF:
        names = record(RECORD_OF[view]).names
        assert full.columns[: len(names)] == names
    assert not (tmp_path / "nothing").exists()


def test_what_is_made_is_what_is_named(project: teacherlm.Project) -> None:
    session = opened(project).session
    made = "SELECT view_name FROM duckdb_views() WHERE NOT internal"
    session.relation("SELECT 'samples' AS word, 1 AS x")
    assert {name for (name,) in session.connection.execute(made).fetchall()} == {"samples"}
    session.relation("FROM VERDICTS v JOIN Rationales USING (sample_id)")
    found = {name for (name,) in session.connection.execute(made).fetchall()}
    assert found >= {"verdicts", "rationales", "ledger"}
    assert not found & {"costs", "metrics", "runs"}
    listed = [name for (name,) in session.relation("SHOW TABLES").fetchall()]
    assert set(listed) == set(ABOUT)


def test_costs_and_runs_are_those_of_the_records(project: teacherlm.Project) -> None:
    ((tokens,),) = project.sql("SELECT sum(generated_tokens) FROM costs").fetchall()
    assert tokens == sum(row["generated_tokens"] for row in project.cost())
    assert project.sql("SELECT DISTINCT teacher, model FROM costs ORDER BY 1").fetchall() == [
        (name, model) for name, (model, _) in sorted(TEACHERS.items())
    ]
    rows = project.sql("SELECT r.teachers[1], c.calls FROM runs r JOIN costs c USING (dataset, run) ORDER BY ALL")
    assert set(rows.fetchall()) == {("lab", 3), ("nano", 3)}


def test_a_damaged_file_stops_what_reads_it_alone(own: teacherlm.Project) -> None:
    root = own.workspace.root
    line = root / "rationales" / "sums" / "train" / "fundamentals" / "00000002.jsonl"
    line.write_text("{}\n")
    report = own.workspace.report("sums")
    report.write_text("{")
    session = opened(own).session
    assert len(session.relation("FROM samples")) == 6
    assert session.relation("SELECT count(*) FROM verdicts").fetchall() == [(ASKED,)]
    for query in ("FROM rationales", "FROM ledger", "FROM costs", "FROM acceptance()", "FROM show('sums/train/half')"):
        with pytest.raises(MachineFailed) as caught:
            session.relation(query)
        assert caught.value.where == f"{line}:1:1"
    with pytest.raises(MachineFailed) as caught:
        session.relation("FROM gates")
    assert caught.value.where == str(report)
    # The word alone, or a table of that name of one's own, needs no file.
    assert session.relation("WITH rationales AS (SELECT 1 AS x) FROM rationales").fetchall() == [(1,)]
    samples = root / "samples" / "metals" / "train" / "00000.parquet"
    samples.write_bytes(b"nothing")
    assert len(session.relation("FROM verdicts")) == ASKED
    with pytest.raises(MachineFailed, match="cannot be read") as caught:
        session.relation("FROM samples")
    assert caught.value.where == str(samples)
    # What is mended can be read in the same session.
    line.unlink()
    assert session.relation("SELECT count(*) FROM rationales").fetchall() == [(ASKED,)]


def test_pages_that_are_damaged_show_when_they_are_read(
    own: teacherlm.Project, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own.workspace.verdicts("sums") / "verdicts.parquet"
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 3] = b"\xff" * (len(data) // 3 - 4)
    path.write_bytes(data)
    with pytest.raises(SystemExit) as ended:
        main(["sql", "FROM verdicts", "-w", str(own.workspace.root)])
    shown = capsys.readouterr()
    assert ended.value.code == 4
    assert "a file of `verdicts` cannot be read" in shown.err
    assert str(own.workspace.root) in shown.err


def test_a_session_sees_what_has_come_since(own: teacherlm.Project) -> None:
    session = opened(own).session
    count = "SELECT count(*) FROM ledger"
    before = session.relation(count).fetchall()[0][0]
    folder = own.workspace.rationales("sums") / "train" / "fundamentals"
    (folder / "00000002.parquet").write_bytes((folder / "00000001.parquet").read_bytes())
    assert session.relation(count).fetchall()[0][0] == before + 6


# Macros.


def test_macros_answer(project: teacherlm.Project) -> None:
    worst = project.sql("FROM worst('chain_of_thought', n := 3)")
    scores = [row[3] for row in worst.fetchall()]
    assert len(scores) == 3
    assert scores == sorted(scores)
    parts = {row[0]: row for row in project.sql("from Show('metals/train/rust')").fetchall()}
    assert parts["option B"][1] == parts["gold answer"][1] == "iron"
    assert parts["chain of thought"][2] == "accepted"
    assert "wrong: it says silver" in parts["chain of thought 1"][4]
    rejected = project.sql("FROM found('wrong')").fetchall()
    assert {(row[1], row[3]) for row in rejected} == {("chain_of_thought", "reject")}
    acceptance = project.sql("SELECT sum(asked), sum(accepted + rejected + truncated + failed) FROM acceptance()")
    assert acceptance.fetchall() == [(ASKED, ASKED)]
    reasons = {row[0]: row[1:3] for row in project.sql("FROM reasons()").fetchall()}
    assert reasons["wrong"][0] == len(rejected) > reasons["wrong"][1]
    (lost,) = project.sql("SELECT sum(lost) FROM stricter(0.5)").fetchall()
    want = "SELECT count(*) FROM verdicts WHERE verdict = 'accepted' AND score < 0.5"
    assert lost == project.sql(want).fetchall()[0]


def test_a_project_adds_macros_and_takes_the_place_of_others(project: teacherlm.Project) -> None:
    path = project.files.root / "quality" / "macros.sql"
    path.parent.mkdir()
    path.write_text(
        "-- Counts.\ncreate or replace macro acceptance() as table select count(*) as n from verdicts;\n"
        "-- Half of them; é.\ncreate macro half_of() as table select n / 2 as half from acceptance();\n"
    )
    assert project.sql("FROM half_of()").fetchall() == [(ASKED / 2,)]
    assert len(project.sql("FROM worst('fundamentals', n := 1)").fetchall()) == 1
    assert opened(project).session.macros["half_of"].about == "Half of them; é."
    path.write_text("create macro a() as table select nix from samples;\n")
    assert project.sql("SELECT count(*) FROM samples").fetchall() == [(6,)]
    with pytest.raises(Mistake, match='"nix" not found') as caught:
        project.sql("FROM a()")
    assert caught.value.where == f"{path}:1:34"
    path.write_text("\nselect 1;\n")
    with pytest.raises(Mistake, match="creates no macro") as caught:
        project.sql("SELECT 1")
    assert caught.value.where == f"{path}:2:1"


# Queries by name, files, parameters.


def test_queries_have_names(project: teacherlm.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(project.sql("longest").fetchall()) == 5  # its own setting
    assert len(project.sql("longest", parameters={"n": 2}).fetchall()) == 2
    with pytest.raises(Mistake, match="no query `longst`") as caught:
        project.sql("longst")
    assert caught.value.remedy.startswith("did you mean longest?")
    folder = tmp_path / "quality" / "queries"
    folder.mkdir(parents=True)
    (folder / "longest.sql").write_text("SELECT 'mine' AS whose\n")
    (folder / "more.sql").write_text("-- set: kind=fundamentals\nSELECT count(*) FROM verdicts WHERE kind = $kind;")
    assert project.sql("longest").fetchall() == [("mine",)]
    assert project.sql("more").fetchall() == [(ASKED // 3,)]
    monkeypatch.chdir(folder)
    assert project.sql("./more.sql", parameters={"kind": "none"}).fetchall() == [(0,)]
    with pytest.raises(Mistake, match="no such file"):
        project.sql("absent.sql")
    (folder / "wrong.sql").write_text("-- what\n\nSELECT 1;\nSELECT sample_id,\n  zz FROM samples")
    with pytest.raises(Mistake, match='"zz" not found') as caught:
        project.sql("wrong")
    assert caught.value.where.startswith(f"{folder}/wrong.sql:4")


def test_parameters_are_bound(project: teacherlm.Project) -> None:
    text = (
        "SET VARIABLE least = $least; SELECT count(*) FROM verdicts WHERE score < getvariable('least') AND kind = $kind"
    )
    (row,) = project.sql(text, parameters={"least": 0.5, "kind": "fundamentals"}).fetchall()
    assert row[0] > 0
    evil = project.sql("SELECT $text", parameters={"text": "'; DROP TABLE samples; --"})
    assert evil.fetchall() == [("'; DROP TABLE samples; --",)]
    with pytest.raises(Mistake, match=r"needs \$kind") as caught:
        project.sql("SELECT $kind")
    assert "--set kind=VALUE" in caught.value.remedy
    with pytest.raises(Mistake, match=r"no statement has \$knd") as caught:
        project.sql("SELECT $kind", parameters={"kind": 1, "knd": 2})
    assert "it has $kind" in caught.value.remedy
    with pytest.raises(Mistake, match='is "x"'):
        settings(["x"])


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none())
def test_settings_are_what_they_look_like(value: float | bool | None) -> None:
    said = (
        {True: "true", False: "false", None: "null"}[value]
        if value is None or value is True or value is False
        else str(value)
    )
    assert settings([f"n={said}"]) == {"n": value}


@given(
    st.lists(
        st.sampled_from(["SELECT 1", "SELECT ';' AS \"a;b\"", "FROM x -- ;\n", "SELECT 'é—' /* ; */", "SET a = 1"])
    )
)
def test_statements_are_cut_where_they_end(parts: list[str]) -> None:
    text = ";\n".join(parts) + ";"
    found = statements(text) if parts else []
    assert [s.sql.split()[0] for s in found] == [part.split()[0] for part in parts]
    lines = text.splitlines()
    for statement in found:
        assert lines[statement.line - 1].startswith(statement.sql.split()[0])
    assert is_whole(text) or not parts


def test_show_is_a_macro_only_where_it_is_called() -> None:
    assert quoted_show("SHOW TABLES") == "SHOW TABLES"
    assert quoted_show("SELECT 'show(1)' -- show(2)") == "SELECT 'show(1)' -- show(2)"
    assert quoted_show("from show (1), show(2)") == 'from "show" (1), "show"(2)'


# Mistakes.


@pytest.mark.parametrize(
    ("query", "found", "remedy"),
    [
        ("FROM verdict", "verdict does not exist", "did you mean verdicts? the views are samples, rationales"),
        ("FROM wurst('a')", "wurst does not exist", "did you mean worst?"),
        (
            "SELECT sampel_id FROM samples",
            '"sampel_id" not found',
            "did you mean sample_id?\n    samples has sample_id",
        ),
        ("SELECT s.texts FROM rationales s", '"texts"', "did you mean text?"),
        ("CREATE TABLE x AS SELECT 1", "returns no rows", "write a SELECT"),
        ("FROM 'absent.parquet'", "No files found", "mend the statement"),
        ("-- nothing", "no statement", "write a SELECT"),
        ("FROM project", "project does not exist", "the views are"),  # no variable of Python is a table
    ],
)
def test_mistakes_say_what_there_is(project: teacherlm.Project, query: str, found: str, remedy: str) -> None:
    with pytest.raises(Mistake) as caught:
        project.sql(query).fetchall()
    assert found in caught.value.found
    assert "pg_" not in caught.value.found
    assert remedy in caught.value.remedy
    assert caught.value.where == "sql"


def test_pivot_and_several_statements(project: teacherlm.Project) -> None:
    rows = project.sql("PIVOT (SELECT kind, verdict FROM verdicts) ON verdict USING count(*)").fetchall()
    assert len(rows) == 3
    assert project.sql("CREATE TABLE t AS FROM samples; SELECT count(*) FROM t").fetchall() == [(6,)]


# The command.


def test_each_statement_of_a_file_is_shown(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "two.sql"
    path.write_text("SELECT 11 AS a;\nCREATE TABLE t AS SELECT 5 AS x;\nSELECT x + 17 AS b FROM t;\n")
    for arguments, text in (([str(path)], None), (["-"], path.read_text()), ([], path.read_text())):
        if text is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        with pytest.raises(SystemExit) as ended:
            main(["sql", *arguments, "-w", str(filled)])
        assert not ended.value.code
        shown = capsys.readouterr().out
        assert "11" in shown and "22" in shown
    with pytest.raises(SystemExit):
        main(["sql", str(path), "-w", str(filled), "--format", "csv"])
    assert capsys.readouterr().out == '"b"\n22\n'


def test_what_can_be_asked_is_listed(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sql", "--list", "-w", str(filled)])
    shown = capsys.readouterr().out
    for word in (*WorkspaceSource.views, "worst(of_kind, n := 10)", "show(id)", "best_teacher", "like_people"):
        assert word in shown
