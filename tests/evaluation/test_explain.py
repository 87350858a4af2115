"""`rsfusion explain`: the pictures, and what a fused pixel depends on."""

import jax
import numpy as np
import pytest
from matplotlib.image import imread

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.data.stored.set_file import write_set
from rsfusion_jax.evaluation import explain_pictures
from rsfusion_jax.inference.influence import influence
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.ops.resample import interp23


def _fuser(seed):
    model = create_model("fusionnet", num_bands=4)
    return rsf.Fuser(model, {"params": init_params(model, jax.random.key(seed))})


def test_only_the_receptive_field_has_influence():
    draw = np.random.default_rng(2)
    pan, ms = draw.random((1, 48, 48, 1), np.float32), draw.random((1, 12, 12, 4), np.float32)
    of_pan, of_ms = influence(_fuser(0), pan, ms, (22, 26))
    assert of_pan.shape == (48, 48) and of_ms.shape == (12, 12)
    rows, columns = np.nonzero(of_pan)
    assert (rows.min(), rows.max()) == (12, 32) and (columns.min(), columns.max()) == (16, 36)
    assert np.unravel_index(of_ms.argmax(), of_ms.shape) == (5, 6)
    # The derivative by a small step.
    fuser, step = _fuser(0), np.zeros_like(pan)
    step[0, 22, 26] = 1e-2
    above, below = (
        fuser.model.apply(fuser.variables, pan + sign * step, ms, interp23(ms, 4))["fused"]
        for sign in (1, -1)
    )
    slope = (above - below)[0, 22, 26].sum() / 2e-2
    assert abs(abs(slope) / of_pan[22, 26] - 1) < 1e-2


def test_pictures_of_a_set(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(3)
    sides = {"gt": (32, 4), "ms": (8, 4), "pan": (32, 1)}
    samples = [
        {key: draw.random((s, s, c), np.float32) for key, (s, c) in sides.items()} for _ in range(2)
    ]
    for sample in samples:
        sample["lms"] = np.asarray(interp23(sample["ms"], 4))
    write_set(tmp_path / "set.h5", iter(samples), 2, {})
    for seed in (0, 1):
        rsf.save_pretrained(_fuser(seed), f"net{seed}")
    command = ["explain", "out", "--methods=a=net0,b=net1,gsa", "--data=set.h5", "--sensor=wv4"]
    command += ["--max-value=1"]
    run([*command, "--images=0,1", "--blocks=res2,conv3", "--pixel=5,30"])
    names = {f"{kind}_{i}.png" for kind in ("detail", "blocks", "influence") for i in (0, 1)}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert all(np.ptp(imread(tmp_path / "out" / name)[..., :3]) > 0.5 for name in names)
    capsys.readouterr()
    for wrong, sentence in (
        ("--images=2", "has images 0..1"),
        ("--blocks=conv9", "no block 'conv9'"),
        ("--pixel=32,0", "lies outside of PAN, 32x32"),
    ):
        with pytest.raises(SystemExit) as ended:
            run([*command[:1], "other", *command[2:], wrong])
        assert ended.value.code == 2 and sentence in capsys.readouterr().err
        assert not (tmp_path / "other").exists()


def test_details_without_ground_truth_are_drawn():
    lms = np.random.default_rng(1).random((12, 12, 3), np.float32)
    figure = explain_pictures.draw_details(
        {"lms": lms}, {"one": lms + 0.1, "two": lms - 0.1}, [0, 2]
    )
    assert [axis.get_title() for axis in figure.axes[:2]] == ["one", "two"]
    first = figure.axes[0].images[0].get_array()
    assert np.allclose(first, 0.1, atol=1e-6)


def test_attention_is_drawn_of_networks_that_have_one(monkeypatch):
    networks = {"other": _fuser(0), "mine": _fuser(1)}
    draw = np.random.default_rng(2)
    pan, ms = draw.random((1, 32, 32, 1), np.float32), draw.random((1, 8, 8, 4), np.float32)
    window, coarse = np.zeros((2, 32, 32), np.float32), np.full((1, 8, 8), 1 / 64, np.float32)
    window[:, 6:13, 27:32] = 1 / 35
    found = {
        "head/sa": (window, (9, 30)),
        "head/second": (coarse, (2, 7)),
        "block/sa": (coarse, (2, 7)),
    }
    weights = {networks["other"]: {}, networks["mine"]: found}
    monkeypatch.setattr(explain_pictures, "attention_weights", lambda fuser, *_: weights[fuser])
    figure = explain_pictures.draw_attention(networks, pan, ms, (9, 30))
    first, second = figure.axes[1:3]
    assert first.get_title() == "head/sa\n7x5 pixels of 1\n1.000 to 1.000"
    assert second.get_title() == "block/sa\n8x8 pixels of 4\n1.000 to 1.000"
    for axis, shape in ((first, (7, 5)), (second, (8, 8))):
        drawn = axis.images[0].get_array()  # equal attention
        assert drawn.shape == shape and np.abs(drawn - 1).max() < 1e-5
    assert first.lines[0].get_xydata().tolist() == [[3, 3]]
    assert explain_pictures.draw_attention({"other": networks["other"]}, pan, ms, (9, 30)) is None
