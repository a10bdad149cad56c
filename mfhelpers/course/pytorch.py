"""Which build of PyTorch a new environment gets. `make` runs this file before anything is installed.

On Linux, what pip's index has brings several GB for NVIDIA's GPUs. Where no driver for them is, the build for CPUs
comes from PyTorch's own index, if that answers. An environment that has PyTorch keeps its build.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path

SECONDS = 4.0  # for an index to answer
PROGRAM_SECONDS = 10.0  # for nvidia-smi, which hangs with a broken driver


def install(pin: str, asked: str, cpu: str, driver: Sequence[str]) -> int:
    """Install PyTorch where it must not come from pip's own index; all the rest is left to the next pip.

    Parameters
    ----------
    pin : such as `torch==2.13.0`.
    asked : the index that the user names, or "". It is taken whatever is here.
    cpu : the index with builds for CPUs.
    driver : files that NVIDIA's driver makes; `nvidia-smi` is asked, too.

    Returns
    -------
    The exit status of pip if it failed on the user's own index, else 0.
    """
    if asked:
        return _pip(pin, asked)
    if not _wants_cpu(pin, driver):
        return 0
    if answers(cpu) and _pip(pin, cpu) == 0:
        return 0
    print(f"No PyTorch from {cpu}: taking what pip's own index has, which may bring several GB for GPUs", flush=True)
    return 0


def _wants_cpu(pin: str, driver: Sequence[str]) -> bool:
    here = installed()
    if here:  # a raised pin may renew a build, but not change it
        return here.endswith("+cpu") and here != f"{pin.partition('==')[2]}+cpu"
    return sys.platform == "linux" and not has_driver(driver)


def installed() -> str:
    """The version of PyTorch in this environment with its label, such as `2.13.0+cpu`; "" without one."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def has_driver(files: Sequence[str]) -> bool:
    """Whether a driver for NVIDIA's GPUs is on this machine."""
    if any(Path(file).exists() for file in files):
        return True
    if not (program := shutil.which("nvidia-smi")):
        return False
    try:
        return subprocess.run([program, "-L"], capture_output=True, timeout=PROGRAM_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def answers(index: str, seconds: float = SECONDS) -> bool:
    """Whether an index has a page on PyTorch, within some seconds, whatever its name or its server do."""
    got = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index.rstrip('/')}/torch/") as page:
                got.append(page.read(1))
        except Exception:  # no network has many faces, and each of them means no
            return

    thread = threading.Thread(target=ask, daemon=True)  # for names, too: looking one up knows no limit
    thread.start()
    thread.join(seconds)
    return any(got)


def _pip(pin: str, index: str) -> int:
    """What PyTorch itself needs comes with the rest, from pip's own index and within the constraints."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-compile"]
    return subprocess.run([*command, "--no-deps", "--index-url", index, pin]).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pin")
    parser.add_argument("--asked", default="")
    parser.add_argument("--cpu", required=True)
    parser.add_argument("--driver", nargs="*", default=())
    sys.exit(install(**vars(parser.parse_args())))
