"""A read-only Hub on loopback that the real clients talk to: datasets with branches, gated and missing ones.

Serves what `load_dataset` asks for: dataset info, trees, and files with ETag, X-Repo-Commit and ranges.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson


class Hub(ThreadingHTTPServer):
    """Repositories by id, each with branches of files."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        """Id -> branch -> path -> content."""
        self.gated: set[str] = set()
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, repository: str, files: dict[str, bytes], branch: str = "main") -> None:
        self.repositories.setdefault(repository, {})[branch] = files


def commit_of(branch: str) -> str:
    return hashlib.sha1(branch.encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._error(404, "EntryNotFound")

    def _answer(self, *, body: bool) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        split = urlsplit(self.path)
        # Split before decoding: a revision such as refs%2Fconvert%2Fparquet is one segment.
        parts = [unquote(part) for part in split.path.strip("/").split("/")]
        is_api = parts[0] == "api"
        parts = parts[2:] if is_api else parts[1:]
        repository, rest = "/".join(parts[:2]), parts[2:]
        if repository not in self.server.repositories:
            return self._error(401, "RepoNotFound")
        if repository in self.server.gated and not (is_api and not rest):
            return self._error(403, "GatedRepo")
        if not rest:
            return self._json(self._info(repository, "main"))
        action, revision, path = rest[0], rest[1], "/".join(rest[2:])
        branch = self._branch(repository, revision)
        if branch is None:
            return self._error(404, "RevisionNotFound")
        if action == "revision":
            return self._json(self._info(repository, branch))
        files = self.server.repositories[repository][branch]
        if action == "tree":
            recursive = parse_qs(split.query).get("recursive") == ["true"]
            return self._tree(files, path, recursive)
        if path not in files:
            return self._error(404, "EntryNotFound", branch)
        return self._file(files[path], branch, body=body)

    def _branch(self, repository: str, revision: str) -> str | None:
        branches = self.server.repositories[repository]
        return next((name for name in branches if revision in (name, commit_of(name))), None)

    def _info(self, repository: str, branch: str) -> dict[str, Any]:
        files = self.server.repositories[repository].get(branch, {})
        return {
            "id": repository,
            "sha": commit_of(branch),
            "private": False,
            "tags": [],
            "gated": "manual" if repository in self.server.gated else False,
            "siblings": [{"rfilename": path} for path in files],
            "lastModified": "2026-01-01T00:00:00.000Z",
        }

    def _tree(self, files: dict[str, bytes], folder: str, recursive: bool) -> None:
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, content in sorted(files.items()):
            if not path.startswith(prefix):
                continue
            steps = path[len(prefix) :].split("/")
            for depth in range(1, len(steps)):
                name = prefix + "/".join(steps[:depth])
                if recursive or depth == 1:
                    entries[name] = {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}
            if recursive or len(steps) == 1:
                oid = hashlib.sha1(content).hexdigest()
                entries[path] = {"type": "file", "path": path, "size": len(content), "oid": oid}
        if not entries and folder:
            return self._error(404, "EntryNotFound")
        return self._json(list(entries.values()))

    def _file(self, content: bytes, branch: str, *, body: bool) -> None:
        status, extra = 200, {}
        wanted = self.headers.get("Range")
        total = len(content)
        if wanted and body:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) if last else total - 1, total - 1)
            content, status = content[start : end + 1], 206
            extra = {"Content-Range": f"bytes {start}-{end}/{total}"}
        headers = {
            "X-Repo-Commit": commit_of(branch),
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            **extra,
        }
        self._send(status, content, headers, body=body)

    def _json(self, value: Any) -> None:
        self._send(200, orjson.dumps(value), {"Content-Type": "application/json"}, body=self.command != "HEAD")

    def _error(self, status: int, code: str, branch: str | None = None) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": code, "Content-Type": "application/json"}
        if branch is not None:
            headers["X-Repo-Commit"] = commit_of(branch)
        self._send(status, orjson.dumps({"error": code}), headers, body=self.command != "HEAD")

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


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
