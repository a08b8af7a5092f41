"""Calibrate: how rules, score and a judge agree with labelled rationales; a scorer fitted on them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from pydantic.dataclasses import dataclass as spec

from teacherlm.api.opinions import ask_judge, declared
from teacherlm.api.standards import SCORER, Standards, read_standards
from teacherlm.core.errors import Mistake, TeacherlmError
from teacherlm.core.files import replacing
from teacherlm.project.bind import SPEC_CONFIG, bind
from teacherlm.project.find import ProjectFiles
from teacherlm.quality import fit as fitting
from teacherlm.quality.calibration import RuleAgreement, ScoreAgreement, rule_agreement, score_agreement
from teacherlm.quality.judge import judge
from teacherlm.quality.labels import Read, open_labels, read_labels, take_labels
from teacherlm.quality.messages import short
from teacherlm.quality.opinions import JudgeAgreement, judge_agreement
from teacherlm.quality.score import FOLD, Feature, Scorer, scorer_text

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.catalog import Catalog, ChosenTeacher

FEATURES = "features.yaml"

SEEN_NONE = "held out"
"""Scores by models that did not see the question."""
NOT_HELD_OUT = "not held out"
"""Scores by a scorer without such models: it may have been fitted on the very labels that it is tested on."""
NO_GOLD = "without the gold answer"
"""Those, of features that do not look at the gold answer."""
OTHER_SOURCES = "other sources"
"""Scores by a model fitted on all sources but the one that it is tested on."""


class CalibrateOptions(TypedDict, total=False):
    """What `calibrate` may be told beside its tables."""

    fit: bool
    scorer: Path | None
    limit: int | None
    tell: Callable[[str], None]


@spec(frozen=True, kw_only=True, config=SPEC_CONFIG)
class FeatureSpec:
    """One feature that looks at the gold answer, or says that it does not."""

    sql: str
    gold: bool = False


@spec(frozen=True, kw_only=True, config=SPEC_CONFIG)
class FeaturesSpec:
    """What the score looks at, as `quality/features.yaml` declares it."""

    kinds: tuple[str, ...]
    parts: dict[str, str]
    features: dict[str, str | FeatureSpec]
    given: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """Agreement of one way of scoring."""

    by: str
    agreement: ScoreAgreement

    def to_row(self) -> dict[str, Any]:
        return {"by": self.by, **self.agreement.to_row()}


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was found; tables that could not be read stand in `errors`."""

    tables: Sequence[Read]
    errors: Sequence[TeacherlmError]
    rules: Sequence[RuleAgreement] = ()
    scores: Sequence[Scored] = ()
    judged: Sequence[JudgeAgreement] = ()
    scorer: Scorer | None = None
    written: Path | None = None
    """Where a fitted scorer was written."""
    lost: TeacherlmError | None = None
    """Why the judge could not be asked; all else was worked out."""


