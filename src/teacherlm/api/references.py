"""Evaluation sets that a workspace has read: what its samples and rationales must not share text with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from pathlib import Path

from pydantic.dataclasses import dataclass

from teacherlm.api.workspace import Workspace
from teacherlm.builders.mapping import BoundRecipe, check_expressions, connect, failing_expression, mapped_query
from teacherlm.builders.read import NAME, read_recipe
from teacherlm.builders.recipe import Recipe, SampleExpressions, Source
from teacherlm.builders.rows import sql_path
from teacherlm.builders.sources import OpenSource, open_source
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import MachineFailed, Mistake, Mistakes, RemoteFailed, TeacherlmError
from teacherlm.core.files import replacing
from teacherlm.core.keys import file_digest
from teacherlm.project.bind import SPEC_CONFIG
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import Located
from teacherlm.quality.contamination import Reference

FOLDER = "references"
OPTION = "--against"

COLUMNS = ("item", "question", "choices", "answer")
"""What the file of a set holds."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class EvaluationSet:
    """An evaluation set, as written in `catalog.yaml` under `evaluation_sets`."""

    recipe: str | None = None
    """Makes items of the set's rows; left out: the recipe of the same name."""
    splits: tuple[str, ...] = ("test",)
    """Our names of the splits that people evaluate on."""


@plain_dataclass(frozen=True)
class ReferenceReader:
    """Reads evaluation sets into a workspace, as the catalogue declares them."""

    files: ProjectFiles
    declared: dict[str, EvaluationSet]
    workspace: Workspace

    def missing(self, *, needed: bool = False) -> dict[str, str]:
        """Sets that cannot be looked at, and why: declared and not read, or read into a file that is damaged now.

        Args:
            needed: try to read those that are declared now, from the source of their recipe.
        """
        there, why = _found(self.workspace)
        known = {reference.task for reference in there}
        for task in self.declared:
            if task not in known:
                why.setdefault(task, f"not read yet ({OPTION} {task}=PATH)")
        for task in [task for task in why if task in self.declared] if needed else ():
            try:
                self.read(task)
            except TeacherlmError as error:
                why[task] = "; ".join(problem.found for problem in error.problems)
            else:
                del why[task]
        return why

    def read(self, task: str, path: Path | None = None) -> Reference:
        """Read a set, and keep it in the workspace in place of what was read before.

        Args:
            task: a set of the catalogue, a recipe, or, with `path`, any name.
            path: its rows: a file, or a folder of splits, in the form that the recipe reads, or with the columns
                `question`, `choices` and `answer` of samples; None: they come from the recipe's source.

        Raises:
            Mistake: there is no such set or file; its rows are of neither form.
            RemoteFailed: the Hub cannot be reached, and its cache does not hold the set.
            MachineFailed: the disk is full or refuses.
        """
        if not re.fullmatch(NAME, task):
            raise Mistake(f'"{task}" is no name of an evaluation set', "write  TASK=PATH", OPTION)
        if path is not None and not path.exists():
            raise Mistake("there is no such file or folder", f"mend the path:  {OPTION} {task}=PATH", str(path))
        bound = self._recipe(task)
        if bound is None and path is None:
            edit = f"name a file of it:  {OPTION} {task}=PATH"
            if task in self.declared:
                where = self.files.catalog().where(("evaluation_sets", task))
                raise Mistake(f"`{task}` has no recipe that says where its rows are", edit, where)
            known = ", ".join(self.declared) or "none"
            raise Mistake(f"there is no evaluation set `{task}`", f"declared are {known}; or {edit}", OPTION)
        try:
            return self._read(task, path, bound)
        except (Mistake, RemoteFailed) as error:
            raise self._told(task, error) from error

    def _told(self, task: str, error: Mistake | RemoteFailed) -> Mistake | RemoteFailed:
        """An error of a source, which speaks of `build`, in the words of `--against`: the first of its problems, for
        the check goes on without the set."""
        first, *others = error.problems
        more = f"; and {len(others)} more" if others else ""
        edit = re.sub(r"(?:build \S+ )?--source\b(?: PATH)?", f"{OPTION} {task}=PATH", first.edit)
        edit = edit.replace(
            "declare the splits in the recipe",
            f"name the recipe's splits in catalog.yaml: evaluation_sets.{task}.splits",
        )
        kind = RemoteFailed if isinstance(error, RemoteFailed) else Mistake
        return kind(f"{task}: {first.found}{more}", edit, first.where or OPTION)

    def _read(self, task: str, path: Path | None, bound: BoundRecipe | None) -> Reference:
        if bound is None:
            opened = open_source(_plain(task).recipe, self.files.root, source=path)
        else:
            opened = open_source(bound.recipe, bound.located.path.parent, source=path)
            if path is not None and not _has_columns(bound.recipe, opened):
                bound = None
            elif path is not None and path.is_file() and bound.recipe.source.splits:
                split = next(iter(bound.recipe.source.splits))  # a single file is the set, whatever its name
                opened = replace(opened, splits=(replace(opened.splits[0], split=split),))
        target = self.workspace.root / FOLDER / f"{task}.parquet"
        with replacing(target) as temporary:
            _write(bound or _with_columns(task, opened), opened, temporary)
        return _reference(target)

    def _recipe(self, task: str) -> BoundRecipe | None:
        """The recipe of a set, with the splits that are evaluated on alone; None: there is none."""
        declared = self.declared.get(task)
        name = (declared and declared.recipe) or task
        files = self.files if name in self.files.recipes() else ProjectFiles(bundled())
        if name not in files.recipes():
            if declared is None or declared.recipe is None:
                return None
            where = self.files.catalog().where(("evaluation_sets", task, "recipe"))
            raise Mistake(f"there is no recipe `{name}`", "name one:  recipe: NAME", where)
        bound = read_recipe(files, name)
        splits = bound.recipe.source.splits
        if not splits:
            return bound
        wanted = declared.splits if declared else ("test",) if "test" in splits else ("validation",)
        if unknown := [split for split in wanted if split not in splits]:
            where = self.files.catalog().where(("evaluation_sets", task, "splits")) if declared else OPTION
            found = f"{name} has no split `{unknown[0]}`"
            raise Mistake(found, f"its splits are {', '.join(splits)}", where)
        source = replace(bound.recipe.source, splits={split: splits[split] for split in wanted}, rows=None)
        return BoundRecipe(replace(bound.recipe, source=source), bound.located)


