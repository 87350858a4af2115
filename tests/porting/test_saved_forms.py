"""PyTorch weights in the forms that training programs leave, and damaged ones."""

import shutil
import warnings

import jax
import numpy as np
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.models import init_params
from rsfusion_jax.porting import read_state_dict, to_torch, write_state_dict

torch = pytest.importorskip("torch", reason="needs the extra [torch]")
BANDS = 5


@pytest.fixture(scope="module")
def weights():
    """DiCNN's tensors by the authors' names."""
    model = rsf.create_model("dicnn", num_bands=BANDS)
    return to_torch(model, {"params": init_params(model, jax.random.key(3))})


def _tensors(weights, prefix="", offset=0.0):
    return {prefix + name: torch.from_numpy(value + offset) for name, value in weights.items()}


def _assert_loads(path, weights, key=None):
    fuser = rsf.load_torch("dicnn", path, num_bands=BANDS, max_value=1023, key=key)
    loaded = to_torch(fuser.model, fuser.variables)
    assert loaded.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(loaded[name], value)


@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [
        ("", "_orig_mod."),
        ("", "module._orig_mod."),
        ("state_dict", "model."),
        ("state_dict", "network.module."),
        ("model_state_dict", ""),
        ("params", "net."),
        ("model.state_dict", ""),
    ],
)
def test_wrapped_and_prefixed(weights, tmp_path, wrapper, prefix):
    content = _tensors(weights, prefix)
    content[f"{prefix}conv2.total_params"] = torch.zeros(1)
    for name in reversed(wrapper.split(".")) if wrapper else ():
        content = {name: content, "epoch": 7, "optimizer": {"state": {0: {"step": 2}}}}
    torch.save(content, tmp_path / "w.pth")
    _assert_loads(tmp_path / "w.pth", weights)


def test_compiled_part(weights, tmp_path):
    content = {n.replace("conv2.", "conv2._orig_mod."): v for n, v in _tensors(weights).items()}
    torch.save(content, tmp_path / "w.pth")
    _assert_loads(tmp_path / "w.pth", weights)


def test_averaged_model_of_pytorch(weights, tmp_path):
    content = _tensors(weights, "module.") | {"n_averaged": torch.tensor(12)}
    torch.save(content, tmp_path / "swa.pt")
    _assert_loads(tmp_path / "swa.pt", weights)


def test_average_beside_model_is_told_and_chosen_by_key(weights, tmp_path):
    trained = {name: value - 2 for name, value in weights.items()}
    average = _tensors(weights, "ema_model.") | _tensors(weights, "online_model.", 5)
    for name, entry in (("ema", average), ("state_dict_ema", _tensors(weights, "module."))):
        path = tmp_path / f"{name}.pth"
        torch.save({"model": _tensors(trained, "_orig_mod."), name: entry}, path)
        with pytest.warns(UserWarning, match=f"moving average, '{name}.*--key"):
            _assert_loads(path, weights)
        _assert_loads(path, trained, key="model")
    _assert_loads(tmp_path / "ema.pth", {n: v + 5 for n, v in weights.items()}, "ema.online_model")


def test_key_by_prefix_where_other_modules_are_in_the_file(weights, tmp_path):
    content = {"state_dict": _tensors(weights, "student.") | {"loss.vgg": torch.ones(3)}}
    path = tmp_path / "w.ckpt"
    torch.save(content, path)
    with pytest.raises(rsf.UserError, match=r"loss\.vgg"):
        rsf.load_torch("dicnn", path, num_bands=BANDS, max_value=1023)
    with pytest.raises(rsf.UserError, match="no weights under the key 'teacher'; it has"):
        rsf.load_torch("dicnn", path, num_bands=BANDS, max_value=1023, key="teacher")
    target = tmp_path / "ported"
    options = ["--model=dicnn", f"--num-bands={BANDS}", "--max-value=1023"]
    run(["port", str(path), str(target), *options, "--key=state_dict.student"])
    fuser = rsf.load(target)
    np.testing.assert_array_equal(
        to_torch(fuser.model, fuser.variables)["conv3.bias"], weights["conv3.bias"]
    )


def test_safetensors_both_ways(weights, tmp_path):
    files = pytest.importorskip("safetensors.torch", reason="needs the extra [torch]")
    files.save_file(_tensors(weights, "module."), tmp_path / "w.safetensors")
    _assert_loads(tmp_path / "w.safetensors", weights)
    write_state_dict(tmp_path / "back.safetensors", weights)
    back = files.load_file(tmp_path / "back.safetensors")
    for name, value in weights.items():
        np.testing.assert_array_equal(back[name].numpy(), value)
    half = {name: value.bfloat16() for name, value in _tensors(weights).items()}
    files.save_file(half, tmp_path / "half.safetensors")
    read = read_state_dict(tmp_path / "half.safetensors")
    for name, value in half.items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], value.float().numpy())
    content = (tmp_path / "w.safetensors").read_bytes()
    for damaged in (content[:5], content[:-9], content[:20] + b"\xff" + content[21:]):
        (tmp_path / "bad.safetensors").write_bytes(damaged)
        with pytest.raises(rsf.UserError, match="cannot be read as a safetensors file"):
            read_state_dict(tmp_path / "bad.safetensors")


def test_damage_is_refused(weights, tmp_path):
    path, bad = tmp_path / "w.pth", tmp_path / "bad.pth"
    torch.save(_tensors(weights), path)
    content = path.read_bytes()
    rng = np.random.default_rng(11)
    refused, count = 0, 25
    for place in rng.integers(len(content), size=count):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        bad.write_bytes(flipped)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read = read_state_dict(bad)
        except rsf.UserError:
            refused += 1
            continue
        for name, value in weights.items():  # a bit that nothing depends on
            np.testing.assert_array_equal(read[name], value)
    assert refused > count // 2


def test_damage_of_the_old_format_is_one_sentence(weights, tmp_path):
    """Files from before PyTorch 1.6 have no checksums: only a broken structure is noticed."""
    path, bad = tmp_path / "old.pth", tmp_path / "bad.pth"
    torch.save(_tensors(weights), path, _use_new_zipfile_serialization=False)
    _assert_loads(path, weights)
    content, rng = path.read_bytes(), np.random.default_rng(23)
    for index in range(60):
        place = int(rng.integers(len(content) if index % 2 else 2000))
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        bad.write_bytes(flipped if index % 3 else content[:place])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read_state_dict(bad)
        except rsf.UserError as error:
            assert "\n" not in str(error)


def test_saved_without_checksums(weights, tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(_tensors(weights), tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    _assert_loads(tmp_path / "w.pth", weights)
    shutil.copy(tmp_path / "w.pth", tmp_path / "w.bin")  # the suffix does not matter
    _assert_loads(tmp_path / "w.bin", weights)
