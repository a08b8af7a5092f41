"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teacherlm.api.project import Project
from teacherlm.cli import scale
from teacherlm.cli.output import Format
from teacherlm.teacher.budget import Budget

MAKE, LOOK, TEACH, SERVE = "Make", "Look", "Teach", "Serve"
"""Groups of commands in `teacherlm --help`."""


def _once(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME",
        help="Datasets (files in builders/) or collections (of catalog.yaml).",
        callback=_once,
    ),
]
SomeNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]", help="Datasets or collections; none: all datasets."),
]
SpeedOption = Annotated[
    float | None,
    typer.Option("--tokens-per-second", help="Of a training: of one GPU, measured.", show_default="an earlier run's"),
]
TflopsOption = Annotated[
    float | None, typer.Option(help="Of a training: a GPU's peak, such as 989 for an H100.", show_default=False)
]
UtilisationOption = Annotated[float, typer.Option(help="Of a training: share of --tflops that is reached.")]
TextTokensOption = Annotated[
    int | None, typer.Option(help="Of a training: tokens of one text.", show_default="counted, or estimated")
]
WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        "-w",
        help="Where results land, a folder or s3://BUCKET/FOLDER; else $TEACHERLM_WORKSPACE, else ./workspace.",
        show_default=False,
    ),
]
EngineOption = Annotated[scale.Engine, typer.Option("--engine", help="Run in this process or on a Ray cluster.")]
RayAddressOption = Annotated[
    str | None,
    typer.Option("--ray-address", help="The Ray cluster.", show_default="$RAY_ADDRESS, else one on this machine"),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Ray tasks at once.", show_default="one for each machine")
]
ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", "-p", help="Directory of the project; else found upwards from here.", show_default=False),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How results are printed on stdout.")]
TeacherOption = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        "-t",
        help="URL of a TGI or OpenAI-compatible server, or several with commas; a profile of catalog.yaml; or nano.",
        show_default="$TEACHERLM_TEACHER",
    ),
]
KindsOption = Annotated[
    str | None, typer.Option(help="Kinds to ask for, with commas between.", show_default="the recipe's")
]
RepeatsOption = Annotated[
    int, typer.Option(help="Texts of each kind for each sample; with star, draws of the chain of thought at most.")
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        help="explain: chains of thought are asked for with the answer; star: without it first (docs/teachers.md).",
        show_default="the recipe's",
    ),
]
LimitOption = Annotated[int | None, typer.Option(help="Samples to ask about, in their order.", show_default="all")]
ConcurrencyOption = Annotated[
    str, typer.Option(help="Requests in flight at each server: a number, or auto to learn it.")
]
MaxCallsOption = Annotated[
    int | None,
    typer.Option(
        help="Stop after so many requests of this run, repeated ones included; what is there is kept.",
        show_default="no limit",
    ),
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option(
        help="Stop when this run has taken so many tokens, of prompts and answers; what is in flight comes on top.",
        show_default="no limit",
    ),
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        help="Stop when this run has cost so much, by the teacher's prices; what is in flight comes on top.",
        show_default="no limit",
    ),
]
ProbeOption = Annotated[
    int | None,
    typer.Option(
        help="Ask about so many samples, drawn over the dataset, and forecast the rest; their answers are kept.",
        show_default="nobody is asked",
    ),
]
SourceOption = Annotated[
    Path | None,
    typer.Option(
        help="Local rows in place of the declared source: a file, a folder of splits, or a save_to_disk folder.",
        show_default=False,
    ),
]
SplitOption = Annotated[str | None, typer.Option(help="The split that a single source file is.", show_default="train")]
ContractOption = Annotated[
    bool, typer.Option("--contract/--no-contract", help="Hold the contract too: quality/expectations/*.yaml.")
]
DocsOption = Annotated[
    bool, typer.Option("--docs", help="Write pages about the contract: reports/DATASET/docs/index.html.")
]
AgainstOption = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        metavar="TASK[=PATH]",
        help="An evaluation set that training splits must not share text with, from PATH or the Hub; repeatable.",
        show_default="those read before",
    ),
]
ToOption = Annotated[str | None, typer.Option("--to", help="Folder to publish to.", show_default=False)]


def project(directory: Path | None, workspace: str | None) -> Project:
    """The project that a command looks at; a workspace at a URL is copied."""
    return scale.look(directory, workspace)


def kinds_of(text: str | None) -> list[str] | None:
    return [kind.strip() for kind in text.split(",") if kind.strip()] if text else None


def budget_of(max_calls: int | None, max_tokens: int | None, budget: float | None, is_scaled: bool) -> Budget:
    """What a command may spend, over all its datasets.

    Raises:
        Mistake: a limit that lets nothing through, or that nobody would hold.
    """
    from teacherlm.core.errors import Mistake

    spending = Budget.of(max_calls, max_tokens, budget)
    if is_scaled and spending.limits:
        name = next(iter(spending.limits)).replace("_", "-")
        raise Mistake("holds for runs in this process alone", "leave it out, or use a local workspace", f"--{name}")
    return spending


def against_of(given: list[str] | None) -> dict[str, Path | None]:
    """Evaluation sets, and where each is; `TASK=PATH`, or `TASK` for the Hub.

    Raises:
        Mistake: one without a name, or named twice.
    """
    from teacherlm.core.errors import Mistake

    found: dict[str, Path | None] = {}
    for text in given or ():
        task, _, path = text.partition("=")
        if not task or (path == "" and text.endswith("=")):
            raise Mistake(f'is "{text}"', "write  --against TASK=PATH  or  --against TASK", "--against")
        if task in found:
            raise Mistake(f"names `{task}` twice", "name each set once", "--against")
        found[task] = Path(path) if path else None
    return found


def concurrency_of(text: str) -> int | None:
    """`auto` or a number.

    Raises:
        Mistake: neither.
    """
    from teacherlm.core.errors import Mistake

    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise Mistake(f'is "{text}"', "give a number of 1 or more, or auto", "--concurrency")
    return int(text)
