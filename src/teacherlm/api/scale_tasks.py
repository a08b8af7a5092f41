"""What runs on a worker: the ordinary steps in a scratch workspace, fetched from the store and uploaded to it."""

from __future__ import annotations

import _thread
import io
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import teacherlm
from teacherlm.api.augment import Augmented
from teacherlm.api.project import Project
from teacherlm.api.project import open as open_project
from teacherlm.api.scale_shards import (
    Numbers,
    Shard,
    Shards,
    earlier_segments,
    fetch_rows,
    ledger_entries,
    segment_number,
)
from teacherlm.api.scale_shipping import Shipping
from teacherlm.builders.build import MANIFEST, Built
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.core.files import write_json
from teacherlm.core.keys import digest
from teacherlm.engine.store import Store
from teacherlm.engine.tasks import Report
from teacherlm.project.find import CATALOG, ProjectFiles
from teacherlm.quality.report import Report as CheckReport

DECLARED = ("builders", "schemas", "quality", "train", "evaluate")
DECLARED_MB = 64
"""Declared files travel to every worker; rows do not belong there beyond that."""


@dataclass(frozen=True)
class Job:
    """Where a worker finds what it works on."""

    url: str
    """The workspace."""
    dataset: str
    collection: str | None
    """The collection in whose workspace the dataset lies."""
    declared: str | None
    """The project's declared files, in the workspace; None: the bundled project."""
    version: str
    """Of teacherlm, as the driver has it."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What `augment` is to ask; see `Project.augment`."""

    teacher: str
    kinds: tuple[str, ...] | None = None
    repeats: int = 1
    strategy: str | None = None
    concurrency: int | None = None
    """Of this worker."""


def put_declared(files: ProjectFiles, store: Store) -> str | None:
    """Put the declared files of a project into its workspace, for the workers; returns their name there.

    Raises:
        Mistake: they are too large.
    """
    if files.is_bundled:
        return None
    paths = [files.root / CATALOG]
    for folder in DECLARED:
        paths += sorted(path for path in (files.root / folder).rglob("[!.]*") if path.is_file())
    size = sum(path.stat().st_size for path in paths)
    if size > DECLARED_MB * 1e6:
        raise Mistake(
            f"the declared files hold {size / 1e6:,.0f} MB; workers are sent {DECLARED_MB} MB at most",
            "keep source rows outside builders/, at an absolute path that every machine sees",
            str(files.root),
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:  # with one date, so that the same files are the same bytes
            entry = zipfile.ZipInfo(path.relative_to(files.root).as_posix(), (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    name = f"declared/{digest(packed.getvalue().hex())[:16]}.zip"
    store.create(name, packed.getvalue())
    return name


@contextmanager
def at_work(job: Job) -> Iterator[tuple[Store, Project]]:
    """The store of a job, and its project with an empty workspace on this machine, which goes when the block ends.

    Raises:
        MachineFailed: this machine has another version of teacherlm.
    """
    if job.version != teacherlm.__version__:
        raise MachineFailed(
            f"a worker has teacherlm {teacherlm.__version__}, and the command {job.version}",
            "install the same version on every machine",
        )
    store = Store(job.url)
    # Where the temporary folder is small, TMPDIR names another one.
    with tempfile.TemporaryDirectory(prefix="teacherlm-", ignore_cleanup_errors=True) as scratch:
        root = Path(scratch)
        project = open_project(_declared(job, store, root / "project"), workspace=root / "workspace")
        if job.collection is not None:
            project = project.collection(job.collection).project
        yield in_collection(store, job.collection), project


def in_collection(store: Store, collection: str | None) -> Store:
    """The store of a collection's workspace."""
    return store if collection is None else store.below(f"collections/{collection}")


def _declared(job: Job, store: Store, folder: Path) -> Path:
    if job.declared is None:
        from teacherlm.core.bundle import bundled

        return bundled()
    packed = store.read(job.declared)
    if packed is None:
        raise MachineFailed("the declared files are gone", "run the same command again", store.place(job.declared))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(folder)
    return folder


def build_task(job: Job, source: str | None, split: str | None, force: bool, report: Report) -> Built:
    """Build a dataset; nothing is uploaded where nothing has changed."""
    with at_work(job) as (store, project):
        folder = f"samples/{job.dataset}"
        if store.read(f"{folder}/{MANIFEST}") is not None and not force:
            store.fetch_tree(folder, project.workspace.root)
        built = project.build(job.dataset, source=source, split=split, force=force)
        if not built.reused:
            # The scratch folder tells nobody anything.
            built = replace(built, place=built.place.replace(f"{project.files.root}/", ""))
            write_json(project.workspace.samples(job.dataset) / MANIFEST, asdict(built))
            store.upload_tree(project.workspace.samples(job.dataset), folder, last=MANIFEST)
        return built


def augment_task(job: Job, shards: Shards, shard: Shard, asking: Asking, report: Report) -> Augmented:
    """Ask about a shard's samples what no earlier run, nor an earlier attempt at this shard, has uploaded."""
    with at_work(job) as (store, project):
        root = project.workspace.root
        fetch_rows(store, job.dataset, shard, root)
        earlier = _fetch_earlier(store, job.dataset, shards, shard, root)
        numbers = Numbers(shard.number, max([shards.since, *earlier]))
        with Shipping(store, root, f"rationales/{job.dataset}", numbers.next) as shipping:
            watch = _Watch(report, shipping)
            return project.augment(
                job.dataset,
                teacher=asking.teacher,
                kinds=asking.kinds,
                repeats=asking.repeats,
                strategy=asking.strategy,
                concurrency=asking.concurrency,
                watch=watch,
            )


def _fetch_earlier(store: Store, dataset: str, shards: Shards, shard: Shard, root: Path) -> list[int]:
    """Fetch the segments that may hold answers of a shard; returns their numbers."""
    while True:
        found = earlier_segments(ledger_entries(store, dataset), shards, shard.number)
        try:
            store.fetch([entry.name for entry in found], root)
        except FileNotFoundError:  # joined since; a worker that was taken for dead may still be at it
            continue
        return [segment_number(entry) for entry in found]


class _Watch:
    """Tells how far a worker is; interrupts it when it is told to stop, or can upload no more."""

    def __init__(self, report: Report, shipping: Shipping) -> None:
        self._report, self._shipping = report, shipping
        self._interrupted = False

    def __call__(self, state: Augmented) -> None:
        stop = self._report(state) or self._shipping.failure is not None
        if stop and not self._interrupted:
            self._interrupted = True
            # As Ctrl-C does: what is in flight is finished. A real signal would wait for ever: Ray's workers block it.
            _thread.interrupt_main()


def check_task(job: Job, only_if_stale: bool, report: Report) -> CheckReport:
    """Check a dataset."""
    with at_work(job) as (store, project):
        workspace, name = project.workspace, job.dataset
        for part in ("samples", "rationales", *(("verdicts", "augmented") if only_if_stale else ())):
            store.fetch_tree(f"{part}/{name}", workspace.root)
        place = f"reports/{name}/report.json"
        before = store.read(place)
        if only_if_stale and before is not None:
            store.fetch([place], workspace.root)
        checked = project.check(name, only_if_stale=only_if_stale)
        if before is None or workspace.report(name).read_bytes() != before:
            store.remove([place])  # while the tables change there is none that could be believed
            store.upload_tree(workspace.verdicts(name), f"verdicts/{name}")
            store.upload_tree(workspace.augmented(name), f"augmented/{name}")
            store.upload(workspace.report(name), place)
        return checked
