"""The line to a server that is evaluated: many requests in flight, each asked again where that may help."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson

from teacherlm.core.errors import Mistake, RemoteFailed
from teacherlm.evaluate.scorer import QuestionFailed
from teacherlm.teacher.endpoint import Endpoint
from teacherlm.teacher.errors import TeacherAway, TeacherBusy, TeacherFault, TeacherLost, worst
from teacherlm.teacher.patience import Retry
from teacherlm.teacher.wire import Info

T = TypeVar("T")
J = TypeVar("J")

PLACES = 32
"""Requests in flight where the server tells no limit, and at most."""

SHARE = 0.8
"""Of the requests that a server holds: others may ask it too."""


class Line:
    """One endpoint, asked until it answers.

    Args:
        endpoint: entered.
        token: the server's key, which no message may show.
        tell: told when the server does not answer any more, and when it does again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        retry: Retry,
        token: str | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.endpoint = endpoint
        self.token = token
        self.retry = retry
        self._tell = tell
        self._away_since: float | None = None
        self._contexts: dict[str, asyncio.Future[Any]] = {}

    async def json(self, path: str, body: object) -> Any:
        """Post a body and read the answer; see `raw`."""
        return await self.raw(path, orjson.dumps(body))

    async def raw(self, path: str, data: bytes) -> Any:
        """Post a body that is bytes already and read the answer.

        Raises:
            TeacherRefused: the server will never take this body.
            RemoteFailed: it cannot be used (any more), or failed too often.
        """

        async def attempt() -> Any:
            answer, _ = await self.endpoint.post(path, data)
            try:
                return orjson.loads(answer)
            except orjson.JSONDecodeError:
                raise TeacherFault("the answer is no JSON", reason="answer not readable") from None

        return await self.until_answered(attempt)

    def odd(self, error: Exception) -> RemoteFailed:
        """An answer that is JSON, but not what its route promises."""
        return RemoteFailed(
            f"{self.endpoint.url} answers in another form than its protocol has ({type(error).__name__}: {error})",
            "check that the URL is a server's root",
        )

    async def until_answered(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat an attempt after faults, a few times, and while the server is busy or away, as long as we are patient.

        Raises:
            QuestionFailed: it did not help, and the server is there.
            RemoteFailed: it did not help.
        """
        faults, waits = 0, 0
        clock, waiting_since = asyncio.get_running_loop().time, None
        timeout = self.endpoint.timeout
        while True:
            try:
                found = await attempt()
            except TeacherFault as error:
                faults, waiting_since = faults + 1, None
                if faults >= self.retry.attempts:
                    raise QuestionFailed(
                        f"{self.endpoint.url} failed {faults} times on one question ({error})",
                        "look at the server's log; run again, or leave the question out",
                    ) from None
                await asyncio.sleep(self.retry.delay(faults))
            except (TeacherBusy, TeacherAway) as error:
                waits, waiting_since = waits + 1, clock() if waiting_since is None else waiting_since
                if clock() - waiting_since >= timeout.patience_s:
                    raise TeacherLost(
                        f"{self.endpoint.url} has been away or busy for {timeout.patience_s:g} s ({error})",
                        "look at the server and run again",
                    ) from None
                busy = isinstance(error, TeacherBusy)
                if not busy:
                    self._is_away(clock(), error)
                await asyncio.sleep(self.retry.delay_of_busy(waits) if busy else self.retry.delay(waits))

            else:
                self._is_back(clock())
                return found

    def _is_away(self, now: float, error: Exception) -> None:
        """Said once, whatever number of requests find out."""
        if self._away_since is None:
            self._away_since = now
            patience = f"{self.endpoint.timeout.patience_s:g} s"
            self._tell(f"{self.endpoint.url} does not answer ({error}); it is asked again for up to {patience}")

    def _is_back(self, now: float) -> None:
        if self._away_since is not None:
            self._tell(f"{self.endpoint.url} answers again, after {now - self._away_since:.0f} s")
            self._away_since = None

    async def once_for(self, text: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What is asked about a text, and the same for all who ask: the options of a question share their context."""
        known = self._contexts.get(text)
        if known is None:
            known = self._contexts[text] = asyncio.ensure_future(ask())
        found: T = await known
        return found


def places(info: Info, wanted: int | None) -> int:
    """How many requests are in flight."""
    if wanted is not None:
        return wanted
    held = info.max_concurrent_requests
    return PLACES if held is None else max(1, min(PLACES, int(held * SHARE)))


async def answered(
    jobs: Sequence[J], ask: Callable[[J], Awaitable[T]], in_flight: int, tell: Callable[[int], None]
) -> list[T]:
    """Do all jobs, so many at a time, begun in their order; results in their order.

    Raises:
        TeacherlmError: the worst of what stopped them.
    """
    found: dict[int, T] = {}
    waiting = iter(range(len(jobs)))

    async def work() -> None:
        for place in waiting:
            found[place] = await ask(jobs[place])
            tell(len(found))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(in_flight, len(jobs))):
                group.create_task(work())
    except ExceptionGroup as errors:
        raise worst(errors) from None
    return [found[place] for place in range(len(jobs))]


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end; in a thread of its own where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(main())).result()


def no_logprobs(url: str, why: str, remedy: str) -> Mistake:
    """A server that cannot be asked how likely a text is."""
    return Mistake(
        f"{url} gives no log-probabilities of a prompt ({why})",
        f"{remedy}. Tasks with `output_type: multiple_choice` need them; those whose answer is written and read"
        " (gsm8k, and the `_cot` variants) do not",
    )
