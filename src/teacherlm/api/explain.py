"""Explain: everything that is known of one row, from its source to its verdicts, and what has changed since."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from teacherlm.api.catalog import TEACHER, ChosenTeacher
from teacherlm.api.explain_changes import Compared, Present, compare
from teacherlm.api.explain_row import Row, find_row, own_ledger
from teacherlm.api.listening import listening
from teacherlm.api.orders import DRAWN, Order, make_orders
from teacherlm.api.plan import NOBODY
from teacherlm.api.runs import read_record
from teacherlm.api.traced import maker_of
from teacherlm.builders.build import MANIFEST, mapping_fingerprint, read_manifest
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.core.errors import Mistake, RemoteFailed
from teacherlm.schemas.records import KINDS
from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.client import Teacher, Timeout
from teacherlm.teacher.wire import Info, Prompt

if TYPE_CHECKING:
    from teacherlm.api.project import Project


@dataclass(frozen=True, kw_only=True)
class ExplainedText:
    """A text of one kind: what was asked and answered, and what would be asked now."""

    kind: str
    repeat: int
    answers: tuple[Mapping[str, Any], ...]
    """Every line of the ledger, oldest first; `parameters` as a mapping, `verdict` with its findings or None, and
    `is_in_augmented`."""
    now: Compared


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Everything that is known of one row."""

    sample_id: str
    dataset: str
    split: str
    sample: Mapping[str, Any] | None
    """None: it is not among the samples any more."""
    source: Mapping[str, Any]
    """Recipe, where its rows are, the build's fingerprint, and which row of the source the sample is."""
    teacher: str | None
    """Whose questions the answers are compared with."""
    teacher_from: str | None
    """How it was chosen: `--teacher`, `the last run`, `$TEACHERLM_TEACHER`."""
    teacher_asked: bool
    """Whether it was asked for its model and revision."""
    notes: tuple[str, ...]
    texts: tuple[ExplainedText, ...]

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class _Declared:
    """What the project declares now about asking for one row."""

    bound: BoundRecipe | None = None
    chosen: ChosenTeacher | None = None
    origin: str | None = None
    orders: dict[str, Order] = field(default_factory=dict)
    """By kind."""
    infos: dict[str, Info] = field(default_factory=dict)
    """By the teacher's name."""
    nobody: str = ""
    """Why there are no orders."""
    notes: list[str] = field(default_factory=list)


