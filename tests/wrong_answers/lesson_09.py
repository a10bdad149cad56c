"""What learners typically write in the exercises to lesson 09, and words of the hint that each deserves."""

from types import SimpleNamespace

import numpy as np

import mfhelpers as mf

EXAM, _ = mf.simulate_ratings(20, 20, 100)


def shares(of_same=np.mean, of_others=np.mean, keep="different", sign=True, turn=-1, factor=1):
    def turned(one, other):
        apart = one[:, None] - other[None, :]
        if sign:
            apart = apart * np.sign(one.mean() - other.mean())
        same = np.eye(len(one), dtype=bool)
        others = apart[~same] if keep == "different" else apart
        return factor * of_same(turn * apart[same] > 0), factor * of_others(turn * others > 0)

    return turned


def slip(ratings_too=False, root=True, right=True, sign=1, count="differ", top=True):
    def cost_of_the_slip(predicted, test, low):
        high = test.scale.high if top else np.inf
        limits = (low, test.scale.low if right else -np.inf)
        clipped = [np.clip(predicted, at, high if right else max(high, at)) for at in limits]
        if not right:
            clipped[1] = predicted
        values = [np.clip(test.values, low, 5) if ratings_too else test.values, test.values]
        wrong, honest = (np.mean((each - r) ** 2) for each, r in zip(clipped, values, strict=True))
        if root:
            wrong, honest = np.sqrt([wrong, honest])
        n = np.sum(np.clip(predicted, low, 5) != (predicted if count == "clipped" else np.clip(predicted, 0.5, 5)))
        return sign * (wrong - honest), n / len(test) if count == "share" else n

    return cost_of_the_slip


def folds(drawn, turn=False, seeded=True):
    def cell_folds(ratings, n_folds, seed):
        mine = drawn(np.random.default_rng(seed if seeded else 0), n_folds, ratings)
        parts = [(ratings[mine != fold], ratings[mine == fold]) for fold in range(n_folds)]
        return [part[::-1] for part in parts] if turn else parts

    return cell_folds


def of_cells(rng, n_folds, ratings):
    return rng.integers(0, n_folds, (ratings.n_users, ratings.n_items))[ratings.users, ratings.items]


def of_ratings(rng, n_folds, ratings):
    return rng.integers(0, n_folds, len(ratings))


def of_sorted_ratings(rng, n_folds, ratings):
    mine = np.empty(len(ratings), int)
    mine[np.lexsort((ratings.items, ratings.users))] = rng.permutation(np.arange(len(ratings)) % n_folds)
    return mine


def independent(ratings, n_folds, seed):
    return [mf.random_split(ratings, test=1 / n_folds, seed=seed + fold) for fold in range(n_folds)]


def entry(predictor):
    def my_method(train, seed, setting):
        fitted = mf.als(train, 5, reg=mf.Penalty(setting, 0.5), seed=seed, progress=False)
        return predictor(fitted, train)

    return my_method


def as_they_are(fitted, train):
    return fitted


def no_predictor(fitted, train):
    return fitted.user_factors @ fitted.item_factors.T


def a_table(fitted, train):
    return SimpleNamespace(predict=lambda users, items: fitted.predict(users[:, None], items[None, :]))


def centred(fitted, train):
    def predict(users, items):
        estimates = fitted.predict(users, items)
        return estimates - estimates.mean() + train.values.mean()

    return SimpleNamespace(predict=predict)


def nothing_for_strangers(fitted, train):
    with np.errstate(invalid="ignore"):
        means = np.bincount(train.items, train.values, train.n_items) / train.item_counts
    return SimpleNamespace(predict=lambda users, items: means[items])


def with_the_exam(train, seed, setting):
    return mf.svdpp(train, 5, reg=mf.Penalty(setting, 0.5), implicit=EXAM, reg_implicit=60, seed=seed)


def loads_it_all(train, seed, setting):
    return mf.als(mf.load_ratings("ml-100k"), 5, reg=mf.Penalty(setting, 0.5), seed=seed)


def no_setting(train, seed, setting):
    return mf.als(train, 5, seed=seed, progress=False)


def unseeded(train, seed, setting):
    return mf.als(
        train,
        5,
        reg=mf.Penalty(setting, 0.5),
        seed=int(np.random.default_rng().integers(10**9)),
        sweeps=2,
        progress=False,
    )


def upside_down(fitted, train):
    return SimpleNamespace(predict=lambda users, items: 6 - fitted.predict(users, items))


THREE = [1.0, 1.4, 2.0]

WRONG = {
    "read_a_table": [
        ((45, shares(turn=1)), "those that keep the order"),
        ((45, shares(keep="all")), "leave out those of the same split"),
        ((45, shares(of_same=np.sum, of_others=np.sum)), "numbers of pairs"),
        ((45, shares(factor=100)), "In percent"),
        ((45, shares(sign=False)), "the order of the two means"),
        ((43, shares()), "One of these is asked for"),
    ],
    "a_scale_too_narrow": [
        (("nothing", slip(sign=-1)), "The sign"),
        (("nothing", slip(root=False)), "take the root"),
        (("nothing", slip(ratings_too=True)), "they stay as they are"),
        (("nothing", slip(right=False)), "clipped as well"),
        (("nothing", slip(count="clipped")), "How many *differ*"),
        (("nothing", slip(count="share")), "not a share"),
        (("nothing", slip(top=False)), "top of the scale"),
    ],
    "folds_over_cells": [
        ((100, folds(of_ratings)), "in the order of the list"),
        ((100, folds(of_sorted_ratings)), "folds over ratings"),
        ((100, folds(of_cells, turn=True)), "the other way round"),
        ((100, folds(of_cells, seeded=False)), "Hand the seed"),
        ((100, independent), "in one test part"),
    ],
    "svdpp_of_surprise": [
        ((60, lambda train: (len(train), len(train))), "for every rating of that user"),
        ((60, lambda train: (np.sum(train.item_counts**2), len(train))), "films' counts"),
        ((60, lambda train: (len(train) * train.n_items, len(train))), "not all"),
        ((60, lambda train: (np.sum(train.user_counts**2), train.n_users * train.n_items)), "at each rated pair"),
    ],
    "enter_your_own": [
        ((THREE, entry(no_predictor)), "SimpleNamespace(predict=function)"),
        ((THREE, entry(a_table)), "not a table"),
        ((THREE, entry(nothing_for_strangers)), "without any training rating"),
        ((THREE, entry(centred)), "not on what else is asked"),
        ((THREE, entry(upside_down)), "One constant does better"),
        ((THREE, with_the_exam), "names ratings from outside"),
        ((THREE, loads_it_all), "Take everything from `train`"),
        ((THREE, no_setting), "use `setting`"),
        ((THREE, unseeded), "Hand the seed on"),
        (([*THREE, 3.0], entry(as_they_are)), "choose among three"),
    ],
}
