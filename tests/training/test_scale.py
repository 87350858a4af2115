"""Many devices and several processes: the same training, smaller shares, nothing moved in vain."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from collectives import collectives
from loopback import environment, free_address
from process_losses import NETWORKS, batch_of, losses, prepare

import rsfusion_jax as rsf
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.models.cost import multiply_adds
from rsfusion_jax.runs.processes import connect
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training import sharding
from rsfusion_jax.training.objectives import supervised
from rsfusion_jax.training.step import make_train_step

ROOT = Path(__file__).resolve().parents[2]


INDIVISIBLE = {"mmapp": 0.6, "rsanet": 0.6}
"""Share of the parameters that eight devices cannot share, where it is large: these networks have
nine taps and nine heads, whatever their width."""
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS if name != "pannet"]


@pytest.mark.parametrize("network", ["pannet", *SLOW])
def test_meshes_give_the_same_losses(network):
    """(1), (8, 1), (4, 2) and (1, 8) devices; parameters shared, activations not moved."""
    alone = losses(network, sharding.make_mesh(1))
    sizes = {}
    for devices, fsdp in ((8, 1), (8, 2), (8, 8)):
        mesh = sharding.make_mesh(devices, fsdp)
        with jax.set_mesh(mesh):
            step, state, batch = prepare(network, mesh)
            sizes[fsdp] = _bytes_per_device(state.params)
            _assert_only_parameters_move(step, state.params, fsdp)
            found = []
            for _ in alone:
                state, metrics = step(state, batch)
                found.append(float(metrics["loss"]))
        np.testing.assert_allclose(found, alone, rtol=5e-6, err_msg=f"mesh {mesh.shape}")
    with jax.set_mesh(mesh):
        whole = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
        left = sum(
            leaf.nbytes
            for leaf in jax.tree.leaves(state.params)
            if not any(size % 8 == 0 for size in leaf.shape)
        )
    # All but the leaves that eight devices cannot share falls to an eighth.
    assert sizes[1] == whole and sizes[8] == left + (whole - left) // 8
    assert left < INDIVISIBLE.get(network, 0.1) * whole


def _bytes_per_device(tree) -> int:
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


def _assert_only_parameters_move(step, params, fsdp: int) -> None:
    """Gradients are summed once; gathers have the shapes of parameters, and there are none without
    sharded ones."""
    counts = collectives(step)
    assert set(counts) <= ({"all-reduce"} if fsdp == 1 else {"all-reduce", "all-gather"})
    assert 1 <= counts["all-reduce"] <= 2
    gathered = set(re.findall(r"= \(?f32\[([\d,]*)\][^=]*? all-gather", step.as_text()))
    shapes = {",".join(map(str, leaf.shape)) for leaf in jax.tree.leaves(params)}
    assert gathered <= shapes, gathered - shapes


@jax.default_matmul_precision("highest")
def test_rematerialised_blocks_change_memory_alone():
    model = create_model("pannet", num_bands=4)
    params = init_params(model, jax.random.key(0))
    batch = {key: jnp.asarray(value) for key, value in batch_of().items()}
    steps, costs = [], []
    for remat in (False, True):
        optimizer = optax.sgd(1.0)
        step = make_train_step(model, supervised("l1"), optimizer, remat=remat)
        state = create_state(params, optimizer, jax.random.key(0), ema=False)
        costs.append(multiply_adds(step, state, batch))
        steps.append(jax.jit(step)(state, batch)[0].params)
    # The first convolution of the four residual blocks, 32 to 32 channels, is formed once more.
    assert costs[1] - costs[0] == 4 * 3 * 3 * 32 * 32 * batch["pan"].size
    assert jax.tree.structure(steps[0]) == jax.tree.structure(steps[1])
    for kept, again in zip(*map(jax.tree.leaves, steps), strict=True):
        np.testing.assert_allclose(kept, again, atol=1e-6)


@pytest.mark.parametrize(
    "networks",
    [
        ("pannet",),
        pytest.param(("u2net", "ramsf"), marks=pytest.mark.slow),
        pytest.param(("feinfn", "ddif"), marks=pytest.mark.slow),
        pytest.param(("cf2n", "rsanet", "mmapp"), marks=pytest.mark.slow),
    ],
)
def test_two_processes_equal_one(networks, tmp_path):
    """2 processes x 2 devices over loopback against 4 devices of one."""
    address = free_address()
    program = [sys.executable, str(ROOT / "tests" / "helpers" / "process_losses.py"), address, "2"]
    running = [
        subprocess.Popen(
            [*program, str(i), "2", str(tmp_path / f"{i}.json"), *networks],
            env=environment(devices=2, PYTHONPATH=str(ROOT)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    expected = {name: losses(name, sharding.make_mesh(4, 2)) for name in networks}
    errors = [process.communicate(timeout=900)[1] for process in running]
    for i, process in enumerate(running):
        assert process.returncode == 0, errors[i]
        found = json.loads((tmp_path / f"{i}.json").read_text())
        assert found["devices"] == 4
        for name in networks:
            np.testing.assert_allclose(found["losses"][name], expected[name], rtol=1e-6)


@pytest.mark.parametrize("ending", ["killed", "error"])
def test_a_lost_process_ends_the_others(ending):
    """Without it the others wait in a collective for ever: here, for a second process's part."""
    address = free_address()
    code = (
        "import os, sys, time\n"
        "from rsfusion_jax.cli.entry import guarded\n"
        "from rsfusion_jax.errors import UserError\n"
        "from rsfusion_jax.runs.processes import barrier, connect\n"
        "def main(address, index, ending):\n"
        "    connect(address, 2, int(index))\n"
        "    barrier('begun')\n"
        "    if index == '1' and ending == 'killed': os.kill(os.getpid(), 9)\n"
        "    if index == '1': raise UserError('no such band')\n"
        "    barrier('never reached by both')\n"
        "guarded(main, *sys.argv[1:])\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, address, str(i), ending],
            env=environment(devices=1, PYTHONPATH=str(ROOT)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    (_, first), (_, second) = (process.communicate(timeout=120) for process in running)
    if ending == "killed":
        assert [process.returncode for process in running] == [75, -9]
        assert "error: process 1 of 2 is gone; start all processes again" in first
    else:
        assert [process.returncode for process in running] == [1, 2]
        assert "process 1 of 2 stopped with an error" in first and "no such band" in second


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((8, 3), "mesh.shard_params_over=3 does not divide 8 devices; set it to one of 1, 2, 4, 8"),
        ((9, 1), "mesh.devices=9, but 8 are visible; lower it"),
    ],
)
def test_a_mesh_that_cannot_be_says_what_to_change(options, sentence):
    with pytest.raises(rsf.UserError, match=sentence):
        sharding.make_mesh(*options)


