"""One endpoint of a teacher: a server that answers prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectTimeoutError, PyreqwestError, ReadTimeoutError, RequestTimeoutError

from teacherlm.teacher.address import checked_url
from teacherlm.teacher.errors import TeacherAbsent, TeacherAway, TeacherFault, TeacherLost, TeacherSlow
from teacherlm.teacher.patience import Timeout
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


class Endpoint:
    """A client of one server.

    Args:
        token: the server's key; None: it asks for none.
    """

    def __init__(self, url: str, *, timeout: Timeout, token: str | None = None) -> None:
        self.url = checked_url(url)
        self.timeout = timeout
        self._token = token
        self._client: Client | None = None
        self._info: Info | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}{', token=***' if self._token else ''})"

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

    async def info(self) -> Info:
        """What the server says of itself; asked once.

        Raises:
            TeacherLost: nothing listens there, or it is no TGI server.
        """
        if self._info is None:
            try:
                self._info = read_info(self.url, *await self._look("/info"), self._token)
            except PyreqwestError as error:
                raise TeacherAbsent(
                    f"no teacher answers at {self.url} ({_cause(error)})",
                    "start the server, or check the URL: --teacher http://HOST:PORT",
                ) from None
        return self._info

    async def verify(self, expected: Info) -> None:
        """Ask again who answers: it must be the teacher of the run's beginning.

        Raises:
            TeacherAway: nobody can say so now.
            TeacherLost: it is another model or revision.
        """
        try:
            status, body = await self._look("/info")
        except PyreqwestError as error:
            raise TeacherAway(f"no connection ({_cause(error)})", is_doubtful=True) from None
        if status in NOT_READY:
            raise TeacherAway(f"GET /info: {status}", is_doubtful=True)
        found = read_info(self.url, status, body, self._token)
        if (found.model, found.revision) != (expected.model, expected.revision):
            raise TeacherLost(
                f"{self.url} was {expected.named} as the run began, and is {found.named} now",
                "start that model again, or run the same command again to ask the new one; what was answered is kept",
            )
        self._info = found

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
            if isinstance(error, _SILENCE):
                raise TeacherSlow(f"no answer within {self.timeout.read_s:g} s", is_doubtful=True) from None
            raise TeacherFault(_cause(error), is_doubtful=True, reason="connection broke") from None
        if response.status != 200:
            raise read_error(response.status, bytes(body), self._token)
        return read_completion(prompt, bytes(body), response.get_header("x-prompt-tokens"), self._token)

    @property
    def _open(self) -> Client:
        if self._client is None:
            raise RuntimeError("a Teacher is used inside `async with Teacher(url) as teacher:`")
        return self._client


_CONNECTING = "client error (Connect)"
"""What tells a connection that was never made. pyreqwest's `ConnectError` and `ConnectTimeoutError` do not: they are
also raised where a connection breaks or falls silent before the answer begins."""


_SILENCE = (ReadTimeoutError, RequestTimeoutError, ConnectTimeoutError)


def _causes(error: Exception) -> list[str]:
    details = getattr(error, "details", None) or {}
    return [cause["message"] for cause in details.get("causes") or []]


def _cause(error: Exception) -> str:
    """The innermost reason of a transport error; the outer ones repeat the URL."""
    return (_causes(error) or [str(getattr(error, "message", error))])[-1]
