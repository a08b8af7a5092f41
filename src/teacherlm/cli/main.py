"""The command `teacherlm`: its commands by group, and what every failure looks like."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from teacherlm import __version__
from teacherlm.cli import (
    calibrate,
    cost,
    duplicates,
    evaluate,
    experiment,
    explain,
    look,
    make,
    publish,
    quickstart,
    recipe,
    serve,
    sql,
    train,
    view,
)
from teacherlm.cli.options import MAKE, TEACH
from teacherlm.cli.output import INTERRUPTED, err, error_rows, print_json, show_error, stopped_row
from teacherlm.core.errors import Mistake, TeacherlmError

GROUPS = {"recipe", "experiment"}
"""Commands that have commands of their own."""


class Stopped(Exception):
    """Ctrl-C, under a name that typer does not end silently."""


class Commands(TyperGroup):
    """The commands; Ctrl-C in one of them is ours to answer."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            raise Stopped from error


app = typer.Typer(
    name="teacherlm",
    cls=Commands,
    help="Turn NLP datasets into explained datasets: a teacher model writes fundamentals, chains of thought and common "
    "mistakes; SQL rules decide what is good enough; the result is published for load_dataset.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (make, publish, look, sql, explain, view, duplicates, calibrate, cost, train, evaluate, serve, quickstart):
    app.registered_commands += part.app.registered_commands
app.add_typer(recipe.app, name="recipe", rich_help_panel=MAKE)
app.add_typer(experiment.app, name="experiment", rich_help_panel=TEACH)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"teacherlm {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Options before the command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with the code that docs/commands.md lists."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or bool(os.environ.get("TEACHERLM_DEBUG"))
    # `--debug` is wanted wherever people write it.
    given = [argument for argument in given if argument != "--debug"]
    sys.exit(_run(given, debug))


def entry() -> None:
    """The installed command: as `main`, and the process ends without tearing the interpreter down.

    Threads of native libraries that still run then can abort a process whose work is done.
    """
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 0)


def _run(given: list[str], debug: bool) -> int:
    commands = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    words = [argument for argument in given if not argument.startswith("-")]
    command = next((word for word in words if word in commands | GROUPS), words[0] if words else "")
    as_json = "--format=json" in given or ("--format", "json") in pairwise(given)
    try:
        code = app(given, prog_name="teacherlm", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except TeacherlmError as error:
        if debug:
            raise
        if as_json:
            print_json(command, False, [], error_rows(error))
        else:
            show_error(error)
        return error.exit_code
    except TyperException as error:
        # What typer refuses itself: an unknown option, a missing argument.
        error.message = error.message.removeprefix("Value error, ")
        if as_json:
            usage = Mistake(error.format_message(), f"teacherlm {command} --help".replace("  ", " "))
            print_json(command, False, [], error_rows(usage))
        elif hasattr(error, "show"):
            error.show()
        else:
            err.print(error.format_message(), markup=False)
        return 2
    except (Stopped, KeyboardInterrupt, typer.Abort):
        said = "stopped: everything that was answered is kept. Run the same command again to go on."
        if as_json:
            print_json(command, False, [], [stopped_row(said)])
        err.print(said)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`teacherlm sql … | head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        text = f"{type(error).__name__}: {error}"
        if as_json:
            print_json(command, False, [], [{"what": "bug", "where": "", "found": text, "remedy": "", "exit_code": 4}])
        err.print(
            f"a mistake of teacherlm's own: {text}\n    please report it with what `--debug` prints", markup=False
        )
        return 4
