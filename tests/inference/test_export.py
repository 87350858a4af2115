"""`rsfusion export`: the file runs with jax alone and gives what the Fuser gives."""

import json
import re
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from platforms import accelerator_branches

import rsfusion_jax as rsf
from rsfusion_jax.inference.export import export_fuser
from rsfusion_jax.models import init_params

ALONE = """
import sys, zipfile
import jax, numpy as np
sys.modules["rsfusion_jax"] = None
archive = zipfile.ZipFile(sys.argv[1])
call = jax.export.deserialize(archive.read("fuse.stablehlo")).call
data = np.load(sys.argv[2])
np.save(sys.argv[3], np.asarray(call(data["pan"], data["ms"])))
"""


@pytest.fixture(scope="module")
def fuser():
    model = rsf.create_model("pnn", num_bands=4)
    return rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")


@pytest.mark.parametrize("platforms", [("cpu",), ("cuda", "cpu")])
def test_runs_without_the_package(tmp_path, fuser, platforms):
    path = tmp_path / "fuse.rsfusion"
    export_fuser(fuser, path, tile=32, batch=2, platforms=platforms)
    card = json.loads(zipfile.ZipFile(path).read("card.json"))
    assert card["pan"] == [2, 32, 32, 1] and card["ms"] == [2, 8, 8, 4] and card["ms_phase"] == 2
    random = np.random.default_rng(0)
    pan = random.uniform(200, 1500, (2, 32, 32, 1)).astype(np.float32)
    ms = random.uniform(200, 1500, (2, 8, 8, 4)).astype(np.float32)
    np.savez(tmp_path / "in.npz", pan=pan, ms=ms)
    files = [str(tmp_path / name) for name in ("fuse.rsfusion", "in.npz", "out.npy")]
    subprocess.run([sys.executable, "-c", ALONE, *files], check=True)
    fused = np.clip(np.load(files[2]), 0, 2047)
    np.testing.assert_allclose(fused, fuser(pan, ms), atol=0.01)


def test_the_program_is_that_of_its_platform_whatever_the_host(tmp_path):
    """A file for GPUs that a CPU writes has the loops of the accelerator's formulations."""

    model = rsf.create_model("u2net", num_bands=4, dim=16)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")

    def loops(platform, name):
        path = tmp_path / name
        export_fuser(fuser, path, tile=32, platforms=(platform,))
        program = jax.export.deserialize(zipfile.ZipFile(path).read("fuse.stablehlo"))
        functions = re.split(r"func\.func \w+ (?=@)", program.mlir_module())[1:]
        bodies = {re.match(r"@\w+", body)[0]: body for body in functions}

        def loops_of(name):
            called = re.findall(r"\bcall (@\w+)", bodies[name])
            return bodies[name].count("stablehlo.while") + sum(map(loops_of, called))

        return loops_of("@main")

    with accelerator_branches():
        expected = loops("cpu", "accelerator")
    # Attention, five times: blocks of queries within blocks of keys, on CPUs within heads.
    assert loops("cuda", "cuda") == expected == 10
    assert loops("cpu", "cpu") == 15


def test_half_precision_holds_no_call_of_cudnn(tmp_path, monkeypatch):
    """jax refuses to store such a call, because a later jax need not understand it."""
    library = "jax._src.cudnn.fused_attention_stablehlo"
    monkeypatch.setattr(f"{library}.check_cudnn_version", lambda: 91000)
    model = rsf.create_model("u2net", num_bands=4, dim=16, dtype=jnp.bfloat16)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
    export_fuser(fuser, tmp_path / "fuse.rsfusion", tile=32, platforms=("cuda",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 30}, "multiple of the ratio 4"),
        ({"tile": 32, "platforms": ("gpu",)}, "'gpu' is unknown"),
        ({"tile": 32, "exists": True}, "exists already"),
    ],
)
def test_refused(tmp_path, fuser, options, message):
    path = tmp_path / "fuse.rsfusion"
    if options.pop("exists", False):
        path.write_text("")
    with pytest.raises(rsf.UserError, match=message):
        export_fuser(fuser, path, **options)
