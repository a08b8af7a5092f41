"""The shell of `teacherlm sql`, typed into through a real terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

import teacherlm
from sql_workspace import fill
from teacherlm.api.sql import Sql
from teacherlm.cli.sql_completion import candidates

DEADLINE_S = 60.0
PROMPT = "teacherlm>"
SLOW = "SELECT count(*) FROM range(1000000) a, range(10000000) b WHERE a.range * b.range % 7 = 1;"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")


class Terminal:
    """A process in a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._main, side = pty.openpty()
        import fcntl
        import struct
        import termios

        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        # The terminal becomes the process's own before the command takes over: Ctrl-C comes as a signal.
        begin = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", begin, *command],
            stdin=side,
            stdout=side,
            stderr=side,
            env=environment,
            start_new_session=True,
        )
        os.close(side)
        self._text = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._main)

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def until(self, *words: str) -> str:
        """What is shown until all words have come, in their order; the rest is kept for the next time."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            seen, end = ESCAPES.sub("", self._text), 0
            for word in words:
                place = seen.find(word, end)
                if place < 0:
                    break
                end = place + len(word)
            else:
                self._text = seen[end:]
                return seen[:end]
            left = deadline - time.monotonic()
            assert left > 0, f"{words} did not come: {seen[-2000:]!r}"
            if select.select([self._main], [], [], left)[0]:
                try:
                    data = os.read(self._main, 65536)
                except OSError:  # it has ended
                    data = b""
                assert data, f"it ended before {words} came: {seen[-2000:]!r}"
                self._text += data.decode(errors="replace")

    def ends(self) -> int:
        return self.process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("shell") / "workspace").root


@pytest.fixture
def shell(workspace: Path, tmp_path: Path) -> Iterator[Terminal]:
    with opened(workspace, tmp_path) as terminal:
        terminal.until("Ctrl-D leaves", PROMPT)
        yield terminal


def opened(workspace: Path, home: Path, *arguments: str) -> Terminal:
    environment = {**os.environ, "XDG_STATE_HOME": str(home / "state"), "TERM": "xterm", "NO_COLOR": "1"}
    environment["PROMPT_TOOLKIT_NO_CPR"] = "1"
    environment.pop("COLUMNS", None)
    return Terminal([sys.executable, "-m", "teacherlm", "sql", "-w", str(workspace), *arguments], environment)


def test_statements_words_errors_and_history(shell: Terminal, workspace: Path, tmp_path: Path) -> None:
    shell.type("SELECT count(*) + 990 AS many\r")
    shell.until("...>")
    shell.type("FROM samples;\r")
    shell.until("many", "996", " s", PROMPT)
    shell.type("FROM verdict;\r")
    shell.until("did you mean verdicts?", PROMPT)
    shell.type("CREATE TABLE mine AS SELECT 41 AS x; SELECT x + 4000 AS y FROM mine;\r")
    shell.until("4,041", PROMPT)
    shell.type(".tables\r")
    shell.until("verdicts", "worst(of_kind", "mine", PROMPT)
    shell.type(".schema verdicts\r")
    shell.until("flags", "VARCHAR[]", "Ids of the rules", PROMPT)
    shell.type(".read longest\r")
    shell.until("metals/train/liquid", PROMPT)
    shell.type(".nix\r")
    shell.until("there is no `.nix`", PROMPT)
    shell.type("SELECT sample_id AS\x03")  # Ctrl-C empties the line
    shell.until(PROMPT)
    shell.type("SELECT 'my secret' AS s;\r")
    shell.until("my secret", "my secret", PROMPT)
    shell.type("\x04")
    assert shell.ends() == 0
    history = tmp_path / "state" / "teacherlm" / "sql_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    text = history.read_text()
    assert "FROM samples;" in text
    assert "secret" not in text
    with opened(workspace, tmp_path) as again:
        again.until(PROMPT)
        again.type("\x1b[A")  # up, to what was asked last
        again.until(".nix")
        again.type("\x03.quit\r")
        assert again.ends() == 0


def test_tab_completes(shell: Terminal) -> None:
    shell.type("SELECT answer_ind\t")
    shell.until("answer_index")
    shell.type(" + 70 AS x FROM samp\t")
    shell.until("samples")
    shell.type(" WHERE answer_index = 1 LIMIT 1;\r")
    shell.until("71", PROMPT)


def test_ctrl_c_stops_a_query_and_the_shell_goes_on(shell: Terminal) -> None:
    shell.type(f"SELECT 12 + 21 AS begun; {SLOW}\r")
    shell.until("begun", "33")
    shell.type("\x03")
    shell.until("stopped", PROMPT)
    shell.type("SELECT 500 + 55 AS n;\r")
    shell.until("555", PROMPT)


def test_ctrl_c_stops_the_command(workspace: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "teacherlm", "sql", f"SELECT 12 + 21 AS begun; {SLOW}", "-w", str(workspace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "begun"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "stopped" in said


@pytest.mark.parametrize(
    ("before", "word", "some"),
    [
        ("SELECT * FROM ver", "ver", ["verdicts"]),
        ("SELECT * FROM wo", "wo", ["worst("]),
        ("SELECT v.sc FROM verdicts v WHERE v.sc", "sc", ["score"]),
        ("FROM verdicts WHERE fl", "fl", ["flags"]),
        ("FROM metrics WHERE states_g", "states_g", ["states_gold"]),
        ("sel", "sel", ["select"]),
        (".sch", ".sch", [".schema"]),
        (".schema cos", "cos", ["costs"]),
        (".read bes", "bes", ["best_teacher"]),
    ],
)
def test_what_is_offered(workspace: Path, before: str, word: str, some: list[str]) -> None:
    project = teacherlm.open(workspace.parent, workspace=workspace)
    assert candidates(Sql(project.files, project.workspace), (".schema", ".read"), before) == (word, some)
