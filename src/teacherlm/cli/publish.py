"""The commands that publish, and that read back what was published."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from teacherlm.cli import collect, options, show_published
from teacherlm.cli.output import Format, Outcome
from teacherlm.core.errors import GateFailed, Mistake
from teacherlm.hub.address import is_hub
from teacherlm.hub.formats import FORMAT_NAMES, FormatName

app = typer.Typer()


class As(StrEnum):
    """Training formats, by the columns that they have."""

    messages = "messages"
    prompt_completion = "prompt_completion"
    text = "text"
    none = "none"


def _formats(given: list[As] | None) -> list[FormatName] | None:
    if not given:
        return None
    if As.none in given and set(given) != {As.none}:
        raise Mistake("`none` stands beside formats", "give formats, or none alone", "--as")
    return [name for name in FORMAT_NAMES if As(name) in given]


@app.command(
    rich_help_panel=options.MAKE,
    epilog="Example: teacherlm publish creak ecqa --to hf://datasets/ORG/REPO --tag v1.0.0",
)
def publish(
    names: options.Names,
    to: Annotated[str, typer.Option("--to", help="A folder, or hf://datasets/ORG/REPO[@BRANCH].", metavar="PLACE")],
    branch: Annotated[
        str | None, typer.Option("--branch", help="Branch of the repository; made where there is none.")
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Tag for the commit, such as v1.2.0.")] = None,
    private: Annotated[bool, typer.Option("--private", help="A repository that has to be made is private.")] = False,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request in place of moving the branch.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False,
    rationales_only: Annotated[
        bool | None,
        typer.Option(
            "--rationales-only/--with-source",
            help="Leave the text of the source out; teacherlm.join puts it back. Left out: as it was published before.",
            show_default=False,
        ),
    ] = None,
    as_: Annotated[
        list[As] | None,
        typer.Option(
            "--as",
            help="Also publish a config NAME-FORMAT that a trainer takes as it is; may be repeated. "
            "Left out: the formats that the place has; none: no format.",
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Read everything back from the Hub after publishing.")
    ] = True,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Publish checked datasets to a folder or, in one commit, to the Hub; only when the gates pass."""
    opened = options.project(project, workspace)
    outcome = Outcome("publish", format)
    wanted = _formats(as_)
    groups = collect.groups(opened, collect.given(opened, names))
    if len(groups) > 1 and is_hub(to):
        found = "the datasets of a collection and others would be more than one commit"
        raise Mistake(found, "publish one collection at a time", "--to")
    for group in groups:
        with outcome.collecting():
            if group.whole and not group.whole.built:
                found = f"`{group.whole.name}` has no samples in {group.whole.workspace.root}"
                raise Mistake(found, f"build it first: teacherlm build {group.whole.name}")
            outcome.rows += collect.publish(
                group,
                to,
                outcome,
                branch=branch,
                tag=tag,
                private=private,
                create_pr=create_pr,
                dry_run=dry_run,
                rationales_only=rationales_only,
                formats=wanted,
                verify=verify,
            )
    raise typer.Exit(outcome.finish(show_published.published))


@app.command("verify", rich_help_panel=options.LOOK, epilog="Example: teacherlm verify hf://datasets/ORG/REPO@v1.0.0")
def verify_place(
    place: Annotated[str, typer.Argument(help="A published folder, or hf://datasets/ORG/REPO[@REVISION].")],
    load: Annotated[bool, typer.Option("--load/--no-load", help="Also load every config with `datasets`.")] = True,
    format: options.FormatOption = Format.table,
) -> None:
    """Read a publication back: counts, columns and the hash of every file, as its manifest says."""
    from teacherlm.api.verify import verify as read_back

    outcome = Outcome("verify", format)
    with outcome.collecting():
        found = read_back(place, load=load, tell=outcome.note)
        outcome.rows.append({"passed": found.passed, **asdict(found)})
        if not found.passed:
            edit = "publish it again, or take an older revision that passes:  …@REVISION"
            said = "\n    ".join(["is not what was published:", *found.found])
            outcome.fail(GateFailed(said, edit, place))
    raise typer.Exit(outcome.finish(show_published.verified))
