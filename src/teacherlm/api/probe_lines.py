"""What the ledger holds about some samples: the answers of given teachers, prompts and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from teacherlm.api.cost import ANSWERS
from teacherlm.api.human import has_human
from teacherlm.api.orders import Order
from teacherlm.api.star import DRAW, HINTED
from teacherlm.api.workspace import Workspace, open_session
from teacherlm.core.keys import canonical, text_digest
from teacherlm.teacher.calls import Call
from teacherlm.teacher.wire import Info

Key = tuple[int, str]
"""The number of an order and a kind, or `one_call`."""


@dataclass(frozen=True)
class Line:
    """One answer of the ledger about a drawn sample."""

    key: Key
    sample: int
    tokens_in: float
    tokens_out: float
    asked: bool
    """Whether it was asked for: not so where it came with another text's."""
    sent: float
    done: float


def key_of(number: int, call: Call) -> Key:
    return number, "one_call" if call.parts else call.kind


def length_of(call: Call) -> int:
    texts = [call.prompt] if isinstance(call.prompt, str) else [message["content"] for message in call.prompt]
    return sum(map(len, texts))


def _calls(order: Order, row: Mapping[str, Any], info: Info) -> Iterator[tuple[Call, int]]:
    """The calls that may be made about a sample, one for each prompt, and how many texts each stands for."""
    kinds = tuple(kind for kind in order.kinds if kind != order.human or not has_human(row))
    if order.prompts.profile.one_call is not None:
        if kinds:
            yield order.call(row, info, kinds[0], 0, template="one_call", parts=kinds), order.repeats
        return
    for kind in kinds:
        if order.draws(kind):
            yield order.call(row, info, kind, 0, template=DRAW), 1
            yield order.call(row, info, kind, 0, template=HINTED), 0
        else:
            yield order.call(row, info, kind, 0), order.repeats


def texts_of(
    number: int, order: Order, rows: Sequence[Mapping[str, Any]], infos: Sequence[Info]
) -> Iterator[tuple[Key, tuple[Any, Any]]]:
    """For each kind the texts of every drawn sample, and the characters of their prompts."""
    found: dict[Key, tuple[Any, Any]] = {}
    for place, row in enumerate(rows):
        for call, texts in _calls(order, row, infos[number]):
            arrays = found.setdefault(key_of(number, call), (np.zeros(len(rows)), np.zeros(len(rows))))
            arrays[0][place] += texts
            arrays[1][place] += texts * length_of(call)
    yield from found.items()


def lines_of(
    workspace: Workspace,
    name: str,
    orders: Sequence[Order],
    rows: Sequence[Mapping[str, Any]],
    infos: Sequence[Info],
) -> list[Line]:
    """The answers about the drawn samples, of these teachers, prompts and parameters."""
    known: dict[tuple[Any, ...], tuple[Key, int, Any]] = {}
    for number, (order, info) in enumerate(zip(orders, infos, strict=True)):
        for place, row in enumerate(rows):
            for call, _ in _calls(order, row, info):
                prompt = call.prompt if isinstance(call.prompt, str) else canonical(call.prompt).decode()
                key = row["sample_id"], text_digest(prompt), info.model, info.revision
                known[key] = key_of(number, call), place, _asked(call.asked_with)
    session = open_session(workspace, [name], judged=False)
    session.execute(ANSWERS)
    session.execute(
        "CREATE TEMP TABLE drawn AS SELECT unnest($ids) AS sample_id", {"ids": [r["sample_id"] for r in rows]}
    )
    found = session.execute(
        "SELECT sample_id, prompt_sha256, teacher_model, teacher_revision, parameters, prompt_tokens,"
        " generated_tokens, attempts, latency_ms, epoch(created_at) FROM answers SEMI JOIN drawn USING (sample_id)"
    ).fetchall()
    lines = []
    for *asked_as, parameters, tokens_in, tokens_out, attempts, latency, done in found:
        match = known.get(tuple(asked_as))
        if match is None or parameters is None:
            continue
        asked, budget = _asked(parameters)
        if asked != match[2][0] or budget not in (match[2][1], 2 * (match[2][1] or 0)):
            continue
        sent = done - (latency or 0.0) / 1000
        lines.append(Line(match[0], match[1], tokens_in or 0, tokens_out or 0, attempts > 0, sent, done))
    return lines


def _asked(parameters: str | bytes) -> tuple[Any, Any]:
    """Parameters without what is each call's own, and the budget."""
    asked = orjson.loads(parameters)
    asked.pop("seed", None)
    return asked, asked.pop("max_new_tokens", None)
