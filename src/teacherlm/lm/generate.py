"""Batched generation with a loop of our own over the KV cache.

`transformers.generate` has one set of parameters and one random state per batch, and gives nothing back before the
whole batch has ended. Here every row has its own parameters and seed, rows join a running batch and leave it the moment
they are finished.

The batch is padded on the left: columns of keys, values and mask are aligned at the newest token (`cache.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from teacherlm.lm.cache import RunningCache, compacted
from teacherlm.lm.forward import Forward
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.prefill import LOGITS, Told, read_told
from teacherlm.lm.prompts import read
from teacherlm.lm.sampling import GREEDY, Chooser, Sampling, choose
from teacherlm.lm.tokens import Tokens

FinishReason = Literal["length", "eos_token", "stop_sequence"]

_TAIL = 300
"""Characters of a row's text that are searched for its stop strings; longer stop strings widen it."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one row is asked for."""

    prompt_ids: tuple[int, ...]
    """At least one token."""
    max_new_tokens: int
    """At least 1; with the prompt at most the model's window."""
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    """The row ends after the token with which its text ends with one of these; they stay in the text."""
    top_tokens: int = 0
    """How many of the likeliest tokens are reported beside each chosen one."""
    prompt_logprobs: bool = False
    prompt_top_tokens: int = 0
    """With `prompt_logprobs`: how many of the likeliest tokens are reported beside each one of the prompt."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token, of the answer or of the prompt."""

    id: int
    text: str
    """Whole characters only: "" while one is incomplete."""
    logprob: float | None
    """Natural logarithm; None for the first token of a prompt."""
    special: bool
    top: tuple[Token, ...] = ()


