"""Train a network: from a config to a run folder."""

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections

from rsfusion_jax import __version__
from rsfusion_jax.data.configured import open_split
from rsfusion_jax.data.identity import set_identity
from rsfusion_jax.data.invalid import invalid_samples
from rsfusion_jax.data.pipeline import Batches, samples_of_batch, steps_per_epoch, train_dataset
from rsfusion_jax.data.source import Source
from rsfusion_jax.errors import Interrupted, UserError
from rsfusion_jax.evaluation.leaderboard import closing_report
from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.inference.intermediates import parse_blocks
from rsfusion_jax.inference.load import load
from rsfusion_jax.models import abstract_params, create_model, init_params
from rsfusion_jax.new_files import is_full_disk
from rsfusion_jax.porting.optimizer import with_adam_moments
from rsfusion_jax.progress import ProgressBar
from rsfusion_jax.runs.card import network_card
from rsfusion_jax.runs.checkpoint import (
    Checkpoints,
    abstract_like,
    has_checkpoint,
)
from rsfusion_jax.runs.folder import finished_step, mark_finished, open_run_folder
from rsfusion_jax.runs.lock import RunLock
from rsfusion_jax.runs.processes import barrier, is_first
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training import sharding
from rsfusion_jax.training.config import default_config
from rsfusion_jax.training.interruption import StopRequest
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.optimizer import make_optimizer, make_schedule
from rsfusion_jax.training.profile import Profile
from rsfusion_jax.training.ranges import check_ranges
from rsfusion_jax.training.residual_scale import find_residual_scale
from rsfusion_jax.training.start import initial_params
from rsfusion_jax.training.step import make_ema_decay, make_train_step
from rsfusion_jax.training.step_log import BadLossError, StepLog
from rsfusion_jax.training.trackers import check_trackers
from rsfusion_jax.training.validation import Validation, check_options
from rsfusion_jax.training.writers import RunLog

_DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}
_COMPILING = "compiling the training step: seconds to minutes the first time, then cached"


def train(
    config: ml_collections.ConfigDict,
    workdir: str | Path,
    *,
    profile: bool = False,
    sets: Mapping[str, Source] | None = None,
    beside: str = "",
) -> Path:
    """Train, validate, checkpoint and finally test a network; resume an interrupted run.

    Args:
        config: config of the run, with the fields of `default_config()`.
        workdir: the run folder. It is created if it does not exist; a run in it with the same
            config is resumed.
        profile: whether to write a profiler trace of a few steps to the TensorBoard folder.
        sets: data sets in memory that replace those of the config: "train" and optionally "valid"
            and "test".
        beside: text printed after each validation score, such as the scores of other methods.

    Returns:
        The run folder.

    Raises:
        UserError: the config or the data are contradictory, the folder belongs to another run or
            is in use, the loss is not finite, or the disk is full.
        Interrupted: the run was stopped by SIGTERM or SIGINT, after it saved a checkpoint.
    """
    workdir = Path(workdir)
    check_ranges(config)
    check_trackers(config.train.trackers)
    finished = finished_step(workdir, config, default_config())
    if finished is not None:
        print(
            f"{workdir}: training finished at step {finished}; to train again, choose another run "
            "folder or delete this one"
        )
        return workdir
    with StopRequest() as stop:
        if sets is None:
            splits = ("train", "valid", "test")
            sets = {split: open_split(config.data, split, config.seed) for split in splits}
            identities = {
                split: None if source is None else set_identity(source)
                for split, source in sets.items()
                if is_first()
            }
        else:
            identities = None
        steps = _train(config, workdir, sets, identities, stop, profile, beside)
        test_set = sets.get("test")
        if test_set and is_first():
            closing_report(load(workdir), test_set, config, workdir)
        if is_first():
            mark_finished(workdir, steps)
    return workdir


