"""Every command in the README works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from scripted import teacher

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_make_targets_exist() -> None:
    # The first one is run as it stands by the continuous integration, the second one is what runs this test.
    targets = re.findall(r"^make (\S+)", blocks("sh")[0], flags=re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_ones_own_data_and_server(tmp_path: Path) -> None:
    commands, code = blocks("sh")[1], blocks("python")[0]
    printed = code.strip().replace("datasets.load_dataset", "print(datasets.load_dataset", 1) + ")"
    script = f"set -eu\n{commands}\n{sys.executable} -c '{printed}'\n"
    with teacher() as served:
        script = script.replace("http://127.0.0.1:8080", served.url)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "So the answer is" in done.stdout.splitlines()[-1]
    assert re.search(r"chain_of_thought\s+accepted\s+6\d", done.stdout)


def test_links_lead_to_files() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
