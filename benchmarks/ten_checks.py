"""Ten checks, written for DuckDB, for polars and for Great Expectations on pandas; each gives the rows that fail.

A *word* is what stands between blanks of the text in small letters. Only rationales with status `ok` are looked at.

    empty           no letter and no digit
    too short       1 to 4 words
    too long        more than 300 words
    loop            20 words or more, and fewer than half as many different 3-word sequences as there are
    copied          more than 80 % of its different 5-word sequences stand in the question
    artefact        holds a chat model's mark or apology, such as `<think>` or "as an ai"
    runs on         a line begins with `Q:` or `Question 2:`
    other script    20 letters or more, and fewer than half of them Latin
    unfinished      the last sign that is no blank ends no sentence
    duplicate       another rationale has the same text in small letters

Each form leaves out what cannot fail before it counts what is dear: a loop has few different words, and a text with
more different words than the question has room for is no copy of it.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

CHECKS = (
    *("empty", "too short", "too long", "loop", "copied"),
    *("artefact", "runs on", "other script", "unfinished", "duplicate"),
)
MARKS = (
    *("as an ai", "as a language model", "<think>", "</think>", "[inst]", "[/inst]"),
    *("<|im_start|>", "<|im_end|>", "### instruction", "### response"),
)
RUNS_ON = r"\n\s*q(?:uestion)?(?: ?\d+)?:"
LATIN = "[A-Za-zÀ-ɏ]"
ENDS = """.!?…)]"'”’"""

SQL = """
with texts as (
    select r.sample_id, r.kind, r.text, lower(r.text) as low, s.question,
        len(string_split(s.question, ' ')) as question_words,
        -- Two blanks in a row make an empty word; most texts have none.
        case when contains(low, chr(10)) or contains(low, '  ') or starts_with(low, ' ') or ends_with(low, ' ')
            then list_filter(string_split(replace(low, chr(10), ' '), ' '), lambda word: word <> '')
            else string_split(low, ' ') end as found,
        [hash(word) for word in found] as words
    from rationales r join samples s on s.sample_id = r.sample_id
    where r.status = 'ok'
),
counted as (
    -- Different words set different bits, or the same: there are no fewer than bits that are set. Counting the
    -- bits takes a quarter of the time of counting the words.
    select *, len(words) as n,
        bit_count(list_bit_or([if(word & 64 = 0, 1::ubigint << (word & 63), 0) for word in words]))::int
        + bit_count(list_bit_or([if(word & 64 = 0, 0, 1::ubigint << (word & 63)) for word in words]))::int as least
    from texts
),
judged as (
    select sample_id, kind, hash(low) as same,
        not regexp_matches(low, '[\\p{{L}}\\p{{N}}]') as "empty",
        n between 1 and 4 as "too short",
        n > 300 as "too long",
        case when n >= 20 and least <= 0.5 * (n - 2) + 2
            then 2 * list_unique([hash(run) for run in list_zip(words, words[2:], words[3:], true)]) < n - 2
            else false end as "loop",
        case when n >= 5 and 0.8 * (least - 4) < question_words - 4
            then {copied} else false end as "copied",
        case when contains(low, '<') or contains(low, '[') or contains(low, '#') or contains(low, 'as a')
            then {artefact} else false end as "artefact",
        case when contains(low, chr(10)) then regexp_matches(low, '{runs_on}') else false end as "runs on",
        case when strlen(text) = length(text) then false
            else length(regexp_replace(text, '[^\\p{{L}}]+', '', 'g')) >= 20
                and 2 * length(regexp_replace(text, '[^A-Za-zÀ-ɏ]+', '', 'g'))
                    < length(regexp_replace(text, '[^\\p{{L}}]+', '', 'g')) end as "other script",
        case when ends_with(text, '.') then false
            else not regexp_matches(right(text, 20), '[{ends}]\\s*$') end as "unfinished"
    from counted
)
"""


