"""The shell of `teacherlm sql`: statements over several lines, history, completion, words that begin with a dot."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.sql import Sql
from teacherlm.api.sql_text import is_whole
from teacherlm.api.sql_views import ABOUT, RECORD_OF
from teacherlm.cli import sql_run
from teacherlm.cli.output import err, out, show_error
from teacherlm.cli.output import table as print_table
from teacherlm.core.errors import Mistake, TeacherlmError
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    from prompt_toolkit.history import History

HELP = """\
Statements end with a semicolon and may have several lines. Ctrl-C stops a query or empties the line, Ctrl-D leaves.

.tables         views, macros, and tables that were made here
.schema VIEW    the columns of a view
.queries        queries that have a name
.read FILE      runs a .sql file, or a query by its name
.help           this
.quit           leaves
"""


class Shell:
    """Reads statements from a terminal and shows their rows until somebody leaves."""

    def __init__(self, asking: Sql, parameters: Mapping[str, Any]) -> None:
        self.asking, self.parameters = asking, parameters
        self._dots: Mapping[str, Callable[[str], None]] = {
            ".tables": self._tables,
            ".schema": self._schema,
            ".queries": self._queries,
            ".read": self._read,
            ".help": lambda _: out.print(HELP, markup=False),
        }

    @property
    def words(self) -> tuple[str, ...]:
        """The words that begin with a dot."""
        return (*self._dots, ".quit", ".exit")

    def run(self) -> None:
        """Until .quit or Ctrl-D."""
        from prompt_toolkit import PromptSession
        from prompt_toolkit.filters import Condition

        from teacherlm.cli.sql_completion import completer

        prompt: PromptSession[str] = PromptSession(
            history=history(),
            completer=completer(self.asking, self.words),
            complete_while_typing=False,
            # Enter ends what is whole, and begins a line in what is not.
            multiline=Condition(lambda: not _is_done(prompt.default_buffer.text)),
            prompt_continuation="     ...> ",
        )
        place = self.asking.session.source.place
        err.print(f"{place}: .help tells what can be asked; Ctrl-D leaves", style="dim", markup=False)
        while True:
            try:
                text = prompt.prompt("teacherlm> ").strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if text in (".quit", ".exit"):
                return
            if text:
                self.feed(text)

    def feed(self, text: str) -> None:
        """One input: statements, or a word with a dot. Errors are shown, and the shell goes on."""
        started = time.monotonic()
        try:
            if text.startswith("."):
                word, _, rest = text.rstrip(";").partition(" ")
                if word not in self._dots:
                    raise Mistake(f"there is no `{word}`", f"there are {', '.join(self.words)}", "sql")
                self._dots[word](rest.strip())
            else:
                self._statements(text)
        except TeacherlmError as error:
            show_error(error)
        except KeyboardInterrupt:
            err.print("stopped", markup=False)
        else:
            if not text.startswith("."):
                err.print(f"{time.monotonic() - started:.2f} s", style="dim", markup=False)

    def _statements(self, text: str, parameters: Mapping[str, Any] | None = None, where: str = "sql") -> None:
        from teacherlm.api.sql_text import statements

        # Values of --set are for those statements that name them.
        named = {name for statement in statements(text, where) for name in statement.parameters}
        known = {**self.parameters, **(parameters or {})}
        given = {name: value for name, value in known.items() if name in named}
        sql_run.show_each(self.asking.session, text, given, where)

    def _tables(self, _: str) -> None:
        session = self.asking.session
        print_table([{"view": view, "what it holds": ABOUT[view]} for view in session.source.views], _VIEW)
        out.print()
        print_table([{"macro": macro.call, "what it gives": macro.about} for macro in session.macros.values()], _MACRO)
        made = session.connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        if made:
            out.print()
            print_table([{"table": name} for (name,) in made], ["table"])

    def _queries(self, _: str) -> None:
        print_table([{"query": q.name, "what it answers": q.about} for q in self.asking.queries.values()], _QUERY)

    def _schema(self, name: str) -> None:
        if not name:
            raise Mistake("no view is named", "write  .schema VIEW", ".schema")
        contract = record(RECORD_OF[name]) if name in RECORD_OF else ()
        about = {column.name: column.about for column in contract}
        columns = self.asking.session.columns(name)
        print_table(
            [{"column": column, "type": kind, "meaning": about.get(column, "")} for column, kind in columns], _COLUMN
        )

    def _read(self, given: str) -> None:
        if not re.fullmatch(r"[\w-]+|.+\.sql", given):
            raise Mistake(f'is "{given}"', "write  .read FILE.sql  or the name of a query", ".read")
        asked = self.asking.asked(given)
        self._statements(asked.text, asked.parameters, asked.where)


_VIEW, _MACRO, _QUERY = ["view", "what it holds"], ["macro", "what it gives"], ["query", "what it answers"]
_COLUMN = ["column", "type", "meaning"]


def history_file() -> Path:
    """Where statements are remembered: `$XDG_STATE_HOME/teacherlm/sql_history`."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "teacherlm" / "sql_history"


def history() -> History:
    """What was asked before; only this session's where it cannot be kept."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class Kept(FileHistory):
        def store_string(self, string: str) -> None:
            # CREATE SECRET, and settings with passwords in them.
            if not re.search(r"secret|password|token\s*=", string, re.IGNORECASE):
                super().store_string(string)

    path = history_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        with path.open("ab"):
            return Kept(path)
    except (OSError, RuntimeError):  # no home, or one that cannot be written to
        return InMemoryHistory()


def _is_done(text: str) -> bool:
    said = text.strip()
    return not said or said.startswith(".") or is_whole(said)
