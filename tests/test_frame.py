"""`teacherlm.augment(dataset, teacher=…)` and `teacherlm.open(path)`: what Python users import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

import teacherlm
from recipes import parquet, recipe
from scripted import Scripted, sensible, teacher
from teacherlm.core.errors import GateFailed, Mistake, RemoteFailed
from teacherlm.schemas.records import KINDS, record

# One of the rows below is no sample; that the warning comes is tested once.
pytestmark = pytest.mark.filterwarnings("ignore:1 rows are no samples")

ROWS: list[dict[str, Any]] = [
    {"id": "3", "question": "Which metal rusts  when it is wet?", "choices": ["gold", "iron"], "answer": "iron"},
    {"id": "1", "question": "Which animal gives us wool?", "choices": ["sheep", "hen"], "answer": "sheep"},
    {"id": "2", "question": "", "choices": ["a", "b"], "answer": "a"},
    {"id": "0", "question": "How many legs does a spider have in all?", "choices": [], "answer": "8"},
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without a project, so that the bundled one is taken."""
    monkeypatch.delenv("TEACHERLM_WORKSPACE", raising=False)
    monkeypatch.delenv("TEACHERLM_TEACHER", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_a_dataset_gets_its_explanations(tmp_path: Path) -> None:
    with teacher() as server:
        rows = teacherlm.augment(datasets.Dataset.from_list(ROWS), teacher=server.url)
        assert len(server.prompts) == 9
    assert rows.features == record("augmented").features()
    assert rows["sample_id"][:] == [f"dataset/train/{row['id']}" for row in ROWS if row["question"]]
    assert rows["question"][0] == "Which metal rusts when it is wet?"
    for row in rows:
        for kind in KINDS:
            assert row[kind]
            assert row["quality"][kind] is not None
            assert row["provenance"][kind]["teacher_model"] == "tests/scripted"
    assert rows["chain_of_thought"][0].endswith("So the answer is (B).")
    assert rows["chain_of_thought"][2].endswith("So the answer is 8.")
    assert not list(Path.cwd().iterdir())


def test_only_accepted_texts_end_in_the_columns() -> None:
    def short_mistakes(prompt: str) -> str | int:
        if "spider" in prompt:
            return 422
        return "no" if prompt.endswith("mistakes are:") else sensible(prompt)

    with teacher(short_mistakes) as server:
        rows = teacherlm.augment(datasets.Dataset.from_list(ROWS), teacher=server.url)
    assert rows["common_mistakes"][:] == [None, None, None]
    assert [text is not None for text in rows["fundamentals"][:]] == [True, True, False]


def test_with_a_workspace_nothing_is_asked_twice(tmp_path: Path) -> None:
    given = datasets.Dataset.from_list(ROWS)
    with teacher() as server:
        first = teacherlm.augment(given, teacher=server.url, workspace=tmp_path / "w", kinds=["chain_of_thought"])
        assert len(server.prompts) == 3
        again = teacherlm.augment(given, teacher=server.url, workspace=tmp_path / "w", kinds=["chain_of_thought"])
        assert len(server.prompts) == 3
        assert again.to_list() == first.to_list()
        teacherlm.augment(given.select([1]), teacher=server.url, workspace=tmp_path / "w", name="other")
        assert len(server.prompts) == 6
    found = teacherlm.open(".", workspace=tmp_path / "w").sql("SELECT DISTINCT dataset FROM samples ORDER BY 1")
    assert found.fetchall() == [("dataset",), ("other",)]


def test_several_datasets_of_one_workspace_do_not_mix(tmp_path: Path) -> None:
    given = datasets.Dataset.from_list(ROWS)
    with teacher() as server:
        teacherlm.augment(given, teacher=server.url, workspace=tmp_path / "w", name="one")
        two = teacherlm.augment(given.select([0]), teacher=server.url, workspace=tmp_path / "w", name="two")
    assert two["sample_id"][:] == ["two/train/3"]


def test_the_order_of_many_rows_is_kept() -> None:
    rows = [{"id": str(n * 7919 % 700), "question": f"What is {n} and one?", "answer": str(n + 1)} for n in range(700)]
    with teacher() as server:
        found = teacherlm.augment(datasets.Dataset.from_list(rows), teacher=server.url, kinds=["fundamentals"])
    assert found["answer"][:] == [row["answer"] for row in rows]


@pytest.mark.parametrize("choices", [None, []])
def test_free_text_needs_no_choices(choices: list[str] | None) -> None:
    rows = [{"question": "How many legs has a spider?", "answer": "8", "choices": choices, "subject": None}]
    with teacher() as server:
        found = teacherlm.augment(datasets.Dataset.from_list(rows), teacher=server.url, kinds=["fundamentals"])
    assert found["choices"][:] == [[]]
    assert found["answer_index"][:] == [None]


@pytest.mark.filterwarnings("error")
def test_rows_that_are_no_samples_are_said() -> None:
    with teacher() as server, pytest.warns(UserWarning, match="1 rows are no samples and left out: 1 empty question"):
        teacherlm.augment(datasets.Dataset.from_list(ROWS), teacher=server.url, kinds=["fundamentals"])


def test_columns_with_other_types_and_names(tmp_path: Path) -> None:
    rows = {"question": ["Is iron a metal?"], "answer": [1], "id": [17], "other": [{"a": [1]}]}
    features = datasets.Features(
        {"question": datasets.Value("large_string"), "answer": datasets.ClassLabel(names=["no", "yes"])}
        | {"id": datasets.Value("int32"), "other": {"a": datasets.List(datasets.Value("int64"))}}
    )
    with teacher() as server:
        given = datasets.Dataset.from_dict(rows, features=features).with_format("numpy")
        found = teacherlm.augment(given, teacher=server.url, kinds=["fundamentals"])
    assert found["sample_id"][:] == ["dataset/train/17"]
    assert found["answer"][:] == ["yes"]


def test_what_is_wrong_is_said_before_anybody_is_asked(tmp_path: Path) -> None:
    given = datasets.Dataset.from_list(ROWS)
    with teacher() as server:
        with pytest.raises(Mistake, match="the dataset has no column `answer`"):
            teacherlm.augment(given.remove_columns("answer"), teacher=server.url)
        with pytest.raises(Mistake):
            teacherlm.augment(given, teacher=server.url, kinds=["cot"])
        with pytest.raises(Mistake):
            teacherlm.augment(given, teacher=server.url, max_new_tokens=0)
        for name in ("", "a/b", "../x", ".hidden"):
            with pytest.raises(Mistake, match="name"):
                teacherlm.augment(given, teacher=server.url, name=name)
        with pytest.raises(Mistake, match="there is no teacher `nanoo`"):
            teacherlm.augment(given, teacher="nanoo")
        assert server.prompts == []
    with pytest.raises(RemoteFailed, match="no server answers"):
        teacherlm.augment(given, teacher="http://127.0.0.1:9")


def steps(project: teacherlm.Project, server: Scripted) -> None:
    assert project.build("d").samples == 2
    state = project.augment("d", teacher=server.url, limit=1)
    assert (state.planned, state.tally.answered) == (3, 3)
    assert project.augment("d", teacher=server.url).already == 3


def test_open_has_a_method_for_each_step(tmp_path: Path) -> None:
    rows = [{"q": "Which metal rusts when it is wet?", "a": "iron"}, {"q": "Which animal gives wool?", "a": "sheep"}]
    parquet(tmp_path / "p" / "builders" / "rows.parquet", rows)
    recipe(tmp_path / "p")
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    assert project.datasets == ["d"]
    assert project.plan("d").calls == 6
    with teacher() as server:
        steps(project, server)
    assert project.plan("d").calls == 6
    report = project.check("d", only_if_stale=True)
    assert report.passed
    assert project.check("d", only_if_stale=True).created_at == report.created_at
    published = project.publish("d", to=tmp_path / "published")
    assert published.rows == 2
    frame = project.sql("SELECT kind, count(*) AS n FROM rationales GROUP BY kind ORDER BY kind").pl()
    assert frame.rows() == [(kind, 2) for kind in sorted(KINDS)]
    assert [row["state"] for row in project.status()] == ["checked"]
    with pytest.raises(Mistake, match="returns no rows"):
        project.sql("DROP VIEW samples")


def test_a_check_is_stale_once_something_it_depends_on_has_changed(tmp_path: Path) -> None:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", [{"q": "Which metal rusts when it is wet?", "a": "iron"}])
    recipe(tmp_path / "p")
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    with teacher() as server:
        project.build("d")
        project.augment("d", teacher=server.url, kinds=["fundamentals"])
        report = project.check("d")
        project.augment("d", teacher=server.url)
    assert [row["state"] for row in project.status()] == ["check is stale"]
    with pytest.raises(GateFailed):
        project.publish("d", to=tmp_path / "published")
    assert project.check("d", only_if_stale=True).created_at > report.created_at


def test_run_repeats_only_what_is_stale(tmp_path: Path) -> None:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", [{"q": "Which metal rusts when it is wet?", "a": "iron"}])
    recipe(tmp_path / "p")
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    with teacher() as server:
        first = project.run("d", teacher=server.url, to=tmp_path / "published")
        second = project.run("d", teacher=server.url, to=tmp_path / "published")
        assert len(server.prompts) == 3
    assert first.report is not None and second.report is not None
    assert first.report.created_at == second.report.created_at
    assert second.built.reused and second.augmented.already == 3
    assert second.published is not None and second.published.unchanged == ("d",)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_it"):
        getattr(teacherlm, "nothing_of_it")  # noqa: B009 - a name that type checkers must not see


def test_the_project_of_this_directory_decides_prompts_and_rules(tmp_path: Path) -> None:
    here = tmp_path / "here"
    recipe(here)
    (here / "catalog.yaml").write_text("teachers: {mine: {url: 'http://127.0.0.1:9', prompts: short}}\n")
    (here / "builders" / "prompts").mkdir()
    (here / "builders" / "prompts" / "short.yaml").write_text('kinds: {fundamentals: "About {{ question }}"}\n')
    with teacher() as server:
        text = (here / "catalog.yaml").read_text().replace("http://127.0.0.1:9", server.url)
        (here / "catalog.yaml").write_text(text)
        teacherlm.augment(datasets.Dataset.from_list(ROWS[:1]), teacher="mine", kinds=["fundamentals"])
        assert server.prompts == ["About Which metal rusts when it is wet?"]
