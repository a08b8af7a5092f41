"""Publishing to the Hub: all files of a publication arrive first, then one commit makes them visible.

Large files (Parquet) are stored by their hash before anything refers to them, so that a push which breaks in the middle
leaves the branch as it was and a second one sends only what is missing. The commit names the head that it was computed
from; where somebody else has moved the branch meanwhile, the Hub refuses it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha1
from pathlib import Path

from teacherlm.core.errors import Mistake, RemoteFailed, TeacherlmError
from teacherlm.core.files import disk_errors
from teacherlm.core.keys import file_digest
from teacherlm.hub import manifest
from teacherlm.hub.address import MAIN
from teacherlm.hub.content import README, Content, compose
from teacherlm.hub.gates import hold
from teacherlm.hub.manifest import Manifest
from teacherlm.hub.publication import Publication, given_once
from teacherlm.hub.published import Published, describe
from teacherlm.hub.repository import TRIES, TRY_AGAIN, HubBusy, RemoteFile, Repository

_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]|/(?=\w))*", re.ASCII)
"""What git, and the Hub, take as the name of a branch or a tag."""

_HARMLESS = {".gitattributes", README}
"""What a repository may hold and still count as empty: one made on the Hub's site has them."""


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """How a publication goes to the Hub."""

    private: bool = False
    """A repository that has to be made is private."""
    tag: str | None = None
    """Given to the commit, or to the head where nothing has changed."""
    create_pr: bool = False
    """Open a pull request in place of moving the branch."""
    dry_run: bool = False
    """Find out what would be done, and do nothing."""


def publish_hub(
    publications: Sequence[Publication], to: Repository, staging: Path, options: PushOptions = PushOptions()
) -> tuple[Published, Manifest]:
    """Publish datasets to a repository in one commit; datasets that it already holds stay.

    Args:
        staging: an empty folder for the files on their way.

    Returns:
        What was done, and what the repository holds now, or would hold.

    Raises:
        Refused: a gate forbids it.
        Mistake: no token, no permission, the repository holds something else, the tag is taken.
        RemoteFailed: the Hub fails, or somebody has moved the branch meanwhile. The branch is as it was.
    """
    given_once(publications)
    hold(publications)
    for option, name in (("--tag", options.tag), ("--branch", to.address.revision)):
        if name is not None and not _NAME.fullmatch(name):
            raise Mistake(f"`{name}` is no name for it", "use letters, digits, `.`, `_`, `-` and `/`", option)
    head = to.head()
    # A branch that has to be made begins where the main one stands.
    base = head or (Repository(replace(to.address, revision=None)).head() if to.address.revision else None)
    tagged = _look_at_refs(to, options) if base and (options.tag or to.address.revision) else None
    if tagged is not None and tagged != base:
        raise _taken(to, options)
    if options.private and base and not to.is_private():
        edit = "leave out --private, or make it private on the Hub first"
        raise Mistake("is there already and is public", edit, str(to.address))
    before = _before(to, base)
    with disk_errors(staging):
        content = compose(publications, staging, before, at=to.address.repository)
    there = to.files(base) if base else {}
    put = [path for path in content.written if not _same(staging / path, there.get(path))]
    removed = [path for path in content.stale if path in there]
    _refuse_strays(to, content, there, removed)
    done = replace(describe(content, before, put, removed, staging, dry_run=options.dry_run), commit=base)
    if tagged is not None and (put or removed):
        raise _taken(to, options)
    if options.dry_run:
        return done, content.manifest
    if head is None:
        base = _made(to, options)
        done = replace(done, commit=base)
    if (put or removed) and base:
        made, pull_request = _commit(to, base, put, removed, staging, done.message, options)
        done = replace(done, commit=made, pull_request=pull_request)
    if (tag := options.tag) and (commit := done.commit):
        if tagged != commit:
            _tag(to, tag, commit)
        done = replace(done, tag=tag)
    return replace(done, url=_url(to)), content.manifest


def _tag(to: Repository, tag: str, commit: str) -> None:
    """
    Raises:
        Mistake, RemoteFailed: the tag was not made; the commit was, and the message says so.
    """
    at = to.address.repository
    try:
        to.asked("write", lambda: to.api.create_tag(at, tag=tag, revision=commit, repo_type="dataset"))
    except TeacherlmError as error:
        with contextlib.suppress(TeacherlmError):  # the answer alone may have been lost
            if any(ref.name == tag and ref.target_commit == commit for ref in to.refs().tags):
                return
        found = f"was published (commit {commit}), but the tag `{tag}` was not made: {error.found}"
        raise (Mistake if isinstance(error, Mistake) else RemoteFailed)(found, error.remedy, str(to.address)) from None


def _refuse_strays(to: Repository, content: Content, there: Iterable[str], removed: Iterable[str]) -> None:
    """Refuse where the card's globs would read files that are not ours, before anything is sent.

    Raises:
        Mistake: names them; they may be somebody's work, so they are not removed.
    """
    folders = tuple(f"data/{config}/" for config in content.configs)
    known = {*content.manifest.paths(), *removed}
    read = (path for path in there if path.startswith(folders) and path.endswith(".parquet"))
    if strays := sorted(path for path in read if path not in known):
        found = f"holds files that teacherlm did not publish and that load_dataset would read: {', '.join(strays[:5])}"
        raise Mistake(found, "move or delete them on the Hub", str(to.address))


