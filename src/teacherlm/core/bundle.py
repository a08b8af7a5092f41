"""Where the declarations that ship with teacherlm lie."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from teacherlm.core.errors import MachineFailed


@cache
def bundled() -> Path:
    """Folder of the bundled project: inside an installed package, or the root of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_bundled", package.parents[1]):
        if (folder / "catalog.yaml").is_file():
            return folder
    raise MachineFailed(
        "the declarations that ship with teacherlm are missing",
        "install it again: pip install --force-reinstall teacherlm",
    )
