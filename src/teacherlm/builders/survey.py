"""What a source holds: its columns with their types and label names, some rows of each split, and SQL over them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from teacherlm.builders.mapping import connect
from teacherlm.builders.recipe import Recipe, SampleExpressions, Source
from teacherlm.builders.sources import ARROW, OpenSource, SourceSplit, open_source
from teacherlm.core.errors import Mistake, RemoteFailed

if TYPE_CHECKING:
    import duckdb

ROWS = 4000
"""Rows of each split that are looked at: drawn by a fixed seed, as many sources are sorted by label."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

_SCALARS = {
    *("varchar", "boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint"),
    *("float", "double", "json"),
}
"""Types whose values can stand in a YAML file; columns of others (images, dates) are left alone."""


@dataclass(frozen=True)
class Column:
    """One column of a source, with the values of the rows that were looked at."""

    name: str
    type: str
    """DuckDB's."""
    values: Sequence[Any]
    labels: tuple[str, ...] = ()
    """Names of a ClassLabel's integers."""

    @property
    def key(self) -> str:
        """The name without what differs between habits of writing: `answerKey`, `answer_key`: `answerkey`."""
        return re.sub(r"[^a-z0-9]", "", self.name.lower())

    @property
    def sql(self) -> str:
        return quoted_name(self.name)

    @property
    def is_text(self) -> bool:
        return self.type in ("VARCHAR", "JSON")

    @property
    def is_integer(self) -> bool:
        return self.type.endswith(("INT", "INTEGER")) or (
            self.type in ("DOUBLE", "FLOAT") and all(float(value).is_integer() for value in self.present)
        )

    @property
    def is_text_list(self) -> bool:
        return self.type == "VARCHAR[]"

    @cached_property
    def present(self) -> list[Any]:
        """Values that are there: not NULL, not blank."""
        return [value for value in self.values if value is not None and not (isinstance(value, str) and is_no(value))]

    @property
    def words(self) -> float:
        """Words of a text, on average."""
        return sum(len(text.split()) for text in self.texts) / len(self.texts) if self.texts else 0.0

    @cached_property
    def texts(self) -> list[str]:
        return [" ".join(str(value).split()) for value in self.present]

    def share(self, pattern: str) -> float:
        """Of the texts those that match."""
        matcher = re.compile(pattern, re.DOTALL)
        return sum(bool(matcher.search(text)) for text in self.texts) / len(self.texts) if self.texts else 0.0


def is_no(text: str) -> bool:
    return not text.strip()


@dataclass(frozen=True)
class HubPlace:
    """A Hub dataset and its configuration."""

    id: str
    config: str | None


@dataclass(frozen=True)
class Survey:
    """A source under examination."""

    opened: OpenSource
    hub: HubPlace | None
    """Where it is on the Hub; None for local files."""
    columns: tuple[Column, ...]
    passed_over: tuple[str, ...]
    """Columns of types that no file of ours can hold, or that not all splits have."""
    license: str | None
    """What the Hub says."""
    connection: duckdb.DuckDBPyConnection
    """Holds the rows looked at as `seen`, and the splits as `part_0` …."""

    def files(self, part: SourceSplit) -> list[Path]:
        """The files of a split; those of a `save_to_disk` folder are Arrow files."""
        if part.files:
            return list(part.files)
        return [Path(file["filename"]).resolve() for file in part.dataset.cache_files]

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Name of each split, and of the relation that holds its rows."""
        return [(part.split, f"part_{number}") for number, part in enumerate(self.opened.splits)]

    def one(self, query: str) -> Any:
        """The first value of a query's result; None where the query fails."""
        import duckdb

        try:
            return self.connection.execute(query).fetchall()[0][0]
        except duckdb.Error:
            return None

    def distinct(self, expression: str, most: int = 40) -> list[str] | None:
        """All texts that an expression has in the whole source, sorted; None where there are too many."""
        parts = " UNION ".join(f"SELECT clean_text({expression}) AS x FROM {name}" for _, name in self.parts)
        found = self.connection.execute(
            f"SELECT DISTINCT x FROM ({parts}) WHERE coalesce(x, '') <> '' ORDER BY x LIMIT {most}"
        )
        texts = [str(row[0]) for row in found.fetchall()]
        return texts if len(texts) < most else None

    def is_unique(self, expression: str) -> bool:
        """Whether an expression tells the rows of every split apart."""
        told = f"count(*) = count(DISTINCT nullif(trim(as_text({expression})), ''))"
        return all(self.one(f"SELECT {told} FROM {name}") is True for _, name in self.parts)


