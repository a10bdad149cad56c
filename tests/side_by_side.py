"""Unit tests and notebooks side by side, one process a processor: what `make test` calls.

    python tests/side_by_side.py [--processes N] [--units all|data]

Every notebook is executed once, a lesson and its solutions by one process: compared with their stored outputs if real
MovieLens is on this machine, else on simulated ratings. The unit tests are two processes. What a process said is printed
whole when it is done. The exit code is 1 if any of them failed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from conftest import real_data

from mfhelpers.course import notebooks

ROOT = Path(__file__).parents[1]
# a test that hangs ends all, and says where it stood
HANGS = ["-o", "faulthandler_timeout=600", "-o", "faulthandler_exit_on_timeout=true"]
PYTEST = ["-m", "pytest", "-q", "--no-header", *HANGS]
NOTEBOOK = [*PYTEST, "-p", "no:hypothesispytest"]  # a second to load, for nothing
# from outside: with pytest's own --cov, nbval sets it up in each kernel, and hangs
UNIT = ["-m", "coverage", "run", *PYTEST, "--durations=20"]
# more than half of the unit tests' time
APART = ("browser", "check", "classroom", "exercises", "generated", "hogwild", "sections")
MAY_LOOK_FOR_DATA = re.compile("movielens|load_ratings|real_data|find_local|mfhelpers_data", re.IGNORECASE)
NEVER_LOOKS = ("test_sections",)  # puts ratings of its own in their place
SIMULATED = "tests/test_simulated.py::test_runs_on_simulated_ratings_and_says_so"
LONG = (
    "09",
    "11",
    "06",
    "12",
    "15",
    "08",
    "14",
    "05",
    "13",
    "04",
)  # these lessons first, so that no long one is left for the end


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=min(4, os.cpu_count() or 1), help="default: %(default)s")
    parser.add_argument(
        "--units", choices=("all", "data"), default="all", help="data: those that may look for MovieLens"
    )
    chosen = parser.parse_args()
    os.chdir(ROOT)
    # one thread and no progress bars: stored outputs shall be the same on every machine
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "MFHELPERS_PROGRESS": "0",
        "MFHELPERS_ATTENDED": "0",
        "PYTHONPATH": str(ROOT / "tests"),
    }
    began, failed, results = time.perf_counter(), [], []
    print(f"MovieLens {'found' if real_data() else 'not found'}, {chosen.processes} processes", flush=True)
    with ThreadPoolExecutor(chosen.processes) as pool:
        running = {pool.submit(work, command): name for name, command in tasks(chosen.units).items()}
        for done in as_completed(running):
            code, seconds, said = done.result()
            name, verdict = running[done], "ok" if code == 0 else f"FAILED ({code})"
            print(f"\n=== {name}: {verdict} in {seconds:.0f} s\n{said}", flush=True)
            results.append((seconds, name))
            failed += [name] * (code != 0)
    print("\nslowest:", ", ".join(f"{name} {seconds:.0f} s" for seconds, name in sorted(results, reverse=True)[:8]))
    print(f"{time.perf_counter() - began:.0f} s in all. {'Failed: ' + ', '.join(failed) if failed else 'All is well.'}")
    return 1 if failed else 0


def tasks(which: str = "all") -> dict[str, list[str]]:
    """Name and arguments of Python for each process, in the order in which they begin."""
    units = sorted(path for path in (ROOT / "tests").glob("test_*.py") if path.name != "test_simulated.py")
    if which == "data":
        units = [path for path in units if MAY_LOOK_FOR_DATA.search(path.read_text(encoding="utf8"))]
        units = [path for path in units if path.stem not in NEVER_LOOKS]
    apart = [path for path in units if path.stem.removeprefix("test_").startswith(APART)]
    rest = [path for path in units if path not in apart]
    found = {"unit tests": [*UNIT, *map(str, rest)], "unit tests of checks and lessons": [*UNIT, *map(str, apart)]}
    lessons: dict[str, list[Path]] = {}
    for path in notebooks.all_with_outputs():
        lessons.setdefault(path.stem, []).append(path)
    for lesson in sorted(lessons, key=lambda name: ((*LONG, name[:2]).index(name[:2]), name)):
        if real_data():
            found[lesson] = [*NOTEBOOK, "-p", "conftest", *map(str, lessons[lesson]), "--nbs=strict"]
        else:
            names = [path.relative_to(notebooks.folder()).with_suffix("").as_posix() for path in lessons[lesson]]
            found[lesson] = [*NOTEBOOK, *(f"{SIMULATED}[{name}]" for name in names), "--nbs=simulated"]
    return found


def work(command: list[str]) -> tuple[int, float, str]:
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf8", errors="replace") as said:
        code = subprocess.run([sys.executable, *command], stdin=subprocess.DEVNULL, stdout=said, stderr=said).returncode
        said.seek(0)
        return code, time.perf_counter() - began, said.read().strip()


if __name__ == "__main__":
    sys.exit(main())
