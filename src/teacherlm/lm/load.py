"""Load a causal language model and its tokenizer, by name, path or Hub id.

Importing this module loads neither torch nor transformers; calling `load` does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import MissingExtra, Mistake
from teacherlm.lm import nano

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
WINDOW = 2048
"""Tokens of context for models that state no limit (ALiBi models such as BLOOM have none)."""

_WEIGHTS_AND_WORDS = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja")
"""Files of a model folder that change what it says."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A model that can be asked."""

    model: Any
    """A transformers causal language model in evaluation mode."""
    tokenizer: Any
    """The transformers tokenizer."""
    model_id: str
    model_sha: str
    """The Hub commit, or a digest of configuration, weights and tokenizer: equal exactly when the model is."""
    pipeline_tag: str | None = None
    """`text-generation` for Hub models, else None; TGI's `/` returns the prompt too when it is set."""
    device: str
    dtype: str
    max_total_tokens: int
    """Prompt and answer together, in tokens."""
    eos_ids: frozenset[int]
    """Tokens that end an answer; empty only where `load` was told that there need be none."""


def load(
    model: str, *, revision: str | None = None, device: str = "auto", dtype: str = "auto", ends: bool = True
) -> LoadedModel:
    """Load a model.

    Args:
        model: `nano`, a folder, or a Hub id.
        revision: branch, tag or commit of a Hub model.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …; `auto` takes a GPU if there is one.
        dtype: `auto`, `float32`, `bfloat16` or `float16`; `auto` is float32 on the CPU, else the checkpoint's own.
        ends: refuse a model whose texts would never end; who asks how likely texts are needs no end.

    Raises:
        Mistake: no such model, device or dtype; a model that cannot be loaded, or has no end token though it must.
        MissingExtra: torch or transformers is not installed.
    """
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError:
        raise MissingExtra("a local model", "local") from None
    place = _device(torch, device)
    if dtype not in DTYPES:
        raise Mistake(f"dtype `{dtype}` is unknown", f"use one of {', '.join(DTYPES)}", "--dtype")
    if model == nano.NANO:
        if revision is not None:
            raise Mistake("the bundled teacher has no revisions", "leave --revision out", "--revision")
        return replace(_pretrained(str(nano.FOLDER), None, place, dtype), model_id=nano.MODEL_ID)
    loaded = _pretrained(model, revision, place, dtype)
    if ends and not loaded.eos_ids:
        raise Mistake(
            f"the tokenizer of {model} has no end token, so no answer would ever end",
            "set eos_token in its tokenizer_config.json",
            model,
        )
    return loaded


def _device(torch: Any, device: str) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise Mistake(f"device `{device}` cannot be used: {reason}", "use --device cpu, or auto", "--device") from None
    return place  # type: ignore[no-any-return]


def _pretrained(model: str, revision: str | None, device: torch.device, dtype: str) -> LoadedModel:
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = Path(model).expanduser()
    local = folder.is_dir()
    if local and not (folder / "config.json").is_file():
        raise Mistake(
            f"folder {model} holds no model: config.json is missing", "name a folder made by save_pretrained", model
        )
    if not local and (folder.exists() or model.startswith(("/", ".", "~")) or model.count("/") > 1):
        raise Mistake(f"there is no model folder {model}", "name a folder, a Hub id such as org/name, or nano", model)
    if local and revision is not None:
        raise Mistake("a folder has no revisions", "leave --revision out, or name a Hub id", "--revision")
    source = str(folder) if local else model
    try:
        config = AutoConfig.from_pretrained(source, revision=revision)
        # The commit that the configuration came from, so that weights pushed meanwhile are not mixed in.
        commit = None if local else (getattr(config, "_commit_hash", None) or revision)
        tokenizer = AutoTokenizer.from_pretrained(source, revision=commit)
        loaded = AutoModelForCausalLM.from_pretrained(source, revision=commit, dtype=_dtype(dtype, device))
    except SafetensorError as error:
        raise Mistake(
            f"{model} cannot be loaded: its weights are cut or damaged ({error})", "save or fetch them again", model
        ) from None
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise Mistake(
            f"{model} cannot be loaded: {reason}",
            "check the name, --revision, the connection and (for private models) `hf auth login`",
            model,
        ) from error
    sha = _digest(folder) if local else str(commit)
    tag = None if local else "text-generation"
    return _ready(loaded, tokenizer, device, model_id=model, model_sha=sha, pipeline_tag=tag)


def _ready(
    model: Any, tokenizer: Any, device: torch.device, *, model_id: str, model_sha: str, pipeline_tag: str | None = None
) -> LoadedModel:
    """Check what generation relies on and put the model where it runs."""
    if getattr(model, "_is_stateful", False):
        raise Mistake(
            f"{model_id} keeps a recurrent state, which cannot be batched here", "use a transformer model", model_id
        )
    ends = _ids(tokenizer.eos_token_id) | _ids(getattr(model.generation_config, "eos_token_id", None))
    rows = model.get_input_embeddings().num_embeddings
    highest = max(tokenizer.get_vocab().values(), default=0)
    if highest >= rows:
        raise Mistake(
            f"the tokenizer of {model_id} knows token {highest}, the model only {rows} tokens",
            "load the tokenizer that the model was trained with",
            model_id,
        )
    model.eval().requires_grad_(False).to(device)
    _fuse(model)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        model_id=model_id,
        model_sha=model_sha,
        pipeline_tag=pipeline_tag,
        device=str(device),
        dtype=str(model.dtype).removeprefix("torch."),
        max_total_tokens=_window(model.config, tokenizer),
        eos_ids=ends,
    )


def _fuse(model: Any) -> None:
    """Let torch compute BLOOM's activation in one pass instead of eight: the same function, a third of its time."""
    from torch.nn import GELU

    for module in model.modules():
        if type(getattr(module, "gelu_impl", None)).__name__ == "BloomGelu":
            module.gelu_impl = GELU(approximate="tanh")


def _dtype(dtype: str, device: torch.device) -> Any:
    import torch

    if dtype != "auto":
        return getattr(torch, dtype)
    # Half precision on a CPU is slow and gives other text in another batch.
    return torch.float32 if device.type == "cpu" else "auto"


def _ids(value: int | list[int] | None) -> frozenset[int]:
    if value is None:
        return frozenset()
    return frozenset([value] if isinstance(value, int) else value)


def _window(config: Any, tokenizer: Any) -> int:
    stated = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "seq_length", "n_ctx"))
    window = next((value for value in stated if isinstance(value, int) and value > 0), WINDOW)
    limit = tokenizer.model_max_length  # transformers writes 1e30 where nothing is known
    return min(window, int(limit)) if limit < 10_000_000 else window


def _digest(folder: Path) -> str:
    """Digest of a model folder, 40 hex digits; independent of its place and of file times."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _WEIGHTS_AND_WORDS for path in folder.glob(pattern)}):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:40]
