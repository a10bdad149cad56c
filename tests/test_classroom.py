"""A teacher's way: lay out a course, release, collect, autograde and give feedback, from the command line."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from mfhelpers.course import classroom, notebooks
from mfhelpers.course.commands import main

LESSON = "00_movielens"


def read(path):
    return nbformat.read(path, as_version=4)


def marked(notebook, ending):
    return [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id", "").endswith(ending)]


# -- nbgrader --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nbgrader(tmp_path_factory):
    course = tmp_path_factory.mktemp("a class 2026 é")
    classroom.course(course, [LESSON], seed=7)
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(course / ".jupyter"), "MFHELPERS_OFFLINE": "1"}
    # nbgrader looks for alembic's command: TEACHING.md activates the environment
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(*arguments):
        run.ran.append(arguments)
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments], cwd=course, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    run.course, run.ran = course, []
    run("generate_assignment", LESSON)
    return run


@pytest.fixture(scope="module")
def graded(nbgrader):
    """Three students: one solved all, one nothing, one nothing but took the checks out."""
    for student in ("ada", "bob", "eve"):
        handed_in = read(nbgrader.course / "release" / LESSON / f"{LESSON}.ipynb")
        solved = read(nbgrader.course / "source" / LESSON / f"{LESSON}.ipynb")
        for cell, answer in zip(handed_in.cells, solved.cells, strict=True):
            mark = cell.metadata.get("nbgrader", {})
            if student == "ada" and mark.get("solution"):
                cell.source = answer.source
            if student == "eve" and mark.get("grade") and cell.cell_type == "code":
                cell.source = "print('passed')"
        if student == "eve":
            handed_in.cells = [
                cell
                for cell in handed_in.cells
                if cell.metadata.get("nbgrader", {}).get("grade_id") != "exercise-2-check"
            ]
        target = nbgrader.course / "submitted" / student / LESSON / f"{LESSON}.ipynb"
        target.parent.mkdir(parents=True)
        nbformat.write(handed_in, target)
    nbgrader("autograde", LESSON, "--create")
    nbgrader("generate_feedback", LESSON, "--force")
    nbgrader("export")
    with open(nbgrader.course / "grades.csv", encoding="utf8") as file:
        return {row["student_id"]: row for row in csv.DictReader(file)}


def test_nbgrader_releases_the_students_copy(nbgrader):
    released = read(nbgrader.course / "release" / LESSON / f"{LESSON}.ipynb")
    ours = read(notebooks.folder() / "exercises" / f"{LESSON}.ipynb")
    assert len(released.cells) == len(ours.cells)
    for theirs, cell in zip(released.cells, ours.cells, strict=True):
        assert theirs.source == classroom.SEED.sub("SEED = 7", cell.source)
        mark = dict(theirs.metadata.get("nbgrader", {}))
        for added in ("checksum", "cell_type"):
            mark.pop(added, None)
        assert mark == cell.metadata.get("nbgrader", {})


def test_a_solved_assignment_gets_every_point_that_a_machine_can_give(graded):
    solution = read(notebooks.folder() / "solutions" / f"{LESSON}.ipynb")
    by_machine = sum(cell.metadata.nbgrader.points for cell in marked(solution, "-check"))
    by_hand = sum(cell.metadata.nbgrader.points for cell in marked(solution, "-words"))
    assert float(graded["ada"]["score"]) == by_machine
    assert float(graded["ada"]["max_score"]) == by_machine + by_hand


def test_a_stub_gets_nothing_and_checks_cannot_be_taken_out(graded):
    assert float(graded["bob"]["score"]) == 0
    assert float(graded["eve"]["score"]) == 0


def test_feedback_says_what_is_missing(nbgrader, graded):
    pages = {student: (nbgrader.course / "feedback" / student / LESSON / f"{LESSON}.html") for student in graded}
    assert "Exercise 1 passed" in pages["ada"].read_text(encoding="utf8")
    assert "your answer goes here" in pages["bob"].read_text(encoding="utf8")


def test_teachers_are_told_what_was_run_here(nbgrader, graded):
    told = (notebooks.folder().parent / "TEACHING.md").read_text(encoding="utf8")
    commands = {line for line in told.splitlines() if line.startswith("nbgrader ")}
    assert commands == {"nbgrader " + " ".join(arguments) for arguments in nbgrader.ran}


# -- the course folder -----------------------------------------------------------------------------


def test_all_lessons_by_default_and_once_more_changes_nothing(tmp_path):
    every = [path.stem for path in notebooks.solutions()]
    assert classroom.course(tmp_path / "course") == every
    assert classroom.course(tmp_path / "course") == every
    assert sorted(path.name for path in (tmp_path / "course" / "source").iterdir()) == every


def test_a_seed_reaches_every_notebook(tmp_path):
    classroom.course(tmp_path, seed=2026)
    for path in tmp_path.glob("source/*/*.ipynb"):
        assert path.read_text(encoding="utf8").count("SEED = 2026") == 1
        assert not any(cell.get("outputs") for cell in read(path).cells)


def test_an_unknown_lesson_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="no exercises for 99_x; there are 00_movielens, "):
        classroom.course(tmp_path / "course", [LESSON, "99_x"])
    assert not (tmp_path / "course").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files"):
        classroom.course(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_teachers_changes_are_kept(tmp_path):
    classroom.course(tmp_path, [LESSON])
    source = tmp_path / "source" / LESSON / f"{LESSON}.ipynb"
    source.write_text(source.read_text(encoding="utf8").replace("thirty", "30") + "\n", encoding="utf8")
    kept = source.read_bytes()
    with pytest.raises(FileExistsError, match="move it away first"):
        classroom.course(tmp_path, [LESSON])
    assert source.read_bytes() == kept


def test_a_teachers_configuration_is_kept_and_does_not_stop_the_next_lesson(tmp_path):
    classroom.course(tmp_path, [LESSON])
    config = tmp_path / "nbgrader_config.py"
    config.write_text(config.read_text(encoding="utf8") + "# mine\n", encoding="utf8")
    classroom.course(tmp_path, ["01_gradients"])
    assert config.read_text(encoding="utf8").endswith("# mine\n")
    assert (tmp_path / "source" / "01_gradients").is_dir()


def test_a_negative_seed_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="seed -1 is negative"):
        classroom.course(tmp_path / "course", seed=-1)
    assert not (tmp_path / "course").exists()


def test_course_as_a_command(tmp_path, capsys):
    assert main(["course", str(tmp_path / "c"), LESSON, "--seed", "3"]) == 0
    assert f'cd "{tmp_path / "c"}" && nbgrader generate_assignment {LESSON}' in capsys.readouterr().out
    assert main(["course", str(tmp_path / "c"), LESSON, "--seed", "4"]) == 1
    assert "course: " in capsys.readouterr().err


# -- student copies --------------------------------------------------------------------------------


def test_a_region_without_an_end_is_an_error():
    cell = nbformat.v4.new_code_cell("def f():\n    ### BEGIN SOLUTION\n    return 1")
    cell.metadata["nbgrader"] = {"solution": True, "grade_id": "exercise-1"}
    with pytest.raises(ValueError, match="### BEGIN SOLUTION has no ### END SOLUTION"):
        classroom.student_copy(nbformat.v4.new_notebook(cells=[cell]))


def test_student_copies_are_written_only_where_they_changed(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    (folder / "solutions").mkdir(parents=True)
    source = notebooks.folder() / "solutions" / f"{LESSON}.ipynb"
    (folder / "solutions" / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(notebooks, "folder", lambda: folder)
    assert classroom.write_student_copies() == [folder / "exercises" / source.name]
    assert classroom.write_student_copies() == []
