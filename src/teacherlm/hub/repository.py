"""One dataset repository on the Hub, through `huggingface_hub`; its errors as ours, without secrets."""

from __future__ import annotations

import contextlib
import errno
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from teacherlm.core.errors import Mistake, RemoteFailed, TeacherlmError
from teacherlm.core.files import disk_failure
from teacherlm.hub import manifest
from teacherlm.hub.address import MAIN, Address
from teacherlm.hub.manifest import Manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import GitRefs

T = TypeVar("T")

TRY_AGAIN = "run the same command again: what has arrived is not sent twice"
READ_AGAIN = "check the network and $HF_ENDPOINT, then run the same command again"
TRIES = 3
"""Requests that are made where the Hub is busy or fails, for each answer that is wanted."""
WAIT_S = 1.0
"""Seconds before the second try, where the Hub names none; twice as long before each further one."""
MOST_S = 300.0
"""Longest wait that the Hub may ask for; beyond it, people decide when to go on."""

_SECRET = re.compile(r"\b(hf_|api_org_)\w+|(?<=Bearer )\S+")
_PASSING = (429, 500, 502, 503, 504)
"""Statuses that may be others a moment later."""
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO)


class HubBusy(RemoteFailed):
    """The Hub cannot be reached, is overloaded or fails: the same request may do a moment later."""

    def __init__(self, found: str, remedy: str, where: str, after_s: float | None = None) -> None:
        super().__init__(found, remedy, where)
        self.after_s = after_s
        """Seconds to wait, where the Hub has named them."""

    def wait(self, attempt: int) -> bool:
        """Wait as long as is right after this many tries; False where it is not worth while."""
        seconds = WAIT_S * 2**attempt if self.after_s is None else self.after_s
        if attempt + 1 >= TRIES or seconds > MOST_S:
            return False
        time.sleep(seconds)
        return True


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository."""

    path: str
    size: int
    oid: str
    """SHA-256 of a large file, else git's SHA-1 of the blob."""


