"""Publishing to a local folder: all or nothing, what was there stays, and the same content changes nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from teacherlm.core.errors import Mistake
from teacherlm.core.files import disk_errors, read_json, write_json
from teacherlm.core.keys import file_digest
from teacherlm.core.locks import held
from teacherlm.hub import manifest
from teacherlm.hub.content import README, Content, compose
from teacherlm.hub.gates import hold
from teacherlm.hub.manifest import Manifest
from teacherlm.hub.publication import Publication, given_once
from teacherlm.hub.published import Published, describe

WORK = ".publishing"
"""Folder inside the target while a publish runs: `new/` is staged, then `plan.json` tells what to move where."""

_HARMLESS = {WORK, ".git", ".gitattributes"}
"""What a folder may hold and still count as empty: a fresh clone of a dataset repository is one."""


def publish_folder(publications: Sequence[Publication], to: Path, *, dry_run: bool = False) -> Published:
    """Publish datasets into a folder; datasets that it already holds stay.

    Args:
        dry_run: find out what would be done, and leave the folder as it is.

    Killed at any moment, it leaves the folder as it was, or a plan that the next publish carries out first.

    Raises:
        Mistake: the folder holds something else; a dataset is given twice.
        Refused: a gate forbids it.
        MachineFailed: no permission, a full disk, another publish at work, a damaged part.
    """
    to = Path(to)
    _look_at(publications, to)
    hold(publications)
    with _made(to, keep=not dry_run), held(to / WORK / "lock", f"{to}"), _work(to):
        before = _before(to)
        with disk_errors(to):
            staging = to / WORK / "new"
            staging.mkdir()
            content = compose(publications, staging, before)
            put = [path for path in content.written if not _same(staging / path, to / path)]
            removed = _stale(content, to)
            done = describe(content, before, put, removed, staging, dry_run=dry_run)
            if not dry_run:
                _write_plan(to, put, removed)
                _carry_out(to)
    return done


def _look_at(publications: Sequence[Publication], to: Path) -> None:
    """Refuse what was given before anything is written."""
    given_once(publications)
    with disk_errors(to):
        if to.exists() and not to.is_dir():
            raise Mistake("is a file", f"name a folder, such as {to.with_name(to.name + '-published')}", str(to))
        if not to.exists() or (to / manifest.NAME).exists() or (to / WORK / "plan.json").exists():
            return
        if found := sorted(path.name for path in to.iterdir() if path.name not in _HARMLESS):
            raise Mistake(
                f"holds other things ({', '.join(found[:3])}{', …' if len(found) > 3 else ''}) "
                f"and no {manifest.NAME}: it is not a published folder",
                f"name a new folder, such as {to / 'published'}",
                str(to),
            )


@contextlib.contextmanager
def _made(to: Path, *, keep: bool) -> Iterator[None]:
    """Make the folder; take away what was made if the block fails, or if it is not to be kept."""
    made = [folder for folder in (to, *to.parents) if not folder.exists()]
    try:
        with disk_errors(to):
            to.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        _unmake(made)
        raise
    if not keep:
        _unmake(made)


def _unmake(made: Sequence[Path]) -> None:
    for folder in made:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _before(to: Path) -> Manifest:
    with disk_errors(to):
        path = to / manifest.NAME
        return manifest.parse(path.read_bytes(), str(path)) if path.exists() else Manifest()


def _stale(content: Content, to: Path) -> list[str]:
    """Files to remove: those of the last manifest, and any other shard that the card's globs would read."""
    kept = content.manifest.paths()
    strays = {
        path.relative_to(to).as_posix() for name in content.configs for path in (to / "data" / name).glob("*.parquet")
    }
    return sorted(path for path in {*content.stale, *strays} - kept if (to / path).exists())


@contextlib.contextmanager
def _work(to: Path) -> Iterator[None]:
    """Carry out the plan of a publish that was killed, and keep none of this one's files but those of its plan."""
    plan = to / WORK / "plan.json"
    try:
        with disk_errors(to):
            _carry_out(to)
        yield
    finally:
        if not plan.exists():
            shutil.rmtree(to / WORK, ignore_errors=True)


def _write_plan(to: Path, put: Sequence[str], removed: Sequence[str]) -> None:
    """Write down what to put and what to remove; from here on the publish can only be finished."""
    last = [path for path in put if path in (README, manifest.NAME)]
    steps = [
        *(["put", path] for path in put if path not in last),
        *(["remove", path] for path in removed),
        *(["put", path] for path in last),
    ]
    write_json(to / WORK / "plan.json", steps)


def _carry_out(to: Path) -> None:
    """Do what the plan says, as far as it has not been done; then, or without one, forget what was staged."""
    work = to / WORK
    for verb, path in read_json(work / "plan.json") or ():
        if verb == "put":
            # Where nothing is staged any more, a killed publish had put it.
            if (staged := work / "new" / path).exists():
                (to / path).parent.mkdir(parents=True, exist_ok=True)
                staged.replace(to / path)
        else:
            (to / path).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                (to / path).parent.rmdir()
    (work / "plan.json").unlink(missing_ok=True)
    shutil.rmtree(work / "new", ignore_errors=True)


def _same(staged: Path, there: Path) -> bool:
    return (
        there.is_file() and there.stat().st_size == staged.stat().st_size and file_digest(there) == file_digest(staged)
    )
