"""The page of a report: one file that asks for nothing from anywhere and runs nothing.

Charts are inline SVG with their horizontal places in percent, so that they fit every width without a script; marks
differ in form as well as in colour. Every text is escaped by the template, and a content security policy forbids
requests and scripts.
"""

from __future__ import annotations

import math

from markupsafe import Markup

from teacherlm.core.pages import DOCUMENT, THEME, asset, content_hash, style, templates
from teacherlm.experiments import words
from teacherlm.experiments.report_axes import HEIGHT, reach
from teacherlm.experiments.report_contents import Contents, numeric
from teacherlm.experiments.report_facts import accepted, duration, told
from teacherlm.experiments.report_groups import WAYS
from teacherlm.experiments.report_plots import charts, short

STYLE = "report.css"


def page(contents: Contents) -> bytes:
    """The page as UTF-8."""
    look = style(THEME) + style(DOCUMENT) + asset("experiments", STYLE)
    environment = templates("experiments")
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
        policy=f"default-src 'none'; style-src {content_hash(look)}; base-uri 'none'; form-action 'none'",
        style=Markup(look),
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
