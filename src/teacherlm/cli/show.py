"""How results look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from teacherlm.cli.output import cell, out, table

if TYPE_CHECKING:
    import pyarrow as pa

    from teacherlm.quality.report import Report

Rows = Sequence[dict[str, Any]]


def files(rows: Rows, directory: Path) -> None:
    out.print(f"A project in {escape(str(directory))}:")
    for row in rows:
        out.print(f"  {row['file']}", markup=False)


def plans(rows: Rows) -> None:
    for row in rows:
        out.print(f"[bold]{escape(row['dataset'])}[/bold]  {escape(row['title'])}")
        facts = {
            "source": row["source"],
            "licence": f"{row['license']} ({row['redistribution']})",
            "kinds": ", ".join(row["kinds"]),
            "prompts": row["prompts"],
            "max new tokens": row["max_new_tokens"],
            "given rows": f"{row['given']}, all as expected"
            if row["given"]
            else "none: write some, they are the recipe's tests",
            "samples": row["samples"] if row["built"] else "not built yet",
            "texts to ask for": row["calls"],
        }
        for name, value in facts.items():
            if value is not None:
                out.print(f"  {name:<16}  {cell(value)}")
        for note in row["verify"]:
            out.print(f"  {'to verify':<16}  {escape(note)}")
        for example in row["examples"]:
            out.print(f"\n  [bold]{example['kind']}[/bold] of {escape(example['sample_id'])}:")
            prompt = example["prompt"]
            messages = [{"role": "prompt", "content": prompt}] if isinstance(prompt, str) else prompt
            for message in messages:
                for number, text in enumerate(message["content"].splitlines()):
                    out.print(f"  {message['role'] if not number else '':>8} | {text}", markup=False)
        out.print()


def built(rows: Rows) -> None:
    lines = []
    for row in rows:
        for part in row["splits"]:
            reasons = ", ".join(f"{count} {reason}" for reason, count in part["rejected"].items())
            lines.append(
                {"dataset": row["dataset"]}
                | {name: part[name] for name in ("split", "rows", "samples", "filtered")}
                | {
                    "rejected": sum(part["rejected"].values()),
                    "why": reasons or None,
                    "": "unchanged" if row["reused"] else "built",
                }
            )
    columns = ["dataset", "split", "rows", "samples", "filtered", "rejected", "why", ""]
    table(lines, [column for column in columns if any(line[column] is not None for line in lines)])


def augmented(rows: Rows) -> None:
    lines = [
        {
            **row,
            "failed": row["refused"] + row["exhausted"],
            "new tok/s": round(row["generated_tokens"] / row["seconds"]) if row["seconds"] else None,
        }
        for row in rows
    ]
    columns = ["dataset", "planned", "already", "answered", "truncated", "failed", "retries", "new tok/s"]
    table(lines, [column for column in columns if column != "retries" or any(row["retries"] for row in rows)])


def report_row(report: Report) -> dict[str, Any]:
    """A report as one row of results."""
    import orjson

    from teacherlm.quality.report import to_json

    books = report.books
    totals = {name: getattr(books, name) for name in ("asked", "accepted", "rejected", "truncated", "failed")}
    return {"dataset": report.dataset, "passed": report.passed, **totals, "report": orjson.loads(to_json(report))}


def reports(rows: Rows) -> None:
    for row in rows:
        report = row["report"]
        counts = [*report["books"]["counts"]]
        columns = ["dataset", "kind", "asked", "accepted", "rejected", "truncated", "failed"]
        table(counts, columns)
        hits = [
            {
                "rule": rule["rule"],
                "severity": rule["severity"],
                "hits": rule["hits"],
                "share": f"{100 * rule['share']:.1f}%",
            }
            | {"for example": next(iter(rule["examples"]), None)}
            for rule in report["rules"]
            if rule["hits"]
        ]
        if hits:
            out.print()
            table(hits, ["rule", "severity", "hits", "share", "for example"])
        out.print()
        table([_gate(gate) for gate in report["gates"] if _telling(gate)], ["gate", "found", "limit", ""])
        out.print()


def _telling(gate: dict[str, Any]) -> bool:
    """Whether a gate is worth a line: all that fail; of those that pass the shares of the whole dataset."""
    return not gate["passed"] or (gate["name"].startswith("max_") and "[" not in gate["name"])


def _gate(gate: dict[str, Any]) -> dict[str, Any]:
    share = gate["name"].startswith("max_")
    found, limit = (f"{100 * gate[name]:.1f}%" if share else cell(gate[name]) for name in ("value", "limit"))
    return {"gate": gate["name"], "found": found, "limit": limit, "": "passes" if gate["passed"] else "FAILS"}


def published(rows: Rows) -> None:
    for row in rows:
        names, same = row["datasets"], row["unchanged"]
        if set(names) == set(same) and not row["files"]:
            out.print(f"{escape(row['folder'])}: nothing has changed since it was published")
        else:
            out.print(
                f"{escape(row['folder'])}: published {', '.join(names)}: "
                f"{row['rows']:,} rows, {row['bytes'] / 1e6:,.2f} MB"
            )
        out.print(f'  load it with  datasets.load_dataset("{row["folder"]}", "{names[0]}")', markup=False)


def status(rows: Rows) -> None:
    columns = ["dataset", "state", "samples", "asked", "accepted", "rejected", "truncated", "failed"]
    table(rows, columns)
    for row in rows:
        if row["writer"]:
            out.print(f"{row['dataset']} is being written by {row['writer']}", markup=False)


def arrow(result: pa.Table, most: int) -> None:
    """A query's rows, the first of many."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    import pyarrow as pa

    for field in result.schema:
        right = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        shown.add_column(escape(field.name), justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in result.slice(0, most).to_pylist():
        shown.add_row(
            *[cell(row[name]) if row[name] is not None else "[dim]null[/dim]" for name in result.schema.names]
        )
    out.print(shown)
    if result.num_rows > most:
        out.print(f"… {result.num_rows - most:,} more rows; --format csv, json or parquet prints all", style="dim")


def encoded(result: pa.Table, form: str) -> bytes:
    """A query's rows as a JSON array, CSV or Parquet."""
    import io

    if form == "json":
        import orjson

        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(result.to_pylist(), option=options, default=str)
    buffer = io.BytesIO()
    if form == "csv":
        # CSV knows no lists and structs: they are written as JSON text.
        import orjson
        import pyarrow as pa
        import pyarrow.csv

        columns = {
            field.name: pa.array(
                [
                    None if value is None else orjson.dumps(value, default=str).decode()
                    for value in result[field.name].to_pylist()
                ],
                pa.string(),
            )
            if pa.types.is_nested(field.type)
            else result[field.name]
            for field in result.schema
        }
        pyarrow.csv.write_csv(pa.table(columns), buffer)
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(result, buffer, compression="zstd")
    return buffer.getvalue()
