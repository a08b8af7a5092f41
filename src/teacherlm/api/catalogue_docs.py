"""docs/catalogue.md, written from the declarations: `python -m teacherlm.api.catalogue_docs docs/catalogue.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from teacherlm.api.collections import OpenCollection
from teacherlm.api.project import Project
from teacherlm.api.project import open as open_project
from teacherlm.builders.recipe import Recipe
from teacherlm.core.bundle import bundled
from teacherlm.core.files import write_text
from teacherlm.schemas.records import KINDS

OPENING = """# The catalogue

Written by `make docs` from `builders/*.yaml` and `catalog.yaml`: edit those.

## Datasets

{count} datasets, each a recipe in `builders/`. Rows are those that its publisher counts, about; a build counts its
own. What `redistribution` allows: [recipes.md](recipes.md). *Human* says what a dataset's own rationales are taken for
where a collection or the recipe says so, else *yes* where it has some. Collections: {letters}.
"""

COLLECTIONS = """
## Collections

    teacherlm plan p3-sense-3k            # members, sizes, what is absent; nothing is read
    teacherlm build p3-sense-3k           # dataset by dataset; run it again to go on
    teacherlm build p3-sense-3k --source FOLDER      # copies: FOLDER/DATASET, with _ or - in the name
    teacherlm run p3-sense-3k --teacher http://127.0.0.1:8080 --to published
    teacherlm status p3-sense-3k

A collection has a workspace of its own, `WORKSPACE/collections/NAME`, in which its datasets have their samples,
rationales and reports. Every command works on it: `teacherlm sql QUERY -w workspace/collections/p3-sense-3k`.

    -- how far it is, by task
    SELECT task, count(*) AS samples, count(*) FILTER (sample_id IN (SELECT sample_id FROM rationales)) AS asked
    FROM samples GROUP BY task ORDER BY samples DESC;

Samples are drawn at random from a dataset's training splits together, by the smallest MD5 of seed and sample id: the
same on every machine, whatever the order of the rows. A smaller draw is contained in a larger one of the same seed. A
dataset that cannot be read is named, the others are built, and the exit code is 3. `publish` publishes the datasets
whose gates pass. Without a network, `HF_HUB_OFFLINE=1` reads what is in the Hub's cache and does not wait for the rest.

A collection of your own stands under `collections:` in `catalog.yaml`:

| key | meaning |
| --- | --- |
| `datasets` | names, or patterns such as `race-*`; `["*"]` is every dataset with one of the splits |
| `marked` | in place of `datasets`: `muffin`, all recipes with `muffin: true` |
| `leave_out` | datasets that a pattern or the mark would take in |
| `splits` | names or patterns; `["train*"]` if left out |
| `at_most` | samples of any one dataset; one with fewer gives all |
| `samples` | samples of all together. They are counted first and shared out then |
| `mixing` | how: `capped`, the same number of each dataset, or all that it has; or `proportional` to what each has |
| `when_short` | where all together have fewer: `take_all`, or `fail` before anything is built |
| `seed` | what they are drawn by; 0 if left out |
| `strategy`, `human` | how chains of thought are asked for; for which kind human rationales are taken, by dataset |
| `absent`, `verify` | what is not taken, and what is uncertain: for readers |