class Row:
    """One request on its way: what it has said so far, and why it ended."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.tokens: list[Token] = []
        self.prompt: list[Token] = []
        """Filled if `prompt_logprobs` was asked."""
        self.finish_reason: FinishReason | None = None
        self.gap = 0
        """Columns of padding that the cache has inside the row."""
        self._pieces: list[str] = []
        self._tail = ""

    @property
    def text(self) -> str:
        """The answer, without control tokens."""
        return "".join(self._pieces)

    @property
    def finished(self) -> bool:
        return self.finish_reason is not None

    @property
    def columns(self) -> int:
        """Columns that the row takes in the cache: all its tokens but the newest, and its gap."""
        return len(self.request.prompt_ids) + len(self.tokens) - 1 + self.gap

    def add(self, token: Token, ends: frozenset[int]) -> None:
        """Take the next token and see whether the row ends with it. Source for the order of checks: TGI."""
        self.tokens.append(token)
        if not token.special:
            self._pieces.append(token.text)
        if len(self.tokens) >= self.request.max_new_tokens:
            self.finish_reason = "length"
        elif token.id in ends:
            self.finish_reason = "eos_token"
        elif self.request.stop:
            self._tail = (self._tail + token.text)[-max(_TAIL, *map(len, self.request.stop)) :]
            if token.text and self._tail.endswith(self.request.stop):
                self.finish_reason = "stop_sequence"


class Batch:
    """The rows that are being generated. Not for use by several threads at once."""

    def __init__(self, loaded: LoadedModel, tokens: Tokens | None = None) -> None:
        self.loaded = loaded
        self.tokens = tokens or Tokens(loaded.tokenizer)
        self.rows: list[Row] = []
        self._choosers: list[Chooser] = []
        self._streams: list[Any] = []
        self._words: dict[int, str] = {}
        self._cache = RunningCache(loaded.device)
        self._forward = Forward(loaded)

    @torch.inference_mode()
    def join(self, rows: Sequence[Row]) -> None:
        """Read the prompts of new rows, choose their first tokens, and add those which go on.

        If the model raises, the rows that were already running are untouched.
        """
        device = self.loaded.device
        prompts = [row.request.prompt_ids for row in rows]
        if any(row.request.prompt_logprobs for row in rows):
            top = max(row.request.prompt_top_tokens for row in rows)
            found, told = read_told(self._forward, prompts, top, device, LOGITS // len(self.loaded.tokenizer))
            for row, one in zip(rows, told, strict=True):
                row.prompt = self._prompt(row.request, one) if row.request.prompt_logprobs else []
        else:
            found = read(self._forward, prompts, device)
        logits, cache, mask = found.logits, found.cache, found.mask
        for row, gap in zip(rows, found.gaps, strict=True):
            row.gap = gap
        choosers = [Chooser(row.request.sampling, row.request.prompt_ids) for row in rows]
        streams = [self.tokens.stream(row.request.prompt_ids) for row in rows]
        self._take(rows, choosers, streams, logits)
        going = [index for index, row in enumerate(rows) if not row.finished]
        if not going:
            return
        if len(going) < len(rows):
            cache.batch_select_indices(torch.tensor(going, device=device))
            mask = mask[going]
        self._cache.add(cache, mask)
        for index in going:
            self.rows.append(rows[index])
            self._choosers.append(choosers[index])
            self._streams.append(streams[index])

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """One more token for every row. Returns all rows that moved; those which finished have left the batch."""
        if not self.rows:
            return []
        device = self.loaded.device
        moved = self.rows
        newest = torch.tensor([[row.tokens[-1].id] for row in moved], device=device)
        self._cache.grow()
        logits = self._forward(newest, self._cache.mask, self._cache, keep=1)
        self._cache.grown()
        self._take(moved, self._choosers, self._streams, logits[:, -1])
        self._keep([index for index, row in enumerate(moved) if not row.finished])
        return moved

    @torch.inference_mode()
    def leave(self, rows: Sequence[Row]) -> None:
        """Drop rows that nobody waits for any more; unknown rows are ignored."""
        gone = {id(row) for row in rows}
        self._keep([index for index, row in enumerate(self.rows) if id(row) not in gone])

    def clear(self) -> list[Row]:
        """Forget everything, as after a failure of the model. Returns the rows that were running."""
        rows, self.rows, self._choosers, self._streams = self.rows, [], [], []
        self._cache = RunningCache(self.loaded.device)
        return rows

    def _take(self, rows: Sequence[Row], choosers: list[Chooser], streams: list[Any], logits: Tensor) -> None:
        """Choose a token for each row and hand it over."""
        chosen, logprobs = choose(logits, choosers)
        index = torch.tensor(chosen, device=logprobs.device)[:, None]
        values: list[float] = logprobs.gather(1, index)[:, 0].tolist()
        special, ends = self.tokens.special, self.loaded.eos_ids
        for position, (row, stream) in enumerate(zip(rows, streams, strict=True)):
            token = chosen[position]
            control = token in special or token in ends
            text = self.tokens.decode([token]) if control else stream.push(token)
            top = self._top(logprobs[position], row.request.top_tokens) if row.request.top_tokens else ()
            row.add(Token(token, text, values[position], control, top), ends)

    def _top(self, logprobs: Tensor, count: int) -> tuple[Token, ...]:
        best = torch.topk(logprobs, min(count, logprobs.shape[-1]))
        return self._tokens(zip(best.indices.tolist(), best.values.tolist(), strict=True))

    def _tokens(self, best: Iterable[tuple[int, float]]) -> tuple[Token, ...]:
        return tuple(Token(token, self._word(token), value, token in self.tokens.special) for token, value in best)

    def _word(self, token: int) -> str:
        """The text of a token by itself; remembered, since prompts are told token by token."""
        if (word := self._words.get(token)) is None:
            word = self._words[token] = self.tokens.decode([token])
        return word

    def _prompt(self, request: Request, told: Told) -> list[Token]:
        """The prompt's own tokens with what the model thinks of each; nothing precedes the first."""
        first, *others = request.prompt_ids
        likeliest = [one[: request.prompt_top_tokens] for one in told.likeliest] or [()] * len(others)
        return [
            Token(first, self._word(first), None, first in self.tokens.special),
            *(
                Token(token, self._word(token), value, token in self.tokens.special, self._tokens(best))
                for token, value, best in zip(others, told.values, likeliest, strict=True)
            ),
        ]

    def _keep(self, indices: list[int]) -> None:
        """Cut all other rows out of the batch."""
        if len(indices) == len(self.rows):
            return
        if not indices:
            self.clear()
            return
        order, moved = compacted(len(self.rows), indices)
        self.rows = [self.rows[index] for index in order]
        self._choosers = [self._choosers[index] for index in order]
        self._streams = [self._streams[index] for index in order]
        self._cache.keep(order, moved, max(row.columns for row in self.rows))


def generate(loaded: LoadedModel, requests: Sequence[Request], *, batch_size: int = 32) -> Iterator[tuple[int, Row]]:
    """Generate for many requests without a server.

    Args:
        loaded: the model.
        requests: what is asked; rows follow each other in a running batch, those with long prompts first, so that
            prompts of one length, and those that begin alike, are read together.
        batch_size: rows at once.

    Yields:
        `(position in requests, row)` as each row finishes: short ones first.
    """
    batch = Batch(loaded)
    rows = [Row(request) for request in requests]
    places = {id(row): index for index, row in enumerate(rows)}
    waiting = sorted(rows, key=lambda row: (len(row.request.prompt_ids), row.request.prompt_ids))
    while waiting or batch.rows:
        joining = [waiting.pop() for _ in range(min(len(waiting), batch_size - len(batch.rows)))]
        if joining:
            batch.join(joining)
        for row in [row for row in joining if row.finished] + [row for row in batch.step() if row.finished]:
            yield places[id(row)], row
