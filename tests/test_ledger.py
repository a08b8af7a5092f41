"""The ledger: what was answered stays, whatever dies; readers see whole lines; a key is asked once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_disk import small_disk_of
from teacherlm.core.errors import MachineFailed
from teacherlm.core.keys import call_key
from teacherlm.core.locks import held, holder
from teacherlm.schemas.records import KINDS, record
from teacherlm.teacher import ledger as ledgers
from teacherlm.teacher.answered import EXHAUSTED, REFUSED, AnsweredCalls
from teacherlm.teacher.calls import Call, answer_line, failure_lines, make_call
from teacherlm.teacher.ledger import Ledger
from teacherlm.teacher.segments import list_segments, read_lines, seal, sweep
from teacherlm.teacher.wire import Completion, Info

TEACHER = Info("some/teacher", "5eed")


def call(number: int, kind: str = KINDS[0], split: str = "train") -> Call:
    return make_call(
        sample_id=f"made/{split}/{number}",
        dataset="made",
        split=split,
        kind=kind,
        repeat=0,
        prompt=f"Q: {number}",
        parameters={"max_new_tokens": 8},
        stops=(),
        info=TEACHER,
    )


def answer(number: int, text: str = "Rust.", kind: str = KINDS[0], reason: str = "eos_token") -> dict[str, Any]:
    return answer_line(call(number, kind), Completion(text, reason, 7, 3), 0.1, 1)


def folder_of(root: Path, kind: str = KINDS[0]) -> Path:
    return root / "train" / kind


def numbers(root: Path) -> list[int]:
    """The samples in a ledger, as its readers see them, in writing order."""
    found: list[int] = []
    for segment in list_segments(folder_of(root)):
        table = pq.read_table(segment.path) if segment.is_sealed else read_lines(segment.path)
        found += [int(sample_id.rpartition("/")[2]) for sample_id in table["sample_id"].to_pylist()]
    return found


def open_segment(root: Path, lines: Sequence[Mapping[str, Any]], tail: bytes = b"") -> Path:
    """An open segment as a killed process leaves it."""
    folder_of(root).mkdir(parents=True, exist_ok=True)
    path = folder_of(root) / f"{len(list_segments(folder_of(root))) + 1:08d}.jsonl"
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines) + tail)
    return path


# --- segments --------------------------------------------------------------------------------------------------------


def test_segments_seal_and_numbers_go_on(tmp_path: Path) -> None:
    for start in (0, 10, 20):
        with Ledger(tmp_path, seal_after=4) as ledger:
            for number in range(start, start + 10):
                ledger.append(answer(number))
    segments = list_segments(folder_of(tmp_path))
    assert [segment.number for segment in segments] == list(range(1, 10))
    assert all(segment.is_sealed for segment in segments)
    assert numbers(tmp_path) == list(range(30))
    assert pq.read_schema(segments[0].path).remove_metadata() == record("rationale").arrow()
    assert len(AnsweredCalls.read(tmp_path)) == 30


def test_splits_and_kinds_have_folders_of_their_own(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for kind in KINDS:
            ledger.append(answer(1, kind=kind))
    assert sorted(path.parent.name for path in tmp_path.glob("*/*/*.parquet")) == sorted(KINDS)
    assert len(AnsweredCalls.read(tmp_path)) == 3


def test_a_torn_last_line_never_counted(tmp_path: Path) -> None:
    whole, torn = answer(1), orjson.dumps(answer(2))
    for length in (0, 1, len(torn) // 2, len(torn)):
        path = open_segment(tmp_path / str(length), [whole], torn[:length])
        assert read_lines(path)["sample_id"].to_pylist() == ["made/train/1"]
    only_torn = open_segment(tmp_path / "only", [], torn)
    assert read_lines(only_torn).num_rows == 0
    with Ledger(tmp_path / "only") as ledger:  # the next run seals what was left, and writes behind it
        ledger.append(answer(3))
    assert numbers(tmp_path / "only") == [3]
    zeros = open_segment(tmp_path / "zeros", [whole], b"\0" * 512)  # what a power cut may leave
    assert read_lines(zeros).num_rows == 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (b"\0" * 40, "JSON"),
        (b'{"sample_id": "a", "kind', "JSON"),
        (b'{"sample_id": "made/train/9"}', "`dataset` is missing"),
        (b"{}", "`sample_id` is missing"),
        (b"[1, 2]", "JSON"),
        (b'"text"', "JSON"),
        (orjson.dumps(answer(9) | {"repeat": "first"}), "repeat"),
        (orjson.dumps(answer(9) | {"created_at": "yesterday"}), "yesterday"),
        (orjson.dumps(answer(9)).replace(b"Rust.", b"\xff\xfe"), "(?i)utf"),
    ],
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, damage: bytes, words: str) -> None:
    path = open_segment(tmp_path, [answer(1), answer(2)])
    first, second, end = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, damage, second, end]))
    for read in (lambda: read_lines(path), lambda: Ledger(tmp_path).__enter__(), lambda: AnsweredCalls.read(tmp_path)):
        with pytest.raises(MachineFailed, match=words) as caught:
            read()
        assert caught.value.where == f"{path}:2:1"
        assert "delete it" in caught.value.remedy
    path.write_bytes(first + b"\n" + second + b"\n")  # as the remedy says
    assert len(AnsweredCalls.read(tmp_path)) == 2


def test_a_damaged_sealed_segment_is_named(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(answer(1))
    (segment,) = list_segments(folder_of(tmp_path))
    segment.path.write_bytes(b"PAR1")
    with pytest.raises(MachineFailed, match="cannot be read") as caught:
        AnsweredCalls.read(tmp_path)
    assert caught.value.where == str(segment.path)


def test_what_a_killed_sealing_leaves_is_swept(tmp_path: Path) -> None:
    path = open_segment(tmp_path, [answer(1)])
    (path.parent / ".00000001.parquet.0123abcd.tmp").write_bytes(b"half")
    with Ledger(tmp_path):
        pass
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["00000001.jsonl", "00000001.parquet"]
    assert numbers(tmp_path) == [1]
    with Ledger(tmp_path):  # no reader of an earlier run waits for the lines
        pass
    assert [entry.name for entry in path.parent.iterdir()] == ["00000001.parquet"]


# --- readers ---------------------------------------------------------------------------------------------------------


def test_sealed_segments_come_before_their_lines(tmp_path: Path) -> None:
    path = open_segment(tmp_path, [answer(1), answer(2)])
    assert [segment.path for segment in list_segments(path.parent)] == [path]
    sealed = seal(path)
    assert path.exists()  # a reader may have listed it
    assert [segment.path for segment in list_segments(path.parent)] == [sealed]
    assert numbers(tmp_path) == [1, 2]
    assert list_segments(tmp_path / "nowhere") == []


def test_lines_stay_for_their_grace(tmp_path: Path) -> None:
    path = open_segment(tmp_path, [answer(1)])
    untouched = open_segment(tmp_path, [answer(2)])
    sealed_at = seal(path).stat().st_mtime
    sweep(path.parent, 60.0, sealed_at + 59)
    assert path.exists()
    sweep(path.parent, 60.0, sealed_at + 61)
    assert not path.exists()
    assert untouched.exists()


def test_a_segment_that_was_sealed_since_it_was_listed(tmp_path: Path) -> None:
    path = open_segment(tmp_path, [answer(1)])
    (listed,) = list_segments(path.parent)
    lines = read_lines(path)
    seal(path)
    path.unlink()
    assert read_lines(listed.path) == lines
    (path.with_suffix(".parquet")).unlink()
    with pytest.raises(FileNotFoundError):
        read_lines(listed.path)


def test_a_reader_sees_a_prefix_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two steps of the file system, and while a line is half written."""
    monkeypatch.setattr(ledgers, "GRACE_S", 0.0)
    written, seen = 0, 0
    real_write, real_replace, real_unlink = os.write, Path.replace, Path.unlink

    def look() -> None:
        nonlocal seen
        found = numbers(tmp_path)
        assert found == list(range(len(found)))
        assert written <= len(found) <= written + 1  # a line counts when its last byte is there
        assert len(found) >= seen
        seen = len(found)

    def write(descriptor: int, data: bytes) -> int:
        look()
        done = real_write(descriptor, data[: max(1, len(data) // 2)])
        look()
        return done

    def replace(self: Path, target: Path) -> Path:
        look()
        result = real_replace(self, target)
        look()
        return result

    def unlink(self: Path, missing_ok: bool = False) -> None:
        look()
        real_unlink(self, missing_ok)
        look()

    with Ledger(tmp_path, seal_after=3) as ledger:
        # Sealing in the same thread: the steps are then one after the other, and each is looked at.
        monkeypatch.setattr(ledger._sealer, "submit", lambda function, path: _Done(function(path)))
        monkeypatch.setattr(os, "write", write)
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(Path, "unlink", unlink)
        for number in range(10):
            ledger.append(answer(number))
            written += 1
    assert numbers(tmp_path) == list(range(10))
    assert len(list(folder_of(tmp_path).glob("*.parquet"))) == 4


class _Done:
    """A future that has its result."""

    def __init__(self, result: Path) -> None:
        self._result = result

    def done(self) -> bool:
        return True

    def result(self) -> Path:
        return self._result


def test_a_reader_beside_a_writing_process(tmp_path: Path) -> None:
    """Real concurrency: another process writes and seals while this one reads, until all is there."""
    code = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[2])\n"
        "from test_ledger import Ledger, answer\n"
        "with Ledger(Path(sys.argv[1]), seal_after=40) as ledger:\n"
        "    for number in range(300): ledger.append(answer(number, 'x' * 20_000))\n"
    )
    seen = 0
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]) as writer:
        deadline = time.monotonic() + 60
        while seen < 300 and time.monotonic() < deadline:
            found = numbers(tmp_path)
            assert found == list(range(len(found)))
            assert len(found) >= seen
            seen = len(found)
    assert writer.returncode == 0
    assert seen == 300


