"""Evaluation: benchmarks, a model and the folder of its scores, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict

from teacherlm.api.evaluate_found import Found
from teacherlm.api.evaluate_models import HF, SERVED, ModelOptions, is_url, open_scorer
from teacherlm.api.evaluate_rows import SCORES
from teacherlm.core.errors import Mistake, RemoteFailed, TeacherlmError
from teacherlm.core.locks import held
from teacherlm.evaluate.aggregate import Figure
from teacherlm.evaluate.kept import KeptScorer
from teacherlm.evaluate.results import Grouped, Scored, Settings, outermost_first
from teacherlm.evaluate.results_files import sanitised
from teacherlm.evaluate.run import Progress, run

if TYPE_CHECKING:
    from teacherlm.api.project import Project

KEPT, KEPT_AGAIN = ".answers.jsonl", ".answers-again.jsonl"
"""In a model's folder, while it is asked: answers to tasks that are not whole yet; with `again` to all tasks, so that
the same command goes on with what it asked itself."""

SEED = 1234
"""Of few-shot examples and draws; the harness's."""


class EvaluateOptions(TypedDict, total=False):
    """What an evaluation may be told."""

    tasks: Required[Sequence[str]]
    """Benchmarks and groups of them: files of `evaluate/`."""
    data: Mapping[str, str | Path] | None
    """Local rows by task or group: a file, or a folder of splits; else the Hub's."""
    num_fewshot: int | None
    """Worked examples; None: as each task declares."""
    limit: int | None
    """Documents of each task, the first ones."""
    batch_tokens: int | None
    """Padded tokens of one pass; None: as many as fit."""
    device: str
    dtype: str
    revision: str | None
    output: str | Path | None
    """Folder of the results; None: `scores/MODEL` in the workspace."""
    seed: int
    again: bool
    """Ask the model again, though its answers to the same requests are there."""
    watch: Callable[[Progress], None]
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found."""

    model: str
    folder: Path
    results: Path | None
    """The file; None where no task was scored, or it could not be written."""
    tasks: tuple[Scored, ...]
    groups: tuple[Grouped, ...]
    failures: tuple[tuple[str, TeacherlmError], ...]
    """Names of tasks, and why they failed."""
    seconds: float
    loading_s: float
    """Until the model could be asked."""
    stopped_by: str | None = None
    """`interrupt`: the tasks that were done are kept."""

    def figure(self, name: str, metric: str = "acc", filter: str | None = None) -> Figure:
        """A metric of a task or group; of several filters the first.

        Raises:
            KeyError: there is none.
        """
        figures = {one.name: one.figures for one in self.tasks} | {one.name: one.figures for one in self.groups}
        for found in figures[name]:
            if found.metric == metric and filter in (None, found.filter):
                return found
        raise KeyError(f"{name}: {metric}")

    def to_row(self) -> dict[str, Any]:
        """As `--format json` prints it."""
        return {
            "model": self.model,
            "folder": str(self.folder),
            "results": str(self.results) if self.results else None,
            "tasks": [_task_row(one) for one in self.tasks],
            "groups": [
                {"group": one.name, "alias": one.alias, "members": list(one.members), "figures": _rows(one.figures)}
                for one in self.groups
            ],
            "failed": [name for name, _ in self.failures],
            "seconds": self.seconds,
            "loading_s": self.loading_s,
            "stopped_by": self.stopped_by,
        }


def _task_row(one: Scored) -> dict[str, Any]:
    return {
        "task": one.name,
        "alias": one.alias,
        "num_fewshot": one.shots,
        "documents": one.documents,
        "cut": len(one.cuts),
        "refused": one.refused,
        "without_gold": one.without_gold,
        "seconds": one.seconds,
        "reused": one.reused,
        "samples": one.samples,
        "figures": _rows(one.figures),
    }


def _rows(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    return [{**asdict(one), "within_chance": one.within_chance} for one in figures]


def evaluate(
    project: Project,
    model: str,
    *,
    tasks: Sequence[str],
    data: Mapping[str, str | Path] | None = None,
    num_fewshot: int | None = None,
    limit: int | None = None,
    batch_tokens: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    output: str | Path | None = None,
    seed: int = SEED,
    again: bool = False,
    watch: Callable[[Progress], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Evaluated:
    """Ask a model the questions of benchmarks; what is finished is written at once.

    Args:
        model: `nano`, a folder, a training of the workspace (`NAME` or `NAME:STAGE`), a Hub id, or a server's URL.
        others: see `EvaluateOptions`.

    Raises:
        MissingExtra: torch or transformers is not installed.
        Mistake, Mistakes: something given is wrong; nothing was run.
        RemoteFailed, MachineFailed: the server cannot be reached, or the folder is in use or cannot be written.
    """
    from teacherlm.api.evaluate_works import prepare

    began, date = time.monotonic(), time.time()
    for name, value, least in (("limit", limit, 1), ("num-fewshot", num_fewshot, 0), ("batch-tokens", batch_tokens, 1)):
        if value is not None and value < least:
            raise Mistake(f"is {value}", f"give a number of {least} or more", f"--{name}")
    folder = Path(output) if output is not None else project.workspace.root / SCORES / sanitised(model)
    if (file := next((one for one in (folder, *folder.parents) if one.is_file()), None)) is not None:
        raise Mistake("is a file, and results are written into a folder", "name a folder by --output", str(file))
    ready = prepare(project, tasks, data or {}, num_fewshot=num_fewshot, limit=limit, seed=seed, tell=tell)
    options = ModelOptions(device=device, dtype=dtype, revision=revision, batch_tokens=batch_tokens)
    settings = Settings(
        model=model,
        source=SERVED if is_url(model) else HF,
        seed=seed,
        limit=limit,
        batch_tokens=batch_tokens,
        date=date,
    )
    with held(folder / ".lock", f"the scores of `{model}`"), open_scorer(project, model, options, tell) as asked:
        scorer = KeptScorer(asked, folder / (KEPT_AGAIN if again else KEPT), whole=again)
        loading = time.monotonic() - began
        found = Found(folder, settings, scorer.about, ready.works, ready.groups, again)
        stopped_by = None
        failures = list(ready.failures)
        try:
            failures += run(ready.works, scorer, seed=seed, earlier=found.earlier, keep=found.keep, watch=watch)
        except KeyboardInterrupt:
            stopped_by = "interrupt"
        # What was stopped, or left by its server, is to be gone on with.
        if not stopped_by and not any(isinstance(error, RemoteFailed) for _, error in failures):
            scorer.forget()
    return Evaluated(
        model=model,
        folder=folder,
        results=found.written,
        tasks=tuple(found.scored()),
        groups=tuple(outermost_first(found.grouped())),
        failures=tuple(failures),
        seconds=time.monotonic() - began,
        loading_s=loading,
        stopped_by=stopped_by,
    )
