"""Declared files: places of keys and values, every mistake at once, and which project a directory belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm.builders.read import read_prompts, read_recipe
from teacherlm.builders.recipe import Recipe
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.project.bind import bind
from teacherlm.project.find import ProjectFiles, find_project, workspace_path
from teacherlm.project.located import Located, read_yaml

GOLDEN = Path(__file__).parent / "golden"

GOOD = """\
title: Rust
source: {files: rust.jsonl}
license: MIT
redistribution: allowed
task: chemistry
sample:
  question: q
  answer: a
"""


def document(folder: Path, text: str | bytes, name: str = "file.yaml") -> Located:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


def mistakes(folder: Path, text: str | bytes) -> list[Problem]:
    with pytest.raises(Mistakes) as caught:
        document(folder, text)
    return caught.value.problems


def recipe_mistakes(folder: Path, text: str) -> list[Problem]:
    with pytest.raises(Mistakes) as caught:
        bind(document(folder, text), Recipe, data={"name": "rust", **document(folder, text).data})
    return caught.value.problems


def test_keys_and_values_have_places(tmp_path: Path) -> None:
    located = document(
        tmp_path, "# first\nsource:\n  files: {train: a.jsonl,\n          test: b.jsonl}\nkinds:\n  - x\n"
    )
    assert located.where(("source",), key=True) == "file.yaml:2:1"
    assert located.where(("source", "files", "test"), key=True) == "file.yaml:4:11"
    assert located.where(("source", "files", "test")) == "file.yaml:4:17"
    assert located.where(("kinds", 0)) == "file.yaml:6:5"


def test_what_is_missing_is_shown_at_the_nearest_part_that_exists(tmp_path: Path) -> None:
    located = document(tmp_path, "a:\n  b: 1\n")
    assert located.where(("a", "c", "d")) == "file.yaml:2:3"
    assert located.where(("z",)) == "file.yaml:1:1"


def test_keys_that_look_like_numbers_or_truth_values_are_words_and_have_places(tmp_path: Path) -> None:
    located = document(tmp_path, "2024: a\ntrue: b\n~: c\n1.5: d\n")
    assert located.data == {"2024": "a", "true": "b", "~": "c", "1.5": "d"}
    assert [located.where((key,), key=True)[-3:] for key in located.data] == ["1:1", "2:1", "3:1", "4:1"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("false", False),
        ("2024-05-01", "2024-05-01"),
        ("2024-05-01 10:00:00", "2024-05-01 10:00:00"),
        ("10:30", "10:30"),
        ("1:20:30.5", "1:20:30.5"),
        ("012", "012"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("1.0e+3", 1000.0),
        ("", None),
        ("null", None),
        ("'12'", "12"),
    ],
)
def test_scalars_mean_what_a_data_person_means(tmp_path: Path, text: str, value: Any) -> None:
    found = document(tmp_path, f"x: {text}\n").data["x"]
    assert (found, type(found)) == (value, type(value))


def test_a_key_that_stands_twice_is_a_mistake(tmp_path: Path) -> None:
    (problem,) = mistakes(tmp_path, "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    assert (problem.where, problem.found) == ("file.yaml:5:3", "`c` stands twice in one mapping")
    assert problem.edit == "remove one of them"


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: 1\n\tb: 2\n", "file.yaml:2:1", "not YAML"),
        ("a: [1, 2\nb: 3\n", "file.yaml:2:2", "not YAML"),
        ("a: b: c\n", "file.yaml:1:5", "not YAML"),
        ("a: 1\n---\nb: 2\n", "file.yaml:2:1", "not YAML"),
        ("a: 1\nb: \x07\n", "file.yaml:2:4", "not YAML"),
        ("a: !!python/object:os.system x\n", "file.yaml:1:4", "cannot be read as"),
        ("? [a, b]\n: 1\n", "file.yaml:1:3", "a key must be a word"),
        ("a: &x [1, *x]\n", "file.yaml:1:4", "holds itself"),
        ("a: 1\n<<: 3\n", "file.yaml:2:5", "keys with values"),
    ],
)
def test_what_is_no_yaml_is_shown_where_it_stands(tmp_path: Path, text: str, where: str, words: str) -> None:
    (problem,) = mistakes(tmp_path, text)
    assert problem.where == where
    assert words in problem.found
    assert problem.edit


def test_aliases_and_merges_keep_the_places_of_their_own_keys(tmp_path: Path) -> None:
    located = document(tmp_path, "base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\n")
    assert located.data == {"base": {"a": 1, "b": 2}, "use": {"b": 3, "a": 1}}
    assert located.where(("use", "b")) == "file.yaml:4:6"
    assert located.where(("use",)) == "file.yaml:3:3"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(Mistake, match=r"is not UTF-8 \(byte 3\)"):
        document(tmp_path, b"a: \xff\n")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(Mistake, match="cannot be read"):
        read_yaml(tmp_path / "folder.yaml")
    assert document(tmp_path, b"\xef\xbb\xbfa: 1\n").data == {"a": 1}
    assert document(tmp_path, "").data == {}


@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), st.integers(-999, 999), min_size=1))
def test_every_key_is_found_where_its_text_stands(values: dict[str, int]) -> None:
    lines = [f"{key}:  {value}" for key, value in values.items()]
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        located = document(Path(folder), "\n".join(lines))
    for key in values:
        _, line, column = located.where((key,)).split(":")
        assert lines[int(line) - 1][int(column) - 1 :] == str(values[key])


def test_a_document_that_is_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(Mistakes) as caught:
        bind(document(tmp_path, "- a\n"), Recipe)
    (problem,) = caught.value.problems
    assert str(problem).startswith("file.yaml:1:1   holds a list where keys with values are wanted")


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    (problem,) = recipe_mistakes(tmp_path, GOOD + "max_new_token: 3\n")
    assert (problem.where, problem.edit) == ("file.yaml:9:1", "rename it to `max_new_tokens`")
    (problem,) = recipe_mistakes(tmp_path, GOOD + "zzz: 3\n")
    assert problem.edit.startswith("remove it; known keys are name, title, source")
    (problem,) = recipe_mistakes(tmp_path, GOOD.replace("  answer: a", "  answer: a\n  chioces: c"))
    assert (problem.where, problem.found) == ("file.yaml:9:3", "unknown key `chioces`")
    assert problem.edit == "rename it to `choices`"


@pytest.mark.parametrize(
    ("line", "column", "found", "edit"),
    [
        ('max_new_tokens: "12"', 17, '`max_new_tokens` holds the text "12"; a whole number is wanted', "12, without"),
        ("max_new_tokens: 1.5", 17, "`max_new_tokens` holds the number 1.5; a whole number is wanted", "12, without"),
        ("max_new_tokens: 0", 17, "`max_new_tokens` is 0", "write a number of 1 or more"),
        ("about: 12", 8, "`about` holds the number 12; a text is wanted", 'about: "12"'),
        ("about: true", 8, "`about` holds true; a text is wanted", 'about: "true"'),
        ("about: [a]", 8, "`about` holds a list; a text is wanted", 'about: "a"'),
        ("kinds: fundamentals", 8, '`kinds` holds the text "fundamentals"; a list is wanted', "kinds: [fundamentals]"),
        (
            "kinds: [cot]",
            9,
            '`kinds` has "cot"; it can be fundamentals, chain_of_thought, common_mistakes',
            "chain_of_thought",
        ),
        ("kinds: []", 8, "`kinds` is empty", "kinds: [chain_of_thought]"),
        ("gates: 3", 8, "`gates` holds the number 3; keys with values is wanted", "gates: {key: value}"),
        ("gates: {max_rejected: much}", 23, '`max_rejected` holds the text "much"; a number is wanted', "12, without"),
        ("verify: [1]", 10, "`verify` holds the number 1; a text is wanted", "write"),
        ("given: [{q: 1}]", 1, "1 `given` rows and 0 `expect` rows", "write one `expect` row for each"),
    ],
)
def test_a_wrong_value_says_what_was_found_and_the_edit(
    tmp_path: Path, line: str, column: int, found: str, edit: str
) -> None:
    problems = recipe_mistakes(tmp_path, GOOD + line + "\n")
    assert [problem.found for problem in problems] == [found]
    place = f"file.yaml:9:{column}" if not line.startswith("given") else "file.yaml:1:1"
    assert problems[0].where == place
    assert edit in problems[0].edit


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (problem,) = recipe_mistakes(tmp_path, GOOD.replace("license: MIT\n", ""))
    assert (problem.found, problem.edit) == ("`license` is missing", "add  license: …")
    (problem,) = recipe_mistakes(tmp_path, GOOD.replace("  answer: a\n", ""))
    assert (problem.where, problem.found) == ("file.yaml:7:3", "`answer` is missing")


def test_every_mistake_of_a_recipe_reads_as_in_the_golden_file(tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text("teachers: {}\n")
    (tmp_path / "builders").mkdir()
    (tmp_path / "builders" / "rust.yaml").write_text((GOLDEN / "wrong_recipe.yaml").read_text())
    with pytest.raises(Mistakes) as caught:
        read_recipe(find_project(tmp_path), "rust")
    assert f"{caught.value}\n" == (GOLDEN / "wrong_recipe.txt").read_text()


def test_prompts_are_tried_when_they_are_read(tmp_path: Path) -> None:
    text = 'kinds:\n  fundamentals: "{{ question }"\n  chain_of_thought: "{{ gold }} ok"\n'
    document(tmp_path, text, "builders/prompts/mine.yaml")
    with pytest.raises(Mistakes) as caught:
        read_prompts(ProjectFiles(tmp_path), "mine")
    assert [problem.where for problem in caught.value.problems] == ["builders/prompts/mine.yaml:2:17"]
    text = 'kinds: {fundamentals: "{{ quesion }}"}\nstop: [a, b, c, d, e]\n'
    document(tmp_path, text, "builders/prompts/mine.yaml")
    with pytest.raises(Mistakes) as caught:
        read_prompts(ProjectFiles(tmp_path), "mine")
    found = [problem.found for problem in caught.value.problems]
    assert found == ["the template fails: 'quesion' is undefined", "has more than four stop strings"]


def test_the_project_is_the_nearest_catalogue_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_project(inner).root == bundled()
    assert find_project(inner).is_bundled
    (tmp_path / "catalog.yaml").touch()
    assert find_project(inner).root == tmp_path.resolve()
    (tmp_path / "a" / "catalog.yaml").touch()
    monkeypatch.chdir(inner)
    assert find_project().root == (tmp_path / "a").resolve()
    with pytest.raises(Mistake, match="no such directory"):
        find_project(tmp_path / "absent")


def test_a_name_that_no_file_has_gets_the_nearest(tmp_path: Path) -> None:
    files = find_project(tmp_path)
    with pytest.raises(Mistake) as caught:
        files.recipe("gsm")
    assert "did you mean gsm8k or " in str(caught.value)
    for name in ("../catalog", "prompts/paper", ""):
        with pytest.raises(Mistake, match="there is no dataset"):
            files.recipe(name)
    assert ProjectFiles(tmp_path).prompts("paper").data["form"] == "text"


def test_the_workspace_is_the_option_then_the_environment_then_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEACHERLM_WORKSPACE", raising=False)
    assert workspace_path() == Path("workspace")
    monkeypatch.setenv("TEACHERLM_WORKSPACE", "elsewhere")
    assert workspace_path() == Path("elsewhere")
    assert workspace_path("given") == Path("given")
