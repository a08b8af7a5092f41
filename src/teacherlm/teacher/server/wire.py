"""TGI's requests and answers: what arrives is typed here, what leaves is shaped here.

Unknown fields are ignored and a wrong type is told as plain text (`Unreadable`), as TGI does.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from teacherlm.lm.generate import Row, Token
from teacherlm.teacher.server.errors import Unreadable

U32 = Annotated[int, Field(ge=0, lt=2**32)]
U64 = Annotated[int, Field(ge=0, lt=2**64)]


class Wire(BaseModel):
    """Strict types (no "3" for 3, no 1 for true), unknown fields ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Open(Wire):
    """As `Wire`; unknown fields are kept in `model_extra`, so that those which matter can be refused."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class Parameters(Open):
    """`parameters` of `/generate`. Values are checked in `validate.py`; here are types only."""

    best_of: U32 | None = None
    temperature: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    do_sample: bool = False
    max_new_tokens: U32 | None = None
    return_full_text: bool | None = None
    stop: tuple[str, ...] = Field(default=(), strict=False)
    truncate: U32 | None = None
    watermark: bool = False
    details: bool = False
    decoder_input_details: bool = False
    seed: U64 | None = None
    top_n_tokens: U32 | None = None
    grammar: dict[str, Any] | None = None
    adapter_id: str | None = None


class Generate(Wire):
    """Body of `/generate`, `/generate_stream` and `/tokenize`."""

    inputs: str
    parameters: Parameters = Parameters(do_sample=True)
    """TGI samples where `parameters` is absent and is greedy where it is given without `do_sample`."""
    add_special_tokens: bool = True


class CompatGenerate(Generate):
    """Body of `/`."""

    stream: bool = False


Body = TypeVar("Body", bound=Wire)


def read(kind: type[Body], raw: bytes) -> Body:
    """Parse a body.

    Raises:
        Unreadable: 400 if it is not JSON, 422 if a field is missing or has another type.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Unreadable(400, f"Failed to parse the request body as JSON: {error}") from None
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        what = f"missing field `{place}`" if first["type"] == "missing" else f"{place or 'body'}: {first['msg']}"
        raise Unreadable(422, f"Failed to deserialize the JSON body into the target type: {what}") from None


def token_json(token: Token) -> dict[str, Any]:
    return {"id": token.id, "text": token.text, "logprob": token.logprob, "special": token.special}


def _top_json(token: Token) -> list[dict[str, Any]]:
    return [token_json(top) for top in token.top]


def answer_json(rows: list[Row], prompt: str, *, details: bool) -> dict[str, Any]:
    """One `/generate` answer.

    Args:
        rows: the best row first, then the others of `best_of`.
        prompt: put before each text; "" without `return_full_text`.
        details: whether the caller wants them.
    """
    best, *others = rows
    answer: dict[str, Any] = {"generated_text": prompt + best.text}
    if details:
        answer["details"] = _details_json(best)
        if others:
            answer["details"]["best_of_sequences"] = [
                {"generated_text": prompt + row.text, **_details_json(row)} for row in others
            ]
    return answer


def _details_json(row: Row) -> dict[str, Any]:
    details: dict[str, Any] = {
        "finish_reason": row.finish_reason,
        "generated_tokens": len(row.tokens),
        "seed": row.request.sampling.seed,
        "prefill": [{"id": token.id, "text": token.text, "logprob": token.logprob} for token in row.prompt],
        "tokens": [token_json(token) for token in row.tokens],
    }
    if row.request.top_tokens:
        details["top_tokens"] = [_top_json(token) for token in row.tokens]
    return details


def stream_json(index: int, token: Token, done: Row | None, prompt: str, *, details: bool) -> dict[str, Any]:
    """One event of `/generate_stream`; `index` counts from 1."""
    event: dict[str, Any] = {"index": index, "token": token_json(token)}
    if token.top:
        event["top_tokens"] = _top_json(token)
    event["generated_text"] = prompt + done.text if done else None
    event["details"] = None
    if done and details:
        event["details"] = {
            "finish_reason": done.finish_reason,
            "generated_tokens": len(done.tokens),
            "seed": done.request.sampling.seed,
            "input_length": len(done.request.prompt_ids),
        }
    return event


def sse(value: object) -> bytes:
    """One server-sent event."""
    return b"data:" + orjson.dumps(value) + b"\n\n"
