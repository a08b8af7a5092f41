"""Teachers as `catalog.yaml` declares them: an address, what to ask with, how patient to be."""

from __future__ import annotations

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
    """Root URL of a text-generation-inference server."""
    embedded: str | None = None
    """A model that teacherlm serves itself while it runs: `nano`, a local path, or a Hub id."""
    prompts: str | None = None
    """Prompt profile that suits the teacher; a recipe's own comes first."""
    parameters: Parameters = Parameters()
    concurrency: int | None = None
    """Requests in flight; left out: learnt from the server."""
    connect_s: float = 5.0
    read_s: float = 300.0
    patience_s: float = 120.0

    @model_validator(mode="after")
    def _one_place(self) -> TeacherProfile:
        if (self.url is None) == (self.embedded is None):
            raise ValueError("a teacher has either a `url` or an `embedded` model | write  url: http://HOST:PORT")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError("`concurrency` must be 1 or more | leave it out to let the server's answers decide")
        return self


NANO = TeacherProfile(embedded="nano", parameters=Parameters(do_sample=True, temperature=1.0))
"""The teacher that every project has."""
