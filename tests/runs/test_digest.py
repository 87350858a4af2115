"""Bits that change after a checkpoint was saved are noticed, wherever they lie."""

import json
import random
import warnings

import jax
import numpy as np
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.models import init_params
from rsfusion_jax.runs.card import network_card
from rsfusion_jax.runs.checkpoint import Checkpoints
from rsfusion_jax.runs.digest import digest_of_arrays


def test_flipped_bits_never_give_other_numbers(tmp_path):
    model = rsf.create_model("fusionnet", num_bands=3)
    params = init_params(model, jax.random.key(5))
    card = network_card(model, {"name": "fusionnet"}, sensor=None, max_value=999.0, ms_phase=1.5)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_best(7, params, card, {"ERGAS": 1.25})
    checkpoints.close()
    whole = jax.tree.map(np.asarray, params)
    draw = random.Random(3)
    files = sorted(p for p in (tmp_path / "best").rglob("*") if p.is_file() and p.stat().st_size)
    noticed = 0
    for path in [*files, *draw.choices(files, [p.stat().st_size for p in files], k=12)]:
        content = path.read_bytes()
        place = draw.randrange(len(content))
        changed = content[place] ^ (1 << draw.randrange(8))
        path.write_bytes(content[:place] + bytes([changed]) + content[place + 1 :])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fuser = rsf.load(tmp_path)
        except rsf.UserError:
            noticed += 1
        else:
            assert fuser.max_value == 999 and fuser.ms_phase == 1.5
            jax.tree.map(np.testing.assert_array_equal, fuser.variables["params"], whole)
        path.write_bytes(content)
    assert noticed > 10


def test_checkpoints_without_digests_are_read(tmp_path):
    model = rsf.create_model("pnn", num_bands=4)
    card = network_card(model, {"name": "pnn"}, sensor=None, max_value=1.0, ms_phase=2.0)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_best(0, init_params(model, jax.random.key(0)), card, {})
    checkpoints.close()
    path = tmp_path / "best/0/card/metadata"
    older = {k: v for k, v in json.loads(path.read_text()).items() if k != "digests"}
    path.write_text(json.dumps(older))
    assert rsf.load(tmp_path).model == model


@pytest.mark.parametrize("change", ["value", "shape", "dtype", "name"])
def test_a_digest_is_of_everything(change):
    tree = {"a": np.arange(6.0, dtype=np.float32), "key": jax.random.key(3)}
    other = {
        "value": tree | {"key": jax.random.key(4)},
        "shape": tree | {"a": tree["a"].reshape(2, 3)},
        "dtype": tree | {"a": tree["a"].view(np.int32)},
        "name": {"b": tree["a"], "key": tree["key"]},
    }[change]
    assert digest_of_arrays(tree) == digest_of_arrays(dict(tree)) != digest_of_arrays(other)
