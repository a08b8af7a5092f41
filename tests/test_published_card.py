"""The card of a dataset that was really asked, checked and published: what it says, and what it must not say."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import teacherlm
from recipes import parquet, recipe
from scripted import sensible, teacher
from teacherlm.api.made import shown_model
from teacherlm.cli.main import main
from teacherlm.hub import manifest

SECRET = "hf_" + "s3cr3t" * 6

ROWS: list[dict[str, Any]] = [
    {"q": "Which metal rusts when it is wet?", "a": "iron", "why": None},
    {"q": "Which animal gives us wool for warm coats?", "a": "sheep", "why": None},
    {"q": "Which planet of ours has the widest rings?", "a": "Saturn", "why": "People take Jupiter for it."},
    {"q": "Which gas do green plants take from the air?", "a": "carbon dioxide", "why": None},
]  # fmt: skip

CATALOG = """\
teachers:
  lab:
    url: {url}
    parameters: {{do_sample: true, temperature: 0.7, seed: 7}}
    price_per_million_input: 1234567
    price_per_million_output: 7654321
gates: {{max_failed: 0.5}}
evaluation_sets: {{exam: {{splits: [test]}}, other: {{splits: [test]}}}}
"""


def moody(prompt: str) -> str | int:
    """Refuses one text, leaves one empty."""
    if prompt.endswith("The fundamental of this question is:"):
        if "metal" in prompt:
            return 422
        if "wool" in prompt:
            return " "
    return sensible(prompt)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that was published from the command line; `published/` in it."""
    folder = tmp_path_factory.mktemp("somewhere-private")
    parquet(folder / "builders" / "rows.parquet", ROWS)
    recipe(
        folder,
        {"question": "q", "answer": "a", "human_rationale": "why"},
        human="common_mistakes",
        citation="https://example.org/paper",
    )
    (folder / "exam.jsonl").write_bytes(orjson.dumps({"question": ROWS[3]["q"]}) + b"\n")
    with pytest.MonkeyPatch.context() as patch, teacher(moody) as server:
        patch.chdir(folder)
        patch.setenv("HF_TOKEN", SECRET)
        patch.setenv("TEACHERLM_TEACHER_TOKEN", SECRET)
        (folder / "catalog.yaml").write_text(CATALOG.format(url=server.url))
        for arguments in (
            ("build", "d"),
            ("augment", "d", "--teacher", "lab"),
            ("check", "d", "--against", "exam=exam.jsonl"),
            ("publish", "d", "--to", "published"),
        ):
            with pytest.raises(SystemExit) as left:
                main(arguments)
            assert left.value.code == 0, arguments
        (folder / "port").write_text(str(server.server_port))
        yield folder


@pytest.fixture(scope="module")
def page(place: Path) -> str:
    return (place / "published" / "README.md").read_text()


def row_of(page: str, heading: str, *starts: str) -> list[str]:
    """The cells of the one row of a section that has these cells somewhere."""
    section = re.split(rf"^#+ {re.escape(heading)}\n", page, flags=re.MULTILINE)[1].split("\n#")[0]
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in section.splitlines() if line[:1] == "|"
    ]
    (found,) = [row for row in rows if set(starts) <= set(row)]
    return found


def test_it_says_how_every_kind_was_asked(page: str) -> None:
    heading = "Teachers, prompts and parameters"
    asked = row_of(page, heading, "`explain`")
    assert asked[:2] == ["`tests/scripted`", "`1`"]
    assert asked[3] == "[paper](prompts/paper.yaml)"
    assert asked[4] == (
        '`do_sample` `true`; `max_new_tokens` `512`; `stop` `["Q: ","\\nQ:"]`; `temperature` `0.7`; '
        "a seed for each call, drawn from 7"
    )
    human = row_of(page, heading, "`human`")
    assert (human[0], human[-2:]) == ("nobody", ["`common_mistakes`", "1"])
    assert f"Made with teacherlm `{teacherlm.__version__}`." in page


def test_it_says_what_became_of_the_texts_and_why(page: str) -> None:
    counts = row_of(page, "What became of the texts", "`fundamentals`")
    # The question of the exam takes its texts with it.
    assert counts[2:7] == ["4", "1", "2", "0", "1"]
    assert "refused: 422 (1)" in counts[-1]
    assert "empty (1)" in counts[-1]
    assert "contaminated (1)" in counts[-1]
    found = row_of(page, "Rules", "[contaminated](rules/contaminated.sql)")
    assert found[1:3] == ["reject", "it shares text with an item of an evaluation set"]
    assert int(found[3]) >= 3
    assert row_of(page, "Contamination", "`exam`")[1:] == ["run", "1", "1"]
    assert row_of(page, "Contamination", "`other`")[1:2] == ["not run"]
    assert re.search(r"All \d+ hold\.", page)


def test_it_says_what_the_answers_took(place: Path, page: str) -> None:
    header, took = row_of(page, "What it took", "answers"), row_of(page, "What it took", "`d`")
    told = dict(zip(header, took, strict=True))
    project = teacherlm.open(place, workspace=place / "workspace")
    (cost,) = project.cost("d", by=("dataset",))
    assert told["answers"] == str(cost["calls"]) == "10"  # 12 texts; a person wrote one, one was refused
    assert told["requests"] == str(cost["requests"])
    assert told["prompt tokens"] == str(cost["prompt_tokens"])
    assert told["generated tokens"] == str(cost["generated_tokens"])
    assert {"hours of asking", "server-hours"} <= told.keys()
    assert "7654321" not in page  # prices are nobody's business
    assert "1234567" not in page


def test_nothing_says_where_it_was_made(place: Path, page: str) -> None:
    port = (place / "port").read_text()
    for text in (page, (place / "published" / manifest.NAME).read_text()):
        for private in (
            SECRET,
            "127.0.0.1",
            f":{port}",
            "localhost",
            str(place),
            place.name,
            "/tmp",
        ):
            assert private not in text
        assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text)
        assert set(re.findall(r"https?://([\w.]+)", text)) <= {"huggingface.co", "example.org"}


def test_publishing_again_gives_the_same_card(place: Path) -> None:
    before = {name: (place / "published" / name).read_bytes() for name in ("README.md", manifest.NAME)}
    project = teacherlm.open(place, workspace=place / "workspace")
    again = project.publish("d", to=place / "published")
    assert (again.files, again.unchanged) == ((), ("d",))
    assert before == {name: (place / "published" / name).read_bytes() for name in before}


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("bigscience/bloom-7b1", "bigscience/bloom-7b1"),
        ("/srv/ada/models/bloom", "bloom"),
        ("~/models/bloom/", "bloom"),
        ("C:\\models\\bloom", "bloom"),
        ("s3://bucket/secret/bloom", "bloom"),
        ("./bloom", "bloom"),
        ("/", "unnamed"),
    ],
)
def test_a_model_is_not_told_by_its_path(told: str, shown: str) -> None:
    assert shown_model(told) == shown
