"""The form of the lessons: budgets, opening and ending, figures, and outputs that belong to the cells above them."""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

import nbformat
import pytest

from mfhelpers.course import notebooks

NOTEBOOKS = sorted(notebooks.folder().glob("*.ipynb"))
TAGS = {"nbval-check-output", "nbval-ignore-output", "raises-exception"}
MACHINE_PATH = re.compile(r"/(home|root|Users|tmp|work|private)/|[A-Z]:\\\\")
ERROR = re.compile(r"(?<![\d.])(?:0\.[89]|1\.\d)\d\d(?!\d)")
LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def lesson(request):
    notebook = nbformat.read(request.param, as_version=4)
    nbformat.validate(notebook)
    notebook.path = request.param
    return notebook


def code_cells(lesson):
    return [cell for cell in lesson.cells if cell.cell_type == "code"]


def text_cells(lesson):
    return [cell for cell in lesson.cells if cell.cell_type == "markdown"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def figures(lesson):
    return [o for cell in code_cells(lesson) for o in cell.outputs if "image/png" in o.get("data", {})]


def test_there_are_lessons_numbered_from_zero():
    numbers = [int(path.name[:2]) for path in NOTEBOOKS]
    assert numbers == list(range(len(NOTEBOOKS)))


def test_opening(lesson):
    first = lesson.cells[0].source
    title, *rest = first.splitlines()
    assert re.match(r"# [A-Z]", title)
    for part in ("**What you will do.**", "**What you will learn**", "**What you need.**"):
        assert part in first
    assert 3 <= sum(line.startswith("- ") for line in rest) <= 5
    assert re.search(r"\d+ minutes to read, \d+ s to run, \d+ minutes of exercises", first)


def test_ending(lesson):
    headings = [line for cell in text_cells(lesson) for line in cell.source.splitlines() if line.startswith("## ")]
    assert headings[-4:] == ["## What you have learned", "## Questions", "## Exercises", "## Where next"]
    assert "**Sources.**" in lesson.cells[-1].source


def test_three_to_five_questions_have_folded_answers(lesson):
    (questions,) = (cell.source for cell in text_cells(lesson) if cell.source.startswith("## Questions\n"))
    folded = re.findall(r"<details><summary>(\d)\. (.+?)</summary>\n\n(.+?)\n</details>", questions, flags=re.S)
    assert 3 <= len(folded) <= 5
    assert [int(number) for number, *_ in folded] == list(range(1, len(folded) + 1))
    assert questions.count("<details>") == len(folded)


def test_budgets(lesson):
    """Small steps: these are habits of the course; whoever leaves them changes this test and says why.

    Questions with their answers are a page of their own, and not counted. Lessons that take a dense cell apart (02 has
    a page of PyTorch, 05 a formula for each rule, 07 conjugate gradients step by step) have up to 85 cells, and short ones.
    """
    lines = [sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in code_cells(lesson)]
    words = [len(c.source.split()) for c in text_cells(lesson) if not c.source.startswith("## Questions")]
    assert 35 <= len(lesson.cells) <= 85
    assert statistics.median(lines) <= 7
    assert sorted(lines)[int(0.9 * len(lines)) - 1] <= 12
    assert max(lines) <= 25
    assert statistics.median(words) <= 60
    assert max(words) <= 150


def test_no_line_of_code_runs_out_of_the_page(lesson):
    long = [line for cell in code_cells(lesson) for line in cell.source.splitlines() if len(line) > 105]
    assert not long


def test_every_cell_was_run_in_order(lesson):
    assert [cell.execution_count for cell in code_cells(lesson)] == list(range(1, len(code_cells(lesson)) + 1))


def test_no_stored_error_warning_or_progress_bar(lesson):
    for cell in code_cells(lesson):
        for output in cell.outputs:
            assert output.output_type != "error" or "raises-exception" in tags(cell)
            assert output.get("name") != "stderr", output.text
            assert not any("widget" in kind for kind in output.get("data", {})), cell.source


def test_outputs_name_no_place_on_a_machine_and_come_from_real_data(lesson):
    for cell in code_cells(lesson):
        for output in cell.outputs:
            texts = [output.get("text", ""), *(v for k, v in output.get("data", {}).items() if k != "image/png")]
            assert not MACHINE_PATH.search("".join(texts)), cell.source
            assert "SIMULATED" not in "".join(texts)


def test_tags_are_known_and_marked_cells_have_an_output(lesson):
    for cell in code_cells(lesson):
        assert tags(cell) <= TAGS
        if "nbval-check-output" in tags(cell):
            assert cell.outputs, cell.source
    marked = [cell for cell in code_cells(lesson) if "nbval-check-output" in tags(cell)]
    assert len(marked) >= len(code_cells(lesson)) / 6


def test_every_error_that_the_text_states_is_printed_by_a_lesson(lesson):
    """An RMSE in the prose, such as 0.941, stands in some stored output."""
    printed = set()
    for path in NOTEBOOKS:
        for cell in code_cells(nbformat.read(path, as_version=4)):
            printed.update(ERROR.findall(" ".join(o.get("text", "") for o in cell.outputs)))
    prose = "\n".join(cell.source for cell in text_cells(lesson)).partition("## Exercises")[0]
    assert set(ERROR.findall(prose)) <= printed


def test_stated_numbers_are_asserted(lesson):
    assert sum(cell.source.count("check.stated(") for cell in code_cells(lesson)) >= 3


def test_figures_have_alt_text_and_go_through_the_helper(lesson):
    assert figures(lesson)
    for output in figures(lesson):
        assert len(output.metadata["image/png"]["alt"].split()) >= 5
    for cell in code_cells(lesson):
        assert "plt.show" not in cell.source
        if "plt.subplots" in cell.source:
            assert "set_title(" in cell.source or "title=" in cell.source


def test_nothing_hides_in_the_file(lesson):
    assert set(lesson.metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in lesson.cells)
    for cell in code_cells(lesson):
        assert not re.search(r"^\s*[!%]|filterwarnings", cell.source, flags=re.M), cell.source


def test_links_lead_somewhere(lesson):
    for cell in text_cells(lesson):
        for target in LINK.findall(cell.source):
            assert (lesson.path.parent / target).exists(), target


def test_a_rerun_would_not_change_the_metadata(lesson):
    stored = lesson.path.read_text(encoding="utf8")
    notebook = nbformat.read(lesson.path, as_version=4)
    notebooks.normalise(notebook)
    assert nbformat.writes(notebook) + "\n" == stored


def test_the_readme_lists_every_lesson_with_its_minutes_and_needs():
    readme = (notebooks.folder().parent / "README.md").read_text(encoding="utf8")
    for path in NOTEBOOKS:
        first = nbformat.read(path, as_version=4).cells[0].source
        title = first.splitlines()[0].removeprefix("# ")
        read, work = re.search(r"(\d+) minutes to read, \d+ s to run, (\d+) minutes of exercises", first).groups()
        row = next((line for line in readme.splitlines() if f"(notebooks/{path.name})" in line), "")
        assert title in row
        assert f"{read} + {work}" in row
        megabytes = re.search(r"\| (\d+), (\d+) MB \|", row).groups()
        assert all(100 < int(number) < 1000 for number in megabytes)  # Binder gives 1 GB


def test_notebooks_need_only_what_is_declared():
    root = Path(__file__).parents[1]
    declared = (root / "pyproject.toml").read_text(encoding="utf8").replace("scikit-surprise", "surprise")
    for path in NOTEBOOKS:
        for cell in code_cells(nbformat.read(path, as_version=4)):
            for name in re.findall(r"^\s*(?:import|from) (\w+)", cell.source, flags=re.M):
                assert name == "mfhelpers" or name in declared or name in sys.stdlib_module_names, name
