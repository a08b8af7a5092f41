"""One question to a server: how likely a continuation is, or what follows a prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from teacherlm.core.errors import Mistake
from teacherlm.evaluate.scorer import Asked, Written, until
from teacherlm.evaluate.served_line import Line
from teacherlm.evaluate.served_wire import Speech, Told, line_up
from teacherlm.teacher.errors import TeacherRefused
from teacherlm.teacher.wire import CUT, Completion

STOPS = 4
"""Stop strings that are sent: OpenAI and TGI take no more. Texts are cut here at all of them."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A continuation with what the server said of it."""

    context: str
    """Without blanks at its end."""
    kept: int
    """Tokens of the context that were read, begin tokens included."""
    values: tuple[float, ...]
    """Natural logarithms, by token."""
    likeliest: tuple[bool, ...] | None
    """Whether each token is the one that the model would write; None: the server does not say."""
    ids: tuple[int, ...] | None
    cut: int
    """Tokens of the context that did not fit."""


async def scored(line: Line, spoken: Speech, context: str, continuation: str) -> Scored:
    """How likely a continuation is after its context.

    Raises:
        Mistake: the server will not take the text, or the continuation cannot be told from its context.
        RemoteFailed: the server failed.
    """
    bare, joint = context.rstrip(), context + continuation
    try:
        told, cut = await spoken.told(joint), 0
    except TeacherRefused as error:
        length, last = await _room(spoken, joint, 0, error)
        told, cut = await _accepted(lambda: spoken.told(joint, last), joint), length - last
    start = await _border(line, spoken, bare, joint, told, cut) - cut
    if start < 1 and cut:
        raise Mistake(
            f"the continuation {_shown(continuation)} has more tokens than the server takes ({spoken.limit})",
            "shorten it, or serve the model with a longer window",
        )
    if start < 1:
        raise Mistake(
            f"the continuation {_shown(continuation)} has an empty context, and the server's tokenizer puts no begin"
            " token before it",
            "give the task a `description`, or evaluate the model without a server",
        )
    return Scored(
        bare,
        start,
        told.values[start:],
        told.likeliest[start:] if told.likeliest is not None else None,
        told.ids[start:] if told.ids is not None else None,
        cut,
    )


async def _border(line: Line, spoken: Speech, bare: str, joint: str, told: Told, cut: int) -> int:
    """The continuation's first token, counted from the text's first one, cut ones included; see `served`."""
    found = line_up(told.texts, joint, len(bare))
    if found is not None and found[1]:
        return found[0] + cut
    if bare:
        before = await line.once_for(bare, lambda: spoken.count(bare))
        if before is not None and before < len(told.values) + cut:
            return before
    if found is None:
        raise Mistake(
            f"{line.endpoint.url} names tokens that do not make up the text {_shown(joint)}, so that its continuation"
            " cannot be found",
            "evaluate the model without a server",
        )
    return found[0] + cut


async def written(line: Line, spoken: Speech, asked: Asked, total: int | None) -> Written:
    """What the model writes after a prompt.

    Args:
        total: tokens of the server's window, where it tells.

    Raises:
        Mistake: the prompt has no room beside its new tokens, or the server will not take it.
        RemoteFailed: the server failed.
    """
    if total is not None and asked.max_gen_toks >= total:
        raise Mistake(
            f"{asked.max_gen_toks} new tokens leave no room for a prompt in a window of {total}",
            "lower max_gen_toks in the task's generation_kwargs",
        )
    wire = await line.endpoint.wire()
    stops = [stop for stop in asked.until if stop]
    path, data = wire.request(asked.prompt, _parameters(asked), stops[:STOPS])
    cut = 0

    async def send(data: bytes) -> Completion:
        async def attempt() -> Completion:
            body, prompt_tokens = await line.endpoint.post(path, data)
            return wire.completion(asked.prompt, body, prompt_tokens, line.token)

        return await line.until_answered(attempt)

    try:
        completion = await send(data)
    except TeacherRefused as error:
        length, last = await _room(spoken, asked.prompt, asked.max_gen_toks, error)
        shorter = orjson.dumps(await spoken.short(asked.prompt, last, orjson.loads(data)))
        completion, cut = await _accepted(lambda: send(shorter), asked.prompt), length - last
    text = until(completion.text, stops)
    ended = text != completion.text
    reason = "stop_sequence" if ended else CUT if completion.is_cut else completion.finish_reason or "eos_token"
    return Written(text, "eos_token" if reason == "stop" else reason, cut)


def _parameters(asked: Asked) -> dict[str, Any]:
    """In TGI's names; filters that do nothing are left out, since TGI refuses them."""
    parameters: dict[str, Any] = {"max_new_tokens": asked.max_gen_toks}
    if not asked.do_sample or asked.temperature == 0:
        return {**parameters, "do_sample": False}
    parameters |= {"do_sample": True, "seed": asked.seed}
    if asked.temperature is not None:
        parameters["temperature"] = asked.temperature
    if asked.top_p is not None and asked.top_p < 1:
        parameters["top_p"] = asked.top_p
    if asked.top_k is not None and asked.top_k > 0:
        parameters["top_k"] = asked.top_k
    return parameters


async def _room(spoken: Speech, text: str, new: int, error: TeacherRefused) -> tuple[int, int]:
    """A refused text's tokens, and how many of its last ones fit beside the new ones.

    Raises:
        Mistake: it was not refused for its length.
    """
    limit = spoken.limit if not new or spoken.limit is None else spoken.limit + 1 - new
    try:
        length = await spoken.count(text) if limit is not None else None
    except TeacherRefused as second:
        raise _refusal(second, text) from None
    if limit is None or length is None or length <= limit or limit < 1:
        raise _refusal(error, text)
    return length, limit


async def _accepted(ask: Callable[[], Awaitable[Any]], text: str) -> Any:
    try:
        return await ask()
    except TeacherRefused as error:
        raise _refusal(error, text) from None


def _refusal(error: TeacherRefused, text: str) -> Mistake:
    return Mistake(
        f"the server refuses the text {_shown(text)} ({error})",
        "shorten the task's documents or `num_fewshot`, or serve the model with a longer window",
    )


def _shown(text: str) -> str:
    """A text's end, for a message."""
    return repr(text if len(text) <= 60 else f"…{text[-60:]}")
