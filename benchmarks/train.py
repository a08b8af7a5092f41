"""Real tokens per second of training a small BLOOM: ours, a plain Trainer on padded batches, and TRL's packing.

All three see the same texts with the same tokenizer and model, in bfloat16 over float32 weights, one after the other in
one process with so many threads as `--threads` says. Seconds are those of the steps, after a few to warm up.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--warm", type=int, default=10, help="steps that are not counted")
parser.add_argument("--batch-tokens", type=int, default=1024)
parser.add_argument("--window", type=int, default=256)
parser.add_argument("--width", type=int, default=128)
parser.add_argument("--layers", type=int, default=3)
parser.add_argument("--threads", type=int, default=1)
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402
from transformers import BloomConfig, BloomForCausalLM, Trainer, TrainerCallback, TrainingArguments  # noqa: E402
from transformers.utils import logging  # noqa: E402

from teacherlm.core.bundle import bundled  # noqa: E402
from teacherlm.project.find import ProjectFiles  # noqa: E402
from teacherlm.train.batches import Batches  # noqa: E402
from teacherlm.train.declaration import Base, Data, Procedural, Schedule, Stage, TokenizerSpec, Training  # noqa: E402
from teacherlm.train.packing import forward_inputs, packs  # noqa: E402
from teacherlm.train.read import read_layouts  # noqa: E402
from teacherlm.train.stage import Job, run_stage  # noqa: E402
from teacherlm.train.texts import all_texts, prepare  # noqa: E402
from teacherlm.train.tokenizers import train_tokenizer  # noqa: E402

quiet: Any = logging  # without types
quiet.disable_progress_bar()
torch.set_num_threads(arguments.threads)
RECORDS = 6000

Rates = tuple[float, float]
"""Tokens per second, and per second of the processor: what counts where other programs run."""


def declared() -> Training:
    layouts = ("teach-fundamentals", "teach-chain", "teach-mistakes")
    data = Data(procedural=Procedural(count=RECORDS, seed=7), layouts=layouts)
    stage = Stage(
        name="bench",
        data=(data,),
        tokens=arguments.batch_tokens * (arguments.steps + arguments.warm),
        schedule=Schedule(learning_rate=1e-3),
        batch_tokens=arguments.batch_tokens,
    )
    return Training(
        name="bench",
        about="",
        base=Base(config={"model_type": "bloom"}),
        tokenizer=TokenizerSpec(vocabulary=1024, whole_numbers=129),
        window=arguments.window,
        stages=(stage,),
        checkpoint_every=10**9,
    )


def model(vocabulary: int) -> Any:
    torch.manual_seed(0)
    return BloomForCausalLM(
        BloomConfig(
            vocab_size=vocabulary,
            hidden_size=arguments.width,
            n_layer=arguments.layers,
            n_head=4,
            hidden_dropout=0.0,
            attention_dropout=0.0,
        )
    )


class Clock(TrainerCallback):
    """Tokens, seconds and CPU-seconds of the steps after the warm-up."""

    def __init__(self) -> None:
        self.tokens, self.began, self.spent, self.rates = 0, 0.0, 0.0, (0.0, 0.0)

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step == arguments.warm:
            self.began, self.spent, self.tokens = time.perf_counter(), time.process_time(), 0
        elif state.global_step > arguments.warm:
            seconds, spent = time.perf_counter() - self.began, time.process_time() - self.spent
            self.rates = self.tokens / seconds, self.tokens / spent


def plain_arguments(folder: str, rows: int) -> dict[str, Any]:
    return {
        "output_dir": folder,
        "per_device_train_batch_size": rows,
        "max_steps": arguments.steps + arguments.warm,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def counted(clock: Clock, collate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A collator that counts the real tokens that it lets through."""

    def through(items: Any) -> Any:
        batch = collate(items)
        clock.tokens += int((batch["labels"] != -100).sum())
        return batch

    return through


