"""The commands as a reader types them; the course here is a copy of the package with two small notebooks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from mfhelpers.course import commands, doctor, notebooks
from mfhelpers.data import movielens

PACKAGE = Path(commands.__file__).parents[1]
NAMES = ["00_movielens.ipynb", "01_gradients.ipynb"]


@pytest.fixture
def course(tmp_path):
    """A course outside the repository, with outputs in its notebooks that no run would give."""
    shutil.copytree(PACKAGE, tmp_path / "course" / "mfhelpers", ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path / "course" / "notebooks"
    folder.mkdir()
    stored = [new_output("stream", text="of the maintainer\n")]
    for name in NAMES:
        cell = new_code_cell(f"print('of {name}')", outputs=stored, execution_count=1)
        nbformat.write(new_notebook(cells=[cell]), folder / name)
    return folder


@pytest.fixture
def command(course, tmp_path):
    """Run `python -m mfhelpers …` on that course, with no data and no network."""
    work = tmp_path / "work"
    work.mkdir()

    def run(*arguments, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MFHELPERS")}
        environment |= {
            "PYTHONPATH": str(course.parent),
            "MFHELPERS_DATA": "",
            "MFHELPERS_CACHE": str(tmp_path / "cache"),
            "MFHELPERS_OFFLINE": "1",
        }
        return subprocess.run(
            [sys.executable, "-m", "mfhelpers", *map(str, arguments)],
            cwd=work, env=environment | variables, capture_output=True, text=True, encoding="utf8",
        )  # fmt: skip

    run.folder = work
    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# -- start -----------------------------------------------------------------------------------------


def test_start_copies_says_how_to_go_on_and_keeps_what_is_changed(command, course):
    done = command("start", "mein Übungsheft")
    mine = command.folder / "mein Übungsheft"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "2 files copied to mein Übungsheft",
        f'Begin with: "{sys.executable}" -m jupyterlab "{Path("mein Übungsheft") / "00_movielens.ipynb"}"',
    ]
    assert contents(mine) == contents(course)
    (mine / NAMES[1]).write_text("my answers")
    done = command("start", mine)
    assert done.returncode == 0
    assert "0 files copied" in done.stdout
    assert f"kept your {NAMES[1]}, which differs" in done.stdout
    assert (mine / NAMES[1]).read_text() == "my answers"


@pytest.mark.parametrize("target", ["the course itself", "a file"])
def test_start_refuses_in_a_line(command, course, target):
    before = contents(course)
    (command.folder / "file").write_text("mine")
    done = command("start", course / "mine" if target == "the course itself" else "file")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("start: ")
    assert done.stderr.count("\n") == 1
    assert contents(course) == before
    assert (command.folder / "file").read_text() == "mine"


def test_start_prints_a_path_without_a_tilde(command, tmp_path):
    done = command("start", "~/mine", HOME=str(tmp_path), USERPROFILE=str(tmp_path))
    assert "~" not in done.stdout
    assert f'"{tmp_path / "mine" / "00_movielens.ipynb"}"' in done.stdout


def test_start_prints_on_a_console_with_few_characters(command):
    done = command("start", "Übung", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert (command.folder / "Übung" / NAMES[0]).exists()


# -- run -------------------------------------------------------------------------------------------


def test_run_writes_to_another_folder_and_touches_no_lesson(command, course):
    before = contents(course)
    done = command("run", "00_movielens", "--to", "results", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "SIMULATED" in done.stdout  # said once, before the first lesson
    assert done.stdout.splitlines()[-1].split()[::4] == [NAMES[0], "ok"]
    [result] = (command.folder / "results").iterdir()
    assert nbformat.read(result, as_version=4).cells[0].outputs[0].text == f"of {NAMES[0]}\n"
    assert contents(course) == before


@pytest.mark.parametrize("arguments", [["run", "07_typo"], ["run", "--in-place"]])
def test_run_refuses_and_touches_no_lesson(command, course, arguments):
    before = contents(course)
    done = command(*arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert ("07_typo" if "07_typo" in arguments else "MFHELPERS_DATA") in done.stderr
    assert contents(course) == before
    assert not list(command.folder.iterdir())


# -- without a process -----------------------------------------------------------------------------


@pytest.fixture
def loads(monkeypatch):
    """Which (name, source) `run` loads, and which lessons it then runs; ml-latest-small is nowhere."""
    calls = []

    def load_ratings(name, source):
        calls.append((name, source))
        if source == "movielens" and name == "ml-latest-small":
            raise movielens.DownloadError("ml-latest-small is nowhere")

    monkeypatch.setattr(movielens, "load_ratings", load_ratings)
    monkeypatch.setattr(movielens, "find_local", lambda name: None)
    monkeypatch.setattr(notebooks, "run_all", lambda *arguments: calls.append(arguments) or 0)
    monkeypatch.setenv("MFHELPERS_OFFLINE", "0")
    return calls


def test_in_place_needs_every_real_set_that_lessons_load(loads, capsys):
    assert commands.main(["run", "--in-place"]) == 1
    assert loads == [("ml-100k", "movielens"), ("ml-latest-small", "movielens")]
    assert "run: ml-latest-small is nowhere" in capsys.readouterr().err


def test_a_network_that_is_not_there_is_waited_for_once(loads):
    assert commands.main(["run", "00_movielens", "--to", "there"]) == 0
    assert loads == [("ml-100k", "auto"), (Path("there"), False, ["00_movielens"])]
    assert os.environ["MFHELPERS_OFFLINE"] == "1"


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (1, 1), (256, 1)])
def test_exit_codes(monkeypatch, loads, failed, code):
    monkeypatch.setattr(notebooks, "run_all", lambda *arguments: failed)
    monkeypatch.setattr(doctor, "doctor", lambda: failed)
    assert commands.main(["run"]) == commands.main(["doctor"]) == code


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["start"]])
def test_what_is_no_command_gets_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        commands.main(arguments)
    assert stopped.value.code == 2
    assert "python -m mfhelpers" in capsys.readouterr().err
