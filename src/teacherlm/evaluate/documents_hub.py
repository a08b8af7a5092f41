"""Rows of a task's own dataset, by `datasets`: of the Hub, its cache, or files that the task names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import Mistake, RemoteFailed
from teacherlm.evaluate.documents_rows import Rows

if TYPE_CHECKING:
    from teacherlm.evaluate.benchmarks import BoundTask

_OFFLINE = {"OfflineModeIsEnabled", "ConnectionError", "ConnectError", "ConnectTimeout", "LocalEntryNotFoundError"}
_ABSENT = {"DatasetNotFoundError", "RepositoryNotFoundError", "RevisionNotFoundError"}


def hub_rows(bound: BoundTask, examples: str | None) -> Rows:
    """The rows of the dataset that a task names.

    Args:
        examples: the split that examples are taken from; None: there are none to read.

    Raises:
        RemoteFailed: the Hub cannot be reached, or has no such dataset or configuration for us.
        Mistake: the dataset has no such split, or it is empty.
    """
    import datasets

    task = bound.task
    # Newer versions run no scripts, and older declarations still allow it.
    more = {name: value for name, value in (task.dataset_kwargs or {}).items() if name != "trust_remote_code"}
    try:
        loaded = datasets.load_dataset(task.dataset_path, task.dataset_name, **more)
    except Exception as error:  # datasets raises its own, the Hub's, fsspec's and the network's errors
        raise _failure(bound, error) from error
    if not isinstance(loaded, dict):
        raise Mistake("`dataset_kwargs` names a split", "remove it: test_split does", bound.where(("dataset_kwargs",)))
    documents = _split(bound, loaded, task.split, "test_split" if task.test_split else "validation_split")
    place = f"split {task.split} of {task.dataset_path}"
    return Rows(
        documents=documents,
        columns=tuple(documents.column_names),
        examples=_split(bound, loaded, examples, "fewshot_split") if examples is not None else None,
        place=place,
        examples_place=f"split {examples} of {task.dataset_path}" if examples is not None else place,
    )


def _split(bound: BoundTask, loaded: Any, name: str, field: str) -> Any:
    place = bound.where((field,), key=True)
    if name not in loaded:
        found = f"{bound.task.dataset_path} has no split `{name}`"
        raise Mistake(found, f"name one of {', '.join(map(str, loaded))}", place)
    if not len(loaded[name]):
        raise Mistake(f"split `{name}` of {bound.task.dataset_path} is empty", "name another split", place)
    return loaded[name]


def _failure(bound: BoundTask, error: Exception) -> Mistake | RemoteFailed:
    name = bound.task.dataset_path + (f" ({bound.task.dataset_name})" if bound.task.dataset_name else "")
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = next(iter(str(error).splitlines()), "")[:300]
    own = f"or give rows of your own: --data {bound.name}=PATH"
    place = bound.where(("dataset_path",))
    if "gated" in said.lower() or "GatedRepoError" in kinds:
        found = f"{name} is gated: its owner asks for an agreement"
        return RemoteFailed(found, f"agree on its page on the Hub and log in (`hf auth login`), {own}", place)
    if kinds & _OFFLINE or "offline" in said.lower():
        found = f"the Hub cannot be reached, and {name} is not in the cache"
        return RemoteFailed(found, f"check the network and $HF_ENDPOINT, {own}", place)
    if kinds & _ABSENT:
        found = f"the Hub has no dataset {name} that you may see"
        return RemoteFailed(found, f"check the id, log in (`hf auth login`) if it is private, {own}", place)
    if "BuilderConfig" in said or isinstance(error, FileNotFoundError | TypeError):
        return Mistake(f"{name} cannot be loaded: {said}", f"correct dataset_name and dataset_kwargs, {own}", place)
    return RemoteFailed(f"{name} cannot be read ({type(error).__name__}: {said})", f"check the network, {own}", place)
