"""Training formats: augmented rows as text that a trainer takes as it is.

All that the texts say beside the rows' own words stands in this file. A row without any rationale is left out. The
reasoning comes before the answer: what the question rests on, what people get wrong, then the steps, which lead to the
answer. A rationale that is null leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Literal, get_args

from teacherlm.schemas.records import KINDS, Column, Record, record
from teacherlm.text.normalise import clean, one_line
from teacherlm.text.render import question_text, sample_text

if TYPE_CHECKING:
    import pyarrow as pa

FormatName = Literal["messages", "prompt_completion", "text"]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)

LEADS: Mapping[str, str] = {
    "fundamentals": "The fundamental of this question is:",
    "common_mistakes": "The common mistakes are:",
    "chain_of_thought": "Let's think step by step.",
}
"""What leads a rationale of each kind in, in the order in which they are told; the words of the paper's requests."""

ANSWER = " A:"
"""Between the question and what is to be learnt, in text of one line. No blank follows: tokens end where it ends."""

LINE, PARAGRAPH = " ", "\n\n"
"""Between the parts of what is to be learnt: in one line of text, and in a message."""


@cache
def reads() -> Record:
    """The columns of the augmented record that the formats are made of."""
    read = ("sample_id", "question", "choices", "answer", *KINDS)
    about = "What a training format is made of."
    return Record("read by formats", about, tuple(column for column in record("augmented") if column.name in read))


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to hand augmented rows to a trainer."""

    name: FormatName
    columns: Record
    render: Callable[[Mapping[str, Any]], dict[str, Any]]
    """What a row with a rationale gives, beside its `sample_id`."""

    def shape(self, table: pa.Table) -> pa.Table:
        """The rows in this format; those without a rationale are left out.

        Args:
            table: rows with the columns of `reads`.
        """
        import pyarrow as pa

        rows = [
            {"sample_id": row["sample_id"], **self.render(row)}
            for row in table.to_pylist()
            if any(row[kind] is not None for kind in KINDS)
        ]
        return pa.Table.from_pylist(rows, schema=self.columns.arrow())


def config_name(dataset: str, name: str) -> str:
    """The config, and the folder below `data/`, of a dataset in a format.

    >>> config_name("creak", "messages")
    'creak-messages'
    """
    return f"{dataset}-{name}"


def messages(row: Mapping[str, Any]) -> dict[str, Any]:
    """A conversation of two turns: the question with its options, one on a line; the reasoning and the answer.

    >>> messages({"question": "Does iron rust?", "choices": ["False", "True"], "answer": "True",
    ...           "fundamentals": None, "chain_of_thought": "Wet iron rusts.", "common_mistakes": None})["messages"][1]
    {'role': 'assistant', 'content': "Let's think step by step. Wet iron rusts.\\n\\nThe answer is (B)."}
    """
    options = [f"({letter}) {one_line(c)}" for letter, c in zip(ascii_uppercase, row["choices"], strict=False)]
    turns = {
        "user": "\n".join([_lines(row["question"]), *options]),
        "assistant": PARAGRAPH.join(_told(row, _lines)),
    }
    return {"messages": [{"role": role, "content": content} for role, content in turns.items()]}


def prompt_completion(row: Mapping[str, Any]) -> dict[str, Any]:
    """The paper's form in one line, cut where the learner begins to write: the completion starts with a blank.

    >>> prompt_completion({"question": "What is 3 + 4?", "choices": [], "answer": "7",
    ...                    "fundamentals": None, "chain_of_thought": "3 + 4 = 7.", "common_mistakes": None})
    {'prompt': 'Q: What is 3 + 4? A:', 'completion': " Let's think step by step. 3 + 4 = 7. The answer is 7."}
    """
    prompt = question_text(row["question"], row["choices"]) + ANSWER
    return {"prompt": prompt, "completion": LINE + LINE.join(_told(row, one_line))}


def text(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same as one text."""
    parts = prompt_completion(row)
    return {"text": parts["prompt"] + parts["completion"]}


def _lines(text: str) -> str:
    """Blanks collapsed, lines kept; a text of one line, as most are, the quick way."""
    return clean(text) if "\n" in text else one_line(text)


def _told(row: Mapping[str, Any], tidy: Callable[[str], str]) -> Iterator[str]:
    """The rationales, each led in, and the answer; not again where the last rationale ends with it."""
    last = ""
    for kind, lead in LEADS.items():
        if row[kind] is not None:
            last = tidy(row[kind])
            yield f"{lead} {last}"
    answer = answer_text(row["question"], row["choices"], row["answer"])
    if not one_line(last).casefold().endswith(answer.casefold()):
        yield answer


def answer_text(question: str, choices: Sequence[str], answer: str) -> str:
    """How the text of a sample states its answer.

    >>> answer_text("Does iron rust?", ["False", "True"], "True"), answer_text("What is 3 + 4?", [], "7")
    ('The answer is (B).', 'The answer is 7.')
    """
    return sample_text(question, choices, answer).removeprefix(question_text(question, choices) + ANSWER).lstrip()


def _format(
    name: FormatName, about: str, render: Callable[[Mapping[str, Any]], dict[str, Any]], *columns: Column
) -> Format:
    key = Column(name="sample_id", type="string", about="The sample, as in the augmented dataset.")
    return Format(name=name, columns=Record(name, about, (key, *columns)), render=render)


FORMATS: Mapping[FormatName, Format] = {
    "messages": _format(
        "messages",
        "A conversation, for models with a chat template.",
        messages,
        Column(
            name="messages",
            type="list<struct>",
            about="The question of the user, then what the assistant says.",
            fields=(
                Column(name="role", type="string", values=("user", "assistant")),
                Column(name="content", type="string"),
            ),
        ),
    ),
    "prompt_completion": _format(
        "prompt_completion",
        "Plain text in two parts, of which the second is learnt.",
        prompt_completion,
        Column(name="prompt", type="string", about="The question, up to `A:`."),
        Column(name="completion", type="string", about="The reasoning and the answer, after a blank."),
    ),
    "text": _format(
        "text",
        "Plain text, all of which is learnt.",
        text,
        Column(name="text", type="string", about="Question, reasoning and answer, in one line."),
    ),
}
"""Every format, by its name."""
