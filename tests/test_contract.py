"""The contract: suites of expectations over tables as they are; what crashed is an error, never a pass or a fail."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow.parquet as pq
import pytest

import teacherlm
from recipes import parquet, recipe
from scripted import teacher
from teacherlm.api.contract import against_publishing, contract_path, docs_path, read_suites
from teacherlm.cli.main import main
from teacherlm.core.errors import GateFailed, MachineFailed, Mistake, Mistakes, TeacherlmError
from teacherlm.core.stored import to_json
from teacherlm.project.find import find_project
from teacherlm.quality.contract import Contract, from_json
from teacherlm.quality.suites import load_suites, of_schema
from teacherlm.schemas.records import record
from teacherlm.teacher.segments import list_segments, read_lines

ROWS: list[dict[str, Any]] = [
    {"q": "Which metal rusts when it is wet?", "c": ["gold", "iron"], "a": "iron"},
    {"q": "Which animal gives us wool for warm coats?", "c": ["sheep", "trout"], "a": "sheep"},
    {"q": "What do bees make out of nectar?", "c": [], "a": "honey"},
]

SAMPLES, AUGMENTED = "samples/d/train/00000.parquet", "augmented/d/train/00000.parquet"


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that was built, augmented and checked; copied by each test."""
    root = tmp_path_factory.mktemp("contract")
    parquet(root / "p" / "builders" / "rows.parquet", ROWS)
    recipe(root / "p", {"question": "q", "choices": "c", "answer": "a"})
    project = teacherlm.open(root / "p", workspace=root / "w")
    with teacher() as server:
        report = project.run("d", teacher=server.url).report
    assert report is not None and report.passed
    return root


@pytest.fixture
def project(checked: Path, tmp_path: Path) -> teacherlm.Project:
    shutil.copytree(checked, tmp_path, dirs_exist_ok=True)
    return teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")


def rewrite(project: teacherlm.Project, path: str, query: str) -> None:
    """A table of the workspace as a query over it gives it."""
    place = project.workspace.root / path
    rows = f"(FROM read_parquet('{place}', hive_partitioning = false))"
    with duckdb.connect() as con:
        pq.write_table(con.sql(query.format(rows=rows)).to_arrow_table(), place)


def own(project: teacherlm.Project, text: str, name: str = "mine.yaml") -> None:
    place = project.files.root / "quality" / "expectations" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def satisfied(condition: str, column: str = "answer", **more: str) -> str:
    said = "".join(f"    {key}: {value}\n" for key, value in more.items())
    kwargs = f'{{column: {column}, condition: "{condition}"}}'
    return f"table: augmented\nexpectations:\n  - type: expect_column_values_to_satisfy\n    kwargs: {kwargs}\n{said}"


