"""Log-probabilities in OpenAI's two shapes: that of completions, with the prompt where it is echoed, and that of chats.

Source: OpenAI's API reference, "Completions (legacy)" and "Chat"; vLLM's entry points where it leaves something open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from teacherlm.lm.generate import Row, Token
from teacherlm.lm.tokens import Tokens

LEAST = -9999.0
"""What stands for minus infinity, which JSON does not have. Source: vLLM."""


def echoed(tokens: Tokens, row: Row, prompt: str | Sequence[int]) -> tuple[str, list[Token]]:
    """The prompt's text, and its tokens with the text that each adds to it.

    Args:
        row: with `prompt` filled if its log-probabilities were asked for.
        prompt: as it was given; of token ids the text is what they read as.
    """
    stream = tokens.stream(())
    pieces = [
        tokens.decode([token]) if token in tokens.special else stream.push(token) for token in row.request.prompt_ids
    ]
    told = [
        Token(token.id, piece, token.logprob, token.special, token.top)
        for token, piece in zip(row.prompt, pieces, strict=False)
    ]
    return (prompt if isinstance(prompt, str) else "".join(pieces)), told


def completion_logprobs(told: Sequence[Token], text: str, start: int = 0) -> dict[str, Any]:
    """The four lists of a completion's `logprobs`, one entry per token.

    Args:
        told: the tokens of `text`, and control tokens, which are no part of it.
        text: prompt and answer, or what is sent of them.
        start: characters of the choice that were sent before.
    """
    offsets, place = [], 0
    for token in told:
        offsets.append(start + place)
        if text.startswith(token.text, place):
            place += len(token.text)
    return {
        "tokens": [token.text for token in told],
        "token_logprobs": [_finite(token.logprob) for token in told],
        "top_logprobs": [_likeliest(token) for token in told],
        "text_offset": offsets,
    }


def _likeliest(token: Token) -> dict[str, float | None] | None:
    """Log-probabilities by text, the token's own always among them; None beside a prompt's first token."""
    if token.logprob is None:
        return None
    found: dict[str, float | None] = {}
    # Of several tokens with one text the best stays.
    for one in (*token.top, token):
        found.setdefault(one.text, _finite(one.logprob))
    return found


def chat_logprobs(told: Sequence[Token]) -> dict[str, Any]:
    """The `logprobs` of a chat's choice."""
    return {
        "content": [{**_chat_token(token), "top_logprobs": [_chat_token(one) for one in token.top]} for token in told]
    }


def _chat_token(token: Token) -> dict[str, Any]:
    return {"token": token.text, "logprob": _finite(token.logprob), "bytes": list(token.text.encode())}


def _finite(logprob: float | None) -> float | None:
    """NaN stays, and becomes null in JSON."""
    return LEAST if logprob is not None and logprob < LEAST else logprob
