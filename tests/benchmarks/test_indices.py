"""The study of indices: its degraded controls, its cameras and its ranks."""

import numpy as np
import pytest

from benchmarks.studies import index_methods, index_ranks, index_scenes
from rsfusion_jax import metrics
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.ops.resample import interp23


@pytest.fixture(scope="module")
def truth():
    scenes = SyntheticScenes("qb", num_scenes=1, size=64, split="test", resolution="full")
    return scenes[0]["truth_fr"]


@pytest.mark.parametrize("name", index_methods.DEGRADATIONS)
def test_every_control_is_worse_than_the_truth(truth, name):
    degraded = index_methods.DEGRADATIONS[name](truth, np.random.default_rng(3))
    assert metrics.q2n(truth, degraded, quantise=False) < 0.9999
    assert metrics.ergas(truth, degraded, ratio=4) > 0.05


def test_smoother_is_worse(truth):
    values = []
    for sigma in (0.5, 1.0, 2.0):
        blurred = index_methods._blurred(truth, sigma)
        values.append(float(metrics.q2n(truth, blurred, quantise=False)))
    assert 1 > values[0] > values[1] > values[2]


def test_a_rotated_hue_keeps_grey_and_only_turns_colours(truth):
    turned = index_methods.hue_rotated(truth, np.random.default_rng(0))
    mean = truth.mean(axis=(0, 1))
    grey, turned_grey = ((image / mean).mean(axis=-1) for image in (truth, turned))
    np.testing.assert_allclose(turned_grey, grey, atol=1e-5)
    assert metrics.sam(truth, turned) > 0.1


def test_held_out_cameras_differ_and_are_reproducible():
    first, again, second = (index_scenes.held_out_camera(number, 0) for number in (0, 0, 1))
    assert first == again
    assert (first.num_bands, second.num_bands) == (8, 4)
    assert first.wavelengths[:4] != second.wavelengths


def test_a_perfect_index_has_tau_one_and_prefers_nothing_to_the_truth():
    quality = np.array([0.1, 0.5, 0.3, 0.9, 0.7, 1.0])
    values = {name: sign * quality for name, sign in index_scenes.TRUE.items()}
    values |= {name: 0.9 - 0.8 * quality for name in index_scenes.INDICES}
    values["R-Q2n"] = quality - 0.001
    values["QNR"] = 1 - quality
    row = {"values": values, "methods": ["a", "b", "c"], "controls": ["d", "e"], "d_rho_ms": 0.1}
    taus = index_ranks.taus(row, "all", {})
    assert taus["R-ERGAS"] == pytest.approx([1] * 4)
    assert taus["R-Q2n, D_rho"] == pytest.approx([1] * 4)
    assert taus["QNR"] == pytest.approx([-1] * 4)
    assert index_ranks.rank_of_truth(row, {})["R-ERGAS"] == 0
    assert index_ranks.rank_of_truth(row, {})["QNR"] == 1
    weights = index_ranks.fit([row], ("R-ERGAS", "D_s"))
    assert min(weights.values()) > 0
    fitted = index_ranks.taus(row, "all", {"fitted": weights})
    assert fitted["fitted"] == pytest.approx([1] * 4)


def test_intervals_hold_the_mean_and_repeat():
    values = np.random.default_rng(1).normal(size=(30, 2))
    first = index_ranks.intervals(values, 0)
    assert first == index_ranks.intervals(values, 0)
    for mean, low, high in first:
        assert low < mean < high


@pytest.mark.slow
def test_measured_values_are_those_of_the_metrics():
    cases = index_scenes.rendered_cases(1, 0, 0)
    case = next(case for case in cases if case.group == "qb")
    sample = index_scenes.render(case, 64, 0)
    pan, ms, truth = sample["pan"], sample["ms"], sample["truth"]
    lms = interp23(ms, 4)
    values = index_scenes._all_values(lms[None], truth, pan, ms, lms, case.sensor)
    camera = {"sensor": "qb", "ratio": 4}
    for name, expected in {
        "ERGAS": metrics.ergas(truth, lms, ratio=4),
        "HQNR": metrics.hqnr(lms, ms, pan, quantise=False, **camera),
        "R-SAM": metrics.r_sam(lms, ms, **camera),
        "D_rho": metrics.d_rho(lms, pan, ratio=4),
    }.items():
        assert float(values[name][0]) == pytest.approx(float(expected), rel=1e-4)


def test_two_indices_that_agree_are_counted_on_the_pairs_they_order_alike():
    quality = np.array([0.1, 0.2, 0.3, 1.0])
    values = {name: sign * quality for name, sign in index_scenes.TRUE.items()}
    values |= {name: 0.9 - 0.8 * quality for name in index_scenes.INDICES}
    values["D_s"] = np.array([0.3, 0.1, 0.2, 0.0])  # orders one of the three pairs otherwise
    row = {"values": values, "methods": ["a", "b", "c"], "controls": [], "d_rho_ms": 0.1}
    alike, right, alone = index_ranks.agreement(row, "all", ("R-ERGAS", "D_s"))
    assert (alike, right, alone) == pytest.approx((2 / 3, 1, 1))
    values["R-ERGAS"] = 1 - values["R-ERGAS"]
    alike, right, alone = index_ranks.agreement(row, "all", ("R-ERGAS", "D_s"))
    assert (alike, right, alone) == pytest.approx((1 / 3, 0, 0))
