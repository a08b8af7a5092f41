"""The command group `recipe`: propose one for one's own data, print the schemas of declared files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teacherlm.api.editor_schemas import FileKind, schema_text
from teacherlm.cli import options
from teacherlm.cli.output import Format, Outcome, cell, out, table, write_bytes
from teacherlm.cli.show import Rows
from teacherlm.core.files import write_text

app = typer.Typer(
    help="Propose a recipe for your own data; print the JSON Schemas of declared files.",
    epilog="Example: teacherlm recipe new rivers --source rivers.csv",
    no_args_is_help=True,
)


@app.command(epilog="Example: teacherlm recipe new rivers --source rivers.csv")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset: builders/NAME.yaml is written.")],
    source: Annotated[str, typer.Option(help="A file, a folder of splits, or a Hub id ORG/NAME.")],
    split: Annotated[
        str | None,
        typer.Option(help="The split that a file is; else the only one to take.", show_default="train, or all"),
    ] = None,
    config: Annotated[str | None, typer.Option(help="The Hub dataset's configuration.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a recipe of this name.")] = False,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Look at columns and rows and propose a recipe, its guesses marked."""
    from teacherlm.api.draft import new_recipe

    opened = options.project(project, None)
    outcome = Outcome("recipe new", format)
    with outcome.collecting():
        draft = new_recipe(opened.files, name, source, split=split, config=config, force=force)
        row = draft.row
        outcome.rows.append(row)
        if row["to_write"]:
            parts = ", ".join(f"`{part}`" for part in row["to_write"])
            columns = ", ".join(f"{column['name']} {column['type']}" for column in row["columns"])
            outcome.note(f"could not guess {parts}: write it in {row['file']}\nthe source has  {columns}")
        outcome.note(f"next: read {row['file']}, then  teacherlm plan {name}")
    raise typer.Exit(outcome.finish(drafts))


def drafts(rows: Rows) -> None:
    """What was guessed, and what came of it."""
    for row in rows:
        lines = [
            {
                "part": guess["part"],
                "guess": guess["expression"],
                "why": f"{'FILL IN: ' if guess['to_write'] else ''}{guess['why']}",
            }
            for guess in row["guesses"]
        ]
        table(lines, ["part", "guess", "why"])
        if row["rejected"] is not None:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in row["rejected"].items())
            out.print(
                f"\n{row['rows']:,} rows tried: {row['samples']:,} samples, {row['filtered']:,} filtered, "
                f"{sum(row['rejected'].values()):,} rejected{f' ({reasons})' if reasons else ''}",
                markup=False,
            )
        out.print(f"{cell(row['file'])} is written")


@app.command(epilog="Example: teacherlm recipe schema recipe --output recipe.schema.json")
def schema(
    of: Annotated[FileKind, typer.Argument(metavar="[recipe|catalog|prompts]", help="Which file.")] = "recipe",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.", show_default="stdout")] = None,
) -> None:
    """Print the JSON Schema of recipes, the catalogue or prompt profiles."""
    text = schema_text(of)
    if output is None:
        write_bytes(text.encode())
    else:
        write_text(output, text)
