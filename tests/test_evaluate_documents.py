"""Documents of a task from local rows: their text, the files they come from, and what is told of those that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from loopback_hub import loopback_hub
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.evaluate.benchmarks import BoundTask, read_benchmarks
from teacherlm.evaluate.documents import Documents, items, open_rows
from teacherlm.evaluate.filters import read_filters
from teacherlm.evaluate.metrics import of_text, read_metrics
from teacherlm.evaluate.works import make_work
from teacherlm.project.find import ProjectFiles
from teacherlm.text.render import question_text

TASK = """\
task: mine
dataset_path: somebody/rows
dataset_name: chemistry
test_split: test
training_split: train
output_type: multiple_choice
doc_to_text: "Q: {{ question }}\\nA:"
doc_to_choice: options
doc_to_target: "{{ options.index(answer) }}"
"""


def declared(folder: Path, text: str = TASK) -> BoundTask:
    (folder / "catalog.yaml").touch()
    (folder / "evaluate").mkdir(exist_ok=True)
    (folder / "evaluate" / "mine.yaml").write_text(text, encoding="utf-8")
    (bound,) = read_benchmarks(ProjectFiles(folder), ["mine"]).tasks
    return bound


def shipped(name: str) -> BoundTask:
    return read_benchmarks(ProjectFiles(bundled()), [name]).tasks[0]


def rows(count: int = 3, **more: Any) -> list[dict[str, Any]]:
    return [
        {"question": f"Is {n} odd?", "options": ["no", "yes"], "answer": ["no", "yes"][n % 2]} | more
        for n in range(count)
    ]


def save(path: Path, found: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(found), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(found), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return path


def read(bound: BoundTask, data: Path, shots: int | None = None, limit: float | None = None) -> Documents:
    return items(bound, open_rows(bound, data, num_fewshot=shots), num_fewshot=shots, limit=limit)


def mistake(bound: BoundTask, data: Path, shots: int | None = None) -> str:
    with pytest.raises(Mistake) as caught:
        read(bound, data, shots)
    return str(caught.value)


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.ndjson", "rows.json"])
def test_rows_of_any_format_give_the_same_documents(tmp_path: Path, name: str) -> None:
    found = read(declared(tmp_path), save(tmp_path / name, rows()))
    assert [(one.doc_id, one.context, one.choices, one.gold, one.target) for one in found.items] == [
        (0, "Q: Is 0 odd?\nA:", ("no", "yes"), 0, 0),
        (1, "Q: Is 1 odd?\nA:", ("no", "yes"), 1, 1),
        (2, "Q: Is 2 odd?\nA:", ("no", "yes"), 0, 0),
    ]
    assert found.items[0].doc == rows()[0]
    assert (found.total, found.shots, found.refused) == (3, 0, ())


def test_tables_of_text_and_arrow_files_are_read(tmp_path: Path) -> None:
    import datasets

    bound = declared(
        tmp_path,
        TASK.replace("doc_to_choice: options", 'doc_to_choice: ["no", "yes"]').replace(
            '"{{ options.index(answer) }}"', "answer"
        ),
    )
    (tmp_path / "rows.csv").write_text('question,answer\n"Is 1, or 3, odd?",1\nIs 2 odd?,0\n', encoding="utf-8")
    (tmp_path / "rows.tsv").write_text("question\tanswer\nIs 1, or 3, odd?\t1\nIs 2 odd?\t0\n", encoding="utf-8")
    made = datasets.Dataset.from_list(
        [{"question": "Is 1, or 3, odd?", "answer": 1}, {"question": "Is 2 odd?", "answer": 0}]
    )
    made.save_to_disk(str(tmp_path / "saved" / "test"))
    datasets.DatasetDict({"test": made}).save_to_disk(str(tmp_path / "dictionary"))
    arrow = next((tmp_path / "saved" / "test").glob("*.arrow"))
    for path in (
        tmp_path / "rows.csv",
        tmp_path / "rows.tsv",
        arrow,
        tmp_path / "saved" / "test",
        tmp_path / "dictionary",
    ):
        assert [(one.context, one.gold) for one in read(bound, path).items] == [
            ("Q: Is 1, or 3, odd?\nA:", 1),
            ("Q: Is 2 odd?\nA:", 0),
        ], path


@pytest.mark.parametrize("end", [".csv", ".tsv"])
def test_tables_of_text_keep_their_texts(tmp_path: Path, end: str) -> None:
    """`true` is a text to CREAK and a truth to StrategyQA; numbers of MMLU are positions."""
    mark = {".csv": ",", ".tsv": "\t"}[end]

    def table(*lines: tuple[str, ...]) -> Path:
        path = tmp_path / f"rows{end}"
        path.write_text("".join(mark.join(line) + "\n" for line in lines), encoding="utf-8")
        return path

    path = table(("sentence", "label"), ("Iron rusts.", "true"), ("Gold rusts.", "false"))
    assert [one.gold for one in read(shipped("creak"), path).items] == [0, 1]
    path = table(("question", "answer"), ("Does iron rust?", "True"), ("Does gold rust?", "false"))
    assert [one.gold for one in read(shipped("strategy_qa"), path).items] == [0, 1]
    asked = declared(tmp_path, TASK.replace("options", "[A, B]", 1).replace('"{{ options.index(answer) }}"', "label"))
    path = table(("question", "label"), ("2020-01-01", "1"), ("007", "0"))
    assert [(one.context, one.gold) for one in read(asked, path).items] == [("Q: 2020-01-01\nA:", 1), ("Q: 007\nA:", 0)]
    path = table(("question", "label"), ("Does iron rust?", "true"), ("Does gold rust?", "false"))
    assert [one.gold for one in read(asked, path).items] == [True, False], "a position, as of any other format"
    said = declared(
        tmp_path, TASK.replace("options", "['true', 'false']", 1).replace('"{{ options.index(answer) }}"', "label")
    )
    assert [one.gold for one in read(said, path).items] == ["true", "false"]


def test_the_file_is_named_when_none_of_its_documents_can_be_asked(tmp_path: Path) -> None:
    path = save(tmp_path / "rows.jsonl", rows(2, answer="maybe"))
    with pytest.raises(Mistake) as caught:
        make_work(bound := declared(tmp_path), read(bound, path))
    assert (
        caught.value.where == "evaluate/mine.yaml:1:7" and f"no document of {path} can be asked" in caught.value.found
    )


@pytest.mark.parametrize(
    "layout",
    [
        {"test.parquet": 3, "train.parquet": 4},
        {"test-00000-of-00002.parquet": 2, "test-00001-of-00002.parquet": 1, "train-00000-of-00001.parquet": 4},
        {"data/test-00000-of-00001.parquet": 3, "data/train.parquet": 4},
        {"test/part-a.jsonl": 1, "test/part-b.jsonl": 2, "train/rows.jsonl": 4},
        {"chemistry/test.parquet": 3, "chemistry/train.parquet": 4, "physics/test.parquet": 9},
    ],
)
def test_a_folder_holds_splits_as_files_shards_or_folders(tmp_path: Path, layout: dict[str, int]) -> None:
    for name, count in layout.items():
        save(tmp_path / "rows" / name, rows(count))
    found = read(declared(tmp_path), tmp_path / "rows", shots=2)
    assert found.total == 3
    assert found.items[0].context.count("Q: ") == 3


def test_examples_of_a_file_s_rows_are_in_the_file_beside_it(tmp_path: Path) -> None:
    bound = declared(tmp_path, TASK + "fewshot_config: {sampler: first_n}\n")
    file = save(tmp_path / "rows" / "validation.parquet", rows(2))
    found = mistake(bound, file, shots=2)
    assert found.startswith(f"{file.parent}   the folder has no split `train`, which is for the examples\n")
    assert "the splits that are there are validation" in found
    save(tmp_path / "rows" / "train.parquet", rows(5))
    context = read(bound, file, shots=2).items[1].context
    assert context == "Q: Is 0 odd?\nA: no\n\nQ: Is 1 odd?\nA: yes\n\nQ: Is 1 odd?\nA:"
    assert mistake(bound, file, shots=6).splitlines()[0] == (
        f"evaluate/mine.yaml:1:1   6 examples are asked for, and {tmp_path}/rows/train.parquet has 5 to choose from"
    )


def test_a_file_of_many_subjects_is_read_for_each(tmp_path: Path) -> None:
    path = save(tmp_path / "rows.parquet", [*rows(2, subject="physics"), *rows(3, subject="chemistry")])
    assert read(declared(tmp_path), path).total == 3
    assert read(declared(tmp_path, TASK.replace("chemistry", "main")), path).total == 5
    assert mistake(declared(tmp_path, TASK.replace("chemistry", "law")), path) == (
        f"{path}   no row has `law` in the column `subject`\n"
        "    give rows of it; the subjects that are there are chemistry, physics"
    )


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    bound = declared(tmp_path, TASK.replace("{{ question }}", "{{ questoin }}"))
    assert mistake(bound, save(tmp_path / "rows.jsonl", rows())) == (
        "evaluate/mine.yaml:7:14   `doc_to_text` reads the column `questoin`, which the rows do not have\n"
        "    did you mean `question`? the columns are question, options, answer"
    )
    bound = declared(tmp_path, TASK + "fewshot_config: {doc_to_target: '{{ solution }}'}\n")
    path = save(tmp_path / "data" / "test.jsonl", rows())
    save(tmp_path / "data" / "train.jsonl", rows())
    assert read(bound, path).total == 3, "not read without examples"
    assert mistake(bound, path, 1).startswith(
        "evaluate/mine.yaml:10:33   `fewshot_config.doc_to_target` reads the column"
    )


def test_documents_that_cannot_be_rendered_are_named_and_the_others_asked(tmp_path: Path) -> None:
    found = rows(6)
    found[1]["answer"] = None
    found[2]["answer"] = "maybe"
    found[3]["options"] = None
    found[4]["options"] = ["no", None]
    done = read(declared(tmp_path), save(tmp_path / "rows.jsonl", found))
    assert [one.doc_id for one in done.items] == [0, 5]
    assert {one.doc_id: one.found for one in done.refused} == {
        1: "`doc_to_target`: ValueError: None is not in list",
        2: "`doc_to_target`: ValueError: 'maybe' is not in list",
        3: "`doc_to_choice` gives nothing, which is no list of options",
        4: "`doc_to_choice` gives an option that is nothing, which is no text",
    }
    bound = declared(tmp_path, TASK.replace('"{{ options.index(answer) }}"', "answer"))
    (refused,) = [one for one in read(bound, tmp_path / "rows.jsonl").refused if one.doc_id == 1]
    assert refused.found == "`doc_to_target` gives nothing"


def test_an_example_that_cannot_be_rendered_is_named_in_the_documents_that_show_it(tmp_path: Path) -> None:
    save(tmp_path / "rows" / "test.jsonl", rows(12))
    save(tmp_path / "rows" / "train.jsonl", [*rows(3), {"question": "?", "options": ["no", "yes"], "answer": None}])
    done = read(declared(tmp_path), tmp_path / "rows", shots=1)
    assert done.items
    assert {one.found for one in done.refused} == {
        "its example, row 3: `doc_to_target`: ValueError: None is not in list"
    }


@pytest.mark.parametrize(("limit", "count"), [(None, 5), (2, 2), (9, 5), (0.5, 3), (0.001, 1)])
def test_a_limit_is_a_number_or_a_share(tmp_path: Path, limit: float | None, count: int) -> None:
    found = read(declared(tmp_path), save(tmp_path / "rows.jsonl", rows(5)), limit=limit)
    assert (len(found.items), found.total) == (count, 5)


def test_what_is_wrong_with_files(tmp_path: Path) -> None:
    bound = declared(tmp_path)
    assert "there is no such file or folder" in mistake(bound, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "it holds no .parquet, .jsonl," in mistake(bound, tmp_path / "empty")
    assert "holds no rows" in mistake(bound, save(tmp_path / "none.jsonl", []))
    (tmp_path / "rows.txt").write_text("a")
    assert "is in no format that is read: rows.txt" in mistake(bound, tmp_path / "rows.txt")
    (tmp_path / "torn.jsonl").write_text('{"question": "a"}\n{"question": \n')
    assert f"{tmp_path}/torn.jsonl:2:" in mistake(bound, tmp_path / "torn.jsonl")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and nothing")
    assert "torn.parquet   cannot be read: " in mistake(bound, tmp_path / "torn.parquet")
    (tmp_path / "odd.json").write_text("[{}, 3]")
    assert "element 1 of the list is no object" in mistake(bound, tmp_path / "odd.json")
    save(tmp_path / "splits" / "validation.jsonl", rows())
    assert mistake(bound, tmp_path / "splits") == (
        f"{tmp_path}/splits   the folder has no split `test`, which is evaluated\n"
        f"    name a file: --data mine={tmp_path}/splits/NAME; the splits that are there are validation"
    )


def test_rows_that_changed_on_disk_are_read_again(tmp_path: Path) -> None:
    bound, path = declared(tmp_path), tmp_path / "rows.jsonl"
    assert read(bound, save(path, rows(2))).total == 2
    assert read(bound, save(path, rows(3))).total == 3


TRUE_FALSE = ["True", "False"]


def test_prompts_have_the_paper_s_text_with_the_characters_of_training(tmp_path: Path) -> None:
    claim = [{"sentence": " Iron  rusts. ", "label": "true"}, {"sentence": "Lisbon is\nin Peru.", "label": "false"}]
    found = read(shipped("creak"), save(tmp_path / "creak.jsonl", claim)).items
    asked = ["Determine the correctness of the following sentence. " + one["sentence"] for one in claim]
    assert [one.context for one in found] == [f"{question_text(one, TRUE_FALSE)} A: The answer is (" for one in asked]
    assert [(one.choices, one.gold) for one in found] == [(("A", "B"), 0), (("A", "B"), 1)]
    chain = read(shipped("creak_cot"), tmp_path / "creak.jsonl").items
    assert [one.context for one in chain] == [
        f"{question_text(one, TRUE_FALSE)} A: Let's think step by step." for one in asked
    ]
    assert [one.gold for one in chain] == ["A", "B"]

    options = ["oven", "cold  room", "table", "bowl ", "roof"]
    row = {"q_text": "Where does \n dough rise?", "q_ans": "bowl "} | {f"q_op{n}": o for n, o in enumerate(options, 1)}
    (item,) = read(shipped("ecqa"), save(tmp_path / "ecqa.jsonl", [row])).items
    assert (item.context, item.gold) == (f"{question_text(row['q_text'], options)} A: The answer is (", 3)

    doubt: dict[str, Any] = {
        "question": "Would a harp fit?",
        "answer": False,
        "facts": ["A harp is tall.", "A box is small."],
    }
    path = save(
        tmp_path / "strategy.jsonl", [doubt, doubt | {"facts": "A harp is tall.  A box is small.", "answer": True}]
    )
    plain, facts = read(shipped("strategy_qa"), path).items, read(shipped("strategy_qa_facts"), path).items
    assert [(one.context, one.gold) for one in plain] == [
        ("Q: Would a harp fit? (A) True (B) False A: The answer is (", place) for place in (1, 0)
    ]
    assert {one.context for one in facts} == {
        "Q: A harp is tall. A box is small. Would a harp fit? (A) True (B) False A: The answer is ("
    }


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        ("Which is a metal", "Which is a metal."),
        ("Which is\na metal?", "Which is a metal?"),
        ('He said "stop"', 'He said "stop"'),
        ("Then,", "Then,"),
        ("A formula: x = (1)", "A formula: x = (1)."),
        ("Two  blanks stay ", "Two  blanks stay ."),
    ],
)
def test_mmlu_has_the_paper_s_full_stops_and_line_ends(tmp_path: Path, question: str, shown: str) -> None:
    row = {"question": question, "subject": "anatomy", "choices": ["a\nb", "c", "d", "e"], "answer": 2}
    bound = shipped("mmlu_teacherlm_anatomy")
    (item,) = read(bound, save(tmp_path / "rows.parquet", [row])).items
    assert item.context == (
        "The following are multiple choice questions (with answers) about anatomy. "
        f"Q: {shown} (A) a b (B) c (C) d (D) e A: The answer is ("
    )
    assert (item.choices, item.gold, bound.task.target_delimiter) == (("A", "B", "C", "D"), 2, "")


def test_an_example_of_mmlu_is_a_whole_sentence(tmp_path: Path) -> None:
    row = {"question": "Which?", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 2}
    for split in ("test", "dev"):
        save(tmp_path / f"{split}.parquet", [row])
    (item,) = read(shipped("mmlu_teacherlm_anatomy"), tmp_path, shots=1).items
    question = "Q: Which? (A) a (B) b (C) c (D) d A: The answer is ("
    assert item.context.endswith(f"about anatomy. {question}C).\n\n{question}")


def test_gsm8k_compares_numbers(tmp_path: Path) -> None:
    path = save(tmp_path / "test.jsonl", [{"question": "How\nmany?", "answer": "6 * 7 = <<6*7=42>>42\n#### 4,200"}])
    (chain,) = read(shipped("gsm8k_cot"), path).items
    assert (chain.context, chain.gold) == ("Q: How many? A: Let's think step by step.", "4,200")
    save(tmp_path / "train.jsonl", [{"question": f"{n}?", "answer": f"#### {n}"} for n in range(5)])
    (plain,) = read(shipped("gsm8k"), path).items
    assert plain.context.count("Question: ") == 6
    assert plain.context.endswith("Question: How\nmany?\nAnswer:")


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("Iron rusts. The answer is (A).", "A", "A"),
        ("Not (A), since it rusts, so the answer is B.", "[invalid]", "B"),
        ("The answer is (A). No: The answer is (B).", "A", "B"),
        ("Answer: C", "[invalid]", "C"),
        ("I cannot say.", "[invalid]", "[invalid]"),
    ],
)
@pytest.mark.parametrize("name", ["creak_cot", "ecqa_cot", "strategy_qa_cot", "mmlu_teacherlm_cot_anatomy"])
def test_a_written_answer_is_found_strictly_and_flexibly(name: str, text: str, strict: str, flexible: str) -> None:
    bound = shipped(name)
    pipelines = read_filters(bound.task.filter_list, bound.task.repeats, bound.where)
    assert {one.name: one.apply([text]) for one in pipelines} == {
        "strict-match": strict,
        "flexible-extract": flexible,
    }


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("6 * 700 = 4200. The answer is 4,200.", 1, 1),
        ("So The answer is $4200.", 1, 1),
        ("It costs $4,200", 0, 1),
        ("The answer is 42.", 0, 0),
    ],
)
def test_a_written_number_is_found_strictly_and_flexibly(text: str, strict: int, flexible: int) -> None:
    bound = shipped("gsm8k_cot")
    metrics = read_metrics(bound.task.output_type, bound.task.metric_list, bound.where)
    pipelines = read_filters(bound.task.filter_list, bound.task.repeats, bound.where)
    found = {one.name: of_text(metrics, one.apply([text]), "4,200")["exact_match"] for one in pipelines}
    assert found == {"strict-match": strict, "flexible-extract": flexible}


HUB = """\
task: mine
dataset_path: REPOSITORY
dataset_name: CONFIG
dataset_kwargs: {revision: main, trust_remote_code: true}
validation_split: SPLIT
doc_to_text: text
doc_to_target: "{{ label }}"
"""
CARD = """\
---
configs:
- {config_name: plain, data_files: [{split: train, path: train.parquet}]}
- {config_name: other, data_files: [{split: train, path: train.parquet}]}
---
"""


def of_hub(folder: Path, endpoint: str, offline: bool, *cases: tuple[str, str, str]) -> list[list[str]]:
    """What becomes of each dataset, in a process of its own: the clients read their settings when they are imported."""
    for number, (repository, config, split) in enumerate(cases):
        text = HUB.replace("REPOSITORY", repository).replace("CONFIG", config).replace("SPLIT", split)
        (folder / str(number)).mkdir(parents=True)
        declared(folder / str(number), text)
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": str(int(offline)),
    }
    environment.pop("HF_DATASETS_OFFLINE", None)
    command = [sys.executable, "-c", ASK, str(folder), str(len(cases))]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: list[list[str]] = json.loads(done.stdout)
    return found


ASK = """
import json, sys
from pathlib import Path
from teacherlm.core.errors import TeacherlmError
from teacherlm.evaluate.benchmarks import read_benchmarks
from teacherlm.evaluate.documents import items, open_rows
from teacherlm.project.find import ProjectFiles

