"""What is asked, and the ledger line that its answer becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from teacherlm.core.clock import now
from teacherlm.core.keys import call_key, canonical, text_digest
from teacherlm.teacher.tgi import Completion, Info, Prompt
from teacherlm.text.cut import rationale_text


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a teacher, with the labels under which its answer is kept."""

    sample_id: str
    dataset: str
    split: str
    kind: str
    repeat: int
    prompt: Prompt
    parameters: Mapping[str, Any]
    stops: tuple[str, ...]
    key: str
    strategy: str = "explain"
    extended: bool = False
    """Asked again with twice the token budget, since the first answer was cut."""
    first_text: str = ""
    """What was written before the budget was doubled."""

    @property
    def can_be_extended(self) -> bool:
        """Without a budget of its own it had all the room that the server has."""
        return not self.extended and "max_new_tokens" in self.parameters

    def with_twice_the_budget(self, info: Info, first_text: str = "") -> Call:
        """The same question with room for twice as many tokens. Another budget is another key."""
        parameters = {**self.parameters, "max_new_tokens": 2 * self.parameters["max_new_tokens"]}
        key = key_of(self, parameters, info)
        return replace(self, parameters=parameters, extended=True, first_text=first_text, key=key)


def key_of(call: Call, parameters: Mapping[str, Any], info: Info) -> str:
    return call_key(
        kind=call.kind,
        prompt=call.prompt,
        parameters={**parameters, "stop": call.stops},
        model=info.model,
        revision=info.revision,
        sample_id=call.sample_id,
        repeat=call.repeat,
    )


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
) -> Call:
    """A call with its key."""
    call = Call(sample_id, dataset, split, kind, repeat, prompt, parameters, stops, "")
    return replace(call, key=key_of(call, parameters, info))


def answer_line(call: Call, info: Info, completion: Completion, latency_s: float, attempts: int) -> dict[str, Any]:
    """The ledger line of an answer.

    Servers report the token limit also where they missed a stop string inside a token, or met it in the last one: what
    stands before it is whole.
    """
    text = rationale_text(completion.text, call.stops)
    is_whole = not completion.is_cut or text != rationale_text(completion.text, ())
    return _line(call, info, attempts) | {
        "text": text,
        "status": "ok" if is_whole else "truncated",
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "generated_tokens": completion.generated_tokens,
        "latency_ms": round(latency_s * 1000, 3),
    }


def failure_line(call: Call, info: Info, failure: str, attempts: int) -> dict[str, Any]:
    """The ledger line of a call that was refused for good, or given up for this run."""
    return _line(call, info, attempts) | {"status": "failed", "failure": failure}


def _line(call: Call, info: Info, attempts: int) -> dict[str, Any]:
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
        "attempts": attempts,
        "teacher_model": info.model,
        "teacher_revision": info.revision,
        "prompt_sha256": text_digest(prompt),
        "call_key": call.key,
        "strategy": call.strategy,
        "created_at": now(),
    }
