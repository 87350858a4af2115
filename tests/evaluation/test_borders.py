"""Periodic borders, as the MATLAB toolbox has them, and which were used."""

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.evaluation import evaluate as module
from rsfusion_jax.evaluation.measures import measure
from rsfusion_jax.evaluation.score import protocol
from rsfusion_jax.ops.resample import interp23


@pytest.fixture
def full_set(tmp_path):
    rng = np.random.default_rng(12)
    with h5py.File(tmp_path / "full.h5", "w") as file:
        file["ms"] = rng.integers(100, 1900, (1, 4, 16, 16)).astype(np.uint16)
        file["pan"] = rng.integers(100, 1900, (1, 1, 64, 64)).astype(np.uint16)
    return tmp_path / "full.h5"


def test_wrap_reaches_images_methods_and_report(full_set, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        module, "leaderboard", lambda *args, **options: calls.append((args, options))
    )
    for wrap in (False, True):
        module.evaluate(
            workdir=None,
            methods=["mtf_glp"],
            data=str(full_set),
            sensor="qb",
            max_value=None,
            ratio=None,
            batch_size=1,
            out=str(tmp_path / f"out{wrap}"),
            wrap=wrap,
        )
        (methods, source, _), options = calls.pop()
        sample = source[0]
        assert options["wrap"] is wrap
        np.testing.assert_array_equal(sample["lms"], interp23(sample["ms"], 4, wrap=wrap))
        expected = rsf.classical.fuse(
            "mtf_glp", sample["pan"], sample["ms"], sensor="qb", lms=sample["lms"], wrap=wrap
        )
        fused = methods[0].fuse(*(jnp.asarray(sample[k][None]) for k in ("pan", "ms", "lms")))
        np.testing.assert_allclose(fused[0], np.clip(expected, 0, 1), atol=1e-5)
        said = protocol(source, wrap=wrap)["borders"]
        assert said == ("periodic, as in the MATLAB toolbox" if wrap else "replicated")
    with pytest.raises(rsf.UserError, match=r"--wrap .* --data"):
        module.evaluate(
            workdir=None, methods=["gsa"], data=None, sensor=None, max_value=None, ratio=None,
            batch_size=1, out=None, wrap=True,
        )  # fmt: skip


def test_metrics_without_ground_truth_follow(full_set):
    source = open_set(full_set, sensor="qb", wrap=True)
    sample = source[0]
    batch = {key: image[None] for key, image in sample.items()}
    fused = sample["lms"] + 0.1 * sample["pan"]
    values = {wrap: measure(batch, fused[None], source.info, wrap=wrap) for wrap in (False, True)}
    counts = {key: 2047 * image for key, image in {**sample, "fused": fused}.items()}
    for wrap, value in values.items():
        expected = rsf.metrics.d_s(
            counts["fused"], counts["ms"], counts["pan"], ratio=4, lms=counts["lms"], wrap=wrap
        )
        assert abs(float(value["D_s"][0]) - expected) < 1e-5
    assert abs(float(values[True]["D_s"][0]) - float(values[False]["D_s"][0])) > 1e-4
