"""Which model an evaluation asks: the bundled one, a folder, a training of the workspace, a Hub id, or a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import Mistake
from teacherlm.evaluate.scorer import LocalScorer, Scorer
from teacherlm.lm.nano import NANO
from teacherlm.train.read import names, plain_name, read_training
from teacherlm.train.request import MODELS, RECORD

if TYPE_CHECKING:
    from teacherlm.api.project import Project

HF, SERVED = "hf", "served"
"""Where a model runs, as results name it."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How a model is loaded and asked."""

    device: str = "auto"
    dtype: str = "auto"
    revision: str | None = None
    batch_tokens: int | None = None


def is_url(model: str) -> bool:
    return model.startswith(("http://", "https://"))


@contextmanager
def open_scorer(
    project: Project, model: str, options: ModelOptions, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Scorer]:
    """The model, ready to be asked.

    Args:
        tell: what a person should hear meanwhile, such as that a server does not answer.

    Raises:
        MissingExtra: torch or transformers is not installed.
        Mistake: there is no such model, or it cannot be loaded.
        RemoteFailed: the server cannot be reached.
    """
    if is_url(model):
        from teacherlm.evaluate.served import open_served

        for name in ("device", "dtype", "revision", "batch_tokens"):
            if getattr(options, name) != getattr(ModelOptions(), name):
                raise Mistake("is the server's to choose", "leave it out", f"--{name.replace('_', '-')}")
        with open_served(model, tell=tell) as scorer:
            yield scorer
        return
    from teacherlm.lm.load import load

    source = _source(project, model)
    _quiet()
    loaded = load(source, revision=options.revision, device=options.device, dtype=options.dtype, ends=False)
    if not loaded.eos_ids:
        tell(
            f"the tokenizer of {model} has no end token: texts end at a task's stop strings or their longest length; "
            "set eos_token in its tokenizer_config.json if the model was trained with one"
        )
    yield LocalScorer(loaded, model, options.batch_tokens)


def _quiet() -> None:
    """Loading takes seconds; its bars would stand between lines of progress."""
    try:
        from transformers.utils import logging
    except ImportError:
        return  # `load` says what is missing
    bars: Any = logging  # without types
    bars.disable_progress_bar()


def _source(project: Project, model: str) -> str:
    """What `load` takes: a training's name becomes the folder of its last stage, or of the one after a colon."""
    if model == NANO or Path(model).expanduser().is_dir():
        return model
    name, _, stage = model.partition(":")
    name = plain_name(name)
    if name in names(project.files):
        bound = read_training(project.files, name)
        # A name may be a declaration's and a Hub id as well: what was trained here comes first.
        stages = [one.name for one in bound.training.stages]
        if stage and stage not in stages:
            raise Mistake(f"`{name}` has no stage `{stage}`", f"its stages are {', '.join(stages)}", model)
        folder = project.workspace.root / MODELS / name / (stage or stages[-1])
        if (folder / RECORD).is_file():
            return str(folder)
        raise Mistake(
            f"`{name}` is not trained yet up to its stage `{folder.name}`: there is no {folder}",
            f"train it first: teacherlm train {name}",
            model,
        )
    folder = project.workspace.root / MODELS / name
    if stage:
        folder /= stage
    if (folder / "config.json").is_file():
        return str(folder)
    return model