def ours(workspace: Path, out: Path, threads: int = 1) -> None:
    """In SQL, as the metrics do it: one pass, what is dear only where a cheap bound leaves room for it."""
    import duckdb

    con = duckdb.connect(config={"threads": threads, "memory_limit": "250MB", "temp_directory": str(out.parent)})
    for name, files in (("samples", "samples/bench/*"), ("rationales", "rationales/bench/*/*")):
        con.execute(f"create view {name} as from read_parquet('{workspace / files}/*.parquet')")
    runs = "list_distinct([hash(run) for run in list_zip({0}, {0}[2:], {0}[3:], {0}[4:], {0}[5:], true)])"
    asked = "[hash(word) for word in list_filter(string_split(lower(question), ' '), lambda word: word <> '')]"
    mine, theirs = runs.format("words"), runs.format(asked)
    query = SQL.format(
        copied=f"len(list_intersect({mine}, {theirs})) > 0.8 * len({mine})",
        artefact=" or ".join(f"contains(low, '{mark}')" for mark in MARKS),
        runs_on=RUNS_ON,
        ends=ENDS.replace("'", "''").replace("]", "\\]"),
    )
    con.execute(f"create temp table judged as {query} select * from judged")
    con.execute("create temp table twice as select same from judged group by same having count(*) > 1")
    names = ", ".join(f'"{name}"' for name in CHECKS)
    found = "same in (from twice) as duplicate"
    con.execute(
        f"copy (select sample_id, kind, {names} from (select *, {found} from judged)"
        f" where greatest({names})) to '{out}' (format parquet)"
    )