# --- texts -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_texts_survive(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    root = tmp_path_factory.mktemp("ledger")
    lines = [answer(number) | {"text": text, "failure": text or None} for number, text in enumerate(texts)]
    path = open_segment(root, lines)
    assert read_lines(path).to_pylist() == pq.read_table(seal(path)).to_pylist()
    assert [(row["text"], row["failure"]) for row in read_lines(path).to_pylist()] == [
        (text, text or None) for text in texts
    ]


@pytest.mark.parametrize("text", ["\0", "\u2028\u2029\x85\r\n", "𝕽\U0010ffff", "2026-01-01T00:00:00Z", "null", '"\\'])
def test_odd_texts_survive(tmp_path: Path, text: str) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(answer(1) | {"text": text})
        ledger.append(answer(2))
    (segment,) = list_segments(folder_of(tmp_path))
    assert pq.read_table(segment.path)["text"].to_pylist() == [text, "Rust."]


# --- full disks ------------------------------------------------------------------------------------------------------

FILL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_ledger import Ledger, answer
from teacherlm.core.errors import MachineFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
written = 0
try:
    with Ledger(Path(sys.argv[1])) as ledger:
        for written in range(1000): ledger.append(answer(written, "x" * 700))
except MachineFailed as error:
    print(written, flush=True)
    sys.exit(error.exit_code)
