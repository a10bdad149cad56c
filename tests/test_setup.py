"""Setting up with make: which build of PyTorch comes, what root is told, the oldest packages; pip is a stand-in here."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from servers import answers, refusing, serving, silent

from mfhelpers.course import pytorch

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
PIN = re.search("^torch==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf8"), flags=re.M)[1]
NOTICE = "taking what pip's own index has"

# A Python whose environments have a pip that notes what it was asked for, and leaves the traces of a PyTorch. As in
# PyPI and PyTorch's own index, builds for CPUs are labelled and those for CUDA are not.
PYTHON = """#!/bin/sh
if [ "$1 $2" != "-m venv" ]; then exec "{python}" "$@"; fi
"{python}" -m venv --without-pip "$3"
site=$(echo "$3"/lib/python3*/site-packages)
mkdir "$site/pip" "$site/pytest"
cp "{here}/pip.py" "$site/pip/__main__.py"
echo 'import sys; print("tests with", sys.prefix, *sys.argv[1:])' > "$site/pytest/__main__.py"
printf '#!/bin/sh\\necho jupyter "$@"\\n' > "$3/bin/jupyter"
chmod +x "$3/bin/jupyter"
"""
PIP = """
import pathlib, re, shutil, sys
arguments = sys.argv[1:]
with open("pip.log", "a") as log:
    print(*arguments, file=log)
index = arguments[arguments.index("--index-url") + 1] if "--index-url" in arguments else ""
if "lacks-it" in index:
    sys.exit("ERROR: No matching distribution found for torch")
wanted = next((a for a in arguments if a.startswith("torch==")), None)
if not wanted:
    wanted = re.search("^torch==.+$", pathlib.Path(arguments[arguments.index("-c") + 1]).read_text(), flags=re.M)[0]
version = wanted.removeprefix("torch==")
site = pathlib.Path(__file__).parents[1]
here = [path.name.split("-")[1].removesuffix(".dist") for path in site.glob("torch-*.dist-info")]
if [v.split("+")[0] for v in here] != [version]:
    for path in site.glob("torch-*.dist-info"):
        shutil.rmtree(path)
    version += "+cpu" if index else ""
    (site / f"torch-{version}.dist-info").mkdir()
    (site / f"torch-{version}.dist-info" / "METADATA").write_text(f"Name: torch\\nVersion: {version}\\n")
