"""What would be asked now in the place of an answer, and which parts of its key have changed since."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from teacherlm.api.human import COLUMN, has_human
from teacherlm.api.orders import Order
from teacherlm.api.star import DRAW, HINTED, Star
from teacherlm.api.traced import prompt_digest
from teacherlm.teacher.answered import EXHAUSTED, REFUSED, AnsweredCalls
from teacherlm.teacher.calls import Call, human_line
from teacherlm.teacher.resume import unsettled
from teacherlm.teacher.wire import Info, Prompt

State = Literal["same", "changed", "unknown"]

DIFF_LINES = 20
"""Lines of a difference that are kept."""

OF_THE_RECIPE = ("max_new_tokens", "stop", "grammar")
"""Parameters that recipe and prompts decide; the teacher's profile decides the others."""


@dataclass(frozen=True, kw_only=True)
class KeyPart:
    """One part of a call's key, as it was and as it is now."""

    part: str
    state: State
    old: Any = None
    new: Any = None
    note: str = ""
    diff: str = ""
    """From the old prompt to the new one, where the old one can be rendered."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """An answer beside what would be asked in its place."""

    asks_again: bool
    because: str
    parts: tuple[KeyPart, ...] = ()
    prompt: Prompt | None = None
    """As it is rendered now; None where nobody would be asked."""
    call_key: str | None = None
    """The present key; with the answer's own model where the teacher was not asked for it."""


@dataclass(frozen=True, kw_only=True)
class Present:
    """What is declared now, for one kind of one sample."""

    order: Order | None
    """None: nobody would be asked for this kind."""
    nobody: str = ""
    """Why, then."""
    gone: str = "kind"
    """The part of the key that is no more, then."""
    info: Info | None = None
    """What the teacher says of itself; None: it was not asked."""
    guessed: bool = False
    """No teacher is known: what its profile decides is taken as it was."""
    sample: Mapping[str, Any]
    answered: AnsweredCalls
    """The sample's own part of the ledger."""
    origin_of: Callable[[Mapping[str, Any]], tuple[str, Prompt | None]]
    """Says where an answer's prompt, which is not asked any more, may come from; and the prompt, if it is known."""


def compare(present: Present, kind: str, repeat: int, lines: Sequence[Mapping[str, Any]]) -> Compared:
    """Set the last answer for a text beside what would be asked for it now.

    Args:
        lines: all answers for it, oldest first.
    """
    last = lines[-1] if lines else None
    order = present.order
    if order is None:
        gone: tuple[KeyPart, ...] = ()
        if last is not None:
            old = kind if present.gone == "kind" else last["sample_id"]
            gone = (KeyPart(part=present.gone, state="changed", old=old, note=present.nobody),)
        return Compared(asks_again=False, because=f"nobody would be asked: {present.nobody}", parts=gone)
    if kind == order.human and has_human(present.sample):
        return _taken(order, present.sample, kind, lines)
    if present.guessed and last and last["parameters"]:
        order = _as_it_was(order, orjson.loads(last["parameters"]))
    info = present.info or Info((last or {}).get("teacher_model") or "", (last or {}).get("teacher_revision"))
    first, call = _calls(order, present, info, kind, repeat, last)
    if present.guessed:  # other draws have seeds that only the teacher's profile gives
        first = call = replace(call, sequel=None)
    known: dict[tuple[str, int], str] = {}
    left = unsettled(first, info, present.answered, known)
    if last is None:
        because = "not asked yet" if left else "it would not be asked: another answer stands in its place"
        return Compared(asks_again=left is not None, because=because, prompt=call.prompt)
    call = _budgeted(call, info, lines)
    key = _key(call, kind)
    parts = () if last["strategy"] == "human" else tuple(_parts(present, call, key, last))
    changed = [part for part in parts if part.state == "changed"]
    if left is None:
        because = _kept(known.get((kind, repeat)), lines, bool(changed))
        if present.info is None and last["teacher_model"] and not changed:
            because += f", as long as the teacher is still {info.named}"
    elif last["strategy"] == "human":
        because = "it would be asked: the text was taken from the source, and is not any more"
    elif changed:
        because = f"it would be asked again: {_listed([part.part for part in changed])} changed"
    else:
        because = _open(left, key, last)
    if left is not None and left.repeat == repeat:
        key = _key(left, kind)
    return Compared(asks_again=left is not None, because=because, parts=parts, prompt=call.prompt, call_key=key)


def _taken(order: Order, sample: Mapping[str, Any], kind: str, lines: Sequence[Mapping[str, Any]]) -> Compared:
    """A text that is taken from the source."""
    text = sample[COLUMN].strip()
    ids = {name: sample[name] for name in ("sample_id", "dataset", "split")}
    key = human_line(**ids, kind=kind, text=text)["call_key"]
    if lines and lines[-1]["call_key"] == key:
        return Compared(asks_again=False, because="nothing changed: the text is the source's own", call_key=key)
    if any(line["call_key"] == key for line in lines):
        because = "nobody would be asked: the source's own text is taken up again"
    elif lines and lines[-1]["strategy"] == "human":
        because = "nobody would be asked: the source's own text has changed, and is taken again"
    else:
        because = "nobody would be asked: the source's own text is taken"
    return Compared(asks_again=False, because=because, call_key=key)


def _as_it_was(order: Order, parameters: Mapping[str, Any]) -> Order:
    """The order with the sampling of an answer."""
    sampling = {name: value for name, value in parameters.items() if name not in OF_THE_RECIPE}
    ours = {name: value for name, value in order.parameters.items() if name in OF_THE_RECIPE}
    return replace(order, parameters={**sampling, **ours}, seed=None)


