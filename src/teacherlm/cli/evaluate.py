"""The command `evaluate`: benchmarks asked of a model, and what they come to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teacherlm.cli import options
from teacherlm.cli.output import INTERRUPTED, Format, Outcome, err
from teacherlm.core.errors import Mistake

app = typer.Typer()


@app.command(rich_help_panel=options.TEACH, epilog="Example: teacherlm evaluate nano --tasks creak --limit 200")
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="nano, a folder, a training (NAME or NAME:STAGE), a Hub id, or a server's URL."
        ),
    ],
    tasks: Annotated[
        str,
        typer.Option(
            "--tasks", "-t", help="Benchmarks or groups of evaluate/, or files of your own, with commas between."
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="TASK=PATH",
            help="Local rows of a task or group: a file, or a folder of splits; repeatable.",
            show_default="the Hub's",
        ),
    ] = None,
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", "-n", help="Worked examples.", show_default="each task's own")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Documents of each task, the first ones.", show_default="all")
    ] = None,
    batch_tokens: Annotated[str, typer.Option(help="Padded tokens of one pass: a number, or auto.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a Hub model.", show_default="its newest")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default="scores/MODEL in the workspace")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of drawn examples and sampled texts.")] = 1234,
    again: Annotated[
        bool, typer.Option("--again", help="Ask the model again, though its answers to the same questions are there.")
    ] = False,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Ask a model the questions of benchmarks; the same predictions as lm-evaluation-harness."""
    from teacherlm.api.evaluate_works import together
    from teacherlm.cli import show_evaluate

    opened = options.project(project, workspace)
    outcome = Outcome("evaluate", format)
    with outcome.collecting():
        with show_evaluate.watching() as watch:
            done = opened.evaluate(
                model,
                tasks=[one.strip() for one in tasks.split(",") if one.strip()],
                data=_data(data),
                num_fewshot=num_fewshot,
                limit=limit,
                batch_tokens=_batch(batch_tokens),
                device=device,
                dtype=dtype,
                revision=revision,
                output=output,
                seed=seed,
                again=again,
                watch=watch,
                tell=outcome.note,
            )
        for error in together(done.failures):
            outcome.fail(error)
        if done.stopped_by:
            outcome.codes.add(INTERRUPTED)
            err.print("stopped: the tasks that were done are kept. Run the same command again to go on.")
        outcome.rows.append(done.to_row())
    raise typer.Exit(outcome.finish(show_evaluate.evaluated))


def _data(given: list[str] | None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in given or ():
        task, _, path = text.partition("=")
        if not task or not path:
            raise Mistake(f'is "{text}"', "write  --data TASK=PATH", "--data")
        if task in found:
            raise Mistake(f"names `{task}` twice", "name each task once", "--data")
        found[task] = Path(path)
    return found


def _batch(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise Mistake(f'is "{text}"', "give a number of 1 or more, or auto", "--batch-tokens")
    return int(text)
