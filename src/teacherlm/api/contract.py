"""The contract of a dataset: suites of expectations held against its samples, rationales and augmented table."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.api.check import fingerprints_out
from teacherlm.api.contract_tables import lay_out
from teacherlm.api.standards import read_rules
from teacherlm.builders.build import read_manifest
from teacherlm.core.bundle import bundled
from teacherlm.core.clock import now
from teacherlm.core.errors import MachineFailed, Mistake, Problem
from teacherlm.core.files import disk_errors, replacing, replacing_folder
from teacherlm.core.keys import digest, file_digest
from teacherlm.core.stored import to_json
from teacherlm.quality.contract import Contract, from_json
from teacherlm.quality.suites import Suites, load_suites
from teacherlm.teacher.segments import kind_folders, list_segments

if TYPE_CHECKING:
    from teacherlm.api.catalog import Catalog
    from teacherlm.api.workspace import Workspace
    from teacherlm.project.find import ProjectFiles

DOCS = "docs"
"""Folder of Data Docs beside the report."""


def hold_contract(
    files: ProjectFiles, catalog: Catalog, workspace: Workspace, name: str, *, docs: bool = False
) -> Contract:
    """Hold the suites against a checked dataset; where nothing has changed since the last time, that result.

    Whoever calls it holds the dataset's lock.

    Args:
        docs: also write Data Docs to `reports/DATASET/docs`, which runs it anew.

    Raises:
        Mistake, Mistakes: nothing was built or checked; suites that are wrong.
        MachineFailed: a file is damaged, a check crashed, or the disk is full.
    """
    manifest = read_manifest(workspace.samples(name))
    if manifest is None or not workspace.augmented(name).is_dir():
        step = "build" if manifest is None else "check"
        raise Mistake(
            f"`{name}` has no {'samples' if manifest is None else 'augmented table'} in {workspace.root}",
            f"{step} it first: teacherlm {step} {name}",
        )
    suites = read_suites(files)
    rules = [rule.id for rule in read_rules(files, catalog)]
    inputs = _fingerprints(workspace, name, suites, rules)
    path = contract_path(workspace, name)
    if not docs and (known := _known(path)) and known.inputs == inputs:
        return known
    from teacherlm.quality.validate import validate

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the report: what does not fit into memory is spilled there too, and the system's own place may be memory.
    with tempfile.TemporaryDirectory(prefix=".contract.", suffix=".tmp", dir=path.parent) as folder:
        database = Path(folder) / "contract.duckdb"
        lay_out(database, workspace, name, manifest, rules)
        parameters = {"samples": manifest.samples}
        if docs:
            with replacing_folder(docs_path(workspace, name)) as pages:
                held = validate(database, suites, parameters, pages.resolve())
        else:
            held = validate(database, suites, parameters)
    contract = Contract(
        dataset=name,
        created_at=now(),
        passed=all(one.state == "holds" for one in held if one.severity == "critical"),
        expectations=held,
        inputs=inputs,
    )
    with replacing(path) as temporary:
        temporary.write_bytes(to_json(contract))
    return contract


def look_at_suites(files: ProjectFiles, catalog: Catalog, workspace: Workspace) -> None:
    """Look for what is wrong in the suites before anything is run; what needs a table is found when it is held.

    Great Expectations is only loaded for suites of the project's own that were not held in this workspace yet.

    Raises:
        Mistakes: no YAML, unknown expectations or arguments, with their places.
    """
    suites = read_suites(files)
    if all(path.is_relative_to(bundled()) for path in suites.paths):
        return
    wanted = _of_suites(suites, [rule.id for rule in read_rules(files, catalog)])
    known = (_known(path) for path in sorted(contract_path(workspace, "x").parents[1].glob("*/contract.json")))
    if any(one and one.inputs.get("suites") == wanted for one in known):
        return
    from teacherlm.quality.validate import check_declared

    check_declared(suites)


def against_publishing(contract: Contract) -> list[Problem]:
    """Why a contract stops a publication: each critical expectation that does not hold, with counts and examples."""
    name = contract.dataset
    return [
        Problem(
            f"{name}: {held.where}",
            f"the contract is broken: {held}",
            "look at these rows (teacherlm sql), mend what made them and run "
            f"`teacherlm check {name}` again; or change the expectation",
        )
        for held in contract.broken
        if held.severity == "critical"
    ]


def contract_path(workspace: Workspace, name: str) -> Path:
    return workspace.report(name).with_name("contract.json")


def docs_path(workspace: Workspace, name: str) -> Path:
    return workspace.report(name).with_name(DOCS)


def read_suites(files: ProjectFiles) -> Suites:
    """The suites that ship with teacherlm and the project's own, which take the place of those with the same name.

    Raises:
        Mistakes: all that is wrong in them.
    """
    place = "quality/expectations"
    folders = {bundled() / place: place}
    if not files.is_bundled:
        folders[files.root / place] = place
    return load_suites(folders)


def suite_files(files: ProjectFiles) -> dict[str, Path]:
    """The suites' files, by their path in a publication."""
    return {f"expectations/{path.name}": path for path in read_suites(files).paths}


def _fingerprints(workspace: Workspace, name: str, suites: Suites, rules: Sequence[str]) -> dict[str, str]:
    """Fingerprints of all that a contract depends on."""
    segments = [one.path for folder in kind_folders(workspace.rationales(name)) for one in list_segments(folder)]
    samples = [path for path in sorted(workspace.samples(name).rglob("*")) if path.is_file()]
    return {
        "suites": _of_suites(suites, rules),
        **{part: _digest(workspace, paths) for part, paths in (("samples", samples), ("rationales", segments))},
        "outputs": digest(fingerprints_out(workspace, name)),
    }


def _of_suites(suites: Suites, rules: Sequence[str]) -> str:
    return digest([suites.fingerprint, sorted(rules)])


def _digest(workspace: Workspace, paths: Sequence[Path]) -> str:
    return digest({path.relative_to(workspace.root).as_posix(): file_digest(path) for path in paths})


def _known(path: Path) -> Contract | None:
    """The last result, where there is one that can be read."""
    try:
        return from_json(path.read_bytes())
    except (OSError, MachineFailed):
        return None
