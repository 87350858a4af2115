"""Statistics of an image in memory against those of sums taken tile by tile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.classical.gather import gather
from rsfusion_jax.classical.image import ImageVariable
from rsfusion_jax.classical.method import Step

QUESTIONS = {
    "mean": lambda x, y: x.mean,
    "deviation": lambda x, y: x.deviation,
    "variance": lambda x, y: x.variance,
    "covariance": lambda x, y: x.covariance(y @ WEIGHTS[:2]),
    "covariance with one band": lambda x, y: x.covariance(y @ WEIGHTS[:2, 0]),
    "covariances": lambda x, y: x.covariances,
    "correlation": lambda x, y: x.correlation(y @ WEIGHTS[:2]),
    "mixed deviation": lambda x, y: (x @ WEIGHTS[:, 0]).deviation,
    "mixed mean": lambda x, y: (x @ WEIGHTS).mean,
    "slopes": lambda x, y: x.slopes(y),
    "least squares": lambda x, y: x.least_squares(y),
    "non-negative least squares": lambda x, y: x.non_negative_least_squares(y),
    "minimum": lambda x, y: x.minimum,
    "maximum": lambda x, y: x.maximum,
    "first percentile": lambda x, y: x.first_percentile,
    "pixels": lambda x, y: x.pixels,
    "count": lambda x, y: x.count,
}
WEIGHTS = np.random.default_rng(5).standard_normal((3, 3)).astype(np.float32)


def images():
    """Three bands and two targets that depend on them, float32; the last band is constant."""
    random = np.random.default_rng(1)
    x = random.random((40, 30, 3)).astype(np.float32)
    y = x @ WEIGHTS[:, :2] + 0.1 * random.standard_normal((40, 30, 2)).astype(np.float32)
    return x * [1, 1, 0] + np.float32(0.3), y


@pytest.fixture(scope="module")
def answers():
    """Statistics of the same images: in memory, and gathered from four uneven tiles."""
    x, y = (image.astype(np.float32) for image in images())

    def read(only):
        for part in np.split(np.arange(40), [7, 8, 30]):
            fine = {"y": y[part].reshape(-1, 2), "x": x[part].reshape(-1, 3)}
            yield (fine if only is None else {only: fine[only]}), {}

    step = Step(None, None, percentiles=lambda bands: "x", pixels="x")
    gathered, coarse = gather(step, 3, read)
    assert coarse == {}
    with jax.enable_x64(True):
        whole = [ImageVariable(jnp.asarray(image, jnp.float64)) for image in (x, y)]
        return {
            name: (np.asarray(ask(*whole)), np.asarray(ask(gathered["x"], gathered["y"])))
            for name, ask in QUESTIONS.items()
        }


@pytest.mark.parametrize("name", QUESTIONS)
def test_gathered_statistics_equal_those_in_memory(answers, name):
    whole, gathered = answers[name]
    assert whole.shape == gathered.shape
    np.testing.assert_allclose(gathered, whole, rtol=1e-6, atol=1e-9)


def test_flat_band_has_no_spread(answers):
    for whole_or_gathered in answers["deviation"]:
        assert whole_or_gathered[2] == 0 and (whole_or_gathered[:2] > 0.1).all()