With `samples` a dataset that cannot be read now keeps its place by the rows that its recipe declares (`source.rows`),
so that the others have the sizes that they have where it can be read.
"""


def catalogue(project: Project) -> str:
    """The text of docs/catalogue.md."""
    recipes = {name: project.recipe(name).recipe for name in project.datasets}
    collections = [project.collection(name) for name in project.collections]
    letters = {collection.name: chr(ord("A") + number) for number, collection in enumerate(collections)}
    told = ", ".join(f"{letter} is [{name}](#{name})" for name, letter in letters.items())
    shown = [recipe for recipe in recipes.values() if recipe.source.hub]
    lines = [OPENING.format(count=len(shown), letters=told)]
    lines += _table([_row(recipe, collections, letters) for recipe in shown])
    lines += [COLLECTIONS]
    for collection in collections:
        lines += _section(collection)
    return "\n".join(lines).rstrip("\n") + "\n"


def _row(recipe: Recipe, collections: list[OpenCollection], letters: dict[str, str]) -> dict[str, str]:
    rows = recipe.source.rows or {}
    training = [split for split in recipe.source.splits or {} if split.startswith("train")]
    others = [split for split in recipe.source.splits or {} if split not in training]
    within = [collection for collection in collections if recipe.name in collection.datasets]
    humans = {kind for collection in within if (kind := collection.declared.kind_of_human(recipe.name))}
    humans |= {recipe.human} if recipe.human else set()
    return {
        "dataset": f"[{recipe.name}](https://huggingface.co/datasets/{recipe.source.hub})",
        "task": recipe.task.replace("_", " "),
        "training": _splits(training, rows, name_one=False),
        "other splits": _splits(others, rows),
        "licence": recipe.license,
        "redistribution": recipe.redistribution,
        "kinds": "all" if recipe.kinds == KINDS else ", ".join(recipe.kinds),
        "human": ", ".join(sorted(humans)).replace("_", " ") or ("yes" if recipe.sample.human_rationale else ""),
        "in": " ".join(letters[collection.name] for collection in within),
    }


def _splits(splits: list[str], rows: dict[str, int], *, name_one: bool = True) -> str:
    if len(splits) == 1 and not name_one and splits[0] in rows:
        return f"{rows[splits[0]]:,}"
    return ", ".join(f"{split} {rows[split]:,}" if split in rows else split for split in splits)


def _table(rows: list[dict[str, str]]) -> list[str]:
    columns = list(rows[0])
    return [
        f"| {' | '.join(columns)} |",
        f"| {' | '.join('---:' if name == 'training' else '---' for name in columns)} |",
        *(f"| {' | '.join(row[name] for name in columns)} |" for row in rows),
    ]


def _section(collection: OpenCollection) -> Iterator[str]:
    declared, planned = collection.declared, collection.plan()
    yield f"### {collection.name}\n"
    yield f"{declared.about}\n"
    yield from (f"- {fact}" for fact in _facts(collection, planned))
    yield from (f"- {note}" for note in declared.verify)
    for why in dict.fromkeys((declared.absent or {}).values()):
        names = ", ".join(f"`{name}`" for name, said in (declared.absent or {}).items() if said == why)
        yield f"- Absent: {names} ({why})."
    yield ""


def _facts(collection: OpenCollection, planned: dict[str, Any]) -> Iterator[str]:
    declared = collection.declared
    about = f", about {planned['samples']:,} samples" if planned["samples"] is not None else ""
    yield f"{len(collection.members)} datasets{about}; seed {declared.seed}; splits {', '.join(declared.splits)}."
    if declared.leave_out:
        yield f"Without {', '.join(f'`{name}`' for name in declared.leave_out)}."
    limit = declared.at_most
    if limit is not None:
        short = [row["dataset"] for row in planned["datasets"] if (row["rows"] or 0) < limit]
        fewer = f"; these have fewer and give all: {', '.join(f'`{name}`' for name in short)}" if short else ""
        yield f"At most {limit:,} of each{fewer}."
    if declared.samples is not None:
        level = max(row["samples"] or 0 for row in planned["datasets"])
        full = sum(row["samples"] == row["rows"] for row in planned["datasets"])
        shared = f"{full} datasets give all they have, the others about {level:,} each"
        way = shared if declared.mixing == "capped" else "each gives the same share of what it has"
        short_of = {"take_all": "all is taken", "fail": "nothing is built"}[declared.when_short]
        yield f"{declared.samples:,} in all, {declared.mixing}: {way}. Where the sources have fewer, {short_of}."
    if declared.strategy:
        yield f"Chains of thought are asked for by the strategy `{declared.strategy}`."
    for kind, names in (declared.human or {}).items():
        yield f"Human rationales are taken as {kind} in {', '.join(f'`{name}`' for name in names)}."


def main(path: str) -> None:
    """Write the file."""
    write_text(Path(path), catalogue(open_project(bundled())))


if __name__ == "__main__":
    main(*sys.argv[1:])
