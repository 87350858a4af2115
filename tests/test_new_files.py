"""New files: whole or not at all, and nothing else is touched."""

import os
import socket
import subprocess
import sys

import pytest

import rsfusion_jax as rsf
from rsfusion_jax.new_files import new_files, new_folder, write_text


def test_an_error_leaves_nothing(tmp_path):
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    with pytest.raises(RuntimeError), new_files(paths) as unfinished:
        unfinished[paths[0]].write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with new_files(paths) as unfinished:
        for path in paths:
            unfinished[path].write_text(path.name)
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["a.h5", "b.h5"]


def test_folders_above_a_new_folder(tmp_path):
    target = tmp_path / "a" / "b" / "run"
    with pytest.raises(RuntimeError), new_folder(target) as unfinished:
        (unfinished / "weights").touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with new_folder(target) as unfinished:
        (unfinished / "weights").touch()
    assert [path.name for path in target.iterdir()] == ["weights"]
    (tmp_path / "file").touch()
    with pytest.raises(rsf.UserError, match="Not a directory"), new_folder(tmp_path / "file/a/run"):
        pass


def test_names_that_no_library_takes(tmp_path):
    with pytest.raises(rsf.UserError, match="NUL"), new_files([tmp_path / "a\0b"]):
        pass
    with pytest.raises(rsf.UserError, match="not UTF-8"), new_folder(tmp_path / "b\udcff"):
        pass
    assert not list(tmp_path.iterdir())


def test_links_are_not_followed(tmp_path):
    precious, link = tmp_path / "precious", tmp_path / "link"
    precious.write_text("dear")
    for target in (precious, tmp_path / "nowhere"):
        link.symlink_to(target)
        with pytest.raises(rsf.UserError, match="link exists already"), new_files([link]):
            pass
        write_text(link, "new")
        assert not link.is_symlink() and link.read_text() == "new"
        assert precious.read_text() == "dear"
        link.unlink()


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / ("n" * 250)  # the private folder's name must not grow with it
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from rsfusion_jax.new_files import new_files\n"
        "with new_files([Path(sys.argv[1])]) as unfinished:\n"
        "    unfinished[Path(sys.argv[1])].write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    other_host = tmp_path / f".{'n' * 60}.elsewhere-1.x.unfinished"
    alive = tmp_path / f".{'n' * 60}.{socket.gethostname()}-{os.getppid()}.x.unfinished"
    other_host.mkdir()
    alive.mkdir()
    assert len(list(tmp_path.iterdir())) == 3
    write_text(path, "whole")
    assert sorted(tmp_path.iterdir()) == sorted([other_host, alive, path])
