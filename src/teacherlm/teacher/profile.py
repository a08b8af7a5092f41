"""Teachers as `catalog.yaml` declares them: an address, what to ask with, how patient to be."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from teacherlm.project.bind import SPEC_CONFIG


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Parameters:
    """How the teacher writes. Part of the call key: a change asks again."""

    do_sample: bool = False
    """False: the likeliest text (greedy)."""
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int = 0
    """With sampling: from it each call gets a seed of its own."""

    @model_validator(mode="after")
    def _within_limits(self) -> Parameters:
        if self.temperature is not None and self.temperature <= 0:
            raise ValueError(
                "`temperature` must be above 0 | for the likeliest text leave it out and write  do_sample: false"
            )
        for name in ("top_p", "typical_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"`{name}` must lie between 0 and 1, both excluded | leave it out to switch it off")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError("`top_k` must be 1 or more | leave it out to switch it off")
        if not self.do_sample and any(
            v is not None for v in (self.temperature, self.top_k, self.top_p, self.typical_p)
        ):
            raise ValueError(
                "servers sample when a temperature, top_k, top_p or typical_p is given | write  do_sample: true"
            )
        return self

    def wire(self) -> dict[str, Any]:
        """The parameters that are set; the seed is each call's own."""
        names = ("do_sample", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "frequency_penalty")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class TeacherProfile:
    """One teacher."""

    url: str | None = None
    """Root URL of a server that speaks text-generation-inference's protocol or OpenAI's; `/v1` at its end: OpenAI's."""
    urls: tuple[str, ...] = ()
    """In its place: the root URLs of several servers with the same model."""
    embedded: str | None = None
    """A model that teacherlm serves itself while it runs: `nano`, a local path, or a Hub id."""
    model: str | None = None
    """The one to ask of the models that an OpenAI-compatible server lists; left out: it lists one."""
    kinds: dict[str, str] | None = None
    """In place of these: the teacher of each kind, by the names of other profiles."""
    prompts: str | None = None
    """Prompt profile that suits the teacher; a recipe's own comes first."""
    parameters: Parameters = Parameters()
    concurrency: int | None = None
    """Requests in flight at each server; left out: learnt from its answers."""
    connect_s: float = 5.0
    read_s: float = 300.0
    patience_s: float = 120.0
    price_per_million_input: float | None = None
    """Price of a million prompt tokens, in your currency; with `price_per_million_output`. `plan` tells the cost."""
    price_per_million_output: float | None = None
    gpu_hour: float | None = None
    """In place of both: the price of an hour of your server; with `tokens_per_second`."""
    tokens_per_second: float | None = None
    """Tokens that your server generates, over all requests in flight."""

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where it listens; nowhere yet where the model is embedded."""
        return (self.url,) if self.url is not None else self.urls

    def cost(self, tokens_in: float, tokens_out: float) -> float | None:
        """What so many tokens cost, in the currency of the prices; None without prices."""
        if self.price_per_million_input is not None and self.price_per_million_output is not None:
            return (tokens_in * self.price_per_million_input + tokens_out * self.price_per_million_output) / 1e6
        if self.gpu_hour is not None and self.tokens_per_second is not None:
            return tokens_out / self.tokens_per_second / 3600 * self.gpu_hour
        return None

    @model_validator(mode="after")
    def _whole_prices(self) -> TeacherProfile:
        pairs = (("price_per_million_input", "price_per_million_output"), ("gpu_hour", "tokens_per_second"))
        for pair in pairs:
            for name in pair:
                value = getattr(self, name)
                if value is not None and (value < 0 or (value == 0 and name == "tokens_per_second")):
                    raise ValueError(f"`{name}` is {value:g} | write a number above 0")
            given = [name for name in pair if getattr(self, name) is not None]
            if len(given) == 1:
                absent = next(name for name in pair if name not in given)
                raise ValueError(f"`{given[0]}` needs `{absent}` | add  {absent}: …")
        if self.price_per_million_input is not None and self.gpu_hour is not None:
            raise ValueError("a teacher is paid by tokens or by the hour | keep one of the two prices")
        return self

    @model_validator(mode="after")
    def _one_place(self) -> TeacherProfile:
        if self.kinds is not None:
            if not self.kinds:
                raise ValueError("`kinds` is empty | write  kinds: {fundamentals: NAME, chain_of_thought: NAME}")
            others = (field for field in fields(self) if field.name != "kinds")
            if set_here := [field.name for field in others if getattr(self, field.name) != field.default]:
                raise ValueError(
                    f"`{set_here[0]}` stands beside `kinds` | write it into the profiles that `kinds` names"
                )
            return self
        if (self.url is not None) + bool(self.urls) + (self.embedded is not None) != 1:
            raise ValueError(
                "a teacher has one of `url`, `urls` and an `embedded` model | write  url: http://HOST:PORT"
            )
        if self.model is not None and self.embedded is not None:
            raise ValueError("`model` chooses among the models of a server | leave it out: `embedded` names the model")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError("`concurrency` must be 1 or more | leave it out to let the server's answers decide")
        return self


NANO = TeacherProfile(embedded="nano")
"""The teacher that every project has."""
