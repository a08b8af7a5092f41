"""The model that a stage starts from: drawn from a configuration, of a folder or the Hub, or the end of a stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest, file_digest
from teacherlm.train.declaration import Base, Training

Where = Callable[[tuple[str | int, ...]], str]
"""`file:line:column` of a part of the declaration."""

POSITIONS = ("max_position_embeddings", "n_positions")
"""Where configurations say how many positions were learnt; models with ALiBi say nothing."""


@dataclass(frozen=True)
class Source:
    """Where weights come from."""

    place: str | None
    """A folder or Hub id; None: drawn by the seed."""
    revision: str | None
    """The commit of a Hub model."""
    identity: dict[str, Any]
    """What tells it from others, for fingerprints and the card."""


def source_of(base: Base, find_trained: Callable[[str], Path], where: Where) -> Source:
    """Where the base of a declaration comes from; nothing is loaded but the commit of a Hub model.

    Args:
        find_trained: the folder of `NAME` or `NAME:STAGE`.

    Raises:
        Mistake: there is no such model.
    """
    if base.config is not None:
        return Source(None, None, {"config": digest(base.config)[:16], "model_type": base.config["model_type"]})
    if base.trained is not None:
        folder = find_trained(base.trained)
        return Source(str(folder), None, {"trained": base.trained, "weights": weights_digest(folder)})
    assert base.model is not None
    folder = Path(base.model).expanduser()
    if folder.is_dir():
        if base.revision is not None:
            raise Mistake("a folder has no revisions", "leave `revision` out", where(("base", "revision")))
        return Source(str(folder), None, {"model": folder.name, "weights": weights_digest(folder)})
    commit = _commit(base, where)
    return Source(base.model, commit, {"model": base.model, "revision": commit})


def weights_digest(folder: Path) -> str:
    """Digest of a folder's weights, 16 hex digits."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    return digest({path.name: file_digest(path) for path in files if path.name != "training_args.bin"})[:16]


def _commit(base: Base, where: Where) -> str | None:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(base.model), revision=base.revision)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _not_loaded(str(base.model), error, where(("base", "model"))) from error
    return getattr(config, "_commit_hash", None) or base.revision


def _not_loaded(name: str, error: Exception, where: str) -> Mistake:
    reason = " ".join(str(error).split())[:300]
    return Mistake(
        f"the base model {name} cannot be loaded: {reason}",
        "name a folder of save_pretrained or a Hub id; look at `revision`, the connection and, for private models, "
        "`hf auth login`",
        where,
    )


def fresh_config(base: Base, tokenizer: Any, where: Where) -> Any:
    """The configuration of a model that is drawn, with the tokenizer's size and its end and padding tokens.

    Raises:
        Mistake: transformers does not know it, or the vocabulary declared is smaller than the tokenizer's.
    """
    from transformers import AutoConfig

    declared = dict(base.config or {})
    kind = declared.pop("model_type")
    size = max(len(tokenizer), max(tokenizer.get_vocab().values(), default=0) + 1)
    if (given := declared.setdefault("vocab_size", size)) < size:
        raise Mistake(
            f"`vocab_size` is {given:,}, the tokenizer has {size:,} tokens",
            "leave `vocab_size` out: it follows the tokenizer",
            where(("base", "config", "vocab_size")),
        )
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    ends["pad_token_id"] = tokenizer.pad_token_id
    # Also where there is none: a family's own number would name some other token.
    declared = ends | declared
    try:
        return AutoConfig.for_model(kind, **declared)
    except (ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise Mistake(
            f"transformers makes no configuration of this: {reason}",
            "look at the keys of `config` in the family's documentation",
            where(("base", "config")),
        ) from None


def load_model(training: Training, source: Source, tokenizer: Any, where: Where) -> Any:
    """The model in float32 on the CPU, ready to be trained.

    Raises:
        Mistake: it cannot be loaded, has too few positions or tokens, or a recurrent state.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if source.place is None:
        config = fresh_config(training.base, tokenizer, where)
        torch.manual_seed(training.seed)
        try:
            make: Any = AutoModelForCausalLM  # without types
            model = make.from_config(config, dtype=torch.float32)
        except (ValueError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())[:300]
            place = where(("base", "config"))
            raise Mistake(f"no model can be made of this: {reason}", "look at its sizes", place) from None
    else:
        try:
            model = AutoModelForCausalLM.from_pretrained(
                source.place, revision=source.revision, dtype=torch.float32, use_safetensors=None
            )
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            raise _not_loaded(source.place, error, where(("base",))) from error
    check(training, model, tokenizer, where)
    return model


def check(training: Training, model: Any, tokenizer: Any, where: Where) -> None:
    """What training relies on.

    Raises:
        Mistake: the model has fewer positions than the window, fewer tokens than the tokenizer, or a recurrent state.
    """
    stated = [getattr(model.config, name, None) for name in POSITIONS]
    positions = next((value for value in stated if isinstance(value, int) and value > 0), None)
    if positions is not None and training.window > positions:
        raise Mistake(
            f"the window is {training.window:,} tokens, the model has {positions:,} positions",
            f"write  window: {positions}",
            where(("window",)),
        )
    rows = model.get_input_embeddings().num_embeddings
    highest = max(tokenizer.get_vocab().values(), default=0)
    if highest >= rows:
        raise Mistake(
            f"the tokenizer has token {highest:,}, the model only {rows:,} tokens",
            "leave `tokenizer` out to take the model's own, or train from a `config`",
            where(("tokenizer",)),
        )
    if getattr(model, "_is_stateful", False):
        raise Mistake(
            f"a {model.config.model_type} keeps a recurrent state: texts in one row would see each other",
            "take a transformer model",
            where(("base",)),
        )
