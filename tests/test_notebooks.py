"""The lessons as files: a student's copy is safe, and a run writes the same bytes every time or says what failed."""

import contextlib
import io
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mfhelpers.course import notebooks

CHANGES = {"tags": [notebooks.CHANGES]}
STALE = [new_output("stream", text="stale")]
TIMING = "import time\nprint(f'{time.perf_counter_ns():,} ratings a second')\ntime.perf_counter_ns()"


def write(path, *cells, **metadata):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # not a new one in every run of the tests
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def read(path):
    return nbformat.read(path, as_version=4)


def tree(folder):
    """Every file of a folder, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def environment():
    with pytest.MonkeyPatch.context() as patch:
        # `run` sets these where they are not set: the other tests shall not notice
        patch.setenv("MFHELPERS_PROGRESS", "0")
        patch.setenv("MFHELPERS_ATTENDED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield patch


# -- copy_to ---------------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A small stand-in for the folder of the notebooks."""
    folder = tmp_path / "course" / "notebooks"
    (folder / "pictures").mkdir(parents=True)
    for name in ("00_a.ipynb", "01_b.ipynb", "pictures/one.png"):
        (folder / name).write_text(name)
    for folder_of_a_tool in (".ipynb_checkpoints", "__pycache__"):
        (folder / folder_of_a_tool).mkdir()
        (folder / folder_of_a_tool / "00_a.ipynb").write_text("of a tool")
    monkeypatch.setattr(notebooks, "folder", lambda: folder)
    return folder


@pytest.mark.parametrize("name", ["mine", "my course/Übungen für Łucja 课"])
def test_a_fresh_copy_has_every_file_but_those_of_tools(course, tmp_path, name):
    copied, kept = notebooks.copy_to(str(tmp_path / name))
    assert tree(tmp_path / name) == {n: n.encode() for n in ("00_a.ipynb", "01_b.ipynb", "pictures/one.png")}
    assert {str(path) for path in copied} == set(tree(tmp_path / name))
    assert kept == []


def test_a_second_copy_keeps_and_names_what_the_student_changed(course, tmp_path):
    target = tmp_path / "mine"
    notebooks.copy_to(target)
    (target / "00_a.ipynb").write_text("my answers")
    (target / "pictures" / "one.png").unlink()
    (target / "notes.txt").write_text("my notes")
    copied, kept = notebooks.copy_to(target)
    assert ([str(path) for path in copied], [str(path) for path in kept]) == (["pictures/one.png"], ["00_a.ipynb"])
    assert (target / "00_a.ipynb").read_text() == "my answers"
    assert (target / "notes.txt").read_text() == "my notes"


@pytest.mark.parametrize("inside", [".", "mine", "../notebooks/mine"])
def test_the_courses_own_folder_is_refused(course, inside):
    before = tree(course)
    with pytest.raises(ValueError, match="choose a folder outside"):
        notebooks.copy_to(course / inside)
    assert tree(course) == before


def test_a_way_through_a_link_does_not_hide_the_courses_own_folder(course, tmp_path):
    (tmp_path / "link").symlink_to(course)
    with pytest.raises(ValueError, match="choose a folder outside"):
        notebooks.copy_to(tmp_path / "link" / "mine")


def test_the_home_folder_can_be_written_as_a_tilde(course, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    notebooks.copy_to("~/mine")
    assert (tmp_path / "mine" / "00_a.ipynb").exists()


def test_the_notebooks_are_beside_the_package_or_inside_it_or_missed_by_name(tmp_path, monkeypatch):
    package = tmp_path / "site" / "mfhelpers"
    monkeypatch.setattr(notebooks, "__file__", str(package / "course" / "notebooks.py"))
    with pytest.raises(FileNotFoundError, match="install mfhelpers again"):
        notebooks.folder()
    for place in (package / "lessons", package.parent / "notebooks"):
        write(place / "00_a.ipynb")
        assert notebooks.folder() == place


# -- a course of two small lessons, run once -----------------------------------------------------


@pytest.fixture(scope="module")
def report(tmp_path_factory, environment):
    """What `run_all` printed, returned and wrote."""
    root = tmp_path_factory.mktemp("run_all")
    source, target = root / "notebooks", root / "results" / "notebooks"
    timestamp = {"execution": {"iopub.execute_input": "2024-01-01T00:00:00Z"}, "collapsed": True}
    write(
        source / "00_good.ipynb",
        new_markdown_cell("# Title", metadata={"slideshow": {"slide_type": "slide"}}),
        new_code_cell("print('ratings', end='', flush=True)\nprint(' and films')", metadata=timestamp, outputs=STALE),
        new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]}),
        new_code_cell(TIMING, metadata=CHANGES),
        "import os\nos.environ['MFHELPERS_PROGRESS'], os.path.basename(os.getcwd())",
        kernelspec={"name": "conda-of-someone", "display_name": "Mine", "language": "python"},
        widgets={"state": {}},
    )
    write(
        source / "01_fails.ipynb",
        new_markdown_cell("# Title"),
        "print('These are SIMULATED ratings')",
        "raise ValueError('no such film\\nat all')",
        new_code_cell("print('later')", outputs=STALE, execution_count=3),
    )
    environment.setattr(notebooks, "folder", lambda: source)
    before, out = tree(source), io.StringIO()
    with contextlib.redirect_stdout(out):
        failed = notebooks.run_all(target)
    return SimpleNamespace(source=source, target=target, before=before, printed=out.getvalue(), failed=failed)


