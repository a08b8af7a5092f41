"""Rules: one SQL file each, whose header says what it is about and whose SELECT returns the rationales that fail."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.schemas.records import KINDS

Severity = Literal["reject", "warn"]
Value = int | float | str | bool
"""What a parameter of a rule can be."""

SEVERITIES: tuple[str, ...] = get_args(Severity)
_FIELDS = ("severity", "kinds", "reason")
_EXAMPLE = "-- severity: reject | kinds: all | reason: the text holds no words"
_SEVERITY_EDIT = "write  severity: reject  or  severity: warn"
_SETTINGS = ("off", "severity")
"""What an override can say beside a rule's own parameters."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule, as its file declares it."""

    id: str
    """The file's name without `.sql`; what findings and flags call it."""
    severity: Severity
    """`reject` decides the verdict; `warn` is only noted."""
    kinds: tuple[str, ...]
    """Kinds the rule speaks about; rows of other kinds are ignored."""
    reason: str
    """What is wrong, for people; a `reason` column of the SELECT says it more exactly."""
    parameters: Mapping[str, Value]
    """Values of the `$name` parameters of the SELECT."""
    sql: str
    """The whole file, comments included, so that DuckDB's line numbers are the file's."""
    path: Path


def load_rules(folder: Path) -> tuple[Rule, ...]:
    """The rules of a folder, sorted by id.

    Raises:
        Mistakes: all headers that cannot be understood, of all files.
    """
    if not folder.is_dir():
        raise Mistake("there is no folder of rules", "make it, with one .sql file per rule", str(folder))
    problems: list[Problem] = []
    rules: list[Rule] = []
    for path in sorted(folder.glob("*.sql"), key=lambda path: path.stem):
        rule = _read(path, problems)
        if rule is not None:
            rules.append(rule)
    if problems:
        raise Mistakes(problems)
    return tuple(rules)


def bind(
    rules: Iterable[Rule], overrides: Mapping[str, Mapping[str, Value]], where: str = "quality"
) -> tuple[Rule, ...]:
    """The rules with other parameters or severities, and without those that are switched off.

    Args:
        overrides: by rule id: parameters by name, `severity`, or `off: true`.
        where: the place that the overrides come from, for messages.

    Raises:
        Mistakes: unknown rules or parameters, values of another type.
    """
    by_id = {rule.id: rule for rule in rules}
    problems: list[Problem] = []
    for rule_id, settings in overrides.items():
        place = f"{where}: {rule_id}"
        rule = by_id.get(rule_id)
        if rule is None:
            problems.append(Problem(place, f"there is no rule `{rule_id}`", _nearest(rule_id, by_id, "rules")))
            continue
        off = settings.get("off", False)
        if not isinstance(off, bool):
            problems.append(Problem(place, f"`off` is {off!r}", "write  off: true  or leave it out"))
        severity = settings.get("severity", rule.severity)
        if severity not in SEVERITIES:
            problems.append(
                Problem(place, f"`severity` is {severity!r}", "write  severity: reject  or  severity: warn")
            )
        parameters = dict(rule.parameters)
        for name, value in settings.items():
            if name in _SETTINGS:
                continue
            if name not in parameters:
                known = [*parameters, *_SETTINGS]
                problems.append(
                    Problem(place, f"rule `{rule_id}` has no parameter `{name}`", _nearest(name, known, "settings"))
                )
            elif not _same_type(parameters[name], value):
                found = f"`{name}` is {value!r}; the rule wants {_type_name(parameters[name])}"
                problems.append(Problem(place, found, f"write  {name}: {parameters[name]}  or another such value"))
            else:
                parameters[name] = value
        if off is True:
            del by_id[rule_id]
        else:
            decided: Severity = "reject" if severity == "reject" else "warn"
            by_id[rule_id] = replace(rule, severity=decided, parameters=parameters)
    if problems:
        raise Mistakes(problems)
    return tuple(by_id.values())


