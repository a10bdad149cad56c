"""What the benchmark measures with: seconds, peak memory in a process of its own, and ratings at the shape of ML-20M."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import mfhelpers as mf

LARGE = {"n_users": 138_493, "n_items": 26_744, "n_ratings": 18_000_000}


@contextlib.contextmanager
def large_file():
    """Simulated ratings of that shape, in a file that processes of their own read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.npz"
        ratings, _ = mf.simulate_ratings(**LARGE)
        np.savez(path, **{name: getattr(ratings, name) for name in ("users", "items", "values")})
        del ratings
        yield path


def stored(path):
    return mf.Ratings(**np.load(path), n_users=LARGE["n_users"], n_items=LARGE["n_items"], scale=(1, 5, 1))


def in_a_process(work, path):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (path,))


def peak() -> float:
    """The most memory that this process has held, in GiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def timed(work, *arguments, **options):
    started = time.perf_counter()
    result = work(*arguments, **options)
    return time.perf_counter() - started, result
