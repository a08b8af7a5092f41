"""What is asked, and the ledger lines that its answer becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from teacherlm.core.clock import now
from teacherlm.core.keys import call_key, canonical, digest, text_digest
from teacherlm.teacher.errors import TeacherFault
from teacherlm.teacher.wire import Completion, Info, Prompt
from teacherlm.text.cut import rationale_text


class Sequel(Protocol):
    """What an answer leads to, as whoever asks decides."""

    @property
    def answer(self) -> str:
        """What a text should reach."""

    def predicted(self, text: str) -> str | None:
        """The answer that a whole text reaches, `self.answer` to the letter where it is that; kept with the text."""

    def in_place_of(self, call: Call) -> Sequence[str]:
        """Keys of the answers that may stand in the place of a call's."""

    def after(self, call: Call, reached: bool, known: dict[tuple[str, int], str] | None = None) -> Call | None:
        """The call to make after one whose text has reached the answer or not; None: there is none.

        Args:
            known: takes the answers that are known already, as `resume.unsettled` has it.
        """


@dataclass(slots=True)
class Call:
    """One question to a teacher, with the labels under which its answer is kept.

    Nobody changes one; a frozen dataclass would take three times as long to make, and there are millions.
    """

    sample_id: str
    dataset: str
    split: str
    kind: str
    repeat: int
    prompt: Prompt
    parameters: Mapping[str, Any]
    stops: tuple[str, ...]
    key: str = ""
    strategy: str = "explain"
    extended: bool = False
    """Asked again with twice the token budget, since the first answer was cut."""
    first_text: str = ""
    """What was written before the budget was doubled."""
    parts: tuple[str, ...] = ()
    """Kinds that one answer holds, as texts of a JSON object; `kind` is the first of them. Else empty."""
    keys: tuple[str, ...] = ()
    """The key of each text that the answer gives; `key` is the first of them."""
    sequel: Sequel | None = field(default=None, compare=False)
    """What follows; None: every answer settles the call."""
    asked_with: bytes = b""
    """The canonical JSON of parameters and stop strings."""
    beginning: str = ""
    """What calls have in common whose prompts begin alike: they are sent next to each other."""
    line: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Its ledger line, as far as it is known before the answer."""

    @property
    def can_be_extended(self) -> bool:
        """Without a budget of its own it had all the room that the server has."""
        return not self.extended and "max_new_tokens" in self.parameters

    def with_twice_the_budget(self, info: Info, first_text: str = "") -> Call:
        """The same question with room for twice as many tokens. Another budget is another key."""
        parameters = {**self.parameters, "max_new_tokens": 2 * self.parameters["max_new_tokens"]}
        longer = replace(self, parameters=parameters, asked_with=b"", extended=True, first_text=first_text)
        return _with_keys(longer, info)


def _with_keys(call: Call, info: Info) -> Call:
    """Set the keys of a new call."""
    if not call.asked_with:
        call.asked_with = asked_with(call.parameters, call.stops)
    if call.parts:
        call.keys = tuple([_key(call, kind, info) for kind in call.parts])
        call.key = call.keys[0]
    else:
        call.key = _key(call, call.kind, info)
        call.keys = (call.key,)
    call.line = _line(call, info)
    return call


def _key(call: Call, kind: str, info: Info) -> str:
    return call_key(
        kind=kind,
        prompt=call.prompt,
        parameters=call.asked_with,
        model=info.model,
        revision=info.revision,
        sample_id=call.sample_id,
        repeat=call.repeat,
    )


def asked_with(parameters: Mapping[str, Any], stops: Sequence[str]) -> bytes:
    """What `Call.asked_with` holds."""
    return canonical({**parameters, "stop": stops})


def make_call(
    *,
    sample_id: str,
    dataset: str,
    split: str,
    kind: str,
    repeat: int,
    prompt: Prompt,
    parameters: Mapping[str, Any],
    stops: tuple[str, ...],
    info: Info,
    strategy: str = "explain",
    parts: tuple[str, ...] = (),
    sequel: Sequel | None = None,
    beginning: str = "",
    asked_with: bytes = b"",
) -> Call:
    """A call with its keys.

    Args:
        asked_with: see `Call.asked_with`; empty: made of `parameters` and `stops`.
        beginning: see `Call.beginning`; empty: calls about the same sample begin alike.
    """
    call = Call(
        sample_id,
        dataset,
        split,
        kind,
        repeat,
        prompt,
        parameters,
        stops,
        strategy=strategy,
        parts=parts,
        sequel=sequel,
        beginning=beginning or sample_id,
        asked_with=asked_with,
    )
    return _with_keys(call, info)


def following_call(call: Call, line: Mapping[str, Any]) -> Call | None:
    """What has to be asked after an answer; nothing follows a failed call."""
    if call.sequel is None or line["status"] == "failed":
        return None
    return call.sequel.after(call, line["predicted_answer"] == call.sequel.answer)


def answer_lines(
    call: Call, completion: Completion, latency_s: float, attempts: int, endpoint: str | None = None
) -> list[dict[str, Any]]:
    """The ledger lines of an answer: one, or one for each of the call's parts.

    Raises:
        TeacherFault: an answer that should hold several texts holds something else.
    """
    whole = answer_line(call, completion, latency_s, attempts, endpoint)
    if not call.parts:
        return [whole]
    try:
        texts = _read_parts(whole["text"], call.parts)
        status = "ok"
    except ValueError as error:
        if not completion.is_cut:
            raise TeacherFault(f"{error}: {whole['text'][:80]!r}", reason="answer not readable") from None
        texts, status = dict.fromkeys(call.parts, ""), "truncated"
    return [line | {"text": texts[line["kind"]], "status": status} for line in _shared(call, whole)]


def _read_parts(text: str, parts: Sequence[str]) -> dict[str, str]:
    """The texts of a JSON object.

    Raises:
        ValueError: it is no such object, or lacks one of them.
    """
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("the answer is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("the answer is no JSON object")
    for part in parts:
        if not isinstance(found.get(part), str):
            raise ValueError(f"the answer has no text `{part}`")
    return {part: found[part].strip() for part in parts}


def _shared(call: Call, whole: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line for each part of an answer. Its costs stand in the first, so that sums are right."""
    free = {"prompt_tokens": None, "generated_tokens": None, "latency_ms": None, "attempts": 0}
    return [
        {**whole, "kind": kind, "call_key": key} | ({} if key == call.key else free)
        for kind, key in zip(call.parts or (call.kind,), call.keys, strict=True)
    ]


