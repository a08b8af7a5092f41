"""Where a source keeps a question's options: lists, structs, JSON text, or a column for each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import orjson

from teacherlm.builders.guesses import named
from teacherlm.builders.survey import Column, Survey

TEXTS = ("text", "texts", "choice", "option", "value", "content", "answer")
LABELS = ("label", "labels", "key", "id", "letter")

RIGHT = ("correctanswer", "answer", "rightanswer", "correct", "bestanswer", "gold", "target", "correctoption")
WRONG = ("incorrectanswers", "distractors", "wronganswers", "incorrectoptions", "distractor")

LETTERED = r"^\s*\(?[A-Za-z]\s*[).:]\s*"
"""`A) `, `(B) `, `c. `: an option that brings its letter along."""


@dataclass(frozen=True)
class Options:
    """One way to read the options of a row."""

    expression: str
    why: str
    columns: tuple[str, ...]
    labels: str | None = None
    """A list of the options' labels, in their order."""
    first: int = 0
    """What the source counts them from, by the columns' names."""
    right: str | None = None
    """The right option, where it stands in a column of its own and is one of the options by construction."""


def find_options(survey: Survey) -> Iterator[Options]:
    """Every way to read options that the rows allow."""
    for column in survey.columns:
        if column.type.startswith("STRUCT(") and column.present:
            yield from _of_structs(column)
        elif column.is_text_list and column.present:
            yield _of_list(survey, column, column.sql, "a list of texts")
        elif column.is_text and column.present and column.share(r"^\s*[\[{]") >= 0.9:
            yield from _of_text(survey, column)
    yield from _of_wrong_ones(survey)
    yield from _of_families(survey)


def _of_list(survey: Survey, column: Column, expression: str, why: str) -> Options:
    items = [str(text) for value in column.values[:500] for text in (value if isinstance(value, list) else []) if text]
    if items and all(re.match(LETTERED, text) for text in items):
        stripped = f"list_transform({expression}, lambda o: regexp_replace(o, '{LETTERED}', ''))"
        return Options(stripped, f"{why}, without their letters", (column.name,))
    return Options(expression, why, (column.name,))


def _of_structs(column: Column) -> Iterator[Options]:
    first = column.present[0]
    if isinstance(first, list):
        first = first[0] if first else None
        if not isinstance(first, dict):
            return
        text, label = _among(first, TEXTS, str), _among(first, LABELS, str)
        if text:
            of = f"list_transform({column.sql}, lambda c: c.{{}})"
            labels = of.format(_quoted(label)) if label and label != text else None
            yield Options(of.format(_quoted(text)), "the texts in a list of structs", (column.name,), labels)
        return
    text, label = _among(first, TEXTS, list), _among(first, LABELS, list)
    if text:
        labels = f"{column.sql}.{_quoted(label)}" if label and label != text else None
        yield Options(f"{column.sql}.{_quoted(text)}", "the list of texts in a struct", (column.name,), labels)
    keys = [str(key) for key in first]
    if len(keys) > 1 and sorted(keys) in (_letters(keys), _numbers(keys, 0), _numbers(keys, 1)):
        parts = [f"{column.sql}.{_quoted(key)}" for key in sorted(keys)]
        gaps = any(value.get(key) is None for value in column.present for key in keys)
        labels = "[" + ", ".join(f"'{key}'" for key in sorted(keys)) + "]"
        yield Options(_without_gaps(parts, gaps), "a struct with a field for each", (column.name,), labels)


def _of_text(survey: Survey, column: Column) -> Iterator[Options]:
    """A list, or an object, written as text: by JSON, or by Python as pandas leaves it in a CSV file."""
    value = _parsed(column.texts[0])
    q = column.sql
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        json = f"from_json({q}, '[\"VARCHAR\"]')"
        as_json = all(_is_json(text) for text in column.texts[:200])
        yield _of_list(
            survey,
            Column(column.name, column.type, [_parsed(text) for text in column.texts[:500]]),
            json if as_json else f"CAST({q} AS VARCHAR[])",
            "a list of texts as JSON" if as_json else "a list of texts as Python writes it",
        )
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        if text := _among(value[0], TEXTS, str):
            label = _among(value[0], LABELS, str)
            labels = f"json_extract_string({q}, '$[*].{label}')" if label and label != text else None
            yield Options(f"json_extract_string({q}, '$[*].{text}')", "objects as JSON", (column.name,), labels)
    elif isinstance(value, dict):
        text, label = _among(value, TEXTS, list), _among(value, LABELS, list)
        if text:
            labels = f"json_extract_string({q}, '$.{label}[*]')" if label else None
            yield Options(f"json_extract_string({q}, '$.{text}[*]')", "an object as JSON", (column.name,), labels)
        keys = sorted({str(key) for text in column.texts[:500] for key in (_parsed(text) or {})})
        if len(keys) > 1 and keys in (_letters(keys), _numbers(keys, 0), _numbers(keys, 1)):
            parts = [f"json_extract_string({q}, '$.\"{key}\"')" for key in keys]
            gaps = any(key not in (_parsed(text) or {}) for text in column.texts[:500] for key in keys)
            labels = "[" + ", ".join(f"'{key}'" for key in keys) + "]"
            yield Options(_without_gaps(parts, gaps), "an object as JSON, a key for each", (column.name,), labels)


