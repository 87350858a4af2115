"""Schedules and optimisers do what PyTorch's do under the recipes' numbers."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import default
from rsfusion_jax.errors import UserError
from rsfusion_jax.training.optimizer import make_optimizer, make_schedule
from rsfusion_jax.training.step import make_ema_decay

EPOCH = 3  # steps


def _optim(**fields):
    optim = default.get_config().optim
    optim.update(warmup_steps=0, **fields)
    return optim


def _torch_rates(scheduler, epochs, rate):
    torch = pytest.importorskip("torch", reason="the reference is PyTorch's scheduler")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    schedule = scheduler(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(epochs):
        rates += [optimizer.param_groups[0]["lr"]] * EPOCH
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("fields", "scheduler"),
    [
        (
            {"schedule": "step", "step_epochs": 5, "gamma": 0.5},
            lambda lib, opt: lib.StepLR(opt, 5, 0.5),
        ),
        (
            {"schedule": "milestones", "milestones": (2, 7), "gamma": 0.9},
            lambda lib, opt: lib.MultiStepLR(opt, [2, 7], 0.9),
        ),
        (
            {"schedule": "milestones", "milestone_steps": (6, 21), "gamma": 0.9},
            lambda lib, opt: lib.MultiStepLR(opt, [2, 7], 0.9),
        ),
        (
            {"schedule": "cosine_periodic", "period_epochs": 4, "final_rate": 1e-5},
            lambda lib, opt: lib.CosineAnnealingLR(opt, 4, 1e-5),
        ),
    ],
)
def test_schedule_is_pytorchs(fields, scheduler):
    theirs = _torch_rates(scheduler, 11, 1e-3)
    schedule = make_schedule(_optim(learning_rate=1e-3, **fields), len(theirs), EPOCH)
    ours = [float(schedule(step)) for step in range(len(theirs))]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_optimiser_is_pytorchs(name, decay):
    torch = pytest.importorskip("torch", reason="the reference is PyTorch's optimiser")
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=5).astype("f"), rng.normal(size=(4, 5)).astype("f")
    weight = torch.nn.Parameter(torch.tensor(start))
    if name == "sgd":
        reference = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=decay)
    else:
        cls = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        reference = cls([weight], lr=0.1, weight_decay=decay)
    optim = _optim(name=name, weight_decay=decay, clip_norm=1.5)
    optimizer = make_optimizer(optim, optax.constant_schedule(0.1))
    params = jnp.asarray(start)
    state = optimizer.init(params)
    for grad in grads:
        weight.grad = torch.tensor(grad)
        torch.nn.utils.clip_grad_norm_([weight], 1.5)
        reference.step()
        updates, state = optimizer.update(jnp.asarray(grad), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, weight.detach().numpy(), rtol=2e-5, atol=1e-6)


def test_cosine_ends_where_it_says():
    schedule = make_schedule(_optim(learning_rate=1e-3, final_rate=1e-5), 50, EPOCH)
    assert np.isclose(schedule(0), 1e-3) and np.isclose(schedule(50), 1e-5)


def test_milestones_need_a_place():
    with pytest.raises(UserError, match="both are empty"):
        make_schedule(_optim(schedule="milestones"), 10, EPOCH)


def test_moving_average_starts_late_and_rises():
    copy_first = make_ema_decay(0.995, start=100, warmup=False)
    assert copy_first(99) == 0 and np.isclose(copy_first(100), 0.995)
    rising = make_ema_decay(0.9, start=0, warmup=True)
    assert rising(0) == 0 and np.isclose(rising(7), 0.75) and np.isclose(rising(10**6), 0.9)
