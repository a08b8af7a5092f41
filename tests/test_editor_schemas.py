"""JSON Schemas of the files that people write: they take what we ship and refuse what our reader refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from teacherlm.api.editor_schemas import FILE_KINDS, FileKind, file_schema, schema_line, schema_path
from teacherlm.api.setup import LAID_OUT, init
from teacherlm.core.bundle import bundled
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import read_yaml
from teacherlm.train.read import names

SHIPPED: list[tuple[FileKind, str]] = [
    ("catalog", "catalog.yaml"),
    *(("recipe", f"builders/{path.name}") for path in sorted((bundled() / "builders").glob("*.yaml"))),
    *(("prompts", f"builders/prompts/{path.name}") for path in sorted((bundled() / "builders/prompts").glob("*.yaml"))),
    ("layouts", "train/layouts.yaml"),
    *(("training", f"train/{name}.yaml") for name in names(ProjectFiles(bundled()))),
]


def valid(name: FileKind, data: Any) -> bool:
    validator = jsonschema.Draft202012Validator(file_schema(name))
    return bool(validator.is_valid(orjson.loads(orjson.dumps(data))))


@pytest.mark.parametrize("name", FILE_KINDS)
def test_each_is_a_schema_and_explains_its_keys(name: FileKind) -> None:
    schema = file_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    if name != "layouts":  # whose keys are names
        assert schema["additionalProperties"] is False
    assert "name" not in schema.get("required", [])


def test_descriptions_are_those_of_the_specs() -> None:
    properties = file_schema("recipe")["properties"]
    assert properties["max_new_tokens"]["description"].startswith("Per rationale, in teacher tokens.")
    assert "hub" in file_schema("recipe")["$defs"]["Source"]["properties"]


@pytest.mark.parametrize(("name", "file"), SHIPPED, ids=[file for _, file in SHIPPED])
def test_what_we_ship_is_valid(name: FileKind, file: str) -> None:
    data = read_yaml(bundled() / file).data
    assert valid(name, data)
    assert not valid(name, {**data, "max_tokens": 5})


def test_wrong_values_are_refused() -> None:
    recipe = read_yaml(bundled() / "builders" / "examples.yaml").data
    assert not valid("recipe", {**recipe, "kinds": ["cot"]})
    assert not valid("recipe", {**recipe, "sample": {**recipe["sample"], "answers": "x"}})
    assert not valid("recipe", {key: value for key, value in recipe.items() if key != "sample"})
    assert not valid("catalog", {"teachers": {"a": {"url": 3}}})


def test_a_training_that_extends_another_may_leave_out_keys() -> None:
    whole = read_yaml(bundled() / "train" / "example.yaml").data
    assert not valid("training", {key: value for key, value in whole.items() if key != "window"})
    assert not valid("training", {**whole, "stages": [{"name": "only"}]})
    assert valid("training", {"extends": "example", "stages": [{"name": "only", "schedule": {"warmup": 0.1}}]})
    assert not valid("training", {"extends": "example", "stages": [{"epochs": 1}]})
    assert not valid("layouts", {"mine": {"response": ["hint"]}})


def test_a_new_project_tells_editors_where_they_are(tmp_path: Path) -> None:
    written = init(tmp_path / "mine")
    assert written == [*LAID_OUT, *(f".schemas/{kind}.json" for kind in FILE_KINDS)]
    for file in written:
        path = tmp_path / "mine" / file
        if path.suffix == ".yaml":
            first = path.read_text().splitlines()[0]
            assert first + "\n" == schema_line(file)
            schema = (path.parent / first.partition("$schema=")[2]).resolve()
            assert jsonschema.Draft202012Validator(orjson.loads(schema.read_bytes())).is_valid(read_yaml(path).data)
    assert ProjectFiles(tmp_path / "mine").recipes() == ["curriculum", "examples"]


def test_paths_lead_from_the_file() -> None:
    assert schema_path("catalog.yaml") == ".schemas/catalog.json"
    assert schema_path("builders/creak.yaml") == "../.schemas/recipe.json"
    assert schema_path("quality/rules/empty.sql") is None
    assert schema_path("train/layouts.yaml") == "../.schemas/layouts.json"
    assert schema_path("train/paper/teacher-560m.yaml") == "../../.schemas/training.json"
    assert schema_path("train/accelerate/fsdp-opt.yaml") is None
