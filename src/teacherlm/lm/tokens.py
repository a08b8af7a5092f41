"""Text to token ids and back: offsets for the caller, whole characters for the reader of a stream.

The Rust tokenizer is used directly. Transformers' call interface sets truncation and padding on the shared object,
which raises "Already borrowed" when another thread decodes at that moment; `encode` and `decode` here change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import Mistake

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BROKEN = "\ufffd"
"""What decoders write for bytes that are no character (yet)."""

CONTEXT = 5
"""Prompt tokens that precede a stream: enough for tokenizers whose spaces depend on the word before. Source: TGI."""


class Tokens:
    """A tokenizer that several threads may use at once."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a transformers tokenizer.

        Raises:
            Mistake: the tokenizer has no Rust backend (no `tokenizer.json`).
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise Mistake(
                "the model's tokenizer has no tokenizer.json",
                "convert it once: AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER)",
            )
        self._backend: Tokenizer = backend
        self._backend.no_truncation()
        self._backend.no_padding()
        self.special: frozenset[int] = frozenset(tokenizer.all_special_ids) | frozenset(
            token_id for token_id, token in self._backend.get_added_tokens_decoder().items() if token.special
        )
        """Ids of control tokens; their text never belongs to what the model says."""

        self._alone = (json.loads(self._backend.to_str()).get("decoder") or {}).get("type") == "ByteLevel"
        self._pieces: dict[int, str | None] = {}

    def piece(self, token_id: int) -> str | None:
        """The text of a token wherever it stands; None where it depends on its neighbours.

        Byte-level tokenizers join the bytes of their tokens, so that a token of whole characters always reads alike.
        """
        if token_id not in self._pieces:
            text = self.decode([token_id]) if self._alone else BROKEN
            self._pieces[token_id] = None if BROKEN in text else text
        return self._pieces[token_id]

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Ids of `text`; `special` adds what the tokenizer puts around a text (often a begin token)."""
        return list(self._backend.encode(text, add_special_tokens=special).ids)

    def spans(self, text: str, *, special: bool = True) -> list[tuple[int, int, int]]:
        """`(id, start, stop)` per token; offsets in characters of `text`."""
        encoding = self._backend.encode(text, add_special_tokens=special)
        return [(token, start, stop) for token, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens included."""
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    def stream(self, prompt_ids: Sequence[int]) -> TextStream:
        """A reader for the tokens that follow `prompt_ids`."""
        return TextStream(self, [token for token in prompt_ids[-CONTEXT:] if token not in self.special])


class TextStream:
    """Turns tokens into text one at a time; characters come whole.

    A token that ends inside a character gives "" and its text comes with the token that completes it, so the pieces
    joined are the text. What is still incomplete when generation ends is never given out.

    Source: TGI's `decode_token` (prefix and read offsets).
    """

    def __init__(self, tokens: Tokens, context: list[int]) -> None:
        self._tokens = tokens
        self._ids = context
        self._seen = tokens.decode(context)
        self._read = len(context)
        self._whole = not self._seen.endswith(BROKEN)

    def push(self, token_id: int) -> str:
        """The text that became readable with this token; "" while a character is incomplete."""
        if self._whole and (alone := self._tokens.piece(token_id)) is not None:
            self._ids, self._read, self._seen = [token_id], 1, alone
            return alone
        self._ids.append(token_id)
        now = self._tokens.decode(self._ids)
        if len(now) <= len(self._seen) or now.endswith(BROKEN):
            self._whole = False
            return ""
        piece = now[len(self._seen) :]
        # The next token is read in the light of this one; what came before no longer matters.
        self._ids = self._ids[self._read :]
        self._read = len(self._ids)
        self._seen = self._tokens.decode(self._ids)
        self._whole = not self._seen.endswith(BROKEN)
        return piece
