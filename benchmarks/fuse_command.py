"""`rsfusion fuse` in a process of its own: what it reports, and what the system reports of it."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def fuse(pair: Sequence[Path], out: Path, flags: Sequence[str]) -> dict:
    """Fuse a pair with the command.

    Args:
        pair: PAN and MS files.
        out: file that the command writes.
        flags: further flags of `rsfusion fuse`.

    Returns:
        `seconds`, wall time by stage as the command reports it; `cpu_seconds` of the whole process;
        `peak_gb`, the largest resident set, GiB.

    Raises:
        SystemExit: the command failed; the message is what it wrote.
    """
    command = [sys.executable, "-m", "rsfusion_jax.cli.main", "fuse"]
    command += [*map(str, pair), str(out), *flags]
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        printed = child.stdout.read()
        # Unlike Popen.wait, wait4 also returns the child's memory and CPU time.
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)} failed: {log.read()}")
    stages = re.findall(r"(\w+) ([\d.]+)", printed.rsplit("seconds:", 1)[1])
    return {
        "seconds": {stage: float(value) for stage, value in stages},
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gb": round(usage.ru_maxrss / 2**20, 3),
    }
