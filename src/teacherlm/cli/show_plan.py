"""How a plan looks in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.markup import escape

from teacherlm.cli.output import cell, out, table
from teacherlm.cli.progress import duration

SHORT = 100
"""Characters of a sample that are shown."""


def plan(row: dict[str, Any]) -> None:
    """What is declared, the first samples, the calls with their tokens, the prompts."""
    out.print(f"[bold]{escape(row['dataset'])}[/bold]  {escape(row['title'])}")
    for name, value in _facts(row).items():
        if value is not None:
            out.print(f"  {name:<16}  {cell(value)}")
    for note in row["verify"]:
        out.print(f"  {'to verify':<16}  {escape(note)}")
    if row["first_samples"]:
        out.print(f"\n  [bold]samples[/bold]{_ORIGINS[row['rendered_from']]}:")
        for number, sample in enumerate(row["first_samples"], 1):
            text = sample["text"]
            out.print(f"  {number}  {text if len(text) <= SHORT else text[: SHORT - 2] + ' …'}", markup=False)
    out.print()
    _calls(row)
    for example in row["examples"]:
        out.print(f"\n  [bold]{example['kind']}[/bold] of {escape(example['sample_id'])}:")
        prompt = example["prompt"]
        messages = [{"role": "prompt", "content": prompt}] if isinstance(prompt, str) else prompt
        for message in messages:
            for number, text in enumerate(message["content"].splitlines()):
                out.print(f"  {message['role'] if not number else '':>8} | {text}", markup=False)
    out.print()


_ORIGINS = {"samples": "", "source": ", from the first rows of the source", "given": ", from the given rows"}


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    samples: Any = row["samples"]
    if not row["built"]:
        about = f"about {samples:,}" if samples is not None else "number not known"
        rows = f", of {row['rows']:,} rows" if row["rows"] is not None else ""
        samples = f"not built yet: {about}{rows}"
    human = f", of which the source has {row['human']:,}" if row["human"] else ""
    return {
        "source": row["source"],
        "licence": f"{row['license']} ({row['redistribution']})",
        "kinds": ", ".join(row["kinds"]),
        "prompts": row["prompts"],
        "strategy": row["strategy"] if row["strategy"] != "explain" else None,
        "max new tokens": row["max_new_tokens"],
        "given rows": f"{row['given']}, all as expected"
        if row["given"]
        else "none: write some, they are the recipe's tests",
        "samples": samples,
        "texts to ask for": f"{row['texts']:,}{human}" if row["texts"] is not None else None,
    }


def _calls(row: dict[str, Any]) -> None:
    lines = [
        {
            "asked": part["template"],
            "calls": part["calls"],
            "mean": None if part["prompt_tokens_mean"] is None else round(part["prompt_tokens_mean"]),
            "longest": part["prompt_tokens_max"],
            "tokens in": part["tokens_in"],
            "tokens out": part["tokens_out"],
            "no room": part["overflowing"],
        }
        for part in row["asked"]
    ]
    table(lines, [column for column in lines[0] if any(line[column] is not None for line in lines)])
    for counted in dict.fromkeys(part["tokens_counted_by"] for part in row["asked"]):
        most = max(part["prompts_counted"] for part in row["asked"] if part["tokens_counted_by"] == counted)
        out.print(f"  mean and longest: tokens of a prompt, of {most:,} each; by {counted}", markup=False)
    if any(part["tokens_out"] is not None for part in row["asked"]):
        cut = all(part["tokens_out"] == part["tokens_out_most"] for part in row["asked"])
        how = "at most, max new tokens for every text" if cut else "by the mean length of earlier answers"
        out.print(f"  tokens out: {how}", markup=False)
    if any(part["template"] == "star_hinted" for part in row["asked"]):
        out.print("  star_hinted: asked only where no draw reaches the answer; not in the sums", markup=False)
    for room in dict.fromkeys(part["context"] for part in row["asked"] if part["context"] is not None):
        over = sum(part["overflowing"] for part in row["asked"] if part["context"] == room)
        out.print(
            f"  no room: {over:,} of these prompts and their texts exceed the {room:,} tokens of the teacher",
            markup=False,
        )
    if row["calls"] is not None:
        total = f"{row['calls']:,} calls"
        total += f", {row['tokens_in']:,} tokens in" if row["tokens_in"] is not None else ""
        total += f", {row['tokens_out']:,} tokens out" if row["tokens_out"] is not None else ""
        total += f", cost {row['cost']:,.2f} by the prices of the teacher" if row["cost"] is not None else ""
        out.print(f"  in all: {total}", markup=False)
    if row["probe"] is not None:
        _forecast(row["probe"])


def _forecast(probe: dict[str, Any]) -> None:
    """What the probe took, what is left, and how sure that is."""
    took = f"{probe['calls']:,} answers in {duration(probe['seconds'])}" if probe["calls"] else "all known from before"
    out.print(f"\n  [bold]probe[/bold] of {probe['samples']:,} samples: {took}; their answers are kept")
    if not probe["texts_left"]:
        out.print("  nothing is left to ask")
        return
    lines = [
        _estimate("answers", probe["calls_left"], _whole),
        _estimate("tokens in", probe["tokens_in_left"], _whole),
        _estimate("tokens out", probe["tokens_out_left"], _whole),
        _estimate("cost", probe["cost_left"], "{:,.2f}".format),
        _estimate("time", probe["seconds_left"], duration),
    ]
    table([line for line in lines if line is not None], ["left to ask", "expected", "from", "to"])
    out.print("  from and to: 19 of 20 such forecasts hold the truth between them", markup=False)
    if probe["concurrency"] is not None:
        speed = f", {probe['tokens_per_second']:,.0f} tokens/s" if probe["tokens_per_second"] is not None else ""
        out.print(f"  measured with {probe['concurrency']:,.0f} requests in flight{speed}", markup=False)
    if probe["seconds_left"] is not None and not probe["is_steady"]:
        out.print("  the probe was too short to fill the teacher: the run may be faster", markup=False)


def _whole(number: float) -> str:
    return f"{number:,.0f}"


def _estimate(name: str, found: dict[str, float] | None, said: Callable[[float], str]) -> dict[str, str] | None:
    if found is None:
        return None
    return {
        "left to ask": name,
        "expected": said(found["expected"]),
        "from": said(found["low"]),
        "to": said(found["high"]),
    }