def _of_wrong_ones(survey: Survey) -> Iterator[Options]:
    """Wrong options and the right one in columns of their own: sorted, as the right one must not have its place."""
    right = named([column for column in survey.columns if column.is_text], RIGHT)
    if right is None:
        return
    why = "the wrong ones and the right one, in alphabetical order"
    wrong = named([column for column in survey.columns if column.is_text_list], WRONG)
    if wrong is not None:
        expression = f"list_sort(list_append({wrong.sql}, {right.sql}))"
        yield Options(expression, why, (wrong.name, right.name), right=right.name)
        return
    several = [c for c in survey.columns if c.is_text and re.fullmatch(r"(distractor|wrong\w*|incorrect\w*)\d+", c.key)]
    if several:
        names = (*(column.name for column in several), right.name)
        listed = ", ".join(column.sql for column in (*several, right))
        gaps = any(len(column.present) < len(column.values) for column in several)
        inner = f"list_filter([{listed}], lambda o: coalesce(trim(o), '') <> '')" if gaps else f"[{listed}]"
        yield Options(f"list_sort({inner})", why, names, right=right.name)


def _of_families(survey: Survey) -> Iterator[Options]:
    """Columns that differ in a final letter or number: option1, option2; A, B, C, D; answerA, answerB."""
    families: dict[tuple[str, str], list[tuple[int, Column]]] = {}
    for column in survey.columns:
        if column.type not in ("VARCHAR", "JSON", "DOUBLE", "BIGINT", "INTEGER"):
            continue
        if match := re.fullmatch(r"(.*?)[ _.-]?(\d+)", column.name):
            families.setdefault((match[1].lower(), "number"), []).append((int(match[2]), column))
        if match := re.fullmatch(r"(?:(.*?)[ _.-]?)?([A-J])|(.*)_([a-j])", column.name):
            place = ascii_uppercase.index((match[2] or match[4]).upper())
            families.setdefault(((match[1] or match[3] or "").lower(), "letter"), []).append((place, column))
        elif re.fullmatch(r"[a-j]", column.name):
            families.setdefault(("", "letter"), []).append((ascii_uppercase.index(column.name.upper()), column))
    for (stem, how), members in families.items():
        members.sort(key=lambda member: member[0])
        start = members[0][0]
        if [place for place, _ in members] != list(range(start, start + len(members))) or start > 1 or len(members) < 2:
            continue
        if how == "letter" and start:
            continue
        columns = [column for _, column in members]
        if not re.search(r"opt?|choice|answer|ending|sol|cand|alt|^$|^op$|variant|response", stem):
            continue
        gaps = any(len(column.present) < len(column.values) for column in columns)
        letters = "[" + ", ".join(f"'{ascii_uppercase[place]}'" for place, _ in members) + "]"
        yield Options(
            _without_gaps([f"{c.sql}" if c.is_text else f"as_text({c.sql})" for c in columns], gaps),
            "a column for each",
            tuple(column.name for column in columns),
            letters if how == "letter" else None,
            start if how == "number" else 0,
        )


def _without_gaps(parts: list[str], gaps: bool) -> str:
    listed = "[" + ", ".join(parts) + "]"
    return f"list_filter({listed}, lambda o: coalesce(trim(o), '') <> '')" if gaps else listed


def _among(struct: dict[str, Any], names: tuple[str, ...], kind: type) -> str | None:
    """The field of a struct whose name stands first among `names` and whose value is of a kind."""
    found = [str(key) for key, value in struct.items() if str(key).lower() in names and isinstance(value, kind)]
    return min(found, key=lambda key: names.index(key.lower())) if found else None


def _letters(keys: list[str]) -> list[str]:
    upper = all(key.isupper() for key in keys)
    return [letter if upper else letter.lower() for letter in ascii_uppercase[: len(keys)]]


def _numbers(keys: list[str], start: int) -> list[str]:
    return [str(number) for number in range(start, start + len(keys))]


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z]+", name) else f'"{name}"'


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
