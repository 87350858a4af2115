"""Programs that jax traced are kept between runs, and never taken for another."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rsfusion_jax as rsf
from rsfusion_jax import traced
from rsfusion_jax.models import init_params
from rsfusion_jax.scenes.work.engines import network_engine
from rsfusion_jax.scenes.work.program import network_spec

SHAPES = {"a": jax.ShapeDtypeStruct((3,), jnp.float32)}, jax.ShapeDtypeStruct((), jnp.float32)


@pytest.fixture
def folder(tmp_path):
    traced.keep_in(tmp_path)
    yield tmp_path
    traced.keep_in(None)


class Counted:
    """A function that counts how often it is traced."""

    calls = 0

    def __call__(self, tree, factor):
        self.calls += 1
        return jnp.sin(tree["a"]) * factor, factor


def lowered(function, identity="f", platform="cpu", shapes=SHAPES):
    return traced.lower(function, shapes, identity, platform).compile()


def test_a_program_is_traced_once(folder):
    function = Counted()
    values = np.arange(3, dtype=np.float32), np.float32(2)
    first = lowered(function)(*values)
    assert function.calls == 1 and len(list(folder.iterdir())) == 1
    second = lowered(function)(*values)
    assert function.calls == 1
    for results in (first, second):
        np.testing.assert_allclose(results[0], 2 * np.sin(values[0]), rtol=1e-6)
        assert results[1] == 2
    # Results differ in nothing: both runs compile what is stored.
    np.testing.assert_array_equal(*(np.asarray(results[0]) for results in (first, second)))


@pytest.mark.parametrize("change", ["identity", "shapes", "source", "settings"])
def test_what_enters_a_trace_enters_its_name(folder, monkeypatch, change):
    function, differs, settings = Counted(), {}, contextlib.nullcontext()
    lowered(function)
    if change == "identity":
        differs = {"identity": "g"}
    elif change == "shapes":
        differs = {"shapes": (SHAPES[0], jax.ShapeDtypeStruct((1,), jnp.float32))}
    elif change == "source":
        monkeypatch.setattr(traced, "_source", lambda: "another version")
    else:
        settings = jax.default_matmul_precision("highest")
    with settings:
        lowered(function, **differs)
    assert function.calls == 2 and len(list(folder.iterdir())) == 2


def test_a_damaged_file_is_traced_again(folder):
    function = Counted()
    lowered(function)
    (path,) = folder.iterdir()
    for content in (path.read_bytes()[:50], b"", b"nonsense"):
        path.write_bytes(content)
        lowered(function)
    assert function.calls == 4
    lowered(function)
    assert function.calls == 4


def test_nothing_is_kept_that_is_not_known(folder):
    for identity, platform in ((None, "cpu"), ("f", "gpu")):
        function = Counted()
        lowered(function, identity, platform)
        lowered(function, identity, platform)
        assert function.calls == 2
    traced.keep_in(None)
    lowered(function)
    assert not list(folder.iterdir())


def test_a_network_of_the_users_own_has_no_identity():
    ours = rsf.create_model("pnn", num_bands=4)

    class Own(type(ours)):
        pass

    identities = []
    for model in (ours, rsf.create_model("pnn", num_bands=8), Own(num_bands=4)):
        fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))})
        identities.append(network_engine(fuser, network_spec(fuser)).identity)
    assert identities[2] is None and None not in identities[:2] and len(set(identities)) == 3


def test_a_damaged_program_is_traced_again(folder):
    function = Counted()
    lowered(function)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:300] + bytes([whole[300] ^ 1]) + whole[301:], b""):
        path.write_bytes(damaged)
        calls = function.calls
        assert lowered(function)(np.ones(3, np.float32), np.float32(3))[1] == 3
        assert function.calls == calls + 1 and path.read_bytes() != damaged
