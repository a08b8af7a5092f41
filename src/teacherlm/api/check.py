"""Check: the rules judge every rationale, the books are closed, the gates decide, the augmented table is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.api.check_session import MEMORY, check_session, last_answers
from teacherlm.api.references import ReferenceReader, read_references
from teacherlm.api.standards import Standards, read_gates, read_standards
from teacherlm.api.workspace import Workspace, open_session
from teacherlm.builders.build import mapping_fingerprint, read_manifest
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.core.clock import now
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.core.files import disk_failure, replacing, replacing_folder
from teacherlm.core.keys import digest, file_digest
from teacherlm.core.stored import to_json
from teacherlm.project.find import ProjectFiles
from teacherlm.quality.augmented import augment_view
from teacherlm.quality.books import close_books
from teacherlm.quality.contamination import Reference, find_contamination
from teacherlm.quality.duplicates import find_duplicates
from teacherlm.quality.gates import Gates, judge_gates
from teacherlm.quality.judge import judge
from teacherlm.quality.measures import measure
from teacherlm.quality.messages import out_of_memory
from teacherlm.quality.report import Against, Report, from_json, make_report

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.catalog import Catalog

WRITTEN: Mapping[str, str] = {
    **{table: f"FROM {table}" for table in ("verdicts", "findings")},
    **{table: f"FROM {table} ORDER BY ALL" for table in ("duplicates", "contamination")},
    # The numbers; the texts stand in samples and rationales.
    "metrics": "SELECT * EXCLUDE (text, question, choices, answer, task, human_rationale) FROM metrics "
    "ORDER BY sample_id, kind, repeat",
}
"""What a check writes of its judgement, beside the augmented table."""

PARQUET = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20000"


def check(files: ProjectFiles, catalog: Catalog, workspace: Workspace, bound: BoundRecipe) -> Report:
    """Judge all rationales of a dataset and write verdicts, findings, the augmented table and the report.

    Raises:
        Mistake: nothing was built; rules that cannot be run.
        BooksDoNotClose: a rationale has no verdict, or two.
        MachineFailed: disk, lock, damaged ledger.
    """
    name = bound.name
    standards, gates = read_standards(files, catalog), read_gates(files, catalog, bound)
    reader = ReferenceReader(files, catalog.evaluation_sets, workspace)
    missing = reader.missing(needed=gates.max_contaminated is not None)
    with workspace.locked(name):
        try:
            return _check(workspace, bound, standards, gates, missing, MEMORY)
        except MachineFailed as error:
            if not out_of_memory(error):
                raise
        return _check(workspace, bound, standards, gates, missing, None)  # rows of many megabytes: as much as there is


def _check(
    workspace: Workspace,
    bound: BoundRecipe,
    standards: Standards,
    gates: Gates,
    missing: Mapping[str, str],
    memory: int | None,
) -> Report:
    name = bound.name
    splits = workspace.sample_files(name)
    references = read_references(workspace)
    with check_session(workspace, name, memory) as connection:
        inputs = fingerprints_in(connection, workspace, bound, standards, gates, references, missing)
        find_duplicates(connection)
        find_contamination(connection, references)
        judge(connection, standards.rules, standards.metrics, standards.scorer)
        books, measures = close_books(connection), measure(connection)
        contamination = _contamination(references, measures.by_task or {}, missing)
        if not references:
            measures = replace(measures, by_task=None)
        augment_view(connection)
        # Both are whole before either takes its place.
        with (
            replacing_folder(workspace.verdicts(name)) as judged,
            replacing_folder(workspace.augmented(name)) as folder,
        ):
            for table, query in WRITTEN.items():
                _copy(connection, query, judged / f"{table}.parquet")
            connection.execute("DROP TABLE metrics; DROP TABLE scores")  # room for the texts
            for split in splits:
                (folder / split).mkdir()
                _copy(connection, f"FROM augmented WHERE split = {_text(split)}", folder / split / "00000.parquet")
        report = make_report(
            connection,
            name,
            rules=standards.rules,
            books=books,
            gates=judge_gates(books, gates, measures, not_run=list(missing)),
            created_at=now(),
            measures=measures,
            contamination=contamination,
            inputs=inputs,
            outputs=fingerprints_out(workspace, name),
        )
        with replacing(workspace.report(name)) as temporary:
            temporary.write_bytes(to_json(report))
    return report


def _contamination(
    references: Sequence[Reference], by_task: Mapping[str, int], missing: Mapping[str, str]
) -> list[Against]:
    return [
        *(
            Against(task=found.task, state="run", items=found.items, samples=by_task.get(found.task, 0))
            for found in references
        ),
        *(Against(task=task, state="not run", why=why) for task, why in missing.items()),
    ]


def read_report(workspace: Workspace, dataset: str) -> Report | None:
    """The last report of a dataset; None where it was not checked."""
    path = workspace.report(dataset)
    return from_json(path.read_bytes()) if path.is_file() else None


def valid_report(files: ProjectFiles, catalog: Catalog, workspace: Workspace, bound: BoundRecipe) -> Report | None:
    """The last report, where it can be read and still holds."""
    try:
        report = read_report(workspace, bound.name)
    except MachineFailed:
        return None  # a damaged report is written again
    return report if report and not changed_since(files, catalog, workspace, bound, report) else None


def changed_since(
    files: ProjectFiles, catalog: Catalog, workspace: Workspace, bound: BoundRecipe, report: Report
) -> list[str]:
    """What has changed since a report was written; empty where it still holds."""
    standards, gates = read_standards(files, catalog), read_gates(files, catalog, bound)
    connection = open_session(workspace, [bound.name], judged=False)
    last_answers(connection)
    references = read_references(workspace)
    missing = ReferenceReader(files, catalog.evaluation_sets, workspace).missing()
    present: Mapping[str, str] = fingerprints_in(connection, workspace, bound, standards, gates, references, missing)
    changed = [name for name, value in present.items() if report.inputs.get(name) != value]
    outputs = fingerprints_out(workspace, bound.name)
    changed += [
        name for name in sorted(set(outputs) | set(report.outputs)) if outputs.get(name) != report.outputs.get(name)
    ]
    return changed


def fingerprints_in(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    bound: BoundRecipe,
    standards: Standards,
    gates: Gates,
    references: Sequence[Reference],
    missing: Iterable[str] = (),
) -> dict[str, str]:
    """Fingerprints of all that a check depends on.

    Args:
        missing: evaluation sets that are declared and were not read.
    """
    manifest = read_manifest(workspace.samples(bound.name))
    if manifest is None:
        raise Mistake(
            f"`{bound.name}` has no samples in {workspace.root}", f"build it first: teacherlm build {bound.name}"
        )
    if manifest.mapping and manifest.mapping != mapping_fingerprint(bound):
        raise Mistake(
            f"the recipe of `{bound.name}` has changed since its samples were built",
            f"build it again: teacherlm build {bound.name}",
            bound.located.shown,
        )
    # Of the content, not of the files: sealing the ledger moves lines between files and changes nothing.
    content = connection.execute(
        "SELECT count(*), bit_xor(hash(sample_id, kind, repeat, call_key, status, failure, text)) FROM rationales"
    ).fetchall()[0]
    return {
        "samples": manifest.fingerprint,
        "rationales": digest([content[0], str(content[1])]),
        "rules": standards.fingerprint,
        "evaluation sets": digest([*([found.task, found.fingerprint] for found in references), *sorted(missing)]),
        "gates": digest({name: getattr(gates, name) for name in gates.__dataclass_fields__}),
    }


def fingerprints_out(workspace: Workspace, dataset: str) -> dict[str, str]:
    """Fingerprints of what a check wrote."""
    found: dict[str, str] = {}
    for folder in (workspace.verdicts(dataset), workspace.augmented(dataset)):
        for path in sorted(folder.rglob("*.parquet")):
            found[_name(workspace, path)] = file_digest(path)
    return found


def _name(workspace: Workspace, path: Path) -> str:
    return path.relative_to(workspace.root).as_posix()


def _copy(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    import duckdb

    # By one thread: several may cut row groups elsewhere, and the bytes would depend on the machine.
    ((threads,),) = connection.execute("SELECT current_setting('threads')").fetchall()
    try:
        connection.execute("SET threads = 1")
        connection.execute(f"COPY ({query}) TO {_text(str(target))} ({PARQUET})")
    except duckdb.OperationalError as error:
        import errno

        code = errno.ENOSPC if "No space left" in str(error) else errno.EIO
        raise disk_failure(target.parent, OSError(code, str(error).splitlines()[0])) from error
    finally:
        connection.execute(f"SET threads = {threads}")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