def calibrate(
    files: ProjectFiles,
    catalog: Catalog,
    tables: Sequence[Path],
    *,
    fit: bool = False,
    scorer: Path | None = None,
    limit: int | None = None,
    judged_by: ChosenTeacher | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """How the project's rules and score agree with labelled rationales; with `fit`, of a scorer fitted on them.

    Args:
        tables: Parquet files; see `quality.labels` for their columns.
        fit: fit a scorer and write it.
        scorer: where; None: `quality/scorer.json` of the project.
        limit: rows of each table, by the hash of their id.
        judged_by: a teacher to ask for its opinion on each rationale.

    Raises:
        Mistake: rules, metrics, features that cannot be run; nowhere to write; too few labels to fit.
        MissingExtra: scikit-learn is not installed, for `fit`.
    """
    import duckdb

    target = _target(files, scorer) if fit else None
    if limit is not None and limit < 1:
        raise Mistake(f"is {limit}", "give a number of 1 or more", "--limit")
    if fit:
        fitting.load_sklearn()
    standards = read_standards(files, catalog)
    con = duckdb.connect()
    open_labels(con)
    read, errors = [], []
    for path in dict.fromkeys(tables):
        try:
            read.append(read_labels(con, path, limit, needed=True))
        except TeacherlmError as error:
            errors.append(error)
    if not read:
        return Calibration(tables=read, errors=errors)
    take_labels(con)
    if not con.execute("select count(*) from labels").fetchall()[0][0]:
        found = "no labels: votes are even, or `annotations` says nothing that is known"
        errors += [Mistake(found, "see docs/quality.md for what they may hold", str(table.path)) for table in read]
        return Calibration(tables=read, errors=errors)
    tell(f"judging {sum(table.used for table in read):,} rationales")
    judge(con, standards.rules, standards.metrics)
    rules = rule_agreement(con, [(rule.id, rule.severity) for rule in standards.rules])
    used, scores = standards.scorer, list[Scored]()
    if target is not None:
        design = read_features(files)
        tell("fitting")
        used = _fit(con, design, scores, tell)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            temporary.write_text(scorer_text(used), encoding="utf-8")
    if used is not None:
        by = SEEN_NONE if _is_held_out(used) else NOT_HELD_OUT
        scores = [*_by_source(by, con, _scores(con, used, standards, fit)), *scores]
    done = Calibration(tables=read, errors=errors, rules=rules, scores=scores, scorer=used, written=target)
    if judged_by is None:
        return done
    try:
        return replace(done, judged=_opinions(con, files, judged_by, tell))
    except TeacherlmError as error:
        return replace(done, lost=of_judge(error))


def of_judge(error: TeacherlmError) -> TeacherlmError:
    """An error about a teacher, in the words of the option that names the judge."""
    error.remedy, error.where = (re.sub(r"--teacher\b", "--judge", text) for text in (error.remedy, error.where))
    return error


def read_features(files: ProjectFiles) -> fitting.Design:
    """What a scorer may look at: `quality/features.yaml` of the project, else the one that ships with teacherlm.

    Raises:
        Mistakes: what is wrong in it.
    """
    found = bind(declared(files, FEATURES), FeaturesSpec)
    features = tuple(
        Feature(name=name, sql=one) if isinstance(one, str) else Feature(name=name, sql=one.sql, gold=one.gold)
        for name, one in found.features.items()
    )
    return fitting.Design(kinds=found.kinds, parts=found.parts, given=found.given, features=features)


def _target(files: ProjectFiles, given: Path | None) -> Path:
    if given is not None:
        return given
    if files.is_bundled and files.root.name == "_bundled":
        found = "there is no project to write a scorer to"
        raise Mistake(found, "name a file by --scorer, or lay out a project: teacherlm init DIR", "--fit")
    return files.root / "quality" / SCORER


def _fit(
    con: duckdb.DuckDBPyConnection, design: fitting.Design, scores: list[Scored], tell: Callable[[str], None]
) -> Scorer:
    """A fitted scorer; adds how it does without the gold answer and on sources that it did not see."""
    labelled = fitting.read_design(con, design)
    scorer = fitting.fit(design, labelled)
    columns = np.flatnonzero([not feature.gold for feature in design.features])
    if 0 < len(columns) < len(design.features):
        blind, seen = design.without_gold(), replace(labelled, values=labelled.values[:, columns])
        scores += _by_source(NO_GOLD, con, fitting.held_out_scores(fitting.fit(blind, seen), blind, seen))
    if len(np.unique(labelled.source)) > 1:
        tell("fitting without each source")
        outside = np.full(len(labelled), np.nan)
        for source, found in fitting.left_out(design, labelled):
            outside[labelled.source == source] = found
        scores += _by_source(OTHER_SOURCES, con, outside)
    return scorer


def _scores(con: duckdb.DuckDBPyConnection, scorer: Scorer, standards: Standards, is_new: bool) -> np.ndarray:
    """The score of each label by its SQL, in the order of `_labels`; by the models that did not see the question, where
    there are such."""
    import duckdb

    try:
        rows = con.execute(
            f"""
            select {scorer.sql(FOLD if _is_held_out(scorer) else None)}
            from metrics m join labels l on l.sample_id = m.sample_id and l.repeat = m.repeat
            order by l.sample_id, l.repeat, l.label
            """
        ).fetchall()
    except duckdb.Error as error:
        where = "quality/" + FEATURES if is_new else str(standards.scorer_path)
        raise Mistake(f"the score cannot be worked out: {short(error)}", "mend the SQL, or fit again", where) from None
    return np.array([np.nan if row[0] is None else row[0] for row in rows], dtype=float)


def _is_held_out(scorer: Scorer) -> bool:
    return all(part.held_out for part in scorer.parts)


def _labels(con: duckdb.DuckDBPyConnection) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = con.execute(
        "select source, label, good, unanimous, question_key from labels order by sample_id, repeat, label"
    ).fetchnumpy()
    return {name: np.array(values) for name, values in found.items()}


def _by_source(by: str, con: duckdb.DuckDBPyConnection, scores: np.ndarray) -> list[Scored]:
    labels = _labels(con)
    found = []
    for label, source in sorted(set(zip(labels["label"].tolist(), labels["source"].tolist(), strict=True))):
        mine = (labels["label"] == label) & (labels["source"] == source) & ~np.isnan(scores)
        agreed = labels["unanimous"].astype(bool)
        for people, chosen in (("all", mine), ("unanimous", mine & agreed)):
            if not chosen.any() or (people == "unanimous" and (label == "answer" or agreed[mine].all())):
                continue
            good, question = labels["good"][chosen].astype(bool), labels["question_key"][chosen]
            found.append(Scored(by, score_agreement(source, label, good, scores[chosen], question, people)))
    return found


def _opinions(
    con: duckdb.DuckDBPyConnection, files: ProjectFiles, chosen: ChosenTeacher, tell: Callable[[str], None]
) -> list[JudgeAgreement]:
    rows: list[Mapping[str, Any]] = (
        con.sql(
            "select sample_id, repeat, question, choices, answer, text from metrics "
            "where exists (from labels l where l.sample_id = metrics.sample_id and l.repeat = metrics.repeat) "
            "order by sample_id, repeat"
        )
        .to_arrow_table()
        .to_pylist()
    )
    tell(f"asking {chosen.name} about {len(rows):,} rationales")
    opinions = ask_judge(files, chosen, rows, tell)
    labels: list[Mapping[str, Any]] = con.sql("from labels").to_arrow_table().to_pylist()
    return judge_agreement(labels, opinions)
