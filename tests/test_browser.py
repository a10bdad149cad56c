"""JupyterLab in headless Chromium, as a reader uses it: open a notebook, run it, look at its outputs; solve an exercise.

`make test` does it for one lesson and one exercise, `make browser` for every lesson and the first exercise of each.
Without Chromium it is skipped, unless MFHELPERS_BROWSER=required, as in CI and in `make browser`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

from mfhelpers.course import notebooks

LESSONS = sorted(path.stem for path in notebooks.folder().glob("*.ipynb"))
EXERCISES = [path.stem for path in notebooks.solutions()]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SECONDS = 1000  # milliseconds, as the browser counts


def pytest_generate_tests(metafunc):
    every = metafunc.config.getoption("--browser") == "all"
    if "lesson" in metafunc.fixturenames:
        metafunc.parametrize("lesson", LESSONS if every else ["00_movielens"])
    if "exercise" in metafunc.fixturenames:
        metafunc.parametrize("exercise", EXERCISES if every else ["00_movielens"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab server on a copy of the notebooks: its address and how to open a notebook there."""
    if CHROMIUM is None:
        assert os.environ.get("MFHELPERS_BROWSER") != "required", "there is no Chromium: apt-get install chromium"
        pytest.skip("there is no Chromium: install it, on Debian and Ubuntu by `apt-get install chromium`")
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("a course é")
    notebooks.copy_to(folder / "notebooks")
    with serving(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Lab(folder / "notebooks", address, browser)
        browser.close()


@contextmanager
def serving(folder: Path):
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    disabled = folder / "config" / "labconfig" / "page_config.json"  # nbgrader's menu: a reader has none
    disabled.parent.mkdir(parents=True)
    disabled.write_text('{"disabledExtensions": {"@jupyter/nbgrader": true}}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port, token = free.getsockname()[1], secrets.token_hex(16)
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": f"{folder}/config", "JUPYTERLAB_SETTINGS_DIR": f"{folder}/settings",
        "JUPYTERLAB_WORKSPACES_DIR": f"{folder}/workspaces", "JUPYTER_RUNTIME_DIR": f"{folder}/runtime",
        "OMP_NUM_THREADS": "1", "MFHELPERS_PROGRESS": "1", "MFHELPERS_ATTENDED": "1",  # a reader is there
    }  # fmt: skip
    options = [
        "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder / 'notebooks'}", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--expose-app-in-browser",
    ]  # fmt: skip
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(120):
            assert server.poll() is None, (folder / "lab.log").read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail("JupyterLab did not answer within a minute:\n" + (folder / "lab.log").read_text()[-3000:])
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?reset&token={token}"
    finally:
        server.terminate()
        server.wait(30)


class Lab:
    """JupyterLab as a reader's hands and eyes have it; cells are read from its model, since it draws only those in view."""

    def __init__(self, folder, address, browser):
        self.folder, self.address, self.browser = folder, address, browser

    @contextmanager
    def notebook(self, name):
        page = self.browser.new_page(viewport={"width": 1280, "height": 900})
        try:
            page.goto(self.address.format(name), wait_until="domcontentloaded")
            page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=60 * SECONDS)
            page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell").first.wait_for(timeout=60 * SECONDS)
            page.wait_for_function(f"() => {IDLE}", timeout=60 * SECONDS)
            yield page
        finally:
            page.evaluate("() => window.jupyterapp?.commands.execute('kernelmenu:shutdown')")
            page.close()


IDLE = """(window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady
    && window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle')"""
CELLS = "window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells"


def cells(page):
    return page.evaluate(f"() => {CELLS}.map(cell => cell.toJSON())")


def menu(page, *path):
    for name in path:
        page.get_by_role("menuitem", name=name, exact=True).click()


def run_all(page):
    """Clear the outputs and run all by the menu, as a reader does; returns the cells afterwards."""
    menu(page, "Edit", "Clear Outputs of All Cells")
    page.wait_for_function(f"() => {CELLS}.every(cell => !cell.execution_count)")
    menu(page, "Run", "Run All Cells")
    page.wait_for_function(
        f"""() => {{ const code = {CELLS}.filter(cell => cell.cell_type === 'code' && cell.source.trim());
            const failed = code.some(cell => !(cell.metadata.tags || []).includes('raises-exception')
                && cell.toJSON().outputs.some(output => output.output_type === 'error'));
            return {IDLE} && (failed || code.every(cell => cell.execution_count)); }}""",
        timeout=300 * SECONDS,
    )
    return cells(page)


def errors(cell):
    return [f"{o['ename']}: {o['evalue']}" for o in cell.get("outputs", []) if o["output_type"] == "error"]


def printed(cell):
    return "".join("".join(o["text"]) for o in cell["outputs"] if o["output_type"] == "stream")


def show(page, index):
    """Scroll to a cell as the outline does, so that it is drawn."""
    page.evaluate(
        """index => { const content = window.jupyterapp.shell.currentWidget.content;
            content.activeCellIndex = index; content.scrollToItem(index, 'start'); }""",
        index,
    )


