"""RAMSF against the authors' own outputs and gradients, and what is ours: sizes and ratios."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import parity
import pytest
from cases import slow_but

from configs import ramsf
from rsfusion_jax.errors import UserError
from rsfusion_jax.models import abstract_params, create_model
from rsfusion_jax.models.layers import ImplicitMLP
from rsfusion_jax.ops import implicit
from rsfusion_jax.porting.convert import from_torch
from rsfusion_jax.porting.optimizer import with_adam_moments
from rsfusion_jax.porting.torch_file import read_state_dict
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training.objectives import supervised
from rsfusion_jax.training.optimizer import make_optimizer, make_schedule
from rsfusion_jax.training.sharding import batch_sharding, make_mesh
from rsfusion_jax.training.step import make_train_step

CASES = ["wv3", "gf2_4band_48x80", "hisr31_rgb_32_small", "scale8_8band_64"]
every_case = pytest.mark.parametrize("name", slow_but("hisr31_rgb_32_small", CASES))


def _case(shared, name):
    inputs = {"pan": "pan", "ms": "ms", "lms": "lms"}
    case = parity.read_case(shared / "parity" / "ramsf" / name, inputs, loss="l1")
    given = case.record["constructor"]
    bands, guide = case.io["ms"].shape[1], case.io["pan"].shape[1]
    ratio = case.io["pan"].shape[2] // case.io["ms"].shape[2]
    fields = {"feat_dim": "feat_dim", "guide_dim": "guide_dim", "mlp_dim": "mlp_dim"}
    fields["nir_dim"] = "NIR_dim"
    overrides = {ours: given[key] for ours, key in fields.items() if key in given}
    if "mlp_dim" in overrides:
        overrides["mlp_dim"] = tuple(overrides["mlp_dim"])
    size = {"num_bands": bands, "guide_bands": guide, "ratio": ratio}
    return case, create_model("ramsf", **size, **overrides)


@every_case
def test_parity_float32(shared, name):
    case, model = _case(shared, name)
    parity.assert_parity_float32(model, case)


@every_case
def test_parity_float64(shared, name):
    case, model = _case(shared, name)
    parity.assert_parity_float64(model, case)


@pytest.mark.parametrize("name", ["wv3", "hisr31_rgb_32_small"])
def test_port_round_trip(shared, name):
    case, model = _case(shared, name)
    parity.assert_round_trip(model, case)


@jax.default_matmul_precision("highest")
def test_one_step_is_the_authors(shared):
    """Their checkpoint was saved after one step of Adam: ours arrives at it, moments included."""
    case, model = _case(shared, "hisr31_rgb_32_small")
    folder = shared / "parity" / "ramsf" / "hisr31_rgb_32_small"
    checkpoint = folder / "checkpoint_dp_epoch3.pth"
    after = np.load(folder / "after_one_adam_step.npz")
    config = ramsf.get_config("wv3")
    optimizer = make_optimizer(config.optim, make_schedule(config.optim, 10, 10))
    objective = supervised("l1")

    def start(state_dict):
        params = jax.tree.map(jnp.asarray, from_torch(model, state_dict)["params"])
        return create_state(params, optimizer, jax.random.key(0), ema=False)

    batch = {key: parity.nhwc(case.io[key]) for key in ("pan", "ms", "lms")}
    batch["gt"] = parity.nhwc(case.io["target"])
    step = jax.jit(make_train_step(model, objective, optimizer))
    ours, metrics = step(start(case.state_dict), batch)
    assert abs(metrics["loss"] - after["loss_before"]) < 1e-6

    theirs = start(read_state_dict(checkpoint))
    theirs = theirs.replace(opt_state=with_adam_moments(theirs.opt_state, model, checkpoint))
    for ours_tree, theirs_tree, unit in (
        (ours.params, theirs.params, 3e-4),  # no step of Adam is longer than the rate
        (optax.tree.get(ours.opt_state, "mu"), optax.tree.get(theirs.opt_state, "mu"), 1e-3),
        (optax.tree.get(ours.opt_state, "nu"), optax.tree.get(theirs.opt_state, "nu"), 1e-6),
    ):
        for mine, golden in zip(*map(jax.tree.leaves, (ours_tree, theirs_tree)), strict=True):
            np.testing.assert_allclose(mine, golden, rtol=1e-3, atol=1e-3 * unit)

    # And from there on both are one training.
    ours, metrics = step(ours, batch)
    theirs, same = step(theirs, batch)
    assert abs(metrics["loss"] - after["loss_after"]) < 1e-6
    assert abs(same["loss"] - after["loss_after"]) < 1e-6
    # Where a gradient is near zero Adam magnifies its rounding: all parameters are one vector here.
    difference = optax.tree.norm(optax.tree.sub(ours.params, theirs.params))
    moved = optax.tree.norm(optax.tree.sub(ours.params, start(case.state_dict).params))
    assert difference < 1e-3 * moved


def test_adam_moments_of_another_file_are_refused(shared):
    case, model = _case(shared, "wv3")
    state = optax.adam(1e-3).init(from_torch(model, case.state_dict)["params"])
    with pytest.raises(UserError, match="no state of Adam"):
        with_adam_moments(state, model, shared / "parity" / "ramsf" / "wv3" / "state_dict.pth")


@pytest.mark.parametrize(("ratio", "reach"), [(4, 19), (16, 25)])
def test_receptive_field(ratio, reach):
    """Derivatives along one perturbed pixel are zero beyond the reach and not zero at it."""
    model = create_model("ramsf", num_bands=1, ratio=ratio, feat_dim=4, guide_dim=4, mlp_dim=(8,))
    assert model.receptive_field == 2 * reach + 1
    side = 2 * (-(-reach // ratio) + 1) + 1
    shapes = {"pan": (ratio * side, 1), "ms": (side, 1), "lms": (ratio * side, 1)}
    first = ratio * (side // 2)
    last = first + ratio - 1
    reached = []
    with jax.enable_x64(True):

        @jax.jit
        def changed(params, images, direction):
            def fuse(images):
                return model.apply({"params": params}, **images)["fused"]

            return (jax.jvp(fuse, (images,), (direction,))[1] != 0).any((0, 3))

        for seed in range(8):  # of one seed's paths some are closed by a ReLU or a maximum
            rng = np.random.default_rng(seed)
            leaves, tree = jax.tree.flatten(abstract_params(model))
            params = jax.tree.unflatten(tree, [rng.normal(size=leaf.shape) for leaf in leaves])
            images = {name: rng.random((1, n, n, c)) for name, (n, c) in shapes.items()}
            for name, image in images.items():
                direction = {key: np.zeros_like(value) for key, value in images.items()}
                where = slice(side // 2, side // 2 + 1) if name == "ms" else slice(first, last + 1)
                direction[name][:, where, where] = rng.normal(size=image[:, where, where].shape)
                for index in np.nonzero(np.asarray(changed(params, images, direction))):
                    reached += [first - index.min(), index.max() - last] if index.size else []
    assert max(reached) == reach


@pytest.mark.parametrize(("low", "fine"), [(4, 8), (3, 12), (5, 5), (4, 12), (6, 9), (8, 4)])
def test_corners_are_floor_and_ceiling(low, fine):
    feature = jnp.arange(1.0, low + 1).reshape(1, low, 1, 1)
    for side, rounded in ((0, np.floor), (1, np.ceil)):
        position = (np.arange(fine) + 0.5) * low / fine - 0.5
        index = rounded(np.round(position, 9)).astype(int)
        inside = (index >= 0) & (index < low)
        values = implicit.corner_values(feature, (fine, 1), (side, side))[0, :, 0, 0]
        np.testing.assert_array_equal(values, np.where(inside, index + 1, 0))
        offsets = implicit.corner_offsets((low, 1), (fine, 1), (side, side), jnp.float32)
        to_centre = 2 * position + 1 - low
        expected = np.where(inside, 2 * (position - index), to_centre)
        np.testing.assert_allclose(offsets[:, 0, 0], expected, atol=1e-5)


def test_added_offsets_and_their_derivatives():
    rng = np.random.default_rng(5)
    x, offsets, matrix = (rng.normal(size=s) for s in ((2, 3, 4, 5), (3, 4, 2), (2, 5)))
    with jax.enable_x64(True):
        changing = [jnp.asarray(a) for a in (x, matrix)]
        directions = [jnp.asarray(rng.normal(size=a.shape)) for a in changing]

        def ours(x, matrix):
            return jnp.sin(implicit.add_offsets(x, jnp.asarray(offsets), matrix)).sum()

        def plain(x, matrix):
            return jnp.sin(x + jnp.asarray(offsets) @ matrix).sum()

        for derive in (
            lambda f: jax.grad(f, argnums=(0, 1))(*changing),
            lambda f: jax.jvp(f, changing, directions),
        ):
            for a, b in zip(derive(ours), derive(plain), strict=True):
                np.testing.assert_allclose(a, b, atol=1e-12)


def test_queries_stay_on_their_device():
    """A batch under a mesh: every device asks for its own images, with the whole weights."""
    query = ImplicitMLP(hidden=(12,), features=3)
    shift = jnp.ones((4, 6, 2))

    def loss(params, images):
        return jnp.square(query.apply(params, [images["low"]], images["guide"], shift)).mean()

    key = jax.random.key(0)
    shapes = {"low": (16, 2, 3, 4), "guide": (16, 4, 6, 5)}
    images = {name: jax.random.normal(key, shape) for name, shape in shapes.items()}
    params = query.init(key, [images["low"]], images["guide"])
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    alone = gradient(params, images)
    mesh = make_mesh(8, fsdp=2)
    with jax.set_mesh(mesh):
        spread = jax.device_put(images, batch_sharding(mesh))
        compiled = gradient.lower(params, spread).compile()
        assert "all-gather" not in compiled.as_text()
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
            compiled(params, spread),
            alone,
        )


def test_fields_that_contradict_each_other_are_refused():
    for fields in ({"feat_dim": 6, "guide_dim": 6}, {"feat_dim": 8}):
        with pytest.raises(UserError, match="must be one multiple of 4"):
            abstract_params(create_model("ramsf", num_bands=2, **fields))
