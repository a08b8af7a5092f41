"""The wheel carries its declarations: an installed teacherlm has its bundled project, away from any checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was unpacked, as pip would."""
    built = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = built.glob("*.whl")
    site = built / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    return site


def run(installed: Path, where: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    code = "import sys, teacherlm; assert sys.argv[1] in teacherlm.__file__, teacherlm.__file__; sys.argv.pop(1);"
    code += "from teacherlm.cli.main import entry; entry()"
    return subprocess.run(
        [sys.executable, "-c", code, str(installed), *arguments],
        cwd=where,
        env=environment,
        capture_output=True,
        check=False,
    )


def test_an_installed_teacherlm_has_its_bundled_project(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "plan", "examples", "creak", "--format", "json")
    assert done.returncode == 0, done.stderr.decode()
    rows = orjson.loads(done.stdout)["rows"]
    assert [row["dataset"] for row in rows] == ["examples", "creak"]
    assert not list(tmp_path.iterdir())


def test_an_installed_teacherlm_lays_out_a_project_and_builds_it(installed: Path, tmp_path: Path) -> None:
    assert run(installed, tmp_path, "init", "mine").returncode == 0
    done = run(installed, tmp_path / "mine", "build", "examples", "--format", "json")
    assert done.returncode == 0, done.stderr.decode()
    assert orjson.loads(done.stdout)["rows"][0]["samples"] == 64


def test_the_wheel_holds_declarations_and_no_tests(installed: Path) -> None:
    bundled = installed / "teacherlm" / "_bundled"
    held = {path.relative_to(bundled).as_posix() for path in bundled.rglob("*") if path.is_file()}
    for name in (
        "catalog.yaml",
        "builders/examples.jsonl",
        "builders/prompts/paper.yaml",
        "schemas/sample.yaml",
        "quality/metrics/2_metrics.sql",
    ):
        assert name in held
    assert not [name for name in held if name.endswith(".py")]
    assert sorted(path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")) == [
        "bin",
        "teacherlm",
    ]
