"""Records, declarations and tokenizers for the tests of training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from teacherlm.train.declaration import Base, Data, Schedule, Stage, Training

END = "</s>"


def record(number: int, **changed: Any) -> dict[str, Any]:
    """An augmented record with all kinds."""
    one, two = number % 40 + 2, number * 7 % 30 + 3
    total = str(one + two)
    return {
        "sample_id": f"sums/train/{number}",
        "dataset": "sums",
        "split": "train",
        "task": "multiple_choice",
        "question": f"Ann has {one} pens and finds {two}. How many pens has Ann?",
        "choices": [str(one + two + 1), total, str(one + two + 10)],
        "answer": total,
        "fundamentals": "What is found is added.",
        "chain_of_thought": f"{one} + {two} = {total}. The result is {total}.",
        "common_mistakes": f"Whoever counts {one} again says {one + two + 1}.",
        **changed,
    }


class Shelf:
    """An opener over lists of records, by dataset."""

    def __init__(self, **datasets: Iterable[Mapping[str, Any]]) -> None:
        self.datasets = {name: list(rows) for name, rows in datasets.items()}
        self.opened = 0

    def __call__(self, data: Data) -> Iterator[Mapping[str, Any]]:
        self.opened += 1
        yield from self.datasets[str(data.dataset)]


def stage(*data: Data, name: str = "s", **changed: Any) -> Stage:
    given: dict[str, Any] = {"epochs": 1.0, "batch_tokens": 1000, "schedule": Schedule(learning_rate=1e-3), **changed}
    return Stage(name=name, data=data, **given)


def training(*stages: Stage, **changed: Any) -> Training:
    given: dict[str, Any] = {"window": 256, **changed}
    return Training(name="t", about="A test.", base=Base(config={"model_type": "bloom"}), stages=stages, **given)


def byte_level(texts: Iterable[str], size: int = 500) -> Any:
    """Byte-level BPE as GPT-2, BLOOM and OPT have it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    return fast(made)


def unigram(texts: Iterable[str], *, begin: bool = False, end: bool = False) -> Any:
    """A Unigram model over words with marked blanks, as SentencePiece makes them; with begin or end tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>", END], unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    if begin:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    if end:
        made.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 2)])
    return fast(made)


def over_words(texts: Iterable[str]) -> Any:
    """BPE whose tokens reach over blanks, with a blank put before every text, as early Llama tokenizers have it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", END], show_progress=False)
    made.train_from_iterator(texts, trainer)
    return fast(made)


def fast(made: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=made, eos_token=END)
