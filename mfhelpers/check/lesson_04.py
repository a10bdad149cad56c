"""The exercises to lesson 04: one λ and its many forms, an honest choice, and when to stop."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..algorithms import baselines
from ..data import splits
from ..data.ratings import Ratings
from ..models import metrics, penalty as penalties
from ..models.truth import simulate_ratings
from .feedback import Together, agree, cases, exercise, fail, guessed, require, some_ratings


@exercise(1, "translate")
def translate(translated: Callable, seed: int = 0) -> str:
    """The same penalty of one user in three other libraries: the lesson's numbers, then random ones."""
    for number, rng in enumerate(cases(seed)):
        reg, n, n_ratings = rng.uniform(0.01, 0.5), int(rng.integers(2, 500)), int(rng.integers(1000, 1_000_000))
        if number == 0:
            reg, n, n_ratings = 0.1, 100, 80_000
        total = reg * n * float(penalties.Penalty(reg, 1).per_rating(np.array(n)))
        root = n * float(penalties.Penalty(reg, 0.5).per_rating(np.array(n)))
        decay = penalties.Penalty.from_weight_decay(1.0, n_ratings).reg
        right = total, total / root, total / decay
        agree(
            translated(reg, n, n_ratings), right, f"the three settings for regParam={reg:.3g}, n_u={n}, N={n_ratings}",
            {
                "Here the factor is regParam, once. Spark takes it once for each of the user's ratings.":
                    (reg, reg / root, reg / decay),
                "cmfrec penalises a row once, so its λ has to hold what Spark adds up over all n_u ratings.":
                    (reg, *right[1:]),
                "MyMediaLite penalises a row for each rating, but by ρ / √n_u: that makes ρ √n_u in all.":
                    (total, reg / root, right[2]),
                "MyMediaLite penalises a row for each of the n_u ratings: ρ / √n_u is not the whole penalty.":
                    (total, total * root, right[2]),
                "A factor of two: what is a weight decay worth, wd or wd / 2?": (*right[:2], total / n_ratings),
                "MSELoss takes a mean: how many times larger is the sum?": (*right[:2], 2 * total),
                "The mean runs over all N ratings, not over those of one user.": (*right[:2], 2 * total / n),
                "A weight decay is half of a penalty's λ as a gradient: 2 λ / N, and not λ / 2 N.":
                    (*right[:2], total / n_ratings / 2),
                "Spark's own number, for PyTorch: its decay acts once, where Spark adds up n_u ratings.":
                    (*right[:2], 2 * reg / n_ratings),
                "In the order of the question: cmfrec, MyMediaLite, PyTorch.": right[::-1],
            },
            cause="Write down the whole penalty of the row by each library's formula; then make it equal to Spark's.",
        )  # fmt: skip
    return "a user with 100 ratings, and 19 others"


class _Predictor:
    """What `train_one` of the next check returns."""

    def __init__(self, part: Ratings, kind: str) -> None:
        self.kind, self.averages, self.part = kind, baselines.average_biases(part, damping=5), part
        self.asked: list[tuple] = []  # pairs that it was judged on
        self.stars = dict(zip(zip(part.users.tolist(), part.items.tolist(), strict=True), part.values, strict=True))

    def predict(self, users: Any, items: Any) -> np.ndarray:
        pairs = list(zip(np.asarray(users).tolist(), np.asarray(items).tolist(), strict=True))
        self.asked += pairs
        if self.kind == "memorised":
            return np.array([self.stars.get(pair, 1.0) for pair in pairs])
        averages = self.averages.predict(users, items)
        return averages if self.kind == "averages" else 6 - averages


