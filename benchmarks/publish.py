"""What publishing costs: 65 datasets to a folder, beside `datasets` writing the same tables, and bare pyarrow.

    make bench            # or: python benchmarks/publish.py --rows 2000000 --rounds 1

The rows are made here, the same ones every time: texts as `rationales.py` draws them, questions of 40 words or so and
up to three rationales of 40 to 120. Each measurement is a process of its own, so that its peak memory is its own; CPU
is that process's, its threads included, without start-up and imports. Of several rounds the medians count.

Then the largest dataset and one of middle size are published again, each with 1 % of its rows changed, and what would
be sent is counted: whole files, as git-LFS sends them, and the chunks that hf_xet itself finds to be new when it stores
both versions in a folder; the same for files written as `datasets` writes them, and without content-defined chunking.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quality import clock
from rationales import Words
from teacherlm.core.keys import file_digest
from teacherlm.hub import manifest
from teacherlm.hub.publication import Publication
from teacherlm.schemas.records import KINDS, record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]
    Change = Callable[[pa.Table], pa.Table]

HERE = Path(__file__).resolve().parent

DATASETS = 65
CHUNK = 20_000
"""Rows made at once: a row group of a part, as `check` writes it."""
SHARE = 0.01
"""Of the rows of a dataset, changed before it is published again."""

EXPLAINED = 0.95
"""Share of the rows that have a rationale, for each kind."""

SUBJECTS = ("physics", "biology", "history", "law", "economics")

LABELS = {
    "bare": "pyarrow, same options",
    "ours": "publish",
    "shards": "datasets, as push_to_hub",
    "load": "datasets, reading before",
}
"""What is measured, in order of the table."""


def sizes(rows: int, datasets: int = DATASETS) -> dict[str, dict[str, int]]:
    """Rows by dataset and split: the largest dataset has twenty times as many as the smallest."""
    weights = 1 / (np.arange(datasets) + datasets / 19)
    bounds = np.concatenate(([0], np.cumsum(weights / weights.sum() * rows).round().astype(int)))
    bounds[-1] = rows
    whole = np.diff(bounds).tolist()
    held = [size // 20 for size in whole]
    return {
        f"bench_{number:02}": {"train": size - out, "validation": out}
        for number, (size, out) in enumerate(zip(whole, held, strict=True))
    }


def make_parts(root: Path, rows: int, datasets: int = DATASETS) -> None:
    """The augmented tables of all datasets, one part for each split, as `check` writes them."""
    words = Words()
    for number, (dataset, splits) in enumerate(sizes(rows, datasets).items()):
        for place, (split, count) in enumerate(splits.items()):
            chunks = (
                augmented(words, np.random.default_rng([number, place, first]), dataset, split, first, count)
                for first in range(0, max(count, 1), CHUNK)
            )
            write_part(root / "parts" / dataset / f"{split}.parquet", chunks)


def write_part(path: Path, chunks: Iterator[pa.Table]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, record("augmented").arrow(), compression="zstd", compression_level=3) as writer:
        for table in chunks:
            writer.write_table(table, row_group_size=CHUNK)
    return path


def augmented(words: Words, draw: np.random.Generator, dataset: str, split: str, first: int, rows: int) -> pa.Table:
    """Rows of the augmented record, up to CHUNK of them: three in four with four options."""
    count = min(CHUNK, rows - first)
    numbers = np.arange(first, first + count)
    name = pc.binary_join_element_wise(f"{dataset}/{split}/q", pc.cast(numbers, pa.string()), "")
    many = np.where(numbers % 4 == 0, 0, 4)
    bounds = np.concatenate(([0], np.cumsum(many)))
    options = words.passages(draw, draw.integers(1, 5, int(bounds[-1])), stop=".")
    gold = draw.integers(0, 4, count)
    is_free = pa.array(many == 0)
    spare = pa.concat_arrays([options, pa.array([""])])  # for rows without options
    chosen = spare.take(pa.array(np.minimum(bounds[:-1] + gold, bounds[-1])))
    human = words.passages(draw, draw.integers(15, 40, count))
    texts = [rationales(words, draw, count) for _ in KINDS]
    columns = {
        "sample_id": name,
        "dataset": pa.repeat(dataset, count),
        "split": pa.repeat(split, count),
        "task": pa.repeat("multiple_choice", count),
        "subject": pa.array(SUBJECTS).take(pa.array(draw.integers(0, len(SUBJECTS), count))),
        "question": words.passages(draw, draw.integers(25, 56, count), stop="?"),
        "choices": pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), options),
        "answer": pc.if_else(is_free, pc.cast(draw.integers(2, 2000, count), pa.string()), chosen),
        "answer_index": pc.if_else(is_free, None, gold),
        "human_rationale": pc.if_else(pa.array(numbers % 3 == 0), human, None),
        **dict(zip(KINDS, texts, strict=True)),
        "quality": structs([quality(draw, text) for text in texts]),
        "provenance": structs([provenance(draw, text) for text in texts]),
    }
    schema = record("augmented").arrow()
    return pa.Table.from_arrays([columns[field.name].cast(field.type) for field in schema], schema=schema)


def rationales(words: Words, draw: np.random.Generator, count: int) -> pa.Array:
    texts = words.passages(draw, draw.integers(40, 121, count))
    return pc.if_else(pa.array(draw.random(count) < EXPLAINED), texts, None)


def quality(draw: np.random.Generator, texts: pa.Array) -> pa.Array:
    flagged = np.cumsum(np.concatenate(([0], draw.random(len(texts)) < 0.05)))
    flags = pa.ListArray.from_arrays(pa.array(flagged, pa.int32()), pa.repeat("long", int(flagged[-1])))
    scores = pa.array(draw.random(len(texts)).round(4))
    return pa.StructArray.from_arrays([scores, flags], ["score", "flags"], mask=texts.is_null())


def provenance(draw: np.random.Generator, texts: pa.Array) -> pa.Array:
    count = len(texts)
    made = {
        "call_key": hexes(draw, count),
        "teacher_model": pa.repeat("bench/teacher-7b", count),
        "teacher_revision": pa.repeat("0123456789abcdef", count),
        "strategy": pa.repeat("explain", count),
        "repeat": pa.array((draw.random(count) < 0.04).astype(np.int64)),
    }
    return pa.StructArray.from_arrays(list(made.values()), list(made), mask=texts.is_null())


def structs(kinds: list[pa.Array]) -> pa.Array:
    return pa.StructArray.from_arrays(kinds, list(KINDS))


def hexes(draw: np.random.Generator, count: int) -> pa.Array:
    """So many keys of 64 hex digits."""
    offsets = pa.array(np.arange(count + 1) * 64, pa.int32()).buffers()[1]
    return pa.StringArray.from_buffers(count, offsets, pa.py_buffer(draw.bytes(32 * count).hex().encode()))


def publication(root: Path, dataset: str) -> Publication:
    """A dataset of which the parts lie below `root`."""
    counts = [
        {"dataset": dataset, "kind": kind, "asked": 1000, "accepted": 950, "rejected": 50, "truncated": 0, "failed": 0}
        for kind in KINDS
    ]
    return Publication(
        dataset=dataset,
        title=f"Benchmark {dataset[-2:]}",
        task="multiple_choice",
        license="CC0-1.0",
        redistribution="allowed",
        citation="https://example.org/bench",
        source="local file",
        splits={split: [root / "parts" / dataset / f"{split}.parquet"] for split in ("train", "validation")},
        report={"passed": True, "counts": counts, "rules": []},
        teachers=[{"model": "bench/teacher-7b", "revision": "0123456789abcdef"}],
        files={f"recipes/{dataset}.yaml": f"title: {dataset}\n"},
    )


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "parts").iterdir())


def ours(root: Path, out: Path) -> None:
    """All datasets published into a new folder."""
    from teacherlm.hub.folder import publish_folder

    publish_folder([publication(root, dataset) for dataset in names(root)], out)


def bare(root: Path, out: Path) -> None:
    """The parts read and written with the options of a publication, row group by row group, and nothing else."""
    for part in sorted((root / "parts").glob("*/*.parquet")):
        rewrite(part, out / part.relative_to(root / "parts"), options_of("published", part))


def options_of(what: str, part: Path) -> dict[str, Any]:
    """Options of a Parquet writer: as a publication has them, as `datasets` has them, or none of ours."""
    import datasets

    from teacherlm.hub.shards import CHUNKING, ONCE

    if what == "plain":
        return {}
    if what == "datasets":
        return {"use_content_defined_chunking": datasets.config.DEFAULT_CDC_OPTIONS}
    columns = pq.read_metadata(part).schema
    leaves = [columns.column(number).path for number in range(len(columns))]
    kept = [leaf for leaf in leaves if leaf.rpartition(".")[2] not in ONCE]
    return {"use_content_defined_chunking": CHUNKING, "use_dictionary": kept}


def rewrite(source: Path, target: Path, options: dict[str, Any]) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        pq.ParquetFile(source) as file,
        pq.ParquetWriter(target, file.schema_arrow, compression="zstd", write_page_index=True, **options) as writer,
    ):
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
    return target


def shards(root: Path, out: Path) -> None:
    """What `push_to_hub` does with each split before it sends anything: shards as Parquet, and their hashes.

    The tables are in `datasets`' cache by then; see `load`.
    """
    import datasets
    from datasets.arrow_writer import get_writer_batch_size_from_data_size
    from datasets.utils.py_utils import convert_file_size_to_int
    from huggingface_hub import CommitOperationAdd

    datasets.disable_progress_bars()
    for dataset, split, table in tables(root):
        size = table._estimate_nbytes()
        count = int(size / convert_file_size_to_int(datasets.config.MAX_SHARD_SIZE)) + 1
        batch = get_writer_batch_size_from_data_size(len(table), size)
        folder = out / dataset
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            path = folder / f"{split}-{index:05d}-of-{count:05d}.parquet"
            with path.open("wb") as file:
                table.shard(num_shards=count, index=index, contiguous=True).to_parquet(file, batch_size=batch)
            CommitOperationAdd(f"{dataset}/{path.name}", str(path))  # hashes the file


def load(root: Path, out: Path) -> None:
    """Read the parts into `datasets`' cache, which `push_to_hub` starts from."""
    import datasets

    datasets.disable_progress_bars()
    for _ in tables(root):
        pass


