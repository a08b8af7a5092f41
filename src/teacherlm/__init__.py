"""teacherlm turns NLP datasets into explained datasets.

>>> import teacherlm
>>> project = teacherlm.open(".")  # doctest: +SKIP
>>> project.run("creak", teacher="http://127.0.0.1:8080")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from teacherlm.api.frame import augment
    from teacherlm.api.join import join
    from teacherlm.api.project import Project, open
    from teacherlm.api.verify import verify

__all__ = ["Project", "__version__", "augment", "join", "open", "verify"]

# Loaded on first use, so that `import teacherlm` stays quick and light.
_HOMES = {
    "Project": "teacherlm.api.project",
    "open": "teacherlm.api.project",
    "augment": "teacherlm.api.frame",
    "join": "teacherlm.api.join",
    "verify": "teacherlm.api.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'teacherlm' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