@exercise(2, "bug hunt: peeking at the test set", found="under 0.001")
def peeking_at_the_test_set(guess: str, tuned: Callable, seed: int = 0) -> str:
    """A choice that a test set with its stars turned round cannot move, reported with the error there."""
    guessed(guess, ("under 0.001", "0.001 to 0.01", "over 0.01"))
    for rng in cases(seed, 4):
        ratings, _ = simulate_ratings(60, 40, 900, seed=int(rng.integers(1000)))
        known, test = splits.random_split(ratings, seed=int(rng.integers(1000)))
        test = dataclasses.replace(test, values=6 - test.values)
        settings = [{"kind": str(kind)} for kind in rng.permutation(["averages", "memorised", "upside down"])]
        fitted: list[tuple[Ratings, _Predictor]] = []

        def train_one(part, kind, fitted=fitted):
            fitted.append((part, _Predictor(part, kind)))
            return fitted[-1][1]

        got = tuned(known, test, settings, train_one)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            fail("the result", "a setting and its RMSE", type(got).__name__, "Return both, as the colleague does.")
        setting, error = got
        taught = max(_shared(part, test) for part, _ in fitted) if fitted else 0
        require(
            taught == 0,
            "test ratings in a training",
            0,
            taught,
            "Train on parts of the argument `known`: not on `test`, nor on the notebook's own `train`.",
        )
        require(
            setting in settings,
            "the setting",
            "one of the settings",
            setting,
            "First the setting itself: not its place, nor all that mf.choose returns (it has `.settings`), nor the RMSE.",
        )
        require(
            setting["kind"] == "averages", "the setting chosen while the stars of the test set are turned round",
            {"kind": "averages"}, setting, _why_chosen([model for _, model in fitted], test),
        )  # fmt: skip
        final = _Predictor(known, "averages")
        mistakes = {
            "The RMSE on `known` is that of the ratings it was trained on: `test` is asked for.": metrics.rmse(
                final, known
            ),
            "That is clipped to the scale: the RMSE as it is.": metrics.rmse(final, test, clip=True),
            "That is the mean squared error: take its root.": metrics.rmse(final, test) ** 2,
        }
        pieces = [model for part, model in fitted if len(part) < len(known) and model.kind == "averages"]
        if pieces:
            hint = "This model was trained on a part of `known`: after the choice, train on all of it."
            mistakes[hint] = metrics.rmse(pieces[-1], test)
        agree(
            error, metrics.rmse(final, test), "the error of the chosen setting", mistakes,
            cause="After the choice: train on all of `known`, and report the RMSE on `test`, not clipped.",
        )  # fmt: skip
    return "four test sets with their stars turned round, and the choice stays"


def _why_chosen(models: list[_Predictor], test: Ratings) -> str:
    """Why an answer may have taken a setting that is not the best, from what the models were asked."""
    judged = set(zip(test.users.tolist(), test.items.tolist(), strict=True))
    if len({model.kind for model in models if judged & set(model.asked)}) > 1:
        return "The test set decided: its stars are turned round here, and the choice followed them."
    if any(set(model.asked) & set(model.stars) for model in models):
        return "It has seen the ratings that it was judged on: hold some of `known` back from the training."
    if any(model.asked for model in models):
        return "That is not the lowest error on the ratings held back. Is it the highest?"
    return "Nothing was compared: train each setting on a part of `known`, and judge it on the rest."


def _shared(one: Ratings, other: Ratings) -> int:
    pairs = [part.users * part.n_items + part.items for part in (one, other)]
    return int(np.isin(pairs[0], pairs[1]).sum())


