"""A check of damaged files, wrong rules and small disks: one message with its place, and nothing half-written."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

import teacherlm
from recipes import parquet, recipe
from scripted import sensible, teacher
from teacherlm.api.check_session import check_session
from teacherlm.api.project import Project
from teacherlm.cli.main import main

ROWS = [{"id": f"r{n}", "q": f"Which metal rusts when it meets water {n} times a day?", "a": "iron"} for n in range(8)]
HEADER = "-- severity: reject | kinds: all | reason: it is odd\n"
GATES = {"max_rejected": 1.0}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the checked datasets `d` and `e`; each test takes a copy."""
    root = tmp_path_factory.mktemp("checked")
    parquet(root / "builders" / "rows.parquet", ROWS)
    for name in ("d", "e"):
        recipe(root, {"id": "id", "question": "q", "answer": "a"}, name=name, gates=GATES)
    opened = teacherlm.open(root, workspace=root / "workspace")
    with teacher(sensible) as server:
        for name in ("d", "e"):
            opened.build(name)
            opened.augment(name, teacher=server.url)
            opened.check(name)
    return root


@pytest.fixture
def project(checked: Path, tmp_path: Path) -> Project:
    root = shutil.copytree(checked, tmp_path / "p")
    return teacherlm.open(root, workspace=root / "workspace")