def tables(root: Path) -> Iterator[tuple[str, str, Any]]:
    from datasets import Dataset, Features

    features = Features.from_arrow_schema(record("augmented").arrow())
    for part in sorted((root / "parts").glob("*/*.parquet")):
        table = Dataset.from_parquet(str(part), features=features, cache_dir=str(root / "cache"))
        yield part.parent.name, part.stem, table


PARTS: dict[str, Callable[[Path, Path], None]] = {"ours": ours, "bare": bare, "load": load, "shards": shards}


def here_and_there(table: pa.Table) -> pa.Table:
    """Another chain of thought in rows all over the dataset."""
    draw = np.random.default_rng(1)
    return anew(table, np.sort(draw.choice(table.num_rows, max(1, round(SHARE * table.num_rows)), replace=False)))


def side_by_side(table: pa.Table) -> pa.Table:
    """Another chain of thought in rows that follow each other."""
    count = max(1, round(SHARE * table.num_rows))
    return anew(table, np.arange(count) + table.num_rows // 2)


def new_rows(table: pa.Table) -> pa.Table:
    """New samples in one place."""
    count, middle = max(1, round(SHARE * table.num_rows)), table.num_rows // 2
    words, draw = Words(), np.random.default_rng(2)
    new = augmented(words, draw, f"{table['dataset'][0]}", f"{table['split'][0]}", 10_000_000, 10_000_000 + count)
    return pa.concat_tables([table.slice(0, middle), new, table.slice(middle)])


def anew(table: pa.Table, rows: Numbers) -> pa.Table:
    """The rows asked again for their chain of thought: another text, call key and score."""
    kind, draw = "chain_of_thought", np.random.default_rng(3)
    where = np.zeros(table.num_rows, bool)
    where[rows] = True
    texts = Words().passages(draw, draw.integers(40, 121, len(rows)))
    new = {
        kind: texts,
        "quality": quality(draw, texts),
        "provenance": provenance(draw, texts),
    }
    for name, values in new.items():
        place = table.schema.get_field_index(name)
        old = table.column(name).combine_chunks()
        if name == kind:
            changed = pc.replace_with_mask(old, pa.array(where), values)
        else:
            fields = [old.field(one.name) for one in old.type]
            at = [one.name for one in old.type].index(kind)
            # Where a row comes from: itself, or the new ones behind all others.
            take = np.arange(table.num_rows)
            take[rows] = table.num_rows + np.arange(len(rows))
            fields[at] = pa.concat_arrays([fields[at], values.cast(fields[at].type)]).take(pa.array(take))
            changed = pa.StructArray.from_arrays(fields, fields=list(old.type))
        table = table.set_column(place, table.schema.field(place), changed)
    return table


CHANGES: dict[str, Change] = {
    "chains here and there": here_and_there,
    "chains side by side": side_by_side,
    "new samples, in one place": new_rows,
}
"""1 % of the rows of a dataset."""


def again(root: Path, out: Path) -> list[dict[str, Any]]:
    """Publish two datasets again after each change, and count what would be sent.

    Args:
        out: where all datasets were published; it stays as it is.
    """
    known = names(root)
    return [sent(root, out, dataset, what) for dataset in (known[0], known[len(known) // 2]) for what in CHANGES]


def sent(root: Path, out: Path, dataset: str, what: str) -> dict[str, Any]:
    """Bytes that a publish sends after a change of one dataset's training split, in the ways that there are."""
    from teacherlm.hub.folder import publish_folder

    with tempfile.TemporaryDirectory(dir=root) as scratch:
        folder, place = Path(scratch), Path(scratch, "published")
        for part in sorted((root / "parts" / dataset).iterdir()):
            table = pq.read_table(part)
            changed = CHANGES[what](table) if part.stem == "train" else table
            groups = (changed.slice(first, CHUNK) for first in range(0, changed.num_rows, CHUNK))
            write_part(folder / "parts" / dataset / part.name, groups)
        shutil.copytree(out, place, copy_function=os.link)  # a publish replaces files, and changes none
        done = publish_folder([publication(folder, dataset)], place)
        data = [path for path in done.files if path.endswith(".parquet")]
        chunks = {"published": xet(folder / "store", [[at / path for path in data] for at in (out, place)])}
        for form in ("datasets", "plain"):
            versions = [
                [rewrite(at / path, folder / form / str(number) / path, options_of(form, at / path)) for path in data]
                for number, at in enumerate((out, place))
            ]
            chunks[form] = xet(folder / form, versions)
        texts = sum((place / path).stat().st_size for path in done.files if path not in data)
    rows, whole = written(out / "data" / dataset)
    of = {"dataset": dataset, "rows": rows, "bytes": whole, "change": what}
    return {**of, "files": done.put_bytes - texts, "chunks": chunks, "texts": texts}


def xet(store: Path, versions: list[list[Path]]) -> int:
    """Bytes that hf_xet uploads of the last version of some files when the others are stored; the store is a folder."""
    import hf_xet  # type: ignore[import-untyped]

    uploaded = 0
    for paths in versions:
        commit = hf_xet.XetSession().new_upload_commit(endpoint=f"local://{store}")
        for path in paths:
            commit.start_upload_file(str(path), sha256=hf_xet.SKIP_SHA256)
        uploaded = commit.wait_to_finish().dedup_metrics.total_bytes_uploaded
    return uploaded


def run(what: str, root: Path, out: Path) -> Any:
    """One measurement, in this process."""
    # Imports are start-up.
    import datasets
    import datasets.io.parquet  # noqa: F401

    import teacherlm.hub.folder  # noqa: F401

    if what == "again":
        return again(root, out)
    with clock() as taken:
        PARTS[what](root, out)
    return taken


def measure(what: str, root: Path, out: Path) -> Any:
    command = [sys.executable, str(HERE / "publish.py"), "--one", what, str(root), str(out)]
    quiet = {"HF_HOME": str(root / "home"), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env={**os.environ, **quiet})
    return json.loads(done.stdout.splitlines()[-1])


def written(out: Path) -> tuple[int, int]:
    """Rows and bytes of the Parquet files below a folder."""
    files = list(out.rglob("*.parquet"))
    return sum(pq.read_metadata(file).num_rows for file in files), sum(file.stat().st_size for file in files)


def show_writing(root: Path, rows: int, rounds: int) -> Path:
    """The table of all forms; gives the folder with what was published in the last round."""
    found: dict[str, list[dict[str, Any]]] = {what: [] for what in LABELS}
    bytes_of: dict[str, int] = {}
    published: set[str] = set()
    for _ in range(rounds):
        for what in ("bare", "ours", "load", "shards"):
            out = root / "out" / what
            shutil.rmtree(root / "cache" if what == "load" else out, ignore_errors=True)
            found[what].append(measure(what, root, out))
            if what == "load":
                continue
            count, bytes_of[what] = written(out)
            if count != rows:
                raise SystemExit(f"{what} wrote {count} rows of {rows}")
            if what == "ours":
                published.add(file_digest(out / "teacherlm.json"))
                check_bytes(out)
            else:
                shutil.rmtree(out)
    shutil.rmtree(root / "cache")
    if len(published) > 1:
        raise SystemExit("the published bytes differ from round to round")
    heads = ("rows/s", "per CPU s", "seconds", "CPU s", "ratio", "peak MB", "written MB")
    print(f"{'':<26}" + "".join(f"{head:>11}" for head in heads))
    middle = {what: {key: median(of[key] for of in all) for key in all[0]} for what, all in found.items()}
    for what, of in middle.items():
        size = f"{bytes_of[what] / 1e6:,.0f}" if what in bytes_of else ""
        print(
            f"{LABELS[what]:<26}{rows / of['seconds']:>11,.0f}{rows / of['cpu']:>11,.0f}{of['seconds']:>11.1f}"
            f"{of['cpu']:>11.1f}{of['cpu'] / middle['bare']['cpu']:>11.2f}{of['peak_mb']:>11,.0f}{size:>11}"
        )
    return root / "out" / "ours"


def check_bytes(out: Path) -> None:
    """The manifest tells the truth about every data file."""
    for entry in manifest.parse((out / manifest.NAME).read_bytes(), manifest.NAME).datasets.values():
        for split in entry.splits.values():
            for file in split.files:
                if file_digest(out / file.path) != file.sha256:
                    raise SystemExit(f"{file.path} is not what the manifest says")


def show_again(root: Path, out: Path) -> None:
    heads = ("whole files", "chunks", "as datasets", "plain", "card etc.")
    print(f"\n{'published again, MB sent':<44}" + "".join(f"{head:>12}" for head in heads))
    last = ""
    for of in measure("again", root, out):
        if of["dataset"] != last:
            last = of["dataset"]
            print(f"{last}, {of['rows']:,} rows, {of['bytes'] / 1e6:,.1f} MB")
        amounts = (of["files"], *(of["chunks"][form] for form in ("published", "datasets", "plain")), of["texts"])
        print(f"  1 %: {of['change']:<37}" + "".join(f"{amount / 1e6:>12.2f}" for amount in amounts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--in", dest="folder", type=Path, help="make the rows here, and keep them for the next time")
    parser.add_argument("--one", nargs=3, metavar=("WHAT", "ROOT", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        what, root, out = given.one
        print(json.dumps(run(what, Path(root), Path(out))), flush=True)
        os._exit(0)  # nothing is left to be done
    with tempfile.TemporaryDirectory() if given.folder is None else contextlib.nullcontext(given.folder) as scratch:
        root = Path(scratch)
        if not (root / "parts").exists():
            started = time.perf_counter()
            make_parts(root, given.rows)
            print(f"made in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        count, size = written(root / "parts")
        if count != given.rows:
            raise SystemExit(f"{root} holds {count} rows, not {given.rows}")
        print(f"{len(names(root))} datasets, {count:,} rows, {size / 1e6:,.0f} MB of parts; medians of {given.rounds}")
        show_again(root, show_writing(root, given.rows, given.rounds))


if __name__ == "__main__":
    main()
