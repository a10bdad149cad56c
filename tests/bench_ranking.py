"""The rows of `make bench` on rankings: implicit ALS and lists for everybody against `implicit`, and nDCG tuned on inner parts."""

from __future__ import annotations

import functools
import importlib.util
import warnings

import numpy as np
import scipy.sparse
import torch
from measuring import LARGE, in_a_process, large_file, peak, stored, timed

import mfhelpers as mf

K, ALPHA, REG = 64, 0.2, 0.02
NO_PEER = "pip install -c constraints.txt -e '.[bench]'"


def small(ratings):
    """On ML-100K: a sweep, the objective after sixteen, top 10 for everybody."""
    train = next(iter(mf.kfold(ratings, 5)))[0].to_interactions()
    if not importlib.util.find_spec("implicit"):
        yield {"what": f"iALS k={K}", "peer": "implicit is not installed:", "ours": "", "theirs": NO_PEER}
        return
    yield sweep_row("iALS", train, 1.5, (1, 21), 3)
    yield objective_row(train)
    yield lists_row("top 10 for everybody", train, mf.ials(train, K, progress=False), 3)


def sweep_row(what, train, wanted, sweeps, rounds, peers=(True, False)):
    """Differences of two lengths of training, the best of some rounds: set-up falls out."""
    few, many = sweeps
    matrix = scipy.sparse.csr_matrix(train.to_csr())
    ours = lambda n: timed(mf.ials, train, K, sweeps=n, progress=False)[0]  # noqa: E731
    libraries = {
        "ours": ours,
        **{f"implicit ({'cg' if cg else 'exact'})": functools.partial(implicit, matrix, cg) for cg in peers},
    }
    seconds = {}
    for name, run in libraries.items():
        run(1)  # what is loaded on first use
        long, short = (min(run(n) for _ in range(rounds)) for n in (many, few))
        seconds[name] = (long - short) / (many - few)
    own = seconds.pop("ours")
    fastest = min(seconds, key=seconds.__getitem__)
    told = ", ".join(f"{name} {value * 1e3:.1f} ms" for name, value in seconds.items())
    ratio = seconds[fastest] / own
    return {"what": f"{what} k={K}: a sweep", "peer": "the other", "ours": f"{own * 1e3:.1f} ms", "ratio": ratio,
            "theirs": f"{told}; {fastest} takes {ratio:.2f} times as long", "wanted": f">= {wanted}", "met": bool(ratio >= wanted)}  # fmt: skip


def implicit(matrix, cg, sweeps) -> float:
    return timed(library(sweeps, cg).fit, matrix, show_progress=False)[0]


def library(sweeps=1, cg=True, **options):
    from implicit.cpu.als import AlternatingLeastSquares

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises about thread pools
        return AlternatingLeastSquares(K, iterations=sweeps, use_cg=cg, num_threads=1, dtype=np.float32, **options)


def objective_row(train):
    """The same course: Hu's objective is ours with the factors longer by √s, s = 1 + α, and one λ for all rows."""
    sweeps, reg = 16, 5.0
    s = 1 + ALPHA
    start = mf.ials(train, K, sweeps=1, progress=False)
    penalty = mf.Penalty(reg / s, power=0.0)
    ours = mf.ials(train, K, alpha=ALPHA, reg=penalty, start=start, sweeps=sweeps, progress=False)
    # its weight of a chosen cell is alpha times the value; of the others 1: ours, divided by α
    peer = library(sweeps, regularization=reg / ALPHA, alpha=s / ALPHA)
    peer.user_factors, peer.item_factors = (np.sqrt(s) * table for table in (start.user_factors, start.item_factors))
    ones = scipy.sparse.csr_matrix(train.to_csr())
    peer.fit(ones, show_progress=False)
    tables = [(table / np.sqrt(s)).astype(np.float64) for table in (peer.user_factors, peer.item_factors)]
    theirs = mf.Factors(0.0, np.zeros(train.n_users), np.zeros(train.n_items), *tables)
    values = [mf.objective(factors, train, penalty, alpha=ALPHA) for factors in (ours, theirs)]
    apart = abs(values[0] / values[1] - 1)
    return {"what": f"iALS k={K}: objective after {sweeps} sweeps from one start", "peer": "implicit", "ours": f"{values[0]:.2f}",
            "theirs": f"{values[1]:.2f}, apart by {apart:.1e}", "wanted": "1e-4", "met": bool(apart <= 1e-4)}  # fmt: skip


def lists_row(what, train, factors, wanted, rounds=3):
    """Ten items for each user, those of `train` left out."""
    matrix, users, peer = scipy.sparse.csr_matrix(train.to_csr()), np.arange(factors.n_users), library()
    peer.user_factors, peer.item_factors = (np.array(t) for t in (factors.user_factors, factors.item_factors))
    theirs = lambda: peer.recommend(users, matrix, N=10, filter_already_liked_items=True)[0]  # noqa: E731
    own, (items, _) = min((timed(factors.recommend, users, 10, train) for _ in range(rounds)), key=lambda pair: pair[0])
    other, lists = min((timed(theirs) for _ in range(rounds)), key=lambda pair: pair[0])
    ratio, alike = other / own, (items == lists).mean()
    return {"what": f"k={K}: {what}", "peer": "implicit", "ours": f"{own:.3f} s", "ratio": ratio,
            "theirs": f"{other:.3f} s, {ratio:.2f} times as long; {alike:.3%} of the places alike",
            "wanted": f">= {wanted}", "met": bool(ratio >= wanted)}  # fmt: skip


