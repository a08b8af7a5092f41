"""The declared benchmarks in lm-evaluation-harness itself: it loads the same files, and builds the same prompts.

Rows are our own. A copy of `evaluate/` names folders of them in place of the Hub's datasets.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from teacherlm.core.bundle import bundled
from teacherlm.evaluate.benchmarks import BoundTask, known, read_benchmarks
from teacherlm.evaluate.documents import Item, items, open_rows
from teacherlm.project.find import ProjectFiles

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")

SEED = 1234

QUESTIONS = [
    ("Which metal is\nliquid at room temperature", ["iron", "mer\ncury", "gold", "zinc"], 1),
    ("Is this a question?", ["yes", "no", "maybe", " never "], 0),
    ('He said "stop."', ["a", "b", "c", "d"], 3),
    ("A statement, then:", ["1", "2", "3", "4"], 2),
]


def mmlu(subject: str) -> dict[str, list[dict[str, Any]]]:
    rows = [
        {"question": f"{question} {number}" if number % 2 else question, "subject": subject, "choices": c, "answer": a}
        for number, (question, c, a) in enumerate(QUESTIONS)
    ]
    return {"test": rows[:3], "dev": [*rows[1:], rows[0]]}


def claims(count: int) -> list[dict[str, Any]]:
    return [{"sentence": f" Claim  {n} holds.", "label": "true" if n % 3 else "false"} for n in range(count)]


def commonsense(count: int) -> list[dict[str, Any]]:
    options = ["oven", "cold  room", "table", "bowl ", "roof"]
    return [
        {"q_text": f"Where does dough {n} rise?", "q_ans": options[n % 5]}
        | {f"q_op{place}": option for place, option in enumerate(options, 1)}
        for n in range(count)
    ]


def strategies(count: int) -> list[dict[str, Any]]:
    return [
        {"question": f"Would harp {n} fit in a box?", "answer": n % 2 == 0, "facts": ["A harp is tall.", f"Box {n}."]}
        for n in range(count)
    ]


def sums(count: int) -> list[dict[str, Any]]:
    return [
        {"question": f"What is {n}\n+ 4000?", "answer": f"{n} + 4000 = <<{n}+4000>>\n#### {n + 4000:,}"}
        for n in range(count)
    ]


SPLITS = {
    "amydeng2000/CREAK": {"train": claims(9), "validation": claims(4)},
    "tasksource/ecqa": {"train": commonsense(9), "validation": commonsense(3), "test": commonsense(4)},
    "ChilleD/StrategyQA": {"train": strategies(9), "test": strategies(4)},
    "openai/gsm8k": {"train": sums(9), "test": sums(4)},
}


def write(folder: Path, splits: dict[str, list[dict[str, Any]]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")


def configs(folder: Path, names: dict[str, list[str]]) -> None:
    """The card that tells `datasets` which files are which configuration's and split's."""
    listed = [
        {
            "config_name": name,
            "data_files": [
                {"split": split, "path": f"{'' if name == 'default' else f'{name}/'}{split}.parquet"}
                for split in splits
            ],
        }
        for name, splits in names.items()
    ]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(listed)}\n---\n", encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectFiles]:
    """All that ships in `evaluate/`, over rows of our own."""
    import datasets

    root = tmp_path_factory.mktemp("project")
    (root / "catalog.yaml").touch()
    shutil.copytree(bundled() / "evaluate", root / "evaluate")
    subjects = [path.stem.removeprefix("mmlu_") for path in (root / "evaluate" / "mmlu").glob("mmlu_*.yaml")]
    made = {name: root / "rows" / name.replace("/", "-") for name in (*SPLITS, "cais/mmlu")}
    for subject in subjects:
        write(made["cais/mmlu"] / subject, mmlu(subject))
    configs(made["cais/mmlu"], {subject: ["test", "dev"] for subject in subjects})
    for name, splits in SPLITS.items():
        config = "main" if name == "openai/gsm8k" else "default"
        write(made[name] / ("" if config == "default" else config), splits)
        configs(made[name], {config: list(splits)})
    for path in (root / "evaluate").glob("**/*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            re.sub(r"^dataset_path: (\S+)$", lambda found: f"dataset_path: {made[found[1]]}", text, flags=re.M),
            encoding="utf-8",
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(root / "cache"))
        yield ProjectFiles(root)


@cache
def manager(files: ProjectFiles) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(files.root / "evaluate"), include_defaults=False)


def theirs(task: Any, shots: int | None, limit: int | None = None) -> list[tuple[int, list[tuple[str, str]], Any]]:
    """Of each document the harness's number, requests and gold answer, as `lm_eval` prepares a task."""
    declared = task.get_config("num_fewshot")
    if shots is not None and declared != 0:
        task.set_config("num_fewshot", shots)
    elif declared is None:
        task.set_config("num_fewshot", 0)
    task.set_fewshot_seed(SEED)
    task.build_all_requests(limit=limit)
    found: dict[int, list[tuple[str, str]]] = {}
    docs: dict[int, Any] = {}
    for one in task.instances:
        context, rest = one.args
        found.setdefault(one.doc_id, []).append((context, rest if isinstance(rest, str) else ""))
        docs[one.doc_id] = one.doc
    return [(number, requests, task.doc_to_target(docs[number])) for number, requests in found.items()]


