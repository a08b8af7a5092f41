"""Paraphrases: a teacher says a question in other words; what asks something else, or says too much, is rejected.

The options and the answer stay those of the original. The teacher sees neither, so it cannot keep to the meaning by
looking at them: what can be seen of a changed meaning without understanding it is looked for here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from teacherlm.builders.prompts import BoundPrompts, PromptProfile
from teacherlm.core.bundle import bundled
from teacherlm.experiments.asked import Answer, Books, augmented
from teacherlm.project.bind import SPEC_CONFIG, bind
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import read_yaml
from teacherlm.text.normalise import one_line

PROMPTS = "builders/prompts/experiments/paraphrase.yaml"
TEMPLATE: Final = "chain_of_thought"
"""The place of the template in the profile that `prompts` makes; a profile has places for kinds alone."""

REASONS = ("empty", "same", "repeated", "numbers", "options", "answer", "long")
"""Why a paraphrase is rejected; the first that holds."""

_LABEL = re.compile(r"(?:(?:Q|question|(?:re|para)phrased(?: question)?|in other words) ?:\s*)+", re.IGNORECASE)
_END = re.compile(r"\s+A:\s*$")
_QUOTED = re.compile(r"(?:\"([^\"]+)\"|'([^']+)'|“([^“”]+)”|‘([^‘’]+)’|«([^«»]+)»|\*\*([^*]+)\*\*)")
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_LETTERED = re.compile(r"\([A-Z]\)|(?:^|\s)[A-Z]\)\s")
_WORDS = re.compile(r"\W+")
_SHORT = 3
"""Characters. Shorter options, such as `no` and `a`, are words of any sentence."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Wording:
    """How a paraphrase is asked for: `builders/prompts/experiments/paraphrase.yaml`."""

    about: str = ""
    text: str
    """Jinja template of a prompt that a base model continues; `question` stands for the question."""
    chat: str
    """The same as a message for an instruct model."""
    system: str | None = None
    stop: tuple[str, ...] = ()
    """A continued text ends before these. TGI takes four at most."""

    @model_validator(mode="after")
    def _shows_no_answer(self) -> Wording:
        for template in (self.text, self.chat):
            if re.search(r"\{[{%][^}]*\b(?:answer|gold|sample_text|hinted_text)\b", template):
                raise ValueError("a template shows the answer, which a paraphrase could give away | use `question`")
        return self


def prompts(files: ProjectFiles, form: str) -> BoundPrompts:
    """How a teacher of that form is asked: the project's own file, else the one that ships with teacherlm.

    Args:
        form: `text` or `chat`, as the teacher's prompt profile has it.

    Returns:
        A profile that has the request in the place `TEMPLATE`.

    Raises:
        Mistakes: all that is wrong in the file.
    """
    root = next(root for root in (files.root, bundled()) if (root / PROMPTS).is_file())
    located = read_yaml(root / PROMPTS, PROMPTS)
    wording = bind(located, Wording)
    is_chat = form == "chat"
    profile = PromptProfile(
        name="paraphrase",
        form="chat" if is_chat else "text",
        system=wording.system if is_chat else None,
        kinds={TEMPLATE: wording.chat if is_chat else wording.text},
        stop=() if is_chat else wording.stop,
    )
    bound = BoundPrompts(profile, located)
    bound.check()
    return bound


def paraphrased(sample: Mapping[str, Any], answers: Sequence[Answer], books: Books) -> Iterator[dict[str, Any]]:
    """The original and its accepted paraphrases, as rows of the augmented table; every answer is counted.

    Ids of paraphrases are the original's, and the number of the call: `creak/train/1/paraphrase-0`.
    """
    yield augmented(sample)
    seen = {_bare(sample["question"])}
    for answer in answers:
        if books.unusable(answer):
            continue
        text = tidied(answer.text)
        reason = objection(sample, text, seen)
        if reason is not None:
            books.rejected[reason] += 1
            continue
        books.accepted += 1
        seen.add(_bare(text))
        sample_id = f"{sample['sample_id']}/paraphrase-{answer.repeat}"
        # A person's explanation may quote the words of the original.
        yield augmented(sample, sample_id=sample_id, question=text, human_rationale=None)


def tidied(text: str) -> str:
    """An answer without the heading, the quotation marks and the `A:` that models put around a question.

    >>> tidied('Rephrased question: "What  is 3 + 4?"'), tidied("Q: Does iron rust? A:")
    ('What is 3 + 4?', 'Does iron rust?')
    """
    found = one_line(text)
    while True:
        before = found
        label = _LABEL.match(found)
        found = _END.sub("", found[label.end() if label else 0 :]).strip()
        if quoted := _QUOTED.fullmatch(found):
            found = next(group for group in quoted.groups() if group).strip()
        if found == before:
            return found


def objection(sample: Mapping[str, Any], text: str, seen: set[str]) -> str | None:
    """Why a paraphrase cannot stand for its original, one of `REASONS`; None: nothing speaks against it.

    An option that the original does not name may not be named, whichever it is: were only the right one looked for,
    the questions that pass would tell the answer by what they do not say.

    Args:
        sample: `question`, `choices`, `answer`.
        text: as `tidied` gives it.
        seen: the original and the paraphrases that were accepted before, without case and signs.
    """
    question, bare = sample["question"], _bare(text)
    if not bare:
        return "empty"
    if bare in seen:
        return "same" if bare == _bare(question) else "repeated"
    if _numbers(text) != _numbers(question):
        return "numbers"
    options = list(sample["choices"] or ())
    named = [
        option for option in options or [sample["answer"]] if _names(text, option) and not _names(question, option)
    ]
    if len(named) > 1 or (_LETTERED.search(text) and not _LETTERED.search(question)):
        return "options"
    if named:
        return "answer"
    return "long" if len(bare.split()) > 3 * len(_bare(question).split()) + 10 else None


def _numbers(text: str) -> set[str]:
    return {number.replace(",", "") for number in _NUMBER.findall(text)}


def _names(text: str, option: str) -> bool:
    words = _bare(option)
    return len(words) >= _SHORT and f" {words} " in f" {_bare(text)} "


def _bare(text: str) -> str:
    """Words in small letters, one blank between them."""
    return _WORDS.sub(" ", text.casefold()).strip()
