"""Open a workspace that lies at a URL: to run steps over it, or as a local copy to look at."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from teacherlm.api.collections import OpenCollection
from teacherlm.api.project import Project
from teacherlm.api.scale import Scaled, Target
from teacherlm.api.scale_tasks import in_collection
from teacherlm.api.workspace import Workspace
from teacherlm.builders.build import MANIFEST
from teacherlm.core.errors import Mistake
from teacherlm.core.keys import text_digest
from teacherlm.engine.mirror import mirror
from teacherlm.engine.store import Store, is_location
from teacherlm.engine.tasks import Inline

EngineName = Literal["local", "ray"]

LOOKED_AT = ("samples", "rationales", "verdicts", "augmented", "reports", "collections")


@contextmanager
def scaled(
    project: Project,
    workspace: str,
    *,
    engine: EngineName = "local",
    ray_address: str | None = None,
    workers: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Scaled]:
    """A project's steps over a workspace at a URL, or in a folder that every machine sees.

    Args:
        engine: `ray`: on the cluster at `ray_address`, else at `$RAY_ADDRESS`, else on one of this machine.
        workers: tasks at once; None: one for each machine.

    Raises:
        Mistake, MissingExtra: the location or the engine cannot be used.
    """
    if workers is not None and workers < 1:
        raise Mistake(f"is {workers}", "give a number of 1 or more", "--workers")
    for option, value in (("--ray-address", ray_address), ("--workers", workers)):
        if value is not None and engine != "ray":
            raise Mistake("is given without --engine ray", "add --engine ray", option)
    store = Store(workspace if is_location(workspace) else Path(workspace).resolve().as_uri())
    if engine == "local":
        yield Scaled(project, store, Inline(), workers)
        return
    from teacherlm.engine.on_ray import ray_engine

    with ray_engine(ray_address, tell=tell) as on_ray:
        yield Scaled(project, store, on_ray, workers)


def copied(workspace: str) -> Workspace:
    """A copy of a workspace at a URL, to look at: only what has changed since the last look is fetched.

    It lies below `$XDG_CACHE_HOME`, else `~/.cache`.
    """
    store = Store(workspace)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "teacherlm" / "workspaces" / text_digest(store.url)[:16]
    mirror(store, folder, LOOKED_AT)
    return Workspace(folder)


@contextmanager
def building(scaled: Scaled, collection: OpenCollection) -> Iterator[OpenCollection]:
    """A collection in a scratch workspace, to be built here: the sizes of its datasets depend on each other.

    What was built is uploaded when the block ends, also by an error.
    """
    store = in_collection(scaled.store, collection.name)
    members = [Target(name, collection.name) for name in collection.datasets]
    scratch = tempfile.TemporaryDirectory(prefix="teacherlm-", ignore_cleanup_errors=True)
    with scaled.locked(members), scratch as folder:
        opened = replace(scaled.project, workspace=Workspace(Path(folder))).collection(collection.name)
        root = opened.workspace.root
        for part in ("samples", "counts"):
            store.fetch_tree(part, root)
        try:
            yield opened
        finally:
            for name in opened.built:
                manifest = (opened.workspace.samples(name) / MANIFEST).read_bytes()
                if store.read(f"samples/{name}/{MANIFEST}") != manifest:
                    store.upload_tree(opened.workspace.samples(name), f"samples/{name}", last=MANIFEST)
            for path in [*root.glob("counts/*.json"), *root.glob("collection.json")]:
                store.upload(path, path.relative_to(root).as_posix())
