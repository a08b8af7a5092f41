"""Declared benchmarks: which there are, how files include files, and every mistake with its place and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.evaluate.benchmarks import BoundTask, heads, known, read_benchmarks
from teacherlm.project.find import ProjectFiles

GOOD = """\
task: good
dataset_path: somebody/rows
test_split: test
output_type: multiple_choice
doc_to_text: "{{ question }}"
doc_to_choice: [A, B]
doc_to_target: answer
"""


def project(folder: Path, **files: str) -> ProjectFiles:
    """A project with these files in `evaluate/`; `__` in a keyword stands for a folder."""
    (folder / "catalog.yaml").touch()
    for name, text in files.items():
        path = folder / "evaluate" / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return ProjectFiles(folder)


def mistakes(files: ProjectFiles, *names: str) -> list[str]:
    with pytest.raises(Mistake) as caught:
        read_benchmarks(files, names)
    return [str(problem) for problem in caught.value.problems]


def one(files: ProjectFiles, name: str) -> BoundTask:
    (found,) = read_benchmarks(files, [name]).tasks
    return found


def test_what_ships_is_what_people_are_told_of() -> None:
    files = ProjectFiles(bundled())
    assert heads(files) == [
        "creak",
        "creak_cot",
        "ecqa",
        "ecqa_cot",
        "gsm8k",
        "gsm8k_cot",
        "mmlu",
        "mmlu_teacherlm",
        "mmlu_teacherlm_cot",
        "strategy_qa",
        "strategy_qa_cot",
        "strategy_qa_facts",
        "teacherlm",
    ]
    assert {"mmlu_stem", "mmlu_stem_tasks", "mmlu_teacherlm_anatomy"} <= set(known(files))


def test_every_benchmark_that_ships_is_sound() -> None:
    files = ProjectFiles(bundled())
    chosen = read_benchmarks(files, heads(files))
    assert len(chosen.tasks) == 3 * 57 + 9
    assert sorted([one.name for one in chosen.tasks] + [one.name for one in chosen.groups]) == sorted(
        set(known(files)) - {f"{top}_{area}_tasks" for top in MMLU for area in AREAS}
    )
    for task in chosen.tasks:
        assert task.task.version != "Yaml"
        assert task.task.metric_list


MMLU = ("mmlu", "mmlu_teacherlm", "mmlu_teacherlm_cot")
AREAS = ("stem", "other", "social_sciences", "humanities")


@pytest.mark.parametrize("top", MMLU)
def test_mmlu_has_57_subjects_in_four_areas_weighted_by_their_items(top: str) -> None:
    chosen = read_benchmarks(ProjectFiles(bundled()), [top])
    (whole,) = chosen.members
    sizes = {group.name: len(group.tasks) for group in chosen.groups}
    areas = {f"{top}_stem": 19, f"{top}_other": 13, f"{top}_social_sciences": 12, f"{top}_humanities": 13}
    assert sizes == areas | {top: 57}
    assert [group.name for group in chosen.groups][-1] == whole.name == top
    assert all(one.weight_by_size for group in chosen.groups for one in group.group.aggregates)
    assert {task.task.dataset_name for task in chosen.tasks} == {
        task.name.removeprefix(f"{top}_") for task in chosen.tasks
    }


def test_names_tags_patterns_and_files_can_be_asked_for_and_each_task_stands_once(tmp_path: Path) -> None:
    files = project(
        tmp_path,
        good=GOOD,
        deep__other="include: ../good.yaml\ntask: other\ntag: [mine, theirs]\n",
        both="group: both\ntask: [good, mine]\n",
    )

    def named(*names: str) -> list[str]:
        return [task.name for task in read_benchmarks(files, names).tasks]

    assert named("both", "good", "other") == ["good", "other"]
    assert named("theirs", "go*") == ["other", "good"]
    assert named("evaluate/deep/other.yaml", "./evaluate/good.yaml") == ["other", "good"]
    assert [member.name for member in read_benchmarks(files, ["both", "good"]).members] == ["both", "good"]


def test_a_project_s_own_benchmark_replaces_the_one_that_ships(tmp_path: Path) -> None:
    files = project(tmp_path, mine=GOOD.replace("task: good", "task: creak"))
    assert one(files, "creak").task.dataset_path == "somebody/rows"
    assert one(files, "ecqa").task.dataset_path == "tasksource/ecqa"


def test_includes_give_what_the_file_does_not_say_and_mistakes_stand_where_they_are(tmp_path: Path) -> None:
    part = GOOD.replace("task: good\n", "repeats: 0\n")
    files = project(tmp_path, _part=part, over="metric_list: [{metric: acc}]\n", mine="include: _part.yaml\ntask: mine")
    assert mistakes(files, "mine") == ["evaluate/_part.yaml:1:10   `repeats` is 0\n    write 1 or more"]
    project(
        tmp_path, mine="task: mine\ninclude: [_part.yaml, over.yaml]\nrepeats: 3\ndoc_to_choice: {a: 'yes', b: Ja}\n"
    )
    found = one(files, "mine")
    assert (found.task.repeats, found.task.doc_to_choice) == (3, {"a": "yes", "b": "Ja"})
    assert found.where(("metric_list", 0, "metric")) == "evaluate/over.yaml:1:24"
    assert found.where(("repeats",)) == "evaluate/mine.yaml:3:10"
    assert found.where(("doc_to_target",), key=True) == "evaluate/_part.yaml:7:1"
    assert found.where(("generation_kwargs",)).startswith("evaluate/mine.yaml:")


def test_every_field_s_mistake_is_told_at_once(tmp_path: Path) -> None:
    text = """\
