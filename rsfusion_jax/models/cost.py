"""Multiply-adds of a function, counted in what JAX traced."""

import math

import jax


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
