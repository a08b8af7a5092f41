"""One teacher: a server that answers prompts."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from teacherlm.teacher.address import TOKEN, checked_token, checked_url
from teacherlm.teacher.errors import TeacherAway, TeacherBusy, TeacherFault, TeacherLost
from teacherlm.teacher.tgi import (
    NOT_READY,
    Completion,
    Info,
    Prompt,
    path_for,
    read_completion,
    read_error,
    read_info,
    read_tokens,
    request_body,
    tokenize_request,
)

SETTLE_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Timeout:
    """One limit for each kind of wait, in seconds."""

    connect_s: float = 5.0
    read_s: float = 300.0
    """Longest silence of a server that works on an answer."""
    patience_s: float = 120.0
    """How long a teacher may fail everything, or be away, before the run stops."""
    look_s: float = 10.0
    """Longest wait for `/info` and `/health`, which need no model."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When a failed attempt is made again."""

    attempts: int = 6
    """Attempts that may fail before the row is marked failed. Refusals for lack of room do not count."""
    first_s: float = 0.25
    longest_s: float = 10.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures: doubled each time, anywhere between half and whole.

        Jitter keeps clients that failed together from coming back together.
        """
        doublings = min(failures - 1, 30)  # a float bears no more than a thousand
        whole: float = min(self.longest_s, self.first_s * 2**doublings)
        return whole * random.uniform(0.5, 1.0)


class Teacher:
    """A client of one text-generation-inference server.

    >>> async with Teacher("http://127.0.0.1:8080") as teacher:  # doctest: +SKIP
    ...     answer = await teacher.ask("Q: Why does iron rust? A:", {"max_new_tokens": 64})
    """

    def __init__(
        self, url: str, *, timeout: Timeout | None = None, retry: Retry | None = None, token: str | None = None
    ) -> None:
        self.url = checked_url(url)
        self.timeout = timeout or Timeout()
        self.retry = retry or Retry()
        self._token = checked_token(os.environ.get(TOKEN)) if token is None else checked_token(token, "token")
        self._client: Client | None = None
        self._info: Info | None = None

    def __repr__(self) -> str:
        return f"Teacher({self.url!r}{', token=***' if self._token else ''})"

    async def __aenter__(self) -> Self:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        self._client = (
            ClientBuilder()
            .default_headers(headers)
            .user_agent("teacherlm")
            .error_for_status(False)
            .connect_timeout(timedelta(seconds=self.timeout.connect_s))
            .read_timeout(timedelta(seconds=self.timeout.read_s))
            .tcp_nodelay(True)
            .build()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None
            # The runtime's thread lets go of the interpreter a moment after `close` returns; a script that ends in that
            # moment is aborted (pyreqwest 0.15: "PyGILState_Release … finalizing", one exit in about twenty).
            await asyncio.sleep(SETTLE_S)

    async def info(self) -> Info:
        """What the server says of itself; asked once.

        Raises:
            TeacherLost: nothing listens there, or it is no TGI server.
        """
        if self._info is None:
            try:
                self._info = read_info(self.url, *await self._look("/info"), self._token)
            except PyreqwestError as error:
                raise TeacherLost(
                    f"no teacher answers at {self.url} ({_cause(error)})",
                    "start the server, or check the URL: --teacher http://HOST:PORT",
                ) from None
        return self._info

    async def verify(self) -> None:
        """Ask again who answers: it must be the teacher of the run's beginning.

        Raises:
            TeacherAway: nobody can say so now.
            TeacherLost: it is another model or revision.
        """
        expected = await self.info()
        try:
            status, body = await self._look("/info")
        except PyreqwestError as error:
            raise TeacherAway(f"no connection ({_cause(error)})", is_doubtful=True) from None
        if status in NOT_READY:
            raise TeacherAway(f"GET /info: {status}", is_doubtful=True)
        found = read_info(self.url, status, body, self._token)
        if (found.model, found.revision) != (expected.model, expected.revision):
            raise TeacherLost(
                f"{self.url} was {_named(expected)} as the run began, and is {_named(found)} now",
                "start that model again, or run the same command again to ask the new one; what was answered is kept",
            )

    async def healthy(self) -> bool:
        """Whether the server answers and says that it is well."""
        try:
            status, _ = await self._look("/health")
        except PyreqwestError:
            return False
        return status == 200

    async def tokens(self, prompt: Prompt) -> int | None:
        """How many tokens a prompt has for the teacher's own tokenizer; None where the server does not say."""
        path, body = tokenize_request(prompt)
        request = self._open.post(self.url + path).body_bytes(body).timeout(timedelta(seconds=self.timeout.look_s))
        try:
            response = await request.build().send()
            return read_tokens(response.status, bytes(await response.bytes()))
        except PyreqwestError:
            return None

    async def _look(self, path: str) -> tuple[int, bytes]:
        request = self._open.get(self.url + path).timeout(timedelta(seconds=self.timeout.look_s)).build()
        response = await request.send()
        return response.status, bytes(await response.bytes())

    async def once(self, prompt: Prompt, parameters: Mapping[str, Any], stops: Sequence[str] = ()) -> Completion:
        """Send one request, once.

        Raises:
            TeacherError: of the kind that says whether to ask again.
            TeacherLost: never ask this server again.
        """
        request = (
            self._open.post(self.url + path_for(prompt)).body_bytes(request_body(prompt, parameters, stops)).build()
        )
        try:
            response = await request.send()
            body = await response.bytes()
        except PyreqwestError as error:
            if _CONNECTING in _causes(error):
                raise TeacherAway(f"no connection ({_cause(error)})", is_doubtful=True) from None
            raise TeacherFault(_cause(error), is_doubtful=True) from None
        if response.status != 200:
            raise read_error(response.status, bytes(body), self._token)
        return read_completion(prompt, bytes(body), response.get_header("x-prompt-tokens"), self._token)

    async def ask(self, prompt: Prompt, parameters: Mapping[str, Any], stops: Sequence[str] = ()) -> Completion:
        """Send one request until it is answered.

        Raises:
            TeacherRefused: the server will never answer this prompt.
            TeacherFault: every attempt failed.
            TeacherLost: the teacher cannot be used, or was busy or away for longer than our patience.
        """
        failures, waits = 0, 0
        clock, waiting_since = asyncio.get_running_loop().time, None
        while True:
            try:
                return await self.once(prompt, parameters, stops)
            except TeacherFault:
                failures, waiting_since = failures + 1, None
                if failures >= self.retry.attempts:
                    raise
            except (TeacherBusy, TeacherAway) as error:
                waits, waiting_since = waits + 1, clock() if waiting_since is None else waiting_since
                if clock() - waiting_since > self.timeout.patience_s:
                    raise TeacherLost(
                        f"{self.url} is away or busy: {error}", "look at the server and run again"
                    ) from None
            await asyncio.sleep(self.retry.delay(failures + waits))

    @property
    def _open(self) -> Client:
        if self._client is None:
            raise RuntimeError("a Teacher is used inside `async with Teacher(url) as teacher:`")
        return self._client


def _named(info: Info) -> str:
    return f"{info.model} ({f'revision {info.revision}' if info.revision else 'no revision'})"


_CONNECTING = "client error (Connect)"
"""What tells a connection that was never made. pyreqwest's `ConnectError` and `ConnectTimeoutError` do not: they are
also raised where a connection breaks or falls silent before the answer begins."""


def _causes(error: Exception) -> list[str]:
    details = getattr(error, "details", None) or {}
    return [cause["message"] for cause in details.get("causes") or []]


def _cause(error: Exception) -> str:
    """The innermost reason of a transport error; the outer ones repeat the URL."""
    return (_causes(error) or [str(getattr(error, "message", error))])[-1]
