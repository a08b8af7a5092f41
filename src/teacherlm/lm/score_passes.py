"""The passes of a model over contexts; continuations go on from what they leave.

A text has no padding inside, only before its first or behind its last token: to a model that counts columns, such as
one with a sliding window, it looks as it does alone. Rows are aligned where their contexts end. Contexts with a common
beginning take its keys and values from one pass; a row that is shorter than the longest takes fewer of them and reads
the rest anew, in columns that would else be padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicCache

from teacherlm.lm.forward import Forward, layers, padded
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.score_options import Answer, Options, Roomy
from teacherlm.lm.score_pairs import Ids
from teacherlm.lm.score_plan import Context


class Passes:
    """A model that reads batches of contexts; keeps the beginning that was shared last."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._forward = Forward(loaded)
        self._device = loaded.device
        self._shared: Ids = ()
        self._beginning: list[tuple[Tensor, Tensor]] = []
        self.options = Options(self._forward, loaded.device)
        """Continuations of more than one token, which go on from the contexts read."""

    def release(self) -> None:
        """Give back memory that is not in use."""
        self._shared, self._beginning = (), []
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def read(self, shared: Ids, contexts: Sequence[Context]) -> list[Answer]:
        """Read contexts; gives the answers that need no more, and hands the others to `options`.

        Args:
            shared: what they begin with; may be empty.
            contexts: the longest first.
        """
        longer = any(len(pair.continuation) > 1 for context in contexts for pair in context.pairs)
        tail = max(1, len(contexts[0].ids) - len(shared))
        ids, mask = padded([context.ids[-tail:] for context in contexts], self._device, left=True)
        cache: Cache | None = DynamicCache() if longer else None
        if shared:
            known = [max(0, len(context.ids) - tail) for context in contexts]
            cache, before = self._known(shared, known, tail)
            mask = torch.cat([before, mask], dim=1)
        logprobs = self._forward(ids, mask, cache, keep=1)[:, -1].float().log_softmax(dim=-1)
        pairs = [(row, pair) for row, context in enumerate(contexts) for pair in context.pairs]
        places = self._tensor([[row, pair.continuation[0]] for row, pair in pairs])
        values = logprobs[places[:, 0], places[:, 1]].tolist()
        likeliest = logprobs.argmax(dim=-1).tolist()
        done: list[Answer] = []
        going: list[tuple[int, Answer]] = []
        for (row, pair), value in zip(pairs, values, strict=True):
            answer = (pair, value, likeliest[row] == pair.continuation[0])
            if len(pair.continuation) == 1:
                done.append(answer)
            else:
                going.append((row, answer))
        if going and cache is not None:
            self.options.add([(layer.keys, layer.values) for layer in layers(cache)], mask, going)
        return done

    def _known(self, shared: Ids, known: Sequence[int], spare: int) -> tuple[Cache, Tensor]:
        """A cache in which each row has so many tokens of the common beginning, aligned on the right, and its mask."""
        if self._shared != shared:
            self._shared, self._beginning = (), []
            ids, mask = padded([shared], self._device, left=True)
            cache = DynamicCache()
            self._forward(ids, mask, cache, keep=1)
            self._shared, self._beginning = shared, [(layer.keys, layer.values) for layer in layers(cache)]
        width = max(known)
        columns = torch.arange(width, device=self._device) - (width - self._tensor(known))[:, None]
        mask = (columns >= 0).long()
        # Padding is a copy of the first token: finite, and masked.
        places = columns.clamp_(min=0).flatten()

        def spread(states: Tensor) -> Tensor:
            _, heads, _, size = states.shape
            found = states[0].index_select(1, places).view(heads, len(known), width, size).transpose(0, 1)
            return pad(found, (0, 0, 0, spare))

        return Cache(layers=[Roomy(spread(keys), spread(values), width) for keys, values in self._beginning]), mask

    def _tensor(self, numbers: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(numbers, device=self._device)