@pytest.fixture(scope="module")
def good(report):
    return read(report.target / "00_good.ipynb")


def test_a_table_says_how_each_lesson_went(report):
    table = report.printed[report.printed.index("notebook ") :].splitlines()
    assert table[0].split() == ["notebook", "seconds", "peak", "MB", "data", "result"]
    name, seconds, megabytes, data, result = table[1].split()
    assert (name, data, result) == ("00_good.ipynb", "movielens", "ok")
    assert 0 < float(seconds) < 60
    assert 5 < float(megabytes) < 1000  # a Python with a kernel
    name, _, _, data, result = table[2].split(maxsplit=4)
    assert (name, data, result) == ("01_fails.ipynb", "simulated", "cell 3: ValueError: no such film")
    assert len(table) == 3
    assert report.failed == 1


def test_progress_counts_the_lessons(report):
    first, second = report.printed.splitlines()[:2]
    assert first.startswith("[1/2] 00_good.ipynb")
    assert second.startswith("[2/2] 01_fails.ipynb")
    assert ("FAILED" in first, "FAILED" in second) == (False, True)


def test_a_run_to_another_folder_leaves_the_lessons_alone(report):
    assert tree(report.source) == report.before
    assert set(tree(report.target)) == {"00_good.ipynb", "01_fails.ipynb"}


def test_the_result_holds_the_outputs_and_nothing_of_this_machine(good):
    nbformat.validate(good)
    assert good.metadata == {"kernelspec": notebooks.KERNEL, "language_info": {"name": "python"}}
    assert [cell.metadata for cell in good.cells] == [{}, {}, {"tags": ["raises-exception"]}, CHANGES, {}]
    assert [cell.execution_count for cell in good.cells[1:]] == [1, 2, 3, 4]
    assert [output.text for output in good.cells[1].outputs] == ["ratings and films\n"]
    assert good.cells[4].outputs[0].data["text/plain"] == "('0', 'notebooks')"  # no bars; in the lesson's own folder


def test_an_error_that_belongs_to_the_lesson_is_no_failure(good):
    assert good.cells[2].outputs[0].ename == "ZeroDivisionError"


def test_cells_after_a_failure_do_not_look_as_if_they_had_run(report):
    cells = read(report.target / "01_fails.ipynb").cells
    assert cells[2].outputs[0].ename == "ValueError"
    assert (cells[3].outputs, cells[3].execution_count) == ([], None)


def test_a_second_run_in_place_changes_no_byte_though_timings_differ(report):
    path = report.target / "00_good.ipynb"
    before = path.read_bytes()
    assert notebooks.run(path, path).problem == ""
    assert path.read_bytes() == before


def test_a_failure_in_place_leaves_the_lesson_as_it_was(report):
    path = report.source / "01_fails.ipynb"
    run = notebooks.run(path, path.parent / "." / "../notebooks" / path.name)  # the same file by another name
    assert run.problem == "cell 3: ValueError: no such film"
    assert tree(report.source) == report.before


@pytest.mark.parametrize(
    ("cell", "problem"),
    [("import time\ntime.sleep(60)", "cell 2: CellTimeoutError: .* 1 seconds"),
     ("import os\nos._exit(1)", "cell 2: DeadKernelError: Kernel died")],
    ids=["too slow", "dead"],
)  # fmt: skip
def test_a_cell_that_never_ends_or_kills_its_kernel_is_reported(tmp_path, environment, cell, problem):
    path = write(tmp_path / "a.ipynb", new_markdown_cell("# Title"), cell, "print('later')")
    run = notebooks.run(path, tmp_path / "new" / "a.ipynb", cell_seconds=1)
    assert re.match(problem, run.problem)
    assert run.seconds < 20


# -- run_all without a kernel ----------------------------------------------------------------------


@pytest.fixture
def asked(course, monkeypatch):
    """Which (source, target) `run_all` asked `run` for; it is told that all went well."""
    calls = []

    def run(source, target):
        calls.append((source, target))
        return notebooks.Run(source.name, 1.0, 100.0, "movielens", "")

    monkeypatch.setattr(notebooks, "run", run)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return calls


def test_all_lessons_in_their_order(asked, course, tmp_path):
    assert notebooks.run_all(tmp_path) == 0
    assert asked == [(course / name, tmp_path / name) for name in ("00_a.ipynb", "01_b.ipynb")]


