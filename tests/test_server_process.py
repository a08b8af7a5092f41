"""The server as a process: announced, drained, tied to its parent."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from random_teacher import random_teacher
from serving import DEADLINE_S, ask
from teacherlm.core.errors import Mistake, RemoteFailed
from teacherlm.teacher.embedded import EmbeddedTeacher
from teacherlm.teacher.server.run import listen, serve, url_of

# What the command line's `serve` does, in two lines.
RUNNER = """
from teacherlm.teacher.server.run import serve
serve({model!r}, port=0, device="cpu", announce=lambda url: print("listening on", url, flush=True))
"""


def runner() -> list[str]:
    return [sys.executable, "-c", RUNNER.format(model=random_teacher())]


def test_the_embedded_teacher_answers_what_is_in_flight_and_ends() -> None:
    with EmbeddedTeacher("nano", command=runner()) as teacher:
        url = teacher.url
        assert ask(url, "/info").json()["model_id"] == random_teacher()
        host, port = url.removeprefix("http://").split(":")
        body = b'{"inputs": "1", "parameters": {"max_new_tokens": 400, "seed": 3, "do_sample": true}}'
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as line:
            head = "POST /generate_stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            received = line.recv(65536)
            stopping = threading.Thread(target=teacher.stop)
            stopping.start()
            while part := line.recv(65536):
                received += part
            stopping.join()
        assert b'"generated_text":"' in received  # only the last event has it
    with pytest.raises(ConnectionRefusedError):
        ask(url, "/info")
    with pytest.raises(RuntimeError, match="not been started"):
        _ = teacher.url


def test_the_teacher_ends_with_its_parent() -> None:
    """The parent is a process of its own here, killed without a chance to clean up."""
    code = (
        "import sys\nfrom teacherlm.teacher.embedded import EmbeddedTeacher\n"
        f"print(EmbeddedTeacher('nano', command={runner()!r}).start(), flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        host, port = parent.stdout.readline().decode().strip().removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as line:
            parent.kill()
            # The server closes the connection as it ends, or the system does.
            with suppress(ConnectionResetError):
                assert line.recv(1) == b""


def test_a_teacher_that_cannot_start_says_why() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such model: unicorn')"]
    with pytest.raises(RemoteFailed, match="exit code 1:\nno such model: unicorn") as caught:
        EmbeddedTeacher("unicorn", command=command).start()
    assert "teacherlm serve unicorn" in caught.value.remedy


def test_a_teacher_that_does_not_listen_in_time_is_ended() -> None:
    before = threading.active_count()
    teacher = EmbeddedTeacher(
        "slow", command=[sys.executable, "-c", "import sys; sys.stdin.read()"], start_timeout_s=0.05
    )
    with pytest.raises(RemoteFailed, match=r"did not listen within 0\.05 s"):
        teacher.start()
    assert threading.active_count() == before


def test_a_port_in_use_is_told_before_anything_is_loaded() -> None:
    taken = listen("127.0.0.1", 0)
    with taken, pytest.raises(Mistake, match="cannot listen on") as caught:
        serve("./never-looked-at", port=taken.getsockname()[1])
    assert "another --port" in caught.value.remedy
    with pytest.raises(Mistake, match="no address"):
        serve("nano", host="no.such.host.invalid")


def test_urls_are_reachable_addresses() -> None:
    with listen("0.0.0.0", 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, teacherlm.lm.load, teacherlm.teacher.embedded, teacherlm.teacher.server.run\n"
        "heavy = {'torch', 'transformers', 'starlette', 'uvicorn', 'tokenizers'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from teacherlm.core.errors import MissingExtra\n"
        "from teacherlm.teacher.server.run import serve\n"
        "try: serve('nano', port=0)\n"
        "except MissingExtra as error: sys.exit(0 if 'teacherlm[local]' in str(error) else 'wrong words')\n"
        "sys.exit('no error')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
