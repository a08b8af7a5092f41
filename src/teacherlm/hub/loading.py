"""Loading a published place as a stranger would: with `datasets`, in a process and with a cache of their own.

A warm cache would hide a repository that is gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from teacherlm.hub.formats import config_name
from teacherlm.hub.manifest import Entry, Form, Manifest
from teacherlm.hub.repository import masked

LOAD = """
import json, sys
import datasets
datasets.disable_progress_bars()
place, revision, configs = json.loads(sys.stdin.read())
for config, (splits, features) in configs.items():
    wanted = datasets.Features._from_yaml_list(features)
    found = datasets.load_dataset(place, config, streaming=True, revision=revision)
    for split in splits:
        any_row = next(iter(found[split]), None) is not None
        print(json.dumps([config, split, found[split].features == wanted, any_row]), flush=True)
"""


def parts(manifest: Manifest) -> dict[str, Entry | Form]:
    """Everything that `load_dataset` finds by a name: the datasets, and their training formats."""
    found: dict[str, Entry | Form] = dict(manifest.datasets)
    for name, entry in manifest.datasets.items():
        found |= {config_name(name, form): part for form, part in entry.formats.items()}
    return found


def load_problems(
    place: str, revision: str | None, configs: Mapping[str, Entry | Form], tell: Callable[[str], None]
) -> Iterator[str]:
    """What keeps `datasets` from loading these configs, with the columns and types that they have.

    Args:
        place: a folder, or the id of a repository on the Hub.
        tell: called with the config of every split that was loaded.
    """
    import huggingface_hub

    wanted = {name: (list(part.loadable), part.features) for name, part in configs.items() if part.loadable}
    with tempfile.TemporaryDirectory(prefix="teacherlm-cache-") as cache, tempfile.TemporaryFile("w+") as errors:
        environment = {**os.environ, "HF_HOME": cache, "HF_DATASETS_CACHE": f"{cache}/datasets"}
        if token := huggingface_hub.get_token():
            environment["HF_TOKEN"] = token  # the login of this machine lies in the cache that is left out
        for name in ("HF_HUB_CACHE", "HF_XET_CACHE", "HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
            environment.pop(name, None)
        with subprocess.Popen(
            [sys.executable, "-c", LOAD],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([place, revision, wanted]))
            process.stdin.close()
            seen: dict[tuple[str, str], Any] = {}
            for line in process.stdout:
                config, split, typed, any_row = json.loads(line)
                seen[config, split] = (typed, any_row)
                tell(config)
        errors.seek(0)
        said = masked((errors.read().strip().splitlines() or ["it ended without a word"])[-1])
    for name, (splits, _) in wanted.items():
        for split in splits:
            if (name, split) not in seen:
                yield f"datasets cannot load {name}, split {split}: {said[:300]}"
                return
            typed, any_row = seen[name, split]
            if not typed:
                yield f"datasets loads {name}, split {split}, with other columns or types"
            if not any_row:
                yield f"datasets loads {name}, split {split}, without a row"
