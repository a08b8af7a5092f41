"""The files of an evaluation: whole after every task, and read again where the same is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from teacherlm.core.errors import MachineFailed
from teacherlm.evaluate.judge import answers_of, plain
from teacherlm.evaluate.requests import Answers, Work
from teacherlm.evaluate.results import Grouped, Scored, Settings, results
from teacherlm.evaluate.results_files import (
    OWN,
    RESULTS,
    SAMPLES,
    read_results,
    read_samples,
    write_results,
    write_samples,
)
from teacherlm.evaluate.run import Done
from teacherlm.evaluate.scorer import About


@dataclass
class Found:
    """What an evaluation has found so far."""

    folder: Path
    settings: Settings
    about: About
    works: Sequence[Work]
    groups: Sequence[Grouped]
    again: bool
    """Whether what earlier runs found does not count."""
    tasks: dict[str, Scored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._written = False
        self._keys = {work.name: work.key(self.about, self.settings.seed) for work in self.works}
        # Which weights a server has is known only where it tells their revision.
        self._before = [] if self.again or self.about.sha is None else read_results(self.folder)
        self._same = next((path for path, content in self._before if self._is_this(content)), None)
        stamp = datetime.now().isoformat().replace(":", "-")
        self._stamp = self._same.stem.removeprefix(RESULTS) if self._same else stamp

    @property
    def path(self) -> Path:
        """The results file."""
        return self.folder / f"{RESULTS}{self._stamp}.json"

    @property
    def written(self) -> Path | None:
        """The results file, where it is in place."""
        return self.path if self._written else None

    def earlier(self, work: Work) -> Answers | None:
        """The answers of an earlier run to the same requests."""
        for _, content in self._before:
            told = content[OWN]["tasks"].get(work.name)
            if told and told["key"] == self._keys[work.name]:
                answers = answers_of(work, read_samples(self.folder / told["samples"]))
                if answers is not None:
                    return Answers(answers, [told["cuts"].get(str(item.doc_id), 0) for item in work.items])
        return None

    def keep(self, done: Done) -> None:
        """Write a task's samples, then the results with it.

        Raises:
            MachineFailed: the disk is full or refuses.
        """
        work, judged = done.work, done.judged
        samples = self.folder / f"{SAMPLES}{work.name}_{self._stamp}.jsonl"
        self.tasks[work.name] = Scored(
            name=work.name,
            alias=work.alias,
            config=work.config,
            version=work.version,
            shots=work.shots,
            figures=judged.figures,
            documents=len(work.items),
            of=work.documents,
            cuts={item.doc_id: cut for item, cut in zip(work.items, done.answers.cut, strict=True) if cut},
            refused=work.refused,
            without_gold=judged.without_gold,
            fingerprint=judged.fingerprint,
            key=self._keys[work.name],
            samples=samples.name,
            seconds=done.seconds,
            reused=done.reused,
        )
        if self._same and done.reused:
            self._written = True
            return  # the files that it was read from say the same
        seconds = time.monotonic() - self._began
        try:
            write_samples(samples, judged.lines)
            write_results(self.path, results(self.settings, self.about, self.scored(), self.grouped(), seconds))
        except MachineFailed as error:
            if done.reused:
                raise  # the answers are in the files of an earlier run
            remedy = error.remedy.replace("; nothing is lost", ": the model is asked again")
            raise MachineFailed(error.found, remedy, error.where) from error
        self._written = True

    def scored(self) -> list[Scored]:
        """The tasks that were scored, in the order in which they were asked for."""
        return [self.tasks[work.name] for work in self.works if work.name in self.tasks]

    def grouped(self) -> list[Grouped]:
        """The groups that have a task which was scored, with their figures."""
        return [one.of(self.tasks) for one in self.groups if any(name in self.tasks for name in one.tasks)]

    def _is_this(self, content: dict[str, Any]) -> bool:
        """Whether an earlier run asked for all this and nothing else, with the same metrics, filters and groups."""
        tasks = content[OWN].get("tasks", {})
        return (
            {name: told["key"] for name, told in tasks.items()} == self._keys
            and content["configs"] == _as_json({work.name: work.config for work in self.works})
            and content["group_subtasks"] == {one.name: list(one.members) for one in self.groups}
            and all((self.folder / told["samples"]).is_file() for told in tasks.values())
        )


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=plain))
