"""The lessons as files: where they are, a student's copy, running them."""

from __future__ import annotations

import copy
import filecmp
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.files import replacing

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
CELL_SECONDS = 300
MADE = {"__pycache__", "runs"}  # by running a lesson: no part of the course
CHANGES = "nbval-ignore-output"  # the tag of cells whose output differs from run to run


def folder() -> Path:
    """The notebooks that belong to this package: of its checkout, or inside the installed package.

    Raises
    ------
    FileNotFoundError
        If neither is there.
    """
    package = Path(__file__).parents[1]
    for place in (package.parent / "notebooks", package / "lessons"):
        if any(place.glob("*.ipynb")):
            return place
    raise FileNotFoundError(f"no notebooks beside or inside {package}: install mfhelpers again")


def all_with_outputs() -> list[Path]:
    """Lessons, then the solutions of their exercises; the students' copies are made from these."""
    return sorted(folder().glob("*.ipynb")) + solutions()


def solutions() -> list[Path]:
    """The notebooks with the solutions of exercises, named as their lessons are."""
    return sorted((folder() / "solutions").glob("*.ipynb"))


def copy_to(target: str | os.PathLike) -> tuple[list[Path], list[Path]]:
    """Copy the notebooks to a folder of the student's own, which a `git pull` then never touches.

    A file that is there already is kept, whatever is in it: it may hold somebody's work.

    Returns
    -------
    copied, kept : lists of paths relative to `target`; `kept` has those that differ from the course's.

    Raises
    ------
    ValueError
        If `target` lies inside the course's own notebooks.
    """
    source, target = folder(), Path(target).expanduser()
    if target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{target} is where the course itself lies: choose a folder outside {source}")
    copied, kept = [], []
    for file in sorted(source.rglob("*")):
        relative = file.relative_to(source)
        if not file.is_file() or any(part.startswith(".") or part in MADE for part in relative.parts):
            continue
        if not (target / relative).exists():
            with replacing(target / relative) as new, open(file, "rb") as old:
                shutil.copyfileobj(old, new)
            copied.append(relative)
        elif not filecmp.cmp(file, target / relative, shallow=False):
            kept.append(relative)
    return copied, kept


@dataclass
class Run:
    """How the run of one notebook went; `problem` is empty if it went well."""

    name: str
    seconds: float
    megabytes: float
    data: str
    problem: str


