"""Which column is the gold answer and how it is written: a text, a number or letter of an option, a class, a truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from teacherlm.builders.guess_choices import Options, find_options
from teacherlm.builders.guesses import Guess, literal, named
from teacherlm.builders.recipe import TO_FILL_IN
from teacherlm.builders.survey import Column, Survey

ANSWERS = (
    *("answerkey", "correctanswer", "correctoption", "correctchoice", "correctindex", "correct", "answeridx"),
    *("answerindex", "finalanswer", "goldanswer", "answer", "answers", "labeltext", "labelname", "goldlabel", "gold"),
    *("qans", "ans", "cop", "targettext", "target", "label", "labels", "output", "response", "completion", "stance"),
    *("sentiment", "class", "category", "verdict", "isduplicate", "istrue", "iscorrect", "truth", "entailment"),
    *("relation", "emotion", "intent", "summary", "highlights", "solution", "coarselabel", "rating", "stars", "type"),
)
"""Names of columns that hold the answer, the most telling first."""

CLASSES = ("label", "labels", "class", "target", "goldlabel", "coarselabel", "finelabel", "category", "gold", "rating")

WORDS = (
    {"yes", "no", "maybe", "unknown"},
    {"true", "false", "uncertain", "unknown", "neither"},
    {"entailment", "neutral", "contradiction", "not_entailment", "not entailment"},
    {"positive", "negative", "neutral", "mixed"},
    {"supported", "refuted", "supports", "refutes", "not enough info"},
    {"support", "counter", "agree", "disagree"},
)
"""Sets of words that are classes however few rows there are."""

FITS = 0.9
"""Share of the labelled rows that a reading must fit."""


@dataclass(frozen=True, kw_only=True)
class AnswerGuess:
    """The answer, and what goes with it."""

    answer: Guess | None = None
    choices: Guess | None = None
    rationale: Guess | None = None
    """Where the answer's column holds the reasoning too."""
    where: Guess | None = None
    of_truth: bool = False
    """The options are True and False."""
    of_class: str | None = None
    """What the options are classes of, in words."""
    of_numbers: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        parts = (self.answer, self.choices, self.rationale, self.where)
        return tuple(dict.fromkeys(name for part in parts if part for name in part.columns))


def guess_answer(survey: Survey) -> AnswerGuess:
    """Options and answer that fit each other; else classes; else a free text."""
    return _of_options(survey) or _of_one_column(survey) or AnswerGuess()


@dataclass(frozen=True)
class _Reading:
    """One way to read a column as the answer among options."""

    expression: str
    why: str
    fits: float


def _of_options(survey: Survey) -> AnswerGuess | None:
    best: tuple[float, Options, Column, _Reading] | None = None
    for options in find_options(survey):
        good = _share(survey, f"len({options.expression}) BETWEEN 2 AND 26")
        if good < FITS:
            continue
        for rank, column in enumerate(_answer_columns(survey, options)):
            for reading in _readings(survey, options, column):
                # Of readings that fit equally well the first: columns by name, texts before numbers.
                score = min(1.0, reading.fits) * good - 0.001 * rank
                if reading.fits >= FITS and (best is None or score > best[0] + 0.0005):
                    best = (score, options, column, reading)
        if options.right and best and best[1] is options:
            break
    if best is None:
        return None
    _, options, column, reading = best
    return AnswerGuess(
        answer=Guess(reading.expression, reading.why, (column.name, *options.columns)),
        choices=Guess(options.expression, options.why, options.columns),
        where=_labelled(column),
    )


def _answer_columns(survey: Survey, options: Options) -> list[Column]:
    if options.right:
        return [survey.column(options.right)]
    free = [
        c
        for c in survey.columns
        if c.name not in options.columns and c.present and (c.is_text or c.is_integer or c.type == "BOOLEAN")
    ]
    ranked = sorted((c for c in free if c.key in ANSWERS), key=lambda column: ANSWERS.index(column.key))
    return ranked + [column for column in free if column not in ranked and column.key.find("id") < 0]


