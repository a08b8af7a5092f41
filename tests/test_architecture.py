"""The house: imports go downstairs, `import teacherlm` is light, declarations hold no Python, files stay readable."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "teacherlm"

FLOOR = {
    "core": 0,
    "schemas": 1,
    "text": 2,
    "lm": 2,
    "curriculum": 2,
    "project": 3,
    "teacher": 4,
    "quality": 4,
    "hub": 4,
    "engine": 4,
    "builders": 5,
    "train": 5,
    "evaluate": 5,
    "experiments": 6,
    "api": 7,
    "cli": 8,
}

HEAVY = ("torch", "transformers", "ray", "great_expectations", "datasets", "duckdb", "pyarrow", "polars", "pandas")

LINES = 300
"""A module that grows beyond has two jobs."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "teacherlm" and len(parts) > 1 else None


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Modules that a file imports anywhere in it, with their lines; `if TYPE_CHECKING` counts too."""
    inside = ("teacherlm", *path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(inside[: -node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            # `from teacherlm import cli` names a room as well.
            yield from (
                (f"{module}.{alias.name}" if module == "teacherlm" else module, node.lineno) for alias in node.names
            )


def test_every_room_has_a_floor() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert rooms == set(FLOOR)


def test_imports_go_downstairs() -> None:
    wrong = []
    for path in MODULES:
        room = path.relative_to(PACKAGE).parts[0]
        for module, line in imports(path):
            target = room_of(module)
            if room not in FLOOR or target not in FLOOR or target == room:
                continue
            if FLOOR[target] >= FLOOR[room]:
                place = f"{path.relative_to(ROOT)}:{line}"
                wrong.append(f"{place}: {room} imports {target}; move the shared part down")
    assert not wrong, "\n".join(wrong)


def fresh(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_importing_teacherlm_is_light() -> None:
    loaded = fresh(f"import sys, teacherlm; print([name for name in {HEAVY!r} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_the_command_starts_without_its_heavy_guests() -> None:
    heavy = ("torch", "transformers", "ray", "great_expectations", "datasets", "pandas")
    program = f"import sys, teacherlm.cli.main; print([name for name in {heavy!r} if name in sys.modules])"
    assert fresh(program).strip() == "[]"


def test_importing_teacherlm_is_quick() -> None:
    """Seconds that the statement takes in a fresh process, without the interpreter's start; the best of five."""
    program = "import time; a = time.perf_counter(); import teacherlm; print(time.perf_counter() - a)"
    best = min(float(fresh(program)) for _ in range(5))
    assert best < 0.3, f"import teacherlm takes {best:.3f} s"


@pytest.mark.parametrize("folder", ["builders", "schemas", "quality", "train", "evaluate"])
def test_declarative_folders_hold_no_python(folder: str) -> None:
    assert not list((ROOT / folder).rglob("*.py")), "a package of this name would hide another one"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "the module has no docstring"
    assert len(text.splitlines()) <= LINES, "the module is too long: it has two jobs"


def test_no_file_names_a_place_of_one_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a checkout of git")
    # Built from parts, so that this file does not hold them.
    words = [f"/{name}/" for name in ("work", "root", "home")] + ["shared" + "/data", "/Us" + "ers/"]
    wrong = []
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if not name or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        wrong += [f"{name} holds {word}" for word in words if word in text]
    assert not wrong, "\n".join(wrong)