def ours(bound: BoundTask, shots: int | None, limit: int | None = None) -> list[tuple[int, list[tuple[str, str]], Any]]:
    documents = items(bound, open_rows(bound, num_fewshot=shots), num_fewshot=shots, limit=limit, seed=SEED)
    assert not documents.refused
    return [(one.doc_id, requests(bound, one), one.target) for one in documents.items]


def requests(bound: BoundTask, item: Item) -> list[tuple[str, str]]:
    if bound.task.output_type == "generate_until":
        return [(item.context, "")]
    return [(item.context, f"{bound.task.target_delimiter}{choice}") for choice in item.choices]


def test_the_harness_knows_the_same_names_and_nothing_else(project: ProjectFiles) -> None:
    """What lies below `evaluate/` and is no benchmark, such as experiments, is passed over there too."""
    assert (project.root / "evaluate" / "quickstart.yaml").is_file()
    assert list((project.root / "evaluate" / "experiments").glob("*.yaml"))
    loaded = manager(project)
    own = [name for name in known(project) if name in loaded.task_index]
    assert sorted(own) == sorted(known(project)) == loaded.all_tasks
    assert len(loaded.all_subtasks) == 3 * 57 + 9
    assert loaded.all_groups == sorted(["teacherlm", *(f"{top}{area}" for top in MMLU for area in ("", *AREAS))])


MMLU = ("mmlu", "mmlu_teacherlm", "mmlu_teacherlm_cot")
AREAS = ("_stem", "_humanities", "_social_sciences", "_other")


SINGLE = (
    "mmlu_anatomy",
    "mmlu_teacherlm_high_school_us_history",
    "mmlu_teacherlm_cot_virology",
    "creak",
    "creak_cot",
    "ecqa",
    "ecqa_cot",
    "strategy_qa",
    "strategy_qa_facts",
    "strategy_qa_cot",
    "gsm8k",
    "gsm8k_cot",
)


@pytest.mark.parametrize("name", SINGLE)
def test_prompts_options_and_gold_answers_are_the_harness_s(project: ProjectFiles, name: str) -> None:
    bound = read_benchmarks(project, [name]).tasks[0]
    for shots in (0, None, 1, 3):
        task = manager(project).load([name])["tasks"][name]
        expected = theirs(task, shots)
        assert len(expected) in (3, 4)
        assert ours(bound, shots) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mmlu", "mmlu_teacherlm"])
def test_groups_have_the_harness_s_members(project: ProjectFiles, name: str) -> None:
    chosen = read_benchmarks(project, [name])
    loaded = manager(project).load([name])
    assert {one.name for one in chosen.tasks} == set(loaded["tasks"])
    assert len(chosen.tasks) == 57
    mine = {group.name: [one.name for one in group.members] for group in chosen.groups}
    assert mine == loaded["group_map"]
    for group in chosen.groups:
        own = loaded["groups"][group.name]
        assert (own.alias, own.version) == (group.group.group_alias, group.group.version)
        assert [(one.metric, one.weight_by_size) for one in own.aggregate_metric_list] == [
            (one.metric, one.weight_by_size) for one in group.group.aggregates
        ]
    for bound in chosen.tasks:
        assert ours(bound, 2, 2) == theirs(loaded["tasks"][bound.name], 2, 2)


