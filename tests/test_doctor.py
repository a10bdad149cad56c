"""`python -m mfhelpers doctor`: a line for each thing that matters, whatever is broken, and no download."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from servers import answers, serving

from mfhelpers.course import doctor, notebooks
from mfhelpers.data import movielens

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
REAL = movielens.find_local("ml-100k")
DATA = ["MFHELPERS_DATA", "ml-100k", "ml-latest-small", "cache"]
AFTER_THE_PACKAGES = ["device", "threads", "memory", "notebooks", *DATA, "jupyter"]


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch, tmp_path):
    """No data, an empty cache, and few packages to look at: importing all of them takes seconds."""
    monkeypatch.setenv("MFHELPERS_DATA", "")
    monkeypatch.setenv("MFHELPERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MFHELPERS_OFFLINE", raising=False)
    monkeypatch.setattr(doctor, "_required", lambda: ["numpy", "tqdm"])


@pytest.fixture
def examine(capsys):
    """Run the doctor: the lines by name, as (verdict, words)."""

    def run():
        failed = doctor.doctor()
        *lines, blank, last = capsys.readouterr().out.splitlines()
        found = [re.fullmatch(r"(OK|FAIL) +(\S+) +(\S.*)", line) for line in lines]
        assert all(found), lines
        assert blank == ""
        assert failed == sum(match[1] == "FAIL" for match in found)
        assert last == (f"{failed} to repair." if failed else "Ready.")
        return {match[2]: (match[1], match[3]) for match in found}

    return run


def assert_only(lines, name, words):
    """That `name` fails with these words, and everything else is looked at and fine."""
    assert list(lines) == ["python", *doctor._required(), *AFTER_THE_PACKAGES]
    assert [n for n, (verdict, _) in lines.items() if verdict == "FAIL"] == [name]
    assert re.search(words, lines[name][1])


# -- a sound machine -------------------------------------------------------------------------------


def test_a_sound_machine_is_ready_and_nothing_is_downloaded_or_written(examine, monkeypatch, tmp_path):
    with serving(answers(404)) as server:
        monkeypatch.setattr(movielens, "SOURCES", (server.url + "?{name}",))
        lines = examine()
        assert server.asked == []
    assert {verdict for verdict, _ in lines.values()} == {"OK"}
    assert not list(tmp_path.iterdir())


def test_terms_are_named_where_the_data_is_not_here(examine):
    lines = examine()
    for name in ("ml-100k", "ml-latest-small"):
        assert "not here yet" in lines[name][1]
        assert movielens.DATASETS[name].licence in lines[name][1]


@pytest.mark.skipif(REAL is None, reason="real ml-100k is not on this machine: set MFHELPERS_DATA")
def test_data_that_is_here_is_verified(examine, monkeypatch):
    monkeypatch.setenv("MFHELPERS_DATA", str(REAL.parent))
    lines = examine()
    assert re.search("100,000 ratings, verified, in .*no copy", lines["ml-100k"][1])


def test_every_package_that_lessons_need_is_looked_at_and_no_other(monkeypatch):
    monkeypatch.undo()
    lab, test = (PROJECT["optional-dependencies"][extra] for extra in ("lab", "test"))
    lines = PROJECT["dependencies"] + [f"{d}; extra == 'lab'" for d in lab] + [f'{d} ; extra == "test"' for d in test]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    assert doctor._required() == [re.match(r"[\w-]+", line)[0] for line in PROJECT["dependencies"] + lab]


def test_without_metadata_the_main_packages_are_looked_at(monkeypatch):
    monkeypatch.undo()

    def not_installed(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", not_installed)
    assert {"torch", "numpy", "pandas"} <= set(doctor._required())


# -- what may be wrong -----------------------------------------------------------------------------


def test_an_old_python(examine, monkeypatch):
    monkeypatch.setattr(doctor, "PYTHON", (4, 0))
    assert_only(examine(), "python", r"too old: the course needs 4\.0 or later")


@pytest.mark.parametrize("name", ["__init__", "__main__", "course/__init__", "course/commands", "course/doctor"])
def test_an_old_python_gets_as_far_as_the_doctor(name):
    ast.parse((ROOT / "mfhelpers" / f"{name}.py").read_text(encoding="utf8"), feature_version=(3, 8))


def test_a_missing_package(examine, monkeypatch):
    monkeypatch.setattr(doctor, "_required", lambda: ["numpy", "no-such-package", "tqdm"])
    assert_only(
        examine(), "no-such-package", "not installed: run `make lab`, or pip install -c constraints.txt no-such"
    )


@pytest.mark.parametrize(
    ("cuda", "hip", "build"), [(None, None, "for CPUs"), ("13.0", None, "for CUDA 13.0"), (None, "6.4", "for ROCm")]
)
def test_the_build_of_pytorch_is_named_whatever_the_device(examine, monkeypatch, cuda, hip, build):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    for there, device in ((True, "CUDA, a card"), (False, "CPU; no lesson needs more")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        assert examine()["device"] == ("OK", f"{device}; PyTorch's build {build}")


@pytest.mark.parametrize(("cuda", "free", "needed"), [(None, 0.3, "1"), ("13.0", 1.2, r"1\.5")])
def test_too_little_memory(examine, monkeypatch, cuda, free, needed):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free * 1e9))
    assert_only(examine(), "memory", rf"{free} GB free, a lesson takes up to {needed}: close something")


def test_a_full_disk(examine, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0.1e9))
    assert_only(examine(), "cache", r"0\.1 GB free on the disk of .*: free 0\.5 GB, or set MFHELPERS_CACHE")


@pytest.mark.parametrize("below", ["", "cache", "a/b/cache"])
@pytest.mark.parametrize("obstacle", ["file", "link to nowhere"])
def test_something_in_the_way_of_the_cache(examine, monkeypatch, tmp_path, obstacle, below):
    way = tmp_path / "way"
    if obstacle == "file":
        way.write_text("")
    else:
        way.symlink_to(tmp_path / "nowhere")
    monkeypatch.setenv("MFHELPERS_CACHE", str(way / below))
    assert_only(examine(), "cache", "cannot write to .*: set MFHELPERS_CACHE to a folder that you can write")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_cache_that_is_read_only(examine, monkeypatch, tmp_path):
    (tmp_path / "cache").mkdir(mode=0o555)
    assert_only(examine(), "cache", "cannot write to .*: set MFHELPERS_CACHE to a folder that you can write")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_a_disk_that_is_read_only_even_for_root(examine, monkeypatch):
    monkeypatch.setenv("MFHELPERS_CACHE", "/proc/cache")
    assert_only(examine(), "cache", "cannot write to /proc/cache .*: set MFHELPERS_CACHE")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_a_home_that_is_read_only_keeps_jupyter_from_starting(examine, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/proc/runtime")
    assert_only(examine(), "jupyter", "cannot write to /proc/runtime .*: set JUPYTER_RUNTIME_DIR to a folder")


def test_damaged_data(examine, monkeypatch, tmp_path):
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k" / "u.data").write_text("not\na\ttable\n")
    monkeypatch.setenv("MFHELPERS_DATA", str(tmp_path))
    assert_only(examine(), "ml-100k", "damaged .*Download it again|not the original")


def test_a_data_folder_that_does_not_exist(examine, monkeypatch, tmp_path):
    monkeypatch.setenv("MFHELPERS_DATA", os.pathsep.join([str(tmp_path), str(tmp_path / "typo")]))
    assert_only(examine(), "MFHELPERS_DATA", f"does not exist: {tmp_path / 'typo'}. Correct it or unset it")
    monkeypatch.setenv("MFHELPERS_DATA", str(tmp_path))
    assert examine()["MFHELPERS_DATA"] == ("OK", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFHELPERS_DATA", "data")  # a lesson starts in another folder
    assert_only(
        examine(), "MFHELPERS_DATA", f"data is relative, and a lesson starts elsewhere: set it to {tmp_path / 'data'}"
    )


def test_missing_lessons(examine, monkeypatch, tmp_path):
    monkeypatch.setattr(notebooks, "__file__", str(tmp_path / "site" / "mfhelpers" / "notebooks.py"))
    assert_only(examine(), "notebooks", "install mfhelpers again")


def test_an_error_without_words_or_of_many_lines_has_its_one_line(examine, monkeypatch):
    def silent():
        raise RuntimeError

    def talkative():
        raise RuntimeError("one\n\n  two")

    monkeypatch.setattr(doctor, "_device", silent)
    monkeypatch.setattr(doctor, "_threads", talkative)
    lines = examine()
    assert (lines["device"], lines["threads"]) == (("FAIL", "RuntimeError"), ("FAIL", "one two"))


# -- as a command ----------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [["torch"], ["torch", "pandas"]], ids="+".join)
def test_the_command_speaks_though_packages_cannot_be_imported(tmp_path, broken):
    stands_in = tmp_path / "stands_in"
    stands_in.mkdir()
    for name in ("matplotlib", "ipykernel", "ipywidgets", "jupyterlab", "nbclient", "nbformat"):
        (stands_in / f"{name}.py").write_text("")  # the true ones take seconds to import
    for name in broken:
        (stands_in / f"{name}.py").write_text("raise OSError('libc10.so: cannot open shared object file')")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MFHELPERS")}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(stands_in), str(ROOT)]),
        "MFHELPERS_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "mfhelpers", "doctor"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith(("OK ", "FAIL "))}
    assert done.stderr == ""
    assert list(lines)[-len(AFTER_THE_PACKAGES) :] == AFTER_THE_PACKAGES
    for name in broken:
        assert re.search(rf"cannot be imported .*libc10.*--force-reinstall .* {name}$", lines[name])
    needs_pandas = set(DATA) if "pandas" in broken else set()
    failed = {name for name, line in lines.items() if line.startswith("FAIL")}
    assert failed == {"device", "threads", *broken, *needs_pandas}
    assert done.returncode == 1
