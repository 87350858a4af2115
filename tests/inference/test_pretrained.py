"""Weights as a folder: there and back, by every name they have, and damaged."""

import json
import sys
import types

import numpy as np
import pytest
from noise import noise_like

import rsfusion_jax as rsf
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.evaluation.methods import find_method
from rsfusion_jax.models import abstract_params, create_model
from rsfusion_jax.training.start import initial_params


@pytest.fixture(scope="module")
def fuser():
    model = create_model("anysensor", num_bands=3, ratio=2, width=8, blocks=1)
    params = noise_like(abstract_params(model), np.random.default_rng(0))
    return rsf.Fuser(model, {"params": params}, max_value=1023, ms_phase=0.5)


@pytest.fixture
def folder(fuser, tmp_path):
    rsf.save_pretrained(fuser, tmp_path / "w", about="# Mine")
    return tmp_path / "w"


def _assert_same(loaded, fuser):
    assert loaded.model == fuser.model
    assert (loaded.max_value, loaded.ms_phase) == (1023, 0.5)
    flat, wanted = loaded.variables["params"], fuser.variables["params"]
    assert np.array_equal(flat["first"]["kernel"], wanted["first"]["kernel"])


def test_there_and_back(fuser, folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert (folder / "README.md").read_text() == "# Mine\n"
    for path in (folder, str(folder), folder / "model.safetensors"):
        _assert_same(rsf.load(path), fuser)
    with pytest.raises(rsf.UserError, match="exists"):
        rsf.save_pretrained(fuser, folder)


def test_a_card_of_ones_own_is_not_needed(fuser, tmp_path):
    rsf.save_pretrained(fuser, tmp_path / "w")
    assert "# AnySensor" in (tmp_path / "w" / "README.md").read_text()


def test_damage_is_noticed(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-7] ^= 4
    path.write_bytes(content)
    with pytest.raises(rsf.UserError, match="is damaged or belongs to another"):
        rsf.load(folder)
    path.write_bytes(content[:-100])
    with pytest.raises(rsf.UserError, match="cannot be read"):
        rsf.load(folder)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"network": {"name": "pnn"}}', '{"network": 3, "digest": "x"}']
)
def test_a_damaged_description(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(rsf.UserError, match="does not describe weights"):
        rsf.load(folder)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("scale", None),
        ("scale", [1]),
        ("scale", {"max_value": "a"}),
        ("scale", {"max_value": float("nan")}),
        ("scale", {"widths": 3}),
        ("diffusion", [1]),
    ],
)
def test_a_wrong_entry_of_a_description(folder, entry, value):
    config = json.loads((folder / "config.json").read_text())
    config[entry] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(rsf.UserError, match="does not describe weights"):
        rsf.load(folder)


def test_a_description_of_another_network(folder):
    config = json.loads((folder / "config.json").read_text())
    config["network"]["width"] = 16
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(rsf.UserError, match="does not hold the parameters"):
        rsf.load(folder)


def test_from_the_hub(fuser, folder, monkeypatch):
    """A stand-in for the hub's package: what it is asked for, and what its errors become."""
    asked = []

    def snapshot_download(name, *, revision, allow_patterns):
        asked.append((name, revision))
        if name == "no/such":
            raise OSError("404 Client Error")
        return str(folder)

    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    _assert_same(rsf.load("hf://me/mine"), fuser)
    _assert_same(rsf.load("hf://me/mine@v2"), fuser)
    assert asked == [("me/mine", None), ("me/mine", "v2")]
    for address, complaint in (("hf://no/such", "404"), ("hf://me", "no address on the hub")):
        with pytest.raises(rsf.UserError, match=complaint):
            rsf.load(address)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(rsf.UserError, match="needs the package huggingface_hub"):
        rsf.load("hf://me/mine")


def test_training_starts_from_it(fuser, folder):
    card = {"network": json.loads((folder / "config.json").read_text())["network"]}
    params = initial_params(str(folder), fuser.model, card)
    assert np.array_equal(params["last"]["bias"], fuser.variables["params"]["last"]["bias"])
    other = {"network": {**card["network"], "width": 4}}
    with pytest.raises(rsf.UserError, match="width=8"):
        initial_params(str(folder), fuser.model, other)


def test_tables_take_it_and_the_packaged_weights(folder):
    sensor = rsf.get_sensor({"name": "x", "bands": 3, "ratio": 2, "bit_depth": 10, "mtf_ms": 0.3})
    about = {"num_bands": 3, "guide_bands": 1, "ratio": 2, "max_value": 1023.0, "ms_phase": 0.5}
    info = SetInfo("set", sensor, **about, has_gt=True, pan_degradation=None)
    assert find_method(str(folder), info).label == "AnySensor"
    method = find_method("mine=default", info)
    assert method.label == "mine" and method.parameters == 76_198