def _readings(survey: Survey, options: Options, column: Column) -> Iterator[_Reading]:
    listed, q = options.expression, column.sql
    ways: list[tuple[str, str]] = []
    if column.is_text:
        ways.append((q, "an option's text"))
        if options.labels:
            ways.append((f"{listed}[list_position({options.labels}, {q})]", "an option's label"))
        if column.share(r"^[A-Za-z]$") >= FITS:
            ways.append((f"{listed}[ascii(upper(trim({q}))) - 64]", "an option's letter"))
        elif column.share(r"^\(?[A-Za-z][).:]?$") >= FITS:
            ways.append((f"{listed}[ascii(upper(regexp_extract({q}, '[A-Za-z]'))) - 64]", "an option's letter"))
    if column.is_integer or (column.is_text and column.share(r"^\d+$") >= FITS):
        number = q if column.type.endswith(("INT", "INTEGER")) else f"TRY_CAST({q} AS INTEGER)"
        counted = [(f"{listed}[{number} + 1]", "counted from 0"), (f"{listed}[{number}]", "counted from 1")]
        smallest = min((int(float(str(value))) for value in _labelled_values(column)), default=0)
        if options.first and smallest > 0:  # option1, option2 …, and no row says 0
            counted.reverse()
        ways += [(expression, f"an option's number, {why}") for expression, why in counted]
    labelled = _is_labelled(column)
    for expression, why in ways:
        among = f"list_contains([clean_text(o) FOR o IN {listed}], clean_text({expression}))"
        fits = _share(survey, among, labelled)
        if why.endswith("counted from 1") and column.is_integer and 0 in column.values:
            continue
        yield _Reading(expression, why, fits)


def _share(survey: Survey, condition: str, among: str = "true") -> float:
    """Of the rows looked at the share that a condition holds for; 0 where it cannot be computed."""
    query = f"SELECT count(*) FILTER (coalesce(({condition}), false)) / greatest(count(*), 1) FROM seen WHERE {among}"
    return float(survey.one(query) or 0.0)


def _of_one_column(survey: Survey) -> AnswerGuess | None:
    usable = [c for c in survey.columns if c.present and (not c.type.startswith("STRUCT") or _inner(c))]
    column = named(usable, ANSWERS)
    if column is None:
        column = next((c for c in usable if c.labels or c.type == "BOOLEAN"), None)
    if column is None:
        return None
    q, name = column.sql, (column.name,)
    where = _labelled(column)
    if column.labels and column.is_integer:
        classes = literal(column.labels)
        words = column.name.replace("_", " ")
        return AnswerGuess(
            choices=Guess(classes, "the names of the labels", name),
            answer=Guess(f"{classes}[{q} + 1]", "the label's name", name),
            where=where,
            of_truth={label.lower() for label in column.labels} == {"true", "false"},
            of_class=None if set(map(str.lower, column.labels)) <= {"true", "false", "yes", "no"} else words,
        )
    if column.type == "BOOLEAN":
        return AnswerGuess(
            choices=Guess("['True', 'False']", "a truth value", name),
            answer=Guess(f"CASE WHEN {q} THEN 'True' ELSE 'False' END", "a truth value", name),
            where=where,
            of_truth=True,
        )
    if inner := _inner(column):
        return AnswerGuess(answer=Guess(inner, "the first of several answers", name))
    if column.is_text_list:
        return AnswerGuess(answer=Guess(f"{q}[1]", "the first of several answers", name))
    if column.is_text:
        return _of_text(survey, column, where)
    return _of_number(survey, column, where)


def _inner(column: Column) -> str | None:
    """The answer inside a struct, as SQuAD and TriviaQA have it."""
    first = column.present[0] if column.type.startswith("STRUCT(") and not column.type.endswith("]") else None
    if not isinstance(first, dict):
        return None
    for key in ("text", "value", "answer"):
        if isinstance(first.get(key), list):
            return f"{column.sql}.{key}[1]"
        if isinstance(first.get(key), str):
            return f"{column.sql}.{key}"
    return None


