"""Which project a command speaks of, and where its declared files are."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.project.located import Located, read_yaml

CATALOG = "catalog.yaml"


@dataclass(frozen=True)
class ProjectFiles:
    """The declared files of a project."""

    root: Path

    @property
    def is_bundled(self) -> bool:
        return self.root == bundled()

    def catalog(self) -> Located:
        return self._read(CATALOG)

    def recipe(self, name: str) -> Located:
        """The recipe `builders/<name>.yaml`.

        Raises:
            Mistake: there is none; names the nearest.
        """
        return self._named("builders", name, "dataset")

    def prompts(self, name: str) -> Located:
        return self._named("builders/prompts", name, "prompt profile")

    def recipes(self) -> list[str]:
        """Names of all datasets: the files in `builders/`."""
        return self._names("builders")

    def _names(self, folder: str) -> list[str]:
        return sorted(path.stem for path in (self.root / folder).glob("*.yaml"))

    def _named(self, folder: str, name: str, what: str) -> Located:
        if (self.root / folder / f"{name}.yaml").is_file() and Path(name).name == name:
            return self._read(f"{folder}/{name}.yaml")
        # Prompt profiles of the bundle serve every project; datasets are a project's own.
        if folder != "builders" and (bundled() / folder / f"{name}.yaml").is_file():
            return read_yaml(bundled() / folder / f"{name}.yaml", f"{folder}/{name}.yaml")
        known = self._names(folder)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known) or 'none'}"
        raise Mistake(f"there is no {what} `{name}`", f"{hint} (or write {folder}/{name}.yaml)", str(self.root))

    def _read(self, relative: str) -> Located:
        return read_yaml(self.root / relative, relative)


def find_project(start: Path | str | None = None) -> ProjectFiles:
    """The project of a directory: the nearest `catalog.yaml` upwards, else the bundled one.

    Raises:
        Mistake: `start` is not a directory.
    """
    folder = Path(start if start is not None else Path.cwd()).resolve()
    if not folder.is_dir():
        raise Mistake("there is no such directory", "give the directory of a project", str(folder))
    for candidate in (folder, *folder.parents):
        if (candidate / CATALOG).is_file():
            return ProjectFiles(candidate)
    return ProjectFiles(bundled())


def given_workspace(given: Path | str | None = None) -> str:
    """`--workspace`, else `$TEACHERLM_WORKSPACE`, else `./workspace`: a folder, or a URL."""
    return str(given or os.environ.get("TEACHERLM_WORKSPACE") or "workspace")


def workspace_path(given: Path | str | None = None) -> Path:
    """The folder of a workspace.

    Raises:
        Mistake: it is a URL.
    """
    place = given_workspace(given)
    if "://" in place:
        raise Mistake(
            "a folder of this machine is needed here, and this is a URL",
            "name a folder; build, augment, check, run, publish, status and sql take URLs (docs/scale.md)",
            place,
        )
    return Path(place)