def run(source: Path, target: Path, cell_seconds: int = CELL_SECONDS) -> Run:
    """Run a notebook from top to bottom and write it, with its outputs, to `target`.

    `source` and `target` may be the same file; it is replaced only if every cell ran. What is
    written depends on the outputs alone: no time, path or version of this machine gets in.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from traitlets.config import Config

    notebook: Any = nbformat.read(source, as_version=4)
    before = copy.deepcopy(notebook)
    for cell in notebook.cells:  # what stands after a cell that fails shall not look as if it had run
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    begun = []
    client = NotebookClient(
        notebook, timeout=cell_seconds, kernel_name="python3", record_timing=False, coalesce_streams=True,
        resources={"metadata": {"path": str(source.parent)}},
        on_cell_execute=lambda cell, cell_index: begun.append(cell_index + 1),
        config=Config({"KernelManager": {"transport_encryption": "auto"}}),  # the kernel warns without it
    )  # fmt: skip
    for name in ("MFHELPERS_PROGRESS", "MFHELPERS_ATTENDED"):  # a bar at 41 % is no part of a page, nor are sliders
        os.environ.setdefault(name, "0")
    started, problem = time.perf_counter(), ""
    # a kernel's own stderr, not its cells': libzmq may abort there, without harm, while it is shut down
    with _PeakMemory() as memory, tempfile.TemporaryFile() as said:
        try:
            client.execute(stderr=said)
        except CellExecutionError as error:
            problem = f"{error.ename}: {error.evalue}"
        except (CellTimeoutError, DeadKernelError) as error:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            problem = ": ".join([type(error).__name__, str(error), *last])
    if problem:
        problem = f"cell {begun[-1]}: " + problem.splitlines()[0].rstrip(": ")
    in_place = target.exists() and target.samefile(source)
    if not problem or not in_place:
        normalise(notebook)
        if in_place:
            _keep_changing_outputs(before, notebook)
        with replacing(target) as file:
            file.write((nbformat.writes(notebook) + "\n").encode())
    return Run(source.name, time.perf_counter() - started, memory.peak / 1e6, _data_source(notebook), problem)


def normalise(notebook) -> None:
    """Strip what differs between two runs of the same notebook, or between two machines."""
    notebook.metadata = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {kept: cell.metadata[kept] for kept in ("nbgrader", "tags") if cell.metadata.get(kept)}
        for output in cell.get("outputs", []):
            if output.output_type == "error":  # its frames name files of this machine, at great length
                output.traceback = [f"{output.ename}: {output.evalue}"]


def _keep_changing_outputs(before, after) -> None:
    """Put back the stored timings and the like, if nothing but digits has changed in any of them.

    Without this, every run would change every notebook, and a change that matters would drown. All
    or none: a page shows the times of one run. A picture counts as digits: whoever edits its code
    without running it clears an output, and so renews them all.
    """
    pairs = [
        (old, new)
        for old, new in zip(before.cells, after.cells, strict=True)
        if CHANGES in new.metadata.get("tags", [])
    ]
    if all(_without_digits(old.outputs) == _without_digits(new.outputs) for old, new in pairs):
        for old, new in pairs:
            new.outputs = old.outputs
            for output in new.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = new.execution_count


def _without_digits(outputs) -> str:
    outputs = copy.deepcopy(outputs)
    for output in outputs:  # a figure of timings has other pixels each time
        output.get("data", {}).pop("image/png", None)
    return re.sub(r"[\d.,]+", "#", json.dumps(outputs, sort_keys=True))


def run_all(target: Path, in_place: bool = False, names: list[str] | None = None) -> int:
    """Run lessons and solutions one after the other with a progress line each; returns how many failed."""
    every = {path.relative_to(folder()).as_posix(): path for path in all_with_outputs()}
    unknown = [
        name for name in names or [] if not any(name in (known, known.removesuffix(".ipynb")) for known in every)
    ]
    if unknown:
        print(f"no notebook in {folder()} is called {', '.join(unknown)}", file=sys.stderr)
        return 1
    if not in_place and target.resolve().is_relative_to(folder().resolve()):
        print(f"{target} is where the course itself lies: choose another folder", file=sys.stderr)
        return 1
    chosen = [name for name in every if not names or name in names or name.removesuffix(".ipynb") in names]
    # one thread: its sums are the same on every machine
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    runs = []
    for number, name in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {name} …", end="", flush=True)
        runs.append(run(every[name], every[name] if in_place else target / name))
        runs[-1].name = name
        print(f" {runs[-1].seconds:.1f} s{'  FAILED' if runs[-1].problem else ''}", flush=True)
    width = max(len(r.name) for r in runs)
    print(f"\n{'notebook':<{width}}  seconds  peak MB  data       result")
    for r in runs:
        print(f"{r.name:<{width}}  {r.seconds:7.1f}  {r.megabytes:7.0f}  {r.data:<9}  {r.problem or 'ok'}")
    return sum(bool(r.problem) for r in runs)


def _data_source(notebook) -> str:
    """What the notebook's own outputs say about its data."""
    text = str([cell.get("outputs") for cell in notebook.cells])
    return "simulated" if "SIMULATED" in text else "movielens"


class _PeakMemory:
    """Watches the memory of this process's children, so of the kernel and what it starts.

    Of several processes the proportional share counts, where the system tells it (Linux): they have
    the libraries in common, which count as resident in each.
    """

    def __enter__(self) -> _PeakMemory:
        self.peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        import psutil

        me = psutil.Process()
        while not self._done.wait(0.1):
            total, children = 0, me.children(recursive=True)
            for child in children:
                try:
                    share = child.memory_full_info().pss if psutil.LINUX and len(children) > 1 else 0
                    total += share or child.memory_info().rss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)

    def __exit__(self, *error) -> None:
        self._done.set()
        self._thread.join()
