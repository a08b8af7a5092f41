"""The command: exit codes, what a person reads and what a program reads, and that no failure is a traceback."""

from __future__ import annotations

import contextlib
import csv
import io
import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from recipes import parquet, recipe
from scripted import sensible, teacher
from teacherlm.cli.main import main
from teacherlm.cli.output import Outcome
from teacherlm.core.locks import held

GOLDEN = Path(__file__).parent / "golden"

COMMANDS = [
    *("init", "plan", "build", "augment", "check", "publish", "run", "quickstart"),
    *("status", "explain", "sql", "serve", "calibrate", "verify", "view", "diff", "cost"),
]

ROWS = [
    {"q": "Which metal rusts when it meets water and air?", "a": "iron"},
    {"q": "Which animal gives us wool for warm clothes?", "a": "the sheep"},
    {"q": "What do bees carry from flower to flower?", "a": "pollen"},
]


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)


class Command:
    """Runs `teacherlm …` in this process, in a directory of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> Done:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        shown = self._capsys.readouterr()
        done = Done(int(ended.value.code or 0), shown.out, shown.err)
        assert "Traceback" not in done.out + done.err
        assert "a mistake of teacherlm's own" not in done.err, done.err
        assert done.code == code, f"{arguments}: {done}"
        return done


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    for name in ("TEACHERLM_WORKSPACE", "TEACHERLM_TEACHER", "TEACHERLM_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


@pytest.fixture
def small(run: Command, tmp_path: Path) -> Command:
    """In a project with the dataset `d` of three rows."""
    parquet(tmp_path / "builders" / "rows.parquet", ROWS)
    recipe(tmp_path)
    return run


def forms(done: Done, command: str, ok: bool) -> list[dict[str, Any]]:
    """The envelope of `--format json`; gives its errors."""
    envelope = done.json
    assert list(envelope) == ["schema_version", "command", "ok", "rows", "errors"]
    assert (envelope["schema_version"], envelope["command"], envelope["ok"]) == (1, command, ok)
    assert isinstance(envelope["rows"], list)
    for error in envelope["errors"]:
        assert list(error) == ["what", "where", "found", "remedy", "exit_code"]
    errors: list[dict[str, Any]] = envelope["errors"]
    return errors


# What is given is wrong: 2, and nothing is run.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("build", "dd"), ["there is no dataset `dd`", "did you mean d?"]),
        (("check", "d"), ["`d` has no samples in workspace", "teacherlm build d"]),
        (("publish", "d", "--to", "p"), ["`d` was not checked", "teacherlm check d"]),
        (("augment", "d", "-t", "http://127.0.0.1:9"), ["`d` has no samples", "teacherlm build d"]),
        (("augment", "d"), ["no teacher was named", "--teacher URL"]),
        (("augment", "d", "-t", "nanno"), ["there is no teacher `nanno`", "did you mean `nano`?"]),
        (("augment", "d", "-t", "nano", "--kinds", "cot"), ["`d` has no kind `cot`", "chain_of_thought"]),
        (("plan", "d", "--kinds", "cot"), ["`d` has no kind `cot`", "chain_of_thought"]),
        (("augment", "d", "-t", "nano", "--limit", "0"), ["--limit   is 0", "1 or more"]),
        (("augment", "d", "-t", "http://127.0.0.1:9", "--repeats", "2"), ["--repeats", "do_sample: true"]),
        (("augment", "d", "-t", "nano", "--concurrency", "x"), ['--concurrency   is "x"', "or auto"]),
        (("build", "d", "--source", "absent.jsonl"), ["absent.jsonl   there is no such file or folder"]),
        (("build", "d", "e", "--source", "x"), ["cannot be the source of 2 datasets", "there is no dataset `e`"]),
        (("status", "--project", "absent"), ["there is no such directory"]),
        (("sql", "SELEC 1"), ["syntax error", "mend the SQL"]),
        (("sql", "SELECT zz FROM samples"), ['"zz" not found']),
        (("sql", "CREATE TABLE x (a INT)"), ["returns no rows", "write a SELECT"]),
        (("publish", "d", "--to", "hf://a/b"), ["names no dataset repository", "hf://datasets/ORG/REPO"]),
        (("init", "."), ["holds a project already"]),
    ],
)
def test_a_mistake_says_what_and_what_to_do(small: Command, arguments: tuple[str, ...], words: list[str]) -> None:
    if arguments[0] == "publish" and "hf://" not in arguments[-1]:
        small("build", "d")
    done = small(*arguments, code=2)
    assert not done.out
    for word in words:
        assert word in done.err
    if arguments[0] == "sql":
        return
    errors = forms(small(*arguments, "--format", "json", code=2), arguments[0], ok=False)
    assert errors[0]["exit_code"] == 2
    assert errors[0]["remedy"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("build", "d", "--bogus"), "No such option: --bogus"),
        (("build",), "Missing argument"),
        (("publish", "d"), "Missing option '--to'"),
        (("augment", "d", "--limit", "many"), "Invalid value for '--limit'"),
        (("build", "d", "--format", "xml"), "'--format': 'xml' is not one of"),
        (("nonsense",), "No such command 'nonsense'"),
    ],
)
def test_usage_errors_are_2_for_people_and_programs(small: Command, arguments: tuple[str, ...], words: str) -> None:
    done = small(*arguments, code=2)
    assert not done.out
    assert words in done.err
    if "--format" not in arguments:
        (error,) = forms(small(*arguments, "--format=json", code=2), arguments[0], ok=False)
        assert words in error["found"]
        assert "--help" in error["remedy"]


def test_all_mistakes_of_all_files_are_shown_at_once(small: Command, tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text("gate: {}\n")
    (tmp_path / "builders" / "e.yaml").write_text("title: E\nsource: {files: x}\n")
    done = small("build", "d", "e", code=2)
    assert "catalog.yaml:1:1   unknown key `gate`" in done.err
    assert "builders/e.yaml:1:1   `sample` is missing" in done.err
    assert "problems; nothing was run" in done.err


def test_sql_of_a_recipe_that_fails_on_a_row_names_its_place(small: Command, tmp_path: Path) -> None:
    recipe(tmp_path, {"question": "q", "answer": "CAST(a AS INTEGER)"})
    done = small("build", "d", code=2)
    assert "builders/d.yaml:9:11   `answer` fails on a row" in done.err
    assert "'iron'" in done.err
    (error,) = forms(small("build", "d", "--format", "json", code=2), "build", ok=False)
    assert error["where"] == "builders/d.yaml:9:11"


# A teacher that fails: 3.


def test_a_teacher_that_is_not_there(small: Command) -> None:
    small("build", "d")
    done = small("augment", "d", "--teacher", "http://127.0.0.1:9", code=3)
    assert "no server answers at http://127.0.0.1:9" in done.err
    assert "check the URL" in done.err
    (error,) = forms(small("run", "d", "-t", "http://127.0.0.1:9", "--format", "json", code=3), "run", ok=False)
    assert (error["what"], error["exit_code"]) == ("remote", 3)


@contextlib.contextmanager
def other_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_is_no_teacher(small: Command) -> None:
    small("build", "d")
    with other_server() as url:
        done = small("augment", "d", "--teacher", url, code=3)
    assert "is not text-generation-inference" in done.err
    assert "teacherlm serve MODEL" in done.err


# This machine fails: 4.


def hold(path: Path, ready: Any, done: Any) -> None:
    with held(path, "it"):
        ready.set()
        done.wait(30)


def test_a_dataset_that_another_process_writes(small: Command, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, over = spawn.Event(), spawn.Event()
    process = spawn.Process(target=hold, args=(tmp_path / "workspace" / "locks" / "d.lock", ready, over))
    process.start()
    try:
        assert ready.wait(30)
        done = small("build", "d", code=4)
        assert f"dataset `d` is being written by pid {process.pid}" in done.err
        assert "wait for it to end" in done.err
        assert f"pid {process.pid}" in small("status").out
    finally:
        over.set()
        process.join()
    small("build", "d")


def test_a_damaged_line_of_the_ledger_is_named(small: Command, tmp_path: Path) -> None:
    small("build", "d")
    folder = tmp_path / "workspace" / "rationales" / "d" / "train" / "chain_of_thought"
    folder.mkdir(parents=True)
    (folder / "00000001.jsonl").write_text('{"sample_id": "x"\n{}\n')
    for arguments in (("check", "d"), ("sql", "SELECT * FROM rationales")):
        done = small(*arguments, code=4)
        assert "00000001.jsonl:1:1   the ledger line is damaged" in done.err
        assert "asked again" in done.err


def test_a_workspace_that_is_a_file(small: Command, tmp_path: Path) -> None:
    (tmp_path / "workspace").write_text("x")
    done = small("build", "d", code=4)
    assert "workspace" in done.err


def test_a_damaged_sample_file_is_named(small: Command, tmp_path: Path) -> None:
    small("build", "d")
    path = tmp_path / "workspace" / "samples" / "d" / "train" / "00000.parquet"
    path.write_bytes(b"nothing")
    assert "00000.parquet   cannot be read" in small("sql", "SELECT * FROM samples", code=4).err
    with teacher() as server:
        assert "00000.parquet" in small("augment", "d", "-t", server.url, code=4).err


FULL = """
import errno, os, sys
import teacherlm.core.files as files
from teacherlm.cli.main import main
def full(path, value):
    raise OSError(errno.ENOSPC, "No space left on device")
