"""Exercises as files: student copies made from the solutions, and a course folder for nbgrader."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.files import replacing
from . import notebooks

if TYPE_CHECKING:
    from nbformat import NotebookNode

WORDS = "*Your words here.*"
SEED = re.compile(r"^SEED = \d+", re.M)
CONFIG = '''"""nbgrader's configuration of this course; see TEACHING.md of the course itself."""

import os

from nbgrader import preprocessors

from mfhelpers.course import classroom

c = get_config()  # noqa: F821
c.CourseDirectory.root = os.path.dirname(os.path.abspath(__file__))
c.CourseDirectory.course_id = "matrix-factorisation"
c.ExecutePreprocessor.timeout = 300  # seconds a cell
c.OverwriteCells.add_missing_cells = True  # a check that was deleted comes back


class NamedStubs(preprocessors.ClearSolutions):
    """A cleared solution says which exercise it is."""

    text_stub = classroom.WORDS

    def preprocess_cell(self, cell, resources, cell_index):
        self.code_stub = {"python": classroom.stub(cell)}
        return super().preprocess_cell(cell, resources, cell_index)


c.GenerateAssignment.preprocessors = [
    preprocessors.LockCells,
    NamedStubs,
    preprocessors.ClearOutput,
    preprocessors.CheckCellMetadata,
    preprocessors.ComputeChecksums,
    preprocessors.SaveCells,
    preprocessors.ClearHiddenTests,
    preprocessors.ClearMarkScheme,
    preprocessors.ComputeChecksums,
    preprocessors.CheckCellMetadata,
]
'''


def stub(cell: NotebookNode) -> str:
    """What stands in a student's copy instead of a solution: an error, and the names that a value needs."""
    number = re.search(r"exercise-(\d+)", cell.metadata.get("nbgrader", {}).get("grade_id", ""))
    stop = f'raise NotImplementedError("Exercise {number[1] if number else "?"}: your answer goes here")'
    region = cell.source.partition("### BEGIN SOLUTION")[2].partition("### END SOLUTION")[0]
    assigned = re.findall(r"^(\w+(?:, \w+)*) = ", region, flags=re.M)
    names = dict.fromkeys(", ".join(assigned).split(", ")) if assigned else {}
    return f"# your answer sets: {', '.join(names)}\n{stop}" if names else stop


def student_copy(solution: NotebookNode) -> NotebookNode:
    """The student's copy of a notebook with solutions: neither these nor hidden tests nor outputs.

    The same as nbgrader's `generate_assignment` with the configuration that `course` writes.

    Parameters
    ----------
    solution : NotebookNode
        In nbgrader's format, with `### BEGIN SOLUTION` … `### END SOLUTION` in cells that are
        marked as solutions and `### BEGIN HIDDEN TESTS` … `### END HIDDEN TESTS` in checks.

    Returns
    -------
    NotebookNode, with nbgrader's marks.
    """
    made = copy.deepcopy(solution)
    for cell in made.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            replacement = stub(cell) if cell.cell_type == "code" else WORDS
            cell.source = _without(cell.source, "SOLUTION", replacement)
        cell.source = _without(cell.source, "HIDDEN TESTS", "")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return made


def _without(source: str, region: str, replacement: str) -> str:
    lines, inside = [], False
    for line in source.split("\n"):
        if f"### BEGIN {region}" in line:
            inside = True
            indent = line[: len(line) - len(line.lstrip())]
            lines += [indent + new for new in replacement.split("\n")] if replacement else []
        elif f"### END {region}" in line:
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise ValueError(f"### BEGIN {region} has no ### END {region}:\n{source}")
    return "\n".join(lines)


def write_student_copies() -> list[Path]:
    """For maintainers: make `notebooks/exercises` anew from the solutions; returns what has changed."""
    import nbformat

    changed = []
    for path in notebooks.solutions():
        target = notebooks.folder() / "exercises" / path.name
        solution: Any = nbformat.read(path, as_version=4)
        text = nbformat.writes(student_copy(solution)) + "\n"
        if not target.exists() or target.read_text(encoding="utf8") != text:
            with replacing(target) as file:
                file.write(text.encode())
            changed.append(target)
    return changed


def course(target: str | os.PathLike, names: list[str] | None = None, seed: int = 0) -> list[str]:
    """Lay out a course folder for nbgrader: each lesson's exercises are one assignment.

    Parameters
    ----------
    target : path
        A new or empty folder, or one that an earlier call has made.
    names : list of str, optional
        Lessons such as "01_gradients"; default all.
    seed : int
        Another one gives other splits and other cases in the checks, so last year's numbers no
        longer fit.

    Returns
    -------
    The names of the assignments.

    Raises
    ------
    ValueError
        If a lesson is unknown, the seed is negative, or the folder holds something else; nothing is
        written then.
    FileExistsError
        If an assignment is there already and differs: it may hold the teacher's changes.
    """
    import nbformat

    if seed < 0:
        raise ValueError(f"seed {seed} is negative: take 0 or more")
    target, every = Path(target).expanduser(), {path.stem: path for path in notebooks.solutions()}
    unknown = sorted(set(names or []) - set(every))
    if unknown:
        raise ValueError(f"no exercises for {', '.join(unknown)}; there are {', '.join(every)}")
    if target.is_dir() and any(target.iterdir()) and not (target / "nbgrader_config.py").exists():
        raise ValueError(f"{target} holds other files: choose a new folder")
    config = target / "nbgrader_config.py"
    texts = {} if config.exists() else {config: CONFIG}  # a teacher may have changed it
    for name in names or every:
        notebook: Any = nbformat.read(every[name], as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.source = SEED.sub(f"SEED = {seed}", cell.source)
                cell.outputs, cell.execution_count = [], None
        texts[target / "source" / name / f"{name}.ipynb"] = nbformat.writes(notebook) + "\n"
    for path, text in texts.items():
        if path.exists() and path.read_text(encoding="utf8") != text:
            raise FileExistsError(f"{path} is there and differs: move it away first")
    for path, text in texts.items():
        with replacing(path) as file:
            file.write(text.encode())
    return list(names or every)