def test_a_lesson_runs_whole_and_shows_its_figures(lab, lesson):
    with lab.notebook(f"{lesson}.ipynb") as page:
        done = run_all(page)
        failed = {
            n: errors(c)
            for n, c in enumerate(done)
            if errors(c) and "raises-exception" not in c["metadata"].get("tags", [])
        }
        assert failed == {}
        drawn = [n for n, c in enumerate(done) if any("image/png" in o.get("data", {}) for o in c.get("outputs", []))]
        assert drawn
        show(page, drawn[0])
        figure = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output img").first
        figure.wait_for(timeout=30 * SECONDS)
        assert figure.evaluate("image => image.naturalWidth") > 300
        # JupyterLab drops the alt text of a picture; the line below it has it, folded, for the keyboard too
        words = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) details", has_text="The figure in words").first
        words.locator("summary").focus()
        page.keyboard.press("Enter")
        assert len(words.inner_text().split()) > 8


def test_an_exercise_is_read_answered_and_checked(lab, exercise):
    solution = nbformat.read(notebooks.folder() / "solutions" / f"{exercise}.ipynb", as_version=4)
    with lab.notebook(f"exercises/{exercise}.ipynb") as page:
        first = cells(page)
        ids = [c["metadata"].get("nbgrader", {}).get("grade_id", "") for c in first]
        check = ids.index("exercise-1-check")
        answers = [n for n, name in enumerate(ids[:check]) if name.startswith("exercise-1")]
        stopped = run_all(page)[answers[0]]
        assert errors(stopped) == ["NotImplementedError: Exercise 1: your answer goes here"]

        for n in answers:
            type_into(page, n, solution.cells[n].source)
        run_all(page)
        done = cells(page)[check]
        assert errors(done) == []
        assert "Exercise 1 passed: " in printed(done)


def test_a_wrong_answer_is_told_what_is_missing_and_nothing_else(lab):
    with lab.notebook("exercises/00_movielens.ipynb") as page:
        ids = [c["metadata"].get("nbgrader", {}).get("grade_id", "") for c in cells(page)]
        type_into(page, ids.index("exercise-1"), "guess_1 = 'both'")
        type_into(page, ids.index("exercise-1b"), "def user_mean_error(train, test):\n    return 1.0")
        run_all(page)
        show(page, ids.index("exercise-1-check"))
        said = page.locator(".jp-OutputArea-output").filter(has_text="Exercise 1, not yet: your guess").first
        said.wait_for(timeout=30 * SECONDS)
        words = (
            "Exercise 1, not yet: your guess expected 'users' or 'films' got 'both' likely One of these is asked for"
        )
        assert " ".join(said.inner_text().split()).startswith(words)  # and no frame of a traceback


def type_into(page, index, source):
    """Replace a cell's text by the keyboard; JupyterLab indents and closes brackets on its own, so paste whole."""
    show(page, index)
    editor = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell.jp-mod-active .cm-content")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(source)
    page.wait_for_function(f"([index, source]) => {CELLS}[index].source === source", arg=[index, source])


# -- sliders and menus -----------------------------------------------------------------------------


def run_to(page, start):
    """Run up to the first cell that has `start` in it; returns its place."""
    place = next(n for n, cell in enumerate(cells(page)) if start in cell["source"])
    show(page, place)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-above')")
    page.wait_for_function(f"place => {IDLE} && {CELLS}.slice(0, place).every(c => c.cell_type !== 'code' || c.execution_count)",
                           arg=place, timeout=120 * SECONDS)  # fmt: skip
    show(page, place)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
    return place


def test_sliders_follow_the_arrow_keys(lab, pytestconfig):
    if pytestconfig.getoption("--browser") != "all":
        pytest.skip("runs in `make browser`")
    with lab.notebook("08_svd.ipynb") as page:
        run_to(page, "interactive.sliders(")
        slider = page.get_by_role("slider").first
        slider.wait_for(timeout=60 * SECONDS)
        figures = page.locator(".jp-Notebook details", has_text="20 bars")
        figures.first.wait_for(state="attached", timeout=60 * SECONDS)
        slider.focus()
        page.keyboard.press("ArrowRight")
        page.locator(".jp-Notebook details", has_text="40 bars").first.wait_for(state="attached", timeout=60 * SECONDS)


def test_films_are_rated_by_the_keyboard_alone(lab):
    with lab.notebook("07_als.ipynb") as page:
        run_to(page, "interactive.rate_films(")
        page.locator(".jp-OutputArea-output", has_text="Nothing is rated yet.").first.wait_for(
            state="attached", timeout=60 * SECONDS
        )
        first = page.locator(".widget-dropdown select").first
        assert first.get_attribute("id")  # its label is bound to it, for those who cannot see
        first.focus()
        words = page.locator(".jp-OutputArea-output details", has_text="Predicted stars without ratings and with them")
        for key in ("5", "Tab", "1"):
            page.keyboard.press(key)
        words.first.wait_for(state="attached", timeout=60 * SECONDS)
