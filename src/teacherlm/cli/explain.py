"""The command `explain`: everything that is known of one row."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from string import ascii_uppercase
from typing import Annotated, Any

import orjson
import typer

from teacherlm.api.project import Project
from teacherlm.cli import options
from teacherlm.cli.output import Format, Outcome, cell, out

app = typer.Typer()

WIDEST = 100
"""Columns of a line; narrower in a terminal that is."""

HASH = 16
"""Digits of a hash that a terminal shows."""

Fields = Mapping[str, Any]


@app.command(
    rich_help_panel=options.LOOK, epilog="Example: teacherlm explain examples/train/physics-cold-railing --teacher lab"
)
def explain(
    sample_id: Annotated[str, typer.Argument(metavar="SAMPLE_ID", help="A sample's id, or how it alone begins.")],
    kind: Annotated[str | None, typer.Option(help="Explain texts of this kind alone.", show_default="all")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            "-t",
            help="Compare with what this teacher would be asked; it is asked for model and revision.",
            show_default="the last run's, which is not asked",
        ),
    ] = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Show everything about a row: source, prompt, parameters, answers, verdicts, and what of its key has changed."""
    opened = _holding(options.project(project, workspace), sample_id)
    outcome = Outcome("explain", format)
    with outcome.collecting():
        explained = opened.explain(sample_id, kind=kind, teacher=teacher, tell=outcome.note)
        outcome.rows.append(explained.to_row())
    raise typer.Exit(outcome.finish(show))


def _holding(opened: Project, sample_id: str) -> Project:
    """The project, or that of a collection where the sample's dataset is in the workspace of one alone."""
    dataset = sample_id.partition("/")[0]
    if dataset and dataset not in opened.workspace.datasets():
        for name in opened.collections:
            if (opened.workspace.root / "collections" / name / "samples" / dataset).is_dir():
                return opened.collection(name).project
    return opened


def show(rows: Sequence[Fields]) -> None:
    for row in rows:
        out.print(row["sample_id"], style="bold", markup=False)
        _fields(_sample(row), 2)
        _heading("source")
        _fields(_source(row["source"]), 2)
        _heading("compared with")
        _fields(_teacher(row), 2)
        for text in row["texts"]:
            _heading(f"{text['kind']}, repeat {text['repeat']}")
            _fields({"now": text["now"]["because"]}, 2)
            for number, answer in enumerate(text["answers"], 1):
                _heading(f"  answer {number} of {len(text['answers'])}, {_when(answer['created_at'])}")
                _fields(_answer(answer, is_last=number == len(text["answers"])), 4)
            if text["now"]["parts"]:
                _heading("  key, then and now")
                _fields(_parts(text["now"]["parts"]), 4)
            if text["now"]["prompt"] is not None:
                _heading("  prompt, as it would be sent now")
                _fields(dict(_messages(text["now"]["prompt"])), 4)


def _heading(text: str) -> None:
    out.print()
    out.print(text, style="bold", markup=False)


def _fields(fields: Fields, indent: int) -> None:
    """Names and values in two columns; nothing for None. Long values are folded, their own lines kept."""
    shown = {name: str(value) for name, value in fields.items() if value not in (None, "", [])}
    if not shown:
        return
    width = max(len(name) for name in shown) + 2
    room = max(min(out.width, WIDEST) if out.is_terminal else WIDEST, indent + width + 20) - indent - width
    for name, value in shown.items():
        lines = [
            part
            for line in value.splitlines() or [""]
            for part in textwrap.wrap(line, room, break_on_hyphens=False, break_long_words=False) or [""]
        ]
        for number, line in enumerate(lines):
            out.print(f"{'':{indent}}{name if not number else '':{width}}{line}".rstrip(), markup=False)


def _sample(row: Fields) -> Fields:
    sample = row["sample"]
    if sample is None:
        return {"sample": "it is not among the samples any more; its answers are"}
    letters = [f"({letter}) {choice}" for letter, choice in zip(ascii_uppercase, sample["choices"], strict=False)]
    place = sample["answer_index"]
    return {
        "dataset": f"{row['dataset']}, split {row['split']}, task {sample['task']}"
        + (f", subject {sample['subject']}" if sample["subject"] else ""),
        "question": sample["question"],
        "choices": "\n".join(letters),
        "answer": letters[place] if place is not None and place < len(letters) else sample["answer"],
        "human rationale": sample["human_rationale"],
    }


