"""Processes side by side: each sees the GPU that was dealt to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from teacherlm.api import side_by_side as module
from teacherlm.api.experiments import _gpus
from teacherlm.api.side_by_side import Order, side_by_side
from teacherlm.core.errors import MachineFailed


@pytest.mark.parametrize(
    ("gpus", "count", "seen"),
    [(["0", "GPU-8a"], 3, ["0", "0", "GPU-8a"]), (["3"], 2, ["3", "3"]), ([], 1, [None])],
)
def test_gpus_are_dealt_out(
    gpus: Sequence[str], count: int, seen: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that run at the same time are started before any of them is heard."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    orders = [Order(str(place), "gpu_seen", {}, "") for place in range(count)]
    found: list[str | None] = []
    side_by_side(orders, threads=1, at_once=count, gpus=gpus, said=lambda _, line: found.append(line["gpu"]))
    assert sorted(found, key=str) == seen


def test_the_gpus_that_the_run_itself_sees_are_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-8a")
    assert _gpus(2) == ["4", "GPU-8a"] and _gpus(0) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert _gpus(2) == ["0", "1"]


def test_one_that_never_ends_is_killed_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(module, "STOP_S", 3.0)
    orders = [Order("mute", "says_no_end", {}, "mute alone"), Order("gpu", "gpu_seen", {}, "")]
    failures: dict[str, Exception | None] = {}
    said: list[object] = []
    side_by_side(
        orders,
        threads=1,
        at_once=1,
        said=lambda _, line: said.append(line),
        ended=lambda order, failure: failures.update({order.name: failure}),
    )
    assert isinstance(failures["mute"], MachineFailed) and "did not end in 3 s" in failures["mute"].found
    assert failures["gpu"] is None and len(said) == 1
