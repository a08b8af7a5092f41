"""Annotations per second of the embedded server, beside one-by-one `generate` of transformers in the same run.

    make bench            # or: python benchmarks/serve.py --model nano --samples 1000 --concurrency 64 --rounds 3

The server is a process of its own (`teacherlm serve`), asked over HTTP on loopback: once by a bare loop that posts
ready-made bodies, once by the whole of `augment` with ledger and all. Both sides share the machine's cores. Prompts
are those of the paper for unseen questions of the curriculum, three kinds each, greedy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import families
from teacherlm.teacher.embedded import EmbeddedTeacher
from teacherlm.text.render import sample_text

LEADS = (" The fundamental of this question is:", " Let's think step by step.", " The common mistakes are:")
MAX_NEW_TOKENS = 160
STOP = ["Q: ", "\nQ:"]

RECIPE = f"""
title: Benchmark
source: {{files: questions.jsonl, columns: {{id: VARCHAR, question: VARCHAR, choices: "VARCHAR[]", answer: VARCHAR}}}}
license: CC0-1.0
redistribution: allowed
task: bench
sample: {{id: id, question: question, choices: choices, answer: answer}}
prompts: paper
max_new_tokens: {MAX_NEW_TOKENS}
"""


def asked(samples: int, seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Questions that no teacher was trained on, and the prompts of their three kinds."""
    rows: list[dict[str, Any]] = [
        {"id": one.id, "question": one.question, "choices": list(one.choices), "answer": one.answer}
        for one in questions(families(), "train", samples, seed)
    ]
    texts = [sample_text(row["question"], row["choices"], row["answer"]) for row in rows]
    return rows, [text + lead for text in texts for lead in LEADS]


def one_by_one(model: str, prompts: list[str]) -> tuple[float, list[str], float, float]:
    """`model.generate` for each prompt by itself: seconds, texts, mean tokens of prompts and of answers."""
    import torch

    from teacherlm.lm.load import load

    torch.set_num_threads(1)
    loaded = load(model, device="cpu")
    texts, read, written = [], 0, 0
    started = time.perf_counter()
    for prompt in prompts:
        inputs = loaded.tokenizer(prompt, return_tensors="pt")
        width = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            said = loaded.model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
                pad_token_id=loaded.tokenizer.pad_token_id,
            )[0, width:]
        texts.append(loaded.tokenizer.decode(said, skip_special_tokens=True))
        read, written = read + width, written + len(said)
    return time.perf_counter() - started, texts, read / len(prompts), written / len(prompts)


def bare(url: str, prompts: list[str], concurrency: int) -> tuple[float, list[str]]:
    """Bodies posted as fast as the server answers: seconds and texts."""
    import orjson
    from pyreqwest.client import ClientBuilder

    parameters = {"max_new_tokens": MAX_NEW_TOKENS, "details": True, "stop": STOP}
    bodies = [orjson.dumps({"inputs": prompt, "parameters": parameters}) for prompt in prompts]
    texts = [""] * len(prompts)

    async def main() -> None:
        left = iter(range(len(bodies)))
        async with ClientBuilder().default_headers({"Content-Type": "application/json"}).build() as client:

            async def worker() -> None:
                for place in left:
                    response = await client.post(url + "/generate").body_bytes(bodies[place]).build().send()
                    texts[place] = orjson.loads(bytes(await response.bytes()))["generated_text"]

            await asyncio.gather(*(worker() for _ in range(concurrency)))

    started = time.perf_counter()
    asyncio.run(main())
    return time.perf_counter() - started, texts


def whole(url: str, rows: list[dict[str, Any]], concurrency: int) -> float:
    """`augment`: samples read, calls keyed, asked, written to the ledger, counted. Seconds of the step."""
    import polars  # noqa: F401 - what a run imports on its way is start-up

    import teacherlm

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "builders").mkdir()
        (root / "catalog.yaml").write_text("teachers: {}\n")
        (root / "builders" / "bench.yaml").write_text(RECIPE)
        (root / "builders" / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        build = [sys.executable, "-m", "teacherlm", "build", "bench", "-p", str(root), "-w", str(root / "workspace")]
        subprocess.run(build, check=True, capture_output=True)
        project = teacherlm.open(root, workspace=root / "workspace")
        started = time.perf_counter()
        state = project.augment("bench", teacher=url, concurrency=concurrency)
        seconds = time.perf_counter() - started
        if state.tally.settled != len(rows) * len(LEADS):
            raise SystemExit(f"asked for {len(rows) * len(LEADS)}, answered {state.tally.settled}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="nano, or a folder")
    parser.add_argument("--samples", type=int, default=500, help="questions; each has three prompts")
    parser.add_argument("--alone", type=int, default=60, help="prompts for one-by-one generate")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rows, prompts = asked(given.samples, seed=11)
    seconds, alone, read, written = one_by_one(given.model, prompts[: given.alone])
    base = len(alone) / seconds
    print(f"{given.model}: {read:.0f} tokens of prompt and {written:.0f} of answer on average; {os.cpu_count()} cores")
    print(f"{'':<28}{'annotations/s':>14}{'times':>8}")
    print(f"{'generate, one by one':<28}{base:>14.1f}{1:>8.1f}", flush=True)
    with EmbeddedTeacher(given.model, arguments=("--device", "cpu")) as teacher:
        bare(teacher.url, prompts[: given.concurrency], given.concurrency)
        rounds = []
        for _ in range(given.rounds):
            taken, texts = bare(teacher.url, prompts, given.concurrency)
            rounds.append((len(prompts) / taken, len(prompts) / whole(teacher.url, rows, given.concurrency)))
        for name, rate in zip(
            ("served, bare loop", "served, augment"), map(median, zip(*rounds, strict=True)), strict=True
        ):
            print(f"{name:<28}{rate:>14.1f}{rate / base:>8.1f}", flush=True)
    same = sum(one == other for one, other in zip(alone, texts, strict=False))
    print(f"the same text as one by one: {same} of {len(alone)}")


if __name__ == "__main__":
    main()
