"""Hostile arguments of every command: a sound end, or one sentence, status 2 and nothing left."""

import hashlib
import shutil
import warnings
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
from scene_files import counts, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import COMMANDS, run
from rsfusion_jax.models import init_params

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

# Per command: its arguments, with {input} and {out} for what is replaced, and what these are.
TRAIN = [
    "train",
    "--config=pnn:qb",
    "--config.data.train={input}",
    "--config.data.valid=",
    "--config.data.test=",
    "--config.data.patch_size=16",
    "--config.train.epochs=0",
    "--config.train.steps=1",
    "--config.train.batch_size=1",
    "--workdir={out}",
]
PORT = ["--model=pnn", "--num-bands=4", "--sensor=qb"]
CASES = {
    "evaluate set": (
        ["evaluate", "--methods=exp", "--data={input}", "--sensor=qb", "--out={out}"],
        "set.h5",
        "report",
    ),
    "evaluate weights": (
        ["evaluate", "--methods={input}", "--data=set.h5", "--sensor=qb", "--out={out}"],
        "run",
        "report",
    ),
    "evaluate run": (
        ["evaluate", "--workdir={input}", "--data=set.h5", "--sensor=qb", "--out={out}"],
        "run",
        "report",
    ),
    "evaluate sensor": (
        ["evaluate", "--methods=exp", "--data=set.h5", "--sensor={input}", "--out={out}"],
        "own.json",
        "report",
    ),
    "explain": (
        ["explain", "{out}", "--methods=run", "--data={input}", "--sensor=qb", "--pixel=1,1"],
        "set.h5",
        "new",
    ),
    "train": (TRAIN, "set.h5", "new"),
    "train config": (["train", "--config={input}", "--workdir={out}"], "own.py", "new"),
    "train start": (
        [*TRAIN[:2], "--config.init_from={input}", "--config.data.train=set.h5", *TRAIN[3:]],
        "run",
        "new",
    ),
    "view": (["view", "{input}", "ms.tif", "--page={out}", "--quiet"], "pan.tif", "new.html"),
    "simulate pan": (
        ["simulate", "{input}", "ms.tif", "{out}", "--sensor=qb", "--patch=32"],
        "pan.tif",
        "new.h5",
    ),
    "simulate ms": (
        ["simulate", "pan.tif", "{input}", "{out}", "--sensor=qb", "--patch=32"],
        "ms.tif",
        "new.h5",
    ),
    "simulate cube": (
        ["simulate", "{input}", "{out}", "--srf=rows.csv", "--sensor=qb", "--patch=32"],
        "ms.tif",
        "new.h5",
    ),
    "simulate response": (
        ["simulate", "ms.tif", "{out}", "--srf={input}", "--sensor=qb", "--patch=32"],
        "rows.csv",
        "new.h5",
    ),
    "check": (["check", "{input}", "--sensor=qb"], "set.h5", None),
    "check sensor": (["check", "set.h5", "--sensor={input}"], "own.json", None),
    "convert": (["convert", "{input}", "{out}"], "set.h5", "new.h5"),
    "port": (["port", "{input}", "{out}", *PORT], "w.pth", "new"),
    "port to torch": (["port", "{input}", "{out}", "--to-torch"], "run", "new.pth"),
    "port to safetensors": (["port", "{input}", "{out}", "--to-torch"], "run", "new.safetensors"),
    "export": (["export", "{input}", "{out}", "--tile=16"], "run", "new.rsfusion"),
    "sample": (["sample", "{out}"], None, "new"),
    "fuse pan": (["fuse", "{input}", "ms.tif", "{out}", "--method=exp"], "pan.tif", "new.tif"),
    "fuse ms": (["fuse", "pan.tif", "{input}", "{out}", "--method=exp"], "ms.tif", "new.tif"),
    "fuse weights": (
        ["fuse", "pan.tif", "ms.tif", "{out}", "--weights={input}"],
        "run",
        "new.tif",
    ),
    "fuse sensor": (
        ["fuse", "pan.tif", "ms.tif", "{out}", "--method=exp", "--sensor={input}"],
        "own.json",
        "new.tif",
    ),
    "fuse report": (
        ["fuse", "{input}", "ms.tif", "new.tif", "--method=exp", "--report={out}"],
        "pan.tif",
        "new.json",
    ),
    "fuse view": (
        ["fuse", "{input}", "ms.tif", "new.tif", "--method=exp", "--view={out}"],
        "pan.tif",
        "new.html",
    ),
    "evaluate view": (
        ["evaluate", "--methods=exp", "--data={input}", "--sensor=qb", "--view", "--out={out}"],
        "set.h5",
        "report",
    ),
}
NUMBERS = ("nan", "inf", "-inf", "-1", "0", "1e308", "1e-320", "9" * 30, "-" + "9" * 30, "", "x")
SENSOR = '{"name": "mine", "bands": ["b", "g", "r", "n"], "mtf_ms": 0.3, "bit_depth": 11}'


def write_inputs():
    draw = np.random.default_rng(0)
    with h5py.File("set.h5", "w") as file:
        for key, (bands, side) in {"gt": (4, 64), "ms": (4, 16), "pan": (1, 64)}.items():
            file[key] = draw.random((2, bands, side, side)) * 2000
    write_pair(Path(), *counts(32, 32))
    Path("own.json").write_text(SENSOR)
    Path("own.py").write_text("def get_config():\n    return {}\n")
    Path("rows.csv").write_text("0.25\n" * 4)
    model = rsf.create_model("pnn", num_bands=4)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
    rsf.save_torch(fuser, "w.pth")
    run(["port", "w.pth", "run", *PORT])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    pytest.importorskip("torch", reason="needs the extra [torch]")
    folder = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_inputs()
    return folder


