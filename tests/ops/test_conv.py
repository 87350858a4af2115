"""Convolutions as CPUs take them, and their gradients, against the compiler's own."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from platforms import accelerator_branches

from rsfusion_jax.models.cost import multiply_adds
from rsfusion_jax.ops.conv import conv
from rsfusion_jax.training.sharding import batch_sharding, make_mesh, replicated

FEW_CHANNELS = [((2, 5, width, 2), (size, 3)) for width in (24, 12, 7, 1) for size in (3, 7, 19)]
FEW_IMAGES = [((b, h, 6, 5), (size, 4)) for b in (1, 2, 3) for h in (16, 12, 7) for size in (3, 9)]


def _plain(x, kernel, stride=1):
    reach = (kernel.shape[0] - 1) // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((reach, reach), (reach, reach)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


def _image_and_kernel(*shapes):
    rng = np.random.default_rng(sum(shapes[1]))
    return [jnp.asarray(rng.normal(size=shape)) for shape in shapes]


def _image_and_gradients(convolution, x, kernel):
    image, pull = jax.vjp(convolution, x, kernel)
    return image, *pull(jnp.cos(jnp.arange(image.size)).reshape(image.shape))


def _of_both(results, given):
    """`results(convolution, given)` of ours and of the compiler's, by one program."""
    return jax.jit(lambda given: [results(convolution, given) for convolution in (conv, _plain)])(
        given
    )


@pytest.mark.parametrize(("shape", "to"), FEW_CHANNELS + FEW_IMAGES)
def test_conv_and_its_gradients(shape, to):
    size, features = to
    with jax.enable_x64(True):
        given = _image_and_kernel(shape, (size, size, shape[-1], features))
        directions = [jnp.sin(x) for x in given]

        def results(convolution, given):
            _, tangent = jax.jvp(convolution, given, directions)
            return tangent, *_image_and_gradients(convolution, *given)

        for ours, expected in zip(*_of_both(results, given), strict=True):
            np.testing.assert_allclose(ours, expected, atol=1e-12 * size**2)


@pytest.mark.parametrize("shape", [(2, 5, 6, 6), (1, 8, 7, 6)])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 6), (1, 12), (2, 3), (3, 4), (3, 8)])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_conv_of_groups_and_its_gradients(shape, inputs, outputs, size):
    with jax.enable_x64(True):
        given = _image_and_kernel(shape, (size, size, inputs, outputs))
        results = _of_both(lambda c, given: _image_and_gradients(c, *given), given)
        for ours, expected in zip(*results, strict=True):
            np.testing.assert_allclose(ours, expected, atol=1e-12 * size**2)


@pytest.mark.parametrize(("size", "stride"), [(2, 1), (2, 2), (3, 2), (4, 2), (4, 4)])
@pytest.mark.parametrize("inputs", [1, 2, 4])
@pytest.mark.parametrize("height", [8, 11])
def test_conv_that_changes_the_size_and_its_gradients(size, stride, inputs, height):
    with jax.enable_x64(True):
        given = _image_and_kernel((1, height, 12, 4), (size, size, inputs, 4))

        def results(convolution, given):
            return _image_and_gradients(functools.partial(convolution, stride=stride), *given)

        for ours, expected in zip(*_of_both(results, given), strict=True):
            np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("kernel", [(3, 3, 1, 6), (3, 3, 2, 6), (3, 3, 6, 3)])
def test_what_cpus_need_is_theirs_alone_and_not_counted(kernel):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 16, 16, 6), kernel)]

    def convolutions(function, platform):
        lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,))
        lines = lowered.as_text().splitlines()
        return [line.split("(")[-1] for line in lines if "stablehlo.convolution" in line]

    assert convolutions(conv, "cuda") == convolutions(_plain, "cuda") != []
    assert convolutions(conv, "cpu") != convolutions(_plain, "cpu")
    assert multiply_adds(conv, *arguments) == multiply_adds(_plain, *arguments)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the order is that of CPUs")
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("inputs", [1, 2, 4, 6, 12])
def test_gradients_in_loops_have_the_axes_that_cpus_are_quick_with(inputs, stride):
    def layer(total, given):
        return total + jnp.square(conv(*given, stride=stride)).sum(), None

    def loss(images, kernels):
        return jax.lax.scan(layer, 0.0, (images, kernels))[0]

    arguments = jnp.zeros((3, 2, 8, 16, 12)), jnp.zeros((3, 3, 3, inputs, 12))
    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(*arguments).compile()
    orders = re.findall(r" convolution\(.*dim_labels=([^,\s]+)", compiled.as_text())
    assert set(orders) <= {"b01f_01io->b01f"}
    assert len(orders) == (0 if (inputs, stride) == (1, 1) else 3)


@pytest.mark.parametrize("inputs", [1, 2, 6])  # depthwise, three groups, one group
def test_no_device_gathers_the_images_of_others(inputs):
    def loss(x, kernel):
        y = conv(x, kernel)
        return jnp.sin(y).sum(), y

    x, kernel = _image_and_kernel((8, 5, 6, 6), (3, 3, inputs, 6))
    mesh = make_mesh(8)
    gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)
    with accelerator_branches():
        expected = jax.jit(gradients)(x, kernel)
        with jax.set_mesh(mesh):
            x = jax.device_put(x, batch_sharding(mesh))
            kernel = jax.device_put(kernel, replicated(mesh))
            compiled = jax.jit(lambda *a: gradients(*a)).lower(x, kernel).compile()
    assert not re.findall("all-gather|all-to-all|collective-permute", compiled.as_text())
    assert "all-reduce" in compiled.as_text()  # the gradient of the kernel
    results = compiled(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), results, expected)
