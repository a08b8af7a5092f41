"""`teacherlm recipe` and the recipe of docs/recipes.md: what a person types, and what they read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from teacherlm.api.editor_schemas import schema_text
from teacherlm.cli.main import main

DOCS = Path(__file__).resolve().parents[1] / "docs" / "recipes.md"

RIVERS = """nr,question,A,B,C,D,answer,explanation
1,Which river flows through Vienna?,the Danube,the Rhine,the Elbe,the Oder,A,"Vienna lies on the Danube."
2,Which river is the longest in Africa?,the Congo,the Nile,the Niger,the Zambezi,B,The Nile is about 6650 km long.
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TEACHERLM_WORKSPACE", "TEACHERLM_TEACHER", "TEACHERLM_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rivers.csv").write_text(RIVERS)
    return tmp_path


def typed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run a command; gives what is on stdout and stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    assert ended.value.code == code, shown
    return shown.out, shown.err


@pytest.mark.parametrize(
    ("arguments", "example"),
    [
        (("recipe",), "teacherlm recipe new rivers"),
        (("recipe", "new"), "teacherlm recipe new rivers"),
        (("recipe", "schema"), "teacherlm recipe schema recipe"),
    ],
)
def test_help_shows_an_example(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], example: str) -> None:
    out, _ = typed(capsys, *arguments, "--help")
    assert f"Example: {example}" in out
    out, _ = typed(capsys, "--help")
    assert re.search(r"^│ recipe ", out, re.MULTILINE)


def test_new_says_what_it_guessed_and_what_to_do_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed(capsys, "init", ".")
    out, err = typed(capsys, "recipe", "new", "rivers", "--source", "rivers.csv")
    assert re.search(r"^choices +\[A, B, C, D\] +a column for each *$", out, re.MULTILINE)
    assert "2 rows tried: 2 samples, 0 filtered, 0 rejected" in out
    assert err == "next: read builders/rivers.yaml, then  teacherlm plan rivers\n"
    text = (here / "builders" / "rivers.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=../.schemas/recipe.json\n")
    assert "# Proposed by  teacherlm recipe new rivers --source rivers.csv" in text
    assert str(here) not in text
    out, _ = typed(capsys, "plan", "rivers")
    assert "given rows        2, all as expected" in out


def test_programs_get_the_guesses(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed(capsys, "init", ".")
    out, _ = typed(capsys, "recipe", "new", "rivers", "--source", "rivers.csv", "--format", "json")
    envelope = orjson.loads(out)
    assert (envelope["command"], envelope["ok"]) == ("recipe new", True)
    (row,) = envelope["rows"]
    assert row["file"] == str(Path("builders", "rivers.yaml"))
    assert [guess["part"] for guess in row["guesses"]] == ["id", "question", "choices", "answer", "human_rationale"]
    out, _ = typed(capsys, "recipe", "new", "rivers", "--source", "rivers.csv", "--format", "json", code=2)
    assert orjson.loads(out)["errors"][0]["found"] == "there is a recipe already"
    typed(capsys, "recipe", "new", "rivers", "--source", "rivers.csv", "--force")


def test_what_is_not_guessed_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed(capsys, "init", ".")
    (here / "odd.csv").write_text(
        "x,y\n" + "".join(f"one two three four {n},five six seven {n} eight\n" for n in range(9))
    )
    out, err = typed(capsys, "recipe", "new", "odd", "--source", "odd.csv")
    assert "could not guess `question`, `answer`: write it in builders/odd.yaml" in err
    assert "the source has  x VARCHAR, y VARCHAR" in err
    assert "rows tried" not in out
    _, err = typed(capsys, "plan", "odd", code=2)
    assert re.search(r"builders/odd\.yaml:\d+:13   `question` is still to be written", err)


def test_without_a_project_it_says_init(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = typed(capsys, "recipe", "new", "rivers", "--source", "rivers.csv", code=2)
    assert "teacherlm init DIR" in err
    assert not (here / "builders").exists()


def test_schemas_are_printed_or_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("recipe", "catalog", "prompts"):
        out, _ = typed(capsys, "recipe", "schema", name)
        assert out == schema_text(name)
    typed(capsys, "recipe", "schema", "prompts", "--output", "p.json")
    assert (here / "p.json").read_text() == schema_text("prompts")
    typed(capsys, "recipe", "schema", "nonsense", code=2)


# docs/recipes.md.


def test_the_five_minutes_of_the_documentation(tmp_path: Path) -> None:
    """Its commands run as they stand, and print what it says that they print."""
    text = DOCS.read_text(encoding="utf-8").partition("## A recipe for your own data in five minutes")[2]
    text = text.partition("\n## ")[0]
    shells, told = re.findall(r"```sh\n(.*?)```", text, re.DOTALL), re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert shells
    assert told
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}
    environment.pop("TEACHERLM_WORKSPACE", None)
    done = subprocess.run(
        ["sh", "-c", "set -eu\n" + "\n".join(shells)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [line.rstrip() for line in done.stdout.splitlines()]
    for block in told:
        for line in block.splitlines():
            assert line.rstrip() in said or line.strip() == "…", line
