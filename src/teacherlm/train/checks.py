"""What is wrong in a declaration of training although every key has its type: found before hours are spent."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from teacherlm.core.errors import Problem
from teacherlm.curriculum.draw import SHARES
from teacherlm.curriculum.families import FAMILIES
from teacherlm.project.layouts import Layout
from teacherlm.project.located import Loc, Located
from teacherlm.train.declaration import Data, Stage, Training

BYTES = 256
"""A byte-level tokenizer has a token for each, and one more for the end."""


def check_stage_names(located: Located) -> list[Problem]:
    """Stages that bear one name, and starts from stages that do not come before."""
    stages = located.data.get("stages") if isinstance(located.data, dict) else None
    problems: list[Problem] = []
    before: list[str] = []
    for number, stage in enumerate(stages if isinstance(stages, list) else []):
        if not isinstance(stage, dict) or not isinstance(name := stage.get("name"), str):
            continue
        if name in before:
            found = f"two stages are called `{name}`"
            problems.append(Problem(located.where(("stages", number, "name")), found, "name each differently"))
        start = stage.get("from_stage")
        if isinstance(start, str) and start not in before:
            found = f"`{name}` starts from `{start}`, which does not come before it"
            edit = _near(start, before) if before else "leave `from_stage` out: the first stage starts from the base"
            problems.append(Problem(located.where(("stages", number, "from_stage")), found, edit))
        before.append(name)
    return problems


def check(training: Training, located: Located, layouts: Mapping[str, Layout]) -> list[Problem]:
    """All that is wrong with values and with names that have to exist, in the order of the file."""
    found = [*_whole(training), *_parallel(training)]
    for number, stage in enumerate(training.stages):
        place: Loc = ("stages", number)
        found += [((*place, *loc), text, edit) for loc, text, edit in _stage(stage, training, layouts)]
    return [Problem(located.where(loc), text, edit) for loc, text, edit in found]


def unknown_data(
    training: Training, located: Located, datasets: Collection[str], collections: Collection[str]
) -> list[Problem]:
    """Datasets and collections that stages name and nobody declares; `api` knows what is declared."""
    problems = []
    for number, stage in enumerate(training.stages):
        for position, data in enumerate(stage.data):
            loc: Loc = ("stages", number, "data", position)
            for key, name, known in (
                ("dataset", data.dataset, datasets),
                ("collection", data.collection, collections),
            ):
                if name is not None and name not in known:
                    place = located.where((*loc, key))
                    problems.append(Problem(place, f"there is no {key} `{name}`", _near(name, known)))
    return problems


Found = tuple[Loc, str, str]


def _range(loc: Loc, value: float | None, low: float, high: float | None, *, above: bool = False) -> Iterator[Found]:
    """A value out of its range: `low` itself is out where `above`."""
    if value is None or ((value > low if above else value >= low) and (high is None or value <= high)):
        return
    wanted = f"above {low:g}" if above else f"of {low:g} or more"
    wanted += f" and at most {high:g}" if high is not None else ""
    yield loc, f"`{loc[-1]}` is {value:g}", f"write a number {wanted}"


def _whole(training: Training) -> Iterator[Found]:
    base, tokenizer = training.base, training.tokenizer
    if not training.about.strip():
        yield ("about",), "`about` is empty", "say in a sentence what is trained"
    if base.revision is not None and base.model is None:
        yield ("base", "revision"), "`revision` belongs to `model`, which is not given", "remove it"
    if base.config is not None and tokenizer is None:
        found = "a model from a configuration has no tokenizer of its own"
        yield ("base", "config"), found, "add  tokenizer: {vocabulary: 1024}  or  tokenizer: {model: ORG/NAME}"
    if tokenizer is not None:
        if tokenizer.vocabulary is not None and base.config is None:
            found = "a tokenizer that is trained anew does not fit weights that were learnt with another"
            yield ("tokenizer", "vocabulary"), found, "leave `tokenizer` out, or start from  base: {config: …}"
        yield from _range(("tokenizer", "vocabulary"), tokenizer.vocabulary, BYTES + 1, None)
        yield from _range(("tokenizer", "whole_numbers"), tokenizer.whole_numbers, 0, None)
    yield from _range(("window",), training.window, 2, None)
    for key in ("device_tokens", "checkpoint_every", "keep_checkpoints"):
        yield from _range((key,), getattr(training, key), 1, None)
    if training.device_tokens is not None and training.device_tokens < training.window:
        found = f"`device_tokens` is {training.device_tokens:,}, and a text may have the window's {training.window:,}"
        yield ("device_tokens",), found, f"write {training.window} or more"
    for position, beta in enumerate(training.optimizer.betas):
        if not 0 <= beta < 1:
            yield ("optimizer", "betas", position), f"a beta is {beta:g}", "write numbers from 0 to below 1"
    yield from _range(("optimizer", "weight_decay"), training.optimizer.weight_decay, 0, 1)
    yield from _range(("optimizer", "clip"), training.optimizer.clip, 0, None, above=True)
    yield from _range(("seed",), training.seed, 0, 2**32 - 1)


def _parallel(training: Training) -> Iterator[Found]:
    parallel = training.parallel
    yield from _range(("parallel", "gpus"), parallel.gpus, 1, None)
    yield from _range(("parallel", "gpu_gib"), parallel.gpu_gib, 0, None, above=True)
    yield from _range(("parallel", "tokens_per_second"), parallel.tokens_per_second, 0, None, above=True)
    if parallel.fsdp and parallel.gpus == 1:
        yield ("parallel", "fsdp"), "`fsdp` shares a model out over several GPUs, and there is one", "add  gpus: 8"


def _stage(stage: Stage, training: Training, layouts: Mapping[str, Layout]) -> Iterator[Found]:
    if "/" in stage.name or stage.name in ("", ".", ".."):
        yield ("name",), f'"{stage.name}" is no name: it names a folder', "use letters, digits, `-` and `_`"
    yield from _range(("epochs",), stage.epochs, 0, None, above=True)
    yield from _range(("tokens",), stage.tokens, 1, None)
    yield from _range(("batch_tokens",), stage.batch_tokens, 1, None)
    if 0 < stage.batch_tokens < training.window:
        found = f"`batch_tokens` is {stage.batch_tokens:,}, and one text may have the window's {training.window:,}"
        yield ("batch_tokens",), found, f"write {training.window} or more, or a smaller `window`"
    schedule = stage.schedule
    # Above 1 the rate was surely meant otherwise: AdamW moves every weight by about the rate in each step.
    yield from _range(("schedule", "learning_rate"), schedule.learning_rate, 0, 1, above=True)
    yield from _range(("schedule", "warmup"), schedule.warmup, 0, 1)
    yield from _range(("schedule", "decay"), schedule.decay, 0, 1)
    if schedule.shape == "hold-then-linear" and schedule.warmup + schedule.decay > 1:
        found = f"`warmup` and `decay` are {schedule.warmup + schedule.decay:g} of the steps together"
        yield ("schedule", "decay"), found, "write shares that sum to 1 at most"
    weights = {key: float(getattr(stage.loss, key)) for key in stage.loss.__dataclass_fields__}
    for key, weight in weights.items():
        yield from _range(("loss", key), weight, 0, None)
    if not any(weights.values()):
        yield ("loss",), "every weight is 0: nothing would be learnt", "write  answer: 1"
    for number, data in enumerate(stage.data):
        for loc, text, edit in _data(data, weights, layouts):
            yield ("data", number, *loc), text, edit


def _data(data: Data, weights: Mapping[str, float], layouts: Mapping[str, Layout]) -> Iterator[Found]:
    named: list[tuple[Loc, str]] = [(("layouts", number), name) for number, name in enumerate(data.layouts)]
    if data.fallback is not None:
        named.append((("fallback",), data.fallback))
    for loc, name in named:
        if (layout := layouts.get(name)) is None:
            yield loc, f"there is no layout `{name}`", _near(name, layouts)
        elif any(weights.values()) and not any(weights[part] for part in _weighed(layout)):
            yield loc, f"no part of `{name}` weighs anything in `loss`", f"give {layout.response[0]} a weight"
    if data.fallback is not None and data.fallback in layouts and layouts[data.fallback].kinds:
        kinds = ", ".join(layouts[data.fallback].kinds)
        found = f"`fallback` is for records that lack a kind, and `{data.fallback}` needs {kinds}"
        yield ("fallback",), found, "name a layout without kinds, such as plain"
    if data.configs and data.published is None:
        yield ("configs",), "`configs` belongs to `published`, which is not given", "remove it"
    if data.procedural is not None:
        for number, family in enumerate(data.procedural.families):
            if family not in FAMILIES:
                yield ("procedural", "families", number), f"there is no family `{family}`", _near(family, FAMILIES)
        if data.procedural.split not in SHARES:
            found = f"the curriculum has no split `{data.procedural.split}`"
            yield ("procedural", "split"), found, f"name one of {', '.join(SHARES)}"
        yield from _range(("procedural", "count"), data.procedural.count, 1, None)
        if data.where is not None:
            yield ("where",), "questions that are made have no columns to choose by", "name families instead"
    yield from _range(("at_most",), data.at_most, 1, None)


def _weighed(layout: Layout) -> set[str]:
    """The parts of a text that `loss` has weights for: the whole prompt is one."""
    return {"prompt", *(part for part in layout.response)}


def _near(name: str, known: Collection[Any]) -> str:
    near = difflib.get_close_matches(name, [str(other) for other in known], n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(map(str, known)) or 'none'}"
