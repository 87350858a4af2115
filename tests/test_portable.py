"""Nothing needs what one platform alone has: everything imports, starts and trains without it."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]

_ELSEWHERE = """
import builtins, importlib, io, os, pkgutil, sys
import dask, psutil  # have versions of their own for other platforms

for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("pwrite", "pread", "fork", "sysconf", "sched_getaffinity"):
    delattr(os, name)

def open_elsewhere(file, *args, opened=open, **options):
    if str(file).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", file)
    return opened(file, *args, **options)

builtins.open = io.open = open_elsewhere
"""

_EVERYTHING = """
import rsfusion_jax

for module in pkgutil.walk_packages(rsfusion_jax.__path__, "rsfusion_jax."):
    importlib.import_module(module.name)
from rsfusion_jax.scenes.work.memory import resident_bytes
assert resident_bytes() > 0

from rsfusion_jax.cli.main import run
try:
    run(["--help"])
except SystemExit as ended:
    assert ended.code == 0

from pathlib import Path
from tiny_runs import tiny_config
from rsfusion_jax.runs.lock import RunLock
from rsfusion_jax.training.loop import train

config = tiny_config()
config.data.valid = config.data.test = ""
workdir = train(config, Path(sys.argv[1]) / "run")
with RunLock(workdir):
    try:
        RunLock(workdir)
    except rsfusion_jax.UserError as error:
        print(error)
"""


def test_another_platform(tmp_path):
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "tests" / "helpers")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE + _EVERYTHING, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "usage: rsfusion" in done.stdout
    assert (tmp_path / "run" / "finished.json").is_file()
    assert "run folder" in done.stdout.splitlines()[-1] and "is in use" in done.stdout
