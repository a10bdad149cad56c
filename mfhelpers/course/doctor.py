"""Is this machine ready for the course? One line for each thing that matters."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PYTHON = (3, 11)
FREE_MEMORY, FREE_DISK = 1.0, 0.5  # GB: one lesson, and one small data set with room to spare
FOR_CUDA = 0.5  # GB more: libraries of PyTorch's build for CUDA, GPU or not


def doctor() -> int:
    """Print OK or FAIL with a remedy for each check; returns how many failed. Downloads nothing."""
    checks: list[tuple[str, Callable[[], str]]] = [("python", _python)]
    checks += [(name, lambda name=name: _package(name)) for name in _required()]
    checks += [("device", _device), ("threads", _threads), ("memory", _memory), ("notebooks", _notebooks)]
    checks += [("MFHELPERS_DATA", _data_folders)]
    checks += [(name, lambda name=name: _data(name)) for name in ("ml-100k", "ml-latest-small")]
    checks += [("cache", _cache), ("jupyter", _jupyter)]
    failed = 0
    for name, check in checks:
        try:
            verdict, words = "OK  ", check()
        except Exception as error:  # whatever it is, it belongs on its line and must not hide the next
            words = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, ImportError):
                words += ": repair the packages first"
            verdict, failed = "FAIL", failed + 1
        print(f"{verdict}  {name:<16} {words}")
    print("\nReady." if not failed else f"\n{failed} to repair.")
    return failed


def _python() -> str:
    if sys.version_info < PYTHON:
        raise RuntimeError(f"{sys.version.split()[0]} is too old: the course needs {PYTHON[0]}.{PYTHON[1]} or later")
    return sys.version.split()[0]


def _required() -> list[str]:
    """Packages that the lessons import, from this package's own metadata."""
    try:
        lines = importlib.metadata.requires("mfhelpers") or []
    except importlib.metadata.PackageNotFoundError:
        lines = ["torch", "numpy", "scipy", "pandas", "matplotlib"]
    wanted = [line for line in lines if "extra ==" not in line or "'lab'" in line or '"lab"' in line]
    names = [match[0] for line in wanted if (match := re.match(r"[A-Za-z0-9_.-]+", line))]
    return [name for name in dict.fromkeys(names) if name != "mfhelpers"]


def _package(name: str) -> str:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeError(f"is not installed: run `make lab`, or pip install -c constraints.txt {name}") from None
    module = {"scikit-surprise": None}.get(name, name.replace("-", "_"))  # importing surprise makes a folder at home
    try:
        if module:
            importlib.import_module(module)
    except Exception as error:  # an OSError, where a library is damaged or missing
        raise RuntimeError(
            f"{version} cannot be imported ({type(error).__name__}: {error}): "
            f"run `make clean lab`, or pip install --force-reinstall -c constraints.txt {name}"
        ) from error
    return version


def _torch() -> Any:
    try:
        import torch
    except Exception as error:
        raise RuntimeError("not known without torch: repair that first") from error
    return torch


def _device() -> str:
    torch = _torch()
    if torch.cuda.is_available():
        return f"CUDA, {torch.cuda.get_device_name()}; {_build(torch)}"
    if torch.backends.mps.is_available():
        return f"MPS (Apple GPU); {_build(torch)}"
    return f"CPU; no lesson needs more; {_build(torch)}"


def _build(torch: Any) -> str:
    if torch.version.cuda:
        return f"PyTorch's build for CUDA {torch.version.cuda}"
    return "PyTorch's build for ROCm" if torch.version.hip else "PyTorch's build for CPUs"


def _threads() -> str:
    return f"{_torch().get_num_threads()} of {os.cpu_count()} processors"


def _memory() -> str:
    import psutil

    try:
        needed = FREE_MEMORY + FOR_CUDA * (_torch().version.cuda is not None)
    except RuntimeError:  # which has a line of its own
        needed = FREE_MEMORY
    free = psutil.virtual_memory().available / 1e9
    if free < needed:
        raise RuntimeError(f"{free:.1f} GB free, a lesson takes up to {needed:g}: close something")
    return f"{free:.1f} GB free"


def _notebooks() -> str:
    from . import notebooks

    lessons, exercises = (len(list(notebooks.folder().glob(names))) for names in ("*.ipynb", "exercises/*.ipynb"))
    return f"{lessons} lessons, exercises to {exercises} of them, in {notebooks.folder()}"


def _data_folders() -> str:
    from ..data import movielens

    folders = movielens.data_folders()
    for folder in folders:
        if not folder.is_absolute():
            raise RuntimeError(f"{folder} is relative, and a lesson starts elsewhere: set it to {folder.absolute()}")
    missing = ", ".join(str(folder) for folder in folders if not folder.exists())
    if missing:
        raise RuntimeError(
            f"names what does not exist: {missing}. Correct it or unset it; {os.pathsep!r} stands between folders"
        )
    return ", ".join(map(str, folders)) or "not set; it would name folders that hold data already"


def _data(name: str) -> str:
    from ..data import movielens

    place = movielens.find_local(name)
    licence = movielens.DATASETS[name].licence
    if place is None:
        return f"not here yet: lessons will download it, or simulate it without a network ({licence})"
    ratings = movielens.load_ratings(name, path=place)
    return f"{len(ratings):,} ratings, verified, in {place} ({licence})"


def _cache() -> str:
    from ..data import movielens

    place = movielens.cache_folder()
    existing = _writable(place, "MFHELPERS_CACHE")
    free = shutil.disk_usage(existing).free / 1e9
    if free < FREE_DISK:
        raise RuntimeError(f"{free:.1f} GB free on the disk of {place}: free {FREE_DISK:g} GB, or set MFHELPERS_CACHE")
    return f"{place}, {free:.0f} GB free"


def _jupyter() -> str:
    """JupyterLab does not start where it cannot note how to reach its kernels, on a read-only home for example."""
    from jupyter_core.paths import jupyter_runtime_dir

    _writable(Path(jupyter_runtime_dir()), "JUPYTER_RUNTIME_DIR")
    return "can start"


def _writable(place: Path, variable: str) -> Path:
    """The part of a path that exists; an error with its remedy if nothing can be written there."""
    existing = next((folder for folder in (place, *place.parents) if os.path.lexists(folder)), place)
    try:
        tempfile.TemporaryFile(dir=existing).close()  # permissions alone do not tell, for root or on a read-only disk
    except OSError as error:
        raise RuntimeError(
            f"cannot write to {place} ({error.strerror}): set {variable} to a folder that you can write"
        ) from error
    return existing
