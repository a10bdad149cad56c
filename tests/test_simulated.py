"""Without MovieLens and without a network every notebook runs on simulated ratings, and says so."""

import pytest

from mfhelpers.course import notebooks

NOTEBOOKS = notebooks.all_with_outputs()


def name(path):
    return path.relative_to(notebooks.folder()).with_suffix("").as_posix()


@pytest.mark.usefixtures("simulated_mode")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_runs_on_simulated_ratings_and_says_so(path, tmp_path, monkeypatch, megabytes):
    monkeypatch.setenv("MFHELPERS_OFFLINE", "1")
    run = notebooks.run(path, tmp_path / path.name)
    assert run.problem == ""
    assert run.data == "simulated" or path.parent.name == "solutions"
    assert run.megabytes < megabytes
