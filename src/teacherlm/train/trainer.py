"""transformers' Trainer over micro-batches that are made in advance, with a loss that weighs every token.

What is our own: the order of the batches, the loss and what it is divided by, the schedule, when a checkpoint counts,
and the line of metrics. Everything else, devices and mixed precision above all, is the Trainer's.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments

from teacherlm.core.files import sweep_temporary
from teacherlm.train import checkpoints, failures
from teacherlm.train.declaration import Schedule
from teacherlm.train.metrics import Line, MetricsLog
from teacherlm.train.objective import targets
from teacherlm.train.progress import Meter
from teacherlm.train.schedule import factor

Batch = Mapping[str, torch.Tensor]


class Planned(Protocol):
    """A stage's micro-batches, as `train.batches.Batches` has them."""

    steps: int
    accumulate: int
    tokens: int

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Mapping[str, torch.Tensor]: ...


class Share(Dataset[Batch]):
    """The micro-batches of one process: each takes one of so many as there are processes."""

    def __init__(self, batches: Planned, rank: int, processes: int) -> None:
        self._batches, self._rank, self._processes = batches, rank, processes

    def __len__(self) -> int:
        return (len(self._batches) - self._rank + self._processes - 1) // self._processes

    def __getitem__(self, place: int) -> Batch:
        return self._batches[place * self._processes + self._rank]


def _only(items: list[Batch]) -> Batch:
    return items[0]


