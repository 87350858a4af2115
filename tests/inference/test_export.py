"""`rsfusion export`: the file runs with jax alone and gives what the Fuser gives."""

import json
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

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


def test_runs_without_the_package(tmp_path, fuser):
    path = tmp_path / "fuse.rsfusion"
    export_fuser(fuser, path, tile=32, batch=2)
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