def polars(workspace: Path, out: Path) -> None:
    """In polars' streaming engine, in one pass too."""
    import polars as pl

    samples = pl.scan_parquet(workspace / "samples/bench/*/*.parquet").select(
        "sample_id", pl.col("question").str.to_lowercase().str.split(" ").alias("asked")
    )
    low, n, words = pl.col("low"), pl.col("n"), pl.col("words")
    element = pl.element()

    def runs(length: int) -> pl.Expr:
        shifted = [element.hash(i) // (length + 1) for i in range(length)]
        total = shifted[0]
        for i, one in enumerate(shifted[1:], start=1):
            total = total + one.shift(-i)
        return total.drop_nulls().unique()

    def of(condition: pl.Expr, column: str, length: int) -> pl.Expr:
        """The different runs of words where it matters, null elsewhere."""
        return pl.when(condition).then(pl.col(column)).list.eval(runs(length))

    unlike = pl.col("different")
    may_loop = (n >= 20) & (unlike <= 0.5 * (n.cast(pl.Int64) - 2) + 2)
    may_copy = (n >= 5) & (0.8 * (unlike.cast(pl.Int64) - 4) < pl.col("asked").list.len().cast(pl.Int64) - 4)
    odd = pl.col("text").str.len_bytes() != pl.col("text").str.len_chars()
    odd_text = pl.when(odd).then(pl.col("text"))
    checks = {
        "empty": ~low.str.contains(r"[\p{L}\p{N}]"),
        "too short": n.is_between(1, 4),
        "too long": n > 300,
        "loop": (2 * pl.col("runs").list.len() < n.cast(pl.Int64) - 2).fill_null(False),
        "copied": (
            pl.col("mine").list.set_intersection(pl.col("theirs")).list.len() > 0.8 * pl.col("mine").list.len()
        ).fill_null(False),
        "artefact": low.str.contains_any(list(MARKS)),
        "runs on": low.str.contains(RUNS_ON),
        "other script": (
            (odd_text.str.count_matches(r"\p{L}") >= 20)
            & (2 * odd_text.str.count_matches(LATIN) < odd_text.str.count_matches(r"\p{L}"))
        ).fill_null(False),
        "unfinished": ~pl.col("text").str.strip_chars_end(" \n").str.slice(-1).is_in(list(ENDS)),
    }
    found = (
        pl.scan_parquet(workspace / "rationales/bench/*/*/*.parquet")
        .filter(pl.col("status") == "ok")
        .select("sample_id", "kind", "text")
        .join(samples, on="sample_id")
        .with_columns(pl.col("text").str.to_lowercase().alias("low"))
        .with_columns(low.str.replace_all("\n", " ", literal=True).str.split(" ").alias("words"))
        .with_columns(
            pl.when(low.str.contains_any(["\n", "  "]) | low.str.starts_with(" ") | low.str.ends_with(" "))
            .then(words.list.filter(element != ""))
            .otherwise(words)
            .alias("words")
        )
        .with_columns(words.list.len().alias("n"), words.list.n_unique().alias("different"))
        .with_columns(
            of(may_loop, "words", 3).alias("runs"),
            of(may_copy, "words", 5).alias("mine"),
            of(may_copy, "asked", 5).alias("theirs"),
        )
        .select("sample_id", "kind", low.hash().alias("same"), *(check.alias(name) for name, check in checks.items()))
        .collect(engine="streaming")
    )
    (
        found.with_columns(pl.col("same").is_duplicated().alias("duplicate"))
        .filter(pl.any_horizontal(CHECKS))
        .select("sample_id", "kind", *CHECKS)
        .write_parquet(out)
    )


def expectations(workspace: Path, out: Path, rows: int | None = None) -> int:
    """In Great Expectations, over columns that pandas has counted; gives how many rationales it looked at.

    Args:
        rows: of the rationales the first so many; None: all.
    """
    import os

    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import pandas as pd
    from great_expectations.data_context.types.base import ProgressBarsConfig

    gxe: Any = importlib.import_module("great_expectations.expectations")
    frame = _counted(workspace, rows)
    any_of = "(?i)" + "|".join(map(re.escape, MARKS))
    between, not_like = gxe.ExpectColumnValuesToBeBetween, gxe.ExpectColumnValuesToNotMatchRegex
    # By what tells them apart in the results, whose order is not the suite's.
    suite = {
        "empty": gxe.ExpectColumnValuesToMatchRegex(column="low", regex=r"[^\W_]"),
        "too short": between(column="some_words", min_value=5),
        "too long": between(column="words", max_value=300),
        "loop": between(column="different_runs", min_value=0.5),
        "copied": between(column="copied", max_value=0.8),
        "artefact": not_like(column="text", regex=any_of),
        "runs on": not_like(column="low", regex=RUNS_ON),
        "other script": between(column="latin", min_value=0.5),
        "unfinished": gxe.ExpectColumnValuesToMatchRegex(column="text", regex=rf"[{re.escape(ENDS)}]\s*$"),
        "duplicate": gxe.ExpectColumnValuesToBeUnique(column="low"),
    }
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for name, expectation in suite.items():
        expectation.meta = {"check": name}
    made = context.suites.add(gx.ExpectationSuite(name="ten", expectations=list(suite.values())))
    batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
    found = batch.get_batch({"dataframe": frame}).validate(made, result_format="COMPLETE")
    flags = pd.DataFrame(False, index=frame.index, columns=list(CHECKS))
    for result in found.results:
        asked: Any = result.expectation_config
        flags.loc[result.result["unexpected_index_list"], asked.meta["check"]] = True
    pd.concat([frame[["sample_id", "kind"]], flags], axis=1)[flags.any(axis=1)].to_parquet(out)
    return len(frame)


def _counted(workspace: Path, rows: int | None) -> pd.DataFrame:
    """Texts with the numbers that the expectations look at; null where a check does not ask."""
    import pandas as pd

    parts, left = [], rows
    for path in sorted((workspace / "rationales/bench").glob("*/*/*.parquet"), key=lambda path: path.stem):
        if left is not None and left <= 0:
            break
        part = pd.read_parquet(path, columns=["sample_id", "kind", "text", "status"])
        parts.append(part[part["status"] == "ok"].drop(columns="status")[:left])
        left = None if left is None else left - len(parts[-1])
    samples = pd.concat(
        pd.read_parquet(path, columns=["sample_id", "question"])
        for path in sorted((workspace / "samples/bench").glob("*/*.parquet"))
    )
    frame = pd.concat(parts, ignore_index=True).merge(samples, on="sample_id")
    frame["low"] = frame["text"].str.lower()
    words = frame["low"].str.split()
    asked = frame.pop("question").str.lower().str.split()
    frame["words"] = words.str.len()
    frame["some_words"] = frame["words"].where(frame["words"] > 0)
    frame["different_runs"] = [_different(of) for of in words]
    frame["copied"] = [_copied(of, question) for of, question in zip(words, asked, strict=True)]
    frame["latin"] = [_latin(text) for text in frame["text"]]
    return frame


def _different(words: list[str]) -> float | None:
    if len(words) < 20:
        return None
    return len(set(zip(words, words[1:], words[2:], strict=False))) / (len(words) - 2)


def _copied(words: list[str], asked: list[str]) -> float | None:
    if len(words) < 5 or 0.8 * (len(set(words)) - 4) >= len(asked) - 4:
        return None
    mine, theirs = (set(zip(*(of[i:] for i in range(5)), strict=False)) for of in (words, asked))
    return len(mine & theirs) / len(mine)


def _latin(text: str) -> float | None:
    if text.isascii():
        return None
    letters = len(re.findall(r"[^\W\d_]", text))
    return len(re.findall(LATIN, text)) / letters if letters >= 20 else None
