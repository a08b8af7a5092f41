"""Who answers the questions of a benchmark: a model of this process, or a server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from teacherlm.core.errors import MachineFailed, Mistake, RemoteFailed

if TYPE_CHECKING:
    from teacherlm.lm.generate import Request, Row
    from teacherlm.lm.load import LoadedModel
    from teacherlm.lm.sampling import Sampling
    from teacherlm.lm.score import LogLikelihood

Tell = Callable[[int], None]
"""Called with the number of requests that are answered so far, of those handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A prompt to be continued."""

    prompt: str
    max_gen_toks: int
    """Most new tokens."""
    until: tuple[str, ...] = ()
    """The text ends before the first of these."""
    do_sample: bool = False
    temperature: float | None = None
    """None: 1; 0 is greedy. It, `top_p` and `top_k` count where `do_sample` is set."""
    top_p: float | None = None
    top_k: int | None = None
    seed: int = 0
    """Of the draws; each repeat of a prompt has its own."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote."""

    text: str
    """Without what ended it."""
    finish_reason: str
    """`length`, `eos_token` or `stop_sequence`."""
    cut: int = 0
    """Tokens of the prompt that did not fit into the window, on its left."""


Named = tuple[str | None, int | None]
"""A token of a tokenizer's own, and its id."""


@dataclass(frozen=True, kw_only=True)
class About:
    """Which model answers. What a server does not tell is None."""

    name: str
    """As a person named it."""
    fingerprint: str
    """Equal exactly when the model is: its Hub commit, a digest of its files, or what a server says of itself."""
    parameters: int | None = None
    dtype: str | None = None
    revision: str | None = None
    sha: str | None = None
    device: str | None = None
    window: int | None = None
    """Tokens of a text, at most."""
    pad: Named = (None, None)
    eos: Named = (None, None)
    bos: Named = (None, None)


SHOWN = 80
"""Letters of a question in a message."""


class QuestionFailed(RemoteFailed):
    """The server answers, but not to this question; others may be asked."""

    def on(self, text: str) -> QuestionFailed:
        """Told with the end of the text that was asked."""
        shown = repr(text if len(text) <= SHOWN else f"…{text[-SHOWN:]}")
        return QuestionFailed(f"{self.found}; the question ends with {shown}", self.remedy, self.where)


class Scorer(Protocol):
    """A model that benchmarks can ask."""

    @property
    def about(self) -> About:
        """Which model it is."""

    def loglikelihoods(self, requests: Sequence[tuple[str, str]], tell: Tell) -> list[LogLikelihood]:
        """How likely each continuation is after its context, in the order of the requests.

        Raises:
            Mistake: the server gives no log-probabilities; a continuation has no tokens, or does not fit.
            QuestionFailed: a server failed at one of them.
            RemoteFailed: a server failed.
        """

    def generate(self, asked: Sequence[Asked], tell: Tell) -> list[Written]:
        """What the model writes after each prompt, in their order.

        Raises:
            Mistake: a prompt has no room beside its new tokens.
            QuestionFailed: a server failed at one of them.
            RemoteFailed: a server failed.
        """


ROWS, ROWS_GPU = 32, 128
"""Texts that are written at the same time, at most."""

TOKENS, TOKENS_GPU = 8_192, 131_072
"""Tokens of their prompts together: long ones are written a few at a time."""