"""


def fill(root: Path, code: str = FILL) -> int:
    """Write until the disk refuses, in a process of its own; gives the number of lines that counted."""
    process = subprocess.run(
        [sys.executable, "-c", code, str(root), str(Path(__file__).parent)], capture_output=True, text=True, check=False
    )
    assert process.returncode == MachineFailed.exit_code, process.stderr
    return int(process.stdout)


def test_a_file_that_cannot_grow_keeps_the_ledger_whole(tmp_path: Path) -> None:
    """The system takes a part of the last line and refuses the rest."""
    written = fill(tmp_path)
    assert written > 5
    (path,) = folder_of(tmp_path).iterdir()
    assert path.read_bytes().endswith(b"\n")  # the part was taken back
    assert numbers(tmp_path) == list(range(written))
    with Ledger(tmp_path) as ledger:
        ledger.append(answer(written))
    assert numbers(tmp_path) == list(range(written + 1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_of(256, tmp_path) as disk:
        yield disk


def test_a_full_disk_keeps_the_ledger_whole(small_disk: Path) -> None:
    written, reserve = -1, small_disk / "reserve"
    reserve.write_bytes(b"\0" * 65_536)
    with pytest.raises(MachineFailed, match="the disk is full") as caught, Ledger(small_disk / "made") as ledger:
        for written in range(10_000):
            ledger.append(answer(written, "x" * 700))
    assert "nothing is lost" in caught.value.remedy
    assert numbers(small_disk / "made") == list(range(written))
    # As long as it is full the next run cannot begin either, and breaks nothing.
    with pytest.raises(MachineFailed, match="the disk is full") as full, Ledger(small_disk / "made") as ledger:
        ledger.append(answer(written))
    assert str(small_disk) in full.value.where
    assert numbers(small_disk / "made") == list(range(written))
    reserve.unlink()  # as the remedy says
    with Ledger(small_disk / "made") as ledger:
        ledger.append(answer(written))
    assert numbers(small_disk / "made") == list(range(written + 1))


def test_sealing_on_a_full_disk_keeps_the_lines(small_disk: Path) -> None:
    """Incompressible texts: the Parquet file does not fit beside its lines."""
    chance = random.Random(7)
    texts = [chance.randbytes(700).hex() for _ in range(120)]
    with pytest.raises(MachineFailed, match="the disk is full"), Ledger(small_disk / "made") as ledger:
        for number, text in enumerate(texts):
            ledger.append(answer(number, text))
    folder = folder_of(small_disk / "made")
    assert [path.name for path in folder.iterdir()] == ["00000001.jsonl"]
    assert numbers(small_disk / "made") == list(range(120))


# --- what was answered -----------------------------------------------------------------------------------------------

OUTCOMES = ["answered", "truncated", "refused", "exhausted"]


def line_of(number: int, outcome: str) -> dict[str, Any]:
    if outcome in ("answered", "truncated"):
        return answer(number, f"text {number}", reason="length" if outcome == "truncated" else "eos_token")
    reason = {"refused": REFUSED, "exhausted": EXHAUSTED}[outcome]
    return failure_lines(call(number), f"{reason}502", 3)[0]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 15), st.sampled_from(OUTCOMES)), max_size=8), max_size=4),
    st.sets(st.integers(0, 3)),
)
def test_answered_calls_are_those_that_need_no_asking(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[int, str]]], sealed: set[int]
) -> None:
    root = tmp_path_factory.mktemp("ledger")
    outcomes: dict[int, set[str]] = {}
    for position, lines in enumerate(runs):
        path = open_segment(root, [line_of(number, outcome) for number, outcome in lines])
        if position in sealed:
            seal(path)
        for number, outcome in lines:
            outcomes.setdefault(number, set()).add(outcome)
    answered = AnsweredCalls.read(root)
    keys = [call(number).key for number in range(20)]
    for number, state in enumerate(answered.look_up(keys)):
        happened = outcomes.get(number, set()) - {"exhausted"}
        assert state == (None if not happened else "truncated" if happened == {"truncated"} else "answered")
        assert answered.text_of(keys[number]) == (f"text {number}" if "truncated" in happened else "")
    assert answered.look_up(keys[::-1]) == answered.look_up(keys)[::-1]
    assert answered.look_up([]) == []
    assert len(answered) == sum(outcome != "exhausted" for lines in runs for _, outcome in lines)


@pytest.mark.parametrize("sealed", [True, False])
def test_what_an_answer_was_found_to_reach_is_known(tmp_path: Path, sealed: bool) -> None:
    found = {1: "iron", 2: "gold", 3: None, 4: None, 5: None}
    lines = [line_of(number, "answered") | {"predicted_answer": found[number]} for number in (1, 2, 3)]
    path = open_segment(tmp_path, [*lines, line_of(4, "truncated"), line_of(5, "refused")])
    if sealed:
        seal(path)
    answered = AnsweredCalls.read(tmp_path)
    assert [answered.reached(call(number).key, "iron") for number in range(7)] == [
        *(False, True, False, False, False),
        *(None, False),
    ]
    assert answered.look_up([call(5).key]) == ["answered"]
    assert answered.text_of(call(4).key) == "text 4"


def test_rows_without_a_call_are_no_answered_calls(tmp_path: Path) -> None:
    open_segment(tmp_path, [answer(1) | {"call_key": None, "strategy": "human"}])
    assert len(AnsweredCalls.read(tmp_path)) == 0


# --- keys ------------------------------------------------------------------------------------------------------------

VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5)
PARTS: dict[str, Any] = {
    "kind": "fundamentals",
    "prompt": "Q: 1",
    "parameters": {"max_new_tokens": 8, "stop": ("Q:",)},
    "model": "some/teacher",
    "revision": "5eed",
    "sample_id": "made/train/1",
    "repeat": 0,
}


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=6), st.randoms())
def test_the_order_of_parameters_does_not_matter(parameters: dict[str, Any], chance: random.Random) -> None:
    shuffled = dict(chance.sample(list(parameters.items()), k=len(parameters)))
    assert call_key(**PARTS | {"parameters": parameters}) == call_key(**PARTS | {"parameters": shuffled})


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "common_mistakes"},
        {"prompt": "Q: 2"},
        {"prompt": [{"role": "user", "content": "Q: 1"}]},
        {"parameters": {"max_new_tokens": 16, "stop": ("Q:",)}},
        {"parameters": {"max_new_tokens": 8, "stop": ()}},
        {"parameters": {"max_new_tokens": 8, "stop": ("Q:",), "seed": 1}},
        {"model": "another/teacher"},
        {"revision": None},
        {"sample_id": "made/train/2"},
        {"repeat": 1},
    ],
)
def test_every_part_of_a_key_matters(change: dict[str, Any]) -> None:
    assert call_key(**PARTS | change) != call_key(**PARTS)


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_parts_do_not_run_into_each_other(kind: str, prompt: str, other_kind: str, other_prompt: str) -> None:
    same = (kind, prompt) == (other_kind, other_prompt)
    one = call_key(**PARTS | {"kind": kind, "prompt": prompt})
    assert (one == call_key(**PARTS | {"kind": other_kind, "prompt": other_prompt})) == same


def test_keys_are_the_same_on_every_machine() -> None:
    """A portrait: where it changes, everything that was ever answered is asked again."""
    assert call_key(**PARTS) == "0c165d9fa32e1841bd482a7d8e32b4e026c2ae82943bd9ac0c91faf2224fd762"


# --- locks -----------------------------------------------------------------------------------------------------------


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "made.lock"
    with held(lock, "dataset `made`"):
        mine = holder(lock)
        assert mine is not None
        assert mine.startswith(f"pid {os.getpid()} on ")
        for _ in range(2):  # being refused does not blur the holder's name
            refused = pytest.raises(MachineFailed, match=f"dataset `made` is being written by pid {os.getpid()} on")
            with refused, held(lock, "dataset `made`"):
                pass
        assert holder(lock) == mine
    assert holder(lock) is None
    assert holder(tmp_path / "none.lock") is None
    with held(lock, "dataset `made`"):
        pass


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    lock = tmp_path / "made.lock"
    code = (
        "import sys\nfrom pathlib import Path\nfrom teacherlm.core.locks import held\n"
        "with held(Path(sys.argv[1]), 'it'):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert holder(lock) is not None
        with pytest.raises(MachineFailed, match=f"it is being written by pid {process.pid} on"), held(lock, "it"):
            pass
        process.kill()
    assert lock.read_text().startswith(f"pid {process.pid} ")  # its name still stands there
    assert holder(lock) is None
    with held(lock, "it"):
        pass


def test_lines_are_json(tmp_path: Path) -> None:
    """People read them with jq while a run is on."""
    path = open_segment(tmp_path, [answer(1)])
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert list(json.loads(line)) == record("rationale").names
