"""What the paper's sizes would cost, from rates that were measured and from a GPU's peak, factor by factor.

FLOPs are 6 N D for training and 2 N for each token that a teacher reads or writes (Kaplan et al. 2020, arXiv
2001.08361); N: all parameters of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from teacherlm.experiments.cost import Rate, Spending, Step, Table, figure, lasted
from teacherlm.experiments.words import UNKNOWN
from teacherlm.train.forecast import PART_TOKENS, UTILISATION

KINDS = 3
TEACHERDATA = 2_000_000
"""Samples: TeacherData-2M."""
AUGMENTED, EACH = 58, 3_000
"""Datasets that the paper augmented, and samples of each at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What nobody measured here; change it to see what it does."""

    tflops: float = 989.0
    """Peak of one GPU in bfloat16 without sparsity, 10^12 a second; 989: an H100 (SXM)."""
    training: float = UTILISATION
    """Share of the peak that training reaches; PaLM (arXiv 2204.02311) reports 0.46."""
    explaining: float = 0.1
    """Share of the peak that a server reaches over prompts and answers. A guess: memory, not the peak, limits it."""
    prompt_tokens: int = PART_TOKENS["question"] + PART_TOKENS["answer"]
    """Of a call: the question and its answer."""
    written_tokens: int = round(
        (PART_TOKENS["fundamentals"] + PART_TOKENS["chain_of_thought"] + PART_TOKENS["common_mistakes"]) / KINDS
    )
    """Of an answer: the mean of the three kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A training of the paper, and how much it reads."""

    name: str
    """Such as `BLOOM-7B1`."""
    parameters: int
    tokens: Mapping[str, int]
    """Of each stage, over its epochs."""
    by: str
    """How they are known."""

    @property
    def read(self) -> int:
        return sum(self.tokens.values())


def extrapolated(
    teachers: Sequence[Sized],
    students: Sequence[Sized],
    spent: Sequence[Spending],
    rates: Sequence[Rate],
    samples_built: int | None = None,
    assumed: Assumed | None = None,
) -> list[Table]:
    """Tables: what is multiplied, training of teachers, explaining, training of students, rows, what is left out.

    Args:
        students: plain ones and augmented ones.
        spent: as measured; its building and checking are scaled by rows.
        rates: as measured; without one of training or explaining its columns say so.
        samples_built: of the 58 datasets, as recipes declare their rows; None: not known.
    """
    assumed = assumed if assumed is not None else Assumed()
    training = next((rate for rate in rates if rate.name == "training"), None)
    explaining = next((rate for rate in rates if rate.name == "explaining"), None)
    calls = {
        "TeacherData-2M": (f"{TEACHERDATA:,} samples × {KINDS} kinds", TEACHERDATA * KINDS),
        "P3-Sense-3K": (f"{AUGMENTED} datasets × {EACH:,} samples × {KINDS} kinds", AUGMENTED * EACH * KINDS),
    }
    per_call = assumed.prompt_tokens + assumed.written_tokens
    explained = [
        (f"{of}, by {teacher.name}", 2, teacher.parameters, count * per_call)
        for of, (_, count) in calls.items()
        for teacher in teachers
    ]
    return [
        Table(
            title="The paper's sizes: what is multiplied",
            columns=("quantity", "arithmetic", "known by"),
            rows=tuple(_quantities(calls, teachers, students, explaining, samples_built, assumed)),
        ),
        _costs("Training the teachers, all stages", _trained(teachers), training, assumed.training, assumed),
        _costs("Explaining", explained, explaining, assumed.explaining, assumed),
        _costs("Training the students on P3-Sense-3K", _trained(students), training, assumed.training, assumed),
        _by_rows(spent),
        Table(
            title="What the extrapolation leaves out",
            columns=("left out", "and what it would do"),
            rows=LEFT_OUT,
        ),
    ]


Product = tuple[str, int, int, int]
"""What, 6 or 2, parameters, tokens."""

LEFT_OUT = (
    ("attention over the window", "adds 12 L h s FLOPs a token of training; `teacherlm plan train/paper/…` counts it"),
    ("layers computed again (gradient checkpointing)", "adds a third to the time of the trainings that declare it"),
    (
        "several GPUs",
        "a model that does not fit on one is shared out; GPU-hours stay, and waiting for each other adds to them",
    ),
    (
        "another hardware's efficiency",
        "columns at the measured rate scale FLOPs alone: small models use a processor badly",
    ),
    (
        "calls asked twice",
        "cut answers, STaR's hints and retries add calls; shared prefixes of a sample's kinds save prompts",
    ),
    ("texts that rules reject", "students read fewer rationales than were written"),
    (
        "publishing and testing",
        "an upload, and a pass over each benchmark's questions: the first table has the tests' seconds",
    ),
    ("runs that failed, and choosing of settings", "a project trains more often than it reports"),
)


def _trained(trainings: Sequence[Sized]) -> list[Product]:
    return [(one.name, 6, one.parameters, one.read) for one in trainings]


def _quantities(
    calls: Mapping[str, tuple[str, int]],
    teachers: Sequence[Sized],
    students: Sequence[Sized],
    explaining: Rate | None,
    samples_built: int | None,
    assumed: Assumed,
) -> Iterator[tuple[str, str, str]]:
    for of, (product, count) in calls.items():
        known = "the paper's sizes"
        if of == "P3-Sense-3K" and samples_built is not None:
            known += f", at most; the recipes' rows give {samples_built:,} samples"
        yield f"calls, {of}", f"{product} = {count:,}", known
    read, written = assumed.prompt_tokens, assumed.written_tokens
    measured = "nothing was measured"
    if explaining is not None and explaining.calls:
        measured = f"measured here: {figure(explaining.tokens / explaining.calls)}, in this tokenizer"
    yield "tokens a call", f"{read} read + {written} written = {read + written}", f"assumed; {measured}"
    for of, (_, count) in calls.items():
        total = count * (read + written)
        yield f"tokens of all calls, {of}", f"{count:,} × {read + written} = {total:,}", "product"
    seen = set()
    for one in (*teachers, *students):
        key = tuple(one.tokens.items())
        if key in seen:
            continue
        seen.add(key)
        parts = " + ".join(f"{tokens:,} ({stage})" for stage, tokens in one.tokens.items())
        yield f"tokens of training, {one.name} and its like", f"{parts} = {one.read:,}", one.by
    peak = f"{assumed.tflops:g}e12"
    for name, share in (("training", assumed.training), ("explaining", assumed.explaining)):
        yield f"FLOPs a GPU-second, {name}", f"{peak} × {share:g} = {figure(assumed.tflops * 1e12 * share)}", "assumed"


def _costs(title: str, products: Sequence[Product], rate: Rate | None, share: float, assumed: Assumed) -> Table:
    """A row for each product, in the measured time's unit and in hours of the assumed GPU."""
    speed = assumed.tflops * 1e12 * share
    unit = f"{rate.unit}-hours" if rate and rate.unit != "wall-clock" else "hours of wall clock"
    columns = ("what", "FLOPs", "times the measured FLOPs", f"{unit} at the measured rate", "GPU-hours, assumed GPU")
    rows = []
    for name, factor, parameters, tokens in products:
        flops = float(factor) * parameters * tokens
        ratio = times = UNKNOWN
        if rate is not None:
            many = flops / rate.flops
            ratio = f"{figure(flops)} ÷ {figure(rate.flops)} = {figure(many)}"
            times = f"{figure(many)} × {lasted(rate.seconds)} ÷ 3,600 = {figure(many * rate.seconds / 3600)}"
        product = f"{factor} × {parameters:,} × {tokens:,} = {figure(flops)}"
        hours = f"{figure(flops)} ÷ {figure(speed)} ÷ 3,600 = {figure(flops / speed / 3600)}"
        rows.append((name, product, ratio, times, hours))
    notes = () if rate else ("Nothing of the kind was measured whole: a model's size, its tokens and its time.",)
    return Table(title=title, columns=columns, rows=tuple(rows), notes=notes)


def _by_rows(spent: Sequence[Spending]) -> Table:
    """Building and checking of TeacherData-2M, in proportion to samples and texts."""
    rows = []
    wanted: tuple[tuple[Step, str, int], ...] = (
        ("build", "samples", TEACHERDATA),
        ("check", "texts", TEACHERDATA * KINDS),
    )
    for step, of, many in wanted:
        timed = [(one.seconds, one.rows) for one in spent if one.step == step and one.seconds and one.rows]
        seconds, count = sum(time for time, _ in timed), sum(number for _, number in timed)
        product = UNKNOWN
        if count:
            hours = seconds / count * many / 3600
            product = f"{lasted(seconds)} ÷ {count:,} × {many:,} ÷ 3,600 = {figure(hours)}"
        rows.append((f"{step} TeacherData-2M, by {of}", product))
    columns = ("what", "hours at the measured rate, wall clock")
    note = "What starts once is multiplied as well, so that small data gives too many hours."
    return Table(title="Building and checking", columns=columns, rows=tuple(rows), notes=(note,))
