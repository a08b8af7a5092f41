"""One stage: from a loaded model and its batches to the weights at its end, continued from the last checkpoint."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from teacherlm.core.errors import Mistake
from teacherlm.core.files import disk_errors
from teacherlm.train import checkpoints, failures, interrupts
from teacherlm.train.declaration import Stage, Training
from teacherlm.train.metrics import NAME, Line, MetricsLog
from teacherlm.train.model import Where
from teacherlm.train.objective import quicken, weighing
from teacherlm.train.trainer import Planned, StageTrainer


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a stage is run with."""

    training: Training
    stage: Stage
    model: Any
    batches: Planned
    inputs_of: Callable[[Mapping[str, torch.Tensor]], dict[str, Any]]
    """What the model's forward pass is given of a batch."""
    settings: Mapping[str, Any]
    """See settings.py."""
    work: Path
    """Where checkpoints and metrics lie while the stage is not finished."""
    where: Where
    place: str
    """Of the stage in the declaration."""


@dataclass(frozen=True)
class Ended:
    """A stage that reached its end, or that of a trial."""

    trainer: StageTrainer
    steps_run: int

    @property
    def model(self) -> Any:
        return self.trainer.accelerator.unwrap_model(self.trainer.model)

    def state(self) -> dict[str, Any] | None:
        """All weights, gathered from the devices that share them; None where the model holds them all."""
        if not self.trainer.is_fsdp_enabled:
            return None
        gathered: dict[str, Any] = self.trainer.accelerator.get_state_dict(self.trainer.model_wrapped)
        return gathered


def resumable(job: Job) -> checkpoints.Checkpoint | None:
    """The last checkpoint of the stage; None where it starts anew.

    Raises:
        Mistake: it is one of another declaration; says what differs.
    """
    found = checkpoints.found(job.work)
    if not found:
        return None
    if different := checkpoints.differences(found[0].settings, job.settings):
        shown = "; ".join(different[:4]) + (f"; and {len(different) - 4} more" if len(different) > 4 else "")
        raise Mistake(
            f"the checkpoint of stage `{job.stage.name}` (step {found[0].step:,}) is of another declaration: {shown}",
            f"take the change back to go on from it, or throw it away: --stages {job.stage.name} --restart",
            job.place,
        )
    return found[0]


def run_stage(job: Job, watch: Callable[[Line], None], max_steps: int | None = None) -> Ended:
    """Train a stage to its end.

    Args:
        watch: called after every step, in the first process.
        max_steps: end a trial there.

    Raises:
        Mistake: the machine cannot train in the precision declared; a checkpoint of another declaration.
        MachineFailed: memory, disk, or a loss that is no number; the last checkpoint is kept.
        Interrupted: a signal came; a checkpoint of the last step is there.
    """
    last = resumable(job)
    with disk_errors(job.work):
        job.work.mkdir(parents=True, exist_ok=True)
    quicken(job.model)
    arguments = arguments_of(job, max_steps)
    with interrupts.listening() as stop, weighing(job.model):
        trainer = StageTrainer(
            job.model,
            arguments,
            stage=job.stage.name,
            batches=job.batches,
            inputs_of=job.inputs_of,
            schedule=job.stage.schedule,
            steps=job.batches.steps,
            settings=job.settings,
            keep=job.training.keep_checkpoints,
            log=MetricsLog(job.work / NAME),
            watch=watch,
            stop=stop,
            place=job.place,
        )
        trainer.train(resume_from_checkpoint=str(last.folder) if last else None)
    if trainer.stopped:
        raise failures.Interrupted(job.stage.name, trainer.state.global_step, job.batches.steps)
    return Ended(trainer, trainer.state.global_step)


def arguments_of(job: Job, max_steps: int | None = None) -> TrainingArguments:
    """What transformers' Trainer is told.

    Raises:
        Mistake: the machine cannot train in the precision declared.
    """
    training, stage, on_gpu = job.training, job.stage, torch.cuda.is_available()
    place = job.where(("precision",))
    if training.precision == "float16" and not on_gpu:
        raise Mistake("float16 is trained on GPUs only", "write  precision: bfloat16", place)
    if training.precision == "bfloat16" and on_gpu and not torch.cuda.is_bf16_supported():
        raise Mistake("this GPU has no bfloat16", "write  precision: float16", place)
    # transformers 5.23 renamed the argument; the old name warns there, the new one is unknown before.
    known = {one.name for one in dataclasses.fields(TrainingArguments)}
    recompute = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    more: dict[str, Any] = {recompute: training.gradient_checkpointing}
    if (
        training.parallel.fsdp
        and int(os.environ.get("WORLD_SIZE", "1")) > 1
        and "ACCELERATE_USE_FSDP" not in os.environ
    ):
        layers = list(getattr(job.model, "_no_split_modules", None) or ())
        more |= {"fsdp": True, "fsdp_config": {"transformer_layer_cls_to_wrap": layers}}
    return TrainingArguments(
        output_dir=str(job.work),
        per_device_train_batch_size=1,  # one micro-batch, which is made in advance
        gradient_accumulation_steps=job.batches.accumulate,
        num_train_epochs=1,  # all epochs are in the batches
        max_steps=min(max_steps, job.batches.steps) if max_steps is not None else -1,
        learning_rate=stage.schedule.learning_rate,
        adam_beta1=training.optimizer.betas[0],
        adam_beta2=training.optimizer.betas[1],
        weight_decay=training.optimizer.weight_decay,
        max_grad_norm=training.optimizer.clip,
        bf16=training.precision == "bfloat16",
        fp16=training.precision == "float16",
        use_cpu=not on_gpu,
        seed=training.seed,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no" if max_steps is not None else "steps",
        save_steps=training.checkpoint_every,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        **more,
    )
