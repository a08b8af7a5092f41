"""Check: the rules judge every rationale, the books are closed, the gates decide, the augmented table is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.workspace import Workspace, open_session
from teacherlm.builders.build import mapping_fingerprint, read_manifest
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.core.bundle import bundled
from teacherlm.core.clock import now
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.core.files import disk_failure, replacing, replacing_folder
from teacherlm.core.keys import digest, file_digest
from teacherlm.project.bind import bind
from teacherlm.project.find import ProjectFiles
from teacherlm.quality import rules as rule_files
from teacherlm.quality.books import close_books
from teacherlm.quality.gates import Gates, judge_gates
from teacherlm.quality.judge import augment_view, judge
from teacherlm.quality.report import Report, from_json, make_report, to_json
from teacherlm.quality.rules import Rule, load_rules
from teacherlm.schemas.records import SCHEMA_VERSION

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.catalog import Catalog

PARQUET = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20000"


def read_rules(files: ProjectFiles, catalog: Catalog) -> tuple[Rule, ...]:
    """The rules that ship with teacherlm and the project's own, which take the place of those with the same name.

    Settings are the catalogue's.

    Raises:
        Mistakes: headers and settings that are wrong, all of them.
    """
    rules = {rule.id: rule for rule in load_rules(bundled() / "quality" / "rules")}
    own = files.root / "quality" / "rules"
    if not files.is_bundled and own.is_dir():
        rules |= {rule.id: rule for rule in load_rules(own)}
    return tuple(rule_files.bind(rules.values(), catalog.rules, where="catalog.yaml"))


def metrics_file(files: ProjectFiles) -> Path:
    """The project's own metrics, else those that ship with teacherlm."""
    own = files.root / "quality" / "metrics.sql"
    return own if own.is_file() else bundled() / "quality" / "metrics.sql"


def read_gates(files: ProjectFiles, catalog: Catalog, bound: BoundRecipe) -> Gates:
    """The gates of a dataset: the recipe's own over the catalogue's."""
    if catalog.gates:
        bind(files.catalog(), Gates, loc=("gates",), data=_whole(catalog.gates))
    own = bound.recipe.gates or {}
    return bind(bound.located, Gates, loc=("gates",), data=_whole({**catalog.gates, **own}))


def _whole(gates: Mapping[str, float]) -> dict[str, int | float]:
    """Numbers as they are written: a count such as `min_accepted: 1000` stays whole."""
    return {name: int(value) if value == int(value) else value for name, value in gates.items()}


def check(files: ProjectFiles, catalog: Catalog, workspace: Workspace, bound: BoundRecipe) -> Report:
    """Judge all rationales of a dataset and write verdicts, findings, the augmented table and the report.

    Raises:
        Mistake: nothing was built; rules that cannot be run.
        BooksDoNotClose: a rationale has no verdict, or two.
        MachineFailed: disk, lock, damaged ledger.
    """
    name = bound.name
    rules, gates = read_rules(files, catalog), read_gates(files, catalog, bound)
    with workspace.locked(name):
        splits = workspace.sample_files(name)
        connection = open_session(workspace, [name], judged=False)
        inputs = fingerprints_in(connection, files, catalog, workspace, bound, rules, gates)
        judge(connection, rules, metrics_file(files).read_text(encoding="utf-8"))
        books = close_books(connection)
        augment_view(connection)
        with replacing_folder(workspace.verdicts(name)) as folder:
            for table in ("verdicts", "findings"):
                _copy(connection, f"FROM {table}", folder / f"{table}.parquet")
        with replacing_folder(workspace.augmented(name)) as folder:
            for split in splits:
                (folder / split).mkdir()
                _copy(connection, f"FROM augmented WHERE split = {_text(split)}", folder / split / "00000.parquet")
        report = make_report(
            connection,
            name,
            rules=rules,
            books=books,
            gates=judge_gates(books, gates),
            created_at=now(),
            inputs=inputs,
            outputs=fingerprints_out(workspace, name),
        )
        with replacing(workspace.report(name)) as temporary:
            temporary.write_bytes(to_json(report))
    return report


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
    rules, gates = read_rules(files, catalog), read_gates(files, catalog, bound)
    connection = open_session(workspace, [bound.name], judged=False)
    present: Mapping[str, str] = fingerprints_in(connection, files, catalog, workspace, bound, rules, gates)
    changed = [name for name, value in present.items() if report.inputs.get(name) != value]
    outputs = fingerprints_out(workspace, bound.name)
    changed += [
        name for name in sorted(set(outputs) | set(report.outputs)) if outputs.get(name) != report.outputs.get(name)
    ]
    return changed


def fingerprints_in(
    connection: duckdb.DuckDBPyConnection,
    files: ProjectFiles,
    catalog: Catalog,
    workspace: Workspace,
    bound: BoundRecipe,
    rules: tuple[Rule, ...],
    gates: Gates,
) -> dict[str, str]:
    """Fingerprints of all that a check depends on."""
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
    rule_parts: list[Any] = [[rule.id, rule.severity, rule.kinds, dict(rule.parameters), rule.sql] for rule in rules]
    return {
        "samples": manifest.fingerprint,
        "rationales": digest([content[0], str(content[1])]),
        "rules": digest([SCHEMA_VERSION, rule_parts, file_digest(metrics_file(files))]),
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

    try:
        connection.execute(f"COPY ({query}) TO {_text(str(target))} ({PARQUET})")
    except duckdb.OperationalError as error:
        import errno

        code = errno.ENOSPC if "No space left" in str(error) else errno.EIO
        raise disk_failure(target.parent, OSError(code, str(error).splitlines()[0])) from error


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
