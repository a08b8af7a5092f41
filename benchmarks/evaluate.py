"""Questions per second that a small model answers by log-likelihood: ours, and lm-evaluation-harness in the same run.

    make bench            # or: python benchmarks/evaluate.py --data FOLDER --questions 400 --rounds 5

Both load one folder (random weights, a byte-level tokenizer trained on the spot) and score the same requests: letters,
options of several tokens, and letters after five worked examples. The harness gets the batch size that suits it best.
A rate is that of scoring, texts to log-likelihoods; what starting takes is measured apart, each in a process of its
own. Rounds alternate, ratios are medians over the rounds, and every log-likelihood is compared.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", type=Path, help="folder with MMLU's dev.parquet and validation.parquet; else our own")
parser.add_argument("--questions", type=int, default=100)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--family", choices=("bloom", "gpt2", "llama"), default="bloom")
parser.add_argument("--width", type=int, default=256)
parser.add_argument("--layers", type=int, default=6)
parser.add_argument("--vocabulary", type=int, default=8192)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--device", default="cpu")
parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 16], help="tried for the harness")
parser.add_argument("--only", nargs="+", help="workloads, by the beginning of their name")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402
from transformers.utils import logging  # noqa: E402

from teacherlm.curriculum.draw import questions  # noqa: E402
from teacherlm.curriculum.families import families  # noqa: E402
from teacherlm.lm.load import load  # noqa: E402
from teacherlm.lm.score import score  # noqa: E402
from teacherlm.train.declaration import TokenizerSpec  # noqa: E402
from teacherlm.train.tokenizers import train_tokenizer  # noqa: E402

quiet: Any = logging  # without types
quiet.disable_progress_bar()
torch.set_num_threads(arguments.threads)
LETTERS = "ABCD"
SHOTS = 5
WINDOW = 2048
AGREE = 1e-4

Request = tuple[str, str]
Answers = list[tuple[float, bool]]
Scoring = Callable[[Sequence[Request]], Answers]

STARTS = {
    "teacherlm": "from teacherlm.lm import load, score_passes; load.load({folder!r}, device={device!r})",
    "lm-eval": "from lm_eval.models.huggingface import HFLM; HFLM({folder!r}, device={device!r}, dtype='float32')",
}


@dataclass(frozen=True, slots=True)
class Question:
    """Four options; the harness's rows of MMLU have these columns."""

    question: str
    subject: str
    choices: tuple[str, ...]
    answer: int


def of_mmlu(folder: Path) -> tuple[list[Question], list[Question]]:
    """Worked examples and questions: dev, and validation."""
    import pyarrow.parquet as parquet

    def rows(name: str) -> list[Question]:
        table: Any = parquet.read_table(folder / f"{name}.parquet")
        columns = ("question", "subject", "choices", "answer")
        return [
            Question(row["question"], row["subject"], tuple(row["choices"]), row["answer"])
            for row in table.select(columns).to_pylist()
        ]

    return rows("dev"), rows("validation")


def of_curriculum() -> tuple[list[Question], list[Question]]:
    """The same of questions of our own; a family is a subject."""
    found = [
        Question(one.question, one.family, one.choices, one.choices.index(one.answer))
        for one in questions(families(), "test", 4 * arguments.questions + 400, seed=11)
        if 2 <= len(one.choices) <= len(LETTERS)
    ]
    shown: dict[str, list[Question]] = {}
    rest: list[Question] = []
    for one in found:
        examples = shown.setdefault(one.subject, [])
        (examples if len(examples) < SHOTS else rest).append(one)
    return [one for examples in shown.values() for one in examples], rest


def lettered(one: Question) -> str:
    """The harness's `mmlu`."""
    options = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, one.choices, strict=False))
    return f"{one.question.strip()}\n{options}Answer:"


def about(one: Question) -> str:
    return f"The following are multiple choice questions (with answers) about {one.subject.replace('_', ' ')}.\n\n"


def workloads(shown: Sequence[Question], asked: Sequence[Question]) -> dict[str, list[Request]]:
    """Requests as the harness makes them for `mmlu` (0 and 5 shots) and `mmlu_continuation`."""
    worked: dict[str, list[str]] = {}
    for one in shown:
        worked.setdefault(one.subject, []).append(f"{lettered(one)} {LETTERS[one.answer]}\n\n")
    letters: list[Request] = []
    options: list[Request] = []
    few: list[Request] = []
    for one in asked:
        few_shot = "".join(worked.get(one.subject, [])[:SHOTS])
        for letter, text in zip(LETTERS, one.choices, strict=False):
            letters.append((about(one) + lettered(one), f" {letter}"))
            options.append((f"{about(one)}Question: {one.question.strip()}\nAnswer:", f" {text}"))
            few.append((about(one) + few_shot + lettered(one), f" {letter}"))
    return {"letters": letters, "options": options, "letters, 5 shots": few}


def model(vocabulary: int) -> Any:
    """Random weights, wide enough that log-likelihoods differ."""
    import transformers

    torch.manual_seed(0)
    width, layers, heads = arguments.width, arguments.layers, arguments.width // 64
    library: Any = transformers  # its names are loaded when they are asked for
    if arguments.family == "bloom":
        config = library.BloomConfig(vocab_size=vocabulary, hidden_size=width, n_layer=layers, n_head=heads)
    elif arguments.family == "gpt2":
        config = library.GPT2Config(
            vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=heads, n_positions=WINDOW
        )
    else:
        config = library.LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=WINDOW,
        )
    config.initializer_range = 0.05
    return library.AutoModelForCausalLM.from_config(config)


