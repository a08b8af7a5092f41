"""Sources: every format and folder that is read, what is left and said, and what cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import datasets
import orjson
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from recipes import built, column, parquet, recipe, samples
from teacherlm.builders.build import Built
from teacherlm.core.errors import Mistake, TeacherlmError

ROWS = [
    {"q": 'Why "rust",\nand when?', "a": "ünïcode — 水"},
    {"q": "What's 3, 4?", "a": "x;y\tz"},
    {"q": "Who?", "a": "\U0001f600"},
]
CLEAN = [row["a"].replace("\t", " ") for row in ROWS]


def write_json(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_bytes(orjson.dumps(rows))


def write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def write_csv(path: Path, rows: list[dict[str, str]], mark: str = ",") -> None:
    import csv

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["q", "a"], delimiter=mark)
        writer.writeheader()
        writer.writerows(rows)


def write_arrow(path: Path, rows: list[dict[str, str]]) -> None:
    table = pa.Table.from_pylist(rows)
    with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


WRITERS: dict[str, Callable[[Path, list[dict[str, str]]], object]] = {
    ".parquet": parquet,
    ".json": write_json,
    ".jsonl": write_lines,
    ".ndjson": write_lines,
    ".csv": write_csv,
    ".tsv": lambda path, rows: write_csv(path, rows, "\t"),
    ".arrow": write_arrow,
    ".PARQUET": parquet,
}


def build_here(folder: Path, source: Path, **options: str) -> Built:
    return built(recipe(folder), source, folder / "out", split=options.get("split"))


def refused(folder: Path, source: Path) -> TeacherlmError:
    with pytest.raises(Mistake) as caught:
        build_here(folder, source)
    assert not (folder / "out").exists()
    assert caught.value.remedy or caught.value.problems[0].edit
    return caught.value


@pytest.mark.parametrize("suffix", WRITERS)
def test_each_format_gives_the_same_samples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"it's rows{suffix}"
    WRITERS[suffix](path, ROWS)
    made = build_here(tmp_path, path)
    found = samples(tmp_path / "out")
    assert (made.samples, made.place) == (3, str(path))
    assert column(found, "question") == [row["q"] for row in ROWS]
    assert column(found, "answer") == CLEAN


@pytest.mark.parametrize("mark", [";", "|"])
def test_a_csv_with_another_mark_between_fields(tmp_path: Path, mark: str) -> None:
    rows = [{"q": f"Why {n}?", "a": f"so {n}"} for n in range(5)]
    write_csv(tmp_path / "rows.csv", rows, mark)
    build_here(tmp_path, tmp_path / "rows.csv")
    assert column(samples(tmp_path / "out"), "answer") == [row["a"] for row in rows]


def test_a_late_row_of_another_type_does_not_fail_the_build(tmp_path: Path) -> None:
    rows = [{"q": f"What is {n}?", "a": n} for n in range(30_000)]
    lines = [orjson.dumps(row) for row in [*rows, {"q": "And last?", "a": "text"}]]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
    assert build_here(tmp_path, tmp_path / "rows.jsonl").samples == 30_001
    assert column(samples(tmp_path / "out"), "answer")[-2:] == ["29999", "text"]
    text = "q,a\n" + "".join(f"What is {n}?,{n}\n" for n in range(30_000)) + "And last?,text\n"
    (tmp_path / "rows.csv").write_text(text)
    assert build_here(tmp_path, tmp_path / "rows.csv").samples == 30_001


def test_the_split_of_a_single_file_is_train_unless_said(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", ROWS)
    assert [part.split for part in build_here(tmp_path, path).splits] == ["train"]
    assert [part.split for part in build_here(tmp_path, path, split="test").splits] == ["test"]
    assert column(samples(tmp_path / "out", "test"), "split") == ["test"] * 3


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_saved_dataset(tmp_path: Path, shuffled: bool) -> None:
    rows = datasets.Dataset.from_list([{"q": f"Why {n}?", "a": str(n)} for n in range(20)])
    order = [7, 3, 11] if shuffled else list(range(20))
    (rows.select(order) if shuffled else rows).save_to_disk(str(tmp_path / "saved"))
    build_here(tmp_path, tmp_path / "saved", split="validation")
    assert column(samples(tmp_path / "out", "validation"), "answer") == [str(n) for n in order]


def test_a_dataset_with_an_order_of_its_own_is_read_in_that_order() -> None:
    from teacherlm.builders.sources import _arrow_table

    rows = datasets.Dataset.from_list([{"q": f"Why {n}?", "a": str(n)} for n in range(20)])
    for view in (rows.shuffle(seed=3), rows.select([5, 1]), rows.filter(lambda row: row["a"] > "5")):
        assert _arrow_table(view)["a"].to_pylist() == view["a"][:]
    assert _arrow_table(rows.with_format("numpy").select([2]))["a"].to_pylist() == ["2"]


def test_a_saved_dataset_of_several_splits(tmp_path: Path) -> None:
    parts = {name: datasets.Dataset.from_list(ROWS) for name in ("train", "test", "extra")}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    source = {"hub": "a/b", "splits": {"train": "train", "validation": "valid", "test": "test"}}
    bound = recipe(tmp_path, source=source)
    made = built(bound, tmp_path / "saved", tmp_path / "out")
    assert [part.split for part in made.splits] == ["train", "test"]
    assert (made.skipped, made.absent) == (("extra",), ("validation",))
    assert built(bound, tmp_path / "saved", tmp_path / "out").reused


def test_a_folder_of_splits_in_each_layout(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    one, two, three = ([row] for row in ROWS)
    parquet(folder / "train-00000-of-00002.parquet", one)
    parquet(folder / "train-00001-of-00002.parquet", two)
    parquet(folder / "dev-r1-00000-of-00001.parquet", one)
    parquet(folder / "test.parquet", three)
    parquet(folder / "validation" / "part" / "b.parquet", two)
    parquet(folder / "validation" / "a.parquet", one)
    (folder / "README.md").write_text("no rows")
    (folder / ".hidden.parquet").write_text("no rows")
    made = build_here(tmp_path, folder)
    assert {part.split: part.samples for part in made.splits} == {"dev-r1": 1, "test": 1, "train": 2, "validation": 2}
    assert column(samples(tmp_path / "out", "train"), "answer") == CLEAN[:2]
    assert column(samples(tmp_path / "out", "validation"), "answer") == CLEAN[:2]


def test_a_downloaded_hub_repository_has_its_splits_in_data(tmp_path: Path) -> None:
    parquet(tmp_path / "rows" / "data" / "train-00000-of-00001.parquet", ROWS)
    parquet(tmp_path / "rows" / "data" / "test-00000-of-00001.parquet", ROWS[:1])
    (tmp_path / "rows" / "README.md").write_text("no rows")
    made = build_here(tmp_path, tmp_path / "rows")
    assert {part.split: part.samples for part in made.splits} == {"test": 1, "train": 3}


def test_undeclared_splits_are_left_and_said_and_declared_ones_that_are_absent_are_said(tmp_path: Path) -> None:
    for name in ("train", "dev", "other"):
        parquet(tmp_path / "rows" / f"{name}.parquet", ROWS)
    source = {"hub": "a/b", "splits": {"train": "train", "validation": "dev", "test": "test"}}
    made = built(recipe(tmp_path, source=source), tmp_path / "rows", tmp_path / "out")
    assert [part.split for part in made.splits] == ["train", "validation"]
    assert (made.skipped, made.absent) == (("other",), ("test",))
    made = built(recipe(tmp_path, source=source), tmp_path / "rows", tmp_path / "out", split="validation")
    assert ([part.split for part in made.splits], made.skipped) == (["validation"], ("other", "train"))


def test_a_folder_with_none_of_the_declared_splits(tmp_path: Path) -> None:
    parquet(tmp_path / "rows" / "dev.parquet", ROWS)
    bound = recipe(tmp_path, source={"hub": "a/b", "splits": {"train": "train"}})
    with pytest.raises(Mistake, match="holds the splits dev; wanted: train"):
        built(bound, tmp_path / "rows", tmp_path / "out")


def test_declared_files_are_relative_to_the_recipe(tmp_path: Path) -> None:
    from teacherlm.api.project import open as open_project

    parquet(tmp_path / "builders" / "rows" / "a.parquet", ROWS[:1])
    parquet(tmp_path / "builders" / "rows" / "b.parquet", ROWS[1:])
    recipe(tmp_path, source={"files": {"train": ["rows/a.parquet", "rows/b.parquet"], "test": "rows/*.parquet"}})
    project = open_project(tmp_path, workspace=tmp_path / "workspace")
    assert {part.split: part.samples for part in project.build("d").splits} == {"train": 3, "test": 3}
    recipe(tmp_path, source={"files": "rows/zz.parquet"})
    with pytest.raises(Mistake, match=r"no file matches `rows/zz\.parquet`"):
        project.build("d")


def test_columns_that_only_some_files_have(tmp_path: Path) -> None:
    folder = tmp_path / "rows" / "train"
    parquet(folder / "a.parquet", [{"q": "Why?", "a": "so"}])
    parquet(folder / "b.parquet", [{"a": "me", "s": "people", "q": "Who?"}])
    built(recipe(tmp_path, {"question": "q", "answer": "a", "subject": "s"}), tmp_path / "rows", tmp_path / "out")
    assert column(samples(tmp_path / "out"), "subject") == [None, "people"]


def test_what_is_not_there_or_in_no_known_form(tmp_path: Path) -> None:
    assert "no such file or folder" in refused(tmp_path, tmp_path / "absent.parquet").found
    (tmp_path / "rows.txt").write_text("x")
    assert "in no format that is read: .txt" in refused(tmp_path, tmp_path / "rows.txt").found
    (tmp_path / "rows").write_text("x")
    assert "no extension" in refused(tmp_path, tmp_path / "rows").found
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path, tmp_path / "empty").found == "holds no data files"
    parquet(tmp_path / "mixed" / "train" / "a.parquet", ROWS)
    write_lines(tmp_path / "mixed" / "train" / "b.jsonl", ROWS)
    assert "mixes .jsonl and .parquet files" in refused(tmp_path, tmp_path / "mixed").found


@pytest.mark.parametrize(
    ("name", "data", "place", "words"),
    [
        ("rows.jsonl", b'{"q": "x", "a": "y"}\n{"q": "x", "a":\n{"q": "x"}\n', ":2:", "the line is no JSON"),
        ("rows.jsonl", b'{"q": "x", "a": "y"}\n\n[1]\n', ":3:1", "no JSON object"),
        ("rows.jsonl", b'{"q": "x\xff", "a": "y"}\n', ":1:", "UTF-8"),
        ("rows.json", b'[{"q": "x", "a": "y"}, {"q":', "", "cannot be read: Malformed JSON"),
        ("rows.csv", b"q,a\nx,y\n\nx,y,z,w\nx,y\n", ":4:1", "the row has 4 fields; the heading has 2"),
        ("rows.csv", b'q,a\nx,y\nx,"open\n', ":3:1", "cannot be read"),
        ("rows.csv", b"q,a\nx,y\nx\xff,y\n", ":3:2", "the line is not UTF-8"),
        ("rows.parquet", b"PAR1 and nothing of it", "", "cannot be read: No magic bytes"),
        ("rows.arrow", b"nonsense", "", "cannot be read"),
        ("rows.parquet", b"", "", "is an empty file"),
        ("rows.jsonl", b"", "", "is an empty file"),
        ("rows.csv", b"", "", "is an empty file"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, name: str, data: bytes, place: str, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    error = refused(tmp_path, tmp_path / name)
    assert error.where.startswith(str(tmp_path / name) + place)
    assert words in error.found
    assert "LINE 1" not in error.found


def test_a_file_that_is_damaged_inside_is_not_the_recipes_fault(tmp_path: Path) -> None:
    rows = [{"q": f"Why {n}?", "a": str(n)} for n in range(2000)]
    path = parquet(tmp_path / "rows.parquet", rows)
    data = bytearray(path.read_bytes())
    data[8:200] = b"\xff" * 192
    path.write_bytes(data)
    error = refused(tmp_path, path)
    assert error.where == str(path)
    assert "cannot be read" in error.found


def test_the_second_of_two_splits_that_is_broken_is_the_one_named(tmp_path: Path) -> None:
    parquet(tmp_path / "rows" / "a.parquet", ROWS)
    (tmp_path / "rows" / "b.jsonl").write_text('{"q": \n')
    assert refused(tmp_path, tmp_path / "rows").where.startswith(str(tmp_path / "rows" / "b.jsonl") + ":1")


def test_a_saved_dataset_that_is_damaged(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    for path in (tmp_path / "saved").glob("*.arrow"):
        path.write_bytes(path.read_bytes()[:100])
    assert "cannot be read" in refused(tmp_path, tmp_path / "saved").found
    (tmp_path / "saved" / "state.json").write_text("{")
    assert "cannot be read" in refused(tmp_path, tmp_path / "saved").found


def test_a_hub_that_cannot_be_reached_is_said_at_once(tmp_path: Path) -> None:
    recipe(tmp_path, source={"hub": "nobody/nothing", "splits": {"train": "train"}})
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    started = time.monotonic()
    command = [sys.executable, "-m", "teacherlm", "build", "d", "-p", str(tmp_path), "-w", str(tmp_path / "w")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stderr
    assert time.monotonic() - started < 20
    assert "the Hub cannot be reached, and nobody/nothing is not in the cache" in done.stderr
    assert "--source PATH" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "w" / "samples" / "d").exists()


def test_the_rows_alone_decide_whether_a_source_has_changed(tmp_path: Path) -> None:
    first, copy = parquet(tmp_path / "one.parquet", ROWS), tmp_path / "two.parquet"
    copy.write_bytes(first.read_bytes())
    assert not build_here(tmp_path, first).reused
    assert build_here(tmp_path, copy).reused
    pq.write_table(pa.Table.from_pylist(ROWS[:2]), copy)
    assert not build_here(tmp_path, copy).reused
