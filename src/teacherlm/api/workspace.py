"""Where everything lands: the folders of a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from teacherlm.api.session import open_session as open_session
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.core.locks import held, holder


@dataclass(frozen=True)
class Workspace:
    """The folders of a workspace."""

    root: Path

    def samples(self, dataset: str) -> Path:
        return self.root / "samples" / dataset

    def rationales(self, dataset: str) -> Path:
        return self.root / "rationales" / dataset

    def verdicts(self, dataset: str) -> Path:
        return self.root / "verdicts" / dataset

    def augmented(self, dataset: str) -> Path:
        return self.root / "augmented" / dataset

    def report(self, dataset: str) -> Path:
        return self.root / "reports" / dataset / "report.json"

    def run_record(self, dataset: str) -> Path:
        return self.root / "reports" / dataset / "run.json"

    def datasets(self) -> list[str]:
        """Datasets with anything in the workspace."""
        folders = [
            path for part in ("samples", "rationales") for path in (self.root / part).glob("[!.]*") if path.is_dir()
        ]
        return sorted({path.name for path in folders})

    @contextmanager
    def locked(self, dataset: str) -> Iterator[None]:
        """Be the one writer of a dataset.

        Raises:
            MachineFailed: another process is; names its pid and host.
        """
        with held(self._lock(dataset), f"dataset `{dataset}`"):
            yield

    def holder(self, dataset: str) -> str | None:
        """Who writes a dataset now, such as `pid 12 on host`."""
        return holder(self._lock(dataset))

    def _lock(self, dataset: str) -> Path:
        return self.root / "locks" / f"{dataset}.lock"

    def sample_files(self, dataset: str) -> dict[str, list[Path]]:
        """The sample files of a dataset by split.

        Raises:
            Mistake: it was not built.
            MachineFailed: a file is damaged.
        """
        folder = self.samples(dataset)
        found = {path.name: sorted(path.glob("*.parquet")) for path in sorted(folder.glob("[!.]*")) if path.is_dir()}
        if not found:
            raise Mistake(f"`{dataset}` has no samples in {self.root}", f"build it first: teacherlm build {dataset}")
        for path in (path for paths in found.values() for path in paths):
            _check_parquet(path, dataset)
        return found


def _check_parquet(path: Path, dataset: str) -> None:
    import pyarrow.parquet

    try:
        pyarrow.parquet.read_metadata(path)
    except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
        raise MachineFailed(
            f"cannot be read: {error}", f"build it again: teacherlm build {dataset} --force", str(path)
        ) from None