found = []
for number in range(int(sys.argv[2])):
    (bound,) = read_benchmarks(ProjectFiles(Path(sys.argv[1]) / str(number)), ["mine"]).tasks
    try:
        found.append(["ok", *(f"{one.context}={one.gold}" for one in items(bound, open_rows(bound)).items)])
    except TeacherlmError as error:
        found.append([type(error).__name__, error.where, error.found, error.remedy])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_datasets_of_the_hub_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    made = tmp_path / "train.parquet"
    save(made, [{"text": "a", "label": 0}, {"text": "b", "label": 1}])
    with loopback_hub() as hub:
        for name in ("org/rows", "org/gated"):
            hub.put(name, {"README.md": CARD.encode(), "train.parquet": made.read_bytes()})
        hub.gated.add("org/gated")
        cases = [
            ("org/rows", "plain", "train"),
            ("org/rows", "plain", "test"),
            ("org/rows", "odd", "train"),
            ("org/gone", "plain", "train"),
            ("org/gated", "plain", "train"),
        ]
        right, split, config, gone, gated = of_hub(tmp_path, hub.url, False, *cases)
    assert right == ["ok", "a=0", "b=1"]
    assert split == ["Mistake", "evaluate/mine.yaml:5:1", "org/rows has no split `test`", "name one of train"]
    assert config[:2] == ["Mistake", "evaluate/mine.yaml:2:15"]
    assert "plain" in config[2]
    assert gone[:3] == [
        "RemoteFailed",
        "evaluate/mine.yaml:2:15",
        "the Hub has no dataset org/gone (plain) that you may see",
    ]
    assert "--data mine=PATH" in gone[3]
    assert gated[0] == "RemoteFailed"
    assert "is gated" in gated[2]