@pytest.mark.parametrize("name", ["01_b", "01_b.ipynb"])
def test_lessons_by_name(asked, course, tmp_path, name):
    assert notebooks.run_all(tmp_path, names=[name]) == 0
    assert asked == [(course / "01_b.ipynb", tmp_path / "01_b.ipynb")]


def test_solutions_run_after_the_lessons_and_go_into_their_own_folder(asked, course, tmp_path):
    (course / "solutions").mkdir()
    shutil.copy(course / "00_a.ipynb", course / "solutions")
    assert notebooks.run_all(tmp_path) == 0
    assert asked[-1] == (course / "solutions" / "00_a.ipynb", tmp_path / "solutions" / "00_a.ipynb")
    assert notebooks.run_all(tmp_path, names=["solutions/00_a"]) == 0
    assert asked[-1] == asked[-2]


def test_in_place_means_the_lesson_itself(asked, course):
    notebooks.run_all(Path("not used"), in_place=True, names=["00_a"])
    assert asked == [(course / "00_a.ipynb", course / "00_a.ipynb")]


def test_an_unknown_name_is_said_and_nothing_runs(asked, tmp_path, capsys):
    assert notebooks.run_all(tmp_path, names=["01_b", "07_typo"]) == 1
    assert "is called 07_typo" in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize("inside", ["../notebooks", "solutions"])  # whose files have the lessons' names
def test_the_courses_own_folder_is_no_target(asked, course, capsys, inside):
    assert notebooks.run_all(course / inside) == 1
    assert "choose another folder" in capsys.readouterr().err
    assert asked == []


# -- what is stored of changing outputs ------------------------------------------------------------


def cell_with(*outputs, tags=(notebooks.CHANGES,), count=1):
    return new_code_cell("", outputs=list(outputs), metadata={"tags": list(tags)}, execution_count=count)


def text(words):
    return new_output("stream", text=words)


def result(count, **data):
    return new_output("execute_result", {f"text/{kind}": value for kind, value in data.items()}, execution_count=count)


def picture(png, words="speed"):
    return new_output("display_data", {"image/png": png, "text/plain": f"[figure: {words}]"})


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ([text("1,250.5 a second")], [text("980 a second")], True),
        ([text("1.5 s")], [text("1.5 ms")], False),
        ([text("1 s")], [], False),
        ([], [text("1 s")], False),
        ([text("1 s")], [text("1 s"), text("2 s")], False),
        ([text("1 s")], [result(1, plain="1 s")], False),
        ([], [result(1, html="<b>1</b>")], False),
        ([result(1, html="<b>1</b>", plain="1")], [result(1, html="<i>1</i>", plain="1")], False),
        ([picture("AAAA")], [picture("AAAA")], True),
        ([picture("AAAA")], [picture("BBBB")], True),  # a figure of timings
        ([picture("AAAA")], [picture("AAAA", "slowness")], False),
        ([picture("AAAA")], [text("AAAA")], False),
    ],
)
def test_a_stored_output_is_put_back_only_where_nothing_but_digits_differs(old, new, kept):
    before, after = (new_notebook(cells=[cell_with(*outputs)]) for outputs in (old, new))
    notebooks._keep_changing_outputs(before, after)
    assert after.cells[0].outputs == (old if kept else new)


def test_without_the_tag_every_pixel_counts():
    before, after = (new_notebook(cells=[cell_with(picture(png), tags=[])]) for png in ("AAAA", "BBBB"))
    notebooks._keep_changing_outputs(before, after)
    assert after.cells[0].outputs == [picture("BBBB")]


def test_an_error_is_stored_without_the_files_that_it_came_through():
    frames = ["-----", "File /home/me/.venv/lib/torch/nn.py:12", "ValueError: too much"]
    notebook = new_notebook(
        cells=[cell_with(new_output("error", ename="ValueError", evalue="too much", traceback=frames))]
    )
    notebooks.normalise(notebook)
    assert notebook.cells[0].outputs[0].traceback == ["ValueError: too much"]


def test_without_the_tag_every_digit_counts():
    before, after = (new_notebook(cells=[cell_with(text(words), tags=[])]) for words in ("0.92", "0.93"))
    notebooks._keep_changing_outputs(before, after)
    assert after.cells[0].outputs == [text("0.93")]


def test_an_output_that_is_put_back_bears_the_number_of_its_cell():
    before = new_notebook(cells=[cell_with(result(3, plain="1.5"), count=3)])
    after = new_notebook(cells=[cell_with(result(4, plain="1.6"), count=4)])
    notebooks._keep_changing_outputs(before, after)
    assert after.cells[0].outputs == [result(4, plain="1.5")]


def test_timings_are_put_back_all_or_none():
    before = new_notebook(cells=[cell_with(text("fast: 1.5")), cell_with(text("7 s"))])
    after = new_notebook(cells=[cell_with(text("slow: 1.5")), cell_with(text("9 s"))])
    notebooks._keep_changing_outputs(before, after)
    assert after.cells[1].outputs == [text("9 s")]
