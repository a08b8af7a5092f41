"""A proposed recipe as a file: one line for each part, with its reason beside it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from teacherlm.builders.propose import Proposal
from teacherlm.schemas.records import KINDS


def written(proposal: Proposal, first_line: str, command: str) -> str:
    """The text of a proposed recipe.

    Args:
        first_line: tells editors the schema of recipes.
        command: what was typed to get it.
    """
    license = proposal.survey.license
    source = proposal.source
    lines = [
        f"# Proposed by  {command}",
        "# Read what is marked `guess` and mend it, write what is marked FILL IN; "
        f"then  teacherlm plan {proposal.name}",
        _line("title", re.sub(r"[-_.]+", " ", proposal.name).capitalize(), "guess: from the name"),
        'about: ""  # FILL IN: one sentence for the dataset card',
        "source:",
    ]
    if "hub" in source:
        lines.append("  # revision: …  # pin a commit of the repository, so that the rows never change")
    lines += [f"  {_line(name, value)}" for name, value in source.items()]
    lines += [
        _line("license", license, "guess: what the Hub says")
        if license
        else "license: unknown  # FILL IN: the SPDX id of the source's licence",
        "redistribution: unclear  # FILL IN: allowed, share-alike, non-commercial or restricted; "
        "until then only rationales are published",
        "# license_note: …  # FILL IN: where the licence is said",
        _line("language", "en", "guess"),
        _line("task", proposal.guessed.task, "guess: from the shape of the rows"),
        _line("kinds", list(KINDS), "guess: all; take out what is not wanted"),
        "sample:  # DuckDB expressions over the columns of one row",
    ]
    for name, part in proposal.parts.items():
        mark = "FILL IN" if name in proposal.missing or part.is_open else "guess"
        lines.append(f"  {_line(name, part.expression, f'{mark}: {part.why}')}")
    if proposal.missing:
        described = ", ".join(f"{column.name} {column.type}" for column in proposal.survey.columns)
        lines.append(f"  # The source's columns: {' '.join(described.split())}")
    if proposal.survey.passed_over:
        lines.append(f"  # Columns that were passed over: {', '.join(proposal.survey.passed_over)}")
    if proposal.given:
        lines.append(
            "# Two rows of the source, and what they become: put rows of your own in their place before you pass it on."
        )
        lines += ["given:", *(f"  - {_flow(dict(row))}" for row in proposal.given)]
        lines += ["expect:", *(f"  - {_flow(dict(row))}" for row in proposal.expect)]
    return first_line + "\n".join(lines) + "\n"


def _line(name: str, value: Any, comment: str = "") -> str:
    return f"{name}: {_flow(value)}" + (f"  # {' '.join(comment.split())}" if comment else "")


class _Dumper(yaml.SafeDumper):
    """Texts in quotes unless they are plain words: our reader and YAML 1.1 differ in what looks like a number."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = re.fullmatch(r"[A-Za-z_/.][\w ./()'|-]*", text) and ": " not in text
    is_word = text.lower() in ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
    is_number = re.fullmatch(r"[-+.\d_eE:]+|\.(nan|inf)", text.lower())
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if plain and not is_word and not is_number else '"'
    )


_Dumper.add_representer(str, _text)


def _flow(value: Any) -> str:
    """A value on one line."""
    dumped: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**9
    )
    return dumped.removesuffix("\n").removesuffix("\n...").strip()
