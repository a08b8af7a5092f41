"""Evaluation sets that a workspace has read: what its samples and rationales must not share text with."""

from __future__ import annotations

from teacherlm.api.workspace import Workspace
from teacherlm.quality.contamination import Reference


def read_references(workspace: Workspace) -> tuple[Reference, ...]:
    """Those that the workspace holds, by task."""
    return ()
