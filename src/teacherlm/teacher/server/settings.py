"""Limits of one server."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server allows; `/info` reports it."""

    max_concurrent_requests: int = 128
    """Requests held at once, waiting or writing; one more is answered 429."""
    max_batch_size: int = 32
    """Rows written at once."""
    max_best_of: int = 2
    max_stop_sequences: int = 4
    max_top_n_tokens: int = 5
    max_client_batch_size: int = 4
    """Prompts in one `/v1/completions` request."""
    payload_limit: int = 2_000_000
    """Bytes of a request's body."""
    api_key: str | None = field(default=None, repr=False)
    """What every POST (but `/chat_tokenize`) must bear; None: open."""
