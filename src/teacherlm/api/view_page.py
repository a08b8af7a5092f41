"""One self-contained page: its style, its script and its rows in one file that asks for nothing from anywhere.

The rows are JSON, compressed, and read by the script; everything that the page says is put there as text, never as
HTML. A content security policy holds the page to it: nothing may be fetched, and no other script runs.
"""

from __future__ import annotations

import base64
import html
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from teacherlm import __version__
from teacherlm.core.pages import THEME, asset, content_hash, style

STYLES = ("page.css", "rows.css")
"""Laid over what all pages share."""
SCRIPTS = ("dom.js", "words.js", "charts.js", "summary.js", "changes.js", "cells.js", "filters.js", "page.js")
"""Run in this order, as one script."""

LEVEL = 6
"""Of the compression: 9 takes three times as long for one percent."""


def page(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The page as UTF-8.

    Args:
        summary: what its head shows: `form` (`view` or `diff`), `title`, counts, charts.
        rows: samples with their rationales; shown in this order.
    """
    look, script = style(THEME) + _joined(STYLES), '"use strict";\n{\n' + _joined(SCRIPTS) + "}\n"
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(orjson.dumps(rows)) + packer.flush()
    parts = {
        "policy": f"default-src 'none'; style-src {content_hash(look)}; script-src {content_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        "title": html.escape(str(summary["title"])),
        "style": look,
        "summary": _in_script(orjson.dumps({**summary, "version": __version__}).decode()),
        "rows": base64.b64encode(packed).decode(),
        "script": script,
    }
    text = asset("api", "page.html")
    for name, value in parts.items():
        before, mark, after = text.partition(f"<!--{name}-->")
        assert mark, name
        text = before + value + after
    return text.encode()


def _in_script(json: str) -> str:
    """JSON that no reader of HTML takes for the end of its element."""
    return json.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _joined(names: Sequence[str]) -> str:
    return "".join(asset("api", name) for name in names)
