"""The compose files in deploy/: they are not run here, but they are whole, and the documentation tells what they do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs" / "teachers.md").read_text(encoding="utf-8")
SECTION = DOCS.split("## Running servers for bulk annotation\n")[1].split("\n## ")[0]
FILES = {"tgi": "TGI's flag", "vllm": "vLLM's flag"}


def compose(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / f"{name}.compose.yaml").read_text(encoding="utf-8"))
    return data


def flags(service: dict[str, Any]) -> dict[str, str]:
    """Flag -> value; variables as the documentation writes them."""
    found = dict(argument.partition("=")[::2] for argument in service["command"] if argument.startswith("--"))
    named = {"${MODEL}@${REVISION}": "ORG/NAME@COMMIT"}
    shown = {"MODEL": "ORG/NAME", "REVISION": "a commit"}
    for flag, value in found.items():
        if variable := re.match(r"\$\{(\w+):\?", value):
            found[flag] = shown[variable[1]]
        found[flag] = named.get(value, found[flag])
    return found


def documented(title: str) -> dict[str, str]:
    """Flag -> value of one of the section's tables."""
    (table,) = (part for part in SECTION.split("\n\n") if part.startswith(f"| {title} |"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert all(len(row) == 3 and row[2] for row in rows)
    return {flag.strip("`"): value.strip("`") for flag, value, _ in rows}


@pytest.mark.parametrize("name", FILES)
def test_every_flag_is_documented_with_its_value(name: str) -> None:
    for service in compose(name)["services"].values():
        assert flags(service) == documented(FILES[name])


@pytest.mark.parametrize("name", FILES)
def test_replicas_differ_by_their_gpu_and_port_alone(name: str) -> None:
    services = list(compose(name)["services"].values())
    assert len(services) == 2
    ports, devices = [], []
    for service in services:
        (port,) = service.pop("ports")
        (device,) = service.pop("deploy")["resources"]["reservations"]["devices"]
        assert port.startswith("${BIND:-127.0.0.1}:"), "nobody else reaches a server without a key"
        ports.append(port)
        devices += device["device_ids"]
    assert services[0] == services[1]
    assert len(set(ports)) == len(set(devices)) == 2


@pytest.mark.parametrize("name", FILES)
def test_the_images_are_pinned_and_hold_no_secret(name: str) -> None:
    for service in compose(name)["services"].values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        assert service["environment"]["HF_TOKEN"] == "${HF_TOKEN:-}"


def test_the_readme_says_that_they_are_not_run() -> None:
    readme = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    assert "tests do not run them" in readme
    for name in FILES:
        assert f"`{name}.compose.yaml`" in readme
        assert f"deploy/{name}.compose.yaml" in DOCS
        version = compose(name)["services"][f"{name}-0"]["image"].rpartition(":")[2].lstrip("v")
        assert version in readme
        assert version.rpartition(".")[0] in SECTION
