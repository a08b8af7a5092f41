"""Restarted servers, secrets, counts that are none, earlier teachers taken up again, templates that fail."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from pathlib import Path

import pytest

import teacherlm
from recipes import parquet, recipe
from teacherlm.api.catalog import Catalog, choose_teacher
from teacherlm.api.interrupts import Interrupts
from teacherlm.builders.prompts import BoundPrompts, PromptProfile
from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.project.located import read_yaml
from teacherlm.teacher.address import checked_token
from teacherlm.teacher.asker import Asker
from teacherlm.teacher.client import Retry, Teacher
from teacherlm.teacher.errors import TeacherLost
from teacherlm.teacher.tgi import TGI
from teacherlm.teacher.wire import read_error
from test_teacher_asker import calls_of
from unkind import DROP, INFO, TOO_LONG, Asked, Reply, Unkind, plain, says, unkind_in_a_thread

OTHER = plain(200, json.dumps({**INFO, "model_id": "other/model"}), "application/json")


@pytest.mark.parametrize("changed", [True, False])
def test_a_server_that_was_restarted_with_another_model_is_not_recorded(changed: bool) -> None:
    lines: list[object] = []

    async def meet() -> int:
        def behaviour(asked: Asked) -> Reply:
            if asked.number == 2:
                server.info = OTHER if changed else server.info
                return DROP
            return says("Rust.")

        server = Unkind(behaviour)
        async with server, Teacher(server.url, retry=Retry(first_s=0.0)) as teacher:
            asker = Asker(teacher, lines.append, 1)
            if changed:
                with pytest.raises(TeacherLost, match=r"was unkind/teacher .* is other/model"):
                    await asker.run(iter(calls_of(3)))
            else:
                await asker.run(iter(calls_of(3)))
            return server.looks.count("/info")

    assert asyncio.run(meet()) == 2
    assert len(lines) == (1 if changed else 9)


@pytest.mark.parametrize(
    "url", ["http://me:pa55@h:1", "http://h:1?key=pa55", "http://h:1#pa55", "me:pa55@h:x", "a@pa55?pa55"]
)
def test_a_url_with_a_secret_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(Mistake) as caught:
        choose_teacher(Catalog(), url)
    assert "pa55" not in str(caught.value).replace("***@pa55", "")


def test_a_key_that_no_header_holds() -> None:
    assert checked_token(" k3y\n") == "k3y"
    assert checked_token(" ") is None
    with pytest.raises(Mistake) as caught:
        checked_token("k3y\nmore")
    assert "k3y" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 422, 429, 500, 503])
@pytest.mark.parametrize("body", [b"Bearer k3y!", b'{"error": "Bearer k3y!"}', b'["k3y!"]', b"." * 197 + b"k3y!"])
def test_a_server_that_repeats_the_key(status: int, body: bytes) -> None:
    assert "k3y" not in str(read_error(status, body, "k3y!"))


@pytest.mark.parametrize("count", ["-1", "1" * 23, "9223372036854775808", "x", "\u0663"])
def test_counts_that_are_none(count: str) -> None:
    number = count if count.lstrip("-").isascii() and count != "x" else '"x"'
    body = f'{{"generated_text": "a", "details": {{"generated_tokens": {number}}}}}'.encode()
    completion = TGI().completion("Q", body, count)
    assert (completion.prompt_tokens, completion.generated_tokens) == (None, None)


def test_an_earlier_teacher_is_taken_up_again(tmp_path: Path) -> None:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", [{"q": f"Why {n}?", "a": "x"} for n in range(3)])
    recipe(tmp_path / "p", max_new_tokens=64)
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    project.build("d")
    texts = "SELECT DISTINCT text, teacher_model FROM rationales"
    with unkind_in_a_thread([says("From A.")]) as a, unkind_in_a_thread([says("From B.")]) as b:
        b.info = OTHER
        project.augment("d", teacher=a.url)
        project.augment("d", teacher=b.url)
        assert project.sql(texts).fetchall() == [("From B.", "other/model")]
        again = project.augment("d", teacher=a.url)
        assert (again.taken_up_again, again.already, again.tally.requests) == (9, 9, 0)
        assert project.sql(texts).fetchall() == [("From A.", "unkind/teacher")]
        assert project.augment("d", teacher=a.url).taken_up_again == 0


def test_refusals_and_budgets_are_told(tmp_path: Path) -> None:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", [{"q": "Why?", "a": "x"}])
    recipe(tmp_path / "p")
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    project.build("d")
    with unkind_in_a_thread([TOO_LONG]) as server:
        assert "422" in project.augment("d", teacher=server.url).to_row()["first_refusal"]
    with unkind_in_a_thread([TOO_LONG]) as server:
        server.info = plain(200, json.dumps({**INFO, "max_total_tokens": 100}), "application/json")
        with pytest.raises(Mistake, match="has room for 100"):
            project.augment("d", teacher=server.url)
        assert server.seen == []


def test_an_interrupt_in_a_notebook_ends_the_worker_first() -> None:
    """The thread is waited for again after the interrupt, and ends before it is raised."""
    interrupts, ended = Interrupts(), threading.Event()
    waiting = threading.get_ident()

    async def main() -> None:
        stopped = asyncio.Event()
        with interrupts.listening(stopped.set):
            signal.pthread_kill(waiting, signal.SIGINT)
            async with asyncio.timeout(30):
                await stopped.wait()
        await asyncio.sleep(0.05)
        ended.set()

    async def notebook() -> None:
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                interrupts.run(main)
        finally:
            signal.signal(signal.SIGINT, previous)
        assert ended.is_set()

    asyncio.run(notebook())


@pytest.mark.parametrize("template", ["{{ answer + 1 }}", "{{ choices[0] }}", "{{ 1 / 0 }}"])
def test_a_template_that_fails_is_a_mistake(tmp_path: Path, template: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps({"kinds": {"fundamentals": template}}))
    prompts = BoundPrompts(PromptProfile(name="p", kinds={"fundamentals": template}), read_yaml(path))
    with pytest.raises(Mistakes) as caught:
        prompts.check()
    assert "the template fails" in str(caught.value)
    sample = {"sample_id": "d/train/7", "question": "Why?", "choices": [], "answer": "x"}
    with pytest.raises(Mistake, match="`fundamentals` fails on d/train/7"):
        prompts.render("fundamentals", sample)
