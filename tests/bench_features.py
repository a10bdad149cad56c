"""The rows of `make bench` on side information: what it is worth to whom, and what a thousand sparse features cost in a sweep."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from measuring import LARGE, in_a_process, large_file, peak, stored, timed

import mfhelpers as mf

COLUMNS, A_FILM = 1_000, 10  # features, and how many of them a film has


def held_out(ratings, side, folds=5, seed=0):
    """Folds that hold whole users or items out."""
    ids, n = getattr(ratings, side), getattr(ratings, f"n_{side}")
    fold = np.random.default_rng(seed).permutation(n) % folds
    return [(ratings[fold[ids] != one], ratings[fold[ids] == one]) for one in range(folds)]


def errors(ratings):
    """Test RMSE with the default settings, chosen on inner parts, over five folds of three protocols."""
    users, items = mf.features(ratings)
    protocols = {"warm": (list(mf.kfold(ratings, 5)), items, None), "new films": (held_out(ratings, "items"), items, None),
                 "new users": (held_out(ratings, "users"), None, users)}  # fmt: skip
    for name, (folds, films, people) in protocols.items():
        algorithms = {"ids": lambda train, seed: mf.als(train, seed=seed, progress=False),
                      "features": lambda train, seed, films=films, people=people: mf.als(
                          train, item_features=films, user_features=people, seed=seed, progress=False)}  # fmt: skip
        compared = mf.cross_validate(algorithms, ratings, folds, progress=False)
        table, apart = compared.table().rmse, compared.differences("ids").loc["features"]
        row = {"what": f"ALS with features, {name}: test RMSE", "peer": "without:", "ours": f"{table['features']:.4f}",
               "theirs": f"{table['ids']:.4f}, {apart.difference:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}]"}  # fmt: skip
        if name == "new films":
            row |= {
                "wanted": "<= 1.05, lower in the interval",
                "met": bool(table["features"] <= 1.05 and apart.high < 0),
            }
        elif name == "warm":
            row |= {"wanted": "no higher", "met": bool(apart.low <= 0)}
        yield row


def large(_):
    """A sweep at the shape of ML-20M, with a thousand sparse features of the items and without."""
    with large_file() as path:
        plain, featured, memory = in_a_process(sweeps, path)
    yield {"what": f"ALS, {LARGE['n_ratings']:,} simulated ratings, k=10, {COLUMNS:,} sparse item features: a sweep",
           "peer": "without features:", "ours": f"{featured:.2f} s, {memory:.1f} GiB", "ratio": featured / plain,
           "theirs": f"{plain:.2f} s, ratio {featured / plain:.2f}", "wanted": "<= 1.5 times",
           "met": bool(featured <= 1.5 * plain)}  # fmt: skip


def sweeps(path) -> tuple[float, float, float]:
    torch.set_num_threads(1)
    train, rng = stored(path), np.random.default_rng(0)
    rows = np.repeat(np.arange(train.n_items), A_FILM)
    flags = scipy.sparse.coo_array((np.ones(len(rows)), (rows, rng.integers(0, COLUMNS, len(rows)))), shape=(train.n_items, COLUMNS))  # fmt: skip
    flags = (scipy.sparse.csr_array(flags) > 0).astype(np.float64)
    run = lambda n, **more: timed(mf.als, train, 10, sweeps=n, progress=False, **more)[0]  # noqa: E731
    run(1)
    plain, featured = ((run(3, **more) - run(1, **more)) / 2 for more in ({}, {"item_features": flags}))
    return plain, featured, peak()


if __name__ == "__main__":
    for measure in (errors, large):
        for row in measure(mf.load_ratings("ml-100k")):
            print(*row.items(), sep="\n    ")
