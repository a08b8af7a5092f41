"""Bodies of OpenAI's routes, and the parameters of TGI that they stand for."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from teacherlm.teacher.server.chat import Message
from teacherlm.teacher.server.errors import Invalid, Unsupported
from teacherlm.teacher.server.unsupported import refuse
from teacherlm.teacher.server.wire import U32, U64, Open, Parameters, Wire


class StreamOptions(Wire):
    include_usage: bool = False


class Asked(Open):
    """What both kinds of request share."""

    model: str | None = None
    max_tokens: U32 | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: U64 | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: U32 | None = None
    response_format: dict[str, Any] | None = None

    def parameters(self, **more: Any) -> Parameters:
        """TGI's parameters for this request.

        Raises:
            Invalid: something is asked that this server cannot do; names it.
        """
        if self.n is not None and self.n > 1:
            raise Invalid("`n` > 1 is not supported: ask several times")
        refuse(self.model_extra)
        greedy = self.temperature == 0.0
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Parameters(
            do_sample=not greedy,
            temperature=None if greedy else self.temperature,
            # No part of OpenAI's API, so they must not undo a temperature of 0; vLLM's clients write -1 for no `top_k`.
            top_k=None if greedy or self.top_k in (-1, 0) else self.top_k,
            typical_p=None if greedy or self.typical_p == 1.0 else self.typical_p,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            frequency_penalty=self.frequency_penalty,
            max_new_tokens=more.pop("max_new_tokens", self.max_tokens),
            seed=self.seed,
            stop=tuple(stop),
            grammar=self.response_format if (self.response_format or {}).get("type") != "text" else None,
            **more,
        )

    @property
    def usage_wanted(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class Completions(Asked):
    """Body of `/v1/completions`."""

    prompt: str | list[str] | list[int] | list[list[int]]
    suffix: str | None = None
    logprobs: U32 | None = None
    """How many of the likeliest tokens to report beside each one; null: no log-probabilities."""
    echo: bool = False
    """The prompt comes before the answer, with `logprobs` for its tokens as well."""

    def prompts(self, most: int) -> list[str] | list[list[int]]:
        """One prompt per choice: texts or token ids.

        Raises:
            Unsupported: more than `most`, or a suffix.
            Invalid: none.
        """
        if self.suffix is not None:
            raise Unsupported(
                "Suffix is not supported and can be achieved by preprocessing the prompt.", kind="suffix not supported"
            )
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        if len(self.prompt) > most:
            raise Unsupported(
                f"Number of prompts exceeds the maximum allowed batch size of {most}", kind="batch size exceeded"
            )
        if not self.prompt:
            raise Invalid("`inputs` cannot be empty")
        return self.prompt  # type: ignore[return-value]  # a list of ids was told apart by its first

    @property
    def is_prompt_alone(self) -> bool:
        """Whether only the prompt is wanted: `echo` without room for an answer."""
        return self.echo and self.max_tokens == 0

    def parameters(self, **more: Any) -> Parameters:
        if self.echo and self.stream:
            raise Invalid("`echo` is not supported when streaming tokens")
        if self.logprobs is not None:
            more["top_n_tokens"] = self.logprobs
            more["decoder_input_details"] = self.echo
        # The answer's first token comes with the prompt at no cost, and is left out again.
        more["max_new_tokens"] = 1 if self.is_prompt_alone else self.max_tokens
        return super().parameters(**more)


class Chat(Asked):
    """Body of `/v1/chat/completions` and `/chat_tokenize`."""

    messages: list[Message]
    max_completion_tokens: U32 | None = None
    logprobs: bool | None = None
    top_logprobs: U32 | None = None
    tools: list[Any] | None = None
    tool_choice: Any = Field(default=None)

    def parameters(self, **more: Any) -> Parameters:
        if self.tools and self.tool_choice != "none":
            raise Unsupported("Tool error: tools are not supported", kind="tool_error")
        if self.top_logprobs and not self.logprobs:
            raise Invalid("`top_logprobs` needs `logprobs`: true")
        return super().parameters(
            top_n_tokens=self.top_logprobs if self.logprobs else None,
            max_new_tokens=self.max_tokens if self.max_tokens is not None else self.max_completion_tokens,
            **more,
        )
