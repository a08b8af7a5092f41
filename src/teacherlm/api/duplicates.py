"""Near-duplicates across datasets: questions and rationales that say nearly what those of another dataset say."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.check_session import spilling_session
from teacherlm.api.workspace import Workspace
from teacherlm.core.errors import Mistake
from teacherlm.core.files import disk_errors, replacing
from teacherlm.quality.duplicates import find_across

if TYPE_CHECKING:
    import pyarrow as pa

LIKE = 0.8
"""The least similarity that is told: that of the rule `near_duplicate`."""

LOWEST = 0.6
"""Below it the search overlooks many."""

_PAIRS = """
    SELECT d.* EXCLUDE (like_kind), l.dataset AS like_dataset, l.split AS like_split
    FROM duplicates d JOIN samples l ON l.sample_id = d.like_sample_id
    ORDER BY ALL
"""

_TEXTS = """
    SELECT dataset, NULL AS kind, count(*) AS texts FROM samples GROUP BY dataset
    UNION ALL
    SELECT dataset, kind, count(*) FROM rationales WHERE status = 'ok' GROUP BY dataset, kind
"""

_COUNTS = f"""
    SELECT p.dataset, p.like_dataset AS "like", coalesce(p.kind, 'question') AS what, count(*) AS texts,
        any_value(t.texts) AS "of", count(*) / any_value(t.texts) AS share,
        count(*) FILTER (similarity = 1) AS same,
        list([p.sample_id, p.like_sample_id] ORDER BY similarity DESC, p.sample_id)[:3] AS examples
    FROM pairs p JOIN ({_TEXTS}) t ON t.dataset = p.dataset AND t.kind IS NOT DISTINCT FROM p.kind
    GROUP BY p.dataset, p.like_dataset, p.kind
    ORDER BY texts DESC, p.dataset, "like", what
"""


@dataclass(frozen=True)
class Across:
    """What datasets share."""

    counts: list[dict[str, Any]]
    """A row for each dataset, earlier dataset and kind of text (`question` or a kind of rationale) that are alike: how
    many texts, of how many, how many are the same after normalisation, and three pairs of sample ids."""
    pairs: pa.Table
    """A row for each text: as `schemas/duplicate.yaml`, with the dataset and the split of what it resembles."""


def duplicates_across(
    workspace: Workspace, datasets: Sequence[str], least: float = LIKE, *, output: Path | None = None
) -> Across:
    """Compare questions and rationales of datasets with those of the ones named before them.

    Questions are all that were built; so it can be known before a teacher is asked. How it is found, and how much of
    it: `quality.duplicates.find_across`.

    Args:
        least: Jaccard similarity of sets of three-word sequences that is told, from 0.6 to 1.
        output: a Parquet file for the pairs.

    Raises:
        Mistake: fewer than two datasets, one that was not built, or `least` out of range.
        MachineFailed: a damaged file; memory or disk did not suffice.
    """
    import pyarrow.parquet

    if not LOWEST <= least <= 1:
        raise Mistake(f"is {least:g}", f"give a number from {LOWEST} to 1", "--min-similarity")
    if len(datasets) < 2:
        found = "one dataset has no other to be compared with"
        raise Mistake(found, "name two or more; within one, `teacherlm check` finds near-duplicates", "NAME")
    for name in datasets:
        if not workspace.sample_files(name):
            raise Mistake(f"`{name}` has no samples in {workspace.root}", f"build it first: teacherlm build {name}")
    with (
        disk_errors(workspace.root),
        tempfile.TemporaryDirectory(prefix=".duplicates-", dir=workspace.root) as folder,
        spilling_session(workspace, datasets, Path(folder) / "spilled") as connection,
    ):
        find_across(connection, datasets, least)
        connection.execute(f"CREATE TEMP TABLE pairs AS {_PAIRS}")
        counts = connection.sql(_COUNTS).to_arrow_table().to_pylist()
        across = Across(counts, connection.sql("FROM pairs").to_arrow_table())
    if output is not None:
        with replacing(output) as temporary, disk_errors(output):
            pyarrow.parquet.write_table(across.pairs, temporary, compression="zstd")
    return across
