"""Flags: one spelling, and errors that show the usage of the command they belong to."""

import sys
from pathlib import Path

import jax
import programs
import pytest

from rsfusion_jax import __version__
from rsfusion_jax.cli.entry import guarded, use_compilation_cache
from rsfusion_jax.cli.main import COMMANDS, run
from rsfusion_jax.cli.parser import Parser
from rsfusion_jax.errors import UserError


def parse(command, *argv):
    return COMMANDS[command].make_parser(f"rsfusion {command}").parse_args(argv)


def refusal(capsys, *argv):
    """What a command prints when it refuses its arguments."""
    with pytest.raises(SystemExit) as stop:
        run(argv)
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    usage, sentence, *rest = printed.err.splitlines()
    assert not rest and sentence.startswith("error: ")
    return usage, sentence


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_dashes(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: rsfusion {command}")
    flags = [word for word in text.split() if word.startswith("--") and "." not in word]
    assert "--help" in flags and not any("_" in flag.partition("=")[0] for flag in flags)


def test_version_and_list_of_commands(capsys):
    for argv, text in ((["--version"], f"rsfusion {__version__}"), (["--help"], "\n  evaluate ")):
        with pytest.raises(SystemExit) as stop:
            run(argv)
        assert stop.value.code == 0 and text in capsys.readouterr().out


def test_underscores_are_accepted_in_names_alone():
    for flags in (["--max-value=5", "--save-mat"], ["--max_value", "5", "--save_mat"]):
        arguments = parse("evaluate", *flags, "--out=my_folder", "--methods=c_gsa,bt_h")
        assert (arguments.max_value, arguments.save_mat) == (5.0, True)
        assert (arguments.out, arguments.methods) == ("my_folder", ["c_gsa", "bt_h"])
    assert parse("train", "--num_processes=2", "--process_id", "1").num_processes == 2
    assert parse("port", "a", "b", "--num_bands=4", "--set=dim_head=4").set == ["dim_head=4"]
    parser = Parser("program", "[FILE]")
    parser.add_argument("file")
    assert parser.parse_args(["--", "--a_b"]).file == "--a_b"


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_flags_show_the_usage_of_their_command(command, capsys):
    none = dict.fromkeys(("models", "sensors", "train", "evaluate"), 0)
    positionals = {"fuse": 3, "check": 1, "sample": 1, "compare": 1, "explain": 1, **none}.get(
        command, 2
    )
    usage, sentence = refusal(capsys, command, *["x"] * positionals, "--no-such-flag=1")
    assert usage.startswith(f"usage: rsfusion {command}")
    assert "'--no-such-flag=1' is not understood" in sentence
    assert sentence.endswith(f"(see rsfusion {command} --help)")


@pytest.mark.parametrize(
    ("argv", "usage", "sentence"),
    [
        ([], "rsfusion COMMAND", "required: COMMAND"),
        (["trian"], "rsfusion COMMAND", "invalid choice: 'trian'"),
        (["fuse", "pan.tif"], "rsfusion fuse PAN MS... OUT", "required: out"),
        (["fuse", "a", "b", "c", "--tile=x"], "rsfusion fuse", "--tile: invalid int value: 'x'"),
        (["fuse", "a", "b", "c", "--weigths=x"], "rsfusion fuse", "did you mean --weights?"),
        (["train", "--workdr=x"], "rsfusion train", "did you mean --workdir?"),
        (["train", "x"], "rsfusion train", "'x' is not understood; flags are written --name=value"),
        (
            ["train", "--config=unet"],
            "rsfusion train",
            "'unet' is unknown; choose one of anysensor",
        ),
        (
            ["train", "--config=default:wv3"],
            "rsfusion train",
            "takes no argument; leave out",
        ),
        (["train", "--config=u2net:wv9"], "rsfusion train", "data set 'wv9'; choose one of"),
        (["train", "--config=no/file.py"], "rsfusion train", "no/file.py does not exist"),
        (["train", "--config.train.step=1"], "rsfusion train", "no field 'step'"),
        (["train", "--config.seed=1.5"], "rsfusion train", "--config.seed=1.5"),
        (["evaluate", "--max_value=x"], "rsfusion evaluate", "--max-value: invalid float value"),
    ],
)
def test_errors_name_what_is_wrong(argv, usage, sentence, capsys):
    shown, told = refusal(capsys, *argv)
    assert shown.startswith(f"usage: {usage}") and sentence in told


def test_fields_of_a_config_are_overridden():
    config = parse(
        "train",
        "--config=fusionnet:synthetic",
        "--workdir=run",
        "--config.train.batch_size",
        "8",
        "--config.name=a_b",
        "--config.train.remat",
        "--config.data.ratio=2",
        "--config.optim.milestones=(3,4)",
        "--config.eval.methods=('bt_h', 'gsa')",
    ).config
    assert (config.train.batch_size, config.name, config.train.remat) == (8, "a_b", True)
    assert (config.data.ratio, config.optim.milestones) == (2, (3, 4))
    assert config.eval.methods == ("bt_h", "gsa")
    assert config.is_locked and config.model.name == "fusionnet"
    assert parse("train").config.name == "quickstart"


@pytest.mark.parametrize(
    ("text", "methods"),
    [
        ("bt_h,gsa,exp", ("bt_h", "gsa", "exp")),
        ("bt_h", ("bt_h",)),
        ("('bt_h','gsa')", ("bt_h", "gsa")),
        ("()", ()),
    ],
)
def test_a_list_of_words_needs_no_quotes(text, methods):
    config = parse("train", f"--config.eval.methods={text}", "--config.optim.milestones=3,4").config
    assert config.eval.methods == methods and config.optim.milestones == (3, 4)


def test_the_cache_of_programs_is_for_its_owner_alone(tmp_path, monkeypatch):
    """What lies there is executed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "rsfusion_jax").mkdir(mode=0o777)
    before = {
        name: getattr(jax.config, name)
        for name in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    }
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        use_compilation_cache()
        folder = Path(jax.config.jax_compilation_cache_dir)
        for place in (folder, folder.parent):
            assert place.stat().st_mode & 0o777 == 0o700 and place.is_relative_to(tmp_path)
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        jax.config.update("jax_compilation_cache_dir", None)
        use_compilation_cache()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserError("a name\nof two lines"), 2, "error: a name of two lines"),
        (OSError(36, "File name too long", "n" * 300), 2, f"error: {'n' * 200}: File name too"),
        (PermissionError(13, "Permission denied", b"/a/\xff"), 2, "error: /a/\\udcff: Permission"),
        (MemoryError("Unable to allocate 9 TiB"), 2, "error: this takes more memory than there is"),
        (OSError("of a library"), 1, "OSError: of a library"),
        (ValueError("a fault of ours"), 1, "ValueError: a fault of ours"),
    ],
)
def test_what_the_machine_lacks_is_one_sentence(error, status, words, capsys, monkeypatch):
    for hook in ("unraisablehook", "excepthook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))  # put back what the command sets
    with pytest.raises(SystemExit) as ended:
        guarded(_raise, error)
    said = capsys.readouterr().err.strip()
    assert ended.value.code == status and ("Traceback" in said) == (status == 1)
    assert said.splitlines()[-1].startswith(words) and (status == 1 or "\n" not in said)


def test_what_libraries_leave_behind_is_not_said(tmp_path):
    (tmp_path / "program.py").write_text(
        "import sys, threading\n"
        "from rsfusion_jax.cli.entry import guarded\n"
        "from rsfusion_jax.errors import UserError\n"
        "class Left:\n"
        "    def __del__(self):\n"
        "        raise RuntimeError('found when its memory is freed')\n"
        "def main():\n"
        "    Left()\n"
        "    error = RuntimeError('of a thread of C++')\n"
        "    report = (RuntimeError, error, None)\n"
        "    thread = threading.Thread(target=lambda: sys.excepthook(*report))\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "    raise UserError('the sentence')\n"
        "guarded(main)\n"
    )
    ended = programs.run([str(tmp_path / "program.py")])
    assert (ended.returncode, ended.stderr) == (2, "error: the sentence\n")
