"""The same predictions as lm-evaluation-harness: both ask one small model the same tasks, and every value is compared.

Rows and tasks are our own. The harness writes its files as its command does, and ours are held against them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import teacherlm
from random_teacher import random_teacher

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")

CLOSE = 1e-4

TASKS = {
    # Bare letters after worked examples that are always the same.
    "letters": """
doc_to_text: "Q: {{question}}\\n(A) {{options[0]}} (B) {{options[1]}} (C) {{options[2]}}\\nA: The answer is ("
doc_to_choice: [A, B, C]
doc_to_target: label
target_delimiter: ""
fewshot_split: train
fewshot_config: {sampler: first_n}
num_fewshot: 2
output_type: multiple_choice
metadata: {version: 1.0}
""",
    # Options of several tokens, examples drawn by the seed.
    "words": """
task_alias: whole options
tag: [spoken]
description: "Answer in full.\\n\\n"
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: options
doc_to_target: "{{options[label]}}"
fewshot_split: train
num_fewshot: 1
output_type: multiple_choice
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
  - {metric: acc_bytes, aggregation: mean, higher_is_better: true}
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
""",
    # Blanks at the end of the context, which belong to the option, and a delimiter beside them.
    "blanks": """
doc_to_text: "{{question}}\\nAnswer:  "
doc_to_choice: "{{options}}"
doc_to_target: label
target_delimiter: "\\n"
output_type: multiple_choice
repeats: 2
""",
    "several": """
doc_to_text: "{{question}} Any of these: "
doc_to_choice: ["iron", "gold", "the moon", "a mouse"]
doc_to_target: "{{[label, label + 1]}}"
target_delimiter: ""
output_type: multiple_choice
num_fewshot: 0
""",
    "written": """
doc_to_text: "{{question}} The answer is"
doc_to_target: "{{options[label]}}"
output_type: generate_until
generation_kwargs: {until: [".", "\\n"], max_gen_toks: 24, do_sample: false}
filter_list:
  - name: strict-match
    filter:
      - {function: regex, regex_pattern: "^ ?([a-z]+)", fallback: "[none]"}
      - {function: take_first}
  - name: flexible-extract
    filter:
      - {function: regex, regex_pattern: "(e[a-z])|([tT][a-z]+)", group_select: -1}
      - {function: lowercase}
      - {function: majority_vote}
      - {function: take_first}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: true
    ignore_numbers: true
    regexes_to_ignore: ["^the ", " "]
metadata: {version: 2}
""",
    # All by default: filters, settings, delimiters.
    "default": """
doc_to_text: "{{question}}"
doc_to_target: "{{options}}"
fewshot_split: train
num_fewshot: 2
generation_kwargs: {max_gen_toks: 12}
""",
}

GROUPS = {
    "inner": """
group_alias: inside
task: [letters, words]
aggregate_metric_list:
  - {metric: acc, weight_by_size: true}
  - {metric: acc_norm, weight_by_size: false, filter_list: none}
metadata: {version: 3}
""",
    "outer": """