@dataclass(frozen=True)
class LocalScorer:
    """A model loaded in this process."""

    loaded: LoadedModel
    name: str
    batch_tokens: int | None = None
    """Padded tokens of one pass; None: what `lm.score` takes."""
    window: int | None = None
    """Most tokens of a text; None: what the harness takes, `score_pairs.window_of`."""

    @property
    def about(self) -> About:
        """Which model it is."""
        from teacherlm.lm.score_pairs import window_of

        loaded, tokenizer = self.loaded, self.loaded.tokenizer
        return About(
            name=self.name,
            fingerprint=loaded.model_sha,
            parameters=loaded.model.num_parameters(),
            dtype=loaded.dtype,
            sha=loaded.model_sha,
            device=loaded.device,
            window=self.window or window_of(loaded),
            pad=(tokenizer.pad_token, tokenizer.pad_token_id),
            eos=(tokenizer.eos_token, tokenizer.eos_token_id),
            bos=(tokenizer.bos_token, tokenizer.bos_token_id),
        )

    def loglikelihoods(self, requests: Sequence[tuple[str, str]], tell: Tell) -> list[LogLikelihood]:
        """See `Scorer`."""
        from teacherlm.lm.score import score

        try:
            return score(self.loaded, requests, batch_tokens=self.batch_tokens or "auto", window=self.window, tell=tell)
        except ValueError as error:
            raise Mistake(_refused(error, requests), "change the options, or leave this document out") from error
        except RuntimeError as error:
            raise _failed(error) from error

    def generate(self, asked: Sequence[Asked], tell: Tell) -> list[Written]:
        """See `Scorer`."""
        from teacherlm.lm.generate import Request
        from teacherlm.lm.score_pairs import window_of
        from teacherlm.lm.tokens import Tokens

        tokens, window = Tokens(self.loaded.tokenizer), self.window or window_of(self.loaded)
        requests, cuts = [], []
        for one in asked:
            room = window - one.max_gen_toks
            if room < 1:
                raise Mistake(
                    f"{one.max_gen_toks} new tokens leave no room for a prompt in a window of {window}",
                    "lower max_gen_toks in the task's generation_kwargs",
                )
            ids = tokens.encode(one.prompt) or [self._start()]
            cuts.append(max(0, len(ids) - room))
            requests.append(
                Request(
                    prompt_ids=tuple(ids[-room:]),
                    max_new_tokens=one.max_gen_toks,
                    sampling=_sampling(one),
                    stop=tuple(stop for stop in one.until if stop),
                )
            )
        # The end token's text ends an answer too, however it came about.
        end = self.loaded.tokenizer.eos_token
        found: list[Written | None] = [None] * len(asked)
        done = 0
        try:
            for place, row in self._rows(requests):
                # Read as a whole, as the harness does: some tokenizers give other blanks token by token.
                said = self.loaded.tokenizer.decode([token.id for token in row.tokens], skip_special_tokens=True)
                stops = (*asked[place].until, *([end] if end else ()))
                found[place] = Written(until(said, stops), row.finish_reason or "length", cuts[place])
                done += 1
                tell(done)
        except RuntimeError as error:
            raise _failed(error) from error
        return [one for one in found if one is not None]

    def _rows(self, requests: Sequence[Request]) -> Iterator[tuple[int, Row]]:
        """The rows of requests with their positions; those of about one length are written together."""
        from teacherlm.lm.generate import generate

        rows, most = (ROWS, TOKENS) if self.loaded.device == "cpu" else (ROWS_GPU, TOKENS_GPU)
        most = self.batch_tokens or most
        alike: dict[int, list[int]] = {}
        for place, one in enumerate(requests):
            alike.setdefault(1 << (len(one.prompt_ids) - 1).bit_length(), []).append(place)
        # Long ones first: what does not fit into memory shows at once.
        for length, places in sorted(alike.items(), reverse=True):
            at_once = max(1, min(rows, most // length))
            for number, row in generate(self.loaded, [requests[place] for place in places], batch_size=at_once):
                yield places[number], row

    def _start(self) -> int:
        start = self.loaded.tokenizer.bos_token_id
        if start is None and not self.loaded.eos_ids:
            raise Mistake(
                "a prompt is empty, and the tokenizer has no begin or end token to stand for it",
                "give the task a `description`, or set bos_token in the model's tokenizer_config.json",
            )
        return int(start if start is not None else min(self.loaded.eos_ids))


def until(text: str, stops: Sequence[str]) -> str:
    """A text up to the first of some stop strings.

    >>> until("42. Next", (".", ""))
    '42'
    """
    for stop in stops:
        if stop:
            text = text.split(stop)[0]
    return text


def _sampling(asked: Asked) -> Sampling:
    from teacherlm.lm.sampling import GREEDY, Sampling

    # As TGI and the harness have it: without a temperature, or with one of 0, nothing is drawn.
    if not asked.do_sample or asked.temperature == 0:
        return GREEDY
    heat = 1.0 if asked.temperature is None else asked.temperature
    return Sampling(seed=asked.seed, temperature=heat, top_p=asked.top_p, top_k=asked.top_k)


def _refused(error: ValueError, requests: Sequence[tuple[str, str]]) -> str:
    """What `lm.score` refused, with the text instead of its position."""
    found = re.search(r"position (\d+)", str(error))
    if found is None:
        return str(error)
    return str(error).replace(f"at {found[0]}", f"{requests[int(found[1])][1]!r}")


def _failed(error: RuntimeError) -> MachineFailed:
    if "out of memory" in str(error).lower():
        return MachineFailed("the memory of the device is too small", "give --batch-tokens 1024, or less")
    return MachineFailed(f"the model failed: {' '.join(str(error).split())[:300]}", "try --device cpu")