def _source(source: Fields) -> Fields:
    declared = {name: source[name] for name in ("hub", "config", "revision", "files")}
    by = f"its `id: {source['id_from']}`" if source["id_from"] else "a hash of question, choices and answer"
    changed = source["recipe_changed"]
    counts = f"{cell(source['rows'])} rows became {cell(source['samples'])} samples"
    return {
        "recipe": source["recipe"] and source["recipe"] + (", which has changed since the build" if changed else ""),
        "rows": ", ".join(f"{name} {_value(value)}" for name, value in declared.items() if value is not None),
        "read from": source["place"],
        "split": counts if source["rows"] is not None else None,
        "fingerprint": source["fingerprint"],
        "row": f"{source['id']}, {by}" if source["recipe"] else source["id"],
    }


def _teacher(row: Fields) -> Fields:
    asked = "not asked itself: name it by --teacher"
    if row["teacher_from"] == "--teacher":
        asked = "asked for model and revision" if row["teacher_asked"] else "which could not be asked"
    named = f"{row['teacher']}, by {row['teacher_from']}; {asked}" if row["teacher"] else None
    return {"teacher": named or "none is known: name one by --teacher", "note": "\n".join(row["notes"])}


def _answer(answer: Fields, *, is_last: bool) -> Fields:
    verdict, findings = answer["verdict"], (answer["verdict"] or {}).get("findings", [])
    score = f", score {verdict['score']:.2f}" if verdict and verdict["score"] is not None else ""
    unjudged = "none: not checked since" if is_last else "none: a later answer stands in its place"
    judged = verdict["verdict"] + score if verdict else unjudged
    counts = {
        "request" if answer["attempts"] == 1 else "requests": cell(answer["attempts"]),
        "ms": cell(round(answer["latency_ms"], 1)) if answer["latency_ms"] is not None else "",
        "tokens in": cell(answer["prompt_tokens"]),
        "tokens out": cell(answer["generated_tokens"]),
    }
    revision = f", revision {answer['teacher_revision']}" if answer["teacher_revision"] else ""
    return {
        "status": answer["status"] + (f": {answer['failure']}" if answer["failure"] else ""),
        "verdict": judged + (", stands in the augmented table" if answer["is_in_augmented"] else ""),
        "findings": "\n".join(f"{one['rule']} ({one['severity']}): {one['reason']}" for one in findings),
        "text": answer["text"],
        "reached": answer["predicted_answer"],
        "ended by": answer["finish_reason"],
        "took": ", ".join(f"{value} {name}" for name, value in counts.items() if value),
        "strategy": answer["strategy"],
        "teacher": answer["teacher_model"] and answer["teacher_model"] + revision,
        "endpoint": answer["endpoint"],
        "parameters": _value(answer["parameters"]) if answer["parameters"] else None,
        "call key": answer["call_key"],
    }


def _parts(parts: Sequence[Fields]) -> Fields:
    fields = {"same": ", ".join(part["part"] for part in parts if part["state"] == "same")}
    for part in parts:
        if part["state"] == "changed":
            fields[part["part"]] = "\n".join(line for line in (*_changes(part), part["note"], part["diff"]) if line)
    unknown: dict[str, list[str]] = {}
    for part in parts:
        if part["state"] == "unknown":
            was = f"{part['part']} (was {_value(part['old'])})" if part["old"] is not None else part["part"]
            unknown.setdefault(part["note"], []).append(was)
    return fields | {"unknown": "\n".join(f"{', '.join(names)}: {note}" for note, names in unknown.items())}


def _changes(part: Fields) -> Iterator[str]:
    old, new = part["old"], part["new"]
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from (f"{name}: {_value(old[name])} → {_value(new[name])}" for name in old)
    elif part["part"] not in ("kind", "sample id"):  # of these the note says it all
        short = HASH if part["part"] == "prompt" else None
        yield f"{_value(old)[:short]} → {_value(new)[:short]}"


def _messages(prompt: Any) -> Iterator[tuple[str, str]]:
    messages = [{"role": "prompt", "content": prompt}] if isinstance(prompt, str) else prompt
    for number, message in enumerate(messages):
        yield message["role"] + " " * number, message["content"]  # a role may stand twice


def _value(value: Any) -> str:
    """A value as YAML's one-line form, more or less: `do_sample: false, stop: ["Q:"]`."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {orjson.dumps(one).decode()}" for name, one in value.items())
    return orjson.dumps(value).decode()


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
