"""A stage's data as tokens: rendered in its layouts, encoded, fitted to the window and written once, all counted.

What would train nothing, or something else than was declared, is a mistake here, before the first step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest, file_digest
from teacherlm.project import layouts as layouts_module
from teacherlm.project.layouts import Layout, Rendered, lacking, render
from teacherlm.text import normalise
from teacherlm.text import render as render_module
from teacherlm.train import encode as encode_module
from teacherlm.train import windows as windows_module
from teacherlm.train.declaration import Data, Stage, Training
from teacherlm.train.encode import Encoder
from teacherlm.train.prepared import Prepared, opened, written
from teacherlm.train.records import Opener, Record, fingerprint, records, shown
from teacherlm.train.tally import Tally, check, summed
from teacherlm.train.windows import Row, fit

FORMAT = 1
"""Of what is written; another one is made anew."""
TOGETHER = 512
"""Texts that are encoded at once."""
_TELL_EVERY = 2.0
"""Seconds."""

Tell = Callable[[str], None]


def prepare(
    stage: Stage,
    training: Training,
    tokenizer: Any,
    open_records: Opener,
    folder: Path,
    tell: Tell,
    *,
    layouts: Mapping[str, Layout],
) -> Prepared:
    """A stage's texts as tokens; those on disk where they were made before of the same.

    Every text ends with the end token, but those that are cut. Neither weights nor the loss play a part: they may be
    changed without another preparation.

    Args:
        tokenizer: of transformers.
        folder: holds what was prepared, in a folder for each fingerprint.
        tell: takes a line of progress every two seconds, and one at the end.
        layouts: by name; see `project.layouts.bind_layouts`.

    Raises:
        Mistake: a source gives no text, all its records lack a kind that a layout names, the window holds none of its
            texts, there is no such layout, or the tokenizer has no end token.
        MachineFailed: the disk is full or refuses.
    """
    place = f"train/{training.name}.yaml"
    for data in stage.data:
        _known(data, layouts, place)
    if training.window < 2:
        raise Mistake(f"`window` is {training.window}", "write 2 or more", place)
    encoder = Encoder(tokenizer)
    key = _fingerprint(stage, training, encoder, open_records, layouts)
    home = folder / key[:16]
    if (found := opened(home, key)) is not None:
        return found
    tallies = [Tally(shown(data)) for data in stage.data]
    began = told = time.monotonic()

    def chunks() -> Iterator[tuple[int, list[Row]]]:
        nonlocal told
        for number, (data, tally) in enumerate(zip(stage.data, tallies, strict=True)):
            source = rendered(data, layouts, records(data, open_records, _seed(training, stage, number)), tally)
            while texts := list(islice(source, TOGETHER)):
                rows: list[Row] = []
                for text in encoder.encode(texts):
                    outcome, fitted = fit(text, training.window, training.too_long)
                    tally.count(text, outcome, fitted)
                    rows += fitted
                yield number, rows
                if time.monotonic() - told > _TELL_EVERY:
                    told = time.monotonic()
                    tell(f"{stage.name}: {_so_far(tallies)}")
        check(tallies, stage, training.window, place)

    prepared = written(home, key, chunks(), lambda: summed(tallies))
    tell(f"{stage.name}: {_so_far(tallies)} in {time.monotonic() - began:,.1f} s{_left_out(prepared.counts)}")
    return prepared


def rendered(data: Data, layouts: Mapping[str, Layout], source: Iterator[Record], tally: Tally) -> Iterator[Rendered]:
    """Each record in each layout of its source whose kinds it has; else, once, in the fallback.

    Raises:
        Mistake: an answer that is none of the choices.
    """
    fallback = None if data.fallback is None or data.fallback in data.layouts else data.fallback
    for record in source:
        tally.records += 1
        falls_back = False
        for name in data.layouts:
            if missing := lacking(layouts[name], record):
                tally.lack(name, missing)
                falls_back = True
            else:
                yield _render(layouts[name], record)
        if falls_back and fallback is not None:
            if missing := lacking(layouts[fallback], record):
                tally.lack(fallback, missing)
            else:
                tally.fallback += 1
                yield _render(layouts[fallback], record)


def all_texts(training: Training, open_records: Opener, layouts: Mapping[str, Layout]) -> Iterator[str]:
    """The texts of all stages, for a tokenizer to be trained on.

    Raises:
        Mistake: as `prepare`.
    """
    for stage in training.stages:
        for number, data in enumerate(stage.data):
            _known(data, layouts, f"train/{training.name}.yaml")
            source = records(data, open_records, _seed(training, stage, number))
            for text in rendered(data, layouts, source, Tally(shown(data))):
                yield text.text


def _render(layout: Layout, record: Record) -> Rendered:
    try:
        return render(layout, record)
    except ValueError:
        raise Mistake(
            f"the answer of sample {record.get('sample_id')} is none of its choices", "build the dataset anew"
        ) from None


def _known(data: Data, layouts: Mapping[str, Layout], place: str) -> None:
    for name in (*data.layouts, *([data.fallback] if data.fallback else [])):
        if name not in layouts:
            raise Mistake(f"there is no layout `{name}`", f"train/layouts.yaml has {', '.join(layouts)}", place)


def _seed(training: Training, stage: Stage, number: int) -> str:
    return f"{training.seed}/{stage.name}/{number}"


def _fingerprint(
    stage: Stage, training: Training, encoder: Encoder, open_records: Opener, layouts: Mapping[str, Layout]
) -> str:
    code = [layouts_module, render_module, normalise, encode_module, windows_module]
    sources = []
    for number, data in enumerate(stage.data):
        names = [*data.layouts, *([data.fallback] if data.fallback else [])]
        told = [{**asdict(layouts[name]), "about": ""} for name in names]
        drawn = None if data.at_most is None else [data.at_most, _seed(training, stage, number)]
        sources.append([fingerprint(data, open_records), data.where, told, data.fallback is not None, drawn])
    made_by = [file_digest(Path(str(module.__file__))) for module in code]
    return digest([FORMAT, made_by, encoder.fingerprint, training.window, training.too_long, sources])


def _so_far(tallies: list[Tally]) -> str:
    return f"{sum(tally.texts for tally in tallies):,} texts, {sum(tally.tokens for tally in tallies):,} tokens"


def _left_out(counts: Mapping[str, Any]) -> str:
    named = {
        "lacking": "left out for lack of a kind",
        "fallback": "in the fallback layout",
        "too_long": "longer than the window and dropped",
        "cut": "cut at the window",
        "split": "split at the window",
    }
    found = [f"{counts[name]:,} {words}" for name, words in named.items() if counts[name]]
    return f" ({'; '.join(found)})" if found else ""
