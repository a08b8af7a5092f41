"""A model behind a server, asked as a benchmark asks one of this process.

Log-likelihoods follow the conventions of lm-evaluation-harness 0.4.13 as `lm.score` does: blanks at the end of a
context belong to the continuation, both are read as one text, and what is too long is cut from the left. The server
encodes the text, so the border is found in what it tells:

- Where one of the text's tokens begins exactly at the border, the continuation begins with it. The tokens before it are
  then those of the context by itself, since neither BPE nor unigram tokenizers look across a border that they keep.
- Else (a token spans the border, or the server's tokens do not read as the text) the context is counted by itself and
  the continuation begins behind so many tokens. This is the harness's own rule, but for the context's last tokens: the
  harness reads them as they are by themselves, which cannot be told to a server in text.
- Where that leaves nothing, the token that spans the border is the continuation; in this process that is an error.

Both protocols always write one token, so that a text has one token less room than in this process. An empty context
needs a tokenizer that puts a begin token before every text.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from teacherlm.core.errors import Mistake, RemoteFailed
from teacherlm.evaluate.scorer import About, Asked, QuestionFailed, Tell, Written
from teacherlm.evaluate.served_ask import Scored, scored, written
from teacherlm.evaluate.served_line import Line, answered, places, run
from teacherlm.evaluate.served_wire import Speech, speech
from teacherlm.lm.score import LogLikelihood
from teacherlm.teacher.address import TOKEN, checked_token, without_secrets
from teacherlm.teacher.endpoint import Endpoint
from teacherlm.teacher.errors import TeacherAbsent
from teacherlm.teacher.patience import Retry, Timeout
from teacherlm.teacher.wire import Info

T = TypeVar("T")


class ServedScorer:
    """A `Scorer` over one server; made by `connect`.

    Args:
        url: its root; with `/v1` at its end it is asked in OpenAI's protocol even where it knows TGI's.
        info: what it said of itself.
        token: its key.
        model: the one to ask where it serves several.
        concurrency: requests in flight; None: by what the server tells, 32 at most.
        tell: told when the server does not answer any more, and when it does again.
    """

    def __init__(
        self,
        url: str,
        info: Info,
        *,
        token: str | None,
        model: str | None,
        concurrency: int | None,
        timeout: Timeout,
        retry: Retry,
        tell: Callable[[str], None],
    ) -> None:
        self.url = url
        self._tell = tell
        self._info, self._token, self._model = info, token, model
        self._concurrency, self._timeout, self._retry = concurrency, timeout, retry

    def __repr__(self) -> str:
        return f"ServedScorer({self.url!r}, {self._info.named})"

    @property
    def about(self) -> About:
        """Which model it is, as far as the server tells."""
        info = self._info
        # Behind one name two servers may have different weights, unless they tell a revision.
        fingerprint = f"{info.model}@{info.revision}" if info.revision else f"{info.model} at {self.url}"
        return About(
            name=self.url,
            fingerprint=fingerprint,
            revision=info.revision,
            sha=info.revision,
            window=info.max_total_tokens,
        )

    def loglikelihoods(self, requests: Sequence[tuple[str, str]], tell: Tell) -> list[LogLikelihood]:
        """See `Scorer`. TGI does not say which token is the likeliest: there each context is continued once more.

        Raises:
            Mistake: the server gives no log-probabilities, or will not take a text.
            RemoteFailed: it failed, lets nobody in, or has another model by now.
        """

        async def score(line: Line, spoken: Speech) -> list[LogLikelihood]:
            async def one(request: tuple[str, str]) -> Scored:
                try:
                    return await scored(line, spoken, *request)
                except QuestionFailed as error:
                    raise error.on("".join(request)) from None

            found = await answered(requests, one, places(self._info, self._concurrency), tell)
            greedy = await self._greedy(spoken, found)
            return [
                LogLikelihood(math.fsum(one.values), best, len(one.values), len(continuation), one.cut)
                for (_, continuation), one, best in zip(requests, found, greedy, strict=True)
            ]

        return self._with(score)

    def generate(self, asked: Sequence[Asked], tell: Tell) -> list[Written]:
        """See `Scorer`. A text ends where the server ended it, or before the first of `until`.

        Raises:
            Mistake: a prompt has no room beside its new tokens, or the server will not take it.
            RemoteFailed: the server failed, lets nobody in, or has another model by now.
        """

        async def write(line: Line, spoken: Speech) -> list[Written]:
            async def one(question: Asked) -> Written:
                try:
                    return await written(line, spoken, question, self._info.max_total_tokens)
                except QuestionFailed as error:
                    raise error.on(question.prompt) from None

            return await answered(asked, one, places(self._info, self._concurrency), tell)

        return self._with(write)

    async def _greedy(self, spoken: Speech, all_scored: Sequence[Scored]) -> list[bool]:
        """Whether each continuation is what the model would write."""
        together: dict[tuple[str, int], list[Scored]] = {}
        for one in all_scored:
            if one.likeliest is None and one.ids is not None:
                together.setdefault((one.context, one.kept), []).append(one)

        async def ask(context: tuple[str, int]) -> tuple[int, ...]:
            members = together[context]
            last = context[1] if any(one.cut for one in members) else None
            return await spoken.written(context[0], last, max(len(one.ids or ()) for one in members)) or ()

        contexts = list(together)
        texts = await answered(contexts, ask, places(self._info, self._concurrency), lambda done: None)
        found = dict(zip(contexts, texts, strict=True))
        return [
            all(one.likeliest)
            if one.likeliest is not None
            else one.ids is not None and found[one.context, one.kept][: len(one.ids)] == one.ids
            for one in all_scored
        ]

    def _with(self, work: Callable[[Line, Speech], Awaitable[T]]) -> T:
        """Do something over a fresh line to the server, which must still have the same model."""

        async def main() -> T:
            async with Endpoint(self.url, timeout=self._timeout, token=self._token, model=self._model) as endpoint:
                line = Line(endpoint, self._retry, self._token, self._tell)
                await line.until_answered(lambda: endpoint.verify(self._info))
                return await work(line, speech(await endpoint.wire(), line, self._info))

        return run(main)


def connect(
    url: str,
    *,
    model: str | None = None,
    token: str | None = None,
    concurrency: int | None = None,
    timeout: Timeout | None = None,
    retry: Retry | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> ServedScorer:
    """Find out who answers at a URL: TGI by `/info`, an OpenAI-compatible server by `/v1/models`.

    Args:
        token: the server's key; None: that of $TEACHERLM_TEACHER_TOKEN.
        model, concurrency, tell: see `ServedScorer`.

    Raises:
        Mistake: it is no URL; the server has no such model, or several and none was chosen.
        RemoteFailed: nobody answers there, or something that is no such server.
    """
    key = checked_token(os.environ.get(TOKEN)) if token is None else checked_token(token, "token")
    patience = timeout or Timeout()

    async def look() -> Info:
        async with Endpoint(url, timeout=patience, token=key, model=model) as endpoint:
            return await endpoint.info()

    where = without_secrets(url)
    try:
        info = run(look)
    except TeacherAbsent as error:
        raise RemoteFailed(error.found, "start the server, or check the URL", where) from None
    except Mistake as error:
        remedy = "name one of them as `model`, or serve one alone" if "serve" in error.found else error.remedy
        raise Mistake(error.found, remedy, where) from None
    return ServedScorer(
        url,
        info,
        token=key,
        model=model,
        concurrency=concurrency,
        timeout=patience,
        retry=retry or Retry(),
        tell=tell,
    )


@contextmanager
def open_served(
    url: str, *, model: str | None = None, tell: Callable[[str], None] = lambda _: None
) -> Iterator[ServedScorer]:
    """A server for the length of a block; see `connect`."""
    yield connect(url, model=model, tell=tell)
