"""A field that the user set and that changes nothing is refused; one that is read never is."""

import copy
import json

import flax.traverse_util
import numpy as np
import pytest

from configs import data_sets
from rsfusion_jax.cli import train as command
from rsfusion_jax.cli.main import run
from rsfusion_jax.data import configured
from rsfusion_jax.errors import UserError
from rsfusion_jax.models import list_models
from rsfusion_jax.training.config import default_config
from rsfusion_jax.training.ignored import NEEDS, check_ignored
from rsfusion_jax.training.optimizer import make_optimizer, make_schedule
from rsfusion_jax.training.recipes import list_recipes, load_recipe

ALWAYS = """name seed model.name init_from data.train data.valid data.test data.ratio
data.patch_size data.crops_per_sample data.augment data.workers train.objective train.loss
train.trackers train.full_resolution train.batch_size train.steps train.accumulate train.remat
train.dtype train.precision train.ema_decay train.log_every train.checkpoint_every train.on_bad_loss
train.spike optim.name optim.learning_rate optim.weight_decay optim.clip_norm optim.schedule
optim.warmup_steps mesh.devices mesh.shard_params_over""".split()


def test_every_field_is_in_the_table():
    fields = flax.traverse_util.flatten_dict(default_config().to_dict(), sep=".")
    groups = {name.removesuffix(".*") for name in NEEDS if name.endswith(".*")}
    table = {name for name in NEEDS if not name.endswith(".*")} | set(ALWAYS)
    assert {name for name in fields if name.partition(".")[0] not in groups} == table
    assert not NEEDS.keys() & set(ALWAYS) and groups <= {name.partition(".")[0] for name in fields}


FILES = ["data.train=a.h5", "data.valid=b.mat", "data.test="]
CLOUDS = ["data.sensor=sen12ms_cr", "data.train=clouds", "data.valid=", "data.test="]
OWN = 'data.own_sensor={"bands": 4, "mtf_ms": 0.3}'
CASES = [  # a field, the other fields with which it changes nothing, and with which it does
    ("init_optimizer=True", [], ["init_from=a.pth"]),
    ("data.sensor=qb", [OWN, *FILES], FILES),
    ("data.sensor=qb", ["data.synthetic.cameras=drawn"], []),
    (OWN, ["data.synthetic.cameras=drawn"], FILES),
    ("data.max_value=1000.0", [], FILES),
    ("data.axes=NHWC", CLOUDS, ["data.test=c.h5"]),
    ("data.synthetic.train_scenes=3", FILES, FILES[1:]),
    ("data.synthetic.valid_scenes=3", ["data.valid="], ["data.train=a.h5"]),
    ("data.synthetic.test_scenes=3", FILES, []),
    ("data.synthetic.size=64", FILES, FILES[:2]),
    ("data.synthetic.cameras=drawn", FILES, []),
    ("data.synthetic.guide=rgb", ["data.synthetic.cameras=drawn"], []),
    ("data.synthetic.nuisances=True", FILES, FILES[:1]),
    ("data.sen12ms_cr.holes=leave_out", [], CLOUDS),
    ("data.sen12ms_cr.s2_max=9000.0", CLOUDS, [*CLOUDS, "data.sen12ms_cr.normalisation=own"]),
    ("train.teacher_steps=4", [], ["train.objective=distillation"]),
    ("train.epochs=3", [], ["train.steps=0"]),
    ("train.ema_start=30", [], ["train.ema_decay=0.9"]),
    ("train.ema_warmup=True", [], ["train.ema_decay=0.5"]),
    ("train.eval_every=30", ["data.valid="], ["data.test="]),
    ("train.max_rollbacks=1", [], ["train.on_bad_loss=rollback"]),
    ("diffusion.sampler=dpm2", ["model.name=pnn"], ["model.name=ddif"]),
    ("optim.final_rate=1e-5", ["optim.schedule=constant"], []),
    ("optim.final_rate=1e-5", ["optim.schedule=step"], ["optim.schedule=cosine_periodic"]),
    ("optim.gamma=0.2", [], ["optim.schedule=step"]),
    ("optim.milestones=(3,)", ["optim.schedule=step"], ["optim.schedule=milestones"]),
    ("eval.batch_size=2", ["data.valid=", "data.test="], ["data.valid="]),
    ("eval.best_metric=SAM", ["data.valid="], ["data.test="]),
    ("eval.methods=('exp',)", ["data.test="], ["data.valid="]),
]


