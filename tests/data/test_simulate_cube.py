"""Hyperspectral cubes to sets with a coarse cube and a guide: blur, phase, response, round trip."""

import json

import h5py
import numpy as np
import pytest

from rsfusion_jax.cli.main import run
from rsfusion_jax.data.simulation.psf import PSFS, Psf, coarse_phase, observe
from rsfusion_jax.data.simulation.srf import band_centres, spectral_response
from rsfusion_jax.data.simulation.wald import simulate
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import imresize, interp23
from rsfusion_jax.sensors import get_sensor

pytestmark = pytest.mark.filterwarnings("error::rsfusion_jax.data.stored.check.DataWarning")

CAVE = get_sensor("cave")


def cube(rows=24, columns=32, bands=31, seed=0):
    """Fractions that vary smoothly along the spectrum, float32."""
    random = np.random.default_rng(seed)
    mixing = random.random((4, bands)).cumsum(axis=1) / bands
    return (random.random((rows, columns, 4)) @ mixing / 2.5).astype(np.float32)


def written(folder, image, *options):
    np.save(folder / "cube.npy", image)
    out = folder / "set.h5"
    run(["simulate", str(folder / "cube.npy"), str(out), *options])
    with h5py.File(out) as file:
        arrays = {key: np.moveaxis(array[()], 1, -1) for key, array in file.items()}
        attributes = dict(file.attrs)
    return out, arrays, attributes, json.loads(attributes["provenance"])


