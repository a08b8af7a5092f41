"""Training formats: how rows read, what a published place holds of them, and that trainers take them as they are."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hub_samples import part, publication, row
from teacherlm.cli.publish import As
from teacherlm.core.errors import GateFailed, Mistake
from teacherlm.hub import manifest
from teacherlm.hub.folder import publish_folder
from teacherlm.hub.formats import FORMAT_NAMES, FORMATS, LEADS, answer_text, reads
from teacherlm.hub.gates import Refused
from teacherlm.hub.manifest import Manifest
from teacherlm.hub.publication import LicenceChecked, Publication
from teacherlm.hub.shards import Sizes, write_split
from teacherlm.hub.verify import verify_folder
from teacherlm.schemas.records import KINDS
from teacherlm.text.normalise import one_line

GOLDEN = Path(__file__).parent / "golden/training_formats.json"
DOCS = Path(__file__).parent.parent / "docs/training-formats.md"

ROWS = [
    row(
        0,
        fundamentals="Iron and water react.",
        chain_of_thought="Rain holds water.\nWater makes iron rust.",
        common_mistakes="That only salt water\n does it.",
    ),
    row(1, fundamentals=None, chain_of_thought="Wet iron rusts, so the  answer is (B)."),
    row(2, fundamentals=None, chain_of_thought=None),
    row(
        3,
        question="A shop sells 3 apples for 2 coins.\nWhat do 9 cost?",
        choices=[],
        answer="6",
        fundamentals="Prices grow with the number.",
        chain_of_thought=None,
    ),
]


def shaped(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    schema = reads().arrow()
    table = pa.Table.from_pylist([{column: r[column] for column in schema.names} for r in rows], schema=schema)
    found: list[dict[str, Any]] = FORMATS[name].shape(table).to_pylist()  # type: ignore[index]
    return found


def publishing(folder: Path, dataset: str = "creak", **changes: Any) -> Publication:
    made = {"splits": {"train": [part(folder / f"{dataset}.parquet", ROWS)]}, **changes}
    return publication(folder, dataset, **made)


def entries(folder: Path) -> Manifest:
    return manifest.parse((folder / manifest.NAME).read_bytes(), "there")


def test_rows_read_as_the_portrait_says() -> None:
    found = {name: shaped(name, ROWS) for name in FORMAT_NAMES}
    assert json.dumps(found, indent=2) + "\n" == GOLDEN.read_text(encoding="utf-8")


WORDS = st.text(alphabet=st.characters(categories=("L", "N", "P", "Z"), include_characters="\n\t "), min_size=1)
TEXTS = WORDS.filter(lambda text: text.strip() != "")


@given(
    question=TEXTS,
    choices=st.lists(TEXTS, unique=True, max_size=5),
    free=TEXTS,
    texts=st.lists(st.none() | TEXTS, min_size=3, max_size=3),
    pick=st.integers(0, 4),
)
def test_laws_of_the_formats(question: str, choices: list[str], free: str, texts: list[str | None], pick: int) -> None:
    answer = choices[pick % len(choices)] if choices else free
    given_texts: dict[str, Any] = dict(zip(KINDS, texts, strict=True))
    rows = [row(0, question=question, choices=choices, answer=answer, **given_texts)]
    found = {name: shaped(name, rows) for name in FORMAT_NAMES}
    assert {len(of) for of in found.values()} == {0 if texts == [None] * 3 else 1}
    for (conversation,), (pair,), (whole,) in zip(
        *([found[name]] for name in FORMAT_NAMES if found[name]), strict=True
    ):
        assert pair["prompt"] + pair["completion"] == whole["text"]
        assert pair["prompt"] == pair["prompt"].strip() and pair["prompt"].endswith("A:")
        assert pair["completion"].startswith(" ") and pair["completion"] == " " + pair["completion"].strip()
        assert "\n" not in whole["text"] and "  " not in whole["text"]
        user, assistant = conversation["messages"]
        assert [user["role"], assistant["role"]] == ["user", "assistant"]
        for said in (pair["completion"], one_line(assistant["content"])):
            assert all(lead in said for kind, lead in LEADS.items() if given_texts[kind] is not None)
            # The answer is the last thing said, as the text of the sample states it.
            assert said.casefold().endswith(answer_text(question, choices, answer).casefold())


def test_streamed_rows_give_the_same_bytes_however_they_are_spread(tmp_path: Path) -> None:
    absent: dict[str, Any] = {"fundamentals": None}
    rows = [row(number, **(absent if number % 3 else {})) for number in range(4_500)]
    table = pq.read_table(part(tmp_path / "whole.parquet", rows))
    parts = []
    for start, end in ((0, 1_234), (1_234, 1_300), (1_300, 4_500)):
        parts.append(tmp_path / f"{start}.parquet")
        pq.write_table(table.slice(start, end - start), parts[-1], row_group_size=777)
    for name, form in FORMATS.items():
        made = [
            write_split(
                given,
                tmp_path / str(len(given)),
                f"x-{name}",
                "train",
                columns=form.columns,
                reads=reads(),
                shape=form.shape,
                sizes=Sizes(group_rows=1_000, shard_bytes=1),
            )
            for given in ([tmp_path / "whole.parquet"], parts)
        ]
        assert made[0] == made[1]
        assert made[0].rows == made[0].explained == sum(any(r[kind] for kind in KINDS) for r in rows)
        assert len(made[0].files) > 1


LOAD = """
import sys
import datasets
datasets.disable_progress_bars()
folder = sys.argv[1]
names = datasets.get_dataset_config_names(folder)
assert names == ["creak", "creak-messages", "creak-prompt_completion", "creak-text"], names
whole = datasets.load_dataset(folder, "creak", split="train")
forms = {"messages": ["messages"], "prompt_completion": ["prompt", "completion"], "text": ["text"]}
for name, columns in forms.items():
    found = datasets.load_dataset(folder, f"creak-{name}")
    assert list(found) == ["train"]
    assert found["train"].column_names == ["sample_id", *columns]
    assert found["train"].num_rows == 3
    assert set(found["train"]["sample_id"]) <= set(whole["sample_id"])
    first = next(iter(datasets.load_dataset(folder, f"creak-{name}", split="train", streaming=True)))
    assert first == found["train"][0]