@exercise(3, "bug hunt: the shrinking catalogue")
def the_shrinking_catalogue(lam: float, n_ratings: int, penalised_loss: Callable, seed: int = 0) -> str:
    """What a weight decay is worth as λ, and a loss with a penalty on the rows looked up."""
    import torch

    from ..models.modules import BiasedMatrixFactorization

    agree(
        lam, penalties.Penalty.from_weight_decay(0.001, n_ratings).reg, "the λ of a weight decay of 0.001",
        {
            "A factor of two: what is a weight decay worth, wd or wd / 2?": 0.001 * n_ratings,
            "A batch's mean stands for the mean over all ratings: N is their number.": 0.001 * 1024 / 2,
            "That is the decay itself. As λ it stands beside a sum, not beside a mean.": 0.001,
            "As λ it stands beside a sum over N ratings, not beside their mean: N times as much.": 0.001 / 2,
            "Twice N wd? The gradient of λ p² has a factor 2, so λ is half of N wd.": 2 * 0.001 * n_ratings,
            "N times larger, not smaller: a sum is N times a mean.": 0.001 / 2 / n_ratings,
        },
        cause="See the table of the lesson: wd beside a mean over N ratings.",
        secret=True,
    )  # fmt: skip
    for number, rng in enumerate(cases(seed)):
        if number == 0:  # 3 + 0.5 - 0.5 + 2 · 1 = 5 for a rating of 4: 1 + 0.1 · (4 + 1 + 0.25 + 0.25)
            part, k, reg = Ratings([0], [1], [4], 2, 2, (1, 5, 1)), 1, 0.1
        else:
            part, k, reg = some_ratings(rng), 3, float(rng.uniform(0.05, 0.5))
        model = BiasedMatrixFactorization(part.n_users, part.n_items, k, mean=3.0).double()
        for weight in model.parameters():
            weight.data = torch.tensor(rng.normal(0, 1, weight.shape))
        if number == 0:
            for table, x in {"user_factors": 2, "item_factors": 1, "user_biases": 0.5, "item_biases": -0.5}.items():
                getattr(model, table).weight.data[:] = x
        users, items, values = part.to_tensors()
        got = penalised_loss(model, users, items, values.double(), reg)
        right, mistakes = _losses(model, part, reg)
        what = "the loss of one rating, worked out by hand" if number == 0 else "the loss of a batch"
        agree(got, right, what, mistakes, tolerance=1e-5,
              cause="The mean of e² plus λ times the mean, over the ratings, of the sum of squares of its four rows.")  # fmt: skip
        require(getattr(got, "requires_grad", False), what, "a tensor with a gradient", type(got).__name__,
                "Stay in PyTorch: no .item(), .detach() or NumPy on the way.")  # fmt: skip
        _require_gradient(model, part, reg, got)
    return "λ of the decay, one loss by hand, 19 batches and their gradients"


def _losses(model: Any, part: Ratings, reg: float) -> tuple[float, dict[str, float]]:
    factors, n = model.to_factors(), len(part)
    mean, squares = metrics.objective(factors, part, 0.0) / n, {}
    for side, ids in (("user", part.users), ("item", part.items)):
        rows, biases = getattr(factors, f"{side}_factors"), getattr(factors, f"{side}_biases")
        squares[side] = np.sum(rows**2, axis=1, dtype=float), biases.astype(float) ** 2, ids
    sizes: dict[str, Any] = {side: rows + biases for side, (rows, biases, _) in squares.items()}
    per_rating: Any = reg * sum(sizes[side][ids] for side, (*_, ids) in squares.items())
    k = factors.n_factors
    return metrics.objective(factors, part, reg) / n, {
        "There is no penalty in it.": mean,
        "The penalty is of the whole tables: only the rows that this batch looks up count.":
            mean + reg * sum(size.sum() for size in sizes.values()),
        "The errors are averaged, the penalty is summed: average both over the batch.": mean + per_rating.sum(),
        "Both are summed: the loss is a mean over the batch.": n * mean + per_rating.sum(),
        "The biases have a penalty, too.": mean + reg * np.mean(sum(rows[ids] for rows, _, ids in squares.values())),
        "A mean over the k factors as well? The penalty of a row is the sum of its squares.":
            mean + reg * np.mean(sum(rows[ids] / k + biases[ids] for rows, biases, ids in squares.values())),
        "Lengths, not squared lengths.":
            mean + reg * np.mean(sum(np.sqrt(rows[ids]) + np.sqrt(biases[ids]) for rows, biases, ids in squares.values())),
        "Each row counts once here. It should count once for every rating that looks it up.":
            mean + reg * sum(sizes[side][np.unique(ids)].sum() for side, (*_, ids) in squares.items()) / n,
        "The penalty is halved.": mean + per_rating.mean() / 2,
        "The penalty of the films is missing.": mean + reg * np.mean(sizes["user"][part.users]),
        "The penalty of the users is missing.": mean + reg * np.mean(sizes["item"][part.items]),
        "The biases alone: the rows of factors have a penalty, too.":
            mean + reg * np.mean(sum(biases[ids] for _, biases, ids in squares.values())),
        "The penalty makes the loss larger: plus, not minus.": mean - per_rating.mean(),
        "The penalty is averaged over the four tables as well: add them up.": mean + per_rating.mean() / 4,
        "The error is summed, the penalty is averaged: average both.": n * mean + per_rating.mean(),
    }  # fmt: skip


