"""One teacher: a model behind one endpoint, or behind several that are equal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from teacherlm.core.errors import Mistake
from teacherlm.teacher.address import TOKEN, checked_token
from teacherlm.teacher.endpoint import Endpoint
from teacherlm.teacher.errors import TeacherAbsent, TeacherAway, TeacherBusy, TeacherFault, TeacherLost
from teacherlm.teacher.patience import Retry, Timeout
from teacherlm.teacher.wire import Completion, Info, Prompt

__all__ = ["Retry", "Teacher", "Timeout"]

SETTLE_S = 0.05


class Teacher:
    """A client of one server, or of several that serve the same model.

    Args:
        urls: the server's root URL, or those of several.
        token: their key; None: that of $TEACHERLM_TEACHER_TOKEN.
        model: the one to ask where a server lists several; None: it has one.

    >>> async with Teacher("http://127.0.0.1:8080") as teacher:  # doctest: +SKIP
    ...     answer = await teacher.ask("Q: Why does iron rust? A:", {"max_new_tokens": 64})
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        timeout: Timeout | None = None,
        retry: Retry | None = None,
        token: str | None = None,
        model: str | None = None,
    ) -> None:
        self.timeout = timeout or Timeout()
        self.retry = retry or Retry()
        key = checked_token(os.environ.get(TOKEN)) if token is None else checked_token(token, "token")
        given = [urls] if isinstance(urls, str) else list(urls)
        self.endpoints = [Endpoint(url, timeout=self.timeout, token=key, model=model) for url in given]
        found = [endpoint.root.lower() for endpoint in self.endpoints]
        if not found:
            raise Mistake("names no endpoint", "name one: http://HOST:PORT", "--teacher")
        if twice := next((url for url in found if found.count(url) > 1), None):
            raise Mistake(f"names {twice} twice", "name each endpoint once", "--teacher")
        self._info: Info | None = None
        self._open = AsyncExitStack()

    def __repr__(self) -> str:
        return f"Teacher({self.endpoints!r})"

    @property
    def url(self) -> str:
        """Where it listens, for people."""
        return ", ".join(endpoint.url for endpoint in self.endpoints)

    async def __aenter__(self) -> Self:
        for endpoint in self.endpoints:
            await self._open.enter_async_context(endpoint)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()
        # The runtime's thread lets go of the interpreter a moment after `close` returns; a script that ends in that
        # moment is aborted (pyreqwest 0.15: "PyGILState_Release … finalizing", one exit in about twenty).
        await asyncio.sleep(SETTLE_S)

    async def info(self) -> Info:
        """What the servers say of themselves, limits being the lowest of all; asked once.

        An endpoint that does not answer is passed over as long as another one does.

        Raises:
            TeacherLost: nobody listens, something there is no teacher, or the models differ.
        """
        if self._info is None:
            said = await asyncio.gather(*(endpoint.info() for endpoint in self.endpoints), return_exceptions=True)
            known = [(one.url, info) for one, info in zip(self.endpoints, said, strict=True) if isinstance(info, Info)]
            for failure in said:
                if isinstance(failure, BaseException) and (not known or not isinstance(failure, TeacherAbsent)):
                    raise failure
            self._info = _in_common(known)
        return self._info

    async def healthy(self) -> bool:
        """Whether a server answers and says that it is well."""
        return any(await asyncio.gather(*(endpoint.healthy() for endpoint in self.endpoints)))

    async def tokens(self, prompt: Prompt) -> int | None:
        """How many tokens a prompt has for the teacher's own tokenizer; None where the server does not say."""
        there = (endpoint for endpoint in self.endpoints if endpoint.is_known)
        return await next(there, self.endpoints[0]).tokens(prompt)

    async def once(self, prompt: Prompt, parameters: Mapping[str, Any], stops: Sequence[str] = ()) -> Completion:
        """Send one request to the first endpoint, once; see `Endpoint.once`."""
        return await self.endpoints[0].once(prompt, parameters, stops)

    async def ask(self, prompt: Prompt, parameters: Mapping[str, Any], stops: Sequence[str] = ()) -> Completion:
        """Send one request until it is answered; after each failure to the next endpoint.

        Raises:
            TeacherRefused: the server will never answer this prompt.
            TeacherFault: every attempt failed.
            TeacherLost: the teacher cannot be used, or was busy or away for longer than our patience.
        """
        failures, waits = 0, 0
        clock, waiting_since = asyncio.get_running_loop().time, None
        while True:
            endpoint = self.endpoints[(failures + waits) % len(self.endpoints)]
            try:
                return await endpoint.once(prompt, parameters, stops)
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


def _in_common(known: Sequence[tuple[str, Info]]) -> Info:
    """What holds for all endpoints.

    Raises:
        TeacherLost: their models differ.
    """
    first_url, first = known[0]
    for url, info in known[1:]:
        if (info.model, info.revision) != (first.model, first.revision):
            raise TeacherLost(
                f"the endpoints differ: {first_url} is {first.named}, {url} is {info.named}",
                "name only endpoints of one model and revision: its name is part of every answer's key",
            )
    return replace(
        first,
        max_total_tokens=min((i.max_total_tokens for _, i in known if i.max_total_tokens is not None), default=None),
        max_input_tokens=min((i.max_input_tokens for _, i in known if i.max_input_tokens is not None), default=None),
    )