def _calls(
    order: Order, present: Present, info: Info, kind: str, repeat: int, last: Mapping[str, Any] | None
) -> tuple[Call, Call]:
    """The call that a run would begin with, and the one that stands in the place of the last answer."""
    sample = present.sample
    if order.prompts.profile.one_call is not None:
        kinds = tuple(one for one in order.kinds if one != order.human or not has_human(sample))
        call = order.call(sample, info, kinds[0], repeat, template="one_call", parts=kinds)
        return call, call
    if order.draws(kind):
        star = Star(order, sample, info, present.answered)
        hinted = last is not None and last["strategy"] == HINTED
        return star.draw(), star.hinted(repeat) if hinted else star.draw(repeat)
    call = order.call(sample, info, kind, repeat)
    return call, call


def _budgeted(call: Call, info: Info, lines: Sequence[Mapping[str, Any]]) -> Call:
    """The call with twice the budget, where the last answer is a second one after a cut one."""
    last = lines[-1]
    if not call.can_be_extended:
        return call
    longer = call.with_twice_the_budget(info)
    budget = _budget(last)
    cut = [_budget(line) for line in lines[:-1] if line["status"] == "truncated"]
    is_second = budget is not None and any(2 * one == budget for one in cut if one is not None)
    return longer if is_second or last["call_key"] in longer.keys else call


def _budget(line: Mapping[str, Any]) -> int | None:
    found = orjson.loads(line["parameters"]).get("max_new_tokens") if line["parameters"] else None
    return int(found) if found is not None else None


def _key(call: Call, kind: str) -> str:
    return dict(zip(call.parts or (call.kind,), call.keys, strict=True))[kind]


def _parts(present: Present, call: Call, key: str, last: Mapping[str, Any]) -> Iterator[KeyPart]:
    """Every part of the key, in its order."""
    equal, info = key == last["call_key"], present.info
    yield KeyPart(part="kind", state="same", old=last["kind"], new=last["kind"])
    digest = prompt_digest(call.prompt)
    if digest == last["prompt_sha256"]:
        yield KeyPart(part="prompt", state="same", old=digest, new=digest)
    else:
        note, old = present.origin_of(last)
        yield KeyPart(
            part="prompt",
            state="changed",
            old=last["prompt_sha256"],
            new=digest,
            note=note,
            diff=_diff(old, call.prompt) if old is not None else "",
        )
    yield _parameters(call, last, equal, digest == last["prompt_sha256"])
    for part, name in (("model", "teacher_model"), ("revision", "teacher_revision")):
        if info is None:
            yield KeyPart(part=part, state="unknown", old=last[name], note="the teacher was not asked for it")
            continue
        new = info.model if part == "model" else info.revision
        yield KeyPart(part=part, state="same" if new == last[name] else "changed", old=last[name], new=new)
    yield KeyPart(part="sample id", state="same", old=last["sample_id"], new=call.sample_id)
    yield KeyPart(part="repeat", state="same", old=last["repeat"], new=call.repeat)


def _diff(old: Prompt, new: Prompt) -> str:
    """The lines that differ."""
    one, other = (
        prompt.splitlines()
        if isinstance(prompt, str)
        else [f"{m['role']}: {line}" for m in prompt for line in m["content"].splitlines()]
        for prompt in (old, new)
    )
    lines = [line for line in difflib.unified_diff(one, other, n=1, lineterm="") if not line.startswith(("---", "+++"))]
    more = [f"… {len(lines) - DIFF_LINES} more lines"] if len(lines) > DIFF_LINES else []
    return "\n".join([*lines[:DIFF_LINES], *more])


def _parameters(call: Call, last: Mapping[str, Any], is_equal: bool, prompt_is_same: bool) -> KeyPart:
    new = orjson.loads(call.asked_with)
    if last["parameters"] is None:
        if is_equal:
            return KeyPart(part="parameters", state="same", old=new, new=new)
        note = "the answer was recorded before parameters were kept, so it cannot be told which"
        return KeyPart(part="parameters", state="unknown", new=new, note=note)
    old = orjson.loads(last["parameters"])
    differing = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if not differing:
        return KeyPart(part="parameters", state="same", old=old, new=new)
    one, other = ({name: values.get(name) for name in differing} for values in (old, new))
    note = "of the second request, which has twice the room since the first answer was cut" if call.extended else ""
    return KeyPart(part="parameters", state="changed", old=one, new=other, note=note)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _kept(key: str | None, lines: Sequence[Mapping[str, Any]], has_changed: bool) -> str:
    """Why nothing is asked."""
    if key is not None and key != lines[-1]["call_key"]:
        when = next(line["created_at"] for line in reversed(lines) if line["call_key"] == key)
        return f"it would not be asked again: the answer of {when:%Y-%m-%d %H:%M:%S} UTC is taken up again"
    if has_changed:
        return "it would not be asked again: another answer stands in its place"
    if (lines[-1]["failure"] or "").startswith(REFUSED):
        return "nothing changed: it was refused for good, and would not be asked again"
    return "nothing changed: it would not be asked again"


def _open(left: Call, key: str, last: Mapping[str, Any]) -> str:
    """Why something is asked though no part has changed."""
    if (last["failure"] or "").startswith(EXHAUSTED):
        return "nothing changed, but every attempt failed: it would be asked again"
    if left.extended and last["status"] == "truncated":
        return "nothing changed, but it was cut: it would be asked once more with twice the room"
    if left.strategy in (DRAW, HINTED) and key == last["call_key"]:
        following = "the hinted question" if left.strategy == HINTED else f"draw {left.repeat}"
        return f"nothing changed, but no chain reaches the answer: {following} comes next"
    if left.parts and key == last["call_key"]:
        return "nothing changed, but another text of the same request is missing: it would be asked again"
    return "it would be asked again: its key is another one, in a part that cannot be told"
