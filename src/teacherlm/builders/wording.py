"""Templates of prompts, and the words of a sample that they may use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from teacherlm.text.render import gold, hinted_text, question_text, sample_text

if TYPE_CHECKING:
    import jinja2

KNOWN = ("sample_text", "question_text", "hinted_text", "gold", "question", "choices", "answer", "task", "subject")
"""What a template may use."""


class Words(dict[str, Any]):
    """What templates may say about one sample, made when it is first asked for."""

    def __init__(self, sample: Mapping[str, Any]) -> None:
        super().__init__()
        self.sample = sample

    def __missing__(self, name: str) -> Any:
        sample = self.sample
        question, choices, answer = sample["question"], sample["choices"], sample["answer"]
        value: Any
        match name:
            case "sample_text":
                value = sample_text(question, choices, answer)
            case "question_text":
                value = question_text(question, choices)
            case "hinted_text":
                value = hinted_text(question, choices, answer)
            case "gold":
                value = gold(choices, answer)
            case "question" | "choices" | "answer":
                value = sample[name]
            case "task" | "subject":
                value = sample.get(name)
            case _:
                raise KeyError(name)
        self[name] = value
        return value

    def whole(self) -> dict[str, Any]:
        """All of them."""
        return {name: self[name] for name in KNOWN}


class Template:
    """A Jinja template. One that only puts words between texts is joined without Jinja, at a fifth of the cost.

    Raises:
        jinja2.TemplateSyntaxError: it is none.
    """

    def __init__(self, source: str) -> None:
        self._compiled = _environment().from_string(source)
        self._pieces = _pieces(source)

    def render(self, words: Words, **more: Any) -> str:
        """The text.

        Raises:
            jinja2.UndefinedError, or whatever else a template raises that computes.
        """
        if self._pieces is None:
            return self._compiled.render(words.whole(), **more)
        return "".join([str(words[piece]) if is_word else piece for is_word, piece in self._pieces])


def _pieces(source: str) -> list[tuple[bool, str]] | None:
    """Texts, and names of words between them; None where a template is more than that."""
    from jinja2 import nodes

    pieces: list[tuple[bool, str]] = []
    for statement in _environment().parse(source).body:
        if not isinstance(statement, nodes.Output):
            return None
        for node in statement.nodes:
            if isinstance(node, nodes.TemplateData):
                pieces.append((False, node.data))
            elif isinstance(node, nodes.Name) and node.name in KNOWN:
                pieces.append((True, node.name))
            else:
                return None
    return pieces


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=False)
