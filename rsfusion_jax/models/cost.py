"""Sizes of networks and their multiply-adds, counted in what JAX traces."""

import math

import jax

from rsfusion_jax.models import abstract_params, create_model, input_shapes

SIDE = 64
"""Side in PAN pixels of the image whose cost is counted."""


def size_and_cost(name: str, num_bands: int, ratio: int = 4) -> tuple[int, int]:
    """Count the parameters of a network and the multiply-adds of one pass.

    Args:
        name: name of the network, at its published width.
        num_bands: C.
        ratio: PAN pixels per MS pixel.

    Returns:
        The number of parameters, and of multiply-adds of a PAN image of `SIDE` x `SIDE` pixels.
    """
    model = create_model(name, num_bands=num_bands, ratio=ratio)
    params = abstract_params(model)
    images = input_shapes(model, SIDE // ratio, SIDE // ratio)
    cost = multiply_adds(lambda p, *sample: model.apply({"params": p}, *sample), params, *images)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)), cost


def multiply_adds(function, *args) -> int:
    """Multiplications of the convolutions and matrix products of `function(*args)`.

    Element-wise work and Fourier transforms are left out, as the field's counters do; the body of a
    loop counts as often as it runs. Nothing is computed or compiled.

    Args:
        function: traceable.
        *args: arrays or `jax.ShapeDtypeStruct`s.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        outputs = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
        match equation.primitive.name:
            case "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                shape = equation.invars[0].aval.shape
                total += outputs * math.prod(shape[axis] for axis in contracted)
            case "conv_general_dilated":
                kernel = equation.invars[1].aval.shape
                features = equation.params["dimension_numbers"].rhs_spec[0]
                per_output = math.prod(kernel) // kernel[features]
                # Zeros between the pixels of a transposed convolution are not multiplied.
                total += outputs * per_output // math.prod(equation.params["lhs_dilation"])
            case "cond" if equation.params.get("branches_platforms"):
                # The last is the plain form, whatever else a kind of device may be given.
                total += _count(equation.params["branches"][-1].jaxpr)
            case "cond":
                total += max(_count(branch.jaxpr) for branch in equation.params["branches"])
            case name:
                times = equation.params["length"] if name == "scan" else 1
                total += times * sum(_count(inner) for inner in _inner_jaxprs(equation.params))
    return total


def _inner_jaxprs(params):
    for value in params.values():
        if hasattr(value, "eqns"):
            yield value
        elif hasattr(value, "jaxpr") and hasattr(value.jaxpr, "eqns"):
            yield value.jaxpr
