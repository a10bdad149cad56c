"""`make` sets the course up, or says in plain words what it lacks and begins again next time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers import refusing

ROOT = Path(__file__).parents[1]


@pytest.fixture
def make(tmp_path):
    """Run make in a copy of what it needs, with no configuration of pip but ours."""
    if shutil.which("make") is None:
        pytest.skip("make is not on this machine")
    tree = tmp_path / "my course"
    tree.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(ROOT / name, tree)
    for name in ("mfhelpers/course", "notebooks"):
        (tree / name).mkdir(parents=True)
    shutil.copy(ROOT / "mfhelpers" / "course" / "pytorch.py", tree / "mfhelpers" / "course")
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "MAKE", "MFLAGS"))}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0"}
    environment |= {"HOME": str(tmp_path), "NO_PROXY": "*", "no_proxy": "*", "TORCH_CPU_INDEX": "none"}

    def run(*arguments, **variables):
        return subprocess.run(
            ["make", *arguments], cwd=tree, env=environment | variables, capture_output=True, text=True
        )

    run.tree = tree
    return run


def python_that(tmp_path, body):
    """A stand-in for Python: a shell script, with this Python as $PYTHON."""
    script = tmp_path / "python-stand-in"
    script.write_text(f'#!/bin/sh\nPYTHON="{sys.executable}"\n{body}\n')
    script.chmod(0o755)
    return script


def assert_refused(done, make, *words):
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert all(word in said for word in words), said
    assert not (make.tree / ".venv" / "ready").exists()
    assert make("-q", ".venv/ready").returncode == 1  # a second run would begin again
    assert not list(make.tree.glob("*.log"))


OLD = """case "$1" in
    -c) exec "$PYTHON" -c "import sys; sys.version_info = (3, 10, 14); ${2#import sys;}";;
    --version) echo "Python 3.10.14";;
    *) echo "unexpected: $*"; exit 9;;
esac"""
NO_VENV = """case "$1 $2" in
    "-m venv") mkdir -p .venv/bin; echo "No module named ensurepip" >&2; exit 1;;
    *) exec "$PYTHON" "$@";;
esac"""


@pytest.mark.parametrize("goal", ["lab", "notebooks", "test"])
def test_make_refuses_an_old_python(make, tmp_path, goal):
    done = make(goal, f"PYTHON={python_that(tmp_path, OLD)}")
    words = ["needs Python 3.11 or later", "is Python 3.10.14", "Install one", f"make PYTHON=python3.12 {goal}"]
    assert_refused(done, make, *words)
    assert not (make.tree / ".venv").exists()


def test_make_refuses_a_python_that_is_not_there(make):
    assert_refused(make("lab", "PYTHON=python-of-nobody"), make, "needs Python 3.11 or later", "make PYTHON=")


def test_make_says_how_to_get_venv(make, tmp_path):
    done = make("lab", f"PYTHON={python_that(tmp_path, NO_VENV)}")
    assert_refused(done, make, "-m venv' does not work", "sudo apt install python3-venv", "conda")
    assert not (make.tree / ".venv").exists()


def test_make_without_a_network_says_so_and_begins_again_next_time(make):
    with refusing() as server:
        index = server.url.removesuffix("data.zip")
        done = make("lab", f"PYTHON={sys.executable}", PIP_INDEX_URL=index)
    assert_refused(
        done, make, "hatchling", "The installation failed", "there is no network: connect once, then repeat the command"
    )


@pytest.mark.parametrize("address", ["https://ann:token@example.org/course.git", "https://example.org/course.git"])
def test_the_link_to_binder_holds_no_token(make, address):
    done = make("binder", f"REPOSITORY={address}", f"PYTHON={sys.executable}")
    assert done.stdout.strip().startswith("https://mybinder.org/v2/git/https%3A%2F%2Fexample.org%2Fcourse.git/HEAD?")
