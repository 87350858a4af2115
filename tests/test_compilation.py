"""Networks are compiled without the library that convolutions go to on CPUs."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax import compilation
from rsfusion_jax.compilation import compiler_options, jit, platform_of

on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the options are for CPUs")


def convolve(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def kernel_gradient(x, kernel):
    return jax.grad(lambda k: (convolve(x, k) ** 2).sum())(kernel)


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    shapes = (2, 16, 16, 32), (3, 3, 32, 32)
    return [random.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]


@on_cpu
def test_no_convolution_is_left_to_the_library(arrays):
    program = jax.jit(kernel_gradient).lower(*arrays)

    def in_library(text):
        entry = text[text.index("ENTRY") :]
        return [x for x in entry.splitlines() if "ynn_fusion" in x and "conv_general" in x]

    assert not in_library(program.compile(compiler_options("cpu")).as_text())
    if not in_library(program.compile().as_text()):
        pytest.skip("this release of jax leaves none to it by default")


@on_cpu
def test_a_release_without_the_option_compiles_without_it(monkeypatch):
    monkeypatch.setattr(compilation, "_WITHOUT_LIBRARY_CONVOLUTIONS", {"xla_cpu_unknown": "1"})
    assert compiler_options.__wrapped__("cpu") == {}


def test_accelerators_get_no_options():
    assert compiler_options("gpu") == {}


def test_the_platform_is_that_of_the_arguments_not_of_the_host():
    assert platform_of() == platform_of(np.zeros(3), "static") == jax.devices()[0].platform
    assert platform_of({"weights": jax.device_put(1.0, jax.devices("cpu")[0])}) == "cpu"
    on_gpu = {mock.Mock(platform="gpu")}
    with mock.patch.object(type(jnp.zeros(3)), "devices", lambda self: on_gpu):
        assert platform_of(np.zeros(3), {"weights": jnp.zeros(3)}) == "gpu"


def test_jit_computes_what_the_function_does(arrays):
    asked = []

    def scaled(factor, x):
        asked.append(factor)
        return factor * jnp.asarray(x)

    compiled = jit(scaled, static_argnums=0)
    assert not asked
    for _ in range(2):
        np.testing.assert_array_equal(compiled(3, arrays[0]), 3 * arrays[0])
    assert asked == [3]


def test_jit_may_be_a_part_of_another_program(arrays):
    x, kernel = arrays
    part = jit(lambda x, kernel: convolve(x, kernel).sum())
    whole = jax.jit(lambda x, kernel: part(x, kernel) + 1)(x, kernel)
    np.testing.assert_allclose(whole, part(x, kernel) + 1, rtol=1e-5)
    assert jax.jit(jax.grad(part, argnums=1))(x, kernel).shape == kernel.shape
    assert jax.grad(part, argnums=1)(x, kernel).shape == kernel.shape


def test_programs_of_many_shapes_are_dropped_oldest_first():
    traced = []

    def double(x):
        traced.append(x.shape)
        return 2 * x

    function, most = compilation.jit(double), compilation._MOST_PROGRAMS
    for size in range(1, most + 2):
        np.testing.assert_array_equal(function(np.ones(size)), np.full(size, 2))
    function(np.ones(most + 1))
    assert len(traced) == most + 1  # the newest is there
    function(np.ones(1))
    assert traced[-1] == (1,) and len(traced) == most + 2  # the oldest was dropped
