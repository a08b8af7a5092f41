"""Which protocol a server speaks, and which of its models is meant: asked once, before the first prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import orjson

from teacherlm.core.errors import Mistake
from teacherlm.teacher.errors import TeacherAbsent, TeacherLost
from teacherlm.teacher.openai import LLAMA_CPP, Card, OpenAI, read_models
from teacherlm.teacher.tgi import TGI, read_info
from teacherlm.teacher.wire import NOT_READY, Info, Wire, read_error, read_json

Look = Callable[[str, bytes | None], Awaitable[tuple[int, bytes]]]
"""Asks a path of the server, with a body or without; gives status and body."""

SHOWN = 8
"""Models that a message names."""

ONE_TOKEN = orjson.dumps({"prompt": "a", "max_tokens": 1, "temperature": 0.0})
"""A request without a model: who serves one alone answers and says which."""


async def discover(
    look: Look, url: str, *, wants_openai: bool = False, model: str | None = None, secret: str | None = None
) -> tuple[Wire, Info]:
    """Find out who answers.

    Args:
        url: for messages.
        wants_openai: speak OpenAI's protocol also where TGI's is understood.
        model: the one to take of several; None: there is one.
        secret: what an error must not show.

    Raises:
        TeacherAbsent: it is not ready.
        TeacherLost: it is no teacher, or does not let us in.
        Mistake: it has no such model, or several and none was chosen.
    """
    told_status, body = await look("/info", None)
    told = read_info(told_status, body)
    if told is not None:
        if model not in (None, told.model):
            raise _not_there(url, str(model), [told.model])
        return (OpenAI(told.model, is_tgi=True) if wants_openai else TGI()), told
    if not wants_openai:
        _stop_if_closed(url, "/info", told_status, body, secret)
    status, body = await look("/v1/models", None)
    _stop_if_closed(url, "/v1/models", status, body, secret)
    cards = read_models(status, body)
    ids = [card.id for card in cards or ()]
    if model not in ids and all(card.is_bare for card in cards or ()) and await _is_transformers(look):
        return await _of_transformers(look, url, ids, model)
    if cards is None:
        raise TeacherLost(
            f"{url} answers, but is not text-generation-inference (GET /info: {told_status}),"
            f" and lists no models as OpenAI's servers do (GET /v1/models: {status})",
            "give the root URL of a TGI server or of an OpenAI-compatible one, or start one: teacherlm serve MODEL",
        )
    card = _chosen(url, cards, model)
    return OpenAI(card.id, is_llama_cpp=card.owner == LLAMA_CPP), card.info


def _stop_if_closed(url: str, path: str, status: int, body: bytes, secret: str | None) -> None:
    if status in (401, 403):
        raise read_error(status, body, secret)
    if status in NOT_READY:
        raise TeacherAbsent(
            f"the teacher at {url} is not ready (GET {path}: {status})",
            "wait until it has loaded its model and run again",
        )


def _chosen(url: str, cards: Sequence[Card], model: str | None) -> Card:
    if model is not None:
        found = next((card for card in cards if card.id == model), None)
        if found is None:
            raise _not_there(url, model, [card.id for card in cards])
        return found
    if not cards:
        raise TeacherLost(f"{url} serves no model", "start it with one")
    if len(cards) > 1:
        raise _which(url, [card.id for card in cards])
    return cards[0]


def _which(url: str, ids: Sequence[str]) -> Mistake:
    return Mistake(
        f"{url} serves {_named(ids) if ids else 'whatever model it is asked for'}",
        f"choose one: write  model: {ids[0] if ids else 'NAME'}  into the teacher's profile in catalog.yaml",
        "--teacher",
    )


def _not_there(url: str, model: str, ids: Sequence[str]) -> Mistake:
    return Mistake(
        f"{url} does not serve `{model}`; it serves {_named(ids)}",
        "write one of these as `model` into the teacher's profile, or leave `model` out where there is one",
        "--teacher",
    )


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(f"`{one}`" for one in ids[:SHOWN]) + more if ids else "none"


async def _is_transformers(look: Look) -> bool:
    """Whether it is `transformers serve`: it lists the models of the Hub's cache, and not the one that it serves."""
    status, body = await look("/openapi.json", None)
    description = read_json(body) if status == 200 else None
    paths = description.get("paths") if isinstance(description, dict) else None
    return isinstance(paths, dict) and "/load_model" in paths


async def _of_transformers(look: Look, url: str, cached: Sequence[str], model: str | None) -> tuple[Wire, Info]:
    """`transformers serve MODEL` has one model and takes no other; without MODEL it loads whatever it is asked for."""
    status, body = await look("/v1/completions", ONE_TOKEN)
    answer = read_json(body) if status == 200 else None
    if isinstance(answer, dict) and isinstance(answer.get("model"), str):
        served = answer["model"].removesuffix(MAIN)
        if model is not None and model.removesuffix(MAIN) != served:
            raise _not_there(url, model, [served])
        return OpenAI(None), _info_of(served)
    if model is None and len(cached) != 1:
        raise _which(url, cached)
    chosen = cached[0] if model is None else model
    return OpenAI(chosen), _info_of(chosen)


MAIN = "@main"
"""What stands behind a model's name where no revision was asked for: a branch, so it tells none."""


def _info_of(model: str) -> Info:
    name, _, revision = model.removesuffix(MAIN).partition("@")
    return Info(name, revision or None)
