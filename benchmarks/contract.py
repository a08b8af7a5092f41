"""What the contract costs: Great Expectations over DuckDB beside bare SQL that makes the same checks.

    python benchmarks/contract.py --rationales 1000000

The rationales are those of benchmarks/rationales.py; all that have words count as accepted. Both sides look at the
same views over Parquet, with DuckDB's own number of threads. Bare SQL makes the checks of the suites in one SELECT for
each table and one for each query; nothing is said of rows that fail. Each measurement is a process of its own; of
several rounds the cheapest counts. `load` is the import of Great Expectations; `views` writes the database file of
views; `contract` is all else, as `teacherlm check` has it, with the fingerprints of what was looked at.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import teacherlm
from client import clock
from rationales import make_project
from teacherlm.api.contract import contract_path, read_suites
from teacherlm.api.contract_tables import lay_out
from teacherlm.api.standards import read_rules
from teacherlm.builders.build import read_manifest
from teacherlm.core.errors import MachineFailed
from teacherlm.quality.binding import count_query
from teacherlm.quality.suites import ROWS, SATISFY, TABLES, Expectation

NAME = "bench"

VERDICTS = "SELECT sample_id, dataset, split, kind, repeat, call_key, 'accepted' AS verdict, 0.5::DOUBLE AS score, "
VERDICTS += "CAST([] AS VARCHAR[]) AS flags FROM rationales WHERE status = 'ok' AND trim(text) <> ''"


def make(root: Path, rationales: int) -> None:
    """A project whose rationales are accepted, with its augmented table."""
    import duckdb

    from teacherlm.quality.augmented import augment_view

    workspace = make_project(root, rationales)
    with duckdb.connect() as con:
        for table, glob in (("samples", f"samples/{NAME}/*"), ("rationales", f"rationales/{NAME}/*/*")):
            con.execute(f"CREATE VIEW {table} AS FROM read_parquet('{workspace}/{glob}/*.parquet')")
        verdicts, augmented = workspace / "verdicts" / NAME, workspace / "augmented" / NAME / "train"
        for folder in (verdicts, augmented):
            folder.mkdir(parents=True)
        con.execute(f"COPY ({VERDICTS}) TO '{verdicts}/verdicts.parquet'")
        con.execute(f"CREATE VIEW verdicts AS FROM '{verdicts}/verdicts.parquet'")
        augment_view(con)
        con.execute(f"COPY (FROM augmented) TO '{augmented}/00000.parquet' (COMPRESSION zstd, ROW_GROUP_SIZE 20000)")


def bare(root: Path) -> dict[str, float]:
    """The checks of the suites, in as few queries as they can be written."""
    import duckdb

    project = teacherlm.open(root, workspace=root / "workspace")
    manifest = read_manifest(project.workspace.samples(NAME))
    assert manifest is not None
    rules = [rule.id for rule in read_rules(project.files, project.catalog)]
    expectations = read_suites(project.files).expectations
    database = root / f"bare-{os.getpid()}.duckdb"
    with clock() as views:
        lay_out(database, project.workspace, NAME, manifest, rules)
    with duckdb.connect(database, read_only=True) as con, clock() as taken:
        for table in TABLES:
            own = [one for one in expectations if one.table == table]
            con.execute(f"DESCRIBE {table}").fetchall()
            counts = ", ".join(sql for one in own for sql in _counted(one))
            found = con.execute(f"SELECT count(*), {counts} FROM {table}").fetchall()[0]
            assert not any(found[1:]), found
            for one in own:
                if one.declared.type == ROWS:
                    con.execute(count_query(one)).fetchall()
    database.unlink()
    return taken | {"views": views["seconds"], "expectations": len(expectations)}


def _counted(one: Expectation) -> Iterator[str]:
    """Aggregates that count the rows which a row-wise expectation does not expect."""
    kwargs = one.declared.kwargs
    column = kwargs.get("column")
    match one.declared.type.removeprefix("expect_column_values_to_"):
        case "not_be_null":
            yield f"count_if({column} IS NULL)"
        case "be_in_set":
            yield f"count_if({column} NOT IN ({', '.join(repr(value) for value in kwargs['value_set'])}))"
        case "be_between":
            yield f"count_if({column} < {kwargs['min_value']})"
        case "be_unique":
            yield f"count({column}) - count(DISTINCT {column})"
        case _ if one.declared.type == SATISFY:
            yield f"count_if({column} IS NOT NULL AND NOT coalesce(({kwargs['condition']}), false))"


def contract(root: Path) -> dict[str, float]:
    """The whole step, and what loading the library takes of it."""
    project = teacherlm.open(root, workspace=root / "workspace")
    contract_path(project.workspace, NAME).unlink(missing_ok=True)
    with clock() as load:
        importlib.import_module("teacherlm.quality.expectations")
    with clock() as taken:
        held = project.contract(NAME)
    if not held.passed:
        raise MachineFailed(f"the contract does not hold: {next(held.broken)}")
    with clock() as again:
        project.contract(NAME)
    return taken | {
        "load": load["seconds"],
        "load_cpu": load["cpu"],
        "again": again["seconds"],
        "expectations": len(held.expectations),
    }


def measure(what: str, root: Path, rounds: int) -> dict[str, float]:
    """The cheapest of several rounds, each in a process of its own."""
    command = [sys.executable, __file__, "--one", what, str(root)]
    done = (subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True) for _ in range(rounds))
    taken: list[dict[str, float]] = [json.loads(one.stdout.splitlines()[-1]) for one in done]
    return min(taken, key=lambda one: one["cpu"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rationales", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="a project that is kept, and used again")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "ROOT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        what, root = given.one
        if what.isdigit():
            make(Path(root), int(what))
            return
        print(json.dumps({"bare": bare, "contract": contract}[what](Path(root))), flush=True)
        os._exit(0)  # a native thread may still hold the interpreter; nothing is left to be done
    with tempfile.TemporaryDirectory() as temporary:
        root = given.folder or Path(temporary) / "project"
        if not (root / "catalog.yaml").is_file():
            # In a process of its own: a child would start with the peak memory of this one.
            subprocess.run([sys.executable, __file__, "--one", str(given.rationales), str(root)], check=True)
        sql, whole = measure("bare", root, given.rounds), measure("contract", root, given.rounds)
    print(f"{given.rationales:,} rationales, {whole['expectations']:.0f} expectations")
    print(f"{'':<12}{'seconds':>9}{'CPU s':>9}{'peak MB':>9}")
    for name, taken in (("bare SQL", sql), ("contract", whole)):
        print(f"{name:<12}{taken['seconds']:>9.2f}{taken['cpu']:>9.2f}{taken['peak_mb']:>9.0f}")
    print(f"{'of bare':<12}{whole['seconds'] / sql['seconds']:>9.2f}{whole['cpu'] / sql['cpu']:>9.2f}")
    print(
        f"load {whole['load']:.2f} s ({whole['load_cpu']:.2f} s of CPU), once in a process; views {sql['views']:.2f} s"
    )
    print(f"unchanged, not run again: {whole['again']:.2f} s")


if __name__ == "__main__":
    main()
