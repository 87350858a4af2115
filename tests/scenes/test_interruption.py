"""Scenes that are interrupted: damaged files beside the output, two processes, `kill -9`."""

import contextlib
import functools
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import time

import filelock
import pytest
from scene_files import counts, left_behind, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.scenes.work.journal import Store
from rsfusion_jax.scenes.work.lock import locked

OPTIONS = {"method": "gsa", "sensor": "qb", "block": 64, "samples": 0, "shift": "none"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A pair and the bytes of its fused file."""
    folder = tmp_path_factory.mktemp("scene")
    pair = write_pair(folder, *counts(40, 40))
    rsf.fuse_scene(*pair, folder / "whole.tif", quiet=True, **OPTIONS)
    return pair, (folder / "whole.tif").read_bytes()


def interrupted(pair, out, monkeypatch, blocks=5):
    """Leaves the files of a run that ended after some blocks."""
    write = Store.write

    def counted(store, *args):
        write(store, *args)
        if len(store.lines) >= blocks:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "write", counted)
        rsf.fuse_scene(*pair, out, quiet=True, **OPTIONS)
    return out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.journal")


def overwrite(path, at, data):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


DAMAGES = {
    "a byte of a block": lambda blocks, journal: overwrite(
        blocks, 40, bytes([blocks.read_bytes()[40] ^ 1])
    ),
    "the end of the blocks": lambda blocks, journal: os.truncate(blocks, 1000),
    "all blocks": lambda blocks, journal: os.truncate(blocks, 0),
    "a digit of a line": lambda blocks, journal: journal.write_text(
        journal.read_text().replace('"valid": 4096', '"valid": 4095', 1)
    ),
    "the end of a line": lambda blocks, journal: os.truncate(journal, journal.stat().st_size - 9),
    "a newline": lambda blocks, journal: overwrite(
        journal, journal.read_bytes().index(b"\n", journal.stat().st_size // 2), b" "
    ),
    "the first line": lambda blocks, journal: overwrite(journal, 20, b"?"),
    "the whole journal": lambda blocks, journal: journal.write_bytes(os.urandom(999)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_computed_again(tmp_path, scene, monkeypatch, damage):
    pair, expected = scene
    out = tmp_path / "out.tif"
    files = interrupted(pair, out, monkeypatch)
    before = [path.read_bytes() for path in files]
    DAMAGES[damage](*files)
    assert [path.read_bytes() for path in files] != before
    rsf.fuse_scene(*pair, out, resume=True, quiet=True, **OPTIONS)
    assert out.read_bytes() == expected
    assert left_behind(tmp_path) == ["out.tif"]


def test_finished_blocks_are_not_computed_again(tmp_path, scene, monkeypatch):
    pair, expected = scene
    out = tmp_path / "out.tif"
    _, journal = interrupted(pair, out, monkeypatch)
    lines = [json.loads(line[9:]) for line in journal.read_text().splitlines()]
    done, written, write = {line["block"] for line in lines[1:]}, set(), Store.write

    def noted(store, index, *args):
        written.add(index)
        write(store, index, *args)

    monkeypatch.setattr(Store, "write", noted)
    rsf.fuse_scene(*pair, out, resume=True, quiet=True, **OPTIONS)
    assert len(done) >= 5 and written == set(range(9)) - done
    assert out.read_bytes() == expected


def test_damage_after_the_last_block_is_not_copied(tmp_path, scene, monkeypatch):
    """A block that changes between its writing and the end is found when it is copied."""
    pair, expected = scene
    out = tmp_path / "out.tif"
    write = Store.write

    def damaging(store, *args):
        write(store, *args)
        if len(store.lines) == 9:
            overwrite(tmp_path / ".out.tif.partial", 30, b"\0\0\0\0")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", damaging)
        with pytest.raises(rsf.UserError, match="damaged"):
            rsf.fuse_scene(*pair, out, quiet=True, **OPTIONS)
    assert not out.exists()
    rsf.fuse_scene(*pair, out, resume=True, quiet=True, **OPTIONS)
    assert out.read_bytes() == expected


def test_one_process_at_a_time_writes_an_output(tmp_path, scene):
    pair, expected = scene
    out = tmp_path / "out.tif"
    with locked(out), pytest.raises(rsf.UserError, match="being written by another process"):
        rsf.fuse_scene(*pair, out, quiet=True, **OPTIONS)
    assert left_behind(tmp_path) == []
    # A dead process leaves its lock's file, but not its lock, and what it was putting together.
    (tmp_path / ".out.tif.lock").touch()
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], text=True, capture_output=True
    )
    left = tmp_path / f".out.tif.{socket.gethostname()}-{int(ended.stdout)}.x.unfinished"
    left.mkdir()
    (left / "out.tif").write_bytes(b"II*")
    rsf.fuse_scene(*pair, out, quiet=True, **OPTIONS)
    assert out.read_bytes() == expected and left_behind(tmp_path) == ["out.tif"]


@pytest.mark.parametrize("name", [".out.tif.partial", ".out.tif.journal"])
def test_links_at_the_place_of_own_files_are_not_followed(tmp_path, scene, name):
    pair, _ = scene
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / name).symlink_to(victim)
    # The journal is replaced as a whole, the blocks are written in place.
    is_refused = name.endswith(".partial")
    refused = pytest.raises(rsf.UserError, match=r"is a link.* delete the link")
    with refused if is_refused else contextlib.nullcontext():
        rsf.fuse_scene(*pair, tmp_path / "out.tif", quiet=True, **OPTIONS)
    assert victim.read_text() == "precious"


def test_where_there_are_no_locks(tmp_path, scene, monkeypatch):
    def acquire(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with locked(tmp_path / "out.tif"):
        pass


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    """Twelve processes in a row are killed; what they leave gives the file of one that was not."""
    pair = [str(path) for path in write_pair(tmp_path, *counts(200, 200))]
    flags = [f"--{name}={value}" for name, value in OPTIONS.items()]

    def command(out):
        program = "from rsfusion_jax.cli.main import run; import sys; run(sys.argv[1:])"
        return [sys.executable, "-c", program, "fuse", *pair, str(tmp_path / out), *flags]

    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    for out in ("warm.tif", "whole.tif"):
        begin = time.monotonic()
        subprocess.run(command(out), env=environment, check=True)
        seconds = time.monotonic() - begin
    drawn = random.Random(0)
    killed = 0
    for moment in range(12):
        child = subprocess.Popen([*command("out.tif"), "--resume"], env=environment)
        try:
            child.wait(seconds * (moment + drawn.random()) / 12)
        except subprocess.TimeoutExpired:
            child.kill()
            killed += 1
        assert child.wait() in (0, -9)
        out = tmp_path / "out.tif"
        assert child.returncode or out.exists()
        if out.exists():  # also where it was killed when all was done
            assert out.read_bytes() == (tmp_path / "whole.tif").read_bytes()
            out.unlink()
    assert killed >= 6
    subprocess.run([*command("out.tif"), "--resume"], env=environment, check=True)
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert not [name for name in left_behind(tmp_path) if name.startswith(".")]


def _race(number, pair, folder, barrier, results):
    """Fuse with one of two methods whenever the other process begins too; say how it ended."""
    method = ("gsa", "brovey")[number]
    fuse = functools.partial(rsf.fuse_scene, *pair, quiet=True, **{**OPTIONS, "method": method})
    fuse(folder / f"{method}.tif")  # alone; compiled from here on
    for turn in range(20):
        drawn = random.Random(2 * turn + number)
        barrier.wait(300)
        time.sleep(0.1 * drawn.random())
        try:
            fuse(folder / f"out{turn}.tif")
        except rsf.UserError as error:
            results.put((turn, method, str(error)))
        else:
            results.put((turn, method, ""))


@pytest.mark.slow
def test_two_processes_begin_one_output(tmp_path):
    """Twenty rounds: one process writes the file, the other is refused."""
    pair = write_pair(tmp_path, *counts(40, 40))
    spawned = multiprocessing.get_context("spawn")
    barrier, results = spawned.Barrier(2), spawned.SimpleQueue()
    racers = [
        spawned.Process(target=_race, args=(number, pair, tmp_path, barrier, results))
        for number in range(2)
    ]
    for racer in racers:
        racer.start()
    ends = {}
    for _ in range(40):
        turn, method, error = results.get()
        ends.setdefault(turn, {})[method] = error
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    refusals = "being written by another process", "exists already"
    winners = []
    for turn, end in ends.items():
        (winner,) = (method for method, error in end.items() if not error)
        (loser,) = (method for method in end if method != winner)
        assert any(refusal in end[loser] for refusal in refusals), end
        out = tmp_path / f"out{turn}.tif"
        assert out.read_bytes() == (tmp_path / f"{winner}.tif").read_bytes()
        winners.append(winner)
    assert len(ends) == 20 and sum("being written" in str(end) for end in ends.values()) > 5
    assert not [name for name in left_behind(tmp_path) if name.startswith(".")]
    print({method: winners.count(method) for method in ("gsa", "brovey")})
