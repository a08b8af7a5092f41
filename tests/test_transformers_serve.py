"""Runs against a server that is not ours: `transformers serve` with a tiny model, as a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

import teacherlm
from random_teacher import build
from recipes import parquet, recipe
from serving import generate, random_model, serving
from teacherlm.core.errors import Mistake
from teacherlm.teacher.client import Teacher
from teacherlm.teacher.errors import TeacherLost, TeacherRefused
from teacherlm.teacher.wire import Completion, Info, Prompt

START_S = 100
QUESTION = "Q: Why does iron rust? A:"
MESSAGES: Prompt = [{"role": "user", "content": "Why does iron rust?"}]
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"

Result = TypeVar("Result")


@contextmanager
def served(home: Path, *arguments: str) -> Iterator[str]:
    """`transformers serve ARGUMENTS`, with an empty cache and without a network; gives its URL."""
    process = subprocess.Popen(
        [
            Path(sys.executable).with_name("transformers"),
            "serve",
            *arguments,
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--device",
            "cpu",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(home),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        },
    )
    assert process.stdout is not None
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    lines, url = [], None
    while url is None and (line := process.stdout.readline()):
        lines.append(line)
        found = re.search(r"Uvicorn running on (http://\S+)", line)
        url = found and found[1]
    watchdog.cancel()
    reader = threading.Thread(target=deque, args=(process.stdout, 0))
    reader.start()
    try:
        assert url is not None, "".join(lines)
        yield url
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The random teacher with a chat template, as a folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    weights, tokenizer = build()
    tokenizer.chat_template = TEMPLATE
    weights.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def url(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("home"), model) as address:
        yield address


def talk(url: str, with_it: Callable[[Teacher], Awaitable[Result]], model: str | None = None) -> Result:
    async def meet() -> Result:
        async with Teacher(url, model=model) as teacher:
            return await with_it(teacher)

    return asyncio.run(meet())


async def info(teacher: Teacher) -> Info:
    return await teacher.info()


def test_it_says_what_it_serves(url: str, model: str) -> None:
    assert talk(url, info) == talk(f"{url}/v1", info, model) == Info(model, None)
    with pytest.raises(Mistake, match=f"does not serve `org/other`; it serves `{model}`"):
        talk(url, info, "org/other")


def test_it_answers_texts_and_chats(url: str) -> None:
    async def answers(teacher: Teacher) -> list[Completion]:
        asked: list[tuple[Prompt, dict[str, int], tuple[str, ...]]] = [
            (QUESTION, {"max_new_tokens": 2}, ()),
            (QUESTION, {"max_new_tokens": 500}, ()),
            (MESSAGES, {"max_new_tokens": 2}, ()),
            (QUESTION, {"max_new_tokens": 500}, ("for",)),
        ]
        return [await teacher.once(*one) for one in asked]

    cut, whole, chat, stopped = talk(url, answers)
    assert cut.is_cut and chat.is_cut
    assert cut.generated_tokens == chat.generated_tokens == 2
    assert not whole.is_cut and not stopped.is_cut
    assert whole.text.startswith(cut.text)
    assert chat.prompt_tokens is not None and chat.text
    assert stopped.text.startswith("ourfor") and stopped.text != whole.text  # it keeps the stop text, and its token
    with serving(random_model()) as ours:  # the same weights behind TGI's protocol
        said = generate(ours, QUESTION, max_new_tokens=500, details=True)
    assert whole.text == said["generated_text"]
    assert whole.finish_reason == "stop"


def test_it_is_well_and_counts_no_tokens(url: str) -> None:
    async def look(teacher: Teacher) -> tuple[bool, int | None]:
        return await teacher.healthy(), await teacher.tokens(QUESTION)

    assert talk(url, look) == (True, None)


def test_what_it_does_not_know_it_refuses(url: str) -> None:
    async def ask(teacher: Teacher) -> Completion:
        return await teacher.once(QUESTION, {"max_new_tokens": 6, "repetition_penalty": 1.5})

    with pytest.raises(TeacherRefused, match=r"^422 Unexpected fields in the request: .*repetition_penalty"):
        talk(url, ask)


def test_a_whole_run(url: str, model: str, tmp_path: Path) -> None:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", [{"q": f"Why {n}?", "a": "x"} for n in range(4)])
    recipe(tmp_path / "p", max_new_tokens=24)
    (tmp_path / "p" / "catalog.yaml").write_text(
        "teachers:\n"
        f"  texts: {{url: '{url}', prompts: paper, concurrency: 4}}\n"
        f"  chats: {{url: '{url}/v1', model: '{model}', prompts: chat, concurrency: 4}}\n"
    )
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    project.build("d")
    for teacher in ("texts", "chats"):
        done = project.augment("d", teacher=teacher)
        assert (done.model, done.revision, done.planned, done.already) == (model, None, 12, 0)
        assert done.tally.answered + done.tally.truncated == 12
        assert done.tally.prompt_tokens > 0 and done.tally.generated_tokens > 0
        assert project.augment("d", teacher=teacher).already == 12
    rows = project.sql(
        "SELECT DISTINCT teacher_model, status = 'failed', finish_reason FROM ledger ORDER BY 3"
    ).fetchall()
    assert set(rows) <= {(model, False, "length"), (model, False, "stop")}


@pytest.mark.slow
def test_without_a_model_it_serves_the_one_that_is_named(model: str, tmp_path: Path) -> None:
    async def ask(teacher: Teacher) -> Completion:
        return await teacher.ask(QUESTION, {"max_new_tokens": 2})

    with served(tmp_path) as url:
        with pytest.raises(Mistake, match="serves whatever model it is asked for"):
            talk(url, info)
        assert talk(url, info, model) == Info(model, None)
        assert talk(url, ask, model).is_cut
    with pytest.raises(TeacherLost, match="no server answers"):
        talk(url, info)