class Repository:
    """A dataset repository at an address.

    The token is the one of the environment (`HF_TOKEN`) or of `hf auth login`, as `huggingface_hub` finds it.
    """

    def __init__(self, address: Address) -> None:
        self.address = address

    @cached_property
    def api(self) -> HfApi:
        import os

        import huggingface_hub

        from teacherlm import __version__

        # The endpoint is read now: `huggingface_hub` would take the one of the moment when it was imported.
        endpoint = os.environ.get("HF_ENDPOINT")
        return huggingface_hub.HfApi(endpoint=endpoint, library_name="teacherlm", library_version=__version__)

    def head(self) -> str | None:
        """The commit that the address names; None where there is no repository or no such revision."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        def ask() -> str | None:
            try:
                info = self.api.repo_info(
                    self.address.repository, repo_type="dataset", revision=self.address.revision or MAIN
                )
            except (RepositoryNotFoundError, RevisionNotFoundError) as error:
                if _status(error) == 401:
                    self._look_at_the_token()
                return None
            return str(info.sha)

        return self.asked("read", ask)

    def _look_at_the_token(self) -> None:
        """A 401 for a repository: it is not there, or this token is no good.

        Raises:
            Mistake: there is no token, or the Hub does not accept it.
        """
        import huggingface_hub

        if huggingface_hub.get_token() is None:
            raise Mistake(
                "there is no token for the Hub, and without one no such repository is seen",
                "look at the name; for a private one, or to make it, log in with  hf auth login  or set HF_TOKEN",
                str(self.address),
            )
        self.api.whoami()

    def refs(self, *, requests: bool = False) -> GitRefs:
        """Branches and tags, and with `requests` the pull requests."""
        return self.asked(
            "read",
            lambda: self.api.list_repo_refs(
                self.address.repository, repo_type="dataset", include_pull_requests=requests
            ),
        )

    def is_private(self) -> bool:
        """Whether only some may see it."""
        return bool(
            self.asked("read", lambda: self.api.repo_info(self.address.repository, repo_type="dataset")).private
        )

    def files(self, commit: str) -> dict[str, RemoteFile]:
        """All files of a commit, by path."""
        from huggingface_hub.hf_api import RepoFile

        with self.errors("read"):
            entries = list(
                self.api.list_repo_tree(self.address.repository, recursive=True, revision=commit, repo_type="dataset")
            )
        return {
            entry.path: RemoteFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id)
            for entry in entries
            if isinstance(entry, RepoFile)
        }

    def text(self, path: str, commit: str) -> bytes | None:
        """The content of a small file of a commit; None where there is none. No cache is read or written."""
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        # The client tries again by itself, here and below.
        with tempfile.TemporaryDirectory(prefix="teacherlm-hub-") as cache, self.errors("read"):
            try:
                found = self.api.hf_hub_download(
                    self.address.repository, path, repo_type="dataset", revision=commit, cache_dir=cache
                )
            except LocalEntryNotFoundError:
                raise  # a request that failed; it is an EntryNotFoundError by name
            except EntryNotFoundError:
                return None
            return Path(found).read_bytes()

    def fetch(self, path: str, commit: str, cache: Path) -> Path:
        """A file of a commit, downloaded into a cache of its own."""
        with self.errors("read"):
            found = self.api.hf_hub_download(
                self.address.repository, path, repo_type="dataset", revision=commit, cache_dir=cache
            )
            return Path(found)

    def manifest(self, commit: str) -> Manifest | None:
        """What a commit holds, as its manifest says; None where it has none.

        Raises:
            Mistake, MachineFailed: a newer teacherlm wrote it; it is damaged.
        """
        text = self.text(manifest.NAME, commit)
        if text is None:
            return None
        return manifest.parse(text, f"{self.address}: {manifest.NAME}")

    def asked(self, doing: str, request: Callable[[], T]) -> T:
        """Make a request that may be made twice; again where the Hub is busy or fails.

        Raises:
            Mistake, RemoteFailed, MachineFailed: as `errors`.
        """
        for attempt in range(TRIES):
            try:
                with self.errors(doing):
                    return request()
            except HubBusy as busy:
                if not busy.wait(attempt):
                    raise
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Let the Hub's errors be ours.

        Args:
            doing: `read` or `write`: what the block does.

        Raises:
            Mistake: no token, or one that may not do it; no such repository.
            RemoteFailed: the Hub refuses; HubBusy where it cannot be reached, is overloaded or fails.
            MachineFailed: this machine's disk is full or refuses.
        """
        try:
            yield
        except TeacherlmError:
            raise
        except Exception as error:
            # An upload that fails is a RuntimeError around what the Hub said.
            found = next((ours for cause in _causes(error) if (ours := self._as_ours(cause, doing))), None)
            if found is None:
                raise
            # The chained exception may hold headers.
            raise found from None

    def _as_ours(self, error: BaseException, doing: str) -> TeacherlmError | None:
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, LocalTokenNotFoundError

        where, status = str(self.address), _status(error)
        again = TRY_AGAIN if doing == "write" else READ_AGAIN
        login = "log in with  hf auth login  or set HF_TOKEN to a token that may " + doing
        if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
            return None  # the client's word for any download that failed; the cause says why
        if isinstance(error, LocalTokenNotFoundError):
            return Mistake("there is no token for the Hub", login, where)
        if isinstance(error, UnicodeEncodeError):
            return Mistake("the token for the Hub has letters that no token has", login, where)
        if status == 401:
            return Mistake(f"the Hub does not accept the token, or there is none: {said(error)}", login, where)
        if status == 403:
            return Mistake(f"the token may not {doing} here: {said(error)}", login, where)
        if status == 404:
            return Mistake("the Hub has nothing there that you may see", "look at the name and the revision", where)
        if status in _PASSING:
            after_s = _after_s(error)
            busy = "; the Hub asks for fewer requests" if status == 429 else ""
            busy += f", and for {after_s:,.0f} s of silence" if after_s is not None and after_s > MOST_S else ""
            return HubBusy(f"the Hub failed: {said(error)}{busy}", again, where, after_s)
        if isinstance(error, HfHubHTTPError):
            return RemoteFailed(f"the Hub refused: {said(error)}", again, where)
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            return disk_failure(Path(error.filename or tempfile.gettempdir()), error)
        if isinstance(error, httpx2.HTTPError | OSError):
            return HubBusy(f"the Hub cannot be reached: {said(error)}", again, where)
        return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _status(error: Any) -> int | None:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return int(status) if status is not None else None


def _after_s(error: Any) -> float | None:
    """Seconds that the Hub asks to wait, as `Retry-After` or `RateLimit` says."""
    headers = error.response.headers
    named = re.fullmatch(r"\s*(\d+)\s*", headers.get("Retry-After", "")) or re.search(
        r"\bt=(\d+)", headers.get("RateLimit", "")
    )
    return float(named[1]) if named else None


def said(error: BaseException) -> str:
    """What the Hub said, in one line and without a token."""
    message = getattr(error, "server_message", None) or str(error)
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    first = next((line for line in lines if not line.startswith("For more information")), type(error).__name__)
    return masked(first)[:300]


def masked(text: str) -> str:
    """A text without tokens: those that look like one, and the one in use."""
    import huggingface_hub

    if token := huggingface_hub.get_token():
        text = text.replace(token, "***")
    return _SECRET.sub("***", text)
