"""Plan a training: a declaration checked whole, with what it would read, hold and take. No weight is read or made."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from teacherlm.api.plan_train_data import Sizes
from teacherlm.api.train import outputs
from teacherlm.api.train_names import unknown
from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.train.forecast import UTILISATION
from teacherlm.train.plan import Rate, TrainPlan, given_rate, plan
from teacherlm.train.read import BoundTraining, plain_name, read_layouts, read_training
from teacherlm.train.shapes import Shape, shape_of

if TYPE_CHECKING:
    from teacherlm.api.project import Project


class TrainPlanOptions(TypedDict, total=False):
    """What a plan of a training may be told."""

    tokens_per_second: float | None
    """Of one GPU, measured; None: what is declared, or what an earlier run of this model reached."""
    tflops: float | None
    """A GPU's peak in the declared precision, without sparsity: 312 for an A100, 989 for an H100, in bfloat16."""
    utilisation: float
    """Share of `tflops` that training reaches."""
    text_tokens: int | None
    """Tokens of one text, in place of counts and estimates."""


def plan_train(
    project: Project,
    name: str,
    *,
    tokens_per_second: float | None = None,
    tflops: float | None = None,
    utilisation: float = UTILISATION,
    text_tokens: int | None = None,
) -> TrainPlan:
    """Plan `train/<name>.yaml`.

    Args: see `TrainPlanOptions`.

    Raises:
        Mistake, Mistakes: all that is wrong in the declaration, or in what was given.
        MissingExtra: transformers is not installed.
    """
    for option, value in (
        ("--tokens-per-second", tokens_per_second),
        ("--tflops", tflops),
        ("--utilisation", utilisation),
        ("--text-tokens", text_tokens),
    ):
        if value is not None and (value <= 0 or (option == "--utilisation" and value > 1)):
            most = " and up to 1" if option == "--utilisation" else ""
            raise Mistake(f"is {value:g}", f"give a number above 0{most}", option)
    bound = read_training(project.files, name)
    training = bound.training
    if problems := unknown(project, bound, or_shipped=True):
        raise Mistakes(problems)
    shape = shape_at_the_root(project, bound)
    sizes = Sizes(project, read_layouts(project.files), training.window, text_tokens)
    reads = {stage.name: sizes.of(stage) for stage in training.stages}
    rate = Rate(tokens_per_second=None, by="not known: give --tokens-per-second, or --tflops of a GPU")
    if tokens_per_second is not None:
        rate = Rate(tokens_per_second=tokens_per_second, by="given")
    elif tflops is not None:
        rate = given_rate(training, shape, tflops, utilisation)
    elif training.parallel.tokens_per_second is not None:
        rate = Rate(tokens_per_second=training.parallel.tokens_per_second, by="the declaration")
    else:
        rate = _measured(project, bound, shape) or rate
    return plan(training, shape, reads, rate, bound.where(("window",)))


def shape_at_the_root(project: Project, bound: BoundTraining) -> Shape:
    """The shape of the model that a declaration trains; one that starts from another has that one's."""
    below = bound
    while below.training.base.trained is not None:
        below = read_training(project.files, plain_name(below.training.base.trained).partition(":")[0])
    training = below.training
    return shape_of(training.base, training.tokenizer, below.where(("base",)))


def _measured(project: Project, bound: BoundTraining, shape: Shape) -> Rate | None:
    """What the latest run of the same model and precision reached on each of its devices."""
    best: tuple[str, Rate] | None = None
    for record in outputs(project.workspace.root):
        same = record.get("parameters") == shape.parameters and record.get("precision") == bound.training.precision
        seconds, count = record.get("seconds") or 0.0, record.get("processes") or 1
        if not same or not seconds or not record.get("tokens") or record.get("partial"):
            continue  # the first steps of a trial are slower than the others
        place = f"{record['training']}, stage {record['stage']}"
        speed = Rate(
            tokens_per_second=round(record["tokens"] / seconds / count, 1),
            by=f"measured on {record.get('device')} in {place}",
        )
        if best is None or str(record.get("finished_at")) > best[0]:
            best = (str(record.get("finished_at")), speed)
    return best[1] if best else None
