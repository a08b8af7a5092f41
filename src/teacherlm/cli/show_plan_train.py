"""How a plan of a training looks in a terminal."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from teacherlm.cli.output import out, table
from teacherlm.cli.progress import duration

KEY = "training"
"""A plan of a training has it; one of a dataset or a collection has not."""

HELD = {
    "weights": "weights, float32",
    "gradients": "gradients",
    "optimizer": "AdamW's states",
    "copies": "copies, gathered layers",
    "activations": "activations",
    "logits": "logits and loss",
}


def plan(row: dict[str, Any]) -> None:
    """The model, what its stages read, memory on each GPU, and hours."""
    out.print(f"[bold]{escape(row['training'])}[/bold]  {escape(row['about'])}")
    gpus = f"{row['gpus']} GPU{'s' if row['gpus'] != 1 else ''}"
    gpus += f" of {row['gpu_gib']:g} GiB" if row["gpu_gib"] is not None else ""
    gpus += ", sharded (FSDP)" if row["fsdp"] else ", a copy on each" if row["gpus"] > 1 else ""
    facts = {
        "base": f"{row['base']}, {size(row['parameters'])} parameters ({row['shape_from']})",
        "layers": f"{row['layers']} of {row['hidden']:,}, {row['heads']} heads",
        "window": f"{row['window']:,} tokens{', packed' if row['packing'] else ''}, {row['precision']}",
        "devices": gpus,
        "at once": f"{row['device_tokens']:,} tokens on each"
        + (", layers computed again (gradient checkpointing)" if row["gradient_checkpointing"] else ""),
    }
    for name, value in facts.items():
        out.print(f"  {name:<16}  {value}", markup=False)
    out.print()
    _stages(row)
    out.print()
    _memory(row)
    out.print()


def _stages(row: dict[str, Any]) -> None:
    lines = [
        {
            "stage": stage["name"],
            "records": _sum(read["records"] for read in stage["reads"]),
            "tokens": size(stage["tokens"]) if stage["tokens"] is not None else None,
            "steps": stage["steps"],
            "tokens a step": stage["batch_tokens"],
            "micro-batches": stage["micro_batches"],
            "FLOPs": f"{stage['flops']:.1e}" if stage["flops"] is not None else None,
            "time": duration(stage["hours"] * 3600) if stage["hours"] is not None else None,
            "GPU-hours": _hours(stage["gpu_hours"]),
        }
        for stage in row["stages"]
    ]
    table(lines, [column for column in lines[0] if any(line[column] is not None for line in lines)])
    out.print("  micro-batches: of each device in a step; FLOPs: the model's, 6 N and attention", markup=False)
    seen: dict[str, list[str]] = {}
    for stage in row["stages"]:
        for read in stage["reads"]:
            if read["source"] not in seen.setdefault(read["by"], []):
                seen[read["by"]].append(read["source"])
    for by, sources in seen.items():
        out.print(f"  tokens of {', '.join(sources)}: {by}", markup=False)
    speed = row["tokens_per_second"]
    out.print(f"  speed: {f'{speed:,.0f} tokens/s on each device, ' if speed else ''}{row['rate_by']}", markup=False)
    if row["hours"] is not None:
        took = f"{duration(row['hours'] * 3600)} on {row['gpus']} devices, {_hours(row['gpu_hours'])} GPU-hours"
        out.print(f"  in all: {took}, {row['flops']:.1e} FLOPs", markup=False)


def _memory(row: dict[str, Any]) -> None:
    held = row["memory_gib"]
    lines = [{"on each GPU": HELD[key], "GiB": f"{value:,.2f}"} for key, value in held.items() if value]
    lines.append({"on each GPU": "in all, with 8 % between", "GiB": f"{row['memory_gib_total']:,.2f}"})
    table(lines, ["on each GPU", "GiB"])
    if row["fits"] is None:
        out.print("  declare  parallel: {gpu_gib: 80}  to learn whether it fits", markup=False)
    elif row["fits"]:
        out.print(f"  fits into {row['gpu_gib']:g} GiB", style="green", markup=False)
    else:
        out.print(f"  does not fit into {row['gpu_gib']:g} GiB. Each with those before it:", style="red", markup=False)
        for remedy in row["remedies"]:
            out.print(f"    {remedy}", markup=False)


def size(number: int) -> str:
    """A large number in short.

    >>> size(7069016064)
    '7.07 B'
    """
    for unit, value in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if number >= value:
            return f"{number / value:,.2f} {unit}"
    return f"{number:,}"


def _hours(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}" if value >= 10 else f"{value:,.2f}"


def _sum(values: Any) -> int | None:
    found = list(values)
    return None if None in found else sum(found)
