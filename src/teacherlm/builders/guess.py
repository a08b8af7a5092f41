"""Which column is what: a sample's expressions guessed from the names and values of a source's columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from teacherlm.builders.guess_answers import AnswerGuess, guess_answer
from teacherlm.builders.guesses import Guess, named, text_of
from teacherlm.builders.survey import Column, Survey

QUESTIONS = (
    *("question", "questionstem", "qtext", "questiontext", "query", "problem", "problemstatement", "instruction"),
    *("prompt", "stem", "goal", "ctx", "sentence", "sent", "statement", "claim", "argument", "text", "input", "body"),
    *("content", "review", "message", "hypothesis", "document", "title"),
)
"""Names of columns that hold what is asked, the most telling first."""

STATEMENTS = ("sentence", "sent", "statement", "claim", "hypothesis", "text", "argument")

CONTEXTS = (
    *("context", "passage", "story", "article", "paragraph", "background", "body", "document", "dialogue", "dialog"),
    *("premise", "scenario", "situation", "text"),
)
"""Names of columns that a question is about."""

PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("text1", "text2"))

RATIONALES = (
    *("humanrationale", "rationale", "explanation", "cot", "chainofthought", "reasoning", "solution", "reason"),
    *("steps", "proof", "explanation1", "justification", "abstractiveexplanation", "facts", "support", "thought"),
)

IDS = (
    "id",
    "uid",
    "qid",
    "guid",
    "uuid",
    "sampleid",
    "questionid",
    "exampleid",
    "exid",
    "qno",
    "idx",
    "index",
    "ind",
    "nr",
    "no",
    "number",
)

SUBJECTS = ("subject", "subjectname", "topic", "topicname", "domain", "field", "area", "category", "taskname")


@dataclass(frozen=True, kw_only=True)
class Guessed:
    """What was guessed of a recipe; parts that are None could not be."""

    question: Guess | None
    answer: AnswerGuess
    id: Guess | None = None
    subject: Guess | None = None
    human_rationale: Guess | None = None
    where: Guess | None = None
    task: str = "open_qa"
    candidates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For `question`, `choices` and `answer`, columns that it might be."""

    @property
    def columns(self) -> list[str]:
        """Columns that the expressions use."""
        answer = self.answer
        parts = (self.id, self.question, answer.choices, answer.answer, self.subject, self.human_rationale, self.where)
        return list(dict.fromkeys(name for part in parts if part for name in part.columns))


def guess(survey: Survey) -> Guessed:
    """Guess every part of a recipe."""
    chat = _chat(survey)
    if chat is not None:
        return chat
    answer = guess_answer(survey)
    used = set(answer.columns)
    identity = _id(survey, used)
    used |= set(identity.columns) if identity else set()
    rationale = answer.rationale or _rationale(survey, used)
    taken = used | (set(rationale.columns) if rationale else set())
    question = _question(survey, answer, taken)
    taken |= set(question.columns) if question else set()
    subject = _subject(survey, taken)
    texts = [column for column in survey.columns if column.is_text or column.is_text_list]
    return Guessed(
        question=question,
        answer=answer,
        id=identity,
        subject=subject,
        human_rationale=rationale,
        where=answer.where,
        task=_task(survey, answer, question),
        candidates={
            "question": tuple(column.name for column in texts if column.name not in used),
            "choices": tuple(column.name for column in survey.columns if column.name not in taken),
            "answer": tuple(column.name for column in survey.columns if column.name not in taken),
        },
    )


def _question(survey: Survey, answer: AnswerGuess, taken: set[str]) -> Guess | None:
    free = [column for column in survey.columns if column.name not in taken and column.present]
    keys = {column.key: column for column in free if column.is_text}
    for first, second in PAIRS:
        if first in keys and second in keys and not named(free, ("question",)):
            one, two = keys[first], keys[second]
            expression = f"'{_title(one)}: ' || {one.sql} || ' {_title(two)}: ' || {two.sql}"
            return Guess(expression, "two texts; add what is asked about them", (one.name, two.name))
    asked = named([column for column in free if column.is_text], QUESTIONS) or _sole_question(free)
    if asked is None:
        return None
    if asked.key == "instruction" and "input" in keys:
        added = keys["input"]
        expression = f"concat_ws(' ', {asked.sql}, nullif({added.sql}, ''))"
        return Guess(expression, "what is asked, then its input", (asked.name, added.name))
    about = [c for c in free if c is not asked and c.key in CONTEXTS and _is_about(c, asked)]
    if about and asked.key not in CONTEXTS:
        context = min(about, key=lambda column: CONTEXTS.index(column.key))
        text = text_of(context)
        gaps = len(context.present) < len(context.values)
        expression = f"concat_ws(' ', {text}, {asked.sql})" if gaps else f"{text} || ' ' || {asked.sql}"
        return Guess(expression, "what it is about, then what is asked", (context.name, asked.name))
    if answer.of_truth and asked.key in STATEMENTS:
        return Guess(f"'Is this true? ' || {asked.sql}", "word it as a person would ask", (asked.name,))
    if answer.of_class and asked.share(r"\?\W*$") < 0.5:
        expression = f"'Which {answer.of_class} fits this text? ' || {asked.sql}"
        return Guess(expression, "word it as a person would ask", (asked.name,))
    return Guess(asked.sql, "by its name" if asked.key in QUESTIONS else "by its texts", (asked.name,))


