"""One training run, from a config to a run folder; read `train` top to bottom."""

from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections

from rsfusion_jax import __version__
from rsfusion_jax.data.pipeline import steps_per_epoch, train_dataset
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.leaderboard import closing_report
from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.inference.load import load, network_card
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.porting.optimizer import with_adam_moments
from rsfusion_jax.training import sharding
from rsfusion_jax.training.checkpoint import Checkpoints, abstract_like, has_checkpoint
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.optimizer import make_optimizer, make_schedule
from rsfusion_jax.training.run_folder import finished_step, mark_finished, open_run_folder
from rsfusion_jax.training.sets import open_split
from rsfusion_jax.training.start import initial_params
from rsfusion_jax.training.state import create_state
from rsfusion_jax.training.step import make_ema_decay, make_train_step
from rsfusion_jax.training.validation import Validation, check_options
from rsfusion_jax.training.writers import ProgressBar, RunLog, StepLog

_DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}


def train(config: ml_collections.ConfigDict, workdir: str | Path) -> Path:
    """Trains, validates, saves and finally scores a network; resumes what was interrupted.

    Args:
        config: fields as in configs/default.py.
        workdir: the run folder; created, or resumed if it holds the same config.

    Returns:
        The run folder.

    Raises:
        UserError: contradictory config or data, a folder of another run, a non-finite loss.
    """
    workdir = Path(workdir)
    if finished_step(workdir, config) is not None:
        print(f"{workdir} is finished at step {finished_step(workdir, config)}: see report.json in")
        print("it; to train again, name another --workdir or delete this one")
        return workdir

    # Data.
    mesh = sharding.make_mesh(config.mesh.devices, config.mesh.fsdp)
    sharding.check_batch_size(mesh, config.train.batch_size, config.train.accumulate)
    train_set = open_split(config.data, "train", config.seed)
    valid_set = open_split(config.data, "valid", config.seed)
    test_set = open_split(config.data, "test", config.seed)
    info = train_set.info
    check_options(config.eval, info.ratio)
    dataset = train_dataset(
        train_set,
        batch_size=config.train.batch_size,
        patch_size=config.data.patch_size or None,
        seed=config.seed,
        crops_per_sample=config.data.crops_per_sample,
        augment=config.data.augment,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        workers=config.data.workers,
    )
    batches = iter(dataset)
    epoch = steps_per_epoch(train_set, config.train.batch_size, config.data.crops_per_sample)
    steps = config.train.steps or config.train.epochs * epoch
    if steps < 1:
        raise UserError("train.steps and train.epochs are both 0; set one of them")

    # Network, optimiser and step.
    if config.train.dtype not in _DTYPES:
        raise UserError(f"train.dtype={config.train.dtype!r}; choose {' or '.join(_DTYPES)}")
    fields = config.model.to_dict()
    model = create_model(
        **fields,
        num_bands=info.num_bands,
        guide_bands=info.guide_bands,
        ratio=info.ratio,
        dtype=_DTYPES[config.train.dtype],
        precision=config.train.precision,
    )
    diffusion = None if model.predicts == "fused" else Diffusion(**config.diffusion)
    schedule = make_schedule(config.optim, steps, epoch)
    optimizer = make_optimizer(config.optim, schedule)
    train_step = make_train_step(
        model,
        make_objective(config.train.objective, config.train.loss, diffusion),
        optimizer,
        accumulate=config.train.accumulate,
        ema_decay=make_ema_decay(
            config.train.ema_decay, config.train.ema_start, config.train.ema_warmup
        ),
    )
    card = {
        **network_card(
            model,
            fields,
            sensor=info.sensor,
            max_value=info.max_value,
            ms_phase=info.ms_phase,
            diffusion=diffusion,
        ),
        "config": config.to_dict(),
        "version": __version__,
    }

    def init(key):
        params_key, state_key = jax.random.split(key)
        params = init_params(model, params_key)
        return create_state(params, optimizer, state_key, ema=config.train.ema_decay > 0)

    given = None
    if config.init_from and not has_checkpoint(workdir):
        given = initial_params(config.init_from, model, card)

    # From here on there is a run folder, and everything is placed on the mesh.
    open_run_folder(workdir, config)
    checkpoints = Checkpoints(workdir)
    with jax.set_mesh(mesh):
        key = jax.random.key(config.seed)
        abstract = jax.eval_shape(init, key)
        placed = sharding.state_shardings(mesh, abstract)

        # Where to start: 1. this run's newest checkpoint, 2. init_from, 3. the seed.
        state = checkpoints.restore(abstract_like(abstract, placed), batches)
        if state is None:
            state = jax.jit(init, out_shardings=placed)(key)
            if given is not None:
                params = jax.device_put(given, placed.params)
                ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
                state = state.replace(params=params, ema=ema)
                if config.init_optimizer:
                    opt_state = with_adam_moments(state.opt_state, model, config.init_from)
                    opt_state = jax.device_put(opt_state, placed.opt_state)
                    state = state.replace(opt_state=opt_state)
        first = int(state.step)
        count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
        start = f"resuming at step {first} of" if first else "training for"
        print(f"{fields['name']}: {count:,} parameters, {start} {steps} steps on {info.name}")

        step_fn = jax.jit(
            train_step, donate_argnums=0, out_shardings=(placed, sharding.replicated(mesh))
        )
        # Several CPU devices share one pool of threads: steps queued ahead can fill it with
        # reductions that wait for a device which has no thread left to run on.
        lockstep = mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"
        log = RunLog(workdir, first)
        step_log = StepLog(log, schedule, config.train.batch_size)
        validation = Validation(config.eval, valid_set, model, mesh, checkpoints, log, card)
        try:
            with ProgressBar(f"training {fields['name']}", steps, first) as bar:
                for step in range(first + 1, steps + 1):
                    batch = sharding.put_batch(mesh, step_log.timed(next, batches))
                    state, metrics = step_fn(state, batch)
                    if lockstep:
                        jax.block_until_ready(metrics)
                    step_log.add(step, metrics)

                    def due(every, step=step):
                        return step == steps or step % every == 0

                    note = None
                    if due(config.train.log_every):
                        note = _checked(step_log, checkpoints)
                    if valid_set and due(config.train.eval_every):
                        _checked(step_log, checkpoints)
                        note = validation.run(step, state.eval_params)
                    if due(config.train.checkpoint_every):
                        # Never save what a non-finite loss has touched.
                        _checked(step_log, checkpoints)
                        checkpoints.save(state, batches, card)
                    bar.advance(note)
        finally:
            checkpoints.close()
            log.close()

    if test_set:
        closing_report(load(workdir), test_set, config, workdir)
    mark_finished(workdir, steps)
    return workdir


def _checked(step_log: StepLog, checkpoints: Checkpoints) -> str:
    """Writes the finished steps' numbers; stops the run at the first loss that is not finite."""
    bad = step_log.flush()
    if bad is not None:
        checkpoints.wait()
        good = checkpoints.latest_path()
        raise UserError(
            f"the loss is not finite at step {bad}; the last good checkpoint is "
            f"{good or 'none, nothing was saved yet'}; lower optim.learning_rate, set "
            "optim.clip_norm or look for bad pixels in the training set"
        )
    return step_log.note
