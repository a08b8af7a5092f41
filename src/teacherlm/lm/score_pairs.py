"""Contexts and continuations as token ids, by the conventions of lm-evaluation-harness 0.4.13.

Blanks at the end of a context move to its continuation. Both are encoded as one text and cut where the context's own
encoding ends, so that a token which spans the border belongs to the continuation. What is longer than the window is
cut from the left.

Source: `lm_eval/api/model.py` (`TemplateLM.loglikelihood`, `_encode_pair`), `lm_eval/models/huggingface.py`
(`tok_encode`, `prefix_token_id`, `_loglikelihood_tokens`), `lm_eval/models/utils.py` (`resolve_max_length`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from teacherlm.lm.tokens import Tokens

if TYPE_CHECKING:
    from teacherlm.lm.load import LoadedModel

Ids = tuple[int, ...]

AT_ONCE = 1024
"""Texts that are handed to the tokenizer together; it spreads them over the machine's cores."""

_WINDOW = 2048
"""The harness's, for models and tokenizers that state none."""

_STATED = ("n_positions", "max_position_embeddings", "n_ctx")


@dataclass(frozen=True, slots=True)
class Pair:
    """One request in tokens."""

    place: int
    """Its position among the requests."""
    context: Ids
    """At least one token."""
    continuation: Ids
    """At least one token; the last is only predicted, never read."""
    cut: int
    """Tokens that were taken from the left of the context."""


def window_of(loaded: LoadedModel) -> int:
    """The longest text that the harness gives to a model, in tokens.

    The configuration says it, else the tokenizer. A BLOOM's `seq_length` does not count: ALiBi reads on beyond it.
    """
    config: Any = getattr(loaded.model.config, "text_config", None) or loaded.model.config
    for name in _STATED:
        value = getattr(config, name, None)
        if value is not None:
            return int(value)
    limit = loaded.tokenizer.model_max_length  # transformers writes 1e30 where nothing is known
    return int(limit) if limit and limit < 1e29 else _WINDOW


def encoded(loaded: LoadedModel, requests: Sequence[tuple[str, str]], window: int | None = None) -> list[Pair]:
    """All requests in tokens, in their order.

    Args:
        loaded: the model whose tokenizer and window count.
        requests: `(context, continuation)`.
        window: most tokens that are read; None: `window_of`.

    Raises:
        ValueError: a continuation without tokens, longer than the window, or after nothing where the tokenizer has
            neither begin nor end token; names its position.
        Mistake: the tokenizer has no `tokenizer.json`.
    """
    encoder = _Encoder(loaded)
    most = window_of(loaded) if window is None else window
    contexts: dict[str, Ids] = {}
    found: list[Pair] = []
    waiting = iter(requests)
    while part := list(islice(waiting, AT_ONCE)):
        bare = [context.rstrip() for context, _ in part]
        fresh = [text for text in dict.fromkeys(bare) if text and text not in contexts]
        contexts |= zip(fresh, encoder.ids(fresh), strict=True)
        joint = encoder.ids([context + continuation for context, continuation in part if context])
        after = encoder.ids([continuation for context, continuation in part if not context], special=False)
        joints, afters = iter(joint), iter(after)
        for text, (context, _) in zip(bare, part, strict=True):
            before = contexts[text] if text else ()
            told = next(joints)[len(before) :] if context else next(afters)
            if not before:
                # The harness has no rule for contexts of blanks alone; here they are as good as empty.
                before = (encoder.start(len(found)),)
                told = told[1:] if told[:1] == before else told
            found.append(_fitting(len(found), before, told, most))
    return found


def _fitting(place: int, context: Ids, continuation: Ids, most: int) -> Pair:
    if not continuation:
        raise ValueError(f"the continuation at position {place} has no tokens")
    if len(continuation) > most:
        raise ValueError(
            f"the continuation at position {place} has {len(continuation)} tokens; the model's window holds {most}"
        )
    cut = max(0, len(context) + len(continuation) - 1 - most)
    return Pair(place, context[cut:], continuation, cut)


class _Encoder:
    """A tokenizer, with or without what it puts around a text."""

    def __init__(self, loaded: LoadedModel) -> None:
        Tokens(loaded.tokenizer)  # refuses tokenizers without a backend, and ends truncation and padding
        tokenizer = loaded.tokenizer
        self._backend = tokenizer.backend_tokenizer
        stated = [one for one in (tokenizer.bos_token_id, tokenizer.eos_token_id) if one is not None]
        self._start: int | None = stated[0] if stated else min(loaded.eos_ids, default=None)
        self._written: str | None = None if self._start is None else tokenizer.decode([self._start])

    def start(self, place: int) -> int:
        """The token that stands for an empty context."""
        if self._start is None:
            raise ValueError(
                f"the continuation at position {place} has an empty context, and the tokenizer no begin or end token"
                " to put before it"
            )
        return self._start

    def ids(self, texts: Sequence[str], *, special: bool = True) -> list[Ids]:
        """A text that begins with the start token gets no second one."""
        kinds = [special and not (self._written and text.startswith(self._written)) for text in texts]
        found: list[Ids] = [()] * len(texts)
        for kind in (True, False):
            places = [place for place, one in enumerate(kinds) if one is kind]
            encodings = self._backend.encode_batch_fast([texts[place] for place in places], add_special_tokens=kind)
            for place, encoding in zip(places, encodings, strict=True):
                found[place] = tuple(encoding.ids)
        return found
