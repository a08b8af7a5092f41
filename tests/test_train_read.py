"""Declarations of training: what is read, how one extends another, and every mistake with its place and edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import Located
from teacherlm.train.layers import lay
from teacherlm.train.read import BoundTraining, names, plain_name, read_layouts, read_training

WHOLE = """\
about: A small one.
base: {config: {model_type: bloom, hidden_size: 32, n_layer: 2, n_head: 4}}
tokenizer: {vocabulary: 300}
window: 64
stages:
  - name: general
    data: [{procedural: {count: 10, seed: 1}, layouts: [plain]}]
    epochs: 1
    batch_tokens: 256
    schedule: {learning_rate: 1.0e-3}
  - name: special
    data: [{procedural: {families: [add], count: 10, seed: 1}, layouts: [teach-chain]}]
    epochs: 1
    batch_tokens: 256
    schedule: {learning_rate: 1.0e-3, shape: cosine}
"""


def project(folder: Path, **files: str) -> ProjectFiles:
    """Declarations by name; `__` in a keyword stands for a folder."""
    (folder / "catalog.yaml").touch()
    for name, text in files.items():
        path = folder / "train" / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return ProjectFiles(folder)


def mistakes(folder: Path, **files: str) -> list[str]:
    """The problems of the first declaration, as people read them."""
    with pytest.raises(Mistake) as caught:
        read_training(project(folder, **files), next(iter(files)).replace("__", "/"))
    return [str(problem) for problem in caught.value.problems]


def read(folder: Path, **files: str) -> BoundTraining:
    return read_training(project(folder, **files), next(iter(files)).replace("__", "/"))


def test_names_have_folders_and_leave_out_what_is_no_declaration(tmp_path: Path) -> None:
    files = project(tmp_path, mine=WHOLE, deep__er=WHOLE, layouts="{}", accelerate__two="{}")
    assert names(files)[:2] == ["deep/er", "mine"]
    assert "paper/teacher-7b1" in names(files)
    assert read_training(files, "train/deep/er.yaml").training.name == "deep/er"
    assert plain_name("./train/a/b.yaml") == "a/b"


def test_layouts_of_the_project_stand_beside_those_that_ship(tmp_path: Path) -> None:
    layouts = read_layouts(
        project(tmp_path, layouts="mine: {response: [answer]}\nplain: {response: [answer], gold: text}")
    )
    assert layouts["mine"].response == ("answer",)
    assert layouts["plain"].gold == "text"
    assert layouts["teach-chain"].asks


@pytest.mark.parametrize("name", ["../mine", "", "a//b", "/etc/passwd", "nobody"])
def test_a_name_that_means_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(Mistake, match="there is no declaration"):
        read_training(project(tmp_path, mine=WHOLE), name)


def test_an_absent_name_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(Mistake) as caught:
        read_training(project(tmp_path, mine=WHOLE), "teacher-7b1")
    assert "did you mean paper/teacher-7b1" in caught.value.remedy


EDITS: list[tuple[str, str, str, str]] = [
    # what is replaced, by what, place and finding, edit
    ("layouts: [plain]", "layouts: [plian]", "7:57   there is no layout `plian`", "did you mean plain"),
    ("families: [add]", "families: [ad]", "12:37   there is no family `ad`", "did you mean add"),
    ("count: 10, seed: 1}, layouts: [plain]", "count: 0, seed: 1}, layouts: [plain]", "`count` is 0", "of 1 or more"),
    ("seed: 1}, layouts: [plain]", "seed: 1, split: tst}, layouts: [plain]", "no split `tst`", "teacher, train, test"),
    ("learning_rate: 1.0e-3}", "learning_rate: 20}", "10:31   `learning_rate` is 20", "above 0 and at most 1"),
    ("learning_rate: 1.0e-3}", "learning_rate: 1.0e-3, warmup: 2}", "`warmup` is 2", "at most 1"),
    ("learning_rate: 1.0e-3}", "lr: 1.0e-3}", "unknown key `lr`", "rename it to `learning_rate`"),
    ("window: 64", "window: 64\ndevice_tokens: 32", "5:16   `device_tokens` is 32", "write 64 or more"),
    ("window: 64", "max_length: 64", "4:1   unknown key `max_length`", "rename it to `window`"),
    ("batch_tokens: 256", "batch_tokens: 32", "9:19   `batch_tokens` is 32", "write 64 or more"),
    ("window: 64", "window: 64\nparallel: {fsdp: true}", "there is one", "add  gpus: 8"),
    ("window: 64", "window: 64\nparallel: {gpus: 0}", "`gpus` is 0", "of 1 or more"),
    ("window: 64", "window: 64\noptimizer: {betas: [0.9, 1.0]}", "5:26   a beta is 1", "below 1"),
    ("    epochs: 1\n", "    epochs: 0\n", "8:13   `epochs` is 0", "above 0"),
    ("    epochs: 1\n", "", "after `epochs` or after `tokens`", "one of them"),
    ("name: special", "name: general", "11:11   two stages are called `general`", "name each differently"),
    ("name: special", "name: special\n    from_stage: genral", "12:17   `special` starts from", "did you mean general"),
    ("name: general", "name: general\n    from_stage: special", "does not come before it", "leave `from_stage` out"),
    ("name: general", "name: a/b", "it names a folder", "letters"),
    ("tokenizer: {vocabulary: 300}\n", "", "2:16   a model from a configuration has no tokenizer", "vocabulary: 1024"),
    ("{vocabulary: 300}", "{vocabulary: 200}", "3:25   `vocabulary` is 200", "257 or more"),
    ("epochs: 1\n", "epochs: 1\n    loss: {answer: 0}\n", "no part of `plain` weighs anything", "give answer a weight"),
    ("epochs: 1\n", "epochs: 1\n    loss: {answer: -1}\n", "`answer` is -1", "of 0 or more"),
    ("layouts: [plain]", "layouts: [plain], fallback: chain-first", "needs chain_of_thought", "such as plain"),
    ("layouts: [plain]", "layouts: [plain], where: 'true'", "made have no columns", "name families"),
    ("layouts: [plain]", "layouts: [plain], configs: [a]", "belongs to `published`", "remove it"),
    (
        "{config: {model_type: bloom, hidden_size: 32, n_layer: 2, n_head: 4}}",
        "{trained: nobody}",
        "no declaration",
        "mine",
    ),
    ("about: A small one.", "about: ' '", "1:8   `about` is empty", "in a sentence"),
    ("about: A small one.", "name: other\nabout: A.", "1:7   `name` is other", "rename the file"),
]


@pytest.mark.parametrize(
    ("old", "new", "found", "edit"), EDITS, ids=[f"{old[:14]}>{new[-24:]}" for old, new, *_ in EDITS]
)
def test_each_mistake_has_its_place_and_edit(tmp_path: Path, old: str, new: str, found: str, edit: str) -> None:
    assert old in WHOLE
    said = mistakes(tmp_path, mine=WHOLE.replace(old, new, 1))
    assert any(found in problem and edit in problem for problem in said), said
    assert all(problem.startswith("train/mine.yaml:") for problem in said)


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    text = WHOLE.replace("plain", "plian").replace("add", "ad").replace("window: 64", "window: 1")
    assert len(mistakes(tmp_path, mine=text)) == 3


def test_a_tokenizer_trained_anew_does_not_fit_learnt_weights(tmp_path: Path) -> None:
    text = WHOLE.replace(
        "base: {config: {model_type: bloom, hidden_size: 32, n_layer: 2, n_head: 4}}", "base: {model: a/b}"
    )
    assert "does not fit weights" in mistakes(tmp_path, mine=text)[0]


def test_a_base_that_is_trained_has_to_exist_with_its_stage(tmp_path: Path) -> None:
    second = "about: Next.\nextends: first\nbase: {trained: 'first:general'}\ntokenizer: null\n"
    assert read(tmp_path, second=second, first=WHOLE).training.base.trained == "first:general"
    wrong = mistakes(tmp_path, second=second.replace("general", "genral"), first=WHOLE)
    assert wrong[0].startswith("train/second.yaml:3:17   `first` has no stage `genral`")
    assert "did you mean general?" in wrong[0]


def test_bases_in_a_circle(tmp_path: Path) -> None:
    one = "about: One.\nextends: whole\nbase: {trained: two}\ntokenizer: null\n"
    two = one.replace("two", "one")
    assert "starts from itself: one → two → one" in mistakes(tmp_path, one=one, two=two, whole=WHOLE)[0]


def test_one_extends_another(tmp_path: Path) -> None:
    above = """\