def _train(
    config, workdir: Path, sets, identities, stop: StopRequest, profile: bool, beside: str
) -> int:
    """Train without the final report; return the number of steps of the run."""
    # Data.
    mesh = sharding.make_mesh(config.mesh.devices, config.mesh.shard_params_over)
    sharding.check_batch_size(mesh, config.train.batch_size, config.train.accumulate)
    train_set, valid_set = sets["train"], sets.get("valid")
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
    batches = Batches(dataset)
    epoch = steps_per_epoch(train_set, config.train.batch_size, config.data.crops_per_sample)
    steps = config.train.steps or config.train.epochs * epoch
    if steps < 1:
        raise UserError("train.steps and train.epochs are both 0; set one of them")

    # Network, optimiser and step.
    fields = config.model.to_dict()
    model = create_model(
        **fields,
        num_bands=info.num_bands,
        guide_bands=info.guide_bands,
        ratio=info.ratio,
        dtype=_DTYPES[config.train.dtype],
    )
    diffusion = None
    if model.predicts != "fused":
        scale = find_residual_scale(config, train_set, workdir)
        diffusion = Diffusion(**{**config.diffusion, "residual_scale": scale})
    schedule = make_schedule(config.optim, steps, epoch)
    optimizer = make_optimizer(config.optim, schedule)
    objective = make_objective(
        config.train.objective,
        config.train.loss,
        diffusion,
        config.train.teacher_steps,
        full_resolution_weight=config.train.full_resolution,
        sensor=info.sensor,
    )
    objective.check(model, train_set[0])
    train_step = make_train_step(
        model,
        objective,
        optimizer,
        accumulate=config.train.accumulate,
        ema_decay=make_ema_decay(
            config.train.ema_decay, config.train.ema_start, config.train.ema_warmup
        ),
        remat=config.train.remat,
    )
    card = {
        **network_card(
            model,
            fields,
            sensor=info.sensor,
            max_value=info.max_value,
            ms_phase=info.ms_phase,
            pan_value=info.pan_value,
            diffusion=diffusion,
        ),
        "config": config.to_dict(),
        "version": __version__,
    }

    ema, distils = config.train.ema_decay > 0, config.train.objective == "distillation"
    if distils and not config.init_from:
        raise UserError(
            "train.objective='distillation' learns from a trained network; name its run or weights "
            "as init_from"
        )

    def begin(params, key):
        return create_state(params, optimizer, key, ema=ema, teacher=distils)

    blocks = parse_blocks(config.train.log_features, model)
    loaded_params = {}
    if config.init_from and not has_checkpoint(workdir):
        loaded_params = initial_params(config.init_from, model, card)

    # From here on the run folder exists, and all arrays are placed on the mesh.
    with contextlib.ExitStack() as stack:
        if is_first():
            open_run_folder(workdir, config, default_config(), identities, steps)
            stack.enter_context(RunLock(workdir))
        barrier("run folder")
        checkpoints = stack.enter_context(_open_checkpoints(workdir))
        stack.enter_context(jax.set_mesh(mesh))
        params_key, state_key = jax.random.split(jax.random.key(config.seed))
        abstract = jax.eval_shape(begin, abstract_params(model), state_key)
        placed = sharding.state_shardings(mesh, abstract)
        abstract = abstract_like(abstract, placed)

        # Where to start: 1. this run's newest checkpoint, 2. init_from, 3. the seed.
        state = checkpoints.restore(abstract, card, batches)
        if state is None:
            # Each parameter is drawn by a small program; one for all takes longer to compile.
            params = loaded_params
            if params.keys() != abstract.params.keys():
                params = {**init_params(model, params_key), **params}
            params = jax.device_put(jax.device_get(params), placed.params)
            state = jax.jit(begin, out_shardings=placed)(params, state_key)
            if config.init_from and config.init_optimizer:
                opt_state = with_adam_moments(state.opt_state, model, config.init_from)
                opt_state = jax.device_put(opt_state, placed.opt_state)
                state = state.replace(opt_state=opt_state)
        first = step = int(state.step)
        if is_first():
            count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
            start = f"resuming at step {first} of" if first else "training for"
            print(f"{fields['name']}: {count:,} parameters, {start} {steps} steps on {info.name}")
            print(sharding.describe(mesh))

        step_fn = jax.jit(
            train_step, donate_argnums=0, out_shardings=(placed, sharding.replicated(mesh))
        )
        # Several CPU devices share one thread pool. If steps were queued ahead, reductions that
        # wait for another device could occupy all threads, and that device could never run.
        lockstep = mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"
        log = stack.enter_context(contextlib.closing(_open_log(config, workdir, first)))
        step_log = StepLog(log, schedule, config.train.batch_size, mesh.size, config.train.spike)
        validation = Validation(config.eval, valid_set, model, mesh, checkpoints, log, card, blocks)
        tracer = stack.enter_context(Profile(workdir, first if profile else None))
        bar = stack.enter_context(
            ProgressBar(f"training {fields['name']}", steps, first, quiet=not is_first())
        )
        compiled, rollbacks = None, 0
        stack.enter_context(stop.at_steps())
        if first == 0 and config.init_from and valid_set:
            # Scored as well, so that the best checkpoint is never worse than the start.
            bar.move_to(0, validation.run(0, state.eval_params) + beside)
        while step < steps:
            step += 1
            batch = sharding.put_batch(mesh, step_log.timed(next, batches))
            if compiled is None:
                bar.move_to(step - 1, _COMPILING)
                with jax.default_matmul_precision(config.train.precision):
                    compiled = step_log.compile(step_fn, state, batch)
            tracer.before(step)
            # Batch and state are already on the devices. An implicit transfer from the host would
            # slow down every step unnoticed, so it is made an error.
            with jax.transfer_guard("disallow"):
                state, metrics = compiled(state, batch)
            if lockstep:
                jax.block_until_ready(metrics)
            step_log.add(step, metrics)
            stopping, note = stop.due(step), None

            def due(every, step=step):
                return step == steps or step % every == 0

            try:
                if due(config.train.log_every):
                    note = step_log.flush()
                if valid_set and due(config.train.eval_every):
                    step_log.flush()
                    note = validation.run(step, state.eval_params) + beside
                if due(config.train.checkpoint_every) or stopping:
                    # Check the losses first: weights after a bad loss must not be saved.
                    step_log.flush()
                    checkpoints.save(state, batches, card)
            except BadLossError as bad:
                rollbacks += 1
                indices = samples_of_batch(
                    train_set,
                    batches.taken - 1 - (step - bad.step),
                    batch_size=config.train.batch_size,
                    seed=config.seed,
                    crops_per_sample=config.data.crops_per_sample,
                )
                invalid = invalid_samples(train_set, indices)
                _check_rollback(bad, invalid, info.name, config.train, checkpoints, rollbacks)
                # Without `batches`: the data goes on, so that the bad batch is not met again.
                state = checkpoints.restore(abstract, card)
                step = int(state.step)
                log.go_back(step)
                log.scalars(step, {"guard/went_back_from": bad.step})
                step_log.restart()
                note = f"{bad}: resumed from the checkpoint of step {step} with other data"
            bar.move_to(step, note)
            if stopping:
                checkpoints.wait()
                raise Interrupted(
                    f"stopped by {stop.signal.name}: step {step} of {steps} is saved in {workdir}; "
                    "start the same command again to resume"
                )
    return steps


