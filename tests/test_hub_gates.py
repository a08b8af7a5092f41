"""Gates: what stands against a publication is said at once, with what would satisfy it, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub_samples import REPORT, part, publication, row
from teacherlm.core.errors import GateFailed, Mistake
from teacherlm.hub.folder import publish_folder
from teacherlm.hub.gates import Refused, hold
from teacherlm.hub.publication import LicenceChecked, Publication, Redistribution


def refusal(tmp_path: Path, *publications: Publication) -> str:
    with pytest.raises(Refused) as refused:
        publish_folder(publications, tmp_path / "out")
    assert isinstance(refused.value, GateFailed)
    assert refused.value.exit_code == 1
    assert not (tmp_path / "out").exists()
    return str(refused.value)


def test_failed_gates_are_named_with_what_satisfies_them(tmp_path: Path) -> None:
    gates = [
        {
            "gate": "accepted_share",
            "passed": False,
            "found": 0.4100000001,
            "limit": 0.9,
            "remedy": "read the rejected texts",
        },
        {"gate": "books_close", "passed": True},
        {"gate": "contamination", "passed": False},
    ]
    text = refusal(tmp_path, publication(tmp_path, report={"passed": False, "gates": gates}))
    assert text == (
        "2 reasons against publishing; nothing was published\n\n"
        "creak   the gate `accepted_share` has failed: found 0.41, limit 0.9\n"
        "    read the rejected texts\n"
        "creak   the gate `contamination` has failed\n"
        "    mend it and run `teacherlm check creak` again"
    )


@pytest.mark.parametrize("report", [{}, {"passed": False}, {"passed": "yes"}, {"gates": []}])
def test_without_a_passing_report_nothing_is_published(report: dict[str, Any], tmp_path: Path) -> None:
    assert "teacherlm check creak" in refusal(tmp_path, publication(tmp_path, report=report))


def test_gates_may_be_given_by_name(tmp_path: Path) -> None:
    report = {"passed": False, "gates": {"accepted_share": {"passed": False, "value": 0, "threshold": 0.5}}}
    assert "`accepted_share` has failed: found 0, limit 0.5" in refusal(tmp_path, publication(tmp_path, report=report))


def test_all_datasets_and_all_reasons_are_named_at_once(tmp_path: Path) -> None:
    text = refusal(
        tmp_path,
        publication(tmp_path, changed=["augmented/creak/train", "rules/empty.sql"]),
        publication(tmp_path, "ecqa", report={**REPORT, "passed": False}),
        publication(tmp_path, "fine"),
    )
    assert "3 reasons" in text
    assert "creak   rules/empty.sql has changed since the check" in text
    assert "ecqa   the report has not passed" in text
    assert "fine" not in text


@pytest.mark.parametrize("redistribution", ["restricted", "unclear"])
def test_the_text_of_a_closed_source_needs_a_person_who_checked(redistribution: Redistribution, tmp_path: Path) -> None:
    closed = publication(tmp_path, redistribution=redistribution, rationales_only=False)
    text = refusal(tmp_path, closed)
    assert "licences: {creak: {by: NAME, on: YYYY-MM-DD, basis: WHY}}" in text
    assert "rationales alone" in text
    checked = LicenceChecked(by="Ada", on="2026-01-02", basis="letter of the authors")
    for passes in (
        publication(tmp_path, redistribution=redistribution),
        publication(tmp_path, redistribution=redistribution, licence_checked=checked, rationales_only=False),
    ):
        hold([passes])
    assert publication(tmp_path, redistribution=redistribution).alone
    assert not publication(tmp_path, redistribution=redistribution, licence_checked=checked).alone
    assert not publication(tmp_path, redistribution="share-alike").alone


# Put together here, so that no scanner takes this file for a leak.
SECRETS = ["hf" + "_" + "aB3" * 12, "sk" + "-" + "x1" * 20, "sk" + "-proj-" + "a-b" * 9, "AKIA" + "Z" * 16]
SECRETS += ["-----BEGIN " + kind + "PRIVATE KEY-----" for kind in ("", "RSA ", "OPENSSH ")]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_refused_by_place_and_never_shown(secret: str, tmp_path: Path) -> None:
    rows = [
        row(0),
        row(1, question=f"What is {secret}?"),
        row(2, choices=["a", "b", secret], answer=secret),
        row(3, sample_id=f"creak/train/{secret}"),
    ]
    parts = {"train": [part(tmp_path / "secret.parquet", rows)]}
    text = refusal(tmp_path, publication(tmp_path, splits=parts, files={"recipes/creak.yaml": "a: 1"}))
    assert "creak   `question` of sample `creak/train/1`" in text
    assert "creak   `choices` of sample `creak/train/2`" in text
    assert "creak   `answer` of sample `creak/train/2`" in text
    assert "creak   `sample_id` of sample `creak/train/***`" in text
    assert "4 reasons" in text
    assert secret not in text
    text = refusal(tmp_path, publication(tmp_path, files={"prompts/own.yaml": f"key: {secret}"}))
    assert "`prompts/own.yaml`" in text
    assert secret not in text


def test_many_secrets_are_counted(tmp_path: Path) -> None:
    rows = [row(number, question=SECRETS[0]) for number in range(50)]
    text = refusal(tmp_path, publication(tmp_path, splits={"train": [part(tmp_path / "s.parquet", rows)]}))
    assert "30 more cells" in text


def test_ordinary_words_are_no_secrets(tmp_path: Path) -> None:
    words = "task-oriented risk-averse sk-learn-and-other-well-known-libraries hf_hub_download AKIA BEGIN PRIVATE KEY"
    rows = [row(0, question=words)]
    publish_folder([publication(tmp_path, splits={"train": [part(tmp_path / "w.parquet", rows)]})], tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"dataset": "../creak"}, "no name for a dataset"),
        ({"splits": {"train-hard": []}}, "no name for a split"),
        ({"redistribution": "maybe"}, "use one of allowed, share-alike"),
        ({"files": {"recipes/../../x": ""}}, "no place"),
        ({"files": {"README.md": ""}}, "no place"),
        ({"files": {"/etc/x": ""}}, "no place"),
    ],
)
def test_names_that_cannot_be_published_are_mistakes(changes: dict[str, Any], found: str, tmp_path: Path) -> None:
    with pytest.raises(Mistake) as mistake:
        publication(tmp_path, **changes)
    assert found in str(mistake.value)
