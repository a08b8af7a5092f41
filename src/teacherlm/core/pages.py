"""What all pages of teacherlm share: their styles, their templates' settings, and the hash that lets a style run."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2

THEME, DOCUMENT = "theme.css", "document.css"
"""Shared styles: colours and type; what a page to be read is made of."""


def style(name: str) -> str:
    """The text of a shared style."""
    return (files("teacherlm.core") / "styles" / name).read_text(encoding="utf-8")


def asset(room: str, name: str) -> str:
    """The text of a file in a room's `pages/`."""
    return (files(f"teacherlm.{room}") / "pages" / name).read_text(encoding="utf-8")


def templates(room: str) -> jinja2.Environment:
    """The templates in a room's `pages/`: what they are given is escaped, and what they lack is an error."""
    import jinja2

    return jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(lambda name: asset(room, name)),
    )


def content_hash(text: str) -> str:
    """What a content security policy calls a style or a script."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