task: [inner, blanks, written]
aggregate_metric_list: [{metric: acc, weight_by_size: false}, {metric: exact_match}]
""",
    "plain": "task: [several, default]\n",
}

METALS = ["iron", "the gold", "mercury, a liquid", "tin ", "copper and zinc"]


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "question": f"Which of the {n} metals {'rusts' if n % 3 else 'is a liquid at room temperature'}?"
            + " " * (n % 2),
            "options": [METALS[(n + place) % 5] for place in range(3)],
            "label": (2 * n + 1) % 3,
            "note": None if n % 4 else "ünïcode “note”",
        }
        for n in range(count)
    ]


SIZES = {"letters": 11, "words": 8, "blanks": 6, "several": 7, "written": 9, "default": 5}


def lay_out(root: Path) -> None:
    """A project with the tasks, each with rows of its own."""
    (root / "evaluate").mkdir(parents=True)
    (root / "catalog.yaml").touch()
    for name, text in TASKS.items():
        for split, count in (("train", 6), ("test", SIZES[name])):
            path = root / "rows" / name / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            made = rows(count + 3)[3:] if split == "test" else rows(count)
            path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
        files = {split: str(root / "rows" / name / f"{split}.jsonl") for split in ("train", "test")}
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {json.dumps(files)}}}\n"
        (root / "evaluate" / f"{name}.yaml").write_text(f"{head}test_split: test{text}", encoding="utf-8")
    for name, text in GROUPS.items():
        (root / "evaluate" / f"{name}.yaml").write_text(f"group: {name}\n{text.lstrip()}", encoding="utf-8")


@dataclass(frozen=True)
class Files:
    """What an evaluation wrote."""

    results: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]]


def read(folder: Path) -> Files:
    (path,) = folder.rglob("results_*.json")
    samples = {
        one.name.removeprefix("samples_").rpartition("_")[0]: [
            json.loads(line) for line in one.read_text(encoding="utf-8").split("\n") if line
        ]
        for one in folder.rglob("samples_*.jsonl")
    }
    return Files(json.loads(path.read_text(encoding="utf-8")), samples)


def harness(root: Path, model: str, output: Path, shots: int | None, limit: int | None) -> Files:
    """As `lm_eval --log_samples --output_path` does it."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    tracker = EvaluationTracker(output_path=str(output))
    found: Any = simple_evaluate(
        model="hf",
        model_args={"pretrained": model, "dtype": "float32"},
        tasks=["outer", "plain"],
        num_fewshot=shots,
        limit=limit,
        batch_size=3,
        device="cpu",
        task_manager=TaskManager(include_path=str(root / "evaluate"), include_defaults=False),
        evaluation_tracker=tracker,
    )
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    for name in found["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    return read(output)


def small_window(folder: Path, tokens: int) -> str:
    """The model with random weights, with a window that cuts contexts."""
    shutil.copytree(random_teacher(), folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": tokens}))
    return str(folder)


@pytest.fixture(scope="module", params=["declared", "cut"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Files, Files]]:
    """The harness's files and ours: as declared, and with a small window, other examples and a limit."""
    import datasets

    root = tmp_path_factory.mktemp(request.param)
    lay_out(root)
    is_cut = request.param == "cut"
    model = small_window(root / "model", 60) if is_cut else random_teacher()
    shots, limit = (3, 4) if is_cut else (None, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(root / "cache"))
        theirs = harness(root, model, root / "theirs", shots, limit)
        teacherlm.open(root, workspace=root / "workspace").evaluate(
            model, tasks=["outer", "plain"], num_fewshot=shots, limit=limit, device="cpu", output=root / "ours"
        )
        yield theirs, read(root / "ours")


pytestmark = pytest.mark.slow


def near(value: Any) -> Any:
    """What must be equal to a value up to rounding."""
    return pytest.approx(value, abs=1e-12) if isinstance(value, float) else value


def test_every_answer_and_prediction_is_the_same(both: tuple[Files, Files]) -> None:
    theirs, ours = both
    assert set(ours.samples) == set(theirs.samples) == set(TASKS)
    for name, expected in theirs.samples.items():
        found = ours.samples[name]
        assert [(one["doc_id"], one["filter"]) for one in found] == [(one["doc_id"], one["filter"]) for one in expected]
        for mine, other in zip(found, expected, strict=True):
            assert list(mine) == list(other), name
            for key in set(other) - {"resps", "filtered_resps"}:
                assert mine[key] == other[key], (name, mine["doc_id"], key)
            for key in ("resps", "filtered_resps"):
                alike(mine[key], other[key])


def alike(mine: Any, other: Any) -> None:
    """The same texts and truth values; numbers, which are texts too, up to 1e-4."""
    if isinstance(other, list):
        assert len(mine) == len(other)
        for one, two in zip(mine, other, strict=True):
            alike(one, two)
    elif mine != other:
        assert float(mine) == pytest.approx(float(other), abs=CLOSE)


def test_figures_of_tasks_and_groups_are_the_same(both: tuple[Files, Files]) -> None:
    theirs, ours = both
    for part in ("results", "groups"):
        assert list(ours.results[part]) == list(theirs.results[part])
        for name, expected in theirs.results[part].items():
            found = ours.results[part][name]
            assert found == {key: near(value) for key, value in expected.items()}, name
            assert list(found) == list(expected)


def test_results_have_the_harness_s_keys(both: tuple[Files, Files]) -> None:
    theirs, ours = both
    assert set(ours.results) - {"teacherlm"} == set(theirs.results)
    for key in ("group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples", "task_hashes", "max_length"):
        assert ours.results[key] == theirs.results[key], key
    for key in ("tokenizer_pad_token", "tokenizer_eos_token", "tokenizer_bos_token", "eot_token_id", "model_name"):
        assert ours.results[key] == theirs.results[key], key
    assert list(ours.results["group_subtasks"]) == list(theirs.results["group_subtasks"])
    assert set(ours.results["config"]) == set(theirs.results["config"])
    for name, expected in theirs.results["configs"].items():
        # Where the declaration lies is told by its name in the project, and not by a path of this machine.
        assert Path(expected["metadata"].pop("config_source")).name == f"{name}.yaml"
        assert ours.results["configs"][name]["metadata"].pop("config_source") == f"evaluate/{name}.yaml"
        assert ours.results["configs"][name] == expected, name


def test_what_is_compared_is_not_trivial(both: tuple[Files, Files]) -> None:
    """Some answers are right and some are not, letters and whole options differ, and contexts were cut or were not."""
    theirs, ours = both
    told = ours.results["teacherlm"]["tasks"]
    right = {name: {line["acc"] for line in ours.samples[name]} for name in ("letters", "words", "blanks", "several")}
    is_cut = theirs.results["max_length"] < 100
    assert {0.0, 1.0} in right.values()
    assert any(line["acc"] != line["acc_norm"] for line in [*ours.samples["words"], *ours.samples["blanks"]])
    assert bool(told["letters"]["cuts"]) is is_cut
    assert any(line["resps"][0][0] for line in ours.samples["written"])
