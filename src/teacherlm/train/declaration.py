"""What `train/NAME.yaml` declares: a base model, a tokenizer, and stages in order with their data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from teacherlm.project.bind import SPEC_CONFIG
from teacherlm.text.render import MAX_CHOICES

Precision = Literal["float32", "bfloat16", "float16"]
TooLong = Literal["drop", "cut", "split"]


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Base:
    """What training starts from; exactly one of the three."""

    model: str | None = None
    """A Hub id or a folder of `save_pretrained`."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model."""
    config: dict[str, Any] | None = None
    """A transformers configuration with its `model_type`; the weights are drawn by `seed`."""
    trained: str | None = None
    """Another declaration, such as `nano/teacher`; its output is the base. `nano/teacher:multi-task` is one stage's."""

    @model_validator(mode="after")
    def _one_of(self) -> Base:
        if sum(value is not None for value in (self.model, self.config, self.trained)) != 1:
            raise ValueError("a base is one of `model`, `config` and `trained` | write  model: ORG/NAME")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError("`config` lacks its model_type | add  model_type: bloom")
        return self


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class TokenizerSpec:
    """An existing tokenizer, or one to be trained on the texts of all stages. Left out: the base model's own."""

    model: str | None = None
    """A Hub id or folder that has one."""
    vocabulary: int | None = None
    """Train a byte-level BPE of at most so many tokens ..."""
    whole_numbers: int = 0
    """... in which the numbers 0 to this one are one token each ..."""
    letters: int = 0
    """... and so are the letters of the first so many options with their brackets, ` (A)`, ` (B)` and on."""

    @model_validator(mode="after")
    def _one_of(self) -> TokenizerSpec:
        if (self.model is None) == (self.vocabulary is None):
            raise ValueError("a tokenizer is either `model` or `vocabulary` | write  vocabulary: 1024")
        if not 0 <= self.letters <= MAX_CHOICES:
            raise ValueError(f"`letters` is {self.letters} | options have 0 to {MAX_CHOICES} letters")
        return self


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Procedural:
    """Questions of the curriculum, with their gold rationales."""

    families: tuple[str, ...] = ()
    """Left out: all."""
    split: str = "teacher"
    count: int
    seed: int


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Data:
    """One source of a stage's records and the layouts they are read in; exactly one of the first four keys."""

    dataset: str | None = None
    """An augmented dataset of the workspace (samples alone where no layout needs a kind)."""
    collection: str | None = None
    """All datasets of a collection."""
    published: str | None = None
    """A published folder or Hub repository; with `dataset` names in `configs`."""
    procedural: Procedural | None = None
    configs: tuple[str, ...] = ()
    split: str = "train"
    layouts: tuple[str, ...]
    """Each record is rendered in each of these; records that lack a layout's kind are left out of it and counted."""
    where: str | None = None
    """A DuckDB condition over the augmented columns, such as `quality.chain_of_thought.score > 0.8`."""
    at_most: int | None = None
    """Records, drawn by the stage's seed."""
    fallback: str | None = None
    """The layout for records that lack a kind, such as `plain`; left out: they are dropped."""
    weight: float = 1.0
    """Share of the stage's texts in proportion to the other sources': 2 reads every text twice an epoch."""

    @model_validator(mode="after")
    def _one_of(self) -> Data:
        named = (self.dataset, self.collection, self.published, self.procedural)
        if sum(value is not None for value in named) != 1:
            raise ValueError("data names one of `dataset`, `collection`, `published` and `procedural` | name one")
        if not self.layouts:
            raise ValueError("`layouts` is empty | write  layouts: [plain]")
        if self.weight <= 0:
            raise ValueError(f"`weight` is {self.weight} | write a number above 0")
        return self


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Schedule:
    """The learning rate over a stage: warm-up, then the shape."""

    learning_rate: float
    warmup: float = 0.05
    """Share of the steps."""
    shape: Literal["constant", "linear", "cosine", "hold-then-linear"] = "linear"
    decay: float = 0.3
    """Share of the steps over which `hold-then-linear` falls to 0."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Loss:
    """What a token of each part weighs. All 1: the loss on the whole text."""

    prompt: float = 0.0
    """Every token of the prompt."""
    answer: float = 1.0
    fundamentals: float = 1.0
    chain_of_thought: float = 1.0
    common_mistakes: float = 1.0
    options: float = 1.0


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Stage:
    """One pass of training with its own data and schedule; its end is saved under its name."""

    name: str
    data: tuple[Data, ...]
    epochs: float | None = None
    tokens: int | None = None
    """Real tokens read, padding not counted; either this or `epochs`."""
    schedule: Schedule
    batch_tokens: int
    """Real tokens of one optimizer step, over all devices; the last text that fits completes it."""
    loss: Loss = Loss()
    from_stage: str | None = None
    """Start from the end of this stage, not of the one before: specialised teachers branch off one general teacher."""

    @model_validator(mode="after")
    def _an_end(self) -> Stage:
        if (self.epochs is None) == (self.tokens is None):
            raise ValueError("a stage ends after `epochs` or after `tokens` | write one of them")
        if not self.data:
            raise ValueError("a stage without data | name a dataset, a collection or a procedural source")
        return self


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Optimizer:
    """AdamW."""

    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    clip: float = 1.0
    """Largest norm of the gradient."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Parallel:
    """How a run is spread over GPUs; `accelerate` and torchrun do it."""

    gpus: int = 1
    fsdp: bool = False
    gpu_gib: float | None = None
    """Memory of one GPU."""
    tokens_per_second: float | None = None
    """Of one GPU, measured or given; hours are forecast from it."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Training:
    """One declaration: `train/<name>.yaml`."""

    name: str
    """The file's path below `train/`, without `.yaml`."""
    about: str
    base: Base
    tokenizer: TokenizerSpec | None = None
    window: int
    """Tokens of one text."""
    too_long: TooLong = "drop"
    """What becomes of a text that exceeds the window; always counted."""
    stages: tuple[Stage, ...]
    optimizer: Optimizer = Optimizer()
    precision: Precision = "bfloat16"
    seed: int = 0
    packing: bool = True
    """Several texts in one row, without attention between them; where the model cannot, rows of about equal length."""
    device_tokens: int | None = None
    """Most tokens that one device takes at once; the rest of a batch is accumulated. Left out: the whole batch."""
    gradient_checkpointing: bool = False
    checkpoint_every: int = 500
    """Optimizer steps."""
    keep_checkpoints: int = 2
    parallel: Parallel = Parallel()

    @model_validator(mode="after")
    def _stages_that_are_there(self) -> Training:
        names = [stage.name for stage in self.stages]
        if not names:
            raise ValueError("`stages` is empty | declare at least one")
        if len(set(names)) != len(names):
            raise ValueError("two stages have one name | name each differently")
        for place, stage in enumerate(self.stages):
            if stage.from_stage is not None and stage.from_stage not in names[:place]:
                missing = f"`{stage.name}` starts from `{stage.from_stage}`, which does not come before it"
                raise ValueError(f"{missing} | name an earlier stage")
        return self