print(datasets.load_dataset(folder, "creak-messages", split="train").features["messages"])
"""


def run_python(script: str, folder: Path, home: Path) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
    }
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=home.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_published_place_has_a_config_for_each_format(tmp_path: Path) -> None:
    out = tmp_path / "out"
    without = [row(9, fundamentals=None, chain_of_thought=None, split="validation")]
    made = publishing(tmp_path, formats=FORMAT_NAMES)
    made = dataclasses.replace(
        made, splits={**made.splits, "validation": [part(tmp_path / "validation.parquet", without)]}
    )
    plain = publish_folder([dataclasses.replace(made, formats=None)], tmp_path / "plain")
    done = publish_folder([made], out)
    kept = [path for path in plain.files if path.startswith("data/")]
    assert [path for path in done.files if path.startswith("data/creak/")] == kept
    for path in kept:  # the augmented config stays as it is
        assert (out / path).read_bytes() == (tmp_path / "plain" / path).read_bytes()
    assert pq.read_table(out / "data/creak-text/train-00000-of-00001.parquet").to_pylist() == shaped("text", ROWS)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "| `creak-messages`          | `creak` | `sample_id`, `messages`             |    3 |        2 |" in card
    front = yaml.safe_load(card.split("---\n")[1])
    assert [(info["config_name"], [s["num_examples"] for s in info["splits"]]) for info in front["dataset_info"]] == [
        ("creak", [4, 1]),
        ("creak-messages", [3]),
        ("creak-prompt_completion", [3]),
        ("creak-text", [3]),
    ]
    assert front["size_categories"] == ["n<1K"]
    found = verify_folder(out, load=False)
    assert found.passed, found
    assert "'content': Value('string')" in run_python(LOAD, out, tmp_path / "home")
    assert {(split.dataset, split.rows) for split in found.splits} >= {("creak", 4), ("creak-text", 3)}
    again = publish_folder([made], out)
    assert (again.files, again.removed, again.unchanged) == ((), (), ("creak",))


def test_what_was_lost_of_a_format_is_seen_and_what_does_not_belong_goes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = publishing(tmp_path, formats=["text"])
    assert "creak: new, 4 samples, 3 explained" in publish_folder([made], out).message
    file, stray = (out / f"data/creak-text/train-00000-of-0000{n}.parquet" for n in (1, 9))
    pq.write_table(pq.read_table(file).slice(1), file)
    stray.write_bytes(b"left by something else")
    (problems,) = (split.problems for split in verify_folder(out, load=False).splits if split.dataset == "creak-text")
    assert "is not the file that was published" in problems[0] and "2 rows where 3 were published" in problems[-1]
    done = publish_folder([made], out)
    assert (done.files, done.removed) == (
        (file.relative_to(out).as_posix(),),
        (stray.relative_to(out).as_posix(),),
    )
    assert verify_folder(out, load=False).passed
    done = publish_folder([publishing(tmp_path, formats=["messages"])], out)
    assert done.message.endswith("creak: 4 samples, 3 explained, 4,690 rationales, messages added, text removed")


def test_formats_follow_their_rows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish_folder([publishing(tmp_path, formats=("text", "messages")), publishing(tmp_path, "ecqa")], out)
    assert sorted(entries(out).datasets["creak"].formats) == ["messages", "text"]
    assert not entries(out).datasets["ecqa"].formats
    # Another dataset's publish leaves them; the dataset's own, without a word of formats, rewrites them.
    assert not [path for path in publish_folder([publishing(tmp_path, "ecqa")], out).files if "creak" in path]
    fewer = {"train": [part(tmp_path / "fewer.parquet", ROWS[:2])]}
    done = publish_folder([publishing(tmp_path, splits=fewer)], out)
    assert {"data/creak-text/train-00000-of-00001.parquet"} <= set(done.files)
    assert {name: form.rows for name, form in entries(out).datasets["creak"].formats.items()} == {
        "messages": 2,
        "text": 2,
    }
    # What is said is all there is.
    done = publish_folder([publishing(tmp_path, formats=["prompt_completion"])], out)
    assert list(entries(out).datasets["creak"].formats) == ["prompt_completion"]
    assert {path.split("/")[1] for path in done.removed} == {"creak-messages", "creak-text"}
    publish_folder([publishing(tmp_path, formats=[])], out)
    assert sorted(path.name for path in (out / "data").iterdir()) == ["creak", "ecqa"]
    assert "Training formats" not in (out / "README.md").read_text(encoding="utf-8")


def test_text_that_may_not_be_passed_on_is_in_no_format(tmp_path: Path) -> None:
    out = tmp_path / "out"
    closed = {"license": "unknown", "redistribution": "restricted"}
    with pytest.raises(Refused) as refused:
        publish_folder(
            [
                publishing(tmp_path, formats=["messages", "text"], **closed),
                publishing(tmp_path, "ecqa", formats=["text"], rationales_only=True),
            ],
            out,
        )
    first, second = refused.value.problems
    assert first.where == "creak" and "(messages, text) holds the text of the source" in first.found
    assert "whose licence (unknown) is restricted" in first.found
    assert "licences: {creak: {by: NAME, on: YYYY-MM-DD, basis: WHY}}" in first.edit
    assert second.edit == "leave --as out for this dataset, or leave --rationales-only out"
    assert not out.exists()
    checked = LicenceChecked(by="Ada", on="2026-01-02", basis="letter of the authors")
    publish_folder([publishing(tmp_path, formats=["text"], licence_checked=checked, **closed)], out)
    assert (out / "data/creak-text").exists()
    # The word is taken back: the text goes, in every form.
    publish_folder([publishing(tmp_path, **closed)], out)
    assert [path.name for path in (out / "data").iterdir()] == ["creak"]


def test_what_cannot_be_a_format_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Mistake, match="`alpaca` is no training format"):
        publishing(tmp_path, formats=["alpaca"])
    bare = {"train": [part(tmp_path / "bare.parquet", [ROWS[2]])]}
    with pytest.raises(GateFailed, match="no sample has an accepted rationale"):
        publish_folder([publishing(tmp_path, splits=bare, formats=["text"])], out)
    publish_folder([publishing(tmp_path, formats=["text"])], out)
    with pytest.raises(Mistake, match="`creak-text` is a dataset, and the name of `creak` as text"):
        publish_folder([publishing(tmp_path, "creak-text")], out)
    # All rationales are gone since: so are the formats.
    publish_folder([publishing(tmp_path, splits=bare)], out)
    assert not entries(out).datasets["creak"].formats


def test_the_command_knows_every_format() -> None:
    assert [name.value for name in As] == [*FORMAT_NAMES, "none"]


def test_the_manual_shows_how_rows_read() -> None:
    manual = DOCS.read_text(encoding="utf-8")
    (example,) = (json.loads(block.split("```")[0]) for block in manual.split("```json\n")[1:2])
    shown = [json.loads(block.split("```")[0]) for block in manual.split("```json\n")[2:]]
    rows = [row(0, **example)]
    assert shown == [{k: v for k, v in shaped(name, rows)[0].items() if k != "sample_id"} for name in FORMAT_NAMES]
    for lead in LEADS.values():
        assert lead in manual


TRAIN = """
import json, logging, sys, warnings
from pathlib import Path