def read_references(workspace: Workspace) -> tuple[Reference, ...]:
    """The sets that the workspace holds, by task; not those whose file is damaged (`ReferenceReader.missing`)."""
    return tuple(_found(workspace)[0])


def _found(workspace: Workspace) -> tuple[list[Reference], dict[str, str]]:
    """The sets that can be read, and why the others cannot, by task."""
    found, damaged = [], {}
    for path in sorted((workspace.root / FOLDER).glob("[!.]*.parquet")):
        try:
            found.append(_reference(path))
        except MachineFailed as error:
            damaged[path.stem] = f"{path} {error.found}; read the set again ({OPTION} {path.stem}=PATH), or remove it"
    return found, damaged


def _reference(path: Path) -> Reference:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            items = file.metadata.num_rows
            if lacking := [name for name in COLUMNS if name not in file.schema_arrow.names]:
                raise ValueError(f"it has no column `{lacking[0]}`")
            for _ in file.iter_batches(columns=list(COLUMNS)):
                pass  # pages may be damaged where the end of the file is whole
    except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
        remedy = f"read the set again ({OPTION} {path.stem}=PATH), or remove the file"
        raise MachineFailed(f"cannot be read: {str(error)[:200]}", remedy, str(path)) from None
    return Reference(task=path.stem, path=path, items=items, fingerprint=file_digest(path))


def _plain(task: str, columns: Sequence[str] = ("question", "choices", "answer")) -> BoundRecipe:
    """A recipe for rows that have the columns of samples."""
    recipe = Recipe(
        name=task,
        title=task,
        source=Source(files="*"),
        sample=SampleExpressions(
            question="question",
            answer="answer" if "answer" in columns else "''",
            choices="choices" if "choices" in columns else None,
            id=next((name for name in ("sample_id", "item", "id") if name in columns), None),
        ),
        license="unknown",
        redistribution="unclear",
        task=task,
    )
    return BoundRecipe(recipe, Located(Path(task), task, {}))


def _with_columns(task: str, opened: OpenSource) -> BoundRecipe:
    """As `_plain`, for the columns that rows have."""
    columns = _columns(opened)
    if "question" not in columns:
        found = f"its columns are {', '.join(sorted(columns))}; `question` is missing"
        raise Mistake(found, "name it `question`, and options `choices`", opened.place)
    return _plain(task, columns)


def _columns(opened: OpenSource) -> list[str]:
    with connect() as connection:
        opened.splits[0].register(connection)
        return [row[0] for row in connection.execute("DESCRIBE source").fetchall()]


def _has_columns(recipe: Recipe, opened: OpenSource) -> bool:
    """Whether rows have the form that a recipe reads; where it declares no columns nobody can tell, and they have."""
    return set(recipe.source.columns or ()) <= set(_columns(opened))


def _write(bound: BoundRecipe, opened: OpenSource, target: Path) -> None:
    """Write the items of a set: also rows that would be no samples, for what is trained on may hold them."""
    import duckdb

    with connect(threads=1) as connection:
        parts = []
        for number, part in enumerate(opened.splits):
            part.register(connection)
            if problems := check_expressions(bound, connection):
                raise Mistakes(problems)
            query = f"""
                CREATE TEMP TABLE items_{number} AS
                SELECT sample_id AS item, question, coalesce(choices, []) AS choices, answer
                FROM ({mapped_query(bound.recipe, part.split)}) WHERE coalesce(question, '') <> '' ORDER BY row"""
            try:
                connection.execute(query)
            except duckdb.Error as error:
                raise Mistakes([failing_expression(bound, connection, "source", error)]) from error
            parts.append(f"FROM items_{number}")
        ((items,),) = connection.execute(f"SELECT count(*) FROM ({' UNION ALL '.join(parts)})").fetchall()
        if not items:
            raise Mistake("holds no questions", "give another file", opened.place)
        connection.execute(
            f"COPY ({' UNION ALL '.join(parts)}) TO '{sql_path(target)}' (FORMAT parquet, COMPRESSION zstd)"
        )