def _require_gradient(model: Any, part: Ratings, reg: float, loss: Any) -> None:
    import torch

    (got,) = torch.autograd.grad(loss, model.item_factors.weight)
    factors = model.to_factors()
    P, Q = factors.user_factors.astype(float), factors.item_factors.astype(float)
    errors = part.values - factors.predict(part.users, part.items)
    right = np.zeros_like(Q)
    free = right.copy()
    np.add.at(free, part.items, -2 * errors[:, None] * P[part.users] / len(part))
    np.add.at(right, part.items, (-2 * errors[:, None] * P[part.users] + 2 * reg * Q[part.items]) / len(part))
    agree(got, right, "the gradient of the films' factors",
          {"The penalty has no gradient: `.weight.data` and `.detach()` cut it off.": free}, tolerance=1e-5)  # fmt: skip


@exercise(4, "early stopping or a penalty", found="penalty")
def early_stopping_or_a_penalty(guess: str, early_stop: Callable, seed: int = 0) -> str:
    """Where a training with patience stops, and what it keeps: by hand, then random walks."""
    guessed(guess, ("stopping", "penalty", "same"))
    by_hand = [1.0, 0.9, 0.95, 0.94, 0.96, 0.97, 0.8]
    with Together() as same:
        for errors, patience in ((by_hand, 5), (by_hand, 2), ([1.0, 0.9, 0.9, 0.9, 0.8], 2)):
            _stops(same, early_stop, errors, patience)
        for rng in cases(seed):
            errors = np.round(1 + np.cumsum(rng.normal(0, 0.1, 12)), 2).tolist()
            _stops(same, early_stop, errors, int(rng.integers(1, 5)))
    return "three curves by hand, 20 random ones"


def _stops(same: Together, early_stop: Callable, errors: Sequence[float], patience: int) -> None:
    best, last = _stop(errors, patience)
    rising = [after >= before for before, after in itertools.pairwise(errors)]
    in_a_row = (end for end in range(patience, len(errors)) if all(rising[end - patience : end]))
    hasty = next(in_a_row, len(errors) - 1)
    same.agree(
        early_stop(list(errors), patience), (best, last),
        f"the epoch kept and the last one, of {errors} with a patience of {patience}",
        {
            "An equal error counts as better here.": _stop(errors, patience, ties=True),
            "Nobody stopped it: what comes later cannot be known yet.": (int(np.argmin(errors)), len(errors) - 1),
            "The one kept comes after the stop: what comes later cannot be known yet.": (int(np.argmin(errors)), last),
            "It stops in time, but keeps the last one. Keep the lowest so far.": (last, last),
            "One epoch too late: `patience` epochs without a new lowest are enough.": _stop(errors, patience + 1),
            "Compare with the lowest so far, not with the epoch before.": (int(np.argmin(errors[: hasty + 1])), hasty),
            "Counted from 1? The first place is 0.": (best + 1, last + 1),
            "The last one is the error that stopped it, not the one before.": (best, last - 1),
            "These are errors: give their places.": (errors[best], errors[last]),
            "The other way round: the one kept comes first.": (last, best),
            "The list ends before patience does: the last one seen is the last of the list.": (best, best + patience),
            "So many errors after the first, whatever they are? Count from the lowest.":
                (int(np.argmin(errors[: patience + 1])), min(patience, len(errors) - 1)),
            "One epoch too early: `patience` errors in a row may pass, and the last of them stops it.":
                _stop(errors, max(patience - 1, 1)),
            "The count begins anew at each new lowest: `patience` errors *in a row*.": _stop(errors, patience, reset=False),
            "It stops at the first error that is no new lowest, whatever the patience.": _stop(errors, 1),
        },
        cause="Go through the list with a finger on the lowest so far, and count the places after it.",
    )  # fmt: skip


def _stop(errors: Sequence[float], patience: int, ties: bool = False, reset: bool = True) -> tuple[int, int]:
    best = last = waited = 0
    for last, error in enumerate(errors):
        if error < errors[best] or (ties and error == errors[best]):
            best = last
        else:
            waited += 1
        if (last - best if reset else waited) >= patience:
            break
    return best, last
