"""What it costs to judge rationales: `check` with its parts, and ten checks in SQL beside other tools.

    make bench            # or: python benchmarks/quality.py --rationales 1000000 --gx-rows 200000 --rounds 3

Each measurement is a process of its own, so that its peak memory is its own; CPU is that process's, its threads
included, without start-up and imports. `rationales.py` makes the rows, `ten_checks.py` says what the ten checks are.
They run on one thread each; that all forms flag the same rows is part of the benchmark.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent

FORMS = ("ours", "polars", "expectations")
PARTS = (
    *("fingerprints_in", "find_duplicates", "find_contamination", "judge", "close_books", "measure"),
    *("_copy", "make_report", "fingerprints_out"),
)
"""What `check` is made of, by its names in `teacherlm.api.check`."""


@contextlib.contextmanager
def clock() -> Iterator[dict[str, float]]:
    """Seconds, CPU seconds of this process and its peak memory in MB."""
    taken: dict[str, float] = {}
    started, cpu = time.perf_counter(), time.process_time()
    yield taken
    taken["seconds"] = time.perf_counter() - started
    taken["cpu"] = time.process_time() - cpu
    taken["peak_mb"] = peak_mb()


def peak_mb() -> float:
    """Of this program; what `getrusage` says can be the parent's, from before the program was loaded."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ten(form: str, root: Path, out: Path, rows: int) -> dict[str, float]:
    """The ten checks in one form."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    import duckdb  # noqa: F401 - imports are start-up

    import ten_checks

    if form == "expectations":
        import great_expectations.expectations  # noqa: F401

        __import__("pandas")
    elif form == "polars":
        import polars  # noqa: F401
    with clock() as taken:
        if form == "expectations":
            looked = ten_checks.expectations(root / "workspace", out, rows or None)
            taken["rows"] = looked
        else:
            getattr(ten_checks, form)(root / "workspace", out)
    return taken


def metrics(root: Path) -> dict[str, float]:
    """The metrics pass alone."""
    import teacherlm
    from teacherlm.api.check_session import check_session
    from teacherlm.api.standards import read_standards

    project = teacherlm.open(root, workspace=root / "workspace")
    standards = read_standards(project.files, project.catalog)
    with check_session(project.workspace, "bench") as connection, clock() as taken:
        standards.metrics.take(connection)
    return taken


def whole(root: Path) -> dict[str, Any]:
    """`check`, with what each of its parts and each rule took."""
    import teacherlm
    import teacherlm.api.check as checking
    from teacherlm.quality import judge
    from teacherlm.quality.metrics import Metrics

    parts: dict[str, list[float]] = {}

    def timed(owner: Any, name: str, label: str | None = None) -> None:
        function = getattr(owner, name)

        def measured(*given: Any, **named: Any) -> Any:
            part = label or name
            if name == "find":
                part = f"rule {given[1].id}"
            elif name == "_copy":
                part = "write augmented" if "augmented" in given[1] else "write verdicts, findings, metrics"
            started, cpu = time.perf_counter(), time.process_time()
            try:
                return function(*given, **named)
            finally:
                sums = parts.setdefault(part, [0.0, 0.0])
                sums[0] += time.perf_counter() - started
                sums[1] += time.process_time() - cpu

        setattr(owner, name, measured)

    for name in PARTS:
        timed(checking, name)
    timed(judge, "find")
    timed(Metrics, "take", "metrics")
    project = teacherlm.open(root, workspace=root / "workspace")
    with clock() as taken:
        report = project.check("bench")
    inner = [of for part, of in parts.items() if part == "metrics" or part.startswith("rule ")]
    judged = parts.pop("judge")
    parts["scores and verdicts"] = [judged[i] - sum(of[i] for of in inner) for i in (0, 1)]
    return {**taken, "parts": parts, "hits": {line.rule: line.hits for line in report.rules}}


def measure(*given: object) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "quality.py"), "--one", *map(str, given)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    taken: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return taken


def show_check(root: Path) -> None:
    """The whole of `check`, the metrics pass alone, and every part and rule."""
    alone, taken = measure("metrics", root), measure("whole", root)
    print(f"{'':<36}{'seconds':>9}{'CPU s':>9}{'peak MB':>9}")
    for what, of in (("check", taken), ("metrics pass alone", alone)):
        print(f"{what:<36}{of['seconds']:>9.1f}{of['cpu']:>9.1f}{of['peak_mb']:>9.0f}")
    print(f"\n{'parts of check':<36}{'seconds':>9}{'CPU s':>9}{'share':>9}{'hits':>10}")
    for part, (seconds, cpu) in sorted(taken["parts"].items(), key=lambda item: -item[1][1]):
        hits = taken["hits"].get(part.removeprefix("rule "), "") if part.startswith("rule ") else ""
        print(f"{part:<36}{seconds:>9.2f}{cpu:>9.2f}{cpu / taken['cpu']:>9.1%}{hits:>10}")


def show_ten(root: Path, rationales: int, rows: int, rounds: int) -> None:
    """The ten checks in all forms, and by how many rows they differ."""
    outs = {form: root / f"{form}.parquet" for form in FORMS}
    found: dict[str, list[dict[str, Any]]] = {form: [] for form in FORMS}
    for turn in range(rounds):
        for form in FORMS[: 2 if turn else 3]:
            found[form].append(measure("ten", form, root, outs[form], rows))
    print(f"\n{'ten checks, one thread':<36}{'seconds':>9}{'CPU s':>9}{'peak MB':>9}")
    for form, taken in found.items():
        seconds, cpu, peak = (median(one[name] for one in taken) for name in ("seconds", "cpu", "peak_mb"))
        looked = int(taken[0].get("rows", rationales))
        part = looked < 0.9 * rationales
        name = {"ours": "SQL", "polars": "polars, streaming", "expectations": "Great Expectations, pandas"}[form]
        name += f" ({looked:,})" if part else ""
        print(f"{name:<36}{seconds:>9.1f}{cpu:>9.1f}{peak:>9.0f}")
        if part:
            scale = rationales / looked
            print(f"{'  times ' + format(scale, '.1f'):<36}{seconds * scale:>9.1f}{cpu * scale:>9.1f}{'':>9}")
    whole = [form for form in FORMS[1:] if not rows or form != "expectations"]
    differences = compare(outs, whole)
    print(f"\nrows flagged otherwise than in SQL by {' and '.join(whole)}: {differences or 'none'}")


def compare(outs: dict[str, Path], others: Sequence[str]) -> dict[str, int]:
    """Rows, by check and form, that a form flags and SQL does not, or the other way round."""
    import duckdb

    from ten_checks import CHECKS

    con = duckdb.connect()
    found: dict[str, int] = {}
    for check in CHECKS:
        for form in others:
            mine, theirs = (f"(select sample_id, kind from '{outs[of]}' where \"{check}\")" for of in ("ours", form))
            both = f"({mine} except {theirs}) union all ({theirs} except {mine})"
            ((count,),) = con.execute(f"select count(*) from ({both})").fetchall()
            if count:
                found[f"{check}, {form}"] = count
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rationales", type=int, default=1_000_000)
    parser.add_argument("--gx-rows", type=int, default=0, help="rationales for Great Expectations; 0: all")
    parser.add_argument("--rounds", type=int, default=3, help="of SQL and polars")
    parser.add_argument("--at", type=Path, help="a project that rationales.py made; left: one is made")
    parser.add_argument("--ten", action="store_true", help="the ten checks alone")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        what, *rest = given.one
        if what == "ten":
            taken = ten(rest[0], Path(rest[1]), Path(rest[2]), int(rest[3]))
        else:
            taken = {"metrics": metrics, "whole": whole}[what](Path(rest[0]))
        print(json.dumps(taken), flush=True)
        os._exit(0)  # nothing is left to be done
    with tempfile.TemporaryDirectory() as scratch:
        root = given.at or Path(scratch) / "project"
        if not given.at:
            made = [sys.executable, str(HERE / "rationales.py"), str(root), "--rationales", str(given.rationales)]
            subprocess.run(made, check=True)
        if not given.ten:
            show_check(root)
        show_ten(root, given.rationales, given.gx_rows, given.rounds)


if __name__ == "__main__":
    main()
