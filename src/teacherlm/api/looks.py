"""What one can find out about a project and its workspace: pages, SQL, costs, contract, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from teacherlm.api import contract as contracting
from teacherlm.api import cost as costing
from teacherlm.api import view as viewing
from teacherlm.api.cost import BY
from teacherlm.api.declared import Declared
from teacherlm.api.references import ReferenceReader
from teacherlm.api.sql import Sql
from teacherlm.core.errors import TeacherlmError

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.calibrate import CalibrateOptions, Calibration
    from teacherlm.api.diff import Compared
    from teacherlm.api.duplicates import Across
    from teacherlm.quality.contamination import Reference
    from teacherlm.quality.contract import Contract


@dataclass(frozen=True)
class Looks(Declared):
    """The methods of a project that judge nothing and publish nothing."""

    def view(self, *names: str, to: str | Path, rows: int = viewing.ROWS, title: str | None = None) -> viewing.Viewed:
        """Write one self-contained HTML page of datasets: texts beside verdicts; see `api.view.view`.

        Args:
            to: the file.
            rows: samples on the page at most.
            title: of the page; None: the names.
        """
        return viewing.view(self.workspace, names, Path(to), title=title or ", ".join(names), rows=rows)

    def diff(self, a: str | Path, b: str | Path, *names: str, to: str | Path | None = None) -> Compared:
        """What differs between two workspaces, published folders or Hub revisions; see `api.diff.diff`.

        Args:
            names: datasets; none: all of either.
            to: file for a page with all that differs.
        """
        from teacherlm.api.diff import diff

        return diff(a, b, names, to=Path(to) if to is not None else None)

    def duplicates(self, *names: str, least: float | None = None, output: str | Path | None = None) -> Across:
        """What datasets share with those named before them; see `api.duplicates.duplicates_across`.

        Args:
            least: similarity that is told; None: 0.8.
            output: a Parquet file for the pairs.
        """
        from teacherlm.api.duplicates import LIKE, duplicates_across

        to = Path(output) if output is not None else None
        return duplicates_across(self.workspace, names, LIKE if least is None else least, output=to)

    def read_evaluation_set(self, task: str, path: str | Path | None = None) -> Reference:
        """Read an evaluation set into the workspace, for all checks to come; see `api.references.ReferenceReader.read`.

        Raises:
            Mistake, Mistakes: there is no such set or file, or its rows are none.
            RemoteFailed: the Hub cannot be reached.
        """
        reader = ReferenceReader(self.files, self.catalog.evaluation_sets, self.workspace)
        return reader.read(task, Path(path) if path is not None else None)

    def contract(self, name: str, *, docs: bool = False) -> Contract:
        """Hold the suites of expectations against a checked dataset; see `api.contract.hold_contract`."""
        with self.workspace.locked(self.recipe(name).name):
            return contracting.hold_contract(self.files, self.catalog, self.workspace, name, docs=docs)

    def calibrate(
        self, tables: Sequence[str | Path], *, judge: str | None = None, **asked: Unpack[CalibrateOptions]
    ) -> Calibration:
        """How rules and score agree with labelled rationales, and a teacher `judge`: see `api.calibrate.calibrate`."""
        from teacherlm.api import calibrate as calibrating

        try:
            judged_by = self.teacher(judge) if judge is not None else None
        except TeacherlmError as error:
            raise calibrating.of_judge(error) from None
        given = [Path(table) for table in tables]
        return calibrating.calibrate(self.files, self.catalog, given, judged_by=judged_by, **asked)

    def cost(self, names: Sequence[str] | None = None, *, by: Sequence[str] = BY) -> list[dict[str, Any]]:
        """What the answers in the ledger took, a row for each group of `dataset`, `kind`, `teacher` and `run`.

        Args: see `api.cost.cost`.
        """
        return costing.cost(self.workspace, names, by=by)

    def sql(
        self, query: str, *, source: str | Path | None = None, parameters: Mapping[str, Any] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """A query over the workspace's views, or over those of a published place; docs/sql.md lists them.

        Args:
            query: SQL, the name of a query of `quality/queries/`, or the path of a .sql file.
            source: a published folder, or `hf://datasets/ORG/REPO[@REVISION]`; None: the workspace.
            parameters: values for each $name.

        Returns:
            A DuckDB relation: `.pl()` gives a polars frame, `.df()` pandas, `.to_arrow_table()` Arrow.

        Raises:
            Mistake: the query is none, or names views, columns or parameters that there are not.
            MachineFailed: a file of a view that it names is damaged.
        """
        return Sql(self.files, self.workspace, source).relation(query, parameters)
