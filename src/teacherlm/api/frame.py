"""`teacherlm.augment(dataset, teacher=…)`: rationales for any `datasets.Dataset` that has the sample columns."""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.project import Project
from teacherlm.api.workspace import Workspace
from teacherlm.core.errors import Mistake
from teacherlm.core.files import write_text
from teacherlm.project.find import ProjectFiles, find_project
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    import datasets

NEEDED = ("question", "answer")
OPTIONAL = ("choices", "subject", "human_rationale")

IN_ORDER = """
    WITH places AS (SELECT sample_id, row_number() OVER () AS place FROM samples WHERE dataset = '{name}')
    SELECT augmented.* FROM augmented JOIN places USING (sample_id) ORDER BY place"""
"""A join keeps no order: the rows are sorted as the samples stand."""


def augment(
    dataset: datasets.Dataset,
    *,
    teacher: str,
    name: str = "dataset",
    kinds: Sequence[str] | None = None,
    max_new_tokens: int = 512,
    concurrency: int | None = None,
    workspace: str | Path | None = None,
) -> datasets.Dataset:
    """Explain the rows of a dataset.

    Args:
        dataset: has the columns `question` and `answer`, and may have `choices` (null or empty where the question is
            free text), `subject`, `human_rationale` and `sample_id` (or `id`), which serves as the id.
        teacher: URL of a text-generation-inference server, a profile of the catalogue, or `nano`.
        name: what the dataset is called in the workspace.
        kinds: kinds to ask for; None: all.
        max_new_tokens: per rationale, in teacher tokens.
        concurrency: requests in flight; None: learnt.
        workspace: where the ledger is kept, so that the same call goes on after an interruption; None: nowhere, and
            everything is asked again.

    Returns:
        The rows that are samples, in order (a warning says how many are not, and why), with the columns of the
        augmented record: `fundamentals`, `chain_of_thought` and `common_mistakes` are null where no text was accepted.

    Raises:
        Mistake: a column is missing; a name, a kind or a teacher that is none.
        KeyboardInterrupt: the run was interrupted; with a `workspace` what was answered is kept.
        TeacherLost: the teacher is not there or went away for good.
    """
    import datasets

    columns = dataset.column_names
    if missing := [column for column in NEEDED if column not in columns]:
        raise Mistake(
            f"the dataset has no column `{missing[0]}`; it has {', '.join(columns)}",
            f"rename one: dataset.rename_column(…, {missing[0]!r})",
            "teacherlm.augment",
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise Mistake(
            f'the name "{name}" is no name of a folder', "use letters, digits, `-`, `_` and `.`", "teacherlm.augment"
        )
    with tempfile.TemporaryDirectory(prefix="teacherlm-") as scratch:
        root = Path(workspace) if workspace is not None else Path(scratch) / "workspace"
        declared = Path(scratch) / "project"
        _declare(declared, columns, name, max_new_tokens, kinds)
        project = Project(ProjectFiles(declared), Workspace(root))
        project.teacher(teacher)
        source = Path(scratch) / "rows.parquet"
        _words(dataset).to_parquet(str(source))
        built = project.build(name, source=source)
        if built.rejected:
            reasons = [f"{count} {reason}" for part in built.splits for reason, count in part.rejected.items()]
            warnings.warn(f"{built.rejected} rows are no samples and left out: {', '.join(reasons)}", stacklevel=2)
        if project.augment(name, teacher=teacher, concurrency=concurrency).stopped_by:
            # A part must not pass for the whole. With a workspace the same call goes on where this one was.
            raise KeyboardInterrupt
        project.check(name)
        table = project.sql(IN_ORDER.format(name=name)).to_arrow_table()
        rows: datasets.Dataset = datasets.Dataset(table.cast(record("augmented").arrow()))
        return rows


def _words(dataset: datasets.Dataset) -> datasets.Dataset:
    """The dataset with the names of its labels in place of their numbers."""
    import datasets

    labels = [name for name, feature in dataset.features.items() if isinstance(feature, datasets.ClassLabel)]
    for name in labels:
        names = dataset.features[name].names
        words = [None if value is None or value < 0 else names[value] for value in dataset[name]]
        dataset = dataset.remove_columns(name).add_column(name, words)
    return dataset


def _declare(folder: Path, columns: Sequence[str], name: str, max_new_tokens: int, kinds: Sequence[str] | None) -> None:
    """A project of one recipe, which takes the columns as they are; all else is that of this directory's project."""
    import yaml

    identity = next((column for column in ("sample_id", "id") if column in columns), None)
    sample = {column: column for column in (*NEEDED, *OPTIONAL) if column in columns}
    if identity:
        sample["id"] = identity
    if "choices" in sample:
        sample["choices"] = "coalesce(CAST(choices AS VARCHAR[]), [])"  # null where a question is free text
    recipe: dict[str, Any] = {
        "title": name,
        "source": {"files": "rows.parquet"},
        "license": "unknown",
        "redistribution": "unclear",
        "task": "mixed_qa",
        "sample": sample,
        "max_new_tokens": max_new_tokens,
    }
    if kinds is not None:
        recipe["kinds"] = list(kinds)
    write_text(folder / "builders" / f"{name}.yaml", yaml.safe_dump(recipe))
    here = find_project()
    write_text(folder / "catalog.yaml", here.catalog().path.read_text(encoding="utf-8"))
    for part in ("builders/prompts", "quality"):
        if (here.root / part).is_dir() and not here.is_bundled:
            shutil.copytree(here.root / part, folder / part)
