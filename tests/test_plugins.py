"""Networks and sensors from users' own packages, which are folders on sys.path here."""

import dataclasses
import sys
import textwrap

import jax
import numpy as np
import pytest
from scene_files import counts, read, write_pair
from tiny_runs import tiny_config

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.specs import parse_spec
from rsfusion_jax.models import init_params
from rsfusion_jax.models.network import Network
from rsfusion_jax.training.loop import train

NETWORK = """
    import flax.linen as nn
    import jax.numpy as jnp
    from rsfusion_jax.models.network import Network

    class OwnNet(Network):
        width: int = 8
        title = "OwnNet"
        receptive_field = 3

        @nn.compact
        def __call__(self, pan, ms, lms, train=False):
            x = nn.relu(nn.Conv(self.width, (3, 3))(jnp.concatenate([lms, pan], axis=-1)))
            return {"fused": lms + nn.Conv(self.num_bands, (1, 1))(x)}

    NOT_ONE = 3
    SENSOR = {"bands": ["g", "r", "n"], "mtf_ms": 0.3, "bit_depth": 12}
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package of a name: its module's text, and its entry points by group."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    for registry in (rsf.models.own_models, rsf.sensors.own_sensors):
        monkeypatch.setattr(registry, "_loaded", {})

    def install(name, text=NETWORK, **groups):
        site = tmp_path / "site"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(textwrap.dedent(text))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        points = [f"[rsfusion_jax.{group}]\n{line}\n" for group, line in groups.items()]
        (info / "entry_points.txt").write_text("\n".join(points))
        monkeypatch.syspath_prepend(info)  # another sys.path, as after a restart

    yield install
    for name in [n for n, m in sys.modules.items() if str(tmp_path) in str(m)]:
        del sys.modules[name]


def test_a_network_of_a_package_is_found_by_its_weights(package, tmp_path):
    package("theirs", models="ownnet = theirs:OwnNet")
    assert "ownnet" in rsf.list_models() and "theirs" not in sys.modules
    model = rsf.create_model("ownnet", num_bands=3, ratio=2, width=4)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, max_value=2047)
    rsf.save_pretrained(fuser, tmp_path / "weights")
    loaded = rsf.load(tmp_path / "weights")
    assert type(loaded.model).__module__ == "theirs" and loaded.model.width == 4
    images = [np.float32(image) for image in counts(4, 5, bands=3, ratio=2)]
    np.testing.assert_array_equal(loaded(*images), fuser(*images))
    assert parse_spec("ownnet:weights.pth").network == "ownnet"
    with pytest.raises(UserError, match=r"ownnet has no field 'depth'; its fields are .*width"):
        rsf.create_model("ownnet", num_bands=3, depth=3)


@pytest.mark.slow
def test_a_network_of_a_package_trains_is_scored_and_fuses(package, tmp_path, capsys, monkeypatch):
    package("theirs", models="ownnet = theirs:OwnNet")
    assert "ownnet" in rsf.list_models() and "theirs" not in sys.modules
    monkeypatch.chdir(tmp_path)
    config = tiny_config()
    with config.unlocked():
        config.model = {"name": "ownnet", "width": 4}
    config.train.steps, config.data.valid = 2, ""
    train(config, "run")
    fuser = rsf.load("run")
    assert type(fuser.model).__module__ == "theirs" and fuser.model.width == 4
    run(["evaluate", "--workdir=run", "--out=scores"])
    run(["compare", "run"])
    printed = capsys.readouterr().out
    assert "OwnNet" in printed and "seeds" in printed
    pan, ms = counts(8, 9, bands=8)
    pair = write_pair(tmp_path, pan, ms)
    run(["fuse", *map(str, pair), "out.tif", "--weights=run", "--samples=0", "--shift=none"])
    assert read("out.tif")[0].shape == (32, 36, 8)
    rsf.save_pretrained(fuser, "weights")
    images = np.float32(pan), np.float32(ms)
    np.testing.assert_array_equal(rsf.load("weights")(*images), fuser(*images))


def test_the_tables_have_what_packages_add(package, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    package(
        "theirs",
        models="ownnet = theirs:OwnNet\ngone = theirs:Gone",
        sensors="own3 = theirs:SENSOR",
    )
    run(["models"])
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if " ownnet " in line)
    count = 8 * 9 * 9 + 8 + 8 * 8 + 8
    assert "theirs" in row and f" {count} " in row
    assert "network 'gone' of the package theirs cannot be used" in printed
    run(["sensors"])
    assert "own3" in capsys.readouterr().out
    assert rsf.get_sensor("OWN3").max_value == 4095 and "own3" in rsf.list_sensors()


@pytest.mark.parametrize(
    ("text", "point", "message"),
    [
        ("import no_such_module", "ownnet = theirs:OwnNet", "ModuleNotFoundError: No module"),
        ("1 / 0", "ownnet = theirs:OwnNet", "ZeroDivisionError"),
        ("raise SystemExit(3)", "ownnet = theirs:OwnNet", "SystemExit"),
        (NETWORK, "ownnet = theirs:Gone", "AttributeError"),
        (NETWORK, "ownnet = elsewhere:OwnNet", "No module named 'elsewhere'"),
        (NETWORK, "ownnet = theirs:NOT_ONE", "must be a subclass"),
        (NETWORK, "other = theirs:OwnNet", "must have its name as its title"),
    ],
)
def test_a_broken_package_is_named_and_breaks_nothing_else(package, text, point, message):
    package("theirs", text, models=point)
    name = point.partition(" ")[0]
    with pytest.raises(UserError, match=rf"'{name}' of the package theirs cannot .*{message}"):
        rsf.create_model(name, num_bands=4)
    rsf.create_model("pnn", num_bands=4)
    assert name in rsf.list_models()


def test_names_that_are_taken(package):
    package("theirs", models="pnn = theirs:OwnNet", sensors="wv3 = theirs:SENSOR")
    with pytest.warns(UserWarning, match="network 'pnn' of the package theirs is left out"):
        assert rsf.list_models().count("pnn") == 1
    assert type(rsf.create_model("pnn", num_bands=4)).__module__ == "rsfusion_jax.models.pnn"
    assert rsf.get_sensor("wv3").num_bands == 8
    package("first", models="ownnet = first:OwnNet")
    package("second", models="ownnet = second:OwnNet")
    with (
        pytest.warns(UserWarning, match="'pnn'"),
        pytest.raises(UserError, match="declared by the packages first and second; uninstall one"),
    ):
        rsf.create_model("ownnet", num_bands=4)


def test_registered_networks_and_sensors(monkeypatch):
    monkeypatch.setattr(rsf.models.own_models, "_registered", {})
    monkeypatch.setattr(rsf.sensors.own_sensors, "_registered", {})

    def define():
        class Mine(Network):
            title = "Mine"

            def __call__(self, pan, ms, lms, train=False):
                return {"fused": lms}

        return Mine

    rsf.register_model("mine", define())
    again = define()
    rsf.register_model("mine", again)
    assert type(rsf.create_model("mine", num_bands=3)) is again and "mine" in rsf.list_models()
    other = type("Mine", (Network,), {"title": "Mine", "__module__": "elsewhere"})
    for name, network, message in (
        ("mine", other, "'mine': the name is taken"),
        ("pnn", type("P", (Network,), {"title": "PNN"}), "'pnn': the name is taken"),
        ("yours", again, "must have its name as its title"),
        ("mine", 3, "must be a subclass"),
    ):
        with pytest.raises(UserError, match=message):
            rsf.register_model(name, network)
    record = dataclasses.replace(rsf.get_sensor("qb"), name="qb_own")
    rsf.register_sensor("qb_own", record)
    assert rsf.get_sensor("qb_own") is record
    for name, sensor, message in (
        ("qb", record, "must have its name"),
        ("qb", {"bands": 4, "mtf_ms": 0.3}, "'qb': the name is taken"),
        ("Own", {"bands": 4, "mtf_ms": 0.3}, "in lower case"),
        ("own", "qb", "must be a rsfusion_jax.sensors.Sensor"),
        ("own", {"bands": 4}, "needs mtf_ms"),
    ):
        with pytest.raises(UserError, match=message):
            rsf.register_sensor(name, sensor)
