"""How large a model is, from its configuration alone: no weight is read or made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teacherlm.core.errors import MissingExtra, Mistake
from teacherlm.project.located import read_yaml
from teacherlm.train.declaration import Base, TokenizerSpec

SIZES = Path(__file__).with_name("sizes.yaml")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a causal language model."""

    family: str
    """`model_type` of its configuration."""
    parameters: int
    looked_up: int
    """Parameters that take part in no multiplication: position embeddings, and token embeddings with an output layer of
    their own."""
    block: int
    """Parameters of one layer."""
    outside: int
    """Parameters outside the layers: embeddings, output layer, last norm."""
    layers: int
    hidden: int
    heads: int
    vocabulary: int
    positions: int | None
    """Positions that were learnt; None where there is no limit (ALiBi)."""
    source: str
    """What the configuration was read from."""


def known() -> dict[str, dict[str, Any]]:
    """The models of `sizes.yaml`: name -> `config`, `parameters`."""
    found: dict[str, dict[str, Any]] = read_yaml(SIZES).data
    return found


def shape_of(base: Base, tokenizer: TokenizerSpec | None, where: str) -> Shape:
    """The shape of a base that is a model or a configuration.

    Args:
        base: not one that another declaration trains.
        where: of the base in the declaration, for messages.

    Raises:
        Mistake: transformers does not know it, or neither the Hub nor `sizes.yaml` tells its shape.
        MissingExtra: torch and transformers are not installed.
    """
    if base.config is not None:
        declared = dict(base.config)
        if tokenizer is not None and tokenizer.vocabulary is not None:
            declared.setdefault("vocab_size", tokenizer.vocabulary)
        return _counted(_config(declared, where), "the declaration", where)
    assert base.model is not None
    if base.model in known() and not Path(base.model).exists():
        return _counted(_config(known()[base.model]["config"], where), "sizes known to teacherlm", where)
    try:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(base.model, revision=base.revision)
    except ImportError:
        raise MissingExtra("planning a training", "local") from None
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        edit = f"look at the name and the connection; without one, name one of {', '.join(known())}"
        raise Mistake(f"the shape of {base.model} is not known: {reason}", edit, where) from None
    return _counted(config, "its folder" if Path(base.model).exists() else "the Hub", where)


def _config(declared: Mapping[str, Any], where: str) -> Any:
    try:
        from transformers import AutoConfig
    except ImportError:
        raise MissingExtra("planning a training", "local") from None
    values = {key: value for key, value in declared.items() if key != "model_type"}
    try:
        return AutoConfig.for_model(str(declared["model_type"]), **values)
    except (ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        edit = "look at the keys of `config` in the family's documentation"
        raise Mistake(f"transformers makes no configuration of this: {reason}", edit, where) from None


def _counted(config: Any, source: str, where: str) -> Shape:
    """Count the parameters of a model that is built without memory for them."""
    import torch
    import transformers

    models: Any = transformers.AutoModelForCausalLM
    if not config.num_hidden_layers or config.num_hidden_layers < 1:
        raise Mistake("a model without layers", "write a number of layers", where)
    try:
        with torch.device("meta"):
            model = models.from_config(config)
    except (ValueError, RuntimeError, TypeError, AttributeError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Mistake(f"no causal language model can be made of this: {reason}", "look at its sizes", where) from None
    total = model.num_parameters()
    blocks = [part for part in model.modules() if _is_stack(part, config.num_hidden_layers)]
    inside = sum(value.numel() for stack in blocks for value in stack.parameters())
    tokens = model.get_input_embeddings()
    head = model.get_output_embeddings()
    tables = [part for part in model.modules() if isinstance(part, torch.nn.Embedding)]
    tied = head is not None and head.weight is tokens.weight
    looked_up = sum(part.weight.numel() for part in tables if not (tied and part is tokens))
    positions = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
    return Shape(
        family=config.model_type,
        parameters=total,
        looked_up=looked_up,
        block=inside // config.num_hidden_layers,
        outside=total - inside,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        vocabulary=tokens.num_embeddings,
        positions=next((value for value in positions if isinstance(value, int) and value > 0), None),
        source=source,
    )


def _is_stack(part: Any, layers: int) -> bool:
    import torch

    return isinstance(part, torch.nn.ModuleList) and len(part) == layers