said = []
class Collect(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())

warnings.simplefilter("always")
warnings.showwarning = lambda message, category, *rest: said.append(f"{category.__name__}: {message}")
import datasets, torch, transformers, trl
from random_teacher import build
for name in ("trl", "transformers", "datasets", "accelerate"):
    logging.getLogger(name).addHandler(Collect(logging.WARNING))
datasets.disable_progress_bars()
folder = sys.argv[1]
torch.manual_seed(0)
said.clear()  # of imports
out = {}
for name in ("messages", "prompt_completion", "text"):
    model, tokenizer = build()
    if name == "messages":
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}"
        )
    rows = datasets.load_dataset(folder, f"creak-{name}", split="train")
    trainer = trl.SFTTrainer(
        model,
        args=trl.SFTConfig(
            output_dir=f"{folder}-{name}", max_steps=1, per_device_train_batch_size=3, use_cpu=True, bf16=False,
            gradient_checkpointing=False, save_strategy="no", report_to=[], disable_tqdm=True, logging_steps=1,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    before = model.lm_head.weight.detach().clone()
    loss = trainer.train().training_loss
    learnt = [
        (tokenizer.decode(r["input_ids"]), tokenizer.decode([t for t in r["labels"] if t != -100]))
        for r in trainer.train_dataset
    ]
    out[name] = {"loss": loss, "moved": bool((before != model.lm_head.weight).any()), "learnt": learnt}
Path(folder).with_suffix(".json").write_text(json.dumps({"said": said, **out}))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sft_trainer_takes_each_format_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs the extra dev")
    out = tmp_path / "out"
    publish_folder([publishing(tmp_path, formats=FORMAT_NAMES)], out)
    run_python(TRAIN, out, tmp_path / "home")
    found = json.loads((tmp_path / "out.json").read_text())
    # A setting of theirs that they have renamed; of the data nothing is said.
    assert [line for line in found["said"] if "`gradient_checkpointing` is deprecated" not in line] == []
    ends: dict[str, Callable[[dict[str, Any]], tuple[str, str]]] = {
        "messages": lambda r: (text := conversation(r), text),
        "prompt_completion": lambda r: (r["prompt"] + r["completion"] + "</s>", r["completion"] + "</s>"),
        "text": lambda r: (r["text"] + "</s>", r["text"] + "</s>"),
    }
    for name, expected in ends.items():
        assert found[name]["loss"] > 0 and found[name]["moved"]
        assert [tuple(pair) for pair in found[name]["learnt"]] == [expected(r) for r in shaped(name, ROWS)]


def conversation(row: dict[str, Any]) -> str:
    return "".join(f"{turn['role']}: {turn['content']}</s>" for turn in row["messages"])
