"""The steps of a quickstart, each the project's own; what they share, and who follows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import teacherlm.curriculum
from teacherlm.api.quickstart_declared import FOLDER, TRAIN, Declared, lay_out
from teacherlm.api.quickstart_explained import Made, guess
from teacherlm.api.quickstart_figures import Control, Said, Step, Student, Way
from teacherlm.api.quickstart_journal import Doing, Journal
from teacherlm.api.quickstart_published import read_back
from teacherlm.api.quickstart_scores import ask
from teacherlm.api.quickstart_students import Model
from teacherlm.api.quickstart_trainings import train_side_by_side
from teacherlm.core.errors import GateFailed, MachineFailed, RemoteFailed
from teacherlm.core.files import replacing
from teacherlm.core.keys import digest, folder_digest
from teacherlm.core.stored import from_json, to_json
from teacherlm.train.progress import Progress

if TYPE_CHECKING:
    from teacherlm.api.augment import Augmented


THREADS = 1
"""Of each training: models of this size gain little from a second one, and two students have a core each."""


class Stopped(Exception):
    """The run was interrupted while the teacher was asked; what it answered is in the ledger."""


class Audience(Protocol):
    """Who follows a run."""

    def step(self, name: str, about: str) -> None:
        """A step begins."""

    def done(self, step: Step) -> None:
        """It has ended well."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def moment(self, text: str) -> None:
        """How far the step is; comes often, and each replaces the one before."""

    def augmenting(self) -> AbstractContextManager[Callable[[Augmented], None]]:
        """Follows the questions to the teacher."""


@dataclass(frozen=True)
class Kept:
    """The students' answers, as they are kept."""

    key: str
    answers: list[list[Said]]
    """One list for each student and way."""


