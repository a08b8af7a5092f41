"""The trainings of a quickstart, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teacherlm.api import side_by_side as processes
from teacherlm.train.progress import Progress

WORKER = "teacherlm.api.quickstart_worker"


@dataclass(frozen=True)
class Order:
    """One training."""

    training: str
    project: Path
    workspace: Path
    max_steps: int | None = None
    restart: bool = False


def train_side_by_side(orders: Sequence[Order], threads: int, watch: Callable[[Mapping[str, Progress]], None]) -> None:
    """Run trainings at the same time.

    Args:
        threads: of each process.
        watch: called with the latest progress of each, by its name; none while the texts are made ready.

    Raises:
        TeacherlmError: what the first one that failed said; the others were stopped, and go on from a checkpoint.
        KeyboardInterrupt: the run was stopped, or one of them was; all have a checkpoint.
    """
    latest: dict[str, Progress] = {}
    trainings: dict[str, str] = {}

    def said(order: processes.Order, line: Mapping[str, Any]) -> None:
        if "progress" in line:
            latest[trainings[order.name]] = Progress(**line["progress"])
            watch(latest)

    told = [_told(order) for order in orders]
    trainings |= {order.name: given.training for order, given in zip(told, orders, strict=True)}
    processes.side_by_side(told, threads=threads, said=said, quiet=lambda: watch(latest))


def _told(order: Order) -> processes.Order:
    return processes.Order(
        name=f"the training of `{order.training}`",
        module=WORKER,
        task={
            "training": order.training,
            "project": str(order.project),
            "workspace": str(order.workspace),
            "max_steps": order.max_steps,
            "restart": order.restart,
        },
        by_itself=f"teacherlm train {order.training}",
    )
