"""Publish: checked datasets and all that made them become a folder or repository that `load_dataset` reads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

from teacherlm.api.catalog import Catalog
from teacherlm.api.publication import publication
from teacherlm.api.workspace import Workspace
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.core.errors import MachineFailed, Mistake, RemoteFailed
from teacherlm.core.files import disk_errors
from teacherlm.hub import address
from teacherlm.hub.address import Address
from teacherlm.hub.folder import publish_folder
from teacherlm.hub.formats import FormatName
from teacherlm.hub.published import Published
from teacherlm.hub.push import PushOptions, publish_hub
from teacherlm.hub.repository import Repository
from teacherlm.hub.verify import Verified, verify_folder, verify_hub
from teacherlm.project.find import ProjectFiles


class PublishOptions(TypedDict, total=False):
    """How to publish; what is left out is as in the comment."""

    branch: str | None
    """Branch of a repository, made where there is none; else that of the address, else `main`."""
    tag: str | None
    """Given to the commit."""
    private: bool
    """A repository that has to be made is private."""
    create_pr: bool
    """Open a pull request in place of moving the branch."""
    dry_run: bool
    """Find out what would be done, and do nothing."""
    verify: bool
    """Read everything back after publishing (True)."""
    rationales_only: bool | None
    """Leave the source's text out, also where its licence lets it be passed on."""
    formats: Sequence[FormatName] | None
    """Training formats to publish besides; none if empty (None: those that the place has)."""


def publish(
    files: ProjectFiles,
    catalog: Catalog,
    workspace: Workspace,
    recipes: Sequence[BoundRecipe],
    to: str | Path,
    **options: Unpack[PublishOptions],
) -> Published:
    """Publish checked datasets to a folder, or in one commit to a repository on the Hub.

    Args:
        to: a folder, or `hf://datasets/ORG/REPO[@BRANCH]`.

    Raises:
        GateFailed: a gate failed, something changed since the check, or the licence forbids it.
        Mistake: a dataset was not checked; the place holds something else; no token, or one that may not write.
        RemoteFailed: the Hub fails, or the branch was moved meanwhile; it is as it was.
        MachineFailed: the disk is full or refuses.
    """
    at = _address(str(to), options.get("branch")) if address.is_hub(str(to)) else None
    if at is None:
        _only_for_the_hub(options)
    with ExitStack() as locks:
        # What was found to be whole must be what is copied: nobody may check or build meanwhile.
        for bound in sorted(recipes, key=lambda bound: bound.name):
            locks.enter_context(workspace.locked(bound.name))
        alone = options.get("rationales_only")
        publications = [
            replace(
                publication(files, catalog, workspace, bound), rationales_only=alone, formats=options.get("formats")
            )
            for bound in recipes
        ]
        if at is None:
            done = publish_folder(publications, Path(to), dry_run=options.get("dry_run", False))
            return done if done.dry_run else _read_back(done, verify_folder(Path(to), load=False))
        with _staging(workspace, [bound.name for bound in recipes]) as staging:
            done, sent = publish_hub(
                publications,
                Repository(at),
                staging,
                PushOptions(
                    private=options.get("private", False),
                    tag=options.get("tag"),
                    create_pr=options.get("create_pr", False),
                    dry_run=options.get("dry_run", False),
                ),
            )
        if done.dry_run or done.commit is None or not done.files or not options.get("verify", True):
            return done
        # By commit: the branch may move on meanwhile, and a pull request has one of its own.
        repository = Repository(replace(at, revision=done.commit))
        try:
            found = verify_hub(repository, sent, fetch=done.files)
        except RemoteFailed as error:
            said = f"was published (commit {done.commit}), but could not be read back: {error.found}"
            raise RemoteFailed(said, f"look at it with  teacherlm verify {repository.address}", str(at)) from None
        return _read_back(done, found)


def _address(to: str, branch: str | None) -> Address:
    """
    Raises:
        Mistake: it is no address, or names another branch.
    """
    at = address.parse(to)
    if branch and at.revision and branch != at.revision:
        raise Mistake(f"is `{branch}`, and the address names `{at.revision}`", "name one branch", "--branch")
    return replace(at, revision=branch or at.revision)


@contextmanager
def _staging(workspace: Workspace, names: Sequence[str]) -> Iterator[Path]:
    """An empty folder for files on their way; `names` are locked, so that nobody else uses it.

    What a publish left there that was killed is removed first.
    """
    root = workspace.root / "publishing"
    for name in names:
        shutil.rmtree(root / name, ignore_errors=True)
    staging = root / names[0]
    with disk_errors(staging):
        staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with suppress(OSError):
            root.rmdir()


def _read_back(done: Published, found: Verified) -> Published:
    """
    Raises:
        RemoteFailed, MachineFailed: what was read back from the Hub, or from a folder, is not what was sent.
    """
    if not found.passed:
        said = f"was published, but reading it back gives something else: {'; '.join(found.found[:5])}"
        failed = RemoteFailed if found.commit else MachineFailed
        raise failed(said, f"look at it with  teacherlm verify {found.place}  and publish again", found.place)
    return replace(done, verified=True)


def _only_for_the_hub(options: PublishOptions) -> None:
    given = [name for name in ("branch", "tag", "private", "create_pr") if options.get(name)]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise Mistake(
            f"{option} is for a repository on the Hub", "leave it out, or give  hf://datasets/ORG/REPO", option
        )