class StageTrainer(Trainer):
    """Trains one stage.

    Args:
        model: inside `objective.weighing`.
        batches: micro-batches in their order; a step takes `accumulate` of each process.
        inputs_of: what the model's forward pass is given of a batch.
        steps: optimizer steps of the whole stage, for the schedule.
        settings: what the stage was declared as; written into its checkpoints.
        stop: looked at after every step.
        place: of the declaration, for messages.
    """

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        *,
        stage: str,
        batches: Planned,
        inputs_of: Callable[[Batch], dict[str, Any]],
        schedule: Schedule,
        steps: int,
        settings: Mapping[str, Any],
        keep: int,
        log: MetricsLog,
        watch: Callable[[Line], None],
        stop: Callable[[], bool],
        place: str,
    ) -> None:
        super().__init__(model=model, args=args)
        # Both would print what our own lines say.
        for callback in list(self.callback_handler.callbacks):
            if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
                self.remove_callback(callback)
        self.loss_is_scaled_for_ga = True
        self._stage, self._batches, self._inputs_of = stage, batches, inputs_of
        self._schedule, self._steps, self._settings, self._keep = schedule, steps, settings, keep
        self._lines, self._watch, self._stop, self._place = log, watch, stop, place
        self._meter = Meter()
        self._tokens, self._step_tokens, self._shape = 0, 0, (0, 0)
        self._seconds, self._cpu_seconds = 0.0, 0.0
        self._aside: Path | None = None
        self.stopped = False

    def train(self, resume_from_checkpoint: Any = None, **given: Any) -> Any:  # type: ignore[override]
        """As the Trainer's; what does not fit into memory is named."""
        step = int(Path(resume_from_checkpoint).name.removeprefix(checkpoints.PREFIX)) if resume_from_checkpoint else 0
        if self.is_world_process_zero() and (before := self._lines.resume(step)) is not None:
            self._tokens, self._seconds, self._cpu_seconds = before.tokens, before.seconds, before.cpu_seconds
        self._began, self._cpu_began = time.monotonic(), time.process_time()
        try:
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **given)
        except Exception as error:
            if failures.is_memory(error):
                told = (*self._shape, self._device_tokens, self._place, self.kept())
                raise failures.out_of_memory(*told) from error
            raise

    @property
    def _device_tokens(self) -> int | None:
        declared: int | None = self._settings.get("device_tokens")
        return declared

    def kept(self) -> str:
        """What there is to go on from."""
        found = checkpoints.found(Path(str(self.args.output_dir)))
        return f"the checkpoint of step {found[0].step:,} is kept" if found else "there is no checkpoint yet"

    def get_train_dataloader(self) -> DataLoader[Batch]:
        # Not prepared by accelerate, which would deal the batches out in an order of its own.
        share = Share(self._batches, self.args.process_index, self.args.world_size)
        own = torch.Generator()
        return DataLoader(share, batch_size=1, shuffle=False, collate_fn=_only, generator=own)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor]:
        """The micro-batches of one step and the sum of their weights, over all processes."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        weights = sum(float(targets(batch)["weights"].sum(dtype=torch.float64)) for batch in batches)
        tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
        counted = torch.tensor([[weights, float(tokens)]], dtype=torch.float64)
        if self.args.world_size > 1:
            counted = self.accelerator.gather(counted.to(device)).cpu()
        total = counted.sum(dim=0)
        self._step_tokens = int(total[1])
        return batches, total[0].to(torch.float32).to(device)

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The micro-batch's part of the step's weighted mean; the mean over processes becomes their sum."""
        self._shape = (int(inputs["input_ids"].shape[0]), int(inputs["input_ids"].shape[1]))
        outputs = model(**self._inputs_of(inputs), **targets(inputs))
        assert isinstance(num_items_in_batch, torch.Tensor)
        # A step whose texts weigh nothing changes nothing.
        loss = outputs["loss"] / num_items_in_batch.clamp(min=1e-12) * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Of the whole stage, also where a trial ends early."""
        if self.lr_scheduler is None:
            chosen: Any = optimizer if optimizer is not None else self.optimizer
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                chosen, lambda step: factor(self._schedule, step, self._steps)
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write the line of a step. Called before its checkpoint is saved, so that a loss that is no number never is.

        Raises:
            Diverged: the loss or the gradient is no number.
        """
        if "loss" not in logs or "learning_rate" not in logs:
            return
        step, norm = self.state.global_step, float(logs.get("grad_norm") or 0.0)
        # Half precision skips a step whose gradient overflows, and scales less from then on.
        watched = {"loss": logs["loss"]} | ({} if self.args.fp16 else {"gradient": norm})
        for what, value in watched.items():
            if not torch.isfinite(torch.tensor(value)):
                rate = logs["learning_rate"]
                raise failures.diverged(self._stage, step, what, rate, self._place, self.kept())
        self._tokens += self._step_tokens
        here = time.monotonic() - self._began
        line = Line(
            step=step,
            tokens=self._tokens,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            grad_norm=norm,
            tokens_per_second=round(self._meter.see(here, self._tokens), 1),
            seconds=round(self._seconds + here, 3),
            cpu_seconds=round(self._cpu_seconds + time.process_time() - self._cpu_began, 3),
            peak_memory_mb=round(peak_memory_mb(), 1),
        )
        if self.is_world_process_zero():
            self._lines.append(line)
            self._watch(line)
        self._look(step)

    def _look(self, step: int) -> None:
        """Stop with a checkpoint where one of the processes was interrupted."""
        wanted = self._stop()
        if self.args.world_size > 1:
            flag = torch.tensor([float(wanted)], device=self.args.device)
            wanted = bool(self.accelerator.gather(flag).sum())
        if wanted and step < self._steps:
            self.stopped = True
            self.control.should_save = True
            self.control.should_training_stop = True

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As the Trainer's, written aside and renamed when it is whole."""
        folder = Path(str(self.args.output_dir))
        staged = checkpoints.staging(folder)
        step = self.state.global_step
        with failures.saving(folder):
            self._aside = staged
            try:
                super()._save_checkpoint(model, trial)
            except BaseException:
                if self.is_world_process_zero():
                    sweep_temporary(folder)
                raise
            finally:
                self._aside = None
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                checkpoints.commit(staged / f"{checkpoints.PREFIX}{step}", folder, step, self._settings)
                checkpoints.prune(folder, self._keep)
            self.accelerator.wait_for_everyone()

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        # Safetensors holds tied weights once: the second name of one is missing in every checkpoint, and nothing is.
        model: Any = self.model
        names = {name for name, _ in model.named_parameters()}
        tied = {name for name, _ in model.named_parameters(remove_duplicate=False) if name not in names}
        missing = [name for name in load_result.missing_keys if name not in tied]
        if missing or load_result.unexpected_keys:
            super()._issue_warnings_after_load(load_result)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._aside) if self._aside is not None else super()._get_output_dir(trial)


def peak_memory_mb() -> float:
    """Most memory so far: of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0) / 1e6