@pytest.mark.parametrize(
    ("own", "file"), [("mmlu_anatomy", "mmlu/default/mmlu_anatomy.yaml"), ("gsm8k", "gsm8k/gsm8k.yaml")]
)
def test_what_has_the_harness_s_name_is_asked_in_its_words(
    project: ProjectFiles, tmp_path: Path, own: str, file: str
) -> None:
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    bound = read_benchmarks(project, [own]).tasks[0]
    theirs_own = Path(lm_eval.tasks.__file__).parent / file
    text = f"include: {theirs_own}\ntask: theirs\ndataset_path: {bound.task.dataset_path}\n"
    (tmp_path / "theirs.yaml").write_text(text, encoding="utf-8")
    for shots in (0, 3):
        task = TaskManager(include_path=str(tmp_path), include_defaults=False).load(["theirs"])["tasks"]["theirs"]
        assert ours(bound, shots) == theirs(task, shots)
    assert task.config.filter_list == (None if bound.task.filter_list is None else list(bound.task.filter_list))
    assert task.config.metric_list == list(bound.task.metric_list or ())
    assert bound.task.version == task.VERSION
    if bound.task.generation_kwargs is not None:
        assert task.config.generation_kwargs == bound.task.generation_kwargs


ODD = {
    "with-a-prefix": """
doc_to_text: "Q: {{question}}"
doc_to_target: label
doc_to_choice: [no, "yes"]
gen_prefix: "A{{number}}: I say"
description: "Of number {{number}}.\\n"
test_split: test
output_type: multiple_choice
""".replace("[no,", '["no",'),
    "prefix-and-blanks": """
doc_to_text: "{{question}}\\n"
doc_to_target: "{{label}}"
doc_to_choice: {first: " no", second: yes it is}
gen_prefix: prefix
target_delimiter: "\\t"
fewshot_delimiter: "\\n###\\n"
test_split: test
training_split: train
output_type: multiple_choice
""",
    "options-from-columns": """
doc_to_text: question
doc_to_target: answer
doc_to_choice: options
description: hint
validation_split: test
output_type: multiple_choice
""",
    "options-computed": """
doc_to_text: "{{question | regex_replace('[0-9]+', '#')}} "
doc_to_target: "{{[label]}}"
doc_to_choice: "{{options + ['neither']}}"
test_split: test
fewshot_split: train
target_delimiter: ""
fewshot_config: {target_delimiter: " = ", fewshot_delimiter: "; ", doc_to_target: "{{answer}}!"}
output_type: multiple_choice
""",
    "declared-examples": """
doc_to_text: "{{question}}"
doc_to_target: answer
test_split: test
fewshot_config:
  sampler: first_n
  gen_prefix: "Look:"
  doc_to_text: "Example: {{question}}"
  samples:
    - {question: "One?", answer: "1"}
    - {question: "Two?", answer: "2"}
    - {question: "Three?", answer: "3"}
""",
    "several-gold-answers": """
doc_to_text: "{{question}}"
doc_to_target: "{{options}}"
test_split: test
training_split: train
""",
    "its-own-examples": """
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
test_split: twins
fewshot_split: twins
""",
    "its-own-first-examples": """
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
test_split: twins
fewshot_split: twins
fewshot_config: {sampler: first_n}
""",
}


def odd_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "question": f"Is {n} even?",
            "number": n,
            "label": n % 2 == 0,
            "options": ["no", "yes"],
            "answer": "yes" if n % 2 == 0 else "no",
            "prefix": f"({n})",
            "hint": f"Think of {n}. ",
        }
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectFiles]:
    """Tasks that use what the shipped ones do not."""
    import datasets

    root = tmp_path_factory.mktemp("odd")
    (root / "catalog.yaml").touch()
    write(root / "rows", {"train": odd_rows(9), "test": odd_rows(5), "twins": [*odd_rows(4), *odd_rows(4)]})
    files = {split: str(root / "rows" / f"{split}.parquet") for split in ("train", "test", "twins")}
    (root / "evaluate").mkdir()
    for name, text in ODD.items():
        kwargs = f"dataset_path: parquet\ndataset_kwargs: {json.dumps({'data_files': files})}\n"
        (root / "evaluate" / f"{name}.yaml").write_text(f"task: {name}\n{kwargs}{text}", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(root / "cache"))
        yield ProjectFiles(root)


@pytest.mark.parametrize("name", sorted(ODD))
def test_all_that_a_declaration_may_say_is_read_as_there(odd: ProjectFiles, name: str) -> None:
    bound = read_benchmarks(odd, [name]).tasks[0]
    for shots in (0, 1, 3):
        task = manager(odd).load([name])["tasks"][name]
        assert ours(bound, shots) == theirs(task, shots)
