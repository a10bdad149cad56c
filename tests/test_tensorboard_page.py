"""`tensorboard`: its page below a cell, or the command where no page can show it."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request

import pytest
from logs import TRAIN

from mfhelpers import als, tensorboard
from mfhelpers.display import tensorboard as logbook

pytestmark = pytest.mark.usefixtures("_no_thread_is_left")


@pytest.fixture
def kernel(monkeypatch):
    """As in a notebook that somebody looks at; what is displayed goes into the list."""
    shown: list = []
    monkeypatch.setattr("mfhelpers.display.notebook.in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    for name in ("MFHELPERS_ATTENDED", "JUPYTERHUB_SERVICE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    yield shown
    for process, _ in logbook._SERVERS.values():
        process.terminate()
        process.wait(10)
    logbook._SERVERS.clear()


def test_the_page_is_served_below_the_cell_and_knows_the_runs(kernel, tmp_path):
    als(TRAIN, 2, sweeps=1, log_dir=tmp_path / "one", progress=False)
    tensorboard(tmp_path)
    tensorboard(tmp_path, height=300)
    first, second = (shown.data for shown in kernel)
    addresses = [re.search(r'new URL\("(http://localhost:\d+/)"', page)[1] for page in (first, second)]
    assert addresses[0] == addresses[1]  # one server for both
    assert 'height="800"' in first
    assert 'height="300"' in second
    with urllib.request.urlopen(addresses[0] + "data/runs", timeout=30) as answer:
        assert json.load(answer) == ["one"]


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_an_interruption_of_the_kernel_does_not_reach_the_server(kernel, tmp_path):
    tensorboard(tmp_path, host="127.0.0.1", port=0)
    (process, address), *others = logbook._SERVERS.values()
    assert not others
    assert os.getpgid(process.pid) != os.getpgid(0)  # ■ goes to the kernel's whole group
    assert "127.0.0.1" in address


def test_the_page_ends_with_its_process(tmp_path):
    code = "import sys; from pathlib import Path; from mfhelpers.display import tensorboard as logbook; print(logbook._serve(Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=90, check=True
    )
    for _ in range(100):
        try:
            urllib.request.urlopen(done.stdout.strip(), timeout=5).close()
        except OSError:
            return
        time.sleep(0.1)
    pytest.fail("it still answers")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("MFHELPERS_ATTENDED", "0", "a page made by a machine"), ("JUPYTERHUB_SERVICE_PREFIX", "/user/x/", "not yours")],
)
def test_where_no_page_can_show_it_the_command_is_named(kernel, tmp_path, monkeypatch, capsys, name, value, said):
    monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    tensorboard("runs")
    assert not kernel
    assert said in (words := capsys.readouterr().out)
    assert words.endswith("in a terminal: tensorboard --logdir runs\n")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder: train with log_dir="):
        tensorboard(tmp_path / "none")


def test_what_a_server_said_that_did_not_start_is_told(kernel, tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho all is lost >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    with pytest.raises(RuntimeError, match="did not start.*: all is lost"):
        tensorboard(tmp_path)