def _of_text(survey: Survey, column: Column, where: Guess | None) -> AnswerGuess:
    q, name = column.sql, (column.name,)
    if column.share(r"####") >= FITS:
        return AnswerGuess(
            answer=Guess(f"split_part({q}, '####', 2)", "what follows ####", name),
            rationale=Guess(
                f"regexp_replace(split_part({q}, '####', 1), '<<[^>]*>>', '', 'g')", "what precedes ####", name
            ),
            where=where,
            of_numbers=True,
        )
    if column.share(r"\\boxed\{") >= FITS:
        boxed = rf"regexp_extract({q}, '\\boxed\{{((?:[^{{}}]|\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}})*)\}}', 1)"
        return AnswerGuess(
            answer=Guess(boxed, "what stands in the box", name), rationale=Guess(q, "the text with the box", name)
        )
    if column.share(r"^\(?[A-Ja-j][).:]?$") >= FITS:
        unknown = Guess(TO_FILL_IN, f"`{column.name}` names options by their letters, and no options were found", name)
        return AnswerGuess(choices=unknown, answer=unknown, where=where)
    classes = _classes(survey, column)
    if classes is None:
        return AnswerGuess(
            answer=Guess(q, "by its name", name), where=where, of_numbers=column.share(r"^-?[\d.,/ %$]+$") >= FITS
        )
    lower = {text.lower() for text in classes}
    cased = len(lower) < len(classes)  # `Yes` beside `yes`
    expression = f"lower({q})" if cased else q
    if lower <= {"true", "false"}:
        chosen = f"CASE WHEN lower({q}) = 'true' THEN 'True' ELSE 'False' END"
        truth = Guess("['True', 'False']", "a truth value", name)
        return AnswerGuess(choices=truth, answer=Guess(chosen, "a truth value", name), where=where, of_truth=True)
    shown = sorted(lower if cased else classes, key=lambda text: (text.lower() not in ("yes", "true"), text))
    return AnswerGuess(
        choices=Guess(literal(shown), "all texts that the column has", name),
        answer=Guess(expression, "one of them", name),
        where=where,
        of_class=None if lower <= {"yes", "no"} else column.name.replace("_", " "),
    )


def _classes(survey: Survey, column: Column) -> list[str] | None:
    """The texts of a column of classes; None where it holds answers that differ from row to row."""
    seen = {text.lower() for text in column.texts}
    few = len(seen) <= min(20, len(column.texts) / 4) and max(map(len, column.texts)) <= 40
    if not (few or any(seen <= words for words in WORDS)) or column.share(r"^-?[\d.,/]+$") > 0.5:
        return None
    texts = [text for text in survey.distinct(column.sql) or [] if text != "-"]
    return texts if len(texts) > 1 else None


def _of_number(survey: Survey, column: Column, where: Guess | None) -> AnswerGuess:
    q, name = column.sql, (column.name,)
    numbers = sorted({int(value) for value in _labelled_values(column)}) if column.is_integer else []
    truths = column.key.startswith(("is", "has")) and set(numbers) <= {0, 1}
    if truths and numbers:
        answer = Guess(f"CASE {q} WHEN 1 THEN 'yes' WHEN 0 THEN 'no' END", "1 and 0 by the column's name", name)
        return AnswerGuess(choices=Guess("['yes', 'no']", "1 and 0", name), answer=answer, where=where)
    if column.key in CLASSES and 1 < len(numbers) <= 20:
        listed = ", ".join(map(str, numbers))
        arms = " ".join(f"WHEN {number} THEN '{column.name} {number}'" for number in numbers)
        open_why = f"write what {listed} mean: the source does not say"
        return AnswerGuess(
            choices=Guess(literal(f"{column.name} {number}" for number in numbers), open_why, name, is_open=True),
            answer=Guess(f"CASE {q} {arms} END", open_why, name, is_open=True),
            where=where,
            of_class=column.name.replace("_", " "),
        )
    whole = column.is_integer and not column.type.endswith(("INT", "INTEGER"))
    expression = f"CAST(CAST({q} AS BIGINT) AS VARCHAR)" if whole else f"CAST({q} AS VARCHAR)"
    return AnswerGuess(answer=Guess(expression, "by its name", name), of_numbers=True)


def _labelled_values(column: Column) -> list[float]:
    return [float(str(value)) for value in column.present if float(str(value)) != -1]


def _is_labelled(column: Column) -> str:
    q = column.sql
    if column.is_text:
        return f"coalesce(trim({q}), '') NOT IN ('', '-', '-1')"
    return f"{q} IS NOT NULL" if column.type == "BOOLEAN" else f"coalesce({q}, -1) >= 0"


def _labelled(column: Column) -> Guess | None:
    """The rows that have an answer, where some have none."""
    without = [
        v for v in column.values if v is None or v == -1 or (isinstance(v, str) and v.strip() in ("", "-", "-1"))
    ]
    if not without:
        return None
    q, share = column.sql, f"{len(without):,} of the {len(column.values):,} rows looked at have no answer"
    if column.is_text:
        marks = sorted({value.strip() for value in without if value is not None})
        listed = ", ".join(f"'{mark}'" for mark in ["", *(mark for mark in marks if mark)])
        return Guess(f"coalesce(trim({q}), '') NOT IN ({listed})", share, (column.name,))
    negative = column.is_integer and -1 in column.values
    return Guess(f"{q} >= 0" if negative else f"{q} IS NOT NULL", share, (column.name,))
