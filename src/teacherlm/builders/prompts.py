"""Prompt profiles: what the teacher is asked for each kind, as `builders/prompts/NAME.yaml` declares it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from teacherlm.builders.wording import KNOWN, Template, Words
from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.project.bind import SPEC_CONFIG

if TYPE_CHECKING:
    from teacherlm.project.located import Loc, Located


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class PromptProfile:
    """How a sample is put to a teacher."""

    name: str
    about: str = ""
    form: Literal["text", "chat"] = "text"
    """`text`: a prompt that the model continues; `chat`: messages for an instruct model."""
    system: str | None = None
    """The system message of a chat."""
    kinds: dict[Literal["fundamentals", "chain_of_thought", "common_mistakes"], str]
    """Kind -> Jinja template. It may use `sample_text` (question, options and gold answer), `question_text` (question
    and options), `hinted_text` (the same with the gold answer marked), `gold` (the answer as written), `question`,
    `choices`, `answer`, `task`, `subject`."""
    one_call: str | None = None
    """Asks for all kinds in one request; the answer is a JSON object with a text for each. The template may also use
    `kinds`, the kinds wanted, and `asked`, what is asked for each (its template under `kinds:`, rendered)."""
    star: str | None = None
    """STaR's first question for a chain of thought: it must not show the answer."""
    star_hinted: str | None = None
    """STaR's last question, with the answer as a hint."""
    stop: tuple[str, ...] = ()
    """The text ends before these. TGI takes four at most."""

    @model_validator(mode="after")
    def _whole_strategies(self) -> PromptProfile:
        if (self.star is None) != (self.star_hinted is None):
            absent = "star" if self.star is None else "star_hinted"
            raise ValueError(f"`star` and `star_hinted` belong together; `{absent}` is missing | add  {absent}: …")
        if self.one_call is not None and self.star is not None:
            raise ValueError("`one_call` asks all kinds at once, `star` one alone | write two profiles")
        return self

    @property
    def templates(self) -> dict[str, str]:
        """Every template by its name: a kind, `one_call`, `star` or `star_hinted`."""
        others = {"one_call": self.one_call, "star": self.star, "star_hinted": self.star_hinted}
        kinds = {str(kind): template for kind, template in self.kinds.items()}
        return {**kinds, **{name: template for name, template in others.items() if template is not None}}


@plain_dataclass(frozen=True)
class BoundPrompts:
    """A profile with its templates compiled."""

    profile: PromptProfile
    located: Located

    @cached_property
    def _templates(self) -> dict[str, Template]:
        import jinja2

        compiled, problems = {}, []
        for name, template in self.profile.templates.items():
            try:
                compiled[name] = Template(template)
            except jinja2.TemplateSyntaxError as error:
                problems.append(Problem(self._where(name), f"is no Jinja template: {error.message}", "mend it"))
        if problems:
            raise Mistakes(problems)
        return compiled

    @cached_property
    def _last(self) -> list[Words]:
        """The words of the last sample, whose kinds follow each other."""
        return []

    def check(self) -> None:
        """Render every template once.

        Raises:
            Mistakes: a template that cannot be compiled or names something unknown; a `star` that shows the answer; too
                many stop strings.
        """
        problems = []
        example = {"question": "?", "choices": ["a", "b"], "answer": "a", "task": "t", "subject": "s"}
        kinds = tuple(self.profile.kinds)
        for name in self._templates:
            case = ""
            try:
                shown = self._render(name, example, kinds)
                shows_answer = shown != self._render(name, example | {"answer": "b"}, kinds)
                case = " on a question without choices"
                self._render(name, example | {"choices": [], "subject": None}, kinds)
            except Exception as error:  # templates compute: whatever they raise is their mistake
                known = ", ".join(("kinds", "asked", *KNOWN) if name == "one_call" else KNOWN)
                problems.append(Problem(self._where(name), f"the template fails{case}: {error}", f"it may use {known}"))
                continue
            if name == "star" and shows_answer:
                problems.append(
                    Problem(self._where(name), "shows the answer, which has to be found", "use question_text alone")
                )
            if name == "star_hinted" and not shows_answer:
                problems.append(Problem(self._where(name), "gives no hint", "use hinted_text, gold or answer"))
        if len(self.profile.stop) > 4:
            problems.append(
                Problem(self.located.where(("stop",)), "has more than four stop strings", "keep the four that matter")
            )
        if problems:
            raise Mistakes(problems)

    def render(self, name: str, sample: Mapping[str, Any], kinds: Sequence[str] = ()) -> str | list[dict[str, str]]:
        """A prompt for one sample: a text, or messages.

        Args:
            name: a kind, `one_call`, `star` or `star_hinted`.
            kinds: with `one_call`, the kinds wanted.

        Raises:
            KeyError: the profile has no such template.
            Mistake: the template fails on this sample.
        """
        if self.profile.one_call is not None and name in self.profile.kinds:
            name, kinds = "one_call", (name,)
        if name not in self._templates:
            raise KeyError(name)
        try:
            text = self._render(name, sample, kinds)
        except Exception as error:
            raise Mistake(
                f"the template `{name}` fails on {sample.get('sample_id', 'a sample')}: {error}",
                "mend it for such samples",
                self._where(name),
            ) from error
        if self.profile.form == "text":
            return text
        system = [{"role": "system", "content": self.profile.system.strip()}] if self.profile.system else []
        return [*system, {"role": "user", "content": text.strip()}]

    def _render(self, name: str, sample: Mapping[str, Any], kinds: Sequence[str]) -> str:
        words = self._words(sample)
        if name == "one_call":
            asked = {kind: self._render(kind, sample, ()).strip() for kind in kinds}
            return self._templates[name].render(words, kinds=list(kinds), asked=asked)
        return self._templates[name].render(words)

    def _words(self, sample: Mapping[str, Any]) -> Words:
        if not self._last or self._last[0].sample is not sample:
            self._last[:] = [Words(sample)]
        return self._last[0]

    def _where(self, name: str) -> str:
        loc: Loc = ("kinds", name) if name in self.profile.kinds else (name,)
        return self.located.where(loc)

    def missing(self, kinds: tuple[str, ...]) -> list[str]:
        return [kind for kind in kinds if kind not in self.profile.kinds]
