"""Prompt profiles: what the teacher is asked for each kind, as `builders/prompts/NAME.yaml` declares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic.dataclasses import dataclass

from teacherlm.core.errors import Mistakes, Problem
from teacherlm.project.bind import SPEC_CONFIG
from teacherlm.text.render import gold, question_text, sample_text

if TYPE_CHECKING:
    import jinja2

    from teacherlm.project.located import Located


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
    and options), `gold` (the answer as written), `question`, `choices`, `answer`, `task`, `subject`."""
    stop: tuple[str, ...] = ()
    """The text ends before these. TGI takes four at most."""


@plain_dataclass(frozen=True)
class BoundPrompts:
    """A profile with its templates compiled."""

    profile: PromptProfile
    located: Located

    @cached_property
    def _templates(self) -> dict[str, jinja2.Template]:
        import jinja2

        environment = jinja2.Environment(
            undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=False
        )
        compiled, problems = {}, []
        for kind, template in self.profile.kinds.items():
            try:
                compiled[str(kind)] = environment.from_string(template)
            except jinja2.TemplateSyntaxError as error:
                problems.append(
                    Problem(self.located.where(("kinds", kind)), f"is no Jinja template: {error.message}", "mend it")
                )
        if problems:
            raise Mistakes(problems)
        return compiled

    def check(self) -> None:
        """Render every template once.

        Raises:
            Mistakes: a template that cannot be compiled or names something unknown; too many stop strings.
        """
        import jinja2

        problems = []
        example = {"question": "?", "choices": ["a", "b"], "answer": "a", "task": "t", "subject": "s"}
        for kind in self._templates:
            try:
                self.render(kind, example)
            except jinja2.TemplateError as error:
                where = self.located.where(("kinds", kind))
                known = "sample_text, question_text, gold, question, choices, answer, task, subject"
                problems.append(Problem(where, f"the template fails: {error}", f"it may use {known}"))
        if len(self.profile.stop) > 4:
            problems.append(
                Problem(self.located.where(("stop",)), "has more than four stop strings", "keep the four that matter")
            )
        if problems:
            raise Mistakes(problems)

    def render(self, kind: str, sample: Mapping[str, Any]) -> str | list[dict[str, str]]:
        """The prompt of one kind for one sample: a text, or messages.

        Raises:
            KeyError: the profile has no such kind.
        """
        question, choices, answer = sample["question"], sample["choices"], sample["answer"]
        text = self._templates[kind].render(
            sample_text=sample_text(question, choices, answer),
            question_text=question_text(question, choices),
            gold=gold(choices, answer),
            question=question,
            choices=choices,
            answer=answer,
            task=sample.get("task"),
            subject=sample.get("subject"),
        )
        if self.profile.form == "text":
            return text
        system = [{"role": "system", "content": self.profile.system.strip()}] if self.profile.system else []
        return [*system, {"role": "user", "content": text.strip()}]

    def missing(self, kinds: tuple[str, ...]) -> list[str]:
        return [kind for kind in kinds if kind not in self.profile.kinds]
