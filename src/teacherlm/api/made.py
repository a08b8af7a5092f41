"""How the texts of a checked dataset were made and what they took, as far as people elsewhere may know it.

All of it is read from the ledger; run records add what seeds were drawn from and how long it took. No address of a
server, name of a host or path of a machine gets in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from teacherlm import __version__
from teacherlm.api.cost import cost
from teacherlm.api.orders import seed_of
from teacherlm.api.runs import read_runs
from teacherlm.api.traced import maker_of
from teacherlm.api.workspace import Workspace, open_session
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.hub.manifest import Asked, Made
from teacherlm.project.find import ProjectFiles
from teacherlm.schemas.records import KINDS

if TYPE_CHECKING:
    import duckdb

LOOKED_AT = 5
"""Texts of each way of asking of which the prompt profile, or what the seed was drawn from, is found out."""

# All but the seed, which is each call's own.
ACCEPTED = """
CREATE TEMP VIEW accepted AS
SELECT r.* EXCLUDE (parameters), json_merge_patch(coalesce(r.parameters, '{}'), '{"seed": null}') AS parameters,
    CAST(json_extract(r.parameters, '$.seed') AS BIGINT) AS seed
FROM rationales r JOIN verdicts v USING (sample_id, kind, repeat)
WHERE v.verdict = 'accepted'
"""

WAY = ("kind", "strategy", "teacher_model", "teacher_revision")

WAYS = f"""
SELECT {", ".join(WAY)}, parameters, count(*) AS texts, count(DISTINCT seed) AS seeds
FROM accepted GROUP BY ALL ORDER BY {", ".join(WAY)}, texts DESC, parameters
"""

EXAMPLES = f"""
SELECT a.kind, a.strategy, a.repeat, a.seed, a.prompt_sha256, s.*
FROM accepted a JOIN samples s USING (sample_id)
WHERE ({", ".join(f"a.{name}" for name in WAY)}) IS NOT DISTINCT FROM (?, ?, ?, ?) AND a.prompt_sha256 IS NOT NULL
ORDER BY md5(a.sample_id), a.repeat LIMIT {LOOKED_AT}
"""


def made(files: ProjectFiles, workspace: Workspace, bound: BoundRecipe, prompts: Sequence[str]) -> Made:
    """How the accepted texts of a checked dataset came about.

    Args:
        prompts: names of the prompt profiles that made its texts.
    """
    session = open_session(workspace, [bound.name])
    session.execute(ACCEPTED)
    found = session.execute(WAYS)
    names = [column[0] for column in found.description or ()]
    ways: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for values in found.fetchall():
        row = dict(zip(names, values, strict=True))
        ways.setdefault(tuple(row[name] for name in WAY), []).append(row)
    bases = {
        order["seed"]
        for run in read_runs(workspace, bound.name)
        for order in run.get("orders", ())
        if isinstance(order.get("seed"), int)
    }
    asked = []
    for (kind, strategy, model, revision), rows in ways.items():
        examples = _examples(session, (kind, strategy, model, revision))
        seeds = sum(row["seeds"] for row in rows)
        if len(prompts) > 1:
            makers = [maker_of(files, bound, example) for example in examples]
            used = sorted({maker[0] for maker in makers if maker is not None})
        else:
            used = list(prompts) if examples else []
        asked.append(
            Asked(
                kind=kind,
                strategy=strategy,
                texts=sum(row["texts"] for row in rows),
                model=shown_model(model) if model else None,
                revision=revision,
                prompts=tuple(used),
                parameters=_parameters(rows),
                seeds=seeds,
                drawn_from=tuple(sorted(_drawn_from(examples, bases))) if seeds else (),
            )
        )
    source = bound.recipe.source
    return Made(version=__version__, source_revision=source.revision if source.hub else None, asked=tuple(asked))


def costs(workspace: Workspace, name: str) -> dict[str, float]:
    """What all answers of a dataset took; hours where every answer belongs to a run that was recorded.

    Prices are the user's own and stay here.
    """
    rows = cost(workspace, [name], by=("run",))
    if not rows:
        return {}
    sums: dict[str, float] = {
        label: sum(row[column] for row in rows)
        for label, column in (
            ("answers", "calls"),
            ("requests", "requests"),
            ("prompt_tokens", "prompt_tokens"),
            ("generated_tokens", "generated_tokens"),
        )
    }
    if all(row["hours"] is not None for row in rows):
        servers = {run["run"]: _servers(run) for run in read_runs(workspace, name)}
        # Rounded: sums of fractions may differ in their last digit, and the card must not.
        sums["hours"] = round(sum(row["hours"] for row in rows), 5)
        if all(servers.get(row["run"]) for row in rows):
            sums["server_hours"] = round(sum(row["hours"] * servers[row["run"]] for row in rows), 5)
    return sums


def shown_model(model: str) -> str:
    """A model's id; of a path or an address on the teacher's machine, its last part.

    >>> shown_model("bigscience/bloom-7b1"), shown_model("/data/ada/models/bloom-7b1/")
    ('bigscience/bloom-7b1', 'bloom-7b1')
    """
    if re.match(r"[/~.\\]|\w:[/\\]|\w+://", model):
        return re.split(r"[/\\]", model.rstrip("/\\"))[-1] or "unnamed"
    return model


def _servers(run: Mapping[str, Any]) -> int:
    return len({url for order in run.get("orders", ()) for url in order.get("endpoints", ())})


def _examples(session: duckdb.DuckDBPyConnection, way: tuple[Any, ...]) -> list[dict[str, Any]]:
    found = session.execute(EXAMPLES, list(way))
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _parameters(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """The values of every parameter, the most frequent first; None where it was not set."""
    asked = [(orjson.loads(row["parameters"]), row["texts"]) for row in rows]
    values: dict[str, tuple[Any, ...]] = {}
    for name in sorted({name for parameters, _ in asked for name in parameters}):
        texts: Counter[bytes] = Counter()
        for parameters, count in asked:
            texts[orjson.dumps(parameters.get(name), option=orjson.OPT_SORT_KEYS)] += count
        values[name] = tuple(
            orjson.loads(value) for value, _ in sorted(texts.items(), key=lambda item: (-item[1], item[0]))
        )
    return values


def _drawn_from(examples: Sequence[Mapping[str, Any]], bases: set[int]) -> Iterator[int]:
    """The declared seeds that give the recorded ones again, made as `Order.call` makes them.

    One request for several kinds has the seed of the first.
    """
    for base in bases:
        asked = ((row, kind) for row in examples for kind in KINDS)
        if any(row["seed"] == seed_of(base, row["sample_id"], kind, row["repeat"]) for row, kind in asked):
            yield base
