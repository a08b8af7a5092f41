"""What people read of an experiment: one self-contained page and the same as Markdown, drawn from its figures alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from teacherlm.experiments.answer_signs import Signature
from teacherlm.experiments.comparing import Compared
from teacherlm.experiments.conclusions import conclude
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.estimates import Row
from teacherlm.experiments.report_contents import Contents, Tabled, merged
from teacherlm.experiments.report_facts import Asked, Setting, facts, statistics
from teacherlm.experiments.report_groups import groups
from teacherlm.experiments.report_markdown import markdown
from teacherlm.experiments.report_page import page
from teacherlm.experiments.results import Results

__all__ = ["Asked", "Report", "Setting", "Tabled", "report"]


@dataclass(frozen=True, slots=True)
class Report:
    """Both forms say the same; plots stand on the page alone."""

    html: bytes
    markdown: str


def report(
    experiment: Experiment,
    results: Results,
    compared: Sequence[Compared],
    estimates: Sequence[Row],
    signatures: Sequence[Signature],
    notes: Sequence[str],
    setting: Setting,
    tables: Sequence[Tabled] = (),
) -> Report:
    """The same figures give the same bytes.

    Args:
        compared: all planned comparisons, in the order of the declaration.
        estimates: of every combination of levels in every test and way.
        signatures: what was found to be wrong; empty: nothing was.
        notes: more to be known of this run, a sentence each.
        tables: what it took, or anything else that is told in rows.
    """
    conclusions = conclude(experiment, compared)
    drawn = groups(experiment, results, compared, conclusions.sentences, estimates)
    contents = Contents(
        experiment=experiment,
        conclusions=conclusions,
        groups=tuple(drawn),
        rows=tuple(estimates),
        signatures=merged(signatures),
        notes=tuple(notes),
        setting=setting,
        facts=facts(experiment, results, estimates, setting),
        tables=tuple(tables),
        statistics=statistics(experiment, sum(one.verdict != "not tested" for one in compared)),
    )
    return Report(page(contents), markdown(contents))
