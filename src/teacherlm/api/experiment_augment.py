"""Other augmentations than rationales, for experiments: paraphrases, and labels by vote, as augmented tables.

The calls go the way of all calls: through the pool into the dataset's ledger, so that a run that was killed goes on and
nothing is asked twice. Paraphrases lie there as the kind `paraphrase`; votes are chains of thought that were drawn
without the answer, as STaR's first draw is, and asked with the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api import augment as augmenting
from teacherlm.api.listening import listening
from teacherlm.api.orders import DRAWN, Order, Strategy
from teacherlm.api.samples import count_samples, sample_batches
from teacherlm.api.session import open_session, parquet
from teacherlm.api.star import DRAW
from teacherlm.core.errors import Mistake, RemoteFailed
from teacherlm.core.files import replacing_folder, write_json
from teacherlm.evaluate.votes import TEMPERATURE
from teacherlm.experiments import paraphrases
from teacherlm.experiments.asked import Answer, augmented
from teacherlm.experiments.declaration import Made
from teacherlm.experiments.rewordings import reworded
from teacherlm.experiments.votes import Labelled, by_vote
from teacherlm.schemas.records import record
from teacherlm.teacher.calls import Call, Sequel
from teacherlm.teacher.wire import Info

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.project import Project

PARAPHRASE = "paraphrase"
"""The kind of its calls in the ledger."""
REPORT = "augmentation.json"
"""Beside the dataset's run records: what was asked, and what became of it."""
ROWS = 1000
"""Written at once."""

ANSWERS = """
    SELECT place, repeat, text, status, call_key, teacher_model, teacher_revision, strategy, generated_tokens
    FROM (SELECT sample_id, row_number() OVER () - 1 AS place FROM {files}) JOIN rationales USING (sample_id)
    WHERE kind = $kind AND repeat < $repeats AND place < $asked
    ORDER BY place, repeat"""

Row = dict[str, Any]
Files = Mapping[str, Sequence[Path]]
"""Split -> its sample files."""
_NOTHING: tuple[int, list[Answer]] = (-1, [])


@dataclass(frozen=True)
class Cost:
    """What a teacher was asked for."""

    calls: int = 0
    tokens: int = 0
    """Generated."""


@dataclass(frozen=True, kw_only=True)
class _Order(Order):
    """Asks one template of its prompts, whatever the kind is called; each repeat is a text that is wanted."""

    template: str

    def draws(self, kind: str) -> bool:
        return False

    def call(
        self,
        sample: Mapping[str, Any],
        info: Info,
        kind: str,
        repeat: int,
        *,
        template: str | None = None,
        strategy: str = "explain",
        sequel: Sequel | None = None,
        parts: tuple[str, ...] = (),
        beginning: str = "",
    ) -> Call:
        told = self.strategy
        return super().call(sample, info, kind, repeat, template=self.template, strategy=told, beginning=beginning)


def make_augmented(
    project: Project,
    name: str,
    made: Made,
    tell: Callable[[str], None],
    watch: Callable[[augmenting.Augmented], None] | None = None,
) -> Cost:
    """Write the augmented table of a dataset whose `augmentation` is `paraphrases` or `votes`.

    The splits that are read are those whose names begin with `train`, or all where none does: what is tested stays as
    it is. Nothing that was answered is asked again, and equal answers give equal files.

    Args:
        project: the experiment's own; the dataset is built.
        made: its `teacher` or `trained` is asked. Paraphrases of a procedural recipe without either are made by the
            program that made the questions.
        watch: called a few times a second while the teacher is asked.

    Raises:
        Mistake, Mistakes: no teacher, prompts that cannot ask for it, or a teacher of whose answers none can be used.
        RemoteFailed: the teacher failed; what it answered is kept.
        GateFailed: the books do not close.
        KeyboardInterrupt: it was stopped; what was answered is kept.
    """
    from teacherlm.api import experiment_data

    teacher = made.teacher
    if made.trained is not None:
        teacher = experiment_data.trained_teacher(project, name, made, tell)
        project = experiment_data.project_of(project)  # whose catalogue names it
    whole = project.workspace.sample_files(name)
    files = {split: paths for split, paths in whole.items() if split.startswith("train")} or whole
    if teacher is None:
        return _by_program(project, name, made, files, tell)
    order = _order(project, name, made, teacher)
    with listening([order.teacher], tell) as urls:
        state = augmenting.augment([order], project.workspace, order.teacher.name, urls, watch=watch, files=files)
    if state.stopped_by:
        raise KeyboardInterrupt
    if state.tally.exhausted:
        raise RemoteFailed(
            f"the teacher failed {state.tally.exhausted:,} calls for `{name}` at every attempt",
            "run the same command again: these alone are asked again",
        )
    return _by_teacher(project, order, files, tell)


def _order(project: Project, name: str, made: Made, teacher: str) -> _Order:
    bound = project.recipe(name)
    chosen = project.teacher(teacher).for_kind(DRAWN)
    prompts = project.prompts(bound, chosen)
    given = chosen.profile.parameters
    if made.repeats > 1 and not given.do_sample:  # several texts of a greedy teacher are the same
        given = replace(given, do_sample=True, temperature=TEMPERATURE)
    kind, template = DRAWN, DRAW
    strategy: Strategy = "star"
    if made.augmentation == "paraphrases":
        kind, template, strategy = PARAPHRASE, paraphrases.TEMPLATE, "explain"
        prompts = paraphrases.prompts(project.files, prompts.profile.form)
    elif prompts.profile.star is None:
        found = "it has no prompt that asks without the answer, so nobody can vote"
        raise Mistake(found, "add `star:` and `star_hinted:`, or take other prompts", prompts.located.shown)
    return _Order(
        bound=bound,
        teacher=chosen,
        prompts=prompts,
        kinds=(kind,),
        parameters={**given.wire(), "max_new_tokens": bound.recipe.max_new_tokens},
        seed=given.seed if given.do_sample else None,
        repeats=made.repeats,
        limit=made.limit,
        strategy=strategy,
        template=template,
    )


