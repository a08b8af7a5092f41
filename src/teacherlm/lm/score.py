"""Log-likelihoods of continuations, by the conventions of lm-evaluation-harness 0.4.13.

Blanks at the end of a context move to its continuation. Both are encoded as one text and cut where the context's own
encoding ends, so that a token which spans the border belongs to the continuation. What is longer than the model's
window is cut from the left. Source: `lm_eval/api/model.py` (`_encode_pair`), `lm_eval/models/huggingface.py`
(`_loglikelihood_tokens`).

Continuations of one context, as the options of a question are, share one pass over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from teacherlm.lm.forward import Forward, layers, padded
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.tokens import Tokens

BATCH_TOKENS = 8192
"""Padded tokens of one pass over contexts or continuations."""


@dataclass(frozen=True, slots=True)
class LogLikelihood:
    """How likely a model finds one continuation."""

    sum: float
    """Natural logarithm, over all tokens of the continuation."""
    greedy: bool
    """Whether each of its tokens is the likeliest one."""
    tokens: int
    characters: int
    """Of the continuation as given."""
    cut: int
    """Tokens of the context that did not fit into the window."""


@dataclass(frozen=True, slots=True)
class _Pair:
    place: int
    context: tuple[int, ...]
    continuation: tuple[int, ...]
    cut: int


def score(
    loaded: LoadedModel, requests: Sequence[tuple[str, str]], *, batch_tokens: int = BATCH_TOKENS
) -> list[LogLikelihood]:
    """Log-likelihoods of continuations, in the order of the requests.

    Args:
        loaded: the model.
        requests: `(context, continuation)`; an empty context stands for the model's begin (or end) token.
        batch_tokens: most padded tokens of one pass; a single text may exceed it.

    Raises:
        ValueError: a continuation without tokens; names its position.
    """
    tokens = Tokens(loaded.tokenizer)
    pairs = [_encoded(loaded, tokens, place, *request) for place, request in enumerate(requests)]
    together: dict[tuple[int, ...], list[_Pair]] = {}
    for pair in pairs:
        together.setdefault(pair.context, []).append(pair)
    found: list[LogLikelihood | None] = [None] * len(pairs)
    # Long ones first: what does not fit into memory shows at once.
    groups = sorted(together.values(), key=lambda group: (-len(group[0].context), group[0].place))
    forward = Forward(loaded)
    for batch in _batches(groups, batch_tokens):
        for pair, total, greedy in _read(forward, batch, loaded.device, batch_tokens):
            characters = len(requests[pair.place][1])
            found[pair.place] = LogLikelihood(total, greedy, len(pair.continuation), characters, pair.cut)
    return [one for one in found if one is not None]


def _encoded(loaded: LoadedModel, tokens: Tokens, place: int, context: str, continuation: str) -> _Pair:
    bare = context.rstrip()
    before = tokens.encode(bare) if bare else []
    if before:
        joint = tokens.encode(context + continuation)
    else:
        start = getattr(loaded.tokenizer, "bos_token_id", None)
        joint = tokens.encode(context + continuation, special=False)
        before = [start if start is not None else min(loaded.eos_ids)]
        if joint[:1] != before:
            joint = before + joint
    told = tuple(joint[len(before) :])
    if not told:
        raise ValueError(f"the continuation at position {place} has no tokens")
    # The last token of all is only predicted, never read.
    whole = joint[: len(before)]
    cut = max(0, len(whole) + len(told) - 1 - loaded.max_total_tokens)
    if cut >= len(whole):
        raise ValueError(f"the continuation at position {place} has {len(told)} tokens, more than the model's window")
    return _Pair(place, tuple(whole[cut:]), told, cut)


def _batches(groups: Sequence[list[_Pair]], most: int) -> list[list[list[_Pair]]]:
    """Contexts that are read together; the first of a batch is its longest."""
    batches: list[list[list[_Pair]]] = []
    for group in groups:
        if batches and len(batches[-1][0][0].context) * (len(batches[-1]) + 1) <= most:
            batches[-1].append(group)
        else:
            batches.append([group])
    return batches


@torch.inference_mode()
def _read(forward: Forward, groups: Sequence[list[_Pair]], device: str, most: int) -> list[tuple[_Pair, float, bool]]:
    """One pass over the contexts; then one over all but the last token of the continuations that are longer."""
    ids, mask = padded([group[0].context for group in groups], device, left=True)
    cache = DynamicCache()
    logits = forward(ids, mask, cache, keep=1)[:, -1].float().log_softmax(dim=-1)
    likeliest = logits.argmax(dim=-1)
    done: list[tuple[_Pair, float, bool]] = []
    longer: list[tuple[int, _Pair, float, bool]] = []
    for row, group in enumerate(groups):
        firsts = [pair.continuation[0] for pair in group]
        values = logits[row, torch.tensor(firsts, device=logits.device)].tolist()
        best = int(likeliest[row])
        for pair, first, value in zip(group, firsts, values, strict=True):
            if len(pair.continuation) == 1:
                done.append((pair, value, first == best))
            else:
                longer.append((row, pair, value, first == best))
    longer.sort(key=lambda one: -len(one[1].continuation))
    width = ids.shape[1]
    while longer:
        # The cache is copied for each continuation, so that its columns count as well.
        count = max(1, most // (width + len(longer[0][1].continuation)))
        part, longer = longer[:count], longer[count:]
        done += _continue(forward, part, cache, mask)
    return done


def _continue(
    forward: Forward, part: Sequence[tuple[int, _Pair, float, bool]], cache: DynamicCache, mask: Tensor
) -> list[tuple[_Pair, float, bool]]:
    """Read continuations behind their contexts, padded on the right."""
    ids, here = padded([pair.continuation[:-1] for _, pair, _, _ in part], str(mask.device), left=False)
    rows = torch.tensor([row for row, _, _, _ in part], device=mask.device)
    own = DynamicCache()
    for index, layer in enumerate(layers(cache)):
        own.update(layer.keys[rows], layer.values[rows], index)
    logits = forward(ids, torch.cat([mask[rows], here], dim=1), own, keep=0).float().log_softmax(dim=-1)
    following, _ = padded([pair.continuation[1:] for _, pair, _, _ in part], str(mask.device), left=False)
    values = (logits.gather(2, following[:, :, None])[:, :, 0] * here).sum(dim=1).tolist()
    greedy = ((logits.argmax(dim=-1) == following) | (here == 0)).all(dim=1).tolist()
    return [
        (pair, first + value, is_best and all_best)
        for (_, pair, first, is_best), value, all_best in zip(part, values, greedy, strict=True)
    ]
