"""Asking a model the tasks of an evaluation, a few at a time, so that what is finished is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from teacherlm.core.errors import RemoteFailed, TeacherlmError
from teacherlm.evaluate.judge import Judged, judge
from teacherlm.evaluate.requests import Answers, Work
from teacherlm.evaluate.scorer import QuestionFailed, Scorer, Tell
from teacherlm.lm.score import LogLikelihood

FRUITLESS = 3
"""Tasks one after another in which the server fails at a question, after which it is taken to fail altogether."""

TOGETHER_S = 30.0
"""Seconds of work that an interruption may cost: so much of small tasks is asked at once."""


@dataclass
class Progress:
    """How far an evaluation is."""

    tasks: int
    documents: int
    """Of all tasks."""
    task: str = ""
    """The one that is asked, or the first of several."""
    done_tasks: int = 0
    done: int = 0
    """Documents, in parts while they are asked."""
    here: int = 0
    """Of them by the model; the others' answers were there."""
    asking_s: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    @property
    def rate(self) -> float | None:
        """Documents per second that the model answers."""
        return self.here / self.asking_s if self.here and self.asking_s else None

    @property
    def seconds_left(self) -> float | None:
        return (self.documents - self.done) / self.rate if self.rate else None


@dataclass(frozen=True)
class Done:
    """A task that was asked and judged."""

    work: Work
    answers: Answers
    judged: Judged
    seconds: float
    """Its share of the time that the model took."""
    reused: bool = False


Watch = Callable[[Progress], None]
Earlier = Callable[[Work], Answers | None]


def run(
    works: Sequence[Work],
    scorer: Scorer,
    *,
    seed: int,
    earlier: Earlier,
    keep: Callable[[Done], None],
    watch: Watch,
) -> list[tuple[str, TeacherlmError]]:
    """Ask and judge tasks; one that fails does not stop the others, a server that fails does.

    Args:
        earlier: the answers of an earlier run, if they are there.
        keep: called with each task as soon as it is judged.

    Returns:
        Names of the tasks that failed, and why.

    Raises:
        KeyboardInterrupt: what was kept stays so.
    """
    runner = _Run(scorer, seed, keep, watch, Progress(len(works), sum(len(work.items) for work in works)))
    waiting = []
    for work in works:
        if (found := earlier(work)) is None:
            waiting.append(work)
        else:
            runner.progress.done += len(work.items)
            runner.finish(work, found, 0.0, reused=True)
    while waiting and not runner.lost:
        part = _part(waiting, runner.progress.rate)
        del waiting[: len(part)]
        runner.ask(part)
    return runner.failures + [(work.name, runner.lost) for work in waiting if runner.lost]


def _part(waiting: Sequence[Work], rate: float | None) -> list[Work]:
    """The next tasks: neighbours of one kind that take `TOGETHER_S` at most; the first alone, to learn the rate."""
    part = [waiting[0]]
    documents = len(waiting[0].items)
    for work in waiting[1:]:
        documents += len(work.items)
        if rate is None or work.options != part[0].options or documents > rate * TOGETHER_S:
            break
        part.append(work)
    return part


@dataclass
class _Run:
    scorer: Scorer
    seed: int
    keep: Callable[[Done], None]
    watch: Watch
    progress: Progress
    failures: list[tuple[str, TeacherlmError]] = field(default_factory=list)
    lost: RemoteFailed | None = None
    """Why the server cannot be asked any more."""
    fruitless: int = 0
    """Tasks that failed at a question, since one was answered."""

    def ask(self, part: Sequence[Work]) -> None:
        """Ask tasks together; where that fails, one by one."""
        progress, before = self.progress, self.progress.done
        progress.task = part[0].name
        began = time.monotonic()
        documents = sum(len(work.items) for work in part)
        try:
            found = list(self._answers(part, before, documents))
        except TeacherlmError as error:
            if isinstance(error, RemoteFailed) and self._is_lost(error, part):
                self.lost = error
                self.failures += [(work.name, error) for work in part]
            elif len(part) > 1:
                progress.done = before
                for work in part:
                    if self.lost is None:
                        self.ask([work])
                    else:
                        self.failures.append((work.name, self.lost))
            else:
                progress.done = before + documents
                self._fail(part[0], error)
            return
        self.fruitless = 0
        seconds = time.monotonic() - began
        progress.asking_s += seconds
        progress.here += documents
        progress.done = before + documents
        for work, answers in found:
            self.finish(work, answers, seconds * len(work.items) / max(1, documents))

    def _is_lost(self, error: RemoteFailed, part: Sequence[Work]) -> bool:
        """Whether the server fails altogether, and not at a question of one task."""
        if not isinstance(error, QuestionFailed):
            return True
        self.fruitless += len(part) == 1
        return self.fruitless >= FRUITLESS

    def finish(self, work: Work, answers: Answers | TeacherlmError, seconds: float, reused: bool = False) -> None:
        """Judge a task and hand it over."""
        self.progress.task = work.name
        try:
            if isinstance(answers, TeacherlmError):
                raise answers
            self.keep(Done(work, answers, judge(work, answers), seconds, reused))
        except TeacherlmError as error:
            self._fail(work, error)
        else:
            self.progress.done_tasks += 1
            self.watch(self.progress)

    def _fail(self, work: Work, error: TeacherlmError) -> None:
        self.failures.append((work.name, error))
        self.progress.done_tasks += 1
        self.watch(self.progress)

    def _answers(
        self, part: Sequence[Work], before: int, documents: int
    ) -> Iterator[tuple[Work, Answers | TeacherlmError]]:
        """The answers to each task, or what is wrong with them."""
        if part[0].options:
            pairs = [work.pairs() for work in part]
            found = self.scorer.loglikelihoods(
                [one for of in pairs for one in of], self._tell(pairs, before, documents)
            )
            for work, of in zip(part, pairs, strict=True):
                yield work, _of_options(work, found[: len(of)])
                del found[: len(of)]
            return
        prompts = [work.asked(self.seed) for work in part]
        texts = self.scorer.generate([one for of in prompts for one in of], self._tell(prompts, before, documents))
        for work, asked in zip(part, prompts, strict=True):
            yield work, work.of_texts(texts[: len(asked)])
            del texts[: len(asked)]

    def _tell(self, requests: Sequence[Sequence[object]], before: int, documents: int) -> Tell:
        count = max(1, sum(map(len, requests)))

        def tell(done: int) -> None:
            self.progress.done = before + documents * done // count
            self.watch(self.progress)

        return tell


def _of_options(work: Work, found: Sequence[LogLikelihood]) -> Answers | TeacherlmError:
    try:
        return work.of_options(found)
    except TeacherlmError as error:
        return error
