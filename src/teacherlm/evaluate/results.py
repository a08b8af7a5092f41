"""The results of an evaluation as a file, with the keys of lm-evaluation-harness 0.4.13 and a few of our own.

Source: `lm_eval/result_schema.py`, `lm_eval/evaluator_utils.py`, `lm_eval/loggers/evaluation_tracker.py`.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from teacherlm.evaluate.aggregate import Aggregate, Figure, of_group
from teacherlm.evaluate.results_files import OWN, sanitised
from teacherlm.evaluate.scorer import About

CONVENTIONS = "0.4.13"
"""The version of the harness whose predictions and figures these are."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A task that was asked and judged."""

    name: str
    alias: str
    config: Mapping[str, Any]
    version: Any
    shots: int
    figures: tuple[Figure, ...]
    documents: int
    """Asked."""
    of: int
    """Of the split, without a limit."""
    cuts: Mapping[int, int]
    """Documents whose context was longer than the window: their `doc_id`, and the tokens cut from it, on the left."""
    refused: int
    """Documents that could not be asked."""
    without_gold: int
    """Documents whose gold answer is none of their options; they count as wrong, as in the harness."""
    fingerprint: str
    key: str
    """Of all that decides the model's answers."""
    samples: str
    """Its file of samples."""
    seconds: float
    reused: bool = False
    """Whether the model's answers are those of an earlier run."""

    @property
    def better(self) -> dict[str, bool | None]:
        return {one.metric: one.higher_is_better for one in self.figures}


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """A group of tasks, and of groups."""

    name: str
    alias: str
    version: str
    members: tuple[str, ...]
    """Names of its tasks and groups."""
    tasks: tuple[str, ...]
    """Names of all tasks below it."""
    aggregates: tuple[Aggregate, ...]
    figures: tuple[Figure, ...] = ()

    def of(self, scored: Mapping[str, Scored]) -> Grouped:
        """The group with the figures of those of its tasks that were scored."""
        tasks = {name: scored[name].figures for name in self.tasks if name in scored}
        return replace(self, figures=tuple(one for part in self.aggregates for one in of_group(part, tasks)))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it was settings."""

    model: str
    """As it was named."""
    source: str
    """`hf` for a model of this process, `teacherlm-served` for a server."""
    seed: int
    limit: int | None
    batch_tokens: int | None
    date: float
    """When it began, in seconds since 1970."""


def results(
    settings: Settings, about: About, tasks: Sequence[Scored], groups: Sequence[Grouped], seconds: float
) -> dict[str, Any]:
    """The content of a results file.

    Args:
        groups: with their figures; each after those that it holds.
        seconds: since it began.
    """
    figures = {one.name: _task(one) for one in tasks} | {one.name: _group(one, tasks) for one in groups}
    shots = {one.name: one.shots for one in tasks}
    better: dict[str, dict[str, bool | None]] = {one.name: one.better for one in tasks}
    # The harness begins with the outermost, which therefore do not see what those below them find.
    outermost = outermost_first(groups)
    for group in outermost:
        if len(of := {shots[name] for name in group.members if name in shots}) == 1:
            shots[group.name] = of.pop()
        if joined := _joined(better[name] for name in group.members if name in better):
            better[group.name] = joined
    pooled = {one.name: figures[one.name] for one in groups if one.aggregates}
    return {
        "results": figures,
        **({"groups": pooled} if pooled else {}),
        "group_subtasks": {one.name: list(one.members) for one in outermost},
        "configs": {one.name: one.config for one in sorted(tasks, key=lambda one: one.name)},
        "versions": _sorted({one.name: one.version for one in tasks} | {one.name: one.version for one in groups}),
        "n-shot": _sorted(shots),
        "higher_is_better": _sorted(better),
        "n-samples": {one.name: {"original": one.of, "effective": one.documents} for one in tasks},
        **_circumstances(settings, about),
        "task_hashes": {one.name: one.fingerprint for one in tasks},
        "model_source": settings.source,
        "model_name": settings.model,
        "model_name_sanitized": sanitised(settings.model),
        **dict.fromkeys(("system_instruction", "system_instruction_sha")),
        "fewshot_as_multiturn": None,
        **dict.fromkeys(("chat_template", "chat_template_sha")),
        "total_evaluation_time_seconds": str(seconds),
        OWN: _own(settings, about, tasks, groups),
    }


def outermost_first(groups: Sequence[Grouped]) -> list[Grouped]:
    """Each group before those that it holds, in the order of their members."""
    named = {one.name: one for one in groups}
    inside = {member for one in groups for member in one.members}
    found: dict[str, Grouped] = {}

    def add(name: str) -> None:
        if name in named and name not in found:
            found[name] = named[name]
            for member in named[name].members:
                add(member)

    for one in groups:
        if one.name not in inside:
            add(one.name)
    return list(found.values())


def _task(one: Scored) -> dict[str, Any]:
    return {"name": one.name, "alias": one.alias, "sample_len": one.documents, **_values(one.figures)}


def _group(one: Grouped, tasks: Sequence[Scored]) -> dict[str, Any]:
    found: dict[str, Any] = {"alias": one.alias, "name": one.name}
    if one.aggregates:
        found["sample_len"] = sum(task.documents for task in tasks if task.name in one.tasks)
        found |= _values(one.figures)
        if one.figures:
            found["sample_count"] = {figure.key: figure.documents for figure in one.figures}
    return found


def _values(figures: Iterable[Figure]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in figures:
        found[one.key] = one.value
        found[one.stderr_key] = "N/A" if one.stderr is None else one.stderr
    return found


def _joined(parts: Iterable[Mapping[str, bool | None]]) -> dict[str, bool | None]:
    """Of each metric whether more is better; None where tasks differ."""
    found: dict[str, bool | None] = {}
    for part in parts:
        for metric, value in part.items():
            found[metric] = value if found.get(metric, value) == value else None
    return found


def _sorted(found: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(found.items()))


def _circumstances(settings: Settings, about: About) -> dict[str, Any]:
    return {
        "config": {
            "model": settings.source,
            "model_args": {"pretrained": settings.model},
            "model_num_parameters": about.parameters,
            "model_dtype": about.dtype,
            "model_revision": about.revision,
            "model_sha": about.sha,
            "batch_size": "auto" if settings.batch_tokens is None else f"{settings.batch_tokens} tokens",
            "batch_sizes": [],
            "device": about.device,
            "use_cache": None,
            "limit": settings.limit,
            "bootstrap_iters": 0,
            "gen_kwargs": None,
            **dict.fromkeys(("random_seed", "numpy_seed", "torch_seed", "fewshot_seed"), settings.seed),
        },
        "git_hash": None,
        "date": settings.date,
        "pretty_env_info": f"Python {platform.python_version()}, torch {_version('torch')}, {platform.platform()}",
        "transformers_version": _version("transformers"),
        "lm_eval_version": f"teacherlm {_version('teacherlm')}, by the conventions of {CONVENTIONS}",
        "upper_git_hash": None,
        "tokenizer_pad_token": _named(about.pad),
        "tokenizer_eos_token": _named(about.eos),
        "tokenizer_bos_token": _named(about.bos),
        "eot_token_id": about.eos[1],
        "max_length": about.window,
    }


def _named(token: tuple[str | None, int | None]) -> list[str | None]:
    return [token[0], str(token[1])]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _own(settings: Settings, about: About, tasks: Sequence[Scored], groups: Sequence[Grouped]) -> dict[str, Any]:
    return {
        "model_fingerprint": about.fingerprint,
        "seed": settings.seed,
        "tasks": {
            one.name: {
                "documents": one.documents,
                "cuts": {str(document): tokens for document, tokens in one.cuts.items()},
                "refused": one.refused,
                "without_gold": one.without_gold,
                "seconds": one.seconds,
                "reused": one.reused,
                "key": one.key,
                "samples": one.samples,
                "figures": [_figure(figure) for figure in one.figures],
            }
            for one in tasks
        },
        "groups": {one.name: {"figures": [_figure(figure) for figure in one.figures]} for one in groups},
    }


def _figure(one: Figure) -> dict[str, Any]:
    return {**asdict(one), "within_chance": one.within_chance}
