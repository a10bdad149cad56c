"""What a machine with an NVIDIA GPU adds: every CUDA test, where a GPU begins to pay, and its rows of the benchmark.

    make wheels                     where there is a network: what the other machine may lack, into build/wheels
    make gpu GPU_PYTHON=python3.12  there: under eight minutes, into build/gpu.json

--rehearse does the same on the processor with small sizes, to try this script where no GPU is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

import mfhelpers as mf

ROOT = Path(__file__).parents[1]
FULL = {"users": 138_493, "items": 26_744, "ratings": 18_000_000}  # the shape of ML-20M
SMALL = {"users": 2_000, "items": 1_000, "ratings": 100_000}
TESTS = ("als", "svdpp", "sgd_start_and_end", "devices", "fit_dropout", "bpr", "ials")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "gpu.json", help="where the figures go")
    parser.add_argument("--rehearse", action="store_true", help="on the processor, with small sizes")
    chosen = parser.parse_args()
    if not torch.cuda.is_available() and not chosen.rehearse:
        print("PyTorch sees no NVIDIA GPU here: nothing to measure. --rehearse tries the script without one.")
        return 1
    device, shape = ("cpu", SMALL) if chosen.rehearse else ("cuda", FULL)
    began = time.perf_counter()
    report = {
        "device": "cpu, a rehearsal" if chosen.rehearse else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    for name, measure in (("tests", tests), ("crossover", crossover), ("fit", fit), ("bpr", bpr), ("als", als)):
        report[name] = measure(device, shape)
        report["seconds"] = round(time.perf_counter() - began)
        print(f"{report['seconds']} s: {name} {json.dumps(report[name])}", flush=True)
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(report, indent=1))  # after each: a run that is cut off leaves what it has
    print(f"written to {chosen.json}")
    return report["tests"]["exit code"]


def tests(device: str, shape: dict) -> dict:
    """Every test that needs CUDA; they are skipped elsewhere."""
    files = [f"tests/test_{name}.py" for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-k", "gpu", *files]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return {"exit code": done.returncode, "said": done.stdout.strip().splitlines()[-1]}


def crossover(device: str, shape: dict) -> list[dict]:
    """Milliseconds a step of `fit` on the processor and on the GPU, over k and the ratings in a step."""
    ratings, _ = mf.simulate_ratings(6040, 3706, 1_000_000 if device == "cuda" else 200_000)
    sizes = (1 << 10, 1 << 13, 1 << 16, 1 << 18) if device == "cuda" else (1 << 10, 1 << 15)
    rows = []
    for k in (10, 40, 160):
        for size in sizes:
            part = ratings[: min(len(ratings), 40 * size)]
            times = {
                place: 1e3 * epoch_seconds(part, k, size, place) / -(-len(part) // size) for place in ("cpu", device)
            }
            rows.append({"k": k, "ratings a step": size, "cpu ms": times["cpu"], "gpu ms": times[device]})
    return rows


def epoch_seconds(part: mf.Ratings, k: int, size: int, place: str) -> float:
    """The quicker of two epochs after a first one, which warms up."""
    history, model = mf.History(), mf.BiasedMatrixFactorization(part.n_users, part.n_items, k)
    mf.fit(model, part, epochs=3, batch_size=size, device=place, history=history, progress=False)
    return float(np.diff(history.seconds)[1:].min())


def fit(device: str, shape: dict) -> dict:
    """Ratings a second of a biased model with Adam, in steps as large as pay there."""
    ratings, _ = mf.simulate_ratings(6040, 3706, 1_000_000)
    k, size = 64, 1 << 16
    return {f"{place}, k = {k}": len(ratings) / epoch_seconds(ratings, k, size, place) for place in ("cpu", device)}


def bpr(device: str, shape: dict) -> dict:
    """Pairs a second of BPR, whose other items are drawn on the processor, in steps as large as pay there."""
    ratings, _ = mf.simulate_ratings(6040, 3706, 1_000_000)
    found = {}
    for place in ("cpu", device):
        history = mf.History()
        mf.bpr(ratings, 64, epochs=3, batch_size=1 << 16, device=place, history=history, progress=False)
        found[f"{place}, k = 64"] = len(ratings) / float(np.diff(history.seconds)[1:].min())
    return found


def als(device: str, shape: dict) -> dict:
    """A sweep at the shape of ML-20M with k = 64, and implicit's where its GPU extension runs."""
    ratings, _ = mf.simulate_ratings(shape["users"], shape["items"], shape["ratings"])
    found = {"ratings": len(ratings)}
    for solver in ("cg", "exact"):
        history = mf.History()
        mf.als(ratings, 64, solver=solver, sweeps=3, device=device, history=history, progress=False)
        found[f"mf.als, {solver}, seconds a sweep"] = float(np.diff(history.seconds)[1:].min())
        found[f"mf.als, {solver}, training RMSE"] = history.train_rmse[-1]
    history = mf.History()
    mf.ials(ratings, 64, sweeps=3, device=device, history=history, progress=False)
    found["mf.ials, cg, seconds a sweep"] = float(np.diff(history.seconds)[1:].min())
    if device == "cuda":
        found["peak GiB"] = torch.cuda.max_memory_allocated() / 2**30
    found["implicit"] = implicit_sweep(ratings, device)
    return found


def implicit_sweep(ratings: mf.Ratings, device: str) -> float | str:
    """Seconds a sweep of implicit's ALS: another objective over systems of the same size."""
    if importlib.util.find_spec("implicit") is None:
        return "not installed"
    try:
        from implicit.cpu.als import AlternatingLeastSquares as OnCpu
        from implicit.gpu.als import AlternatingLeastSquares as OnGpu
        from scipy.sparse import csr_matrix

        seconds, matrix = {}, csr_matrix(ratings.to_csr())
        for sweeps in (1, 4):
            model = (OnGpu if device == "cuda" else OnCpu)(64, iterations=sweeps, random_state=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                started = time.perf_counter()
                model.fit(matrix, show_progress=False)
                seconds[sweeps] = time.perf_counter() - started
        return (seconds[4] - seconds[1]) / 3
    except Exception as error:  # its wheel may be built for another CUDA
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
