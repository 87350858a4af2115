"""`rsfusion fuse` with a diffusion network: a scene from file to file is what one draw gives."""

import contextlib

import jax
import numpy as np
import pytest
import rasterio
from scene_files import counts, left_behind, read, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.diffusion.noise import CELL, noise_field, noise_part
from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.models import init_params
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.work import drawing
from rsfusion_jax.scenes.work.field import Field

TINY = {"inner_channel": 8, "channel_mults": (1,), "attn_res": (), "res_blocks": 1}
OPTIONS = {"samples": 0, "shift": "none", "quiet": True, "dtype": "float32"}
OPTIONS |= {"tile": 16, "block": 64}
SPOT = (0.5, 0.5)  # MS begins here on PAN where the phase is that of the field's sets


@pytest.fixture(scope="module")
def fuser():
    model = rsf.create_model("ddif", num_bands=4, image_size=16, **TINY)
    params = init_params(model, jax.random.key(0))
    process = {"steps": 20, "sampling_steps": 3}
    return rsf.Fuser(model, {"params": params}, sensor="qb", diffusion=process)


def fused(fuser, folder, pair, **options):
    out = folder / "out.tif"
    rsf.fuse_scene(*pair, out, fuser=fuser, overwrite=True, **{**OPTIONS, **options})
    beside = ["std.tif"] if "std" in options else []
    assert left_behind(folder) == ["ms.tif", "out.tif", "pan.tif", *beside]
    return read(out)


@pytest.mark.parametrize(
    ("fields", "options", "drawn"),
    [
        ({"residual_scale": 0.5}, {"batch": 3}, {"sampler": "ddpm", "steps": 3, "seed": 5}),
        pytest.param({}, {}, {"sampler": "ddpm", "steps": 3}, marks=pytest.mark.slow),
        pytest.param({}, {}, {"sampler": "dpm3", "steps": 5}, marks=pytest.mark.slow),
        pytest.param({"self_condition": "x0"}, {}, {"seed": 1}, marks=pytest.mark.slow),
    ],
)
def test_scene_equals_the_image(fuser, tmp_path, fields, options, drawn):
    """One noise, whatever the blocks and batches: float32, of full scale 2047."""
    pan, ms = counts(20, 20)
    pair = write_pair(tmp_path, pan, ms, offset=SPOT)
    process = {"steps": 20, "sampling_steps": 3} | fields
    fuser = rsf.Fuser(fuser.model, fuser.variables, sensor="qb", diffusion=process)
    image, stored = fused(fuser, tmp_path, pair, extent="pan", **options, **drawn)
    np.testing.assert_allclose(image, fuser(pan, ms, tile=16, **drawn), atol=0.05)
    assert stored.crs.to_epsg() == 32642
    assert image.std() > 50


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 0.5])
def test_ensemble(fuser, tmp_path, scale):
    pan, ms = counts(20, 20)
    process = {"steps": 20, "sampling_steps": 3, "residual_scale": scale}
    fuser = rsf.Fuser(fuser.model, fuser.variables, sensor="qb", diffusion=process)
    pair, std = write_pair(tmp_path, pan, ms, offset=SPOT), tmp_path / "std.tif"
    image, _ = fused(fuser, tmp_path, pair, extent="pan", draws=3, std=std)
    mean, expected = fuser(pan, ms, tile=16, samples=3, return_std=True)
    np.testing.assert_allclose(image, mean, atol=0.05)
    np.testing.assert_allclose(read(std)[0], expected, atol=0.05)


def test_holes_and_type_are_kept(fuser, tmp_path):
    pan, ms = counts(12, 12)
    ms[3:5, 4:6] = 0
    pair, std = write_pair(tmp_path, pan, ms, nodata=0), tmp_path / "std.tif"
    with rasterio.open(pair[1], "r+") as file:
        file.scales, file.offsets, file.descriptions = (0.5,) * 4, (9.0,) * 4, tuple("bgrn")
    image, stored = fused(fuser, tmp_path, pair, dtype=None, draws=2, std=std)
    assert stored.scales == (0.5,) * 4 and stored.offsets == (9.0,) * 4
    assert stored.nodata == 0 and stored.dtypes == ("uint16",) * 4
    assert not image[12:20, 16:24].any() and image[30:, 30:].all()
    spread, stored = read(std)
    assert stored.dtypes == ("float32",) * 4 and stored.crs.to_epsg() == 32642
    np.testing.assert_array_equal(np.isfinite(spread), image > 0)
    assert stored.scales == (0.5,) * 4 and stored.offsets == (0.0,) * 4  # of a difference
    assert stored.descriptions == tuple(f"{name}, standard deviation" for name in "bgrn")


