"""Damaged JSON of run folders: refused in a sentence, or done without, never a traceback."""

import json
import warnings

import jax
import ml_collections
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.models import init_params
from rsfusion_jax.runs.card import network_card
from rsfusion_jax.runs.checkpoint import Checkpoints
from rsfusion_jax.runs.folder import finished_step
from rsfusion_jax.runs.lock import RunLock
from rsfusion_jax.training.writers import RunLog

DAMAGE = {
    "a number": b"7",
    "a list": b"[]",
    "nothing": b"",
    "cut off": b'{"step',
    "not UTF-8": b"\xfe\x00",
    "deep": b"[" * 100_000,
    "a huge number": b'{"step": ' + b"9" * 10_000 + b"}",
    "wrong types": b'{"step": "x", "pid": [], "host": 3, "network": 1, "scale": 2}',
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    model = rsf.create_model("pnn", num_bands=4)
    card = network_card(model, {"name": "pnn"}, sensor=None, max_value=255.0, ms_phase=2.0)
    checkpoints = Checkpoints(folder)
    checkpoints.save_best(0, init_params(model, jax.random.key(0)), card, {})
    checkpoints.close()
    return folder


def _change(card, part, **entries):
    return json.dumps({**card, part: {**card[part], **entries}}).encode()


@pytest.mark.parametrize("case", [*DAMAGE, "no scale", "format", "max_value", "unknown", "field"])
def test_a_damaged_card_is_named(run, case):
    path = run / "best/0/card/metadata"
    whole = path.read_bytes()
    card = json.loads(whole)
    others = {
        "no scale": json.dumps({k: v for k, v in card.items() if k != "scale"}).encode(),
        "format": json.dumps({**card, "format": "new"}).encode(),
        "max_value": _change(card, "scale", max_value="many"),
        "unknown": _change(card, "scale", colour="red"),
        "field": _change(card, "network", depth=3),
    }
    path.write_bytes((DAMAGE | others)[case])
    try:
        with warnings.catch_warnings(), pytest.raises(rsf.UserError, match=r"damaged|no field"):
            warnings.simplefilter("ignore")
            rsf.load(run)
    finally:
        path.write_bytes(whole)
    assert rsf.load(run).max_value == 255


@pytest.mark.parametrize("case", DAMAGE)
def test_other_files_of_a_run_folder(tmp_path, case):
    config = ml_collections.ConfigDict({"a": 1})
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "finished.json").write_bytes(DAMAGE[case])
    assert finished_step(tmp_path, config) is None
    (tmp_path / "lock").write_bytes(DAMAGE[case])
    RunLock(tmp_path).close()
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + DAMAGE[case] + b'\n{"step": 2}\n')
    RunLog(tmp_path, 2).close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    (tmp_path / "config.json").write_bytes(DAMAGE[case])
    with pytest.raises(rsf.UserError, match=r"config\.json cannot be read|another config"):
        finished_step(tmp_path, config)
