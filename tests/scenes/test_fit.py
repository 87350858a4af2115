"""Coefficients of classical methods as journals store them."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax import classical
from rsfusion_jax.classical.method import Setting
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.scenes.work.fit import from_plain, to_plain

KINDS = {
    "Clustered": "c_gsa",
    "Injection": "mtf_glp mtf_glp_cbd mtf_glp_fs mtf_glp_hpm mtf_glp_hpm_r",
    "MatchedPan": "awlp hpf mf_hg sfim",
    "Modulation": "brovey bt_h",
    "Pracs": "pracs",
    "Substitution": "gs gsa ihs pca",
    "Synthesis": "hyper_glp",
    "SynthesisedSubstitution": "hyper_gsa",
    "array": "bdsd bdsd_pc",
    "none": "exp weighted_brovey",
}
METHODS = [(name, kind) for kind, names in KINDS.items() for name in names.split()]


@pytest.mark.parametrize(("name", "kind"), METHODS)
def test_coefficients_survive_a_journal(name, kind):
    random = np.random.default_rng(0)
    ms = jnp.asarray(random.random((6, 7, 3)), jnp.float32)
    lms = interp23(ms, 2)
    pan = lms.mean(axis=-1, keepdims=True) + 0.1 * random.random((12, 14, 1), np.float32)
    coefficients = classical.get_method(name).fit(
        pan, ms, lms, Setting(2, (0.25, 0.3, 0.35), pan_gain=0.15)
    )
    plain = json.loads(json.dumps(to_plain(coefficients)))
    assert plain["kind"] == kind
    back = from_plain(plain)
    assert type(back) is (np.ndarray if kind == "array" else type(coefficients))
    for stored, fitted in zip(back, coefficients, strict=True):
        np.testing.assert_array_equal(stored, np.asarray(fitted))


def test_every_method_has_a_kind():
    assert sorted(name for name, _ in METHODS) == list(classical.list_methods())


def test_journal_of_an_earlier_version_is_read():
    plain = {"kind": "MatchedPan", "fields": [[0.5], [1.5, 2.0], [0.25, 0.75]]}
    back = from_plain(plain)
    assert type(back).__name__ == "MatchedPan"
    np.testing.assert_array_equal(back.pan_mean, [0.5])
    np.testing.assert_array_equal(back.gains, [1.5, 2.0])
    np.testing.assert_array_equal(back.band_means, [0.25, 0.75])
    assert from_plain({"kind": "none", "fields": []}) == ()
    np.testing.assert_array_equal(from_plain({"kind": "array", "fields": [[[1.0]]]}), [[1.0]])