@pytest.fixture
def folder(inputs, tmp_path, monkeypatch):
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(folder):
    """Name and digest of every file."""
    return {
        str(path): hashlib.sha1(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def ended(argv, capsys):
    """Status and what was printed of errors; a traceback is status 1."""
    capsys.readouterr()
    show = warnings.showwarning
    try:
        run(argv)
    except SystemExit as stop:
        return stop.code or 0, capsys.readouterr().err
    finally:
        warnings.showwarning = show
    return 0, capsys.readouterr().err


def wrong(folder, argv, capsys, before, allowed=(2,)):
    """Say what is wrong with the end of a command; nothing where all is right."""
    try:
        status, printed = ended(argv, capsys)
    except BaseException as error:  # what came through the commands' own guard
        status, printed = 1, repr(error)
    after = content(folder)
    said = f"{argv}: status {status}, {printed[-700:]}"
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    faults = []
    if status not in allowed or "Traceback" in printed:
        faults.append("status")
    if status == 2 and (len(errors) != 1 or not printed.rstrip().endswith(errors[0])):
        faults.append("not one sentence")
    if {name: after.get(name) for name in before} != before:
        faults.append("an input was changed")
    if status == 2 and after.keys() != before.keys():
        faults.append(f"left {sorted(after.keys() - before.keys())}")
    for name in after.keys() - before.keys():
        path = Path(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return f"{', '.join(faults)}: {said}" if faults else None


def name_cases(case):
    """(what is hostile, arguments, statuses that are right)."""
    argv, source, target = CASES[case]

    def filled(source, target):
        return [argument.replace("{input}", source).replace("{out}", target) for argument in argv]

    source, target = source or "", target or ""
    if any("{input}" in argument for argument in argv):
        for what, name in {
            "missing": "gone/" + source,
            "a folder": "folder" + Path(source).suffix,
            "an empty file": "empty" + Path(source).suffix,
            "not UTF-8": "b\udcffd" + Path(source).suffix,
            "long": "n" * 300 + source,
            "long path": "n/" * 3000 + source,
            "NUL": "a\0b" + source,
            "a newline": "a\nb" + source,
            "nothing": "",
        }.items():
            # Without a name some commands take what they take by default.
            yield what, filled(name, target), (0, 1, 2) if what == "nothing" else (2,)
        name = "\udcff" + source
        yield "sound, name not UTF-8", filled(name, target), (0, 1, 2)
    if any("{out}" in argument for argument in argv):
        for what, name, statuses in (
            ("parent is a file", "set.h5/" + target, (2,)),
            ("parent's parent is a file", "set.h5/a/" + target, (2,)),
            ("not writable", "/proc/" + target, (2,)),
            ("long", "n" * 300 + target, (2,)),
            ("NUL", "a\0b" + target, (2,)),
            ("not UTF-8", "b\udcffd" + target, (0, 2)),
            ("parent is missing", "gone/there/" + target, (0, 2)),
            ("nothing", "", (0, 2)),
            ("this folder", ".", (0, 2)),
            # A report may lie in the run folder that it is about.
            ("the input", source or "set.h5", (0, 2) if source == "run" else (2,)),
            ("another file", "pan.tif" if source != "pan.tif" else "set.h5", (2,)),
            ("a link to a file", "link", (2,)),
            ("a link to nowhere", "nowhere", (2,)),
        ):
            yield f"out: {what}", filled(source, name), statuses


@pytest.mark.parametrize("case", CASES)
def test_names(case, folder, capsys):
    Path("link").symlink_to("set.h5")
    Path("nowhere").symlink_to("gone")
    source = CASES[case][1]
    if source is not None:
        suffix = Path(source).suffix
        Path("folder" + suffix).mkdir()
        Path("empty" + suffix).touch()
        sound = "\udcff" + source
        shutil.copytree(source, sound) if suffix == "" else shutil.copy(source, sound)
    before = content(folder)
    faults = [
        f"{what}: {fault}"
        for what, argv, allowed in name_cases(case)
        if (fault := wrong(folder, argv, capsys, before, allowed))
    ]
    assert not faults, "\n".join(faults)


FIRST = {argv[0]: (argv, source, target) for argv, source, target in reversed(CASES.values())}


@pytest.mark.parametrize("command", [name for name in COMMANDS if name in FIRST])
def test_numbers(command, folder, capsys):
    argv, source, target = FIRST[command]
    argv = [a.replace("{input}", source or "").replace("{out}", target or "") for a in argv]
    numeric = [
        action.option_strings[0]
        for action in COMMANDS[command].make_parser("rsfusion")._actions
        if action.option_strings and action.nargs is None and action.type is not None
    ]
    assert numeric or command in ("check", "convert", "sample"), command
    before = content(folder)
    faults = [
        fault
        for option in numeric
        for number in NUMBERS
        if (fault := wrong(folder, [*argv, f"{option}={number}"], capsys, before, (0, 1, 2)))
    ]
    assert not faults, "\n".join(faults)
