"""Rows of a Hub dataset, through `datasets`; what can go wrong there, in words that say what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import Mistake, RemoteFailed

if TYPE_CHECKING:
    from teacherlm.builders.recipe import Recipe

PARQUET_BRANCH = "refs/convert/parquet"
"""Where the Hub keeps a Parquet copy of repositories that hold a script, which `datasets` no longer runs. The branch is
laid out as CONFIG/SPLIT/NNNN.parquet and has no card, so a configuration is a folder there, not a name."""


def load_split(recipe: Recipe, split: str) -> Any:
    """One split of a recipe's Hub dataset, as a `datasets.Dataset`.

    Args:
        split: the source's name for it.

    Raises:
        RemoteFailed: the Hub cannot be reached, or has no such dataset, configuration or split for us.
        Mistake: the source's labels are not those that the recipe names.
    """
    import datasets

    source = recipe.source
    if source.revision == PARQUET_BRANCH:
        place: dict[str, Any] = {"data_dir": source.config} if source.config else {}
    else:
        place = {"name": source.config}
    try:
        loaded = datasets.load_dataset(source.hub, split=split, revision=source.revision, **place)
    except Exception as error:  # datasets raises its own, the Hub's, fsspec's and the network's errors
        raise _failure(recipe, split, error) from error
    _check_labels(recipe, loaded.features)
    return loaded


def _check_labels(recipe: Recipe, features: Any) -> None:
    """Label numbers mean what the recipe thinks only while the source's label names are those that it declares."""
    for column, names in (recipe.source.labels or {}).items():
        found = getattr(features.get(column), "names", None)
        if found is not None and tuple(found) != names:
            raise Mistake(
                f"{recipe.name}: the labels of column `{column}` have changed; expected {_listed(names)}, "
                f"found {_listed(found)}",
                "mend source.labels and the expressions that use the column",
                f"builders/{recipe.name}.yaml",
            )


def _listed(names: Any) -> str:
    shown = [f"{number} {name}" for number, name in enumerate(names)]
    return ", ".join(shown[:12]) + (", …" if len(shown) > 12 else "")


def _failure(recipe: Recipe, split: str, error: Exception) -> RemoteFailed:
    source, kinds = recipe.source, {kind.__name__ for kind in type(error).__mro__}
    said = next(iter(str(error).splitlines()), "")[:300]
    own = f"or give rows of your own: build {recipe.name} --source PATH"
    if "scripts are no longer supported" in said:
        found = f"{source.hub} holds a script, which is no longer run"
        remedy = f"write  revision: {PARQUET_BRANCH}  under source, {own}"
    elif "gated" in said.lower() or "GatedRepoError" in kinds:
        found = f"{source.hub} is gated: its owner asks for an agreement"
        remedy = f"agree on its page on the Hub and log in (`hf auth login`), {own}"
    elif kinds & {
        "OfflineModeIsEnabled",
        "ConnectionError",
        "ConnectError",
        "ConnectTimeout",
        "LocalEntryNotFoundError",
    }:
        found = f"the Hub cannot be reached, and {source.hub} is not in the cache ({type(error).__name__})"
        remedy = f"check the network and $HF_ENDPOINT, {own}"
    elif kinds & {"DatasetNotFoundError", "RepositoryNotFoundError", "RevisionNotFoundError"}:
        found = f"the Hub has no dataset {source.hub} at revision {source.revision or 'main'} that you may see"
        remedy = f"check id and revision, log in (`hf auth login`) if it is private, {own}"
    elif "BuilderConfig" in said or "Unknown split" in said or "data_dir" in said:
        found = f"{source.hub}: {said}"
        remedy = f"mend source.config and source.splits, {own}"
    else:
        found = f"cannot read {source.hub} ({type(error).__name__}: {said})"
        remedy = f"check the network and the id, {own}"
    return RemoteFailed(f"{recipe.name}: split `{split}`: {found}", remedy)
