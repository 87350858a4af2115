"""What holds for every network: sizes, bands, ratios, cost, and its record."""

import contextlib
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goldens import SMALL

from rsfusion_jax.errors import UserError
from rsfusion_jax.models import (
    abstract_params,
    create_model,
    init_params,
    input_shapes,
    list_models,
)
from rsfusion_jax.models.catalogue import COSTS, PUBLICATIONS
from rsfusion_jax.models.cost import multiply_adds, size_and_cost
from rsfusion_jax.models.layers import Conv
from rsfusion_jax.models.network import Layer
from rsfusion_jax.training.remat import rematerialised_blocks

ALLOWED = {"mmapp": (2, 4, 8)}
"""Ratios of the networks that refuse some."""

FUSING = [name for name in list_models() if name != "ddif"]


def _small(name, **fields):
    return create_model(name, **(SMALL.get(name, {}) | fields))


every_network = pytest.mark.parametrize("name", list_models())
fusing_network = pytest.mark.parametrize("name", FUSING)


@pytest.mark.parametrize(("ratio", "num_bands"), [(1, 5), (2, 1), (3, 5), (4, 128), (6, 5), (8, 4)])
@fusing_network
def test_any_ratio_size_and_band_count(name, ratio, num_bands):
    if ratio not in ALLOWED.get(name, (ratio,)):
        with pytest.raises(UserError, match="2, 4 or 8"):
            abstract_params(create_model(name, num_bands=num_bands, ratio=ratio))
        return
    model = _small(name, num_bands=num_bands, guide_bands=3, ratio=ratio)
    height, width = (5, 8) if ratio == 4 else (13, 17)
    images = input_shapes(model, height, width, 2)
    apply = jax.eval_shape(model.apply, {"params": abstract_params(model)}, *images)
    assert apply["fused"].shape == (2, ratio * height, ratio * width, num_bands)


@every_network
def test_drawing_parameters_runs_no_layer(name):
    model = _small(name, num_bands=3, ratio=2)
    params = abstract_params(model)
    assert jax.eval_shape(lambda key: init_params(model, key), jax.random.key(0)) == params
    assert multiply_adds(lambda key: init_params(model, key), jax.random.key(0)) == 0


@pytest.mark.parametrize("name", ["bandwise", "cf2n", "feinfn", "ramsf", "rsanet", "u2net"])
def test_float32_stays_float32_where_float64_is_the_default(name):
    model = _small(name, num_bands=3, ratio=2)
    images = input_shapes(model, 8, 8)
    with jax.enable_x64(True):
        params = abstract_params(model)
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        fused = jax.eval_shape(model.apply, {"params": params}, *images)["fused"]
    assert fused.dtype == jnp.float32


def test_drawn_parameters_are_those_of_flax():
    model = create_model("ramsf", num_bands=3, ratio=2)
    images = [jnp.ones(spec.shape) for spec in input_shapes(model, 8, 8)]
    initialized = model.init(jax.random.key(5), *images)["params"]
    drawn = init_params(model, jax.random.key(5))
    jax.tree.map(np.testing.assert_array_equal, drawn, initialized)


def test_stored_fields_come_back_as_lists():
    model = create_model("ramsf", num_bands=2, mlp_dim=[16, 8])
    assert model == create_model("ramsf", num_bands=2, mlp_dim=(16, 8))
    assert isinstance(hash(model), int)


@every_network
def test_has_a_record(name):
    publication = PUBLICATIONS[name]
    assert publication.year > 2000 and publication.tasks and publication.venue


def test_cost_of_known_layers():
    def layers(image, kernel, transposed):
        image = jax.lax.conv_general_dilated(
            image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        image = jax.lax.conv_transpose(image, transposed, (2, 2), "SAME")
        step = jax.checkpoint(lambda carry, _: (carry @ jnp.ones((7, 7)), None))
        return jax.lax.scan(step, image, length=3)[0]

    shapes = [(1, 4, 6, 2), (3, 3, 2, 5), (2, 2, 5, 7)]
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    convolution, transposed, products = 24 * 18 * 5, 24 * 4 * 5 * 7, 3 * 96 * 7 * 7
    assert multiply_adds(layers, *arrays) == convolution + transposed + products


@pytest.mark.parametrize(
    ("name", "giga"),
    # Counted in the authors' own classes by PyTorch's counter.
    [("u2net", 2.995), ("mmapp", 0.738), ("rsanet", 0.297)],
)
def test_cost_of_published_networks(name, giga):
    assert COSTS[name][1] / 1e9 == pytest.approx(giga, rel=0.05)


def test_queries_cost_less_than_published():
    """RAMSF's 2.296 GMAC, less the first layer's products that four corners have in common."""
    assert COSTS["ramsf"][1] / 1e9 < 0.85 * 2.296


@every_network
def test_costs_are_those_counted(name):
    assert COSTS[name] == size_and_cost(name, 8)


@every_network
def test_title_is_the_name_of_the_file(name):
    assert create_model(name, num_bands=2).title.lower() == name


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("name", ["fusionnet", "rsanet", "u2net"])
def test_layers_compute_in_the_dtype_of_their_network(name, remat):
    model = create_model(name, num_bands=3, dtype=jnp.bfloat16, **SMALL.get(name, {}))
    images = input_shapes(model, 6, 7)
    with rematerialised_blocks() if remat else contextlib.nullcontext():
        jaxpr = jax.make_jaxpr(model.apply)({"params": abstract_params(model)}, *images)
    products = r":(\w+)\[[\d,]*\] = (?:conv_general_dilated|dot_general)"
    assert set(re.findall(products, str(jaxpr))) == {"bf16"}


def test_a_layer_may_have_a_dtype_of_its_own():
    class Pair(Layer):
        @nn.compact
        def __call__(self, x):
            return Conv(2, name="as_its_parent")(x), Conv(2, dtype=jnp.float32, name="own")(x)

    shapes, _ = jax.eval_shape(
        Pair(dtype=jnp.bfloat16).init_with_output, jax.random.key(0), jnp.ones((1, 4, 4, 1))
    )
    assert [image.dtype for image in shapes] == [jnp.bfloat16, jnp.float32]