class _Read:
    """The answers to an order, turned into rows and counted."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, order: _Order) -> None:
        self._connection, self._order = connection, order
        (self._kind,) = order.kinds
        self.labelled = Labelled()
        self.books = self.labelled.books
        self.cost = Cost()

    def rows(self, paths: Sequence[Path], asked: int) -> Iterator[Row]:
        """The rows of a split; see `_tables`."""
        known = self._answers(paths, asked)
        at, group = next(known, _NOTHING)
        for place, sample in enumerate(_samples(paths)):
            mine: list[Answer] = []
            if place == at:
                mine, (at, group) = group, next(known, _NOTHING)
            if self._kind == PARAPHRASE:
                yield from paraphrases.paraphrased(sample, mine, self.books)
            elif place < asked and (row := by_vote(sample, mine, self.labelled)) is not None:
                yield row

    def close(self, samples: int) -> None:
        """See that every call is accounted for, and that some were of use."""
        order, books = self._order, self.books
        books.close(samples * order.repeats, order.bound.name)
        if samples and not books.accepted:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in books.refused().items())
            raise Mistake(
                f"`{order.teacher.name}` gave nothing that can be used: of {books.asked:,} calls {reasons}",
                "name a teacher that can do it; the shipped nano teacher only explains answers that it is shown",
                f"datasets.{order.bound.name}",
            )

    def report(self) -> Row:
        about = {"augmentation": "paraphrases", **self.books.to_row()}
        if self._kind != PARAPHRASE:
            about = {"augmentation": "votes", **self.labelled.to_row()}
        return {**about, "by": self._order.teacher.name, "generated_tokens": self.cost.tokens}

    def _answers(self, paths: Sequence[Path], asked: int) -> Iterator[tuple[int, list[Answer]]]:
        """The places of the samples that were answered, in their order, each with its answers."""
        given = {"kind": self._kind, "repeats": self._order.repeats, "asked": asked}
        reader = self._connection.sql(ANSWERS.format(files=parquet(paths)), params=given).to_arrow_reader(ROWS)
        lines = chain.from_iterable(batch.to_pylist() for batch in reader)
        for place, group in groupby(lines, lambda line: line.pop("place")):
            found = []
            for line in group:
                tokens = line.pop("generated_tokens") or 0
                self.cost = Cost(self.cost.calls + 1, self.cost.tokens + tokens)
                found.append(Answer(**line))
            yield place, found


def _by_teacher(project: Project, order: _Order, files: Files, tell: Callable[[str], None]) -> Cost:
    name, workspace = order.bound.name, project.workspace
    with open_session(workspace, [name], judged=False) as connection:
        read = _Read(connection, order)
        written = _tables(project, name, files, order.limit, read.rows, read.close)
    write_json(workspace.report(name).parent / REPORT, {**read.report(), "written": written})
    found = f"{read.books.accepted:,} of {read.books.asked:,} calls accepted, {read.cost.tokens:,} tokens"
    tell(f"{name}: {sum(written.values()):,} questions written ({found})")
    return read.cost


def _by_program(project: Project, name: str, made: Made, files: Files, tell: Callable[[str], None]) -> Cost:
    if made.augmentation == "votes":
        raise Mistake("votes are a teacher's, and none is named", "add  teacher: NAME", f"datasets.{name}")
    recipe = project.recipe(name).recipe

    def rows(paths: Sequence[Path], asked: int) -> Iterator[Row]:
        samples = _samples(paths)
        split = paths[0].parent.name
        yield from reworded(recipe, split, islice(samples, asked), made.repeats)
        yield from map(augmented, samples)

    written = _tables(project, name, files, made.limit, rows)
    report = {"augmentation": "paraphrases", "by": "the program that made the questions", "written": written}
    write_json(project.workspace.report(name).parent / REPORT, report)
    tell(f"{name}: {sum(written.values()):,} questions, reworded by the program that made them; nobody was asked")
    return Cost()


def _tables(
    project: Project,
    name: str,
    files: Files,
    limit: int | None,
    rows: Callable[[Sequence[Path], int], Iterator[Row]],
    close: Callable[[int], None] = lambda _: None,
) -> dict[str, int]:
    """Write the augmented table of each split, all of them or none.

    Args:
        rows: makes those of a split from its files and the number of samples that are asked about, the first ones.
        close: takes the number of samples that were asked about; what it raises leaves the tables as they were.

    Returns:
        Rows of each split.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, written, wanted = record("augmented").arrow(), {}, 0
    with project.workspace.locked(name), replacing_folder(project.workspace.augmented(name)) as folder:
        for split, paths in files.items():
            asked = count_samples({split: paths}, None if limit is None else limit - wanted)
            made, written[split] = rows(paths, asked), 0
            (folder / split).mkdir()
            with pq.ParquetWriter(folder / split / "00000.parquet", schema, compression="zstd") as writer:
                while batch := list(islice(made, ROWS)):
                    writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                    written[split] += len(batch)
            wanted += asked
        close(wanted)
    return written


def _samples(paths: Sequence[Path]) -> Iterator[Row]:
    for batch in sample_batches({"": paths}, None, record("sample").names):
        yield from batch
