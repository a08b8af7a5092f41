"""Asking a teacher for its opinion on rationales."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jinja2
from pydantic.dataclasses import dataclass

from teacherlm.api.catalog import ChosenTeacher
from teacherlm.api.listening import listening
from teacherlm.builders.read import read_prompts
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.project.bind import SPEC_CONFIG, bind
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import Located, read_yaml
from teacherlm.quality.opinions import opinion
from teacherlm.teacher.client import Teacher, Timeout
from teacherlm.teacher.errors import TeacherFault, TeacherRefused, worst
from teacherlm.teacher.wire import Prompt

AT_ONCE = 16
"""Requests in flight."""

PAPER = "paper"
"""The prompts of a teacher that names none."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class JudgePrompts:
    """`quality/judge.yaml`: what a judge is asked, as Jinja templates over question, choices, answer and text."""

    chat: str
    """The message to a server that takes messages."""
    text: str
    """The text that a base model continues."""
    max_new_tokens: int = 8


def declared(files: ProjectFiles, name: str) -> Located:
    """A file of `quality/`: the project's own, else the one that ships with teacherlm."""
    own = files.root / "quality" / name
    return read_yaml(own if own.is_file() else bundled() / "quality" / name)


def ask_judge(
    files: ProjectFiles,
    chosen: ChosenTeacher,
    rows: Sequence[Mapping[str, Any]],
    tell: Callable[[str], None],
) -> dict[tuple[str, int], float | None]:
    """A teacher's opinions by sample and repeat, from 0 to 1; None where its answer cannot be read, or a call failed.

    Args:
        rows: `sample_id`, `repeat`, `question`, `choices`, `answer` and `text` of each rationale.

    Raises:
        Mistake: prompts that cannot be rendered.
        TeacherLost: the teacher cannot be used.
    """
    located = declared(files, "judge.yaml")
    prompts = bind(located, JudgePrompts)
    form = read_prompts(files, chosen.profile.prompts or PAPER).profile.form
    source = prompts.chat if form == "chat" else prompts.text
    try:
        template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(source)
        texts = [template.render(row).strip() for row in rows]
    except jinja2.TemplateError as error:
        raise Mistake(f"cannot be rendered: {error}", "mend the template", located.where((form,))) from None
    asked: list[Prompt] = [[{"role": "user", "content": text}] if form == "chat" else text for text in texts]
    with listening([chosen], tell) as urls, ThreadPoolExecutor(1) as thread:
        # In a thread of its own: in a notebook this one runs a loop already.
        found = thread.submit(
            asyncio.run, _answers(urls[chosen.name], chosen, asked, {"max_new_tokens": prompts.max_new_tokens})
        ).result()
    return {
        (row["sample_id"], row["repeat"]): None if answer is None else opinion(answer)
        for row, answer in zip(rows, found, strict=True)
    }


async def _answers(
    urls: Sequence[str], chosen: ChosenTeacher, prompts: Sequence[Prompt], parameters: Mapping[str, Any]
) -> list[str | None]:
    """The answers in order; None for calls that failed for good."""
    waiting = iter(enumerate(prompts))
    answers: list[str | None] = [None] * len(prompts)
    async with Teacher(
        urls, timeout=Timeout(connect_s=chosen.profile.connect_s), model=chosen.profile.model
    ) as teacher:
        await teacher.info()

        async def work() -> None:
            for number, prompt in waiting:
                try:
                    answers[number] = (await teacher.ask(prompt, parameters)).text
                except (TeacherRefused, TeacherFault):
                    continue

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(prompts))):
                    group.create_task(work())
        except ExceptionGroup as group_of:
            raise worst(group_of) from group_of
    return answers
