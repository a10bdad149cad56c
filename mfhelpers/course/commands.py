"""The commands: python -m mfhelpers doctor | start DIR | run | course DIR."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mfhelpers", description="Helpers of the course on matrix factorisation."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="is this machine ready? one OK or FAIL a line")
    start = commands.add_parser("start", help="copy the notebooks to a folder of your own")
    start.add_argument("folder", type=_path)
    run = commands.add_parser("run", help="run lessons and solutions without a browser, and print a table")
    run.add_argument("lesson", nargs="*", help="such as 01_gradients or solutions/01_gradients; all if none is named")
    run.add_argument(
        "--to", type=_path, default=Path("build/notebooks"), help="where the results go (default: %(default)s)"
    )
    run.add_argument(
        "--in-place",
        action="store_true",
        help="for maintainers: renew stored outputs and students' copies, on real MovieLens",
    )
    course = commands.add_parser("course", help="for teachers: make a course folder for nbgrader")
    course.add_argument("folder", type=_path)
    course.add_argument("lesson", nargs="*", help="such as 01_gradients; all of them if none is named")
    course.add_argument("--seed", type=int, default=0, help="another one gives other splits and other cases")
    chosen = parser.parse_args(arguments)
    if chosen.command == "doctor":
        from .doctor import doctor

        return 1 if doctor() else 0
    if chosen.command == "start":
        return _start(chosen.folder)
    if chosen.command == "course":
        return _course(chosen.folder, chosen.lesson, chosen.seed)
    return _run(chosen.lesson, chosen.to, chosen.in_place)


def _path(given: str) -> Path:
    """A folder; in quotes, no shell has made a home of its ~."""
    return Path(given).expanduser()


def _start(folder: Path) -> int:
    from .notebooks import copy_to

    try:
        copied, kept = copy_to(folder)
    except (OSError, ValueError) as error:
        print(f"start: {error}", file=sys.stderr)
        return 1
    print(f"{len(copied)} files copied to {folder}")
    for path in kept:
        print(f"kept your {path}, which differs from the course's: move it away and start again to get the course's")
    # this Python and not a bare `jupyter`, which without the environment is another one or none
    print(f'Begin with: "{sys.executable}" -m jupyterlab "{folder / "00_movielens.ipynb"}"')
    return 0


def _course(folder: Path, lessons: list[str], seed: int) -> int:
    from .classroom import course

    try:
        assignments = course(folder, lessons, seed)
    except (OSError, ValueError) as error:
        print(f"course: {error}", file=sys.stderr)
        return 1
    print(f"in {folder / 'source'}: {', '.join(assignments)}")
    # nbgrader itself looks for a command of its environment, so a full path to this Python would not do
    print(f'Go on, in the activated environment: cd "{folder}" && nbgrader generate_assignment {assignments[0]}')
    return 0


def _run(lessons: list[str], target: Path, in_place: bool) -> int:
    from ..data import movielens
    from . import classroom, notebooks

    try:
        # once, here, so that no lesson waits for a network that is not there
        for name in ("ml-100k", "ml-latest-small") if in_place else ("ml-100k",):
            movielens.load_ratings(name, source="movielens" if in_place else "auto")
    except (OSError, ValueError) as error:
        print(f"run: {error}", file=sys.stderr)
        return 1
    if movielens.find_local("ml-100k") is None:
        os.environ["MFHELPERS_OFFLINE"] = "1"
    failed = notebooks.run_all(target, in_place, lessons)
    if in_place and not failed:
        for path in classroom.write_student_copies():
            print(f"made anew: {path}")
    return 1 if failed else 0


def run_from_a_terminal() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a log or an old console may lack some of our characters
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
