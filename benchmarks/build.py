"""What a sample costs: `build` of plain four-option questions beside a bare SELECT and COPY in DuckDB.

    make bench            # or: python benchmarks/build.py --rows 2000000 --threads 1 2

The rows are made here, the same ones every time; three in twenty have blanks to collapse or letters beyond ASCII. Each
measurement is a process of its own, so that its peak memory is its own; CPU is that process's, its threads included,
without start-up and imports. Of several rounds the cheapest counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from client import clock

HERE = Path(__file__).resolve().parent

WORDS = (
    "iron rust salt water copper candle shadow river glacier magnet feather pendulum bread yeast vinegar soda balloon "
    "lemon mirror engine valve orbit comet pollen root leaf stone basalt granite cloud thunder tide moon ember "
    "charcoal wire lamp battery crystal sugar honey"
)

ROWS = """
    WITH words AS (SELECT string_split('{words}', ' ') AS w),
    numbered AS (
        SELECT i, w[1 + i % 41] AS a, w[1 + i * 7 // 5 % 41] AS b, w[1 + i * 11 // 13 % 41] AS c,
               w[1 + (i + 17) * 3 // 7 % 41] AS d
        FROM range({rows}) AS r(i), words)
    SELECT 'q' || i AS id,
           CASE WHEN i % 20 = 0 THEN 'Think  twice. ' WHEN i % 10 = 1 THEN 'Au café: ' ELSE '' END
           || 'Which of these would a careful reader expect when the ' || a || ' is left beside the ' || b || ' for '
           || i || ' hours, and the ' || c || ' is taken away before the ' || d || ' has been seen?' AS question,
           ['the ' || a || ' loses ' || i % 997 || ' grams', 'the ' || b || ' becomes a ' || c,
            'nothing happens to the ' || d || ' or the ' || a, 'the ' || c || ' ends up ' || i % 89 || ' times as warm']
               AS options,
           CAST(i * 7919 % 4 AS INTEGER) AS label
    FROM numbered"""

RECIPE = """
title: Benchmark
source: {files: bench.parquet}
license: CC0-1.0
redistribution: allowed
task: bench
sample: {id: id, question: question, choices: options, answer: "options[label + 1]"}
"""

OUT = "out/train/00000.parquet"


def bare(root: Path, threads: int) -> dict[str, float]:
    """The source's columns read and written as the samples are, and nothing done to them."""
    import duckdb

    from teacherlm.builders.build import MEMORY
    from teacherlm.builders.rows import PARQUET

    with clock() as taken:
        connection = duckdb.connect(config={"threads": threads, "memory_limit": MEMORY})
        query = f"SELECT id, question, options, options[label + 1] AS answer FROM '{root / 'bench.parquet'}'"
        connection.execute(f"COPY ({query}) TO '{root / 'bare.parquet'}' ({PARQUET})")
    return taken


def whole(root: Path, threads: int) -> dict[str, float]:
    """`build`: the source fingerprinted, texts cleaned, rows judged, written, ids compared, manifest written."""
    from teacherlm.builders.build import build
    from teacherlm.builders.read import read_recipe
    from teacherlm.builders.sources import open_source
    from teacherlm.project.find import ProjectFiles

    bound = read_recipe(ProjectFiles(root), "bench")
    with clock() as taken:
        source = open_source(bound.recipe, root, source=root / "bench.parquet")
        built = build(bound, source, root / "out", threads=threads, force=True)
    if built.rejected or built.left or not built.samples:
        raise SystemExit(f"not every row became a sample: {built}")
    return taken


def measure(what: str, root: Path, threads: int, rounds: int) -> dict[str, float]:
    command = [sys.executable, str(HERE / "build.py"), "--one", what, str(root), str(threads)]
    found = []
    for _ in range(rounds):
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    best: dict[str, float] = min(found, key=lambda taken: taken["cpu"])
    return best


def make_rows(root: Path, rows: int) -> None:
    import duckdb

    (root / "builders").mkdir()
    (root / "catalog.yaml").touch()
    (root / "builders" / "bench.yaml").write_text(RECIPE)
    query = ROWS.format(words=WORDS, rows=rows)
    duckdb.connect().execute(f"COPY ({query}) TO '{root / 'bench.parquet'}' (FORMAT parquet, COMPRESSION zstd)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", nargs=3, metavar=("WHAT", "ROOT", "THREADS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        what, folder, threads = given.one
        print(json.dumps({"bare": bare, "build": whole}[what](Path(folder), int(threads))), flush=True)
        os._exit(0)  # nothing is left to be done
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        make_rows(root, given.rows)
        size = (root / "bench.parquet").stat().st_size / 1e6
        print(f"{given.rows:,} rows, {size:,.0f} MB of Parquet; best of {given.rounds}")
        print(f"{'':<14}{'threads':>8}{'samples/s':>12}{'per CPU s':>12}{'CPU s':>8}{'CPU ratio':>11}{'peak MB':>9}")
        outputs = []
        for threads in given.threads:
            base = measure("bare", root, threads, given.rounds)
            made = measure("build", root, threads, given.rounds)
            outputs.append((root / OUT).read_bytes())
            for what, taken in (("SELECT + COPY", base), ("build", made)):
                print(
                    f"{what:<14}{threads:>8}{given.rows / taken['seconds']:>12,.0f}{given.rows / taken['cpu']:>12,.0f}"
                    f"{taken['cpu']:>8.2f}{taken['cpu'] / base['cpu']:>11.2f}{taken['peak_mb']:>9.0f}"
                )
    if any(output != outputs[0] for output in outputs):
        raise SystemExit("the samples' bytes differ with the number of threads")
    if len(outputs) > 1:
        print(f"the samples' bytes are the same for {' and '.join(map(str, given.threads))} threads")


if __name__ == "__main__":
    main()
