"""One process per run folder: refused while the holder lives, taken over when it is dead."""

import json
import os
import subprocess
import sys
import time

import filelock
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.runs import lock
from rsfusion_jax.runs.lock import RunLock

_HOLD = """
import sys, time
from pathlib import Path
from rsfusion_jax.runs.lock import RunLock

RunLock(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(600)
"""


def test_another_process_is_named_and_its_death_frees_the_folder(tmp_path):
    command = [sys.executable, "-c", _HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        try:
            with pytest.raises(rsf.UserError, match=f"in use by process {holder.pid} on"):
                RunLock(tmp_path)
        finally:
            holder.kill()
    with pytest.warns(UserWarning, match=f"left by process {holder.pid} on .* taken over"):
        RunLock(tmp_path).close()
    RunLock(tmp_path).close()  # without a warning: the last one closed its own


def test_a_note_that_was_cut_off_is_nobodys(tmp_path):
    (tmp_path / "lock").write_text('{"pid": 1')
    RunLock(tmp_path).close()


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), NotImplementedError()])
def test_without_locks_in_the_file_system_the_note_is_watched(error, tmp_path, monkeypatch):
    def refuse(self, timeout):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    monkeypatch.setattr(lock, "_BEAT_SECONDS", 0.05)
    first = RunLock(tmp_path)
    with pytest.raises(rsf.UserError, match=f"in use by process {os.getpid()} on"):
        RunLock(tmp_path, silence=1.0)
    first.close()
    assert not (tmp_path / "lock").exists()
    dead = {"pid": os.getpid(), "host": first._me["host"]}
    (tmp_path / "lock").write_text(json.dumps(dead))
    with pytest.warns(UserWarning, match="taken over"):
        RunLock(tmp_path, silence=0.1).close()


def test_a_holder_that_ends_while_it_is_watched_frees_the_folder(tmp_path, monkeypatch):
    note = tmp_path / "lock"
    note.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: note.unlink())
    RunLock(tmp_path).close()


def test_a_live_holder_touches_its_note(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_BEAT_SECONDS", 0.02)
    with RunLock(tmp_path):
        os.utime(tmp_path / "lock", (1, 1))
        deadline = time.monotonic() + 30
        while (tmp_path / "lock").stat().st_mtime == 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