task: mine
test_split: test
doc_to_txt: "{{ question }}"
doc_to_target: 1.5
doc_to_choice: ["no", 1]
output_type: loglikelihood
num_fewshot: -1
filter_list: [{name: strict, filter: [take_first]}]
metric_list: [{metrics: acc}]
fewshot_config: {sampler: firstn}
"""
    assert mistakes(project(tmp_path, mine=text), "mine") == [
        "evaluate/mine.yaml:1:1   `dataset_path` is missing\n    add  dataset_path: …",
        "evaluate/mine.yaml:3:1   unknown key `doc_to_txt`\n    rename it to `doc_to_text`",
        "evaluate/mine.yaml:4:16   `doc_to_target` holds 1.5; a template, a column or a position is wanted\n"
        "    write  doc_to_target: answer",
        "evaluate/mine.yaml:5:16   `doc_to_choice` holds ['no', 1]; a list of texts, or a template or column that gives"
        " one is wanted\n    write  doc_to_choice: [A, B]",
        'evaluate/mine.yaml:6:14   `output_type` has "loglikelihood"; it can be multiple_choice, generate_until\n'
        "    write, for example,  multiple_choice",
        "evaluate/mine.yaml:7:14   `num_fewshot` is -1\n    write 0 or more",
        "evaluate/mine.yaml:8:14   filter `strict` has a step without `function`\n    write  - function: take_first",
        "evaluate/mine.yaml:9:14   an entry of `metric_list` needs `metric`\n    write  - metric: acc",
        'evaluate/mine.yaml:10:27   `sampler` has "firstn"; it can be default, first_n\n'
        "    write, for example,  first_n",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("task: mine\n" + GOOD.partition("\n")[2].replace("test_split: test\n", ""), ":1:1   no split to evaluate"),
        (
            GOOD.replace("doc_to_choice: [A, B]\n", ""),
            ":1:1   `doc_to_choice` is missing, and multiple_choice needs it",
        ),
        (GOOD + "process_docs: !function utils.docs\n", ":8:15   names Python code (`!function`)"),
        (GOOD + "process_results: utils.score\n", ":8:1   `process_results` runs Python code"),
        (GOOD + "class: Mine\n", ":8:1   `class` runs Python code"),
        (GOOD + "doc_to_image: picture\n", ":8:1   `doc_to_image` shows images"),
        (GOOD + 'description: "{{ question }"\n', ":8:14   `description` is no template: unexpected '}'"),
        (GOOD + "fewshot_config: {doc_to_text: '{% if %}'}\n", ":8:31   `doc_to_text` is no template"),
        (GOOD.replace("[A, B]", "[no, B]"), ":6:17   lm-eval reads False here, and teacherlm 'no'"),
        ("include: _part.yaml\n" + GOOD, ":1:10   includes `_part.yaml`, and there is no such file"),
        ("include: [mine.yaml]\n" + GOOD, ":1:11   includes `mine.yaml`, which is read already: mine.yaml → mine.yaml"),
        ("include: 3\n" + GOOD, ":1:10   `include` names no file"),
        (GOOD.replace("task: good\n", ""), ":1:1   `task` is missing"),
        ("[a, b]", ":1:1   holds no keys with values"),
        ("task: [mine", ":1:12   is not YAML"),
        ("group: mine\ntask: good\n", ":2:7   `task` holds the text"),
        ("group: mine\ntask: []\n", ":2:7   the group names no task"),
        ("group: mine\ntask: [creek]\n", ":2:8   there is no benchmark `creek`\n    did you mean creak?"),
        ("group: mine\ntask: [{task: creak, num_fewshot: 2}]\n", ":2:8   declares a task inside a group"),
        ("group: mine\ntask: [creak, mine]\n", ":2:15   the group holds itself: mine → mine"),
        ("group: mine\ntask: [creak]\nnum_fewshot: 2\n", ":3:1   unknown key `num_fewshot`"),
    ],
)
def test_a_mistake_has_a_place_and_a_remedy(tmp_path: Path, text: str, told: str) -> None:
    files = project(tmp_path, mine=text.replace("task: good\n", "task: mine\n", 1))
    found = mistakes(files, "mine")
    assert f"evaluate/mine.yaml{told}" in "\n".join(found)
    assert all("\n    " in problem for problem in found), "each says what to do"


def test_two_files_of_one_name_and_a_name_that_nobody_declares(tmp_path: Path) -> None:
    files = project(tmp_path, a=GOOD, b=GOOD, group="group: all\ntask: [good]")
    assert mistakes(files, "all") == [
        "evaluate/b.yaml:1:1   `good` is declared in evaluate/a.yaml as well\n    rename one of them"
    ]
    (told,) = mistakes(files, "strategyqa")
    assert told.startswith("--tasks   there is no benchmark `strategyqa`\n    did you mean strategy_qa or ")
    assert "known are all, creak, " in mistakes(files, "?")[0]


def test_one_broken_file_does_not_stop_another(tmp_path: Path) -> None:
    files = project(tmp_path, good=GOOD, broken="task: [x", experiments__mine="question: Why?", _part="repeats: 0")
    assert one(files, "good").name == "good"
    assert "broken" not in known(files)
    assert "is not YAML" in mistakes(files, "broken")[0]


def test_what_a_task_leaves_out_is_as_in_the_harness(tmp_path: Path) -> None:
    task = one(project(tmp_path, good=GOOD), "good").task
    assert (task.target_delimiter, task.fewshot_delimiter, task.repeats, task.version) == (" ", "\n\n", 1, "Yaml")
    assert (task.split, task.examples_split, task.shots(None), task.shots(3)) == ("test", "test", 0, 3)
    more = "num_fewshot: 0\ntraining_split: train\nvalidation_split: valid\nfewshot_config: {target_delimiter: ''}\n"
    task = one(project(tmp_path, good=GOOD + more), "good").task
    assert (task.split, task.examples_split, task.shots(3)) == ("test", "train", 0)
    assert (task.fewshot.target_delimiter, task.fewshot.doc_to_text) == ("", "{{ question }}")