def test_interrupted_draw_goes_on(fuser, tmp_path, monkeypatch):
    pan, ms = counts(8, 12)
    pair = write_pair(tmp_path, pan, ms, offset=SPOT)
    whole, _ = fused(fuser, tmp_path, pair, draws=2)
    step, calls = drawing._step, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 5:
            raise KeyboardInterrupt
        step(*given)

    monkeypatch.setattr(drawing, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fused(fuser, tmp_path, pair, draws=2)
    with pytest.raises(rsf.UserError, match="another seed"):
        fused(fuser, tmp_path, pair, draws=2, seed=3, resume=True)
    std = tmp_path / "std.tif"
    image, _ = fused(fuser, tmp_path, pair, draws=2, std=std, resume=True)
    assert len(calls) == 7
    np.testing.assert_array_equal(image, whole)
    assert 1 < read(std)[0].mean() < 2047


def test_a_damaged_state_is_drawn_anew(tmp_path, capsys):
    path = tmp_path / ".out.tif.field"
    log, run = path.with_name(path.name + ".json"), {"seed": 1, "part": [1, 2.5]}

    def opened(resume):
        process = Diffusion(steps=20, sampling_steps=4)
        field = Field(path, (6, 5), 2, process, Options())
        with contextlib.suppress(KeyboardInterrupt), field.opened(run, resume):
            done = field.done
            while field.done < 2:
                state = np.full((6, 5, 2 * field.planes), field.done + 0.5, np.float32)
                field.write(slice(0, 6), slice(0, 5), state)
                field.step_done()
            raise KeyboardInterrupt
        return done

    assert opened(False) == 0 and opened(True) == 2
    content, noted = path.read_bytes(), log.read_bytes()
    draw, found = np.random.default_rng(0), {0: 0, 2: 0}
    for index in range(60):
        path.write_bytes(content)
        log.write_bytes(noted)
        victim = path if index < 40 else log
        damaged = bytearray(victim.read_bytes())
        place = draw.integers(len(damaged))
        damaged[place] ^= 1 << draw.integers(8)
        victim.write_bytes(damaged)
        capsys.readouterr()
        done = opened(True)
        # Two steps are done: the next reads the first half of the file and writes the other.
        harmless = index < 40 and place >= len(content) // 2
        assert done == (2 if harmless else 0), (victim, place)
        found[done] += 1
    assert min(found.values()) > 10
    path.write_bytes(content[:-1])
    log.write_bytes(noted)
    assert opened(True) == 0


def test_options_are_checked(fuser, tmp_path, capsys):
    pair = write_pair(tmp_path, *counts(8, 8), offset=SPOT)
    for options, words in (
        ({"steps": 0}, "--steps=0 must be at least 1"),
        ({"steps": 21}, "21 sampling steps"),
        ({"sampler": "euler"}, "'euler' is unknown"),
        ({"std": tmp_path / "std.tif"}, "--draws of at least 2"),
        ({"std": tmp_path / "out.tif", "draws": 2}, "is named for two outputs"),
        ({"shard": (1, 2)}, "in one process"),
        ({"tile": 18}, "--tile=18"),
    ):
        with pytest.raises(rsf.UserError, match=words):
            fused(fuser, tmp_path, pair, **options)
    flags = ["--method", "exp", "--seed", "1", "--quiet"]
    with pytest.raises(SystemExit):
        run(["fuse", *map(str, pair), str(tmp_path / "out.tif"), *flags])
    assert "--seed=1 is for diffusion networks" in capsys.readouterr().err
    assert left_behind(tmp_path) == ["ms.tif", "pan.tif"]


def test_noise_of_a_part():
    key, size = jax.random.key(2), (CELL + 9, 2 * CELL + 5)
    whole = np.asarray(noise_field(key, (1, *size, 3)))[0]
    rows, columns = slice(CELL - 3, CELL + 9), slice(7, 2 * CELL + 1)
    np.testing.assert_array_equal(noise_part(key, rows, columns, 3), whole[rows, columns])
    assert abs(whole.mean()) < 0.02 and abs(whole.std() - 1) < 0.02
    larger = np.asarray(noise_field(key, (1, 3 * CELL, 3 * CELL, 3)))[0]
    np.testing.assert_array_equal(larger[: size[0], : size[1]], whole)
    seen = whole.reshape(-1)
    assert len(np.unique(seen)) > 0.99 * seen.size
