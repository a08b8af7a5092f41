"""The page of a report: one file that asks for nothing from anywhere and runs nothing.

Charts are inline SVG with their horizontal places in percent, so that they fit every width without a script; marks
differ in form as well as in colour. Every text is escaped by the template, and a content security policy forbids
requests and scripts.
"""

from __future__ import annotations

import base64
import hashlib
import math
from importlib.resources import files

import jinja2
from markupsafe import Markup

from teacherlm.experiments import words
from teacherlm.experiments.report_axes import HEIGHT, reach
from teacherlm.experiments.report_contents import Contents, numeric
from teacherlm.experiments.report_facts import accepted, duration, told
from teacherlm.experiments.report_groups import WAYS
from teacherlm.experiments.report_plots import charts, short

SHARED = ("theme.css", "quickstart.css")
"""All pages of teacherlm look alike."""
STYLE = "report.css"


def page(contents: Contents) -> bytes:
    """The page as UTF-8."""
    style = "".join(_shared(name) for name in SHARED) + _own(STYLE)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(_own),
    )
    environment.filters |= {
        "percent": words.percent,
        "signed": words.signed,
        "plain": words.plain,
        "p": lambda p: words.p_value(p).removeprefix("p = ").removeprefix("p "),
        "effect": lambda h: words.effect(h).removeprefix("h = "),
        "with_bounds": words.with_bounds,
        "difference": words.difference,
        "counted": words.counted,
        "listed": words.listed,
        "duration": duration,
        "numeric": numeric,
        "accepted": accepted,
        "short": short,
        "count": lambda number: f"{number:,.0f}",
        "at": lambda place: f"{place:.2f}",
        "known": lambda number: number is not None and not math.isnan(number),
    }
    experiment = contents.experiment
    text = environment.get_template("report.html.jinja").render(
        policy=f"default-src 'none'; style-src {_hash(style)}; base-uri 'none'; form-action 'none'",
        style=Markup(style),
        contents=contents,
        experiment=experiment,
        facts=contents.facts,
        setting=contents.setting,
        ways=WAYS,
        told=lambda factors: told(experiment, factors),
        bounds=words.bounds,
        reach=lambda group: reach([one.low for one in group.compared], [one.high for one in group.compared]),
        charts=charts,
        tall=HEIGHT,
    )
    return text.encode()


def _own(name: str) -> str:
    return (files("teacherlm.experiments") / "pages" / name).read_text(encoding="utf-8")


def _shared(name: str) -> str:
    return (files("teacherlm") / "api" / "pages" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a content security policy calls a style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
