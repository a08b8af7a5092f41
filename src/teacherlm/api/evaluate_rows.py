"""Evaluations as rows for SQL: figures of the latest results, and what was predicted for each document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from teacherlm.evaluate.metrics import best
from teacherlm.evaluate.results_files import OWN, read_results, read_samples

SCORES = "scores"
"""The folder in a workspace, with a folder for each model."""


def score_rows(root: Path) -> Iterator[dict[str, Any]]:
    """A row for each figure of the latest evaluation of each model, task and number of examples."""
    for path, content, name, shots in _latest(root):
        own = content[OWN]
        is_group = name in own["groups"]
        names = content["group_subtasks"]
        tasks = _below(name, names, own["tasks"]) if is_group else [name]
        for figure in own["groups" if is_group else "tasks"][name]["figures"]:
            yield {
                **figure,
                "model": content["model_name"],
                "task": name,
                "is_group": is_group,
                "num_fewshot": shots,
                "cut": sum(len(own["tasks"][task]["cuts"]) for task in tasks),
                "evaluated_at": datetime.fromtimestamp(content["date"], UTC),
                "file": path.relative_to(root).as_posix(),
            }


def prediction_rows(root: Path) -> Iterator[dict[str, Any]]:
    """A row for each document and filter of the latest evaluation of each model, task and number of examples."""
    for path, content, name, shots in _latest(root):
        told = content[OWN]["tasks"].get(name)
        if told is None:
            continue
        for line in read_samples(path.parent / told["samples"]):
            yield {
                "model": content["model_name"],
                "task": name,
                "num_fewshot": shots,
                **_prediction(line),
                "cut": told["cuts"].get(str(line["doc_id"]), 0),
            }


def _latest(root: Path) -> Iterator[tuple[Path, dict[str, Any], str, int | None]]:
    """Of each model, task or group and number of examples the latest results that have it."""
    for folder in sorted((root / SCORES).glob("*/")):
        seen: set[tuple[str, str, int | None]] = set()
        for path, content in read_results(folder):
            own = content[OWN]
            for name in (*own["groups"], *own["tasks"]):
                shots = content["n-shot"].get(name)
                key = content["model_name"], name, shots
                if key not in seen:
                    seen.add(key)
                    yield path, content, name, shots


def _below(name: str, groups: Mapping[str, list[str]], tasks: Mapping[str, Any]) -> list[str]:
    """The tasks of a group that were asked, each once, those of its groups too."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        waiting += groups.get(one, [])
        if one in tasks:
            found[one] = None
    return list(found)


def _prediction(line: Mapping[str, Any]) -> dict[str, Any]:
    asked = list(line["arguments"].values())
    shared = {
        "doc_id": line["doc_id"],
        "filter": line["filter"],
        "prompt": asked[0]["arg_0"],
        "doc_hash": line["doc_hash"],
    }
    if not isinstance(asked[0]["arg_1"], str):
        return shared | {
            "predicted": _text(line["filtered_resps"][0]),
            "answer": line["target"],
            "correct": bool(line.get("exact_match")),
            "correct_norm": None,
            "text": line["resps"][0][0],
        }
    choices = [one["arg_1"].strip() for one in asked]
    target = line["target"]
    is_place = target.isdigit() and target not in choices and int(target) < len(choices)
    norm = line.get("acc_norm")
    return shared | {
        "predicted": choices[best([float(one[0]) for one in line["filtered_resps"]])],
        "answer": choices[int(target)] if is_place else target,
        "correct": bool(line.get("acc")),
        "correct_norm": None if norm is None else bool(norm),
        "text": None,
    }


def _text(found: Any) -> str:
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)
