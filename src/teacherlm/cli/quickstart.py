"""The command `quickstart`: the paper in miniature, from made questions to two students and one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from teacherlm.cli import options
from teacherlm.cli.output import INTERRUPTED, Format, Outcome, err
from teacherlm.project.find import workspace_path

app = typer.Typer()


@app.command(rich_help_panel=options.MAKE, epilog="Example: teacherlm quickstart --workspace demo")
def quickstart(
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder to publish to.", show_default="quickstart/published in the workspace"),
    ] = None,
    workspace: options.WorkspaceOption = None,
    questions: Annotated[
        int | None,
        typer.Option(
            help="Questions to explain and to learn from; fewer are faster, with weaker students and wider intervals.",
            show_default="2,800",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of each training at most: a trial.", show_default="as declared")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train a teacher too, a smaller training than the shipped one's.")
    ] = False,
    format: options.FormatOption = Format.table,
) -> None:
    """Make questions, let a small teacher explain them, check, publish, train two students, compare them on one page.

    Runs again do only what has changed. Two cores take some minutes (docs/quickstart.md).
    """
    from teacherlm.api.quickstart import quickstart as run
    from teacherlm.api.quickstart_claims import claims, limits
    from teacherlm.api.quickstart_steps import Stopped
    from teacherlm.cli.show_quickstart import Follower, quickstarted
    from teacherlm.core.stored import to_json

    root = workspace_path(workspace)
    outcome, follower = Outcome("quickstart", format), Follower()
    try:
        with outcome.collecting():
            made = run(root, to, follower, questions=questions, steps=steps, from_scratch=from_scratch)
            figures: dict[str, Any] = orjson.loads(to_json(made.figures))
            said = {"claims": claims(made.figures), "limits": limits(made.figures)}
            places = {"page": str(made.page), "published": str(made.published)}
            outcome.rows.append({**places, **said, **_with_shares(figures)})
            follower.close()
            if format is Format.table:
                quickstarted(made)
    except Stopped as error:
        outcome.codes.add(INTERRUPTED)
        err.print(f"stopped: {error}. Run the same command again to go on.", markup=False)
    finally:
        follower.close()
    raise typer.Exit(outcome.finish(lambda rows: None))


def _with_shares(value: Any) -> Any:
    """The figures, with the share of each count beside it."""
    if isinstance(value, dict):
        found = {name: _with_shares(part) for name, part in value.items()}
        if {"right", "of", "low", "high"} <= value.keys():
            found["share"] = value["right"] / value["of"] if value["of"] else 0.0
        return found
    return [_with_shares(part) for part in value] if isinstance(value, list) else value