def run(project: Project, *names: str) -> tuple[int, str, list[dict[str, Any]]]:
    """`teacherlm check …`: exit code, standard error, errors for programs."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(arguments(project, *names))
    out.flush()
    out.buffer.seek(0)
    shown = out.buffer.read()
    assert b"a mistake of teacherlm's own" not in shown
    return int(ended.value.code or 0), err.getvalue(), orjson.loads(shown)["errors"]


def arguments(project: Project, *names: str) -> list[str]:
    root = project.files.root
    return ["check", *names, "-p", str(root), "-w", str(root / "workspace"), "--format", "json"]


def written(project: Project, name: str = "d") -> dict[str, str]:
    """What a check has written, by path."""
    workspace = project.workspace
    folders = (workspace.verdicts(name), workspace.augmented(name), workspace.report(name).parent)
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.md5(path.read_bytes()).hexdigest() for path in paths if path.name != "run.json"}


def leftovers(project: Project) -> list[str]:
    """Temporary files and folders, of which none may stay."""
    return [str(path) for path in project.workspace.root.rglob(".*")]


def spoil_pages(path: Path) -> None:
    data = path.read_bytes()
    middle = len(data) // 8
    path.write_bytes(data[:4] + b"\xff" * (middle - 4) + data[middle:])


def without_column(path: Path, column: str) -> None:
    pq.write_table(pq.read_table(path).drop_columns([column]), path)


@pytest.mark.parametrize("damage", ["pages", "end", "column"])
@pytest.mark.parametrize("part", ["samples", "ledger"])
def test_a_damaged_file_is_named_and_the_other_dataset_is_checked(project: Project, part: str, damage: str) -> None:
    folder = project.workspace.samples("d") if part == "samples" else project.workspace.rationales("d")
    path = sorted(path for path in folder.rglob("*.parquet") if path.stem.isdigit())[0]
    before = written(project)
    if damage == "pages":
        spoil_pages(path)
    elif damage == "end":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        without_column(path, "question" if part == "samples" else "text")
    code, _, errors = run(project, "d", "e")
    assert code == 4, errors
    (error,) = errors
    assert error["exit_code"] == 4
    assert path.name in error["where"] or path.name in error["found"]
    assert "build it again" in error["remedy"] or "restore the file" in error["remedy"]
    assert written(project) == before
    assert leftovers(project) == []
    assert project.workspace.report("e").is_file()


@pytest.mark.parametrize(
    ("sql", "place", "found"),
    [
        ("select sample_id, kind, repeat\nfrom metrics were words = 0", "odd.sql:3:", "syntax error"),
        ("select sample_id, kind, repeat from metrics\nwhere cast(text as int) = 1", "odd.sql:3:", "Could not convert"),
        ("select sample_id, kind, repeat from metrics\nwhere words::tinyint * 100::tinyint > 3", "odd.sql", "range"),
        ("select sample_id, kind, repeat from metrics where 1 // (words - words) > 0", "odd.sql:", "division by zero"),
    ],
)
def test_a_rule_that_fails_is_a_mistake_with_its_place(project: Project, sql: str, place: str, found: str) -> None:
    before = written(project)
    rules = project.files.root / "quality" / "rules"
    rules.mkdir(parents=True)
    (rules / "odd.sql").write_text(HEADER + sql)
    code, _, errors = run(project, "d")
    assert code == 2
    (error,) = errors
    assert place in error["where"]
    assert found.lower() in error["found"].lower()
    assert error["remedy"]
    assert written(project) == before
    assert leftovers(project) == []


def test_metrics_of_a_project_that_break_are_a_mistake_with_their_place(project: Project) -> None:
    before = written(project)
    folder = project.files.root / "quality" / "metrics"
    folder.mkdir(parents=True)
    (folder / "9_mine.sql").write_text(
        "-- mine\ncreate or replace temp table metrics as\nselect *, lenght(text) from metrics"
    )
    code, _, errors = run(project, "d")
    assert code == 2
    (error,) = errors
    assert "9_mine.sql:" in error["where"]
    assert "lenght" in error["found"]
    assert written(project) == before
    assert leftovers(project) == []


def test_metrics_that_lose_the_table_that_rules_read_are_a_mistake(project: Project) -> None:
    folder = project.files.root / "quality" / "metrics"
    folder.mkdir(parents=True)
    (folder / "9_mine.sql").write_text("drop table metrics")
    code, _, errors = run(project, "d")
    assert code == 2
    assert errors


def test_a_full_disk_leaves_the_last_check_as_it_was(project: Project) -> None:
    before = written(project)
    command = [sys.executable, "-m", "teacherlm", *arguments(project, "d")]
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); import os; "
    limited = [sys.executable, "-c", limit + "os.execv(sys.argv[1], sys.argv[1:])", *command]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    (error,) = orjson.loads(done.stdout)["errors"]
    assert "verdicts" in error["where"] or "augmented" in error["where"]
    assert written(project) == before
    assert leftovers(project) == []
    assert run(project, "d")[0] == 0


def test_rows_that_memory_does_not_suffice_for_are_checked_without_the_limit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written(project)
    monkeypatch.setattr("teacherlm.api.check.MEMORY", 1)
    assert project.check("d").passed
    after = written(project)
    assert {path: value for path, value in after.items() if "report" not in path} == {
        path: value for path, value in before.items() if "report" not in path
    }


def test_what_a_killed_check_has_spilled_is_swept(project: Project) -> None:
    spilled = project.workspace.verdicts("d").with_name(".d.spilled")
    spilled.mkdir()
    (spilled / "duckdb_temp_storage-0.tmp").write_bytes(b"x" * 100)
    project.check("d")
    assert leftovers(project) == []


def test_only_the_last_answer_counts_whichever_file_holds_it(project: Project) -> None:
    """The session's `rationales` are those of the plain view, also where answers were superseded."""
    folder = project.workspace.rationales("d") / "train" / "chain_of_thought"
    table = pq.read_table(sorted(folder.glob("*.parquet"))[0])
    again = table.slice(2, 3)
    place = again.schema.get_field_index("text")
    again = again.set_column(place, "text", [[f"said again {n}" for n in range(3)]])
    pq.write_table(again.cast(table.schema), folder / "00000099.parquet")
    plain = project.sql("SELECT * EXCLUDE (created_at) FROM rationales WHERE dataset = 'd' ORDER BY ALL").fetchall()
    with check_session(project.workspace, "d") as connection:
        found = connection.execute(
            "SELECT * EXCLUDE (created_at) FROM rationales WHERE dataset = 'd' ORDER BY ALL"
        ).fetchall()
    assert found == plain
    assert sum(row[5].startswith("said again") for row in found) == 3
    assert len(found) == len({(row[0], row[3], row[4]) for row in found})


CHECKED = """
import os, sys
import teacherlm
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(sys.argv[2])]))
import duckdb
project = teacherlm.open(sys.argv[1], workspace=sys.argv[1] + "/workspace")
project.check("bench")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's processor affinity")
def test_the_bytes_are_the_same_for_one_thread_and_for_two(tmp_path: Path) -> None:
    root = tmp_path / "bench"
    made = Path(__file__).parents[1] / "benchmarks" / "rationales.py"
    subprocess.run([sys.executable, str(made), str(root), "--rationales", "6000"], check=True, capture_output=True)
    outputs = []
    for threads in ("1", "2"):
        subprocess.run([sys.executable, "-c", CHECKED, str(root), threads], check=True, capture_output=True)
        report = orjson.loads((root / "workspace" / "reports" / "bench" / "report.json").read_bytes())
        outputs.append(report["outputs"])
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) >= 6