def broken(contract: Contract) -> dict[str, str]:
    """What fails: the expectation, and what is said of it."""
    return {held.about: str(held) for held in contract.broken if held.state == "fails"}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every attempt to reach a network is kept, and refused."""
    attempts: list[Any] = []

    def refuse(*given: Any, **_: Any) -> None:
        attempts.append(given)
        raise OSError("there is no network here")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield attempts


def test_what_was_made_here_keeps_the_contract_offline_and_leaves_no_files(
    project: teacherlm.Project, offline: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path for path in project.workspace.root.rglob("*") if path.is_file()}
    contract = project.contract("d")
    assert contract.passed and {held.state for held in contract.expectations} == {"holds"}
    assert contract.suites == 3 and len(contract.expectations) > 100
    assert not offline
    after = {path for path in project.workspace.root.rglob("*") if path.is_file()}
    assert {path.name for path in after - before} <= {"contract.json", "d.lock"}
    assert capfd.readouterr().out == ""
    assert from_json(contract_path(project.workspace, "d").read_bytes()) == contract


def test_an_unchanged_contract_is_not_held_again_and_loads_nothing(project: teacherlm.Project) -> None:
    first = project.contract("d")
    program = (
        "import sys, teacherlm; from pathlib import Path;"
        f"c = teacherlm.open({str(project.files.root)!r}, workspace={str(project.workspace.root)!r}).contract('d');"
        "assert 'great_expectations' not in sys.modules; print(c.created_at)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == first.created_at
    own(project, satisfied("length(answer) > 1"))
    changed = project.contract("d")
    assert changed.created_at != first.created_at and len(changed.expectations) == len(first.expectations) + 1


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        pytest.param(
            AUGMENTED,
            "SELECT * REPLACE ('  two  blanks ' AS question, 'tin' AS answer, 'Mine.' AS fundamentals) FROM {rows}",
            {
                "A question has words, and its blanks are collapsed.": "3 rows, for example d/train/",
                "The answer is one of the options, where there are any.": "2 rows, for example d/train/",
                "Every text is that of an accepted rationale.": "3 rows, for example d/train/",
            },
            id="values",
        ),
        pytest.param(
            AUGMENTED,
            "SELECT * REPLACE (struct_update(quality, fundamentals := struct_pack(score := 1.5::DOUBLE, "
            "flags := ['no_rule'])) AS quality, NULL::VARCHAR AS subject, '' AS chain_of_thought) FROM {rows} LIMIT 2",
            {"There are as many rows as the build counted samples.": "found 2", "Every sample has its row.": "1 row,"},
            id="structs",
        ),
        pytest.param(
            SAMPLES,
            "FROM {rows} UNION ALL (FROM {rows} LIMIT 1)",
            {
                "sample_id: values to be unique": "2 rows, for example d/train/",
                "There are as many samples as the build counted.": "found 4",
                "Each split has as many samples as the build counted.": "1 row, for example split train, samples 3, ",
            },
            id="duplicated id",
        ),
        pytest.param(
            SAMPLES,
            "SELECT * REPLACE (answer_index::VARCHAR AS answer_index) FROM {rows}",
            {"answer_index: values to be of type BIGINT": "found VARCHAR"},
            id="wrong type",
        ),
        pytest.param(
            SAMPLES,
            "SELECT * EXCLUDE (question), 1 AS more FROM {rows}",
            {"table columns to match set": "found missing question; unexpected more"},
            id="missing column",
        ),
    ],
)
def test_what_breaks_the_contract_is_counted_and_named(
    project: teacherlm.Project, path: str, query: str, said: dict[str, str]
) -> None:
    rewrite(project, path, query)
    contract = project.contract("d")
    found = broken(contract)
    assert not contract.passed
    for about, words in said.items():
        assert words in found.get(about, ""), found
    if any("type" in about or "columns" in about for about in said):
        unseen = [held for held in contract.expectations if held.state == "not run"]
        assert unseen and {held.table for held in unseen} >= {"samples"}
        assert set(found) == set(said), "what needs the columns is not run, so it neither holds nor fails"


def test_a_value_outside_the_set_and_a_number_out_of_range_are_named(project: teacherlm.Project) -> None:
    folder = project.workspace.rationales("d") / "train" / "fundamentals"
    first = list_segments(folder)[0]
    rows = pq.read_table(first.path) if first.is_sealed else read_lines(first.path)
    again = rows.to_pylist()[0] | {"strategy": "guessed", "attempts": -1}
    # A line that is still open, in a segment after the others: the last answer is the one that is looked at.
    (folder / "00000099.jsonl").write_bytes(orjson.dumps(again) + b"\n")
    found = broken(project.contract("d"))
    assert set(found) == {
        "strategy: values to be in set ['explain', 'star', 'star_hinted', 'human']",
        "attempts: values to be between 0",
    }
    assert all(f"1 row, for example {again['sample_id']}" in words for words in found.values())


def test_a_manifest_that_was_tampered_with_does_not_hold(project: teacherlm.Project) -> None:
    path = project.workspace.samples("d") / "manifest.json"
    manifest = orjson.loads(path.read_bytes())
    manifest["splits"][0]["samples"] = 5
    path.write_bytes(orjson.dumps(manifest))
    found = broken(project.contract("d"))
    assert "found 3" in found["There are as many samples as the build counted."]


@pytest.mark.parametrize("damage", [lambda data: b"not Parquet", lambda data: data[: len(data) // 2]])
@pytest.mark.parametrize("path", [SAMPLES, AUGMENTED])
def test_a_damaged_file_is_an_error_with_its_name(
    project: teacherlm.Project, path: str, damage: Callable[[bytes], bytes]
) -> None:
    place = project.workspace.root / path
    place.write_bytes(damage(place.read_bytes()))
    with pytest.raises(MachineFailed, match="cannot be read") as caught:
        project.contract("d")
    assert str(place) in str(caught.value)
    assert not contract_path(project.workspace, "d").exists()


def test_a_page_that_is_damaged_is_an_error_and_no_fail(project: teacherlm.Project) -> None:
    place = project.workspace.root / AUGMENTED
    data = bytearray(place.read_bytes())
    data[4:200] = b"\xff" * 196  # the pages; columns and types still read well
    place.write_bytes(data)
    with pytest.raises(MachineFailed, match="the table `augmented` cannot be read"):
        project.contract("d")


QUERY = "table: augmented\nexpectations:\n  - type: unexpected_rows_expectation\n    kwargs:\n"
QUERY += "      unexpected_rows_query: {}\n"
IN_SET = "table: augmented\nexpectations:\n  - type: expect_column_values_to_be_in_set\n    kwargs: {}\n"


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (QUERY.format("select * from {batch} wher x"), "mine.yaml:5:30", "syntax error at or near"),
        (QUERY.format("select 1 where false"), "mine.yaml:5:30", "does not read {batch}"),
        (QUERY.format("select * from {bach}"), "mine.yaml:5:30", "{batch}"),
        (satisfied("length(answr) > 1"), "mine.yaml:4:41", 'Referenced column "answr" not found'),
        (satisfied("cast(answer as int) > 1"), "mine.yaml:4:41", "Could not convert string"),
        (satisfied("true", column="anser"), "mine.yaml:4:22", "did you mean `answer`?"),
        (IN_SET.format("{column: answer}"), "mine.yaml:4:13", "`value_set`: field required"),
        (IN_SET.format("{colum: answer, value_set: [a]}"), "mine.yaml:4:14", "rename it to `column`"),
        (IN_SET.format("{}").replace("in_set", "inset"), "mine.yaml:3:11", "`expect_column_values_to_be_in_set`?"),
        (
            IN_SET.format("{}").replace("be_in_set", "match_regex"),
            "mine.yaml:3:11",
            "regexp_matches(COLUMN, 'PATTERN')",
        ),
        (IN_SET.format("{}").replace("table:", "tabel:"), "mine.yaml:1:1", "rename it to `table`"),
        (IN_SET.format("{}").replace("augmented", "texts"), "mine.yaml:1:8", "samples, rationales, augmented"),
        (satisfied("true", severity="fatal"), "mine.yaml:5:15", "critical, warning, info"),
    ],
)
def test_a_suite_that_is_wrong_is_a_mistake_with_its_place(
    project: teacherlm.Project, text: str, where: str, said: str
) -> None:
    own(project, text)
    with pytest.raises(Mistake) as caught:
        project.contract("d")
    assert f"quality/expectations/{where}" in str(caught.value)
    assert said in str(caught.value).replace("`samples`", "samples")
    assert not contract_path(project.workspace, "d").exists()


def test_all_mistakes_of_all_suites_are_told_at_once(project: teacherlm.Project) -> None:
    own(project, "tabel: samples\n", "samples.yaml")
    own(project, "expectations: []\n", "other.yaml")
    with pytest.raises(Mistakes) as caught:
        project.contract("d")
    assert len(caught.value.problems) == 2
    assert "no table is called `other`" in str(caught.value)


def test_publishing_holds_the_contract_and_refuses_what_breaks_it(project: teacherlm.Project, tmp_path: Path) -> None:
    own(project, satisfied("length(answer) = 4", description="An answer has four letters."))
    with pytest.raises(GateFailed) as caught:
        project.publish("d", to=tmp_path / "published")
    said = str(caught.value)
    assert "d: quality/expectations/mine.yaml:3:5" in said
    assert "An answer has four letters: 2 rows, for example d/train/" in said
    assert "teacherlm check d" in said
    assert not (tmp_path / "published").exists()
    own(project, satisfied("length(answer) = 4", severity="warning"))
    project.publish("d", to=tmp_path / "published")
    held = from_json(contract_path(project.workspace, "d").read_bytes())
    assert held.passed and len(list(held.broken)) == 1 and not against_publishing(held)
    assert (tmp_path / "published" / "expectations" / "mine.yaml").is_file()


def test_what_was_not_checked_has_no_contract(checked: Path, tmp_path: Path) -> None:
    project = teacherlm.open(checked / "p", workspace=tmp_path / "w")
    with pytest.raises(Mistake, match="has no samples"):
        project.contract("d")
    project.build("d")
    with pytest.raises(Mistake, match="has no augmented table"):
        project.contract("d")


def test_pages_are_written_on_request(project: teacherlm.Project, offline: list[Any]) -> None:
    own(project, satisfied("length(answer) = 4", description="An answer has four letters."))
    contract = project.contract("d", docs=True)
    assert not contract.passed and not offline
    pages = docs_path(project.workspace, "d")
    (page,) = pages.glob("validations/augmented/**/*.html")
    told = page.read_text()
    assert "An answer has four letters." in told and "Failed" in told
    assert "augmented" in (pages / "index.html").read_text()
    assert str(project.workspace.root) not in told
    assert not [page for page in pages.rglob("*.html") if "great-expectations-web-assets" in page.read_text()]


def test_the_command_prints_the_contract_after_the_report(
    project: teacherlm.Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.files.root)

    def check(*arguments: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(("check", "d", "-w", str(project.workspace.root), *arguments))
        shown = capsys.readouterr()
        assert ended.value.code == code, shown.err
        return shown.out, shown.err

    own(project, satisfied("length(answer) = 4", description="An answer has four letters."))
    told, failed = check(code=1)
    assert "contract: critical: augmented: An answer has four letters: 2 rows, for example d/train/" in told
    assert "d: the contract is broken: 1 of 114 expectations does not hold" in failed
    assert "(quality/expectations/mine.yaml:3:5)" in told
    own(project, satisfied("length(answer) = 4"))
    assert "augmented: answer: values to satisfy length(answer) = 4: 2 rows" in check(code=1)[0]
    report = project.workspace.report("d").read_bytes()
    for wrong, where in ((IN_SET.format("{}").replace("in_set", "inset"), "mine.yaml:3:11"), ("a: [", "mine.yaml:1")):
        own(project, wrong)
        told, failed = check(code=2)
        assert not told and where in failed and project.workspace.report("d").read_bytes() == report
    shutil.rmtree(project.files.root / "quality")
    (row,) = orjson.loads(check("--format", "json")[0])["rows"]
    assert row["contract"] == {"passed": True, "expectations": 113, "suites": 3, "broken": []}
    assert check()[0].endswith("contract: 113 expectations of 3 suites hold\n")
    contract_path(project.workspace, "d").unlink()
    assert "contract" not in check("--no-contract")[0]
    assert not contract_path(project.workspace, "d").exists()
    check("--docs", "--no-contract", code=2)


def test_columns_types_and_nulls_have_one_definition() -> None:
    suites = read_suites(find_project(Path(__file__).parents[1]))
    for table, name in (("samples", "sample"), ("rationales", "rationale"), ("augmented", "augmented")):
        derived = [one.declared for one in suites.expectations if one.table == table and one.located is None]
        assert derived == list(of_schema(name))  # type: ignore[arg-type]
        of_null = {one.kwargs["column"] for one in derived if one.type.endswith("not_be_null")}
        assert of_null == {column.name for column in record(name) if not column.nullable}
        typed = [one.kwargs["column"] for one in derived if one.type.endswith("of_type")]
        assert typed == record(name).names
        written = {one.declared.type for one in suites.expectations if one.table == table and one.located}
        assert not written & {"expect_column_values_to_not_be_null", "expect_column_values_to_be_of_type"}


def test_a_file_of_the_same_name_takes_the_place_of_the_bundled_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "samples.yaml").write_text("schema: sample\n")
    (tmp_path / "b" / "samples.yaml").write_text("expectations: []\n")
    assert load_suites([tmp_path / "a"]).expectations
    assert not load_suites([tmp_path / "a", tmp_path / "b"]).expectations


@pytest.mark.slow
def test_a_result_that_was_damaged_is_written_again(project: teacherlm.Project) -> None:
    first = project.contract("d")
    assert from_json(to_json(first)) == first
    contract_path(project.workspace, "d").write_text('{"dataset": "d"')
    with pytest.raises(TeacherlmError, match="cannot be read"):
        from_json(contract_path(project.workspace, "d").read_bytes())
    assert project.contract("d").passed
