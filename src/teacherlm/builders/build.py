"""Build: the rows of a source become samples, in one streaming pass; bad rows are counted by reason and kept aside."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.builders.mapping import BoundRecipe, check_expressions, connect, failing_expression, mapped_query
from teacherlm.builders.sources import OpenSource, SourceSplit, unreadable
from teacherlm.core.errors import Mistakes
from teacherlm.core.files import disk_failure, read_json, replacing_folder, write_json
from teacherlm.core.keys import digest
from teacherlm.schemas.records import SCHEMA_VERSION, record
from teacherlm.text.normalise import SQL_MACROS

if TYPE_CHECKING:
    import duckdb

MANIFEST = "manifest.json"
REJECTS = "rejects.parquet"
PARQUET = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20000"

COLUMNS = ", ".join(f'"{name}"' for name in record("sample").names)


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """What became of the rows of one split: rows = samples + filtered + the sum of rejected."""

    split: str
    rows: int
    samples: int
    filtered: int
    """Rows that the recipe's `where` leaves out."""
    rejected: dict[str, int]
    """Reason -> rows; the rows themselves are in `rejects.parquet`."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """The manifest of a build."""

    dataset: str
    place: str
    fingerprint: str
    """Of all that the samples depend on: recipe, source rows, record contract."""
    splits: tuple[SplitCounts, ...]
    skipped: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    reused: bool = False
    """Nothing had changed; the samples of an earlier build were kept."""

    @property
    def samples(self) -> int:
        return sum(part.samples for part in self.splits)

    @property
    def rejected(self) -> int:
        return sum(sum(part.rejected.values()) for part in self.splits)


def read_manifest(folder: Path) -> Built | None:
    """The manifest of the samples in `folder`; None where nothing was built."""
    data = read_json(folder / MANIFEST)
    if data is None:
        return None
    data["splits"] = tuple(SplitCounts(**part) for part in data["splits"])
    return Built(**{**data, "skipped": tuple(data["skipped"]), "absent": tuple(data["absent"])})


def build_fingerprint(bound: BoundRecipe, source: OpenSource) -> str:
    """Fingerprint of all that the samples depend on."""
    return digest([SCHEMA_VERSION, SQL_MACROS, mapped_query(bound.recipe, "split"), source.fingerprint])


def build(
    bound: BoundRecipe,
    source: OpenSource,
    out: Path,
    *,
    force: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Built:
    """Make the samples of a recipe.

    Memory does not grow with the number of rows beyond the ids, which must be unique.

    Args:
        out: folder of the dataset's samples; it is replaced whole, or left as it was. It holds `SPLIT/00000.parquet`,
            `rejects.parquet` and `manifest.json` afterwards.
        force: build also where nothing has changed.

    Raises:
        Mistakes: expressions that do not fit the source's columns or rows, with their places.
        MachineFailed: the disk is full or refuses.
    """
    fingerprint = build_fingerprint(bound, source)
    earlier = read_manifest(out)
    if earlier and earlier.fingerprint == fingerprint and not force:
        return Built(**{**_shallow(earlier), "reused": True, "skipped": source.skipped, "absent": source.absent})
    connection = connect()
    with replacing_folder(out) as folder:
        connection.execute(f"SET temp_directory = '{_sql(folder / '.spilled')}'")
        counts = []
        for part in source.splits:
            tell(f"{bound.name} {part.split}: reading {source.place}")
            counts.append(_build_split(bound, part, connection, folder))
        _gather_rejects(connection, folder)
        connection.close()  # what was spilled to disk goes with it
        shutil.rmtree(folder / ".spilled", ignore_errors=True)
        built = Built(
            dataset=bound.name,
            place=source.place,
            fingerprint=fingerprint,
            splits=tuple(counts),
            skipped=source.skipped,
            absent=source.absent,
        )
        write_json(folder / MANIFEST, asdict(built))
    return built


def _shallow(built: Built) -> dict[str, Any]:
    return {name: getattr(built, name) for name in built.__dataclass_fields__}


def _build_split(
    bound: BoundRecipe, part: SourceSplit, connection: duckdb.DuckDBPyConnection, folder: Path
) -> SplitCounts:
    import duckdb

    target = folder / part.split
    target.mkdir()
    staged, rejects = folder / f".{part.split}.staged", folder / f".{part.split}.rejects"
    part.register(connection)
    if problems := check_expressions(bound, connection):
        raise Mistakes(problems)
    try:
        connection.execute(f"COPY ({mapped_query(bound.recipe, part.split)}) TO '{_sql(staged)}' ({PARQUET})")
    except duckdb.IOException as error:
        raise disk_failure(folder, OSError(_errno(error), str(error))) from error
    except duckdb.Error as error:
        raise _unreadable(bound, part, connection, error) from error
    rows = _one(connection, "SELECT count(*) FROM source")
    connection.execute(f"CREATE OR REPLACE TEMP VIEW staged AS SELECT * FROM read_parquet('{_sql(staged)}')")
    # Of rows with one id the smallest content stays, whatever order the source has.
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE losers AS
        WITH twice AS (SELECT sample_id FROM staged WHERE reason IS NULL GROUP BY sample_id HAVING count(*) > 1)
        SELECT row FROM staged JOIN twice USING (sample_id) WHERE reason IS NULL
        QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY content_key, row) > 1""")
    # A scan keeps the order of the rows; a join does not, so that its rows are sorted again.
    twice = _one(connection, "SELECT count(*) FROM losers") > 0
    good, bad = "reason IS NULL", "reason IS NOT NULL"
    if twice:
        good, bad = f"{good} AND row NOT IN (FROM losers) ORDER BY row", f"{bad} OR row IN (FROM losers) ORDER BY row"
    columns = "split, row, coalesce(reason, 'duplicate id') AS reason, sample_id, question, choices, answer, source"
    try:
        _copy(connection, f"SELECT {COLUMNS} FROM staged WHERE {good}", target / "00000.parquet")
        _copy(connection, f"SELECT {columns} FROM staged WHERE {bad}", rejects)
    except duckdb.Error as error:
        raise disk_failure(folder, OSError(_errno(error), str(error))) from error
    samples = _one(connection, f"SELECT count(*) FROM '{_sql(target / '00000.parquet')}'")
    reasons = connection.execute(
        f"SELECT reason, count(*) FROM read_parquet('{_sql(rejects)}') GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    rejected = dict(reasons.fetchall())
    staged.unlink()
    filtered = rows - samples - sum(rejected.values())
    return SplitCounts(split=part.split, rows=rows, samples=samples, filtered=filtered, rejected=rejected)


def _gather_rejects(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    parts = sorted(folder.glob(".*.rejects"))
    if parts:
        listed = ", ".join(f"'{_sql(part)}'" for part in parts)
        _copy(connection, f"SELECT * FROM read_parquet([{listed}])", folder / REJECTS)
    for part in parts:
        part.unlink()


def _unreadable(
    bound: BoundRecipe, part: SourceSplit, connection: duckdb.DuckDBPyConnection, error: Exception
) -> Exception:
    """Whether the rows cannot be read at all, or an expression fails on one of them."""
    import duckdb

    try:
        connection.execute("SELECT bit_xor(hash(whole)) FROM source AS whole")
    except duckdb.Error as cause:
        return unreadable(part, cause)
    return Mistakes([failing_expression(bound, connection, "source", error)])


def _copy(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    connection.execute(f"COPY ({query}) TO '{_sql(target)}' ({PARQUET})")


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])


def _sql(path: Path) -> str:
    return str(path).replace("'", "''")


def _errno(error: Exception) -> int:
    import errno

    return errno.ENOSPC if "No space left" in str(error) else errno.EIO
