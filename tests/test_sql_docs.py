"""docs/sql.md: its views, columns, macros and queries are those that there are; its questions give the rows shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import teacherlm
from sql_workspace import ROWS, fill, shown
from teacherlm.api.sql import Sql
from teacherlm.api.sql_docs import page

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
SHOWN = [(found[2], found[3]) for found in ROWS.finditer(PAGE)]
BLOCKS = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("docs") / "workspace").root


def test_what_is_derived_is_current() -> None:
    assert page(PAGE) == PAGE, "run: python -m teacherlm.api.sql_docs docs/sql.md"


def test_there_are_ten_questions() -> None:
    assert len(BLOCKS) == len(re.findall(r"^### \d+\. ", PAGE, flags=re.MULTILINE)) == 10
    assert len(SHOWN) == 11
    for command, _ in SHOWN:
        assert f"    teacherlm {command}\n" in PAGE or "show(" in command


def test_the_rows_are_those_that_it_shows(workspace: Path) -> None:
    printed = shown([command for command, _ in SHOWN], workspace)
    for (command, rows), found in zip(SHOWN, printed, strict=True):
        assert found == rows, f"{command}: run  PYTHONPATH=tests python tests/sql_workspace.py docs/sql.md"
        assert len(rows.splitlines()) > 1


@pytest.mark.parametrize("sql", BLOCKS, ids=range(1, len(BLOCKS) + 1))
def test_the_sql_of_the_page_runs_as_it_stands(workspace: Path, sql: str) -> None:
    project = teacherlm.open(ROOT, workspace=workspace)
    asked = {"n": 3} if "$n" in sql else None
    found = project.sql(sql, parameters=asked).to_arrow_table()
    assert found.num_rows
    for column in found.column_names:
        assert found[column].null_count < found.num_rows, f"{column} is empty"


def test_the_examples_of_other_pages_run(workspace: Path) -> None:
    text = (ROOT / "docs" / "workspace.md").read_text(encoding="utf-8")
    session = Sql(teacherlm.open(ROOT).files, teacherlm.open(ROOT, workspace=workspace).workspace).session
    (block,) = re.findall(r"\n((?:    .*\n)+)\Z", text)
    assert sum(relation is not None for relation in session.each(block)) == 3
