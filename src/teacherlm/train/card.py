"""What is written beside the weights of a stage: `training.json` for programs, `README.md` for people."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

LIBRARIES = ("teacherlm", "torch", "transformers", "accelerate", "tokenizers", "datasets")


def versions() -> dict[str, str]:
    """Versions of what trained, by library."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


WORSE = 1.1
"""A final loss above so many times the first step's has grown; less may be chance of the first batch."""


def worse(record: Mapping[str, Any]) -> str | None:
    """A sentence on a stage whose loss has grown; None where it has not, or where its first loss was not recorded."""
    first, final = record.get("first_loss"), record["final_loss"]
    if first is None or final <= WORSE * first:
        return None
    rate = record["schedule"]["learning_rate"]
    return f"the loss of stage {record['stage']} grew from {first:.3f} to {final:.3f} at learning rate {rate:g}"


def card(record: Mapping[str, Any], before: Sequence[Mapping[str, Any]], declaration: str) -> str:
    """The model card of a stage's end, as Markdown with the Hub's front matter.

    Args:
        record: its `training.json`.
        before: those of the stages that it stands on, the first one first.
        declaration: the text of `train/NAME.yaml`.
    """
    base = record["base"]
    named = base.get("model") if "/" in str(base.get("model", "")) else None
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    lines += [f"base_model: {named}"] if named else []
    lines += ["tags: [teacherlm, explanations]", "---", "", f"# {record['training']}, stage {record['stage']}", ""]
    lines += [record["about"], ""]
    if record["partial"]:
        lines += [
            f"**Partial: a trial of {record['steps_run']:,} of {record['steps']:,} steps. Not a trained model.**",
            "",
        ]
    chain = [*before, record]
    lines += ["## Stages", "", *_table(chain), ""]
    for told in filter(None, map(worse, chain)):
        lines += [f"**Diverged: {told}.**", ""]
    seconds, cpu = sum(one["seconds"] for one in chain), sum(one["cpu_seconds"] for one in chain)
    gpu = sum(one["gpu_seconds"] for one in chain)
    peak = max(one["peak_memory_mb"] for one in chain)
    lines += [
        "## Cost",
        "",
        f"{seconds:,.0f} s in all: {cpu:,.0f} CPU-seconds of the first process"
        + (f", {gpu:,.0f} GPU-seconds" if gpu else "")
        + f"; at most {peak:,.0f} MB of {'GPU ' if gpu else ''}memory, on {record['device']}.",
        "",
        "## Data",
        "",
        *(f"- stage `{one['stage']}`: fingerprint `{one['data_fingerprint']}`, {_counts(one)}" for one in chain),
        "",
        "## Base and libraries",
        "",
        f"- base: {', '.join(f'{key} `{value}`' for key, value in base.items())}",
        f"- parameters: {record['parameters']:,}; window: {record['window']:,} tokens; {record['precision']} over "
        "float32 weights",
        f"- {', '.join(f'{name} {number}' for name, number in record['versions'].items())}",
        "",
        "## Licence",
        "",
        "The licences of the base model and of the datasets named in the declaration hold for these weights; "
        "nothing here grants more.",
        "",
        "## Declaration",
        "",
        "```yaml",
        declaration.strip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def _table(chain: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| stage | tokens | steps | tokens a step | learning rate | schedule | final loss | seconds |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for one in chain:
        schedule = one["schedule"]
        shape = f"{schedule['shape']}, warm-up {schedule['warmup']:.0%}"
        lines.append(
            f"| {one['stage']} | {one['tokens']:,} | {one['steps_run']:,} | {one['batch_tokens']:,} | "
            f"{schedule['learning_rate']:g} | {shape} | {one['final_loss']:.4f} | {one['seconds']:,.0f} |"
        )
    return lines


def _counts(one: Mapping[str, Any]) -> str:
    """Counts of the data, numbers alone."""
    numbers = {name: value for name, value in one["data"].items() if isinstance(value, int) and value}
    return ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in numbers.items()) or "no counts"