@pytest.mark.parametrize(("field", "without", "with_"), CASES)
def test_a_field_needs_others(field, without, with_, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def check(others, recipe="default"):
        argv = [f"--config.{other}" for other in [field, *others]]
        parsed = command.make_parser("train").parse_args([f"--config={recipe}", *argv])
        check_ignored(parsed.config, parsed.recipe)

    check(with_)
    name = field.partition("=")[0]
    with pytest.raises(UserError, match=rf"^{name}=.* would change nothing, since it needs "):
        check(without)


def test_what_a_recipe_says_may_be_of_other_cases():
    for name in list_recipes():
        check_ignored(load_recipe(name), load_recipe(name))
    for argument in [f"{name}:wv3" for name in list_models()] + [
        f"u2net:{data_set}" for data_set in data_sets.names()
    ]:
        recipe = load_recipe(argument)
        config = copy.deepcopy(recipe)
        config.data.update(train="a.h5", valid="", test="")
        config.train.update(steps=20, epochs=0)  # as is often said beside steps
        check_ignored(config, recipe)


class Recorded:
    """A group of a config that notes which of its fields are read."""

    def __init__(self, group, path, read):
        self._group, self._path, self._read = group, path, read

    def __getattr__(self, name):
        path, value = f"{self._path}.{name}", getattr(self._group, name)
        self._read.add(path)
        return Recorded(value, path, self._read) if hasattr(value, "to_dict") else value

    __getitem__ = __getattr__
    get = __getattr__


@pytest.mark.parametrize("name", ["constant", "cosine", "cosine_periodic", "step", "milestones"])
def test_what_schedules_read(name):
    config, read = default_config(), set()
    config.optim.update(schedule=name, milestones=(2, 3))
    optim = Recorded(config.optim, "optim", read)
    schedule = make_schedule(optim, 100, 10)
    make_optimizer(optim, schedule)
    assert np.isfinite(schedule(60))
    for field, need in NEEDS.items():
        if field.startswith("optim.") and field != "optim.final_rate":
            assert (field in read) == need.met(config), field
    # Whether the last rate is read does not say that it is used.
    before = schedule(90)
    config.optim.final_rate = 0.001
    used = make_schedule(config.optim, 100, 10)(90) != before
    assert used == NEEDS["optim.final_rate"].met(config)


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"synthetic.cameras": "drawn"},
        {"train": "a.h5"},
        {"train": "a.h5", "own_sensor": {"bands": 4, "mtf_ms": 0.3}},
        {"train": "clouds", "sensor": "sen12ms_cr"},
        {"train": "clouds", "sensor": "sen12ms_cr", "sen12ms_cr.normalisation": "own"},
    ],
)
def test_what_sets_read(others, monkeypatch):
    """Every field of `data` that is read to open a set has an effect by the table."""
    config, read = default_config(), set()
    config.data.update(valid="", test="")
    for path, value in others.items():
        group = config.data if "." not in path else config.data[path.partition(".")[0]]
        group[path.rpartition(".")[2]] = value

    def none(*args, **options):
        raise InterruptedError

    monkeypatch.setattr(configured, "open_set", none)
    monkeypatch.setattr("rsfusion_jax.data.sen12ms_cr.open_sen12ms_cr", none)
    monkeypatch.setattr("rsfusion_jax.data.synthetic.ManyCameras", none)
    monkeypatch.setattr("rsfusion_jax.data.synthetic.SyntheticScenes", none)
    with pytest.raises(InterruptedError):
        configured.open_split(Recorded(config.data, "data", read), "train", 0)
    fields = {field for field in NEEDS if field.startswith("data.")}
    fields -= {"data.sensor", "data.own_sensor"}  # one is read to see whether the other counts
    assert read & fields == {field for field in fields if NEEDS[field].met(config)}


def test_the_command_refuses_them(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ["train", "--workdir=run", "--config.train.epochs=7"]
    with pytest.raises(SystemExit) as ended:
        run(argv)
    said = capsys.readouterr().err.strip()
    assert ended.value.code == 2 and len(said.splitlines()) == 1
    assert said.startswith("error: train.epochs=7 would change nothing")
    assert not list(tmp_path.iterdir())
    # A run that was started with it, by an earlier version, goes on.
    started = []
    monkeypatch.setattr("rsfusion_jax.training.loop.train", lambda *args, **_: started.append(args))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps({}))
    run(argv)
    assert started[0][1] == "run"
