"""From a typed request to rows that can be generated, or a refusal with TGI's message.

Source for messages and order: TGI 3.3, `router/src/validation.rs`.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from teacherlm.lm.generate import Request
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.sampling import Sampling
from teacherlm.lm.tokens import Tokens
from teacherlm.teacher.server.errors import Invalid
from teacherlm.teacher.server.settings import Settings
from teacherlm.teacher.server.unsupported import refuse
from teacherlm.teacher.server.wire import Parameters

LOOKAHEAD = 1024
"""TGI counts at most this much of `max_new_tokens` against the window; what exceeds it just ends with `length`."""


@dataclass(frozen=True)
class Limits:
    """What requests are measured against."""

    max_total_tokens: int
    max_input_tokens: int
    settings: Settings


class Validator:
    """Checks requests for one model."""

    def __init__(self, loaded: LoadedModel, tokens: Tokens, settings: Settings) -> None:
        total = loaded.max_total_tokens
        self.limits = Limits(max_total_tokens=total, max_input_tokens=total - 1, settings=settings)
        self._tokens = tokens
        self._highest: int = max(loaded.tokenizer.get_vocab().values(), default=0)

    def rows(
        self, inputs: str | Sequence[int], parameters: Parameters, *, stream: bool = False, special: bool = True
    ) -> tuple[Request, ...]:
        """The rows of one request: one, or `best_of` of them.

        Args:
            inputs: the prompt, or its tokens.
            parameters: as given.
            stream: whether tokens are sent as they come; forbids `best_of` and prompt details.
            special: whether the tokenizer adds its begin and end tokens to the prompt.

        Raises:
            Invalid: with TGI's message.
        """
        best_of = _best_of(parameters, self.limits.settings, stream=stream)
        sampling = _sampling(parameters)
        sampled = _samples(parameters)
        if best_of > 1 and not sampled:
            raise Invalid("you must use sampling when `best_of` is > 1")
        if parameters.decoder_input_details and stream:
            raise Invalid("`decoder_input_details` == true is not supported when streaming tokens")
        if parameters.max_new_tokens == 0:
            raise Invalid("`max_new_tokens` must be strictly positive")
        self._others(parameters)
        prompt_ids, max_new_tokens = self._lengths(inputs, parameters, special=special)
        request = Request(
            prompt_ids=prompt_ids,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            stop=parameters.stop,
            top_tokens=parameters.top_n_tokens or 0,
            prompt_logprobs=parameters.decoder_input_details,
        )
        if not sampled:
            return (request,)
        first = parameters.seed if parameters.seed is not None else secrets.randbits(64)
        seeds = [first, *(secrets.randbits(64) for _ in range(best_of - 1))]
        return tuple(replace(request, sampling=replace(sampling, seed=seed)) for seed in seeds)

    def _others(self, parameters: Parameters) -> None:
        refuse(parameters.model_extra)
        limits = self.limits.settings
        if len(parameters.stop) > limits.max_stop_sequences:
            raise Invalid(
                f"`stop` supports up to {limits.max_stop_sequences} stop sequences. Given: {len(parameters.stop)}"
            )
        if "" in parameters.stop:
            raise Invalid("`stop` must not contain an empty string")
        top = parameters.top_n_tokens or 0
        if top > limits.max_top_n_tokens:
            raise Invalid(f"`top_n_tokens` must be >= 0 and <= {limits.max_top_n_tokens}. Given: {top}")
        if parameters.grammar is not None:
            raise Invalid("grammar is not supported")
        if parameters.watermark:
            raise Invalid("`watermark` is not supported")
        if parameters.adapter_id is not None:
            raise Invalid("`adapter_id` is not supported: this server holds no adapters")

    def _lengths(
        self, inputs: str | Sequence[int], parameters: Parameters, *, special: bool
    ) -> tuple[tuple[int, ...], int]:
        """The prompt's tokens after `truncate`, and how many new ones there may be."""
        longest, total = self.limits.max_input_tokens, self.limits.max_total_tokens
        if not inputs:
            raise Invalid("`inputs` cannot be empty")
        truncate = parameters.truncate
        if truncate is not None and not 0 < truncate <= longest:
            raise Invalid(f"`truncate` must be strictly positive and less than {longest}. Given: {truncate}")
        ids = self._tokens.encode(inputs, special=special) if isinstance(inputs, str) else self._known(inputs)
        if truncate is not None:
            ids = ids[-truncate:]
        if not ids:
            raise Invalid("`inputs` cannot be empty")
        room = total - len(ids)
        wanted = parameters.max_new_tokens if parameters.max_new_tokens is not None else max(room, 1)
        if len(ids) > longest:
            raise Invalid(f"`inputs` must have less than {longest} tokens. Given: {len(ids)}")
        if len(ids) + min(wanted, LOOKAHEAD) > total:
            raise Invalid(
                f"`inputs` tokens + `max_new_tokens` must be <= {total}. "
                f"Given: {len(ids)} `inputs` tokens and {wanted} `max_new_tokens`"
            )
        return tuple(ids), min(wanted, room)

    def _known(self, ids: Sequence[int]) -> list[int]:
        """Tokens as given, if the model has them all: one that it lacks may take a GPU down."""
        if unknown := next((token for token in ids if not 0 <= token <= self._highest), None):
            raise Invalid(f"the model has no token {unknown}; its tokens are 0 to {self._highest}")
        return list(ids)