def _before(to: Repository, base: str | None) -> Manifest:
    """What the branch holds; nothing where there is no repository."""
    if base is None:
        return Manifest()
    found = to.manifest(base)
    if found is not None:
        return found
    if others := sorted(set(to.files(base)) - _HARMLESS):
        raise Mistake(
            f"holds other things ({', '.join(others[:3])}{', …' if len(others) > 3 else ''}) and no {manifest.NAME}: "
            "nothing of ours was published there",
            "name another repository",
            str(to.address),
        )
    return Manifest()


def _look_at_refs(to: Repository, options: PushOptions) -> str | None:
    """The commit that the tag names already; refuse to publish to a revision that is no branch."""
    refs, revision = to.refs(), to.address.revision
    branches = {ref.name for ref in refs.branches}
    tags = {ref.name: ref.target_commit for ref in refs.tags}
    if revision and revision not in branches and (revision in tags or re.fullmatch(r"[0-9a-f]{40}", revision)):
        what = "a tag" if revision in tags else "a commit"
        raise Mistake(f"`{revision}` is {what}, which stays what it is", "name a branch", str(to.address))
    return tags.get(options.tag) if options.tag else None


def _taken(to: Repository, options: PushOptions) -> Mistake:
    found = f"the tag `{options.tag}` is there already"
    return Mistake(found, "name another one: a tag stays what it is", str(to.address))


def _commit(
    to: Repository,
    parent: str,
    put: Sequence[str],
    removed: Sequence[str],
    staging: Path,
    message: str,
    options: PushOptions,
) -> tuple[str, str | None]:
    """Send the files, then make them visible. Gives the new head and the pull request, if one was wanted."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    title, _, body = message.partition("\n\n")
    branch = to.address.revision or MAIN
    additions = [CommitOperationAdd(path, str(staging / path)) for path in put]
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *additions,
        *(CommitOperationDelete(path) for path in removed),
    ]
    with to.errors("write"):
        to.api.preupload_lfs_files(
            to.address.repository, additions, repo_type="dataset", revision=branch, create_pr=options.create_pr
        )
    for attempt in range(TRIES):
        try:
            with to.errors("write"):
                info = to.api.create_commit(
                    to.address.repository,
                    operations,
                    commit_message=title,
                    commit_description=body,
                    repo_type="dataset",
                    revision=branch,
                    parent_commit=parent,
                    create_pr=options.create_pr,
                )
        except RemoteFailed as error:
            # The answer may be lost where the commit is not: look before it is tried again.
            if (made := _made_meanwhile(to, parent, put, staging, options)) is not None:
                return made
            if to.head() not in (parent, None):
                raise RemoteFailed(
                    f"somebody else has moved `{branch}` meanwhile; nothing was overwritten",
                    "run the same command again: it takes in what has changed, and sends only what is missing",
                    str(to.address),
                ) from None
            if not isinstance(error, HubBusy) or not error.wait(attempt):
                raise
            continue
        return info.oid, info.pr_url
    raise AssertionError("unreachable")


def _made_meanwhile(
    to: Repository, parent: str, put: Sequence[str], staging: Path, options: PushOptions
) -> tuple[str, str | None] | None:
    """The commit, and its pull request, that was made though its answer was lost; None where none was."""
    if not options.create_pr:
        now = to.head()
        return (now, None) if now is not None and now != parent and _is_ours(to, now, put, staging) else None
    for ref in to.refs(requests=True).pull_requests or ():
        if ref.target_commit != parent and _is_ours(to, ref.target_commit, put, staging):
            return ref.target_commit, f"{_url(to)}/discussions/{ref.ref.rpartition('/')[2]}"
    return None


def _made(to: Repository, options: PushOptions) -> str:
    """Make the repository, or the branch; gives its head."""

    def make() -> None:
        to.api.create_repo(to.address.repository, repo_type="dataset", private=options.private or None, exist_ok=True)
        if to.address.revision:
            to.api.create_branch(to.address.repository, branch=to.address.revision, repo_type="dataset", exist_ok=True)

    to.asked("write", make)
    head = to.head()
    if head is None:
        raise RemoteFailed("the repository was made and cannot be seen yet", TRY_AGAIN, str(to.address))
    return head


def _url(to: Repository) -> str:
    return f"{to.api.endpoint}/datasets/{to.address.repository}"


def _is_ours(to: Repository, commit: str, put: Sequence[str], staging: Path) -> bool:
    """Whether a commit holds what was sent."""
    there = to.files(commit)
    return all(_same(staging / path, there.get(path)) for path in put)


def _same(staged: Path, there: RemoteFile | None) -> bool:
    if there is None or there.size != staged.stat().st_size:
        return False
    if len(there.oid) == 64:
        return there.oid == file_digest(staged)
    data = staged.read_bytes()
    return there.oid == sha1(b"blob %d\0" % len(data) + data).hexdigest()