def blurred_by_hand(image, psf, ratio, phase):
    """Each coarse pixel as a weighted sum over the fine ones around it."""
    half = (psf.size - 1) / 2
    height, width, _ = image.shape
    low = np.zeros((height // ratio, width // ratio, image.shape[2]))
    for i, j in np.ndindex(low.shape[:2]):
        centre = ratio * np.array([i, j]) + phase
        total = 0
        for y in np.arange(centre[0] - half, centre[0] + half + 1):
            for x in np.arange(centre[1] - half, centre[1] + half + 1):
                distance = np.hypot(y - centre[0], x - centre[1])
                weight = 1 if psf.name == "box" else np.exp(-(distance**2) / (2 * psf.sigma**2))
                row, column = (int(np.clip(v, 0, n - 1)) for v, n in ((y, height), (x, width)))
                low[i, j] += weight * image[row, column]
                total += weight
        low[i, j] /= total
    return low


@pytest.mark.parametrize(
    ("psf", "ratio", "centred"),
    [
        (Psf("gaussian", 0.5, 3), 4, False),
        (Psf("gaussian", 2.0, 8), 8, True),
        (Psf("gaussian"), 4, True),
        (Psf("gaussian"), 3, False),
        (Psf("box"), 4, True),
        (Psf("box"), 3, False),
    ],
)
def test_blur_equals_its_definition(psf, ratio, centred):
    image = np.random.default_rng(0).random((24, 24, 2))
    found = observe(image, psf, ratio, gains=0.3, centred=centred)
    psf = psf.resolved(ratio, centred)
    expected = blurred_by_hand(image, psf, ratio, coarse_phase(ratio, centred))
    np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("name", PSFS)
@pytest.mark.parametrize("ratio", [2, 3, 4, 8])
@pytest.mark.parametrize("centred", [False, True])
def test_coarse_pixels_lie_where_the_phase_says(name, ratio, centred):
    if name == "box" and not centred and ratio % 2 == 0:
        with pytest.raises(UserError, match="a centred phase"):
            Psf(name).resolved(ratio, centred)
        return
    count = 48
    fine = np.arange(count * ratio, dtype=float)
    ramp = (fine[:, None] + 2 * fine)[..., None]
    low = observe(ramp, Psf(name), ratio, gains=0.3, centred=centred)
    level = observe(np.ones_like(ramp), Psf(name), ratio, gains=0.3, centred=centred)
    where = ratio * np.arange(count) + coarse_phase(ratio, centred)
    inside = np.s_[16:-16, 16:-16, 0]  # far from the replicated border
    expected = (where[:, None] + 2 * where)[inside[:2]]
    np.testing.assert_allclose((low / level)[inside], expected, rtol=3e-9)


@pytest.mark.parametrize("phase", ["decimated", "centred"])
@pytest.mark.parametrize("psf", ["gaussian", "mtf"])
def test_round_trip(tmp_path, phase, psf):
    image = cube()
    options = ["--sensor=cave", "--srf=nikon_d700", f"--phase={phase}", f"--psf={psf}"]
    out, _, attributes, provenance = written(tmp_path, image, *options, "--patch=whole")
    source = open_set(out, sensor="cave")  # no DataWarning: lms passes through ms, or is centred
    assert (source.info.guide_bands, source.info.max_value) == (3, 1)
    assert source.info.ms_phase == attributes["ms_phase"] == (1.5 if phase == "centred" else 2)
    assert attributes["psf"] == psf and attributes["srf"] == "nikon_d700"
    if psf == "gaussian":
        assert attributes["psf_sigma"] == pytest.approx(4 / 2.3548, rel=1e-4)
        assert attributes["psf_size"] == (12 if phase == "centred" else 13)
    sample = source[0]
    response = np.array(provenance["srf"]["weights"])
    assert response.shape == (31, 3)
    np.testing.assert_array_equal(sample["gt"], image)
    guide = (image.astype(np.float64) @ response).astype(np.float32)
    np.testing.assert_array_equal(sample["pan"], guide)
    expected = simulate(
        None, image, sensor="cave", psf=psf, centred=phase == "centred", srf=response
    )
    for key in ("ms", "lms", "pan"):
        np.testing.assert_array_equal(sample[key], expected[key])
    enlarge = interp23 if phase == "decimated" else lambda low, r: imresize(low, image.shape[:2])
    np.testing.assert_array_equal(sample["lms"], enlarge(sample["ms"], 4))


def test_counts_splits_and_nodata(tmp_path):
    image = np.round(60000 * cube(40, 160)).astype(np.uint16)
    image[:8, :8] = 0  # a corner without data
    np.save(tmp_path / "cube.npy", image)
    command = ["simulate", str(tmp_path / "cube.npy"), str(tmp_path / "set.h5"), "--sensor=cave"]
    command += ["--srf=rgb", "--psf=box", "--phase=centred", "--ratio=8", "--patch=16"]
    run([*command, "--split=0.5,0,0.5"])
    for name, count, columns in (("train", 7, slice(0, 64)), ("test", 8, slice(96, 160))):
        source = open_set(tmp_path / f"set_{name}.h5", sensor="cave", ratio=8)
        assert len(source) == count and source.info.max_value == 65535
        own = image[:, columns].astype(np.float64)
        blocks = own.reshape(5, 8, 8, 8, 31).mean(axis=(1, 3)) / 65535
        for sample in (source[index] for index in range(count)):
            gaps = [
                np.abs(sample["ms"] - blocks[r : r + 2, c : c + 2]).max()
                for r in (0, 2)
                for c in range(0, 8, 2)
            ]
            assert min(gaps) < 1e-6


def test_a_cube_without_sensor(tmp_path):
    image = np.round(5000 * cube(16, 16, 20)).astype(np.uint16)
    options = ["--srf=uniform:400-500,500-600", "--wavelengths=400:600", "--patch=whole"]
    out, arrays, attributes, provenance = written(tmp_path, image, *options, "--max-value=5000")
    assert provenance["srf"]["wavelengths"] == np.linspace(400, 600, 20).tolist()
    np.testing.assert_array_equal(
        arrays["pan"][0, ..., 1], image[..., 10:].mean(axis=-1).astype(np.float32)
    )
    source = open_set(out, sensor={"bands": 20, "mtf_ms": 0.3})
    assert source.info.guide_bands == 2 and attributes["sensor"] == "custom"


# --- responses -----------------------------------------------------------------------------------


def test_named_responses():
    centres = band_centres(CAVE)
    assert centres == [*range(400, 701, 10)] and band_centres(get_sensor("wv3")) is None
    nikon = spectral_response("nikon_d700", 31, centres).weights
    assert centres[int(nikon[:, 0].argmax())] == 610  # red, green, blue
    assert nikon[21, 0] == pytest.approx(22 / 209) and nikon[6, 2] == pytest.approx(30 / 200)
    assert nikon[15, 1] == pytest.approx(20 / 164)
    for choice in ("nikon_d700", "rgb", "msi4", "gaussian:450-520,520-600", "uniform:450-520"):
        grid = np.linspace(420, 860, 45)
        response = spectral_response(choice, 45, grid)
        assert response.sha256 is None and response.name == choice
        np.testing.assert_allclose(response.weights.sum(axis=0), 1)
        assert (response.weights >= 0).all()
    colours = grid @ spectral_response("rgb", 45, grid).weights
    assert colours[0] > colours[1] > colours[2]
    uniform = spectral_response("uniform:420-440", 45, grid).weights[:, 0]
    np.testing.assert_allclose(uniform, [1 / 3] * 3 + [0] * 42)
    bell = spectral_response("gaussian:600-700", 45, grid).weights[:, 0]
    at = dict(zip(grid, bell, strict=True))
    assert at[600] == pytest.approx(at[650] / 2) and at[700] == pytest.approx(at[650] / 2)
    assert spectral_response("ikonos", 45, grid).weights.shape == (45, 4)


@pytest.mark.parametrize("suffix", ["csv", "npy"])
def test_a_response_of_ones_own_is_taken_as_it_is(tmp_path, suffix):
    image, weights = cube(), np.random.default_rng(1).random((31, 2))
    path = tmp_path / f"camera.{suffix}"
    np.save(path, weights) if suffix == "npy" else np.savetxt(path, weights, "%.17g", ",")
    options = ["--sensor=cave", f"--srf={path}", "--patch=whole", "--max-value=40"]
    _, arrays, attributes, provenance = written(tmp_path, image, *options)
    assert attributes["srf"] == path.name and len(provenance["srf"]["sha256"]) == 64
    expected = (image.astype(np.float64) @ weights).astype(np.float32)
    np.testing.assert_array_equal(arrays["pan"][0], expected)


def test_mistakes(tmp_path, capsys):
    np.save(tmp_path / "cube.npy", cube())
    np.save(tmp_path / "pan.npy", cube(96, 128, 1)[..., 0])
    np.save(tmp_path / "short.npy", np.ones((30, 3)))
    (tmp_path / "words.csv").write_text("blue,green\n")
    image, out = str(tmp_path / "cube.npy"), str(tmp_path / "set.h5")

    def say(words, *options, images=(image,), sensor="--sensor=cave"):
        before = sorted(tmp_path.iterdir())
        with pytest.raises(SystemExit) as stop:
            run(["simulate", *images, out, *([sensor] if sensor else []), *options])
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert stop.value.code == 2 and all(word in message for word in words), message
        assert sorted(tmp_path.iterdir()) == before

    say(["one image alone", "--srf"])
    say(["--srf=rgb", "hyperspectral cube"], "--srf=rgb", images=(str(tmp_path / "pan.npy"), image))
    say(["--full-resolution"], "--srf=rgb", "--full-resolution")
    say(["3 images"], "--srf=rgb", images=(image, image, image))
    say(["--sensor"], images=(image, image), sensor=None)
    say(["'canon' is unknown", "nikon_d700"], "--srf=canon")
    say(["--wavelengths"], "--srf=rgb", sensor=None)
    say(["channel 1", "400 to 700"], "--srf=uniform:450-520,900-950")
    say(["no intervals"], "--srf=uniform:450")
    say(["no intervals"], "--srf=uniform:520-450")
    say(["30", "31 rows"], f"--srf={tmp_path / 'short.npy'}")
    say(["words.csv", "one row per band"], f"--srf={tmp_path / 'words.csv'}")
    say(["gone.csv", "does not exist"], "--srf=gone.csv")
    say(["no sigma"], "--srf=rgb", "--psf-sigma=1")
    say(["no size"], "--srf=rgb", "--psf-size=3")
    say(["sigma -1"], "--srf=rgb", "--psf=gaussian", "--psf-sigma=-1")
    say(["size 0"], "--srf=rgb", "--psf=gaussian", "--psf-size=0")
    say(["size 4", "odd"], "--srf=rgb", "--psf=gaussian", "--psf-size=4")
    say(["400-700"], "--srf=rgb", "--wavelengths=400-700")
    say(["size 3", "even"], "--srf=rgb", "--psf=gaussian", "--psf-size=3", "--phase=centred")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"srf": None}, "give pan, or srf"),
        ({"pan": np.zeros((96, 128, 1))}, "give pan, or srf"),
        ({"srf": np.zeros((3, 31))}, "one row for each of the 31 bands"),
        ({"psf": "airy"}, "mtf, gaussian, box"),
    ],
)
def test_mistakes_of_calls(changes, words):
    arguments = {"pan": None, "ms": cube(), "sensor": "cave", "srf": np.ones((31, 3))}
    with pytest.raises(UserError, match=words):
        simulate(**{**arguments, **changes})


def test_a_real_cube_of_jasper_ridge(shared, tmp_path):
    import scipy.io

    stored = scipy.io.loadmat(shared / "data" / "hsi_jasperridge_R198.mat")
    image = stored["Y"].T.reshape(100, 100, 198, order="F")
    options = ["--srf=wv2", "--wavelengths=380:2500", "--max-value=5500", "--patch=whole"]
    options += ["--psf=gaussian", "--phase=centred", "--ratio=5"]
    out, *_ = written(tmp_path, image, *options)
    sample = open_set(out, sensor={"bands": 198, "mtf_ms": 0.3}, ratio=5)[0]
    assert sample["ms"].shape == (20, 20, 198) and sample["pan"].shape == (100, 100, 8)
    means = [sample[key].mean(axis=(0, 1)) for key in ("gt", "ms")]
    np.testing.assert_allclose(*means, rtol=0.05)
