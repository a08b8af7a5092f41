"""How the next token of each row is chosen.

Every row has its own parameters and its own stream of random numbers. One number is drawn per token and looked up in
the row's cumulative distribution, so what a row says depends on its seed alone: not on its neighbours in the batch, nor
on the device's generator. (A neighbour changes logits by rounding only, about 1e-6 in float32.)

Source for names and order: TGI, `utils/logits_process.py`: penalties, temperature, top_k, top_p, typical_p.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEVER = float("-inf")

COLDEST = 1e-30
"""Lower temperatures are this one: float32 would take them for 0."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one row's tokens are chosen."""

    seed: int | None = None
    """0 … 2**64 − 1. None: greedy, and the temperature and the three filters are not used."""
    temperature: float = 1.0
    """> 0."""
    top_k: int | None = None
    """Only the k likeliest tokens; >= 1."""
    top_p: float | None = None
    """Only the likeliest tokens that together reach this probability; between 0 and 1."""
    typical_p: float | None = None
    """Only the tokens whose surprise is nearest to the expected one, up to this probability (arXiv 2202.00666)."""
    repetition_penalty: float = 1.0
    """> 1 disfavours tokens of the prompt and of the text so far (arXiv 1909.05858)."""
    frequency_penalty: float = 0.0
    """Subtracted from a token's logit for each time that it was generated; −2 … 2."""

    @property
    def filters(self) -> bool:
        return self.top_k is not None or self.top_p is not None or self.typical_p is not None

    @property
    def penalises(self) -> bool:
        return self.repetition_penalty != 1.0 or self.frequency_penalty != 0.0


GREEDY = Sampling()


class Chooser:
    """One row's choices: its parameters, its random numbers and what it has said."""

    def __init__(self, sampling: Sampling, prompt_ids: Sequence[int]) -> None:
        self.sampling = sampling
        self._random = random.Random(sampling.seed)
        self._said: Counter[int] = Counter()
        self._seen = set(prompt_ids) if sampling.repetition_penalty != 1.0 else set()

    def draw(self) -> float:
        """The row's next random number, in [0, 1)."""
        return self._random.random()

    def said(self, token_id: int) -> None:
        """Note a chosen token for the penalties."""
        if self.sampling.penalises:
            self._said[token_id] += 1
            if self.sampling.repetition_penalty != 1.0:
                self._seen.add(token_id)

    def penalise(self, logits: Tensor) -> None:
        """Apply the penalties to this row's logits, shape (vocabulary,), in place."""
        penalty = self.sampling.repetition_penalty
        if penalty != 1.0 and self._seen:
            seen = torch.tensor(sorted(self._seen), device=logits.device)
            values = logits[seen]
            logits[seen] = torch.where(values < 0, values * penalty, values / penalty)
        if self.sampling.frequency_penalty and self._said:
            said = torch.tensor(list(self._said), device=logits.device)
            times = torch.tensor(list(self._said.values()), device=logits.device, dtype=logits.dtype)
            logits[said] -= times * self.sampling.frequency_penalty


def choose(logits: Tensor, rows: Sequence[Chooser]) -> tuple[list[int], Tensor]:
    """Choose one token per row.

    Args:
        logits: shape (rows, vocabulary), any float type; not changed.
        rows: the choosers, in the order of `logits`; each row's chosen token is noted.

    Returns:
        The ids, and the log-probabilities they were chosen by, shape (rows, vocabulary), float32 (after penalties,
        temperature and filters, as TGI reports them).
    """
    scores = logits.float().clone()
    for index, row in enumerate(rows):
        if row.sampling.penalises:
            row.penalise(scores[index])
    sampled = [index for index, row in enumerate(rows) if row.sampling.seed is not None]
    if sampled:
        heat = [max(row.sampling.temperature, COLDEST) if row.sampling.seed is not None else 1.0 for row in rows]
        # From the top down, so that a temperature near 0 gives −inf to the others and never inf to the best.
        scores -= scores.amax(dim=-1, keepdim=True)
        scores /= torch.tensor(heat, device=scores.device)[:, None]
        for index in sampled:
            if rows[index].sampling.filters:
                _filter(scores[index], rows[index].sampling)
    logprobs = torch.log_softmax(scores, dim=-1)
    chosen: list[int] = logprobs.argmax(dim=-1).tolist()
    if sampled:
        points = torch.tensor([[rows[index].draw()] for index in sampled], dtype=torch.float64, device=scores.device)
        # float64: in float32 the sum over a large vocabulary is off by more than a rare token's share.
        cumulative = logprobs[sampled].double().exp().cumsum(dim=-1)
        total = cumulative[:, -1:]
        # right=True steps over tokens of probability zero; the clamp guards the last rounding step.
        found = torch.searchsorted(cumulative, points * total, right=True).clamp_(max=logits.shape[-1] - 1)
        for index, token in zip(sampled, found[:, 0].tolist(), strict=True):
            chosen[index] = int(token)
    for row, token in zip(rows, chosen, strict=True):
        row.said(token)
    return chosen, logprobs


def _filter(scores: Tensor, sampling: Sampling) -> None:
    """Set the tokens that the row's filters exclude to −inf, in place. Shape (vocabulary,)."""
    if sampling.top_k is not None:
        kth = torch.topk(scores, min(sampling.top_k, scores.shape[-1])).values[-1]
        scores[scores < kth] = NEVER
    if sampling.top_p is not None:
        _keep_mass(scores, torch.argsort(scores, descending=True, stable=True), sampling.top_p)
    if sampling.typical_p is not None:
        logprobs = torch.log_softmax(scores, dim=-1)
        entropy = -(logprobs.exp() * logprobs).nansum()
        surprise = (-logprobs - entropy).abs()
        _keep_mass(scores, torch.argsort(surprise, stable=True), sampling.typical_p)


def _keep_mass(scores: Tensor, order: Tensor, mass: float) -> None:
    """Keep the first tokens in `order` that together reach `mass`: at least one."""
    probabilities = torch.softmax(scores, dim=-1)[order]
    before = probabilities.cumsum(dim=-1) - probabilities
    drop = before >= mass
    drop[0] = False
    scores[order[drop]] = NEVER
