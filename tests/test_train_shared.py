"""Training on several devices: FSDP's shares compute what one process computes, and the launch files name real layers.

accelerate shares a model out on GPUs only; on a CPU its runs copy the model (test_train_command.py compares those).
What is tried here is FSDP itself, over gloo, around the loss that training computes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from teacherlm.core.bundle import bundled

STEPS = """
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

sys.path.insert(0, sys.argv[1])
import test_train_run as small
from teacherlm.train.objective import quicken, targets, weighing

torch.set_num_threads(1)
family, out, shared = sys.argv[2], Path(sys.argv[3]), sys.argv[4] == "shared"
model = small.model_of(family)
quicken(model)
rank, size = 0, 1
if shared:
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (size,))
    layers = [part for part in model.modules() if type(part).__name__ in model._no_split_modules]
    assert layers
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert all(isinstance(value, DTensor) for value in model.parameters())
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
losses = []
with weighing(model):
    for step in range(6):
        rows = small.rows(8, 0)
        total = float(targets(rows)["weights"].sum())
        mine = {name: value[rank * 8 // size : (rank + 1) * 8 // size] for name, value in rows.items()}
        # Gradients are averaged over processes; the factor makes that a sum, as the trainer does.
        loss = model(input_ids=mine["input_ids"], **targets(mine))["loss"] / total * size
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        optimizer.step()
        optimizer.zero_grad()
        seen = loss.detach() / size
        if shared:
            dist.all_reduce(seen)
        losses.append((float(seen), float(norm)))
if rank == 0:
    torch.save(losses, out)
if shared:
    dist.destroy_process_group()
"""


def losses(folder: Path, family: str, how: str) -> list[tuple[float, float]]:
    import torch

    script, out = folder / "steps.py", folder / f"{how}.pt"
    script.write_text(STEPS)
    start = [sys.executable]
    if how == "shared":
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    asked = [*start, str(script), str(Path(__file__).parent), family, str(out), how]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[tuple[float, float]] = torch.load(out)
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", ["bloom", "opt"])
def test_shares_of_a_model_compute_what_the_whole_computes(tmp_path: Path, family: str) -> None:
    whole, shared = (losses(tmp_path, family, how) for how in ("whole", "shared"))
    assert whole[-1][0] != pytest.approx(whole[0][0], rel=1e-2)  # it does learn
    for one, two in zip(whole, shared, strict=True):
        assert one == pytest.approx(two, rel=1e-4)


@pytest.mark.parametrize("family", ["bloom", "opt"])
def test_the_launch_files_name_the_layers_of_the_family(family: str) -> None:
    from test_train_run import model_of

    declared = yaml.safe_load((bundled() / "train" / "accelerate" / f"fsdp-{family}.yaml").read_text())
    layer = declared["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"]
    model = model_of(family)
    assert layer in {type(part).__name__ for part in model.modules()}
    assert layer in model._no_split_modules


@pytest.mark.parametrize("family", ["bloom", "opt"])
def test_accelerate_takes_the_launch_files(family: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file  # type: ignore[import-untyped]

    found = load_config_from_file(str(bundled() / "train" / "accelerate" / f"fsdp-{family}.yaml"))
    assert found.distributed_type.value == "FSDP"
    assert found.mixed_precision == "bf16"
    assert found.fsdp_config["fsdp_version"] == 2
