"""The reduced-resolution simulation against the toolbox's, and its phases."""

import numpy as np
import pytest

from rsfusion_jax.data.simulation.wald import PAN_DEGRADATIONS, simulate
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import mtf_kernel

SETS = {
    "ik_128": "ikonos",
    "ik_256": "ikonos",
    "wv2_128": "wv2",
    "wv3_32": "wv3",
    "ge1_128": "ge1",
    "qbsim_64": "qb",
}


@pytest.mark.parametrize("name", SETS)
def test_simulation_equals_the_toolbox(shared, name):
    golden = np.load(shared / "metrics" / f"rr_{name}.npz")
    scale = 2.0 ** int(golden["L"])
    pan, ms = golden["PAN"][..., None], golden["MS"]
    sample = simulate(pan, ms, sensor=SETS[name], wrap=True)
    np.testing.assert_array_equal(sample["gt"], ms)
    for key, theirs in {"pan": "PAN_LR", "ms": "MS_LR", "lms": "lms"}.items():
        expected = golden[theirs].reshape(sample[key].shape)
        # lms is stored as float32 in some sets: then compared as float32 stores it.
        ours = sample[key].astype(expected.dtype)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9 * scale, err_msg=key)
    mtf = simulate(pan, ms, sensor=SETS[name], pan_degradation="mtf")["pan"][..., 0]
    np.testing.assert_allclose(mtf, golden["PAN_MTF_D"], rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("ratio", [2, 3, 4, 6])
@pytest.mark.parametrize("degradation", PAN_DEGRADATIONS)
def test_pan_phase(ratio, degradation):
    """A ramp tells where each reduced PAN pixel looked."""
    count = 48
    sensor = {"bands": ["a"], "mtf_ms": [0.3], "mtf_pan": 0.15, "ratio": ratio}
    fine = np.arange(count * ratio, dtype=float)
    pan = (fine[:, None] + 2 * fine)[..., None]
    ms = np.ones((count, count, 1))
    reduced = simulate(pan, ms, sensor=sensor, ratio=ratio, pan_degradation=degradation)["pan"]
    phase = ratio // 2 if degradation == "mtf" else (ratio - 1) / 2
    gain = 0.3 if degradation == "as_ms" else 0.15
    total = 1.0 if degradation == "imresize" else mtf_kernel(gain, ratio).sum()
    centre = (ratio * np.arange(count) + phase)[16:-16]  # far from the replicated border
    expected = total * (centre[:, None] + 2 * centre)
    # The half-band taps sum to 1 - 4e-10 per axis.
    np.testing.assert_allclose(reduced[16:-16, 16:-16, 0], expected, rtol=2e-9)


@pytest.mark.parametrize("ratio", [2, 3, 4, 8])
def test_shapes_and_dtypes(ratio):
    random = np.random.default_rng(0)
    ms = random.random((ratio * 5, ratio * 7, 4), np.float32)
    pan = random.random((ratio * ms.shape[0], ratio * ms.shape[1], 2), np.float32)
    sample = simulate(pan, ms, sensor="gf2", mtf="ikonos", ratio=ratio, pan_degradation="mtf")
    assert {key: value.shape for key, value in sample.items()} == {
        "pan": (*ms.shape[:2], 2),
        "ms": (5, 7, 4),
        "lms": ms.shape,
        "gt": ms.shape,
    }
    assert {value.dtype for value in sample.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(
        sample["lms"][ratio // 2 :: ratio, ratio // 2 :: ratio], sample["ms"]
    )


def test_mtf_names_the_gains():
    random = np.random.default_rng(0)
    ms, pan = random.random((16, 16, 4)), random.random((64, 64, 1))
    foreign = simulate(pan, ms, sensor="gf2", mtf="ikonos")
    np.testing.assert_array_equal(foreign["ms"], simulate(pan, ms, sensor="ikonos")["ms"])
    assert np.abs(foreign["ms"] - simulate(pan, ms, sensor="gf2")["ms"]).max() > 1e-4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pan": np.zeros((60, 64, 1))}, "64x64"),
        ({"pan": np.zeros((64, 64))}, "pan has shape"),
        ({"ms": np.zeros((18, 16, 4)), "pan": np.zeros((72, 64, 1))}, "multiples of 4"),
        ({"sensor": "wv3"}, "8 bands"),
        ({"sensor": "wv9"}, "wv9"),
        ({"sensor": "wv9", "mtf": "ikonos"}, "wv9"),
        ({"pan_degradation": "bicubic"}, "imresize, mtf, mtf_centred"),
        ({"pan_degradation": "mtf"}, "no PAN gain"),
    ],
)
def test_mistakes_are_named(changes, words):
    arguments = {"pan": np.zeros((64, 64, 1)), "ms": np.zeros((16, 16, 4)), "sensor": "gf2"}
    with pytest.raises(UserError, match=words):
        simulate(**{**arguments, **changes})