extends: below
about: Larger.
base: {config: {model_type: bloom, hidden_size: 64, n_layer: 2, n_head: 4}}
optimizer: {clip: 0.5}
stages:
  - name: special
    tokens: 1000
    schedule: {learning_rate: 5.0e-4}
  - name: more
    data: [{procedural: {count: 5, seed: 2}, layouts: [plain]}]
    epochs: 2
    batch_tokens: 128
    schedule: {learning_rate: 1.0e-4}
"""
    bound = read(tmp_path, above=above, below=WHOLE.replace("window: 64", "window: 64\noptimizer: {weight_decay: 0.0}"))
    training = bound.training
    assert (training.name, training.about, training.window) == ("above", "Larger.", 64)
    assert training.base.config is not None and training.base.config["hidden_size"] == 64
    assert (training.optimizer.clip, training.optimizer.weight_decay) == (0.5, 0.0)
    assert [stage.name for stage in training.stages] == ["general", "special", "more"]
    special = training.stages[1]
    assert (special.epochs, special.tokens) == (None, 1000)
    assert (special.schedule.learning_rate, special.schedule.shape) == (5e-4, "cosine")
    assert bound.where(("stages", 1, "schedule", "learning_rate")) == "train/above.yaml:8:31"
    assert bound.where(("stages", 1, "schedule", "shape")) == "train/below.yaml:16:46"
    assert bound.where(("window",)) == "train/below.yaml:4:9"


def test_mistakes_are_shown_in_the_file_where_they_stand(tmp_path: Path) -> None:
    above = "extends: below\nabout: Larger.\nstages: [{name: special, epochs: -1}]\n"
    below = WHOLE.replace("learning_rate: 1.0e-3}", "learning_rate: 7}")
    found = mistakes(tmp_path, above=above, below=below)
    assert [problem.split("   ")[0] for problem in found] == ["train/below.yaml:10:31", "train/above.yaml:3:34"]


def test_one_may_not_extend_itself(tmp_path: Path) -> None:
    found = mistakes(tmp_path, a="extends: b\n", b="extends: train/a.yaml\n")
    assert found[0].startswith("train/b.yaml:1:10   extends itself: a → b → a")
    missing = mistakes(tmp_path, a="extends: paper/teacher-560\n")
    assert missing[0].startswith("train/a.yaml:1:10") and "did you mean paper/teacher-560m" in missing[0]


values = st.recursive(
    st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=3)


def located(data: dict[str, Any]) -> Located:
    return Located(Path("x"), "x", data)


@given(mappings, mappings, mappings)
def test_laying_over_is_associative_and_idempotent(one: Any, two: Any, three: Any) -> None:
    both = lay([located(one), located(two)]).data
    assert lay([located(both), located(three)]).data == lay([located(one), located(two), located(three)]).data
    assert lay([located(one), located(one)]).data == one
    assert all(both[key] == two[key] for key in two if not isinstance(two[key], dict))
    assert set(both) == set(one) | set(two)


@pytest.mark.parametrize("name", names(ProjectFiles(bundled())))
def test_all_that_ship_can_be_read(name: str) -> None:
    bound = read_training(ProjectFiles(bundled()), name)
    assert yaml.safe_dump(bound.located.data)
