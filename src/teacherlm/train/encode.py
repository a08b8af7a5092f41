"""Rendered records as tokens, each with the part of the text that it belongs to.

A text is encoded once, whole. Where the tokens of the prompt alone are the beginning of those (with byte-level BPE and
SentencePiece they are, since every part begins with a blank), the parts are read off the characters that the tokens
stand for. Where a token reaches over the end of the prompt, prompt and response are encoded apart, as they are when an
evaluation asks and the model writes: nothing that a prompt contains is ever trained as response. Such texts are
counted. Between two parts of the response, a token that reaches over belongs to the later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

    from teacherlm.project.layouts import Piece, Rendered

PARTS = ("prompt", "answer", "fundamentals", "chain_of_thought", "common_mistakes", "options")
"""Parts that a loss may weigh; a token's part is its place in this list. All of the prompt is `prompt`."""

_PLACE = {part: place for place, part in enumerate(PARTS)}


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text."""

    ids: list[int]
    """Tokens; the last one is the end token."""
    parts: bytes
    """For each token its place in `PARTS`; the end token belongs to the last part."""
    prompt: int
    """Tokens of the prompt, which come first."""
    apart: bool = False
    """Prompt and response were encoded apart, since a token reached over the end of the prompt."""


class Encoder:
    """A tokenizer as training uses it."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a transformers tokenizer.

        Raises:
            Mistake: it has no Rust backend or no end token.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise Mistake(
                "the tokenizer has no tokenizer.json",
                "convert it once: AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER)",
            )
        if tokenizer.eos_token_id is None:
            raise Mistake(
                "the tokenizer has no end token, so a model trained with it would never stop",
                "set eos_token in its tokenizer_config.json",
            )
        self._backend: Tokenizer = backend
        self._backend.no_truncation()
        self._backend.no_padding()
        self._end = int(tokenizer.eos_token_id)
        self.fingerprint = digest([self._backend.to_str(), self._end])
        """Equal exactly where the same text gives the same tokens."""

    def encode(self, rendered: Sequence[Rendered]) -> list[Encoded]:
        """Texts as tokens, in the order given."""
        wholes = self._backend.encode_batch([one.text for one in rendered])
        prompts = list(dict.fromkeys(one.prompt_text for one in rendered))
        asked = dict(zip(prompts, map(self._ids, self._backend.encode_batch_fast(prompts)), strict=True))
        return [self._one(one, whole, asked[one.prompt_text]) for one, whole in zip(rendered, wholes, strict=True)]

    def _ids(self, encoding: Encoding) -> list[int]:
        """Tokens without the end token that some tokenizers put after every text."""
        ids: list[int] = encoding.ids
        while ids and ids[-1] == self._end and encoding.special_tokens_mask[len(ids) - 1]:
            ids = ids[:-1]
        return ids

    def _one(self, rendered: Rendered, whole: Encoding, prompt: list[int]) -> Encoded:
        ids, asked = self._ids(whole), len(rendered.prompt_text)
        if ids[: len(prompt)] == prompt:
            parts = _parts(whole, rendered.response, asked, len(prompt), len(ids))
            return self._ended(ids, len(prompt), parts)
        response = rendered.text[asked:]
        text = self._backend.decode(ids, skip_special_tokens=False)
        # Some tokenizers put a blank before every text by themselves.
        for shift in {0, len(response) - len(response.lstrip(" "))}:
            tail = self._backend.encode(response[shift:], add_special_tokens=False)
            if self._backend.decode([*prompt, *tail.ids], skip_special_tokens=False) == text:
                parts = _parts(tail, rendered.response, -shift, 0, len(tail.ids))
                return self._ended([*prompt, *tail.ids], len(prompt), parts, apart=True)
        # No two encodings give the text back: the token that reaches over the end is left to the prompt.
        first = _token_at(whole, asked, len(rendered.text), len(ids))
        first += first < len(ids) and whole.offsets[first][0] < asked
        return self._ended(ids, first, _parts(whole, rendered.response, asked, first, len(ids)), apart=True)

    def _ended(self, ids: list[int], prompt: int, parts: bytes, *, apart: bool = False) -> Encoded:
        last = parts[-1:] or bytes(1)
        return Encoded([*ids, self._end], bytes(prompt) + parts + last, prompt, apart)


def _parts(encoding: Encoding, pieces: Sequence[Piece], start: int, first: int, stop: int) -> bytes:
    """The parts of the tokens from `first` to `stop`; `start` is the character at which the pieces begin."""
    places = []
    end = start + sum(len(piece.text) for piece in pieces)
    for piece in pieces[:-1]:
        start += len(piece.text)
        token = min(max(_token_at(encoding, start, end, stop), first), stop)
        places.append(bytes([_PLACE[piece.part]]) * (token - first))
        first = token
    places.append(bytes([_PLACE[pieces[-1].part]]) * (stop - first))
    return b"".join(places)


def _token_at(encoding: Encoding, character: int, end: int, stop: int) -> int:
    """The first token that holds the character, or one after it and before `end`; `stop` where there is none."""
    for place in range(max(character, 0), end):
        token: int | None = encoding.char_to_token(place)
        if token is not None:
            return token
    return stop
