"""A collection is trained whole or not at all; what a library says of a refused write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from teacherlm.api.train_names import unbuilt
from teacherlm.core.errors import MachineFailed
from teacherlm.train.declaration import Data
from teacherlm.train.failures import saving
from test_collections import project, zoo


def test_members_that_are_not_built_are_named(tmp_path: Path) -> None:
    project(tmp_path, {"datasets": ["*"]})
    opened, data = zoo(tmp_path), Data(collection="zoo", layouts=("plain",))
    assert unbuilt(opened, data) == opened.datasets
    opened.build()
    assert unbuilt(opened, data) == []
    lost = opened.datasets[1]
    shutil.rmtree(opened.workspace.samples(lost) / "train")
    assert unbuilt(opened, data) == [lost]


def test_a_write_that_the_system_refuses_is_the_machines() -> None:
    with pytest.raises(MachineFailed, match="File too large"), saving(Path("here")):
        raise RuntimeError("Error while serializing: I/O error: File too large (os error 27)")