class Steps:
    """One run; the methods are called in the order in which they stand."""

    def __init__(self, declared: Declared, workspace: Path, to: Path, audience: Audience) -> None:
        self.declared, self._audience, self._to = declared, audience, to
        self._folder = workspace / FOLDER
        self.journal = Journal(self._folder / "journal.json")
        self.project = lay_out(declared, workspace, None)
        self.teacher = declared.teacher
        """What is asked: the declared teacher, or the folder of the one that was trained here."""
        self.asked = 0
        """Texts that this run asked for."""
        self.rate: float | None = None
        self.published_rows = 0

    def teach(self, max_steps: int | None) -> None:
        """Train the teacher, and ask that one."""
        model = Model(self.project, self.declared.teacher_training, max_steps)
        about = f"a teacher is trained by {model.training}, on questions of its own"
        with self.step("teacher", about) as doing:
            made_by = folder_digest(Path(teacherlm.curriculum.__file__).parent, "*.py")
            doing.done_now = self._train({"teacher": model}, made_by)
            record = model.record() or {}
            doing.did = f"{record['parameters']:,} parameters, {record['tokens']:,} tokens in the last stage"
        self.teacher = str(model.folder.resolve())
        self.project = lay_out(self.declared, self.project.workspace.root, model.folder)

    def explain(self) -> None:
        """Make the questions, and let the teacher explain them.

        Raises:
            Stopped, RemoteFailed: it was interrupted; the teacher failed.
        """
        name, note = self.declared.dataset, self._audience.note
        with self.step("build", "a program makes questions with known answers") as doing:
            built = self.project.build(name, tell=note)
            doing.did = f"{built.samples:,} questions"
            doing.done_now = not built.reused
        with self.step("augment", "the teacher writes three kinds of rationale for each") as doing:
            with self._audience.augmenting() as watch:
                state = self.project.augment(name, teacher=self.declared.teacher, watch=watch, tell=note)
            if state.stopped_by:
                raise Stopped(f"{state.done:,} of {state.planned:,} texts are in the ledger")
            if state.tally.exhausted:
                raise RemoteFailed(
                    f"the teacher failed {state.tally.exhausted:,} calls at every attempt",
                    "run the same command again: these alone are asked again",
                )
            self.asked = state.tally.settled
            self.rate = self.asked / state.seconds if self.asked and state.seconds else None
            doing.did = f"{state.planned:,} texts"
            doing.did += f", {self.rate:,.0f} a second" if self.rate else ""
            doing.done_now = self.asked > 0

    def check_and_publish(self) -> None:
        """Let the rules judge all texts, publish, and read what was published.

        Raises:
            GateFailed: too few texts pass.
            MachineFailed: what was published cannot be loaded.
        """
        name = self.declared.dataset
        with self.step("check", "rules in SQL work out every step again") as doing:
            began = time.time()
            report = self.project.check(name, only_if_stale=True)
            written = self.project.workspace.report(name)
            doing.done_now = written.stat().st_mtime >= began
            doing.did = f"{report.books.accepted:,} of {report.books.asked:,} texts accepted"
            failed = [gate for gate in report.gates if not gate.passed]
            if failed:
                names = ", ".join(dict.fromkeys(gate.name for gate in failed))
                raise GateFailed(f"{name}: {names}", "; ".join(dict.fromkeys(gate.remedy for gate in failed)))
        with self.step("publish", "what passed becomes a folder that load_dataset reads") as doing:
            published = self.project.publish(name, to=self._to)
            doing.did = f"{published.rows:,} rows, {published.bytes / 1e6:.2f} MB, to {self._to}"
            doing.done_now = name not in published.unchanged
        with self.step("read back", "in a fresh process, with an empty cache") as doing:
            rows = read_back(self._to, name)
            self.published_rows = sum(rows.values())
            doing.did = ", ".join(f"{count:,} rows of {split}" for split, count in rows.items())

    def guess(self, made: Made) -> Control:
        """The options-only control."""
        with self.step("control", "the answers are guessed from the options alone") as doing:
            found = guess(self.declared, made)
            doing.did = f"{100 * found.rate.share:.1f} % right; chance is {100 * found.chance:.0f} %"
        return found

    def train(self, max_steps: int | None) -> tuple[Student, ...]:
        """Train the students side by side."""
        models = self._models(max_steps)
        with self.step("students", "two students are trained side by side") as doing:
            augmented = self.project.workspace.augmented(self.declared.dataset) / TRAIN
            doing.done_now = self._train(models, folder_digest(augmented, "*.parquet"))
            students = tuple(model.student(name) for name, model in models.items())
            doing.did = "; ".join(f"{one.name} {one.tokens:,} tokens" for one in students)
        return students

    def test(self, made: Made, max_steps: int | None) -> dict[tuple[str, Way], list[Said]]:
        """The students' answers to all test questions, in both ways."""
        models = self._models(max_steps)
        parts = {name: model.fingerprint() for name, model in models.items()}
        key = digest([parts, list(made.test), self.declared.max_new_tokens])
        path = self._folder / "answers.json"
        with self.step("test", f"both answer {len(made.test):,} unseen questions in two ways") as doing:
            kept = _kept(path)
            doing.done_now = kept is None or kept.key != key
            if kept is None or kept.key != key:
                found: list[list[Said]] = []
                for name, model in models.items():
                    self._audience.moment(f"{name} answers")
                    for way, said in ask(model.asked(name), made.test, self.declared.max_new_tokens):
                        found.append(said)
                        self._audience.moment(f"{name} by {way}: {sum(one.is_right for one in said):,} right")
                kept = Kept(key, found)
                with replacing(path) as temporary:
                    temporary.write_bytes(to_json(kept))
            answers = {(said[0].student, said[0].way): said for said in kept.answers}
            doing.did = f"{len(answers) * len(made.test):,} answers"
        return answers

    @contextmanager
    def step(self, name: str, about: str) -> Iterator[Doing]:
        """A step, told to the audience and kept in the journal."""
        self._audience.step(name, about)
        with self.journal.step(name) as doing:
            yield doing
        self._audience.done(self.journal.steps[-1])

    def _models(self, max_steps: int | None) -> dict[str, Model]:
        return {name: Model(self.project, one, max_steps) for name, one in self.declared.students.items()}

    def _train(self, models: Mapping[str, Model], data: str) -> bool:
        """Train what is not trained yet from this data; whether anything was."""
        names = {model.training: name for name, model in models.items()}
        orders = []
        for model in models.values():
            key, before = model.key(data), self.journal.key(model.training)
            if before != key or model.record() is None:
                orders.append(model.order(before, key))
                self.journal.begin(model.training, key)
        if orders:
            train_side_by_side(orders, THREADS, lambda latest: self._audience.moment(_hour(latest, names)))
        return bool(orders)


def _kept(path: Path) -> Kept | None:
    """Answers of an earlier run; None where there are none that can be read."""
    try:
        return from_json(Kept, path.read_bytes(), "the answers")
    except (FileNotFoundError, MachineFailed):
        return None


def _hour(latest: Mapping[str, Progress], names: Mapping[str, str]) -> str:
    """How far each training is: `plain 400/2,100 loss 0.412, 31 s left; chain-first …`."""
    if not latest:
        return "the texts are made ready"
    parts = []
    for training, progress in latest.items():
        part = f"{names[training]} {progress.step:,}/{progress.steps:,}"
        if progress.stages > 1:
            part += f" of stage {progress.number}/{progress.stages}"
        if progress.loss is not None:
            part += f", loss {progress.loss:.3f}"
        if progress.seconds_left is not None:
            part += f", {progress.seconds_left:.0f} s left"
        parts.append(part)
    return "; ".join(parts)