def quoted_name(name: str) -> str:
    """A column's name as it stands in an expression."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.lower() not in _keywords()
    return name if plain else '"' + name.replace('"', '""') + '"'


@cache
def _keywords() -> frozenset[str]:
    query = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
    return frozenset(str(row[0]) for row in connect(threads=1).execute(query).fetchall())


def survey(
    name: str, source: str, *, split: str | None = None, config: str | None = None, folder: Path | None = None
) -> Survey:
    """Look at a file, a folder of splits or a Hub dataset.

    Args:
        name: of the recipe to be, for messages.
        source: a path, or the id of a Hub dataset.
        split: of a file, what it is; of a folder or a Hub dataset, the only one to take.
        config: the Hub dataset's configuration.
        folder: what a relative path starts from.

    Raises:
        Mistake: there is no such file, it cannot be read, it has no rows.
        RemoteFailed: the Hub cannot be reached.
    """
    path, hub = (folder or Path()) / source, None
    if path.exists():
        opened = open_source(_probe(name, Source(files=str(path))), Path(), source=path, split=split)
    elif HUB_ID.fullmatch(source) and Path(source).suffix.lower() not in _DATA_FILES and not source.startswith("."):
        splits = {found: found for found in ([split] if split else _hub_splits(source, config))}
        hub = HubPlace(source, config)
        opened = open_source(_probe(name, Source(hub=source, config=config, splits=splits)), Path())
    else:
        raise Mistake(
            "there is no such file or folder", "give a file, a folder of splits, or a Hub id ORG/NAME", source
        )
    return _looked_at(opened, source, hub)


_DATA_FILES = (".parquet", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ARROW)


def _probe(name: str, source: Source) -> Recipe:
    """A recipe that is only there to open its source."""
    sample = SampleExpressions(question="NULL", answer="NULL")
    return Recipe(
        name=name, title=name, source=source, sample=sample, license="unknown", redistribution="unclear", task="any"
    )


def _hub_splits(hub: str, config: str | None) -> list[str]:
    import datasets

    try:
        return [str(split) for split in datasets.get_dataset_split_names(hub, config)]
    except Exception as error:  # datasets raises its own, the Hub's, fsspec's and the network's errors
        said = " ".join(str(error).split())
        if isinstance(error, ValueError) and "config" in said.lower():
            configs = ", ".join(re.findall(r"'([\w.-]+)'", said)) or said[:200]
            raise Mistake(f"{hub} has configurations: {configs}", "choose one: --config NAME", "--source") from error
        raise RemoteFailed(
            f"cannot read {hub} ({type(error).__name__}: {said[:200]})",
            "check the network and the id, log in for a gated dataset (`hf auth login`), "
            "or give a file of its rows: --source FILE",
        ) from error


def _looked_at(opened: OpenSource, source: str, hub: HubPlace | None) -> Survey:
    import pyarrow as pa

    connection = connect(threads=1)  # with one thread what is drawn is the same everywhere
    found: list[dict[str, str]] = []
    labels: dict[str, tuple[str, ...]] = {}
    passed_over: dict[str, None] = {}
    for number, part in enumerate(opened.splits):
        part.register(connection, f"part_{number}")
        relation = connection.sql(f"SELECT * FROM part_{number} LIMIT 0")
        kinds = dict(zip(relation.columns, relation.types, strict=True))
        found.append({name: str(kind) for name, kind in kinds.items() if _can_stand_in_a_file(kind)})
        passed_over |= dict.fromkeys(name for name in kinds if name not in found[-1])
        labels |= _labels(part)
    shared = [name for name in found[0] if all(name in kinds for kinds in found)]
    passed_over |= dict.fromkeys(name for kinds in found for name in kinds if name not in shared)
    if not shared:
        raise Mistake("has no column that can be used", "give a table with a question and an answer", source)
    listed = ", ".join(quoted_name(name) for name in shared)
    seen = pa.concat_tables(
        [
            connection.sql(
                f"SELECT {listed} FROM part_{number} USING SAMPLE reservoir({ROWS} ROWS) REPEATABLE (1)"
            ).to_arrow_table()
            for number in range(len(found))
        ],
        promote_options="permissive",
    )
    if not seen.num_rows:
        raise Mistake("holds no rows", "give a file with rows", source)
    connection.register("seen", seen)
    columns = tuple(
        Column(name, found[0][name], seen[name].to_pylist(), labels.get(name, ()))  # one split's type for all
        for name in shared
    )
    license = next((_license(part) for part in opened.splits if part.dataset is not None), None)
    return Survey(opened, hub, columns, tuple(passed_over), license, connection)


def _can_stand_in_a_file(kind: Any) -> bool:
    if kind.id in ("list", "struct", "array"):
        return all(_can_stand_in_a_file(child) for name, child in kind.children if name != "size")
    return str(kind.id) in _SCALARS or str(kind) == "JSON"


def _license(part: SourceSplit) -> str | None:
    return getattr(part.dataset.info, "license", None) or None


def _labels(part: SourceSplit) -> dict[str, tuple[str, ...]]:
    """Names of class labels: a dataset's features, which the Hub's parquet and arrow files carry with them too."""
    if part.dataset is not None:
        return {
            name: tuple(feature.names) for name, feature in part.dataset.features.items() if hasattr(feature, "names")
        }
    if part.files[0].suffix.lower() not in (".parquet", ARROW):
        return {}
    try:
        features = orjson.loads(_metadata(part.files[0])[b"huggingface"])["info"]["features"]
        return {name: tuple(entry["names"]) for name, entry in features.items() if entry.get("_type") == "ClassLabel"}
    except (KeyError, AttributeError, TypeError, ValueError, OSError):
        return {}


def _metadata(path: Path) -> Mapping[bytes, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() == ARROW:
        with pa.memory_map(str(path)) as file:
            return dict(pa.ipc.open_stream(file).schema.metadata or {})
    return dict(pq.read_schema(path).metadata or {})
