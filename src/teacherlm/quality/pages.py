"""Great Expectations' pages made fit to be opened anywhere: they ask no server for pictures, and read well offline."""

from __future__ import annotations

import re
from pathlib import Path

STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem; }
th, td { border-bottom: 1px solid #ddd; padding: .35rem .6rem; text-align: left; vertical-align: top; }
pre { white-space: pre-wrap; } .ge-navigation-sidebar-container { margin-bottom: 1rem; }
.text-success { color: #1a7f37; } .text-danger { color: #b42318; }
.fa-check-circle::before { content: "✓"; } .fa-times::before { content: "✗"; }
.fa-exclamation-triangle::before { content: "!"; } i { font-style: normal; font-weight: bold; }
</style>"""
"""For a machine without network: what the pages load from elsewhere comes after it, and wins."""

_PICTURE = re.compile(r"<img\b[^>]*?src=[\"']https?://[^>]*>|url\([\"']?https?://great-expectations[^)]*\)", re.DOTALL)
_NEWSLETTER = re.compile(r"<footer\b.*?</footer>", re.DOTALL)


def mend(folder: Path) -> None:
    """Take pictures and newsletter of other servers out of the pages, and give them a style of their own."""
    for path in folder.rglob("*.html"):
        text = _PICTURE.sub("", path.read_text(encoding="utf-8"))
        text = _NEWSLETTER.sub("", text)
        if path == folder / "index.html":  # its table is made by a script from elsewhere
            text = text.replace("</body>", f"{_contents(folder)}\n</body>", 1)
        path.write_text(text.replace("<head>", f"<head>\n{STYLE}", 1), encoding="utf-8")


def _contents(folder: Path) -> str:
    """Links to the page of each table."""
    found = {path.relative_to(folder) for path in folder.glob("validations/**/*.html")}
    links = [f'<li><a href="{path.as_posix()}">{path.parts[1]}</a></li>' for path in sorted(found)]
    return f"<h2>What the tables came to</h2><ul>{''.join(links)}</ul>"