def explain(
    project: Project,
    sample_id: str,
    *,
    kind: str | None = None,
    teacher: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Explained:
    """Gather what is known of a row. Its dataset alone is read; a teacher is asked for `/info` alone, if it is named.

    Args:
        sample_id: or a beginning that no other sample has.
        kind: to explain it alone; None: all.
        teacher: whose questions to compare the answers with; None: those of the last run's, which is not asked.

    Raises:
        Mistake: there is no such sample or kind, or no such teacher.
    """
    if kind is not None and kind not in KINDS:
        raise Mistake(f'is "{kind}"', f"kinds are {', '.join(KINDS)}", "--kind")
    row = find_row(project.workspace, sample_id)
    declared = _declared(project, row, teacher, tell)
    with own_ledger(row) as answered:
        texts = tuple(
            _text(project, declared, row, answered, one, repeat)
            for one, repeat in _wanted(row, declared.bound)
            if kind is None or one == kind
        )
    return Explained(
        sample_id=row.sample_id,
        dataset=row.dataset,
        split=row.split,
        sample=row.sample,
        source=_source(project, row, declared.bound),
        teacher=declared.chosen.name if declared.chosen else None,
        teacher_from=declared.origin,
        teacher_asked=bool(declared.infos),
        notes=tuple(declared.notes),
        texts=texts,
    )


def _wanted(row: Row, bound: BoundRecipe | None) -> Iterator[tuple[str, int]]:
    """Kind and repeat of every text that was asked for or would be."""
    asked = {(answer["kind"], answer["repeat"]) for answer in row.answers}
    new = {(kind, 0) for kind in (bound.recipe.kinds if bound and row.sample else ())}
    kinds = {kind for kind, _ in asked}
    yield from sorted(
        asked | {one for one in new if one[0] not in kinds}, key=lambda one: (KINDS.index(one[0]), one[1])
    )


def _text(
    project: Project, declared: _Declared, row: Row, answered: AnsweredCalls, kind: str, repeat: int
) -> ExplainedText:
    lines = [answer for answer in row.answers if (answer["kind"], answer["repeat"]) == (kind, repeat)]
    order = declared.orders.get(kind)
    nobody = declared.nobody or f"the recipe, or the teacher, has no kind `{kind}`"
    if row.sample is None:
        order, nobody = None, "the sample is not among the samples any more"

    def origin_of(line: Mapping[str, Any]) -> tuple[str, Prompt | None]:
        return _origin(project, declared, row, line)

    now = compare(
        Present(
            order=order,
            nobody=nobody,
            gone="sample id" if row.sample is None else "kind",
            info=declared.infos.get(order.teacher.name) if order else None,
            guessed=declared.chosen is None,
            sample=row.sample or {},
            answered=answered,
            origin_of=origin_of,
        ),
        kind,
        repeat,
        lines,
    )
    shown = (
        answer | {"parameters": orjson.loads(answer["parameters"]) if answer["parameters"] else None}
        for answer in lines
    )
    return ExplainedText(kind=kind, repeat=repeat, answers=tuple(shown), now=now)


def _origin(project: Project, declared: _Declared, row: Row, line: Mapping[str, Any]) -> tuple[str, Prompt | None]:
    """Where a prompt that is not asked any more may come from; and the prompt, where it can be rendered."""
    assert declared.bound is not None
    found = maker_of(project.files, declared.bound, {**(row.sample or {}), **line})
    if found is not None:
        name, prompt = found
        others = name == declared.orders[line["kind"]].prompts.profile.name
        return f"the prompts `{name}` still give it" + (", for other kinds in one request" if others else ""), prompt
    lost = "only the hash of the old prompt is kept, so the difference cannot be shown; "
    built = project.workspace.samples(row.dataset) / MANIFEST
    if built.is_file() and datetime.fromtimestamp(built.stat().st_mtime, UTC) < line["created_at"]:
        return f"{lost}the samples are older than the answer: the prompts have changed, the question has not", None
    return f"{lost}the samples were built after the answer: the question may have changed, or the prompts", None


def _declared(project: Project, row: Row, given: str | None, tell: Callable[[str], None]) -> _Declared:
    """What is declared now. A mistake in it is a note, unless it is in what was given."""
    declared = _Declared()
    declared.chosen, declared.origin = _teacher(project, row, given, declared.notes)
    try:
        bound = declared.bound = project.recipe(row.dataset)
        declared.orders = _orders(project, bound, declared, row)
    except Mistake as error:
        if declared.bound and given:
            raise
        declared.nobody = "; ".join(problem.found for problem in error.problems)
        return declared
    if given:
        teachers = {order.teacher.name: order.teacher for order in declared.orders.values()}
        try:
            with listening(list(teachers.values()), tell) as urls:
                for name, teacher in teachers.items():
                    # In a thread of its own: in a notebook this one runs a loop already.
                    with ThreadPoolExecutor(1) as thread:
                        declared.infos[name] = thread.submit(asyncio.run, _info(teacher, urls[name])).result()
        except RemoteFailed as error:
            declared.notes.append(f"the teacher could not be asked for model and revision: {error.found}")
    return declared


async def _info(teacher: ChosenTeacher, urls: Sequence[str]) -> Info:
    timeout = Timeout(connect_s=teacher.profile.connect_s)
    async with Teacher(urls, timeout=timeout, model=teacher.profile.model) as client:
        return await client.info()


def _teacher(
    project: Project, row: Row, given: str | None, notes: list[str]
) -> tuple[ChosenTeacher | None, str | None]:
    """The teacher whose questions are compared, and how it was chosen."""
    if given:
        return project.teacher(given), "--teacher"
    last = read_record(project.workspace.run_record(row.dataset)).get("teacher")
    for name, origin in ((last, "the last run"), (os.environ.get(TEACHER), f"${TEACHER}")):
        if name:
            try:
                return project.teacher(name), origin
            except Mistake as error:
                notes.append(f"the teacher of {origin}: {error.found}")
    return None, None


def _orders(project: Project, bound: BoundRecipe, declared: _Declared, row: Row) -> dict[str, Order]:
    """What would be asked of whom, by kind; in the strategy of the row's own answers."""
    chosen = declared.chosen
    has = chosen.kinds if chosen and chosen.profile.kinds is not None else KINDS
    kinds = [kind for kind in bound.recipe.kinds if kind in has]
    drawn = [answer for answer in row.answers if answer["kind"] == DRAWN and answer["strategy"] != "human"]
    strategy: str = bound.recipe.strategy
    if drawn:
        strategy = "star" if drawn[-1]["strategy"].startswith("star") else "explain"
    orders = make_orders(
        bound,
        chosen or NOBODY,
        lambda teacher: project.prompts(bound, teacher if chosen else None),
        kinds=kinds,
        strategy=strategy,
    )
    if strategy != bound.recipe.strategy:
        declared.notes.append(f"compared as they were asked, --strategy {strategy}; else it is {bound.recipe.strategy}")
    repeats = 1 + max((answer["repeat"] for answer in drawn), default=0)
    return {kind: replace(order, repeats=repeats) for order in orders for kind in order.kinds}


def _source(project: Project, row: Row, bound: BoundRecipe | None) -> dict[str, Any]:
    manifest = read_manifest(project.workspace.samples(row.dataset))
    counts = next((part for part in manifest.splits if part.split == row.split), None) if manifest else None
    source = bound.recipe.source if bound else None
    return {
        "recipe": bound.located.shown if bound else None,
        "hub": source.hub if source else None,
        "config": source.config if source else None,
        "revision": source.revision if source else None,
        "files": source.files if source else None,
        "place": manifest.place if manifest else None,
        "fingerprint": manifest.fingerprint if manifest else None,
        "rows": counts.rows if counts else None,
        "samples": counts.samples if counts else None,
        "recipe_changed": manifest.mapping != mapping_fingerprint(bound) if manifest and bound else None,
        "id": row.sample_id.removeprefix(f"{row.dataset}/{row.split}/"),
        "id_from": bound.recipe.sample.id if bound else None,
    }