def _is_about(context: Column, asked: Column) -> bool:
    """Whether a column holds texts that the question needs and does not repeat itself."""
    if not (context.is_text or context.is_text_list) or context.words < 3:
        return False
    pairs = zip(context.values, asked.values, strict=True)
    inside = sum(isinstance(a, str) and isinstance(b, str) and a.strip()[:40] in b for a, b in pairs)
    return inside < len(asked.values) / 2


def _sole_question(free: Sequence[Column]) -> Column | None:
    """The one column whose texts are questions, or the only one with sentences."""
    texts = [column for column in free if column.is_text and column.present]
    asking = [column for column in texts if column.share(r"\?\W*$") >= 0.5]
    if len(asking) == 1:
        return asking[0]
    long = [column for column in texts if column.words >= 4]
    return long[0] if len(long) == 1 else None


def _id(survey: Survey, used: set[str]) -> Guess | None:
    free = [c for c in survey.columns if c.name not in used and (c.is_text or c.is_integer) and c.type != "DOUBLE"]
    ranked = sorted((c for c in free if c.key in IDS), key=lambda column: IDS.index(column.key))
    ranked += [column for column in free if column.key.endswith("id") and column not in ranked]
    for column in ranked:
        if survey.is_unique(column.sql):
            return Guess(column.sql, "no value stands twice in a split", (column.name,))
    return None


def _rationale(survey: Survey, used: set[str]) -> Guess | None:
    free = [c for c in survey.columns if c.name not in used and (c.is_text or c.is_text_list) and c.present]
    column = named(free, RATIONALES)
    if column is None:
        return None
    text, why = text_of(column), "by its name"
    if nothing := next(
        (word for word in ("n/a", "N/A", "none", "None", "null", "-") if word in column.texts[:500]), ""
    ):
        text, why = f"nullif({text}, '{nothing}')", f'by its name; "{nothing}" is nothing'
    return Guess(text, why, (column.name,))


def _subject(survey: Survey, taken: set[str]) -> Guess | None:
    column = named([c for c in survey.columns if c.name not in taken and c.is_text and c.present], SUBJECTS)
    if column is None or len(set(column.texts)) > max(3, len(column.texts) / 3) or max(map(len, column.texts)) > 80:
        return None
    return Guess(column.sql, "by its name", (column.name,))


def _task(survey: Survey, answer: AnswerGuess, question: Guess | None) -> str:
    keys = {column.key for column in survey.columns}
    if {"premise", "hypothesis"} <= keys:
        return "nli"
    if answer.of_class:
        return "sentiment" if answer.of_class == "sentiment" else "classification"
    if answer.of_truth:
        return "fact_verification"
    if answer.of_numbers and not answer.choices:
        return "math"
    reads = question is not None and any(survey.column(name).key in CONTEXTS for name in question.columns)
    if answer.choices:
        return "reading_multiple_choice" if reads else "multiple_choice_qa"
    return "reading_comprehension" if reads else "closed_book_qa"


def _chat(survey: Survey) -> Guessed | None:
    """A list of messages: the first of the user is the question, the first of the assistant the answer."""
    for role, content, asker, teller in (("role", "content", "user", "assistant"), ("from", "value", "human", "gpt")):
        for column in survey.columns:
            kind = column.type
            if not (kind.startswith("STRUCT(") and kind.endswith(")[]") and {role, content} <= _keys(column)):
                continue
            of = f"list_filter({column.sql}, lambda m: m.{_part(role)} = '{{}}')[1].{_part(content)}"
            question = Guess(of.format(asker), f"the first message of the {asker}", (column.name,))
            answer = Guess(of.format(teller), f"the first message of the {teller}", (column.name,))
            if survey.one(f"SELECT count({answer.expression}) FROM seen"):
                guessed = AnswerGuess(answer=answer)
                return Guessed(
                    question=question, answer=guessed, id=_id(survey, {column.name}), task="instruction_following"
                )
    return None


def _keys(column: Column) -> set[str]:
    rows = [row for row in column.present if row]
    return set(rows[0][0]) if rows else set()


def _part(name: str) -> str:
    return f'"{name}"' if name == "from" else name


def _title(column: Column) -> str:
    return column.name.replace("_", " ").capitalize()
