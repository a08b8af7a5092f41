"""`sql --from`: what was published to a folder or to the Hub, in place of the workspace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

import teacherlm
from hub_samples import publication
from loopback_hub import Hub, loopback_hub
from teacherlm.core.errors import MachineFailed, Mistake, RemoteFailed
from teacherlm.hub import manifest
from teacherlm.hub.folder import publish_folder
from teacherlm.schemas.records import record

SECRET = "hf_thisIsNoTokenOfAnyone"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets, one of them as rationales alone."""
    folder = tmp_path_factory.mktemp("published")
    alone = publication(folder / "parts", "closed", train=4, redistribution="restricted")
    publish_folder([publication(folder / "parts"), alone], folder / "out")
    return folder / "out"


@pytest.fixture
def project(tmp_path: Path) -> teacherlm.Project:
    return teacherlm.open(tmp_path, workspace=tmp_path / "nothing")


def test_a_published_folder_is_asked(published: Path, project: teacherlm.Project) -> None:
    rows = project.sql("SELECT dataset, split, count(*) FROM augmented GROUP BY ALL ORDER BY ALL", source=published)
    assert rows.fetchall() == [
        *(("closed", "train", 4), ("closed", "validation", 3)),
        *(("creak", "train", 5), ("creak", "validation", 3)),
    ]
    assert project.sql("FROM augmented", source=published).columns == record("augmented").names
    assert project.sql("FROM samples", source=published).columns == record("sample").names
    # Where rationales alone are published, the columns of the source are null.
    told = "SELECT dataset, count(question), count(fundamentals) FROM augmented GROUP BY ALL ORDER BY ALL"
    assert project.sql(told, source=published).fetchall() == [("closed", 0, 7), ("creak", 8, 8)]


def test_what_only_a_workspace_has_is_said(published: Path, project: teacherlm.Project) -> None:
    for query in ("FROM verdicts", "acceptance", "FROM worst('fundamentals')"):
        with pytest.raises(Mistake, match="what is published has no view `") as caught:
            project.sql(query, source=published)
        assert caught.value.remedy.startswith("it has augmented and samples")
    with pytest.raises(Mistake, match="augmentd does not exist") as caught:
        project.sql("FROM augmentd", source=published)
    assert caught.value.remedy.startswith("did you mean augmented?")


def test_places_that_are_none(published: Path, project: teacherlm.Project, tmp_path: Path) -> None:
    for place, found in (
        (tmp_path / "absent", "no such folder"),
        (tmp_path, "not a published folder"),
        ("https://example.org/x", "no such folder"),
        ("hf://models/a/b", "names no dataset repository"),
    ):
        with pytest.raises(Mistake, match=found):
            project.sql("SELECT 1", source=place)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / manifest.NAME).write_text("{")
    with pytest.raises(MachineFailed, match="is damaged"):
        project.sql("SELECT 1", source=damaged)
    (damaged / manifest.NAME).write_bytes((published / manifest.NAME).read_bytes())
    with pytest.raises(MachineFailed, match="cannot be read"):
        project.sql("FROM augmented", source=damaged)
    assert project.sql("SELECT 1", source=damaged).fetchall() == [(1,)]


@pytest.fixture(scope="module")
def hub(published: Path) -> Iterator[Hub]:
    files = {str(path.relative_to(published)): path.read_bytes() for path in published.rglob("*") if path.is_file()}
    with loopback_hub() as served:
        served.put("org/explained", {"README.md": b"# moved to v1\n"})
        served.put("org/explained", files, "v1")
        served.put("org/gated", files)
        served.gated.add("org/gated")
        yield served


def ask(hub: Hub, home: Path, place: str, query: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the clients read their settings when they are imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": SECRET,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
    }
    command = [sys.executable, "-m", "teacherlm", "sql", query, "--from", place, "-w", str(home / "nothing")]
    done = subprocess.run(
        [*command, "--format", "json"], env=environment, cwd=home, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done


def test_a_repository_on_the_hub_is_asked(hub: Hub, tmp_path: Path) -> None:
    query = "SELECT dataset, count(*) AS n FROM augmented GROUP BY ALL ORDER BY ALL"
    done = ask(hub, tmp_path, "hf://datasets/org/explained@v1", query)
    assert orjson.loads(done.stdout) == [{"dataset": "closed", "n": 7}, {"dataset": "creak", "n": 8}], done.stderr
    fetched = [request for request in hub.requests if request.startswith("GET") and ".parquet" in request]
    assert len(fetched) == 4
    # What does not ask for rows fetches none; what was fetched is not fetched again.
    ask(hub, tmp_path, "hf://datasets/org/explained@v1", "SELECT 1 AS one")
    ask(hub, tmp_path, "hf://datasets/org/explained@v1", query)
    again = [request for request in hub.requests if request.startswith("GET") and ".parquet" in request]
    assert len(again) == 4


def test_a_hub_that_is_not_there_is_told_as_reading(
    monkeypatch: pytest.MonkeyPatch, project: teacherlm.Project
) -> None:
    monkeypatch.setattr("teacherlm.hub.repository.WAIT_S", 0.0)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RemoteFailed, match="cannot be reached") as caught:
        project.sql("FROM augmented", source="hf://datasets/none/none")
    assert "run the same command again" in caught.value.remedy and "sent" not in caught.value.remedy


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("hf://datasets/org/explained", 2, "teacherlm did not publish it"),
        ("hf://datasets/org/gated", 2, "private or gated"),
    ],
)
def test_repositories_that_cannot_be_asked(hub: Hub, tmp_path: Path, place: str, code: int, words: str) -> None:
    done = ask(hub, tmp_path, place, "FROM augmented")
    assert (done.returncode, words in done.stdout) == (code, True), done.stdout + done.stderr
