"""What a file below `evaluate/` declares: a task, or a group of tasks, in the words of lm-evaluation-harness.

Fields have the harness's names, types and defaults (0.4.13, `lm_eval/config/`), so that `--include_path evaluate` loads
the same files there. Left out is what names Python code, and what asks for images or sound.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from teacherlm.project.bind import SPEC_CONFIG

OutputType = Literal["multiple_choice", "generate_until"]
Sampler = Literal["default", "first_n"]
Choices = str | tuple[str, ...] | dict[str, str]
"""A template or column that gives a list of texts, the texts themselves, or keys with texts."""


Listed = tuple[dict[str, Any], ...] | None

_WANTED = {
    "doc_to_target": ((str, int), "a template, a column or a position", "answer"),
    "doc_to_choice": ((str, list, tuple, dict), "a list of texts, or a template or column that gives one", "[A, B]"),
    "tag": ((str, list, tuple), "a name or a list of names", "my_tasks"),
}


def one_of(value: Any, info: ValidationInfo) -> Any:
    """Check a field that holds one of several kinds; pydantic would tell of each kind that it is not."""
    name = str(info.field_name)
    kinds, wanted, example = _WANTED[name]
    texts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    odd = isinstance(value, bool) or not isinstance(value, kinds) or not all(isinstance(one, str) for one in texts)
    if value is not None and odd:
        raise ValueError(f"`{name}` holds {value!r}; {wanted} is wanted | write  {name}: {example}")
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Fewshot:
    """How examples are chosen and written; what is left out is as for the questions."""

    sampler: Sampler = "default"
    """`default` draws them anew for each question, by the seed; `first_n` takes the first of the split."""
    split: str | None = None
    samples: tuple[dict[str, Any], ...] | None = None
    """The examples themselves, in place of a split."""
    doc_to_text: str | None = None
    doc_to_choice: Choices | None = None
    doc_to_target: str | int | None = None
    gen_prefix: str | None = None
    fewshot_delimiter: str | None = None
    target_delimiter: str | None = None

    _texts = field_validator("doc_to_target", "doc_to_choice", mode="before")(one_of)


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Task:
    """One task. Templates are Jinja over a row's columns; the bare name of a column stands for its value."""

    task: str
    """Its name; unique among tasks, groups and tags."""
    task_alias: str | None = None
    """Its name in tables."""
    tag: str | tuple[str, ...] | None = None
    """Names that stand for all tasks that have them."""
    dataset_path: str
    """Hub dataset, or a format such as `parquet` with `data_files` in `dataset_kwargs`."""
    dataset_name: str | None = None
    """Its configuration. In local rows: the value of their column `subject`, where they have one."""
    dataset_kwargs: dict[str, Any] | None = None
    """More of what `datasets.load_dataset` takes, such as `revision`."""
    training_split: str | None = None
    validation_split: str | None = None
    """Evaluated where there is no `test_split`."""
    test_split: str | None = None
    """Evaluated."""
    fewshot_split: str | None = None
    """Of the examples; left out: the training, validation or test split, the first that is named."""
    fewshot_config: Fewshot | None = None
    num_fewshot: int | None = None
    """Examples before each question, where nobody asks for another number. 0 is final."""
    description: str = ""
    """Before the examples; a template."""
    doc_to_text: str
    doc_to_target: str | int
    """The gold answer: an option's position or text; for generated text what is compared with it."""
    doc_to_choice: Choices | None = None
    target_delimiter: str = " "
    """Between question and answer."""
    fewshot_delimiter: str = "\n\n"
    """After each example."""
    gen_prefix: str | None = None
    """How the answer begins; a template."""
    output_type: OutputType = "generate_until"
    generation_kwargs: dict[str, Any] | None = None
    repeats: int = 1
    """Answers to each question."""
    filter_list: tuple[dict[str, Any], ...] | None = None
    """`{name, filter: [{function, …}]}` each: from what was written to what is compared."""
    metric_list: tuple[dict[str, Any], ...] | None = None
    """`{metric, aggregation, higher_is_better, …}` each."""
    should_decontaminate: bool = False
    """Without effect, as is the query: `teacherlm check` looks for contamination."""
    doc_to_decontamination_query: str | None = None
    metadata: dict[str, Any] | None = None
    """`version` is shown with results."""

    _texts = field_validator("doc_to_target", "doc_to_choice", "tag", mode="before")(one_of)

    @field_validator("repeats", "num_fewshot")
    @classmethod
    def _counts(cls, value: int | None, info: ValidationInfo) -> int | None:
        least = 1 if info.field_name == "repeats" else 0
        if value is not None and value < least:
            raise ValueError(f"`{info.field_name}` is {value} | write {least} or more")
        return value

    @field_validator("filter_list")
    @classmethod
    def _filters(cls, value: Listed) -> Listed:
        for one in value or ():
            steps = one.get("filter")
            if not isinstance(one.get("name"), str) or not isinstance(steps, list) or not steps:
                example = "- {name: strict-match, filter: [{function: take_first}]}"
                raise ValueError(f"an entry of `filter_list` needs `name` and `filter` | write  {example}")
            if not all(isinstance(step, dict) and isinstance(step.get("function"), str) for step in steps):
                raise ValueError(
                    f"filter `{one['name']}` has a step without `function` | write  - function: take_first"
                )
        return value

    @field_validator("metric_list")
    @classmethod
    def _metrics(cls, value: Listed) -> Listed:
        if not all(isinstance(one.get("metric"), str) for one in value or ()):
            raise ValueError("an entry of `metric_list` needs `metric` | write  - metric: acc")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Task:
        if self.test_split is None and self.validation_split is None:
            raise ValueError("no split to evaluate | add  test_split: test")
        if self.output_type == "multiple_choice" and self.doc_to_choice is None:
            raise ValueError("`doc_to_choice` is missing, and multiple_choice needs it | add  doc_to_choice: [A, B]")
        return self

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        return self.test_split or str(self.validation_split)

    @property
    def examples_split(self) -> str | None:
        """The split that examples are taken from; None where they are declared."""
        fewshot = self.fewshot
        if fewshot.split is not None or fewshot.samples is not None:
            return fewshot.split
        return self.training_split or self.validation_split or self.test_split

    @property
    def fewshot(self) -> Fewshot:
        """How examples are written, with all that is left out taken from the task."""
        own = self.fewshot_config or Fewshot()
        return Fewshot(
            sampler=own.sampler,
            split=own.split if own.split is not None else self.fewshot_split,
            samples=own.samples,
            doc_to_text=own.doc_to_text if own.doc_to_text is not None else self.doc_to_text,
            doc_to_choice=own.doc_to_choice if own.doc_to_choice is not None else self.doc_to_choice,
            doc_to_target=own.doc_to_target if own.doc_to_target is not None else self.doc_to_target,
            gen_prefix=own.gen_prefix if own.gen_prefix is not None else self.gen_prefix,
            fewshot_delimiter=_first(own.fewshot_delimiter, self.fewshot_delimiter),
            target_delimiter=_first(own.target_delimiter, self.target_delimiter),
        )

    def shots(self, asked: int | None) -> int:
        """Examples before each question.

        Args:
            asked: what somebody asked for; a task that declares 0 stays at 0, as in the harness.
        """
        return (self.num_fewshot or 0) if asked is None or self.num_fewshot == 0 else asked

    @property
    def version(self) -> Any:
        """As the harness shows it: `Yaml` where a task declares none."""
        return (self.metadata or {}).get("version", "Yaml")


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class GroupMetric:
    """A figure that a group takes from its tasks."""

    metric: str
    filter_list: str | tuple[str, ...] | None = None
    """Filters whose figures are taken; left out: all."""
    aggregation: Literal["mean"] = "mean"
    weight_by_size: bool = True
    """Weigh each task by its number of documents; else all alike."""

    @property
    def filters(self) -> tuple[str, ...] | None:
        return (self.filter_list,) if isinstance(self.filter_list, str) else self.filter_list


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Group:
    """Tasks, tags and other groups under one name."""

    group: str
    group_alias: str | None = None
    task: tuple[str, ...]
    """Names of its members. A list: the harness takes a group with a single text for an empty one."""
    aggregate_metric_list: GroupMetric | tuple[GroupMetric, ...] | None = None
    metadata: dict[str, Any] | None = None

    @property
    def aggregates(self) -> tuple[GroupMetric, ...]:
        own = self.aggregate_metric_list
        return () if own is None else (own,) if isinstance(own, GroupMetric) else own

    @property
    def version(self) -> str:
        """As the harness shows it: `N/A` where a group declares none."""
        return str((self.metadata or {}).get("version", "N/A"))


def _first(own: str | None, other: str) -> str:
    return other if own is None else own
