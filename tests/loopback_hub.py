"""A Hub on loopback that the real clients talk to: reading, and writing in one commit with git-LFS.

It keeps a log of what was requested, and fails where a test asks it to.
"""

from __future__ import annotations

import atexit
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from hub_state import Commit, File, HubState, Repository, is_large, tree

TOKEN = "hf_" + "loopbackloopback" * 2
"""The one that may write, where a Hub wants any."""


@dataclass
class Fault:
    """What a Hub does in place of answering."""

    method: str
    path: str
    """A regular expression that is looked for in the path and query."""
    status: int = 500
    """0: the connection is cut."""
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    after: int = 0
    """Requests that match and are answered before the first fault."""
    cut: bool = False
    """The request is carried out, and its answer never sent."""
    then: Callable[[], None] | None = None
    """Called first: as if somebody did something at that moment."""


class Hub(ThreadingHTTPServer):
    """Datasets of a Hub, at `url`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = HubState()
        self.tokens: set[str] | None = None
        """Tokens that may write and read what is private; None: nobody is asked for one."""
        self.readers: set[str] = set()
        """Tokens that may read what is private, and write nothing."""
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        """Method and path of every request, in order."""
        self.received: list[tuple[str, int]] = []
        """SHA-256 and size of every large file that arrived."""
        self.lock = threading.RLock()

    def clear(self) -> None:
        """Be an empty Hub that asks nobody for a token."""
        with self.lock:
            self.state, self.tokens, self.readers = HubState(), None, set()
            for seen in (self.faults, self.requests, self.received):
                seen.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def gated(self) -> _Gated:
        return _Gated(self.state)

    def put(self, repository: str, files: Mapping[str, bytes], branch: str = "main") -> Commit:
        return self.state.put(repository, files, branch)

    def repository(self, identity: str) -> Repository:
        return self.state.repositories[identity]

    def asked(self, pattern: str) -> list[str]:
        """The requests that hold a pattern."""
        return [request for request in self.requests if re.search(pattern, request)]


class _Gated:
    """Repositories that want an access request."""

    def __init__(self, state: HubState) -> None:
        self._state = state

    def add(self, identity: str) -> None:
        self._state.repositories[identity].gated = True


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str | None = None, **headers: str) -> None:
        self.status, self.code, self.message, self.headers = status, code, message or code, headers


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self._serve()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD

    def _serve(self) -> None:
        body = self._body()
        with self.server.lock:
            self.server.requests.append(f"{self.command} {self.path}")
            fault = self._fault()
        if fault is not None and fault.then is not None:
            fault.then()
        if fault is not None and not fault.cut and (fault.status or fault.then is None):
            if fault.status:
                headers = {"X-Error-Message": "a fault that was asked for", **fault.headers}
                self._send(fault.status, b'{"error": "a fault that was asked for"}', headers)
            else:
                self.close_connection = True
            return
        try:
            with self.server.lock:
                status, content, headers = self._answer(body)
        except _Refused as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message, **refused.headers}
            status, content = refused.status, orjson.dumps({"error": refused.message})
        if fault is not None and fault.cut:
            self.close_connection = True
            return
        self._send(status, content, headers)

    def _fault(self) -> Fault | None:
        for fault in self.server.faults:
            if fault.method == self.command and fault.times and re.search(fault.path, self.path):
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        split = urlsplit(self.path)
        # Split before decoding: a revision such as refs%2Fpr%2F1 is one segment.
        parts = [unquote(part) for part in split.path.strip("/").split("/")]
        if parts[0] == "store":
            return self._store(parts[1], body)
        if self.command in ("POST", "DELETE") and parts != ["api", "validate-yaml"]:
            self._authorised(writes=True)
        if parts[0] == "api":
            return self._api(parts[1:], parse_qs(split.query), body)
        if parts[0] != "datasets":
            raise _Refused(404, "EntryNotFound")
        if parts[3:] == ["info", "lfs", "objects", "batch"]:
            return self._batch(f"{parts[1]}/{parts[2].removesuffix('.git')}", orjson.loads(body))
        repository = self._readable(f"{parts[1]}/{parts[2]}")
        if repository.gated:
            raise _Refused(403, "GatedRepo")
        if len(parts) < 6 or parts[3] != "resolve":
            raise _Refused(404, "EntryNotFound")
        return self._file(self._commit(repository, parts[4]), "/".join(parts[5:]))

    # What the API answers.

    def _api(self, parts: list[str], query: Mapping[str, list[str]], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if parts == ["validate-yaml"]:
            return _json({"errors": [], "warnings": []})
        if parts == ["whoami-v2"]:
            self._authorised()
            return _json({"type": "user", "name": "tester", "orgs": [], "auth": {"accessToken": {"role": "write"}}})
        if parts == ["repos", "create"]:
            return self._create(orjson.loads(body))
        if parts == ["repos", "delete"]:
            given = orjson.loads(body)
            self.server.state.repositories.pop(f"{given['organization']}/{given['name']}", None)
            return _json({})
        if parts[0] != "datasets" or len(parts) < 3:
            raise _Refused(404, "EntryNotFound")
        repository = self._readable(f"{parts[1]}/{parts[2]}")
        action, rest = (parts[3] if len(parts) > 3 else "info"), parts[4:]
        if action == "info":
            return _json(repository.info(repository.head()))
        if repository.gated:
            raise _Refused(403, "GatedRepo")
        if action == "refs":
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
                for name, commit in repository.refs.items()
                if not name.startswith("refs/")
            ]
            requests = [
                {"name": name.rpartition("/")[2], "ref": name, "targetCommit": commit}
                for name, commit in repository.refs.items()
                if name.startswith("refs/pr/") and query.get("include_prs")
            ]
            tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in repository.tags.items()]
            return _json({"branches": branches, "tags": tags, "converts": [], "pullRequests": requests})
        return self._of_revision(repository, action, rest, query, body)

    def _of_revision(
        self, repository: Repository, action: str, rest: list[str], query: Mapping[str, list[str]], body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        given = orjson.loads(body) if body and action not in ("commit", "paths-info") else {}
        if action == "branch" and self.command == "POST":
            if rest[0] in repository.refs:
                raise _Refused(409, "Conflict")
            repository.refs[rest[0]] = self._commit(repository, given.get("startingPoint") or "main").id
            return _json({})
        if action == "tag":
            if self.command == "DELETE":
                repository.tags.pop(rest[0], None)
                return _json({})
            if given["tag"] in repository.tags:
                raise _Refused(409, "Conflict", "the tag is there already")
            repository.tags[given["tag"]] = self._commit(repository, rest[0]).id
            return _json({})
        commit = self._commit(repository, rest[0])
        if action == "revision":
            return _json(repository.info(commit))
        if action == "commits":
            found = repository.history(rest[0])
            rows = [{"id": c.id, "title": c.title, "message": "", "authors": [], "date": _DATE} for c in found]
            return _json(rows)
        if action == "tree":
            entries = tree(commit.files, "/".join(rest[1:]), recursive=query.get("recursive") == ["true"])
            if not entries and rest[1:]:
                raise _Refused(404, "EntryNotFound", **{"X-Repo-Commit": commit.id})
            return _json(entries)
        if action == "preupload":
            return _json({"files": [_preuploaded(commit, file) for file in given["files"]]})
        if action == "commit":
            return self._committed(repository, rest[0], query.get("create_pr") == ["1"], body)
        raise _Refused(404, "EntryNotFound")

    def _create(self, given: Mapping[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        identity = f"{given.get('organization') or 'tester'}/{given['name']}"
        url = orjson.dumps({"url": f"{self.server.url}/datasets/{identity}", "error": "it is there already"})
        if identity in self.server.state.repositories:
            return 409, url, {"Content-Type": "application/json"}
        self.server.state.create(identity, private=given.get("visibility") == "private")
        return 200, url, {"Content-Type": "application/json"}

    def _committed(
        self, repository: Repository, branch: str, as_request: bool, body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        lines = [orjson.loads(line) for line in body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        before = self._commit(repository, branch)
        if header.get("parentCommit") not in (None, before.id):
            raise _Refused(412, "PreconditionFailed", "the branch has moved since")
        target = branch
        if as_request:
            target = f"refs/pr/{1 + sum(name.startswith('refs/pr/') for name in repository.refs)}"
            repository.refs[target] = before.id
        try:
            files = self.server.state.changed(before.files, lines)
        except KeyError:
            raise _Refused(400, "BadRequest", "a large file has not arrived") from None
        made = repository.commit(target, files, header["summary"])
        url = f"{self.server.url}/datasets/{repository.id}"
        answer = {"commitOid": made.id, "commitUrl": f"{url}/commit/{made.id}", "success": True}
        if as_request:
            answer["pullRequestUrl"] = f"{url}/discussions/{target.rpartition('/')[2]}"
        return _json(answer)

    # Large files.

    def _batch(self, identity: str, given: Mapping[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        self._readable(identity)
        objects = []
        for wanted in given["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.server.state.stored:
                href = f"{self.server.url}/store/{wanted['oid']}"
                entry["actions"] = {"upload": {"href": href}, "verify": {"href": href}}
            objects.append(entry)
        return _json({"transfer": "basic", "objects": objects})

    def _store(self, oid: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if self.command == "POST":  # it is asked whether the file has arrived
            if oid not in self.server.state.stored:
                raise _Refused(404, "EntryNotFound")
            return _json({})
        if File(body).sha256 != oid:
            raise _Refused(400, "BadRequest", "the file is damaged")
        self.server.state.stored[oid] = body
        self.server.received.append((oid, len(body)))
        return 200, b"", {}

    # Files.

    def _file(self, commit: Commit, path: str) -> tuple[int, bytes, dict[str, str]]:
        file = commit.files.get(path)
        if file is None:
            raise _Refused(404, "EntryNotFound", **{"X-Repo-Commit": commit.id})
        content, status, total = file.content, 200, len(file.content)
        headers = {
            "X-Repo-Commit": commit.id,
            "ETag": f'"{file.etag}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if (wanted := self.headers.get("Range")) and self.command == "GET":
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) if last else total - 1, total - 1)
            content, status = content[start : end + 1], 206
            headers["Content-Range"] = f"bytes {start}-{end}/{total}"
        return status, content, headers

    # Who may do what.

    def _authorised(self, *, writes: bool = False) -> None:
        allowed, given = self.server.tokens, self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given in self.server.readers:
            if writes:
                raise _Refused(403, "Forbidden", "You must use a token with the role `write`")
        elif allowed is not None and given not in allowed:
            raise _Refused(401, "Unauthorized", "Invalid credentials in Authorization header")

    def _readable(self, identity: str) -> Repository:
        repository = self.server.state.repositories.get(identity)
        stranger = not self.headers.get("Authorization") and self.server.tokens is not None
        if repository is None or (repository.private and stranger):
            # As the Hub does: it does not tell strangers what there is.
            raise _Refused(404 if self.headers.get("Authorization") else 401, "RepoNotFound")
        if repository.private:
            self._authorised()
        return repository

    def _commit(self, repository: Repository, revision: str) -> Commit:
        commit = repository.at(revision)
        if commit is None:
            raise _Refused(404, "RevisionNotFound")
        return commit

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


_DATE = "2026-01-01T00:00:00.000Z"


def _json(value: Any) -> tuple[int, bytes, dict[str, str]]:
    return 200, orjson.dumps(value), {"Content-Type": "application/json"}


def _preuploaded(commit: Commit, file: Mapping[str, Any]) -> dict[str, Any]:
    mode = "lfs" if is_large(file["path"], file["size"]) else "regular"
    row = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
    held = commit.files.get(file["path"])
    return row | ({"oid": held.etag} if held else {})


@contextmanager
def loopback_hub() -> Iterator[Hub]:
    """A Hub while the block runs."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


@cache
def shared_hub() -> Hub:
    """A Hub for as long as the tests run; clear it before each."""
    hub = Hub()
    threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True).start()
    atexit.register(hub.server_close)
    atexit.register(hub.shutdown)
    return hub


def environment(hub: Hub, home: Any, token: str | None = TOKEN) -> dict[str, str]:
    """What a process needs so that the real clients talk to this Hub; `home` is its cache."""
    return environment_of(hub.url, home, token)


def environment_of(url: str, home: Any, token: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {
        **kept,
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **({"HF_TOKEN": token} if token else {}),
    }