import teacherlm.builders.build as building
building.write_json = full
main(sys.argv[1:])
"""


def test_a_full_disk_says_so_and_leaves_nothing_half_done(small: Command, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, "build", "d"], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "the disk is full" in done.stderr
    assert "make space" in done.stderr
    assert not list((tmp_path / "workspace" / "samples").glob("*"))


def test_our_own_mistakes_are_short_unless_asked(small: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr("teacherlm.api.project.Project.status", broken)
    with pytest.raises(SystemExit) as ended:
        main(["status", "--format", "json"])
    assert ended.value.code == 4
    with pytest.raises(RuntimeError):
        main(["status", "--debug"])


# A gate fails: 1.


def bad(prompt: str) -> str:
    return "no"


def test_a_gate_that_fails_stops_publishing(small: Command) -> None:
    small("build", "d")
    with teacher(bad) as server:
        small("augment", "d", "-t", server.url)
    done = small("check", "d", code=1)
    assert "d: a gate fails: max_rejected" in done.err
    assert re.search(r"max_rejected +100\.0% +50\.0% +FAILS", done.out)
    done = small("publish", "d", "--to", "published", code=1)
    assert "max_rejected" in done.err
    assert not Path("published").exists()
    errors = forms(small("check", "d", "--format", "json", code=1), "check", ok=False)
    assert [(error["what"], error["exit_code"]) for error in errors] == [("gate", 1)]
    assert "gate failed" in small("status").out


# The whole way.


def test_a_new_project_runs_to_the_end(run: Command, tmp_path: Path) -> None:
    done = run("init", "mine")
    assert "builders/examples.yaml" in done.out
    assert "cd mine && teacherlm run curriculum" in done.err
    with teacher() as server:
        options = ("--project", "mine", "--limit", "4")
        done = run("run", "examples", "-t", server.url, *options, "--to", "published")
        assert len(server.prompts) == 12
        again = run("run", "examples", "-t", server.url, *options, "--format", "json")
        assert len(server.prompts) == 12
    assert re.search(r"examples +train +64 +64", done.out)
    assert "published: published examples: 64 rows" in done.out
    (row,) = again.json["rows"]
    assert (row["asked_now"], row["asked"], row["passed"]) == (0, 12, True)
    assert row["asked"] == row["accepted"] + row["rejected"] + row["truncated"] + row["failed"]
    assert re.search(r"examples +checked +64 +12", run("status", "--project", "mine").out)
    assert pq.read_table(tmp_path / "published" / "data" / "examples").num_rows == 64


def test_one_dataset_that_fails_does_not_stop_the_others(small: Command, tmp_path: Path) -> None:
    recipe(tmp_path, name="e", source={"files": "absent.parquet"})
    done = small("build", "e", "d", "--format", "json", code=2)
    assert [row["dataset"] for row in done.json["rows"]] == ["d"]
    (error,) = forms(done, "build", ok=False)
    assert "absent.parquet" in error["found"]


def test_a_name_that_is_given_twice_counts_once(small: Command) -> None:
    assert len(small("build", "d", "d", "--format", "json").json["rows"]) == 1


@pytest.mark.parametrize("command", ["plan", "build", "augment", "check", "publish", "status"])
def test_programs_get_the_same_envelope_from_every_command(small: Command, command: str) -> None:
    small("build", "d")
    with teacher() as server:
        small("augment", "d", "-t", server.url)
        given = () if command == "status" else ("d", "-t", server.url) if command == "augment" else ("d",)
        if command == "publish":
            small("check", "d")
            given = ("d", "--to", "published")
        done = small(command, *given, "--format", "json")
    assert forms(done, command, ok=True) == []
    (row,) = done.json["rows"]
    assert row["datasets"] == ["d"] if command == "publish" else row["dataset"] == "d"


def test_plan_reads_as_in_the_golden_file(small: Command, tmp_path: Path) -> None:
    examples: dict[str, Any] = {
        "given": [{"q": "Why does iron  rust?", "a": "air"}],
        "expect": [{"question": "Why does iron rust?"}],
    }
    recipe(tmp_path, verify=["Whether iron rusts."], **examples)
    done = small("plan", "d")
    assert done.out == (GOLDEN / "plan.txt").read_text()
    assert done.err == ""


def test_plan_shows_built_samples_and_counts_the_texts(small: Command) -> None:
    small("build", "d")
    done = small("plan", "d", "--kinds", "chain_of_thought", "--shown", "2")
    assert re.search(r"samples +3\n +texts to ask for +3\n", done.out)
    assert done.out.count("Let's think step by step.") == 2


# SQL.


QUERY = "SELECT sample_id, question, choices, answer_index FROM samples ORDER BY answer"


def test_sql_as_a_table_says_null_and_shows_brackets(small: Command) -> None:
    small("build", "d")
    done = small("sql", "SELECT 'a [bold]x' AS text, NULL AS \"none\", [1, 2] AS list, 0.5 AS half, 12345 AS number")
    assert done.out.split("\n")[1].split() == ["a", "[bold]x", "null", "[1,", "2]", "0.5", "12,345"]
    done = small("sql", "SELECT * FROM range(250)")
    assert "… 50 more rows; --format csv, json or parquet prints all" in done.err + done.out


def test_sql_as_json_is_the_bare_array(small: Command) -> None:
    small("build", "d")
    rows = small("sql", QUERY, "--format", "json").json
    assert [row["question"] for row in rows] == [ROWS[0]["q"], ROWS[2]["q"], ROWS[1]["q"]]
    assert rows[0]["choices"] == []
    assert rows[0]["answer_index"] is None
    odd = "SELECT DATE '2024-05-01' AS d, 1.50::DECIMAL(5, 2) AS m, 'x'::BLOB AS b, 'nan'::DOUBLE AS n"
    assert small("sql", odd, "--format", "json").json[0]["d"] == "2024-05-01"


def test_sql_as_csv_and_parquet(small: Command, tmp_path: Path) -> None:
    small("build", "d")
    rows = list(csv.DictReader(io.StringIO(small("sql", QUERY, "--format", "csv").out)))
    assert rows[0]["choices"] == "[]"
    assert len(rows) == 3
    done = small("sql", QUERY, "--format", "parquet", "--output", "rows.parquet")
    assert (done.out, done.err) == ("", "3 rows in rows.parquet\n")
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 3


def test_sql_errors_are_the_envelope_for_programs(small: Command) -> None:
    (error,) = forms(small("sql", "SELEC", "--format", "json", code=2), "sql", ok=False)
    assert error["where"] == "sql"


@pytest.mark.parametrize("view", ["samples", "rationales", "verdicts", "findings", "augmented"])
def test_in_an_empty_workspace_every_view_exists_with_its_types(run: Command, view: str) -> None:
    from teacherlm.api.session import VIEWS
    from teacherlm.schemas.records import record

    rows = run("sql", f"DESCRIBE SELECT * FROM {view}", "--format", "json").json
    assert [row["column_name"] for row in rows] == record(VIEWS[view]).names
    assert run("sql", f"SELECT * FROM {view}", "--format", "json").json == []
    assert run("sql", f"SELECT * FROM {view}", "--format", "csv").out
    assert not Path("workspace").exists()


def test_a_query_may_come_from_stdin(small: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"SELECT 3 AS n")))
    assert small("sql", "-", "--format", "json").json == [{"n": 3}]


# Help.


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(run: Command, command: str) -> None:
    shown = run(command, "--help").out
    assert f"Example: teacherlm {command}" in shown


def test_without_a_command_the_help_is_shown(run: Command) -> None:
    done = run(code=2)
    assert "Usage: teacherlm" in done.out + done.err
    assert "quickstart" in done.out + done.err


def test_help_groups_every_command(run: Command) -> None:
    shown = run("--help").out
    for command in COMMANDS:
        assert re.search(rf"^│ {command} ", shown, re.MULTILINE)
    assert [name for name in ("Make", "Look", "Serve") if f"─ {name} ─" in shown] == ["Make", "Look", "Serve"]
    assert run("--version").out.startswith("teacherlm ")


def test_an_interrupted_command_ends_with_130(small: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("teacherlm.api.project.Project.status", interrupted)
    done = small("status", code=130)
    assert "everything that was answered is kept" in done.err


@pytest.mark.parametrize(
    ("codes", "code"), [((), 0), ((2,), 2), ((1, 2), 1), ((1, 3), 3), ((4, 3, 1), 4), ((130, 4), 130)]
)
def test_of_several_failures_the_severest_is_the_exit_code(codes: tuple[int, ...], code: int) -> None:
    assert Outcome("run", codes=set(codes)).finish(lambda rows: None) == code


def wide_answer() -> Callable[[str], str]:
    asked = iter(range(1000))
    return lambda prompt: "no" if next(asked) % 4 == 0 else sensible(prompt)


@pytest.mark.parametrize("columns", [80, pytest.param(120, marks=pytest.mark.slow)])
def test_tables_fit_the_terminal(small: Command, tmp_path: Path, columns: int) -> None:
    rows = [
        {"q": f"Which of the {n} rivers is the longest?", "a": "the Nile", "i": f"river-{n:030d}"} for n in range(20)
    ]
    parquet(tmp_path / "builders" / "rows.parquet", rows)
    recipe(tmp_path, {"question": "q", "answer": "a", "id": "i"})
    environment = {**os.environ, "COLUMNS": str(columns)}
    with teacher(wide_answer()) as server:
        for given in (("run", "d", "-t", server.url), ("augment", "d", "-t", server.url), ("status",), ("check", "d")):
            done = subprocess.run(
                [sys.executable, "-m", "teacherlm", *given],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert max(map(len, done.stdout.splitlines())) <= columns, done.stdout
            # No word and no number of a heading is folded.
            assert done.stdout.startswith("dataset")
            assert len(done.stdout.splitlines()) <= 60


def test_a_reader_that_leaves_early_is_no_failure(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m teacherlm sql "SELECT * FROM range(300000)" --format csv | head -n 1'
    environment = {**os.environ, "TEACHERLM_WORKSPACE": str(tmp_path / "w")}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '"range"\n'