def test_a_batch_that_cannot_be_shared_says_what_to_change():
    mesh = sharding.make_mesh(8, 4)
    with pytest.raises(rsf.UserError, match=r"batch_size=20 .* 8 devices .* multiple of 16, such"):
        sharding.check_batch_size(mesh, 20, 2)
    sharding.check_batch_size(mesh, 32, 2)
    assert sharding.describe(mesh).startswith("8 devices (cpu), parameters sharded over 4")


def test_incomplete_process_flags_are_named():
    with pytest.raises(rsf.UserError, match="--num-processes and --process-id missing"):
        connect(coordinator="127.0.0.1:1")
    with pytest.raises(rsf.UserError, match=r"--process-id=2 must lie in 0\.\.1"):
        connect(coordinator="127.0.0.1:1", num_processes=2, process_id=2)
    connect()  # one process: nothing to do


def test_an_incomplete_launcher_is_named(monkeypatch):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    for name in ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS"):
        monkeypatch.setenv(name, "7")
    for name in ("SLURM_PROCID", "SLURM_LOCALID", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    error = ValueError("coordinator_address should be defined.")
    with pytest.raises(rsf.UserError, match="SLURM has no SLURM_PROCID and no SLURM_LOCALID; "):
        connect(detect=True)
    for name in ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS"):
        monkeypatch.delenv(name)
    for name in ("OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"):
        monkeypatch.setenv(name, "3")
    error = KeyError("OMPI_COMM_WORLD_RANK")
    with pytest.raises(rsf.UserError, match="Open MPI has no OMPI_COMM_WORLD_RANK; start every"):
        connect(detect=True)
