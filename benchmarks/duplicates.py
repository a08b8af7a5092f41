"""Near-duplicates among many texts: seconds, CPU seconds, peak memory, and how many of those planted are found.

    python benchmarks/duplicates.py [--texts 1000000] [--compare 20000]

Texts have 20 to 100 words drawn by Zipf's law. One in twenty is a copy of an earlier one, as it is or with a few words
changed. `--compare` has datasketch, where it is installed, find the same pairs among that many texts, in the same run.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from teacherlm.quality.duplicates import BANDS, FLOOR, ROWS, find_duplicates

BATCH = 20_000
WORDS = 30_000


def write(path: Path, count: int) -> None:
    draw = np.random.default_rng(11)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(draw.choice(letters, draw.integers(3, 10))) for _ in range(WORDS)])
    odds = 1 / np.arange(1, WORDS + 1)
    odds /= odds.sum()
    schema = pa.schema([(name, pa.string()) for name in ("sample_id", "text", "like")])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            lengths = draw.integers(20, 101, size)
            ends = np.cumsum(lengths)
            all_words = words[draw.choice(WORDS, int(ends[-1]), p=odds)]
            texts = [all_words[end - length : end] for end, length in zip(ends, lengths, strict=True)]
            like: list[str | None] = [None] * size
            for place in range(1, size):
                if draw.random() < 0.05:
                    model = int(draw.integers(0, place))
                    copy = texts[model].copy()
                    copy[draw.integers(0, len(copy), int(draw.integers(0, 4)))] = words[draw.integers(0, WORDS)]
                    texts[place], like[place] = copy, f"d/train/{start + model:08}"
            ids = [f"d/train/{start + place:08}" for place in range(size)]
            writer.write_table(pa.table([ids, [" ".join(text) for text in texts], like], schema=schema))


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("set enable_progress_bar = false; set memory_limit = '1GB'")
    con.execute(f"""
        create view samples as
        select null::varchar as sample_id, '' as dataset, '' as split, '' as question, []::varchar[] as choices limit 0;
        create view rationales as
        select sample_id, 'd' as dataset, 'train' as split, 'chain_of_thought' as kind, 0::bigint as repeat, text,
               'ok' as status
        from read_parquet('{path}')""")
    return con


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what}: {wall:.1f} s, {cpu:.1f} s of CPU, peak {peak:.2f} GB so far", flush=True)


def with_datasketch(path: Path, count: int) -> None:
    try:
        from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        print("datasketch is not installed: nothing to compare with")
        return
    rows = duckdb.execute(f"select sample_id, text from '{path}' limit {count}").fetchall()
    with timed(f"datasketch, {count:,} texts"):
        index = MinHashLSH(num_perm=ROWS * BANDS, params=(BANDS, ROWS))
        for key, text in rows:
            words = text.split()
            sketch = MinHash(num_perm=ROWS * BANDS, seed=1)
            sketch.update_batch([" ".join(words[n : n + 3]).encode() for n in range(max(len(words) - 2, 1))])
            index.query(sketch)
            index.insert(key, sketch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--compare", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "texts.parquet")
        with timed(f"written, {options.texts:,} texts, by the generator"):
            write(path, options.texts)
        con = connect(path)
        with timed(f"near-duplicates, {options.texts:,} texts"):
            find_duplicates(con)
        print(
            con.sql(
                f"""
            with planted as (
                select p.sample_id, len(list_intersect(a, b)) / len(list_distinct(a || b)) as similarity
                from (
                    select c.sample_id, runs(c.text) as a, runs(o.text) as b
                    from (select * from '{path}' where "like" is not null) c join '{path}' o on o.sample_id = c.like
                ) p
            )
            select
                case when similarity = 1 then 'the same' when similarity >= 0.9 then '0.9 to 1'
                    when similarity >= 0.8 then '0.8 to 0.9' else '0.7 to 0.8' end as planted,
                count(*) as texts, count(*) filter (sample_id in (select sample_id from duplicates)) as found
            from planted where similarity >= {FLOOR} group by 1 order by 1""".replace(
                    "runs(c.text)", _runs("c.text")
                ).replace("runs(o.text)", _runs("o.text"))
            )
        )
        if options.compare:
            part = Path(folder, "part.parquet")
            con.execute(f"copy (from '{path}' limit {options.compare}) to '{part}' (format parquet)")
            with timed(f"near-duplicates, {options.compare:,} texts"):
                find_duplicates(connect(part))
            with_datasketch(part, options.compare)


def _runs(text: str) -> str:
    words = f"string_split({text}, ' ')"
    return f"list_distinct([array_to_string(w, ' ') for w in [{words}[n:n+2] for n in range(1, len({words}) - 1)]])"


if __name__ == "__main__":
    main()