def _read(path: Path, problems: list[Problem]) -> Rule | None:
    """The rule of one file; None, with what is wrong added to `problems`, where its header says none."""
    before = len(problems)
    try:
        sql = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        problems.append(Problem(f"{path}:1:1", f"is no UTF-8 text (byte {error.start})", "save it as UTF-8"))
        return None
    if not re.fullmatch(r"[a-z][a-z0-9_]*", path.stem):
        problems.append(
            Problem(
                f"{path}:1:1", f"`{path.stem}` cannot be a rule's id", "name the file in small letters, digits and _"
            )
        )
    lines = sql.splitlines()
    header = _header(path, lines[0] if lines else "", problems)
    parameters: dict[str, Value] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.startswith("--"):
            break
        if match := re.match(r"--\s*parameters:\s*", line):
            _parameters(f"{path}:{number}", line, match.end(), parameters, problems)
    if not re.sub(r"--[^\n]*", "", sql).strip():
        problems.append(
            Problem(
                f"{path}:{max(len(lines), 1)}:1", "has no query", "select sample_id, kind, repeat of the rows that fail"
            )
        )
    if len(problems) > before:
        return None
    kinds = (
        KINDS
        if header["kinds"] == "all"
        else tuple(kind for kind in KINDS if kind in re.split(r"[,\s]+", header["kinds"]))
    )
    severity: Severity = "reject" if header["severity"] == "reject" else "warn"
    return Rule(
        id=path.stem, severity=severity, kinds=kinds, reason=header["reason"], parameters=parameters, sql=sql, path=path
    )


def _header(path: Path, line: str, problems: list[Problem]) -> dict[str, str]:
    """Severity, kinds and reason of a file's first line."""
    where = f"{path}:1"
    if not line.startswith("--"):
        problems.append(Problem(f"{where}:1", "the first line is no header", f"write  {_EXAMPLE}"))
        return {}
    fields: dict[str, str] = {}
    # The reason comes last and may hold anything, also "|".
    for match in re.finditer(
        r"(?:^--|\|)\s*(?P<key>\w+)\s*:\s*(?P<value>(?:(?<=reason:)|(?<=reason: )).*|[^|]*)", line
    ):
        key, value = match["key"], match["value"].strip()
        column = match.start("key") + 1
        if key not in _FIELDS:
            problems.append(Problem(f"{where}:{column}", f"unknown key `{key}`", _nearest(key, _FIELDS, "keys")))
        elif key in fields:
            problems.append(Problem(f"{where}:{column}", f"`{key}` stands twice", "leave one"))
        elif not value:
            problems.append(Problem(f"{where}:{column}", f"`{key}` is empty", f"write  {_EXAMPLE}"))
        else:
            fields[key] = value
            _value_problem(f"{where}:{match.start('value') + 1}", key, value, problems)
    if missing := [key for key in _FIELDS if key not in fields and not re.search(rf"\b{key}\s*:", line)]:
        names = " and ".join(f"`{key}`" for key in missing)
        problems.append(Problem(f"{where}:{len(line) + 1}", f"the header does not say {names}", f"write  {_EXAMPLE}"))
    return fields


def _value_problem(where: str, key: str, value: str, problems: list[Problem]) -> None:
    if key == "severity" and value not in SEVERITIES:
        problems.append(Problem(where, f"`severity` is {value!r}", _SEVERITY_EDIT))
    if key == "kinds" and value != "all":
        for kind in re.split(r"[,\s]+", value):
            if kind not in KINDS:
                found = f"`kinds` has {kind!r}; kinds are {', '.join(KINDS)}"
                problems.append(Problem(where, found, _nearest(kind, KINDS, "kinds")))


def _parameters(where: str, line: str, start: int, parameters: dict[str, Value], problems: list[Problem]) -> None:
    """`name = value, name = value` from `start` on."""
    for match in re.finditer(r"(?:'(?:[^']|'')*'|[^,])+", line[start:]):
        part = match[0]
        column = start + match.start() + len(part) - len(part.lstrip()) + 1
        setting = re.fullmatch(r"\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>.+?)\s*", part)
        value = _value(setting["value"]) if setting else None
        if setting is None or value is None:
            edit = "write  name = value, with a number, true, false or 'text'"
            problems.append(Problem(f"{where}:{column}", f"{part.strip()!r} is no parameter", edit))
        elif setting["name"] in parameters or setting["name"] in _SETTINGS:
            again = "stands twice" if setting["name"] in parameters else "is no name for a parameter: overrides use it"
            problems.append(Problem(f"{where}:{column}", f"`{setting['name']}` {again}", "give it another name"))
        else:
            parameters[setting["name"]] = value


def _value(text: str) -> Value | None:
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"-?\d*\.\d+", text):
        return float(text)
    if re.fullmatch(r"'(?:[^']|'')*'", text):
        return text[1:-1].replace("''", "'")
    return None


def _same_type(default: Value, value: object) -> bool:
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def _type_name(value: Value) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[type(value)]


def _nearest(name: str, known: Iterable[str], what: str) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    return f"{what} are {', '.join(names)}" if names else f"there are no {what}"