def answer_line(
    call: Call, completion: Completion, latency_s: float, attempts: int, endpoint: str | None = None
) -> dict[str, Any]:
    """The ledger line of an answer that is one text.

    Servers report the token limit also where they missed a stop string inside a token, or met it in the last one: what
    stands before it is whole.
    """
    text = rationale_text(completion.text, call.stops)
    is_whole = not completion.is_cut or text != rationale_text(completion.text, ())
    line = call.line.copy()
    line["text"] = text
    if not is_whole:
        line["status"] = "truncated"
    elif call.sequel is not None:
        line["predicted_answer"] = call.sequel.predicted(text)
    line["finish_reason"] = completion.finish_reason
    line["prompt_tokens"] = completion.prompt_tokens
    line["generated_tokens"] = completion.generated_tokens
    line["latency_ms"] = round(latency_s * 1000, 3)
    line["attempts"] = attempts
    line["endpoint"] = endpoint
    line["created_at"] = now()
    return line


def failure_lines(call: Call, failure: str, attempts: int, endpoint: str | None = None) -> list[dict[str, Any]]:
    """The ledger lines of a call that was refused for good, or given up for this run."""
    found = {"status": "failed", "failure": failure, "attempts": attempts, "endpoint": endpoint, "created_at": now()}
    return _shared(call, call.line | found)


def refusal_lines(call: Call, failure: str, attempts: int, endpoint: str) -> list[dict[str, Any]]:
    """The ledger lines of a refused call. Where there is no room for twice the budget, the first text is all of it."""
    kept = {"status": "truncated", "text": call.first_text} if call.extended else {}
    return [line | kept for line in failure_lines(call, failure, attempts, endpoint)]


def human_line(*, sample_id: str, dataset: str, split: str, kind: str, text: str) -> dict[str, Any]:
    """The ledger line of a text that the source has: nobody was asked. Its key covers the text."""
    call = Call(sample_id, dataset, split, kind, 0, "", {}, (), strategy="human")
    call.key = digest([kind, "human", text, sample_id, 0])
    nobody = dict.fromkeys(("teacher_model", "teacher_revision", "parameters", "prompt_sha256"))
    return _line(call, Info("", None)) | {"text": text, "created_at": now()} | nobody


def _line(call: Call, info: Info) -> dict[str, Any]:
    """A line without an answer; its columns in the record's order, for people who read lines."""
    prompt = call.prompt if isinstance(call.prompt, str) else canonical(call.prompt).decode()
    return {
        "sample_id": call.sample_id,
        "dataset": call.dataset,
        "split": call.split,
        "kind": call.kind,
        "repeat": call.repeat,
        "text": "",
        "status": "ok",
        "failure": None,
        "finish_reason": None,
        "prompt_tokens": None,
        "generated_tokens": None,
        "latency_ms": None,
        "attempts": 0,
        "teacher_model": info.model,
        "teacher_revision": info.revision,
        "endpoint": None,
        "parameters": call.asked_with.decode(),
        "prompt_sha256": text_digest(prompt),
        "call_key": call.key,
        "strategy": call.strategy,
        "predicted_answer": None,
        "created_at": None,
    }