def harness(folder: Path) -> dict[int, Scoring]:
    """lm-evaluation-harness with each batch size; empty where it is not installed."""
    try:
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        return {}
    judge: Any = HFLM(str(folder), device=arguments.device, dtype="float32")

    def with_batch(size: int) -> Scoring:
        def scoring(requests: Sequence[Request]) -> Answers:
            judge.batch_size_per_gpu = size
            asked = [Instance("loglikelihood", {}, one, place) for place, one in enumerate(requests)]
            found: Answers = judge.loglikelihood(asked, disable_tqdm=True)
            return found

        return scoring

    return {size: with_batch(size) for size in arguments.batch_sizes}


def timed(scoring: Scoring, requests: Sequence[Request]) -> tuple[float, float, Answers]:
    """Seconds, CPU-seconds of this process, and what was found."""
    began, spent = time.perf_counter(), time.process_time()
    found = scoring(requests)
    return time.perf_counter() - began, time.process_time() - spent, found


def compare(name: str, count: int, requests: list[Request], ours: Scoring, theirs: dict[int, Scoring]) -> bool:
    """One workload, both tools in turn; prints rates and ratios and tells whether all answers agree."""
    few = requests[: max(8, len(requests) // 8)]
    timed(ours, few)
    best = min(theirs, key=lambda size: timed(theirs[size], few)[1]) if theirs else 0
    rounds: dict[str, list[tuple[float, float]]] = {"teacherlm": [], "lm-eval": []}
    tools = {"teacherlm": ours} | ({"lm-eval": theirs[best]} if theirs else {})
    worst, same = 0.0, True
    for place in range(arguments.rounds):
        found: dict[str, Answers] = {}
        for tool in sorted(tools, reverse=place % 2 == 0):
            seconds, spent, found[tool] = timed(tools[tool], requests)
            rounds[tool].append((seconds, spent))
        if theirs:
            pairs = list(zip(found["teacherlm"], found["lm-eval"], strict=True))
            worst = max(worst, *(abs(mine[0] - other[0]) for mine, other in pairs))
            same = same and all(mine[1] == other[1] for mine, other in pairs)
    for tool in tools:
        wall, spent = (median(one[part] for one in rounds[tool]) for part in (0, 1))
        told = f"  batches of {best}" if tool == "lm-eval" else ""
        print(f"{name:<18}{tool:<11}{count / wall:>10,.1f}{count / spent:>12,.1f}{told}")
    if not theirs:
        return True
    ratios = [
        median(other[part] / mine[part] for mine, other in zip(rounds["teacherlm"], rounds["lm-eval"], strict=True))
        for part in (0, 1)
    ]
    agree = same and worst <= AGREE
    told = f"  largest difference {worst:.1e}, greedy {'the same' if same else 'NOT the same'}"
    print(f"{'':<18}{'times':<11}{ratios[0]:>10.2f}{ratios[1]:>12.2f}{told}", flush=True)
    return agree


def starts(folder: Path, tools: Sequence[str]) -> None:
    """What it takes until the first request can be scored: interpreter, imports, model."""
    spent: dict[str, list[tuple[float, float]]] = {tool: [] for tool in tools}
    for place in range(arguments.rounds):
        for tool in sorted(tools, reverse=place % 2 == 0):
            code = STARTS[tool].format(folder=str(folder), device=arguments.device)
            began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            spent[tool].append((time.perf_counter() - began, cpu))
    for tool, found in spent.items():
        seconds, cpu = (median(one[part] for one in found) for part in (0, 1))
        print(f"start of {tool:<11}{seconds:>6.1f} s, CPU {cpu:.1f} s")


def some(asked: Sequence[Question], count: int) -> list[Question]:
    """Whole subjects, from all over the benchmark: in a whole run, too, many questions have the same examples."""
    subjects: dict[str, list[Question]] = {}
    for one in asked:
        subjects.setdefault(one.subject, []).append(one)
    few = math.ceil(len(subjects) * count / len(asked))
    drawn = [one for name in list(subjects)[:: max(1, len(subjects) // few)] for one in subjects[name]]
    return drawn[:count]


def main() -> int:
    shown, asked = of_mmlu(arguments.data) if arguments.data else of_curriculum()
    asked = some(asked, arguments.questions)
    texts = [lettered(one) for one in [*shown, *asked]]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tokenizer = train_tokenizer(TokenizerSpec(vocabulary=arguments.vocabulary), texts)
        network = model(len(tokenizer))
        tokenizer.save_pretrained(folder)
        network.save_pretrained(folder)
        loaded = load(str(folder), device=arguments.device)
        theirs = harness(folder)
        if not theirs:
            print("lm-evaluation-harness is not installed: pip install lm-eval")

        def ours(requests: Sequence[Request]) -> Answers:
            return [(one.sum, one.greedy) for one in score(loaded, requests)]

        threads = f"{arguments.threads} thread{'s' if arguments.threads > 1 else ''}"
        print(f"{platform.machine()}, {arguments.device}, {threads}, torch {torch.__version__}; ", end="")
        print(f"{arguments.family}, {network.num_parameters() / 1e6:.1f}M parameters, vocabulary {len(tokenizer):,}")
        print(f"{len(asked)} questions of {'MMLU' if arguments.data else 'the curriculum'}", end="")
        print(f" in {len({one.subject for one in asked})} subjects; {arguments.rounds} rounds in turn, medians")
        starts(folder, ["teacherlm", "lm-eval"] if theirs else ["teacherlm"])
        print(f"\n{'':<29}{'questions/s':>10}{'per CPU s':>11}")
        agree = True
        for name, requests in workloads(shown, asked).items():
            if not arguments.only or name.startswith(tuple(arguments.only)):
                agree = compare(name, len(asked), requests, ours, theirs) and agree
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
