"""How the notebooks are validated, and fixtures that several files of tests share.

pytest                 unit tests and the form of the notebooks; runs no lesson
pytest --nbs=auto      also runs every lesson: `strict` if real MovieLens is on this machine, else `simulated`
pytest --nbs=strict    nbval compares every output with the stored one
pytest --nbs=simulated every lesson must run on simulated ratings; their numbers are others, so nothing is compared
"""

from __future__ import annotations

import signal
import threading

import pytest
from small_movielens import _small_world  # noqa: F401 — a fixture of several files

from mfhelpers.data import movielens

pytest.register_assert_rewrite("descending", "fitting", "logs")  # which test files share
NEEDED = ("ml-100k", "ml-latest-small")


def real_data() -> bool:
    return all(movielens.find_local(name) for name in NEEDED)


def pytest_addoption(parser):
    parser.addoption("--nbs", choices=("off", "auto", "strict", "simulated"), default="off")
    parser.addoption("--browser", choices=("some", "all"), default="some", help="which notebooks Chromium opens")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    option = config.option
    if option.nbs == "auto":
        option.nbs = "strict" if real_data() else "simulated"
    option.nbval = option.nbs == "strict"
    option.nbval_current_env = True  # the kernel of this environment, whatever a notebook names
    option.nbval_cell_timeout = 120  # seconds; nbval's own limit is over half an hour


def pytest_report_header(config):
    return f"notebooks: {config.option.nbs} (MovieLens {'found' if real_data() else 'not found'})"


@pytest.fixture(scope="session", autouse=True)
def pythons_own_interrupt():
    """A shell starts what ends in & with interrupts ignored, and then no test of them can work."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def simulated_mode(request):
    if request.config.option.nbs != "simulated":
        pytest.skip("runs with --nbs=simulated")


@pytest.fixture(scope="session")
def movielens_100k():
    if not movielens.find_local("ml-100k"):
        pytest.skip("real ml-100k is not on this machine: set MFHELPERS_DATA")
    return movielens.load_ratings("ml-100k", source="movielens")


@pytest.fixture
def no_figure_stays():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.fixture
def _no_thread_is_left():
    before = set(threading.enumerate())
    yield
    new = set(threading.enumerate()) - before
    assert [thread for thread in new if type(thread).__module__.startswith("tensorboard")] == []  # tqdm has one too


@pytest.fixture(scope="session")
def megabytes():
    """How much a notebook may take: Binder's 1 GB, where PyTorch is built for CPUs. CUDA's libraries come on top."""
    import torch

    return 1000 if torch.version.cuda is None else 1700