def large(_):
    """The same at the shape of ML-20M, simulated, and the memory that ours takes."""
    if not importlib.util.find_spec("implicit"):
        return
    with large_file() as path:
        yield from in_a_process(large_rows, path)
        used = in_a_process(large_memory, path)
        yield {"what": f"iALS, {LARGE['n_ratings']:,} simulated ratings, k={K}, with all lists: peak memory", "peer": "",
               "ours": f"{used:.1f} GiB", "theirs": "", "wanted": "< 6 GiB", "met": bool(used < 6)}  # fmt: skip


def large_rows(path):
    torch.set_num_threads(1)
    train = stored(path).to_interactions()
    rng = np.random.default_rng(0)
    tables = [rng.normal(0, 0.1, (n, K)).astype(np.float32) for n in (train.n_users, train.n_items)]
    factors = mf.Factors(0.0, np.zeros(train.n_users, np.float32), np.zeros(train.n_items, np.float32), *tables)
    name = f"{LARGE['n_ratings']:,} simulated ratings"
    return [
        sweep_row(f"iALS, {name},", train, 1, (1, 3), 2, peers=[True]),
        lists_row(f"{name}, top 10 for everybody", train, factors, 1, 2),
    ]


def large_memory(path) -> float:
    torch.set_num_threads(1)
    train = stored(path).to_interactions()
    factors = mf.ials(train, K, sweeps=2, progress=False)
    factors.recommend(np.arange(train.n_users), 10, train)
    return peak()


# -- how good the lists are ------------------------------------------------------------------------


def with_stars(part):
    return part.to_interactions(weights=lambda stars: 1.25 ** (stars - 3))


FITS = {
    "EASE": mf.ease,
    "iALS": lambda part, **how: mf.ials(part, **how, progress=False),
    "iALS, stars": lambda part, **how: mf.ials(with_stars(part), **how, progress=False),
}
GRID = {
    "EASE": [{"reg": reg} for reg in (200, 300, 400, 500, 600, 700)],
    "iALS": [{"n_factors": k, "alpha": alpha, "reg": reg}
             for k, alpha, reg in ((64, 0.2, 0.02), (64, 0.2, 0.03), (128, 0.1, 0.02), (128, 0.2, 0.01), (128, 0.2, 0.02))],
}  # fmt: skip
GRID["iALS, stars"] = GRID["iALS"]
WANTED = {
    "official folds": {"EASE": 0.464, "iALS": 0.465, "iALS, stars": 0.469, "EASE + iALS, stars": 0.471},
    "random folds": {"EASE": 0.438, "iALS": 0.443, "EASE + iALS, stars": 0.447},
    "ml-latest-small": {"EASE": 0.361, "iALS": 0.344, "EASE + iALS, stars": 0.365},
}


def ndcg_tuned(ratings):
    """nDCG@20 over five folds, each model tuned on three inner folds of each training part; every rating is relevant."""
    small = mf.load_ratings("ml-latest-small")
    if "simulated" in (ratings.source, small.source):
        return  # the wanted numbers are not of simulated ratings
    for name, folds in {
        "official folds": mf.official_folds(ratings),
        "random folds": mf.kfold(ratings, 5),
        "ml-latest-small": mf.kfold(small, 5),
    }.items():
        reached = [scores_of_a_fold(train, test) for train, test in folds]
        for model in reached[0]:
            values = [fold[model] for fold in reached]
            row = {"what": f"nDCG@20, {name}: {model}, tuned", "peer": "", "theirs": "", "ndcg": float(np.mean(values)),
                   "ours": f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f} over folds"}  # fmt: skip
            if (wanted := WANTED[name].get(model)) is not None:
                row |= {"wanted": f">= {wanted}", "met": bool(np.mean(values) >= wanted)}
            yield row


def scores_of_a_fold(train, test) -> dict[str, float]:
    how = {"folds": 5, "rounds": 3, "score": "ndcg@20", "progress": False}
    best = {name: mf.choose(train, GRID[name], fit, **how).settings for name, fit in FITS.items()}
    tables = {name: fit(train, **best[name]).predict_all(np.arange(train.n_users)) for name, fit in FITS.items()}
    z = {name: (t - t.mean(axis=1)[:, None]) / (t.std(axis=1)[:, None] + 1e-9) for name, t in tables.items()}
    tables["EASE + iALS, stars"] = z["EASE"] + z["iALS, stars"]
    return {name: mf.rank(Scored(table), test, exclude=train, at=(20,))["ndcg@20"] for name, table in tables.items()}


class Scored:
    """All scores, computed beforehand."""

    def __init__(self, table) -> None:
        self.table = table

    def predict_all(self, users):
        return self.table[users]

    def predict(self, users, items):
        return self.table[users, items]
