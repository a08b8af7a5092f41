"""Log-likelihoods of continuations, the same as lm-evaluation-harness 0.4.13 gives.

How texts become tokens is in `score_pairs.py`, what is read together in `score_plan.py`, and the passes of the model
in `score_passes.py`. Each context is read once, whatever follows it; what many contexts begin with is read once too.

Importing this module loads no torch; calling `score` does.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from teacherlm.core.errors import MachineFailed
from teacherlm.lm.score_pairs import encoded
from teacherlm.lm.score_plan import Context, Group, batched, planned

if TYPE_CHECKING:
    from teacherlm.lm.load import LoadedModel
    from teacherlm.lm.score_options import Answer
    from teacherlm.lm.score_passes import Passes

ON_CPU = 512
"""Padded tokens of one pass for each thread of a CPU: what is larger leaves its caches (docs/performance.md)."""

ON_GPU = 16_384
"""Padded tokens of the first pass on a GPU; halved until they fit."""


@dataclass(frozen=True, slots=True)
class LogLikelihood:
    """How likely a model finds one continuation."""

    sum: float
    """Natural logarithm, over all tokens of the continuation; not always finite, see `not_finite`."""
    greedy: bool
    """Whether each of its tokens is the likeliest one."""
    tokens: int
    characters: int
    """Of the continuation as given."""
    cut: int
    """Tokens of the context that did not fit into the window."""


def not_finite(found: Sequence[LogLikelihood]) -> list[int]:
    """Positions whose log-likelihood is NaN or infinite: nothing can be compared with them.

    Weights that are broken, or half precision that overflows, give such values; float32 tells the two apart.

    >>> not_finite([LogLikelihood(-1.5, True, 1, 2, 0), LogLikelihood(float("nan"), False, 1, 2, 0)])
    [1]
    """
    return [place for place, one in enumerate(found) if not math.isfinite(one.sum)]


def score(
    loaded: LoadedModel,
    requests: Sequence[tuple[str, str]],
    *,
    batch_tokens: int | Literal["auto"] = "auto",
    window: int | None = None,
    tell: Callable[[int], None] | None = None,
) -> list[LogLikelihood]:
    """Log-likelihoods of continuations, in the order of the requests.

    They do not depend on that order, on the batches or on what shares a context, but for the rounding of floats
    (below 1e-4 in float32; half precision rounds to some hundredths).

    Args:
        loaded: the model.
        requests: `(context, continuation)`; an empty context stands for the model's begin (or end) token.
        batch_tokens: most padded tokens of one pass; a single text may exceed it. Where memory runs out it is halved,
            and scoring goes on.
        window: most tokens of context and continuation together, without the last; longer contexts are cut from the
            left. None: what the harness takes, `score_pairs.window_of`.
        tell: called after each pass with the number of requests answered so far.

    Raises:
        ValueError: a continuation without tokens, or longer than the window; names its position.
        MachineFailed: one text alone does not fit into the memory.
    """
    import torch

    pairs = encoded(loaded, requests, window)
    most = automatic(loaded.device, torch.get_num_threads()) if batch_tokens == "auto" else batch_tokens
    found: list[LogLikelihood | None] = [None] * len(pairs)
    done = 0
    for answers in _answers(loaded, planned(pairs), most):
        for pair, total, greedy in answers:
            characters = len(requests[pair.place][1])
            found[pair.place] = LogLikelihood(total, greedy, len(pair.continuation), characters, pair.cut)
        done += len(answers)
        if tell is not None:
            tell(done)
    return [one for one in found if one is not None]


def automatic(device: str, threads: int) -> int:
    """The padded tokens of one pass that scoring starts with."""
    return min(ON_CPU * threads, ON_GPU) if device == "cpu" else ON_GPU


def _answers(loaded: LoadedModel, groups: Sequence[Group], most: int) -> Iterator[list[Answer]]:
    """Pass after pass; where the memory is too small for one, half as much is read at once from then on."""
    from teacherlm.lm.score_passes import Passes

    passes = Passes(loaded)
    options = passes.options
    waiting = deque((group.shared, group.contexts) for group in groups)
    while waiting or len(options):
        if not waiting or options.full(most):
            batch: Sequence[Context] = ()
            answers = _attempt(passes, partial(options.read, most))
        else:
            shared, contexts = waiting[0]
            batch = batched(shared, contexts, most)
            answers = _attempt(passes, partial(passes.read, shared, batch))
        if answers is None:
            most = _smaller(loaded, most, [len(one.ids) for one in batch] or [options.longest])
            continue
        if batch:
            waiting.popleft()
            if rest := contexts[len(batch) :]:
                waiting.appendleft((shared, rest))
        yield answers


def _attempt(passes: Passes, work: Callable[[], list[Answer]]) -> list[Answer] | None:
    """What one pass gives; None where the memory was too small for it."""
    try:
        return work()
    except RuntimeError as error:  # torch's OutOfMemoryError is one; a CPU's allocator has none of its own
        if type(error).__name__ != "OutOfMemoryError" and "can't allocate memory" not in str(error):
            raise
    # Only now, with the error, are the tensors of the failed pass gone.
    passes.release()
    return None


def _smaller(loaded: LoadedModel, most: int, lengths: Sequence[int]) -> int:
    """Half of what did not fit."""
    if most <= 1:
        raise MachineFailed(
            f"a text of {max(lengths):,} tokens does not fit into the memory of {loaded.device}",
            "use --dtype bfloat16, a smaller model, or a device with more memory",
        )
    return max(1, min(most, sum(lengths)) // 2)