def ours(training: Training, prepared: Any, vocabulary: int, folder: Path, packing: bool = True) -> Rates:
    network = model(vocabulary)
    packed = packing and packs(network)
    stage = training.stages[0]
    batches = Batches(prepared, stage, packing=packed, window=training.window, device_tokens=None, loss=stage.loss)
    lines: list[Any] = []
    job = Job(
        training=training,
        stage=stage,
        model=network,
        batches=batches,
        inputs_of=lambda batch: forward_inputs(network, batch, packed=packed),
        settings={},
        work=folder,
        where=lambda loc: "bench",
        place="bench",
    )
    run_stage(job, lines.append)
    first, last = lines[arguments.warm - 1], lines[-1]
    tokens = last.tokens - first.tokens
    return tokens / (last.seconds - first.seconds), tokens / (last.cpu_seconds - first.cpu_seconds)


def padded(prepared: Any, tokenizer: Any, folder: Path) -> Rates:
    texts = [{"input_ids": prepared.row(place)[0].tolist()} for place in range(len(prepared.lengths))]
    rows = max(1, round(arguments.batch_tokens / float(prepared.lengths.mean())))

    def collate(items: Any) -> dict[str, torch.Tensor]:
        columns = max(len(item["input_ids"]) for item in items)
        ids = torch.full((len(items), columns), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, item in enumerate(items):
            ids[row, : len(item["input_ids"])] = torch.tensor(item["input_ids"])
            mask[row, : len(item["input_ids"])] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}

    clock = Clock()
    trainer = Trainer(
        model(len(tokenizer)),
        TrainingArguments(**plain_arguments(str(folder), rows)),
        train_dataset=texts,
        data_collator=counted(clock, collate),
        callbacks=[clock],
    )
    trainer.train()
    return clock.rates


def by_trl(prepared: Any, tokenizer: Any, folder: Path) -> Rates | None:
    try:
        import trl
        from datasets import Dataset
    except ImportError:
        return None
    library: Any = trl  # its names are loaded when they are asked for
    data = Dataset.from_dict({"input_ids": [prepared.row(n)[0].tolist() for n in range(len(prepared.lengths))]})
    clock = Clock()
    rows = max(1, arguments.batch_tokens // arguments.window)
    settings = library.SFTConfig(
        **plain_arguments(str(folder), rows),
        max_length=arguments.window,
        packing=True,
        packing_strategy="wrapped",
        gradient_checkpointing=False,
        dataset_num_proc=1,
    )
    trainer = library.SFTTrainer(
        model(len(tokenizer)), args=settings, train_dataset=data, processing_class=tokenizer, callbacks=[clock]
    )
    trainer.data_collator = counted(clock, trainer.data_collator)
    trainer.train()
    return clock.rates


def main() -> None:
    training = declared()
    layouts = read_layouts(ProjectFiles(bundled()))

    def nothing(_: Any) -> Any:
        return iter(())

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        spec = training.tokenizer
        assert spec is not None
        tokenizer = train_tokenizer(spec, all_texts(training, nothing, layouts))
        prepared = prepare(
            training.stages[0], training, tokenizer, nothing, folder / "data", lambda _: None, layouts=layouts
        )
        lengths = prepared.lengths
        threads = f"{arguments.threads} thread{'s' if arguments.threads > 1 else ''}"
        print(f"{platform.machine()}, {threads}, torch {torch.__version__}; {len(lengths):,} texts of ", end="")
        print(f"{lengths.mean():.0f} tokens; {arguments.batch_tokens:,} tokens a step, window {arguments.window}")
        found = {
            "teacherlm, packed": ours(training, prepared, len(tokenizer), folder / "packed"),
            "teacherlm, by length": ours(training, prepared, len(tokenizer), folder / "length", packing=False),
            "Trainer, padded": padded(prepared, tokenizer, folder / "padded"),
            "TRL SFTTrainer, wrapped": by_trl(prepared, tokenizer, folder / "trl"),
        }
        for name, rates in found.items():
            told = f"{rates[0]:>9,.0f} tokens/s{rates[1]:>9,.0f} tokens/CPU-s" if rates else " not installed"
            print(f"{name:<26}{told}")


if __name__ == "__main__":
    main()