def _open_log(config, workdir: Path, first_step: int) -> RunLog:
    return RunLog(workdir, first_step, config.train.trackers, config.to_dict())


@contextlib.contextmanager
def _open_checkpoints(workdir: Path):
    """Open the checkpoints of a run; report a full disk as an error that names the latest one."""
    checkpoints = Checkpoints(workdir)
    try:
        try:
            yield checkpoints
        finally:
            checkpoints.close()
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise UserError(
            f"the disk of {workdir} is full; the last complete checkpoint is "
            f"{checkpoints.latest_path() or 'none'}: free some space and start the same command "
            "again to resume from it"
        ) from error


def _check_rollback(
    bad: BadLossError, invalid: str, set_name: str, options, checkpoints: Checkpoints, tries: int
) -> None:
    """Raise an error for a bad loss unless the config allows a rollback and a checkpoint exists.

    Args:
        bad: the bad loss.
        invalid: samples of its batch with values that are not finite; empty if there are none.
        set_name: name of the training set.
        options: `config.train`.
        checkpoints: checkpoints of the run.
        tries: number of rollbacks, with the one that is to be made.
    """
    checkpoints.wait()
    saved = checkpoints.latest_path()
    advice = "lower optim.learning_rate, set optim.clip_norm, or set train.on_bad_loss='rollback'"
    cause = ""
    if invalid:
        cause = f", whose batch holds NaN or infinite values ({invalid} of {set_name})"
        advice = f"repair these samples or leave them out; rsfusion check {set_name} names all"
    if options.on_bad_loss != "rollback" or saved is None or tries > options.max_rollbacks:
        tried = f" after {tries - 1} rollbacks" if tries > 1 else ""
        raise UserError(
            f"{bad}{cause}{tried}; the last good checkpoint is {saved or 'none'}; {advice}"
        )
    warnings.warn(
        f"{bad}{cause}; the run goes back to {saved} and continues with other data", stacklevel=2
    )