@pytest.mark.slow
def test_without_a_network_rows_of_one_s_own_are_named_as_the_way_out(tmp_path: Path) -> None:
    ((kind, _, found, remedy),) = of_hub(tmp_path, "http://127.0.0.1:9", True, ("org/rows", "plain", "train"))
    assert (kind, found) == ("RemoteFailed", "the Hub cannot be reached, and org/rows (plain) is not in the cache")
    assert "--data mine=PATH" in remedy


REAL = Path(__file__).resolve().parents[2].joinpath("shared", "data")


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared rows are not here")
@pytest.mark.parametrize(
    ("name", "data", "count"),
    [
        ("mmlu", "mmlu/validation.parquet", 1531),
        ("mmlu_teacherlm", "mmlu/validation.parquet", 1531),
        ("mmlu_teacherlm_cot", "mmlu/dev.parquet", 285),
        ("creak", "creak", 1371),
        ("creak_cot", "creak/contrast_set.parquet", 500),
        ("ecqa", "ecqa", 2194),
        ("ecqa_cot", "ecqa", 2194),
        ("strategy_qa", "strategy_qa/validation.parquet", 229),
        ("strategy_qa_facts", "strategy_qa/train.parquet", 1000),
        ("strategy_qa_cot", "strategy_qa/validation.parquet", 229),
        ("gsm8k", "gsm8k", 1319),
        ("gsm8k_cot", "gsm8k/test_socratic.parquet", 200),
    ],
)
def test_no_real_row_is_refused(name: str, data: str, count: int) -> None:
    done = [read(bound, REAL / data) for bound in read_benchmarks(ProjectFiles(bundled()), [name]).tasks]
    assert [one for found in done for one in found.refused] == []
    assert sum(len(one.items) for one in done) == count