"""


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def course(tmp_path):
    """Run make in a copy of what it needs, on a machine with no driver where nobody is root, unless told otherwise."""
    if shutil.which("make") is None:
        pytest.skip("make is not on this machine")
    tree, programs = tmp_path / "my course", tmp_path / "programs"
    (tree / "mfhelpers" / "course").mkdir(parents=True)
    programs.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "mfhelpers/course/pytorch.py"):
        shutil.copy(ROOT / name, tree / name)
    program(programs / "python", PYTHON.format(python=sys.executable, here=tmp_path))
    program(programs / "id", "#!/bin/sh\necho 1000\n")
    program(programs / "nvidia-smi", "#!/bin/sh\nexit 9\n")
    (tmp_path / "pip.py").write_text(PIP)
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "MAKE", "MFLAGS", "TORCH_"))}
    environment |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "NO_PROXY": "*", "no_proxy": "*"}
    environment |= {"PYTHON": str(programs / "python"), "NVIDIA_DRIVER": str(tmp_path / "driver")}

    def run(*arguments):
        done = subprocess.run(["make", *arguments], cwd=tree, env=environment, capture_output=True, text=True)
        return SimpleNamespace(status=done.returncode, said=done.stdout + done.stderr)

    def pip():
        """What pip was asked for since the last time."""
        log = tree / "pip.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def torch(venv=".venv"):
        (found,) = (tree / venv).glob("lib/python3*/site-packages/torch-*.dist-info")
        return found.name.removeprefix("torch-").removesuffix(".dist-info")

    def raise_the_pin():
        lines = (tree / "constraints.txt").read_text().replace(f"torch=={PIN}", "torch==99.0")
        (tree / "constraints.txt").write_text(lines)
        os.utime(tree / "constraints.txt", (time.time() + 5,) * 2)

    return SimpleNamespace(
        make=run, pip=pip, torch=torch, raise_the_pin=raise_the_pin, tree=tree, programs=programs,
        driver=tmp_path / "driver",
    )  # fmt: skip


@pytest.fixture
def index():
    """An index of builds for CPUs that answers."""
    with serving(answers(200, b"<a href='torch'>torch</a>")) as server:
        yield server.url.removesuffix("data.zip") + "whl/cpu"


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no choice")


# -- which build -----------------------------------------------------------------------------------


@on_linux
def test_without_a_driver_the_build_for_cpus_comes_from_pytorchs_index_and_the_rest_from_pips(course, index):
    done = course.make("lab", f"TORCH_CPU_INDEX={index}")
    assert done.status == 0, done.said
    first, rest = course.pip()
    assert first.endswith(f"--no-deps --index-url {index} torch=={PIN}")
    assert "--index-url" not in rest
    assert "-c constraints.txt -e .[lab]" in rest
    assert course.torch() == f"{PIN}+cpu"
    assert NOTICE not in done.said


@on_linux
@pytest.mark.parametrize("sign", ["file", "program"])
def test_with_a_driver_comes_what_pips_index_has(course, index, sign):
    if sign == "file":
        course.driver.touch()
    else:
        program(course.programs / "nvidia-smi", "#!/bin/sh\n[ $1 = -L ] && echo GPU 0: one\n")
    done = course.make("lab", f"TORCH_CPU_INDEX={index}")
    assert done.status == 0, done.said
    assert not any("--index-url" in line for line in course.pip())
    assert course.torch() == PIN
    assert NOTICE not in done.said


@on_linux
@pytest.mark.parametrize("trouble", ["refuses", "is silent", "has no name", "has no PyTorch", "is no address"])
def test_an_index_that_is_no_use_costs_a_few_seconds_and_one_line(course, trouble):
    with refusing() as closed, silent() as mute, serving(answers(404)) as empty:
        index = {
            "refuses": closed.url, "is silent": mute.url, "has no name": "http://nobody.invalid/whl/cpu",
            "has no PyTorch": empty.url, "is no address": "whl/cpu",
        }[trouble]  # fmt: skip
        started = time.monotonic()
        done = course.make("lab", f"TORCH_CPU_INDEX={index}")
        assert time.monotonic() - started < pytorch.SECONDS + 10
    assert done.status == 0, done.said
    assert not any("--index-url" in line for line in course.pip())
    (line,) = (line for line in done.said.splitlines() if NOTICE in line)
    assert index in line
    assert "Traceback" not in done.said


@on_linux
def test_an_index_that_answers_but_has_no_build_for_this_python_is_no_obstacle(course):
    with serving(answers(200, b"an empty page")) as server:
        done = course.make("lab", f"TORCH_CPU_INDEX={server.url}/lacks-it")
    assert done.status == 0, done.said
    assert done.said.count(NOTICE) == 1
    assert course.torch() == PIN


@pytest.mark.parametrize("driver", [False, True])
def test_the_users_own_index_is_taken_whatever_is_here(course, index, driver):
    if driver:
        course.driver.touch()
    done = course.make("lab", "TORCH_INDEX=https://mine/whl", f"TORCH_CPU_INDEX={index}")
    assert done.status == 0, done.said
    assert course.pip()[0].endswith(f"--index-url https://mine/whl torch=={PIN}")


def test_the_users_own_index_is_not_replaced_by_another(course, index):
    done = course.make("lab", "TORCH_INDEX=https://mine/lacks-it", f"TORCH_CPU_INDEX={index}")
    assert done.status != 0
    assert "The installation failed" in done.said
    assert len(course.pip()) == 1
    assert course.make("-q", ".venv/ready").status == 1


@on_linux
@pytest.mark.parametrize("driver", [False, True])
def test_a_second_make_changes_nothing_even_if_the_machine_changed(course, index, driver):
    if driver:
        course.driver.touch()
    assert course.make("lab", f"TORCH_CPU_INDEX={index}").status == 0
    before = course.torch()
    course.pip()
    course.driver.unlink() if driver else course.driver.touch()
    assert course.make("lab", f"TORCH_CPU_INDEX={index}").status == 0
    assert course.pip() == []
    assert course.make(".venv/tested", f"TORCH_CPU_INDEX={index}").status == 0
    (course.tree / ".venv" / "ready").unlink()  # as after an installation that broke off
    assert course.make("lab", f"TORCH_CPU_INDEX={index}").status == 0
    assert not any("--index-url" in line for line in course.pip())
    assert course.torch() == before


@on_linux
@pytest.mark.parametrize("driver", [False, True])
def test_a_raised_pin_renews_the_build_that_is_here(course, index, driver):
    if driver:
        course.driver.touch()
    course.make("lab", f"TORCH_CPU_INDEX={index}")
    course.driver.unlink() if driver else course.driver.touch()
    course.raise_the_pin()
    assert course.make("lab", f"TORCH_CPU_INDEX={index}").status == 0
    assert course.torch() == ("99.0" if driver else "99.0+cpu")


# -- the parts of that choice ----------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """Linux without a driver and without PyTorch; what pip is asked for."""
    asked = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(pytorch, "installed", lambda: "")
    monkeypatch.setattr(pytorch, "answers", lambda index: True)
    monkeypatch.setattr(pytorch, "_pip", lambda pin, index: asked.append((pin, index)) or 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    return asked


@pytest.mark.parametrize(("platform", "asks"), [("linux", True), ("darwin", False), ("win32", False)])
def test_only_linux_has_a_choice(bare, monkeypatch, platform, asks):
    monkeypatch.setattr(sys, "platform", platform)
    assert pytorch.install("torch==2.0", "", "the index", driver=()) == 0
    assert bare == [("torch==2.0", "the index")] * asks


@pytest.mark.parametrize(
    ("here", "asks"),
    [("2.0+cpu", False), ("2.0", False), ("2.0+cu130", False), ("1.9+cpu", True), ("1.9", False), ("2.0+rocm6", False)],
)
def test_the_build_that_is_here_is_kept(bare, monkeypatch, here, asks):
    monkeypatch.setattr(pytorch, "installed", lambda: here)
    assert pytorch.install("torch==2.0", "", "the index", driver=()) == 0
    assert bare == [("torch==2.0", "the index")] * asks


def test_the_build_that_is_here_is_known():
    import torch

    assert pytorch.installed() in (torch.__version__, torch.__version__.partition("+")[0])


@on_linux
@pytest.mark.parametrize(
    ("body", "there"),
    [("echo GPU 0", True), ("exit 9", False), ("exec sleep 60", False), (None, False), ("\0", False)],
)
def test_a_program_of_the_driver_that_fails_or_hangs_is_no_driver(bare, monkeypatch, tmp_path, body, there):
    monkeypatch.setattr(pytorch, "PROGRAM_SECONDS", 0.5)
    if body:
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
        program(tmp_path / "nvidia-smi", f"#!/bin/sh\n{body}\n" if body != "\0" else body)
    assert pytorch.has_driver([tmp_path / "nothing"]) is there


def test_a_name_that_nobody_resolves_in_time_is_no_answer(monkeypatch):
    stop, looking = threading.Event(), []

    def look_up(*_, **__):
        looking.append(threading.current_thread())
        stop.wait(30)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    started = time.monotonic()
    assert not pytorch.answers("http://slow.invalid", seconds=0.3)
    assert time.monotonic() - started < 5
    assert all(thread.daemon for thread in looking)  # or the program would wait for them at its end
    stop.set()


@pytest.mark.parametrize("page", ["/whl/cpu/torch/", "/whl/cpu/"])
def test_an_index_is_asked_for_its_page_on_pytorch(page):
    def behave(request):
        answers(200 if request.path == page else 404, b"links")(request)

    with serving(behave) as server:
        index = server.url.removesuffix("data.zip") + "whl/cpu"
        assert pytorch.answers(index) is pytorch.answers(f"{index}/") is ("torch" in page)


def test_an_empty_page_is_no_answer():
    with serving(answers(200, b"")) as server:
        assert not pytorch.answers(server.url)


# -- root ------------------------------------------------------------------------------------------


def jupyter(done):
    """The arguments that JupyterLab was started with."""
    assert done.status == 0, done.said
    (line,) = (line for line in done.said.splitlines() if line.startswith("jupyter "))
    return line.split()[1:]


@pytest.mark.parametrize("user", ["0", "1000"])
def test_root_may_start_jupyterlab_and_is_told_so_in_one_line(course, index, user):
    program(course.programs / "id", f"#!/bin/sh\necho {user}\n")
    done = course.make("lab", f"TORCH_CPU_INDEX={index}")
    root = ["--allow-root"] * (user == "0")
    assert jupyter(done) == ["lab", "--ip=127.0.0.1", *root, "notebooks/00_movielens.ipynb"]  # and nothing of its token
    assert done.said.count("You are root: ") == len(root)


@pytest.mark.parametrize("options", ["--ip=0.0.0.0", "--ip 0.0.0.0 --port 9000"])
def test_who_names_an_address_gets_it_alone(course, index, options):
    done = course.make("lab", f"TORCH_CPU_INDEX={index}", f"LAB_OPTIONS={options}")
    assert jupyter(done) == ["lab", *options.split(), "notebooks/00_movielens.ipynb"]


# -- the oldest packages ---------------------------------------------------------------------------


def test_the_oldest_packages_have_an_environment_of_their_own(course, index):
    done = course.make("oldest", f"TORCH_CPU_INDEX={index}")
    assert done.status == 0, done.said
    wanted = [line for extra in ("lab", "teach", "test") for line in PROJECT["optional-dependencies"][extra]]
    pins = (course.tree / "build" / "oldest.txt").read_text().split()
    assert sorted(pins) == sorted(line.replace(">=", "==") for line in PROJECT["dependencies"] + wanted)
    assert not (course.tree / ".venv").exists()
    torch = next(pin.removeprefix("torch==") for pin in pins if pin.startswith("torch=="))
    assert course.torch(".venv-oldest").removesuffix("+cpu") == torch
    assert all("-c build/oldest.txt" in line or line.endswith(f" torch=={torch}") for line in course.pip())
    assert f"tests with {course.tree}/.venv-oldest -W default::DeprecationWarning tests" in done.said


def test_what_make_makes_it_can_clean(course, index):
    for goal in (["lab"], ["oldest"], ["lab", "VENV=build/other"]):
        assert course.make(*goal, f"TORCH_CPU_INDEX={index}").status == 0
    course.pip()
    assert course.make("clean").status == 0
    assert {path.name for path in course.tree.iterdir()} == {
        "Makefile", "pyproject.toml", "constraints.txt", "mfhelpers",
    }  # fmt: skip


def test_another_place_for_the_environment(course, index):
    assert course.make("lab", "VENV=build/other", f"TORCH_CPU_INDEX={index}").status == 0
    assert not (course.tree / ".venv").exists()
    assert course.torch("build/other")
