"""One endpoint of a teacher: a server that answers prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectTimeoutError, PyreqwestError, ReadTimeoutError, RequestTimeoutError

from teacherlm.core.errors import Mistake
from teacherlm.teacher.address import checked_url
from teacherlm.teacher.discovery import discover
from teacherlm.teacher.errors import TeacherAbsent, TeacherAway, TeacherFault, TeacherLost, TeacherSlow
from teacherlm.teacher.patience import Timeout
from teacherlm.teacher.wire import Completion, Info, Prompt, Wire, read_tokens

OPENAI = "/v1"
"""How a URL ends that asks for OpenAI's protocol."""


class Endpoint:
    """A client of one server.

    Args:
        url: its root; with `/v1` at its end it is asked in OpenAI's protocol even where it knows TGI's.
        token: the server's key; None: it asks for none.
        model: the one to ask of those that it serves; None: it serves one.
    """

    def __init__(self, url: str, *, timeout: Timeout, token: str | None = None, model: str | None = None) -> None:
        self.url = checked_url(url)
        self.root = self.url.removesuffix(OPENAI)
        self.timeout = timeout
        self._token = token
        self._model = model
        self._client: Client | None = None
        self._wire: Wire | None = None
        self._info: Info | None = None

    @property
    def is_known(self) -> bool:
        """Whether it has said who it is."""
        return self._info is not None

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
            TeacherLost: nothing listens there, or it is no teacher.
            Mistake: it serves several models and none was chosen, or not the one that was.
        """
        if self._info is None:
            try:
                self._wire, self._info = await self._discover()
            except PyreqwestError as error:
                raise TeacherAbsent(
                    f"no server answers at {self.url} ({_cause(error)})",
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
            wire, found = await self._discover()
        except PyreqwestError as error:
            raise TeacherAway(f"no connection ({_cause(error)})", is_doubtful=True) from None
        except TeacherAbsent as error:
            raise TeacherAway(error.found, is_doubtful=True) from None
        except Mistake as error:
            raise TeacherLost(f"{self.url} was {expected.named} as the run began: {error.found}", _AGAIN) from None
        if (found.model, found.revision) != (expected.model, expected.revision):
            raise TeacherLost(f"{self.url} was {expected.named} as the run began, and is {found.named} now", _AGAIN)
        self._wire, self._info = wire, found

    async def healthy(self) -> bool:
        """Whether the server answers and says that it is well."""
        try:
            status, _ = await self._look("/health")
            if status == 404:  # not every server has the route
                status, _ = await self._look("/v1/models")
        except PyreqwestError:
            return False
        return status == 200

    async def tokens(self, prompt: Prompt) -> int | None:
        """How many tokens a prompt has for the teacher's own tokenizer; None where the server does not say."""
        wire = await self.wire()
        if (asked := wire.count_request(prompt)) is None:
            return None
        path, body = asked
        request = self._open.post(self.root + path).body_bytes(body).timeout(timedelta(seconds=self.timeout.look_s))
        try:
            response = await request.build().send()
            return read_tokens(response.status, bytes(await response.bytes()))
        except PyreqwestError:
            return None

    async def _discover(self) -> tuple[Wire, Info]:
        wants_openai = self.root != self.url
        return await discover(self._look, self.url, wants_openai=wants_openai, model=self._model, secret=self._token)

    async def wire(self) -> Wire:
        """The protocol, found out where nobody has asked for `info` yet.

        Raises:
            TeacherAway: nobody answers.
        """
        if self._wire is None:
            try:
                await self.info()
            except TeacherAbsent as error:
                raise TeacherAway(error.found, is_doubtful=True) from None
            assert self._wire is not None
        return self._wire

    async def _look(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Ask something that needs no model, and so no patience; or with a body something that does.

        Servers may close a connection that they seemed to keep, so one that breaks is no answer: it is asked again.
        """
        try:
            return await self._sent(path, body)
        except PyreqwestError as error:
            if _CONNECTING in _causes(error) or isinstance(error, _SILENCE):
                raise
        return await self._sent(path, body)

    async def _sent(self, path: str, body: bytes | None) -> tuple[int, bytes]:
        if body is None:
            request = self._open.get(self.root + path).timeout(timedelta(seconds=self.timeout.look_s)).build()
        else:
            request = self._open.post(self.root + path).body_bytes(body).build()
        response = await request.send()
        return response.status, bytes(await response.bytes())

    async def once(self, prompt: Prompt, parameters: Mapping[str, Any], stops: Sequence[str] = ()) -> Completion:
        """Send one request, once.

        Raises:
            TeacherError: of the kind that says whether to ask again.
            TeacherLost: never ask this server again.
        """
        wire = self._wire or await self.wire()
        path, asked = wire.request(prompt, parameters, stops)
        body, prompt_tokens = await self.post(path, asked)
        return wire.completion(prompt, body, prompt_tokens, self._token)

    async def post(self, path: str, asked: bytes) -> tuple[bytes, str | None]:
        """Send a body to a path, once; what answers with a 200, and its header `x-prompt-tokens`.

        Raises:
            TeacherError, TeacherLost: as `once`.
        """
        wire = self._wire or await self.wire()
        request = self._open.post(self.root + path).body_bytes(asked).build()
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
            raise wire.error(response.status, bytes(body), self._token)
        return bytes(body), response.get_header("x-prompt-tokens")

    @property
    def _open(self) -> Client:
        if self._client is None:
            raise RuntimeError("a Teacher is used inside `async with Teacher(url) as teacher:`")
        return self._client


_AGAIN = "start that model again, or run the same command again to ask the new one; what was answered is kept"

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
