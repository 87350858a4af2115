"""Weights as a folder: there and back, by every name they have, and damaged."""

import json
import sys
import types

import numpy as np
import pytest
from noise import noise_like

import rsfusion_jax as rsf
from rsfusion_jax.models import abstract_params, create_model


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
