"""What a progress bar writes where there is no terminal."""

import pytest

from rsfusion_jax.progress import ProgressBar


@pytest.mark.parametrize("colours", [None, "1"])
def test_a_pipe_gets_a_line_for_each_note_whatever_colours_are_asked_for(
    capsys, monkeypatch, colours
):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    if colours:
        monkeypatch.setenv("FORCE_COLOR", colours)
    with ProgressBar("work", 4) as bar:
        for done in range(4):
            bar.advance(note=f"note {done}")
    expected = [f"work {done + 1}/4  note {done}" for done in range(4)]
    assert capsys.readouterr().err.splitlines() == expected