def _best_of(parameters: Parameters, settings: Settings, *, stream: bool) -> int:
    best_of = 1 if parameters.best_of is None else parameters.best_of
    if not 0 < best_of <= settings.max_best_of:
        raise Invalid(f"`best_of` must be > 0 and <= {settings.max_best_of}. Given: {best_of}")
    if best_of > 1 and stream:
        raise Invalid("`best_of` != 1 is not supported when streaming tokens")
    if best_of > 1 and parameters.seed is not None:
        raise Invalid("`seed` must not be set when `best_of` > 1")
    return best_of


def _samples(parameters: Parameters) -> bool:
    """Whether tokens are drawn. Any filter or a temperature other than 1 switches sampling on."""
    return (
        parameters.do_sample
        or parameters.temperature not in (None, 1.0)
        or parameters.top_k is not None
        or parameters.top_p is not None
        or parameters.typical_p is not None
    )


def _sampling(parameters: Parameters) -> Sampling:
    """Checked values; the seed is set by the caller."""
    temperature = 1.0 if parameters.temperature is None else parameters.temperature
    repetition = 1.0 if parameters.repetition_penalty is None else parameters.repetition_penalty
    frequency = parameters.frequency_penalty or 0.0
    # `not a > b` refuses NaN as well.
    if not (temperature > 0.0 and math.isfinite(temperature)):
        raise Invalid("`temperature` must be strictly positive")
    if not (repetition > 0.0 and math.isfinite(repetition)):
        raise Invalid("`repetition_penalty` must be strictly positive")
    if not -2.0 <= frequency <= 2.0:
        raise Invalid("`frequency_penalty` must be >= -2.0 and <= 2.0")
    if parameters.top_p is not None and not 0.0 < parameters.top_p < 1.0:
        raise Invalid("`top_p` must be > 0.0 and < 1.0")
    if parameters.typical_p is not None and not 0.0 < parameters.typical_p < 1.0:
        raise Invalid("`typical_p` must be > 0.0 and < 1.0")
    if parameters.top_k is not None and parameters.top_k <= 0:
        raise Invalid("`top_k` must be strictly positive")
    return Sampling(
        temperature=temperature,
        top_k=parameters.top_k,
        top_p=parameters.top_p,
        typical_p=parameters.typical_p,
        repetition_penalty=repetition,
        frequency_penalty=frequency,
    )
