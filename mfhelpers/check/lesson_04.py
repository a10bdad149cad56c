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
from ..models.objective import objective
from ..models.truth import simulate_ratings
from .feedback import agree, cases, exercise, fail, guessed, require, some_ratings


@exercise(1, "translate")
def translate(translated: Callable, seed: int = 0) -> str:
    """One user's price in three other libraries: the lesson's numbers, then random ones."""
    for number, rng in enumerate(cases(seed)):
        reg, n, n_ratings = rng.uniform(0.01, 0.5), int(rng.integers(2, 500)), int(rng.integers(1000, 1_000_000))
        if number == 0:
            reg, n, n_ratings = 0.1, 100, 80_000
        paid = reg * n * float(penalties.Penalty(reg, 1).per_rating(np.array(n)))
        root = n * float(penalties.Penalty(reg, 0.5).per_rating(np.array(n)))
        decay = penalties.Penalty.from_weight_decay(1.0, n_ratings).reg
        right = paid, paid / root, paid / decay
        agree(
            translated(reg, n, n_ratings), right, f"the three settings for regParam={reg:.3g}, n_u={n}, N={n_ratings}",
            {
                "Here the user pays regParam in all. Spark charges it for each of the user's ratings.":
                    (reg, reg / root, reg / decay),
                "cmfrec charges once a row, so its λ has to hold what Spark charges for all n_u ratings.":
                    (reg, *right[1:]),
                "MyMediaLite charges for each rating, but ρ / √n_u: that makes ρ √n_u in all.":
                    (paid, reg / root, right[2]),
                "MyMediaLite charges for each of the n_u ratings: ρ / √n_u is not all that the row pays.":
                    (paid, paid * root, right[2]),
                "A factor of two: what is a weight decay worth, wd or wd / 2?": (*right[:2], paid / n_ratings),
                "MSELoss takes a mean: how many times larger is the sum?": (*right[:2], 2 * paid),
                "The mean runs over all N ratings, not over those of one user.": (*right[:2], 2 * paid / n),
            },
            cause="Write down what the row pays in all, with each library's formula; then make it equal to Spark's.",
        )  # fmt: skip
    return "a user with 100 ratings, and 19 others"


class _Predictor:
    """What `train_one` of the next check returns."""

    def __init__(self, part: Ratings, kind: str) -> None:
        self.kind, self.averages = kind, baselines.average_biases(part, damping=5)
        self.stars = dict(zip(zip(part.users.tolist(), part.items.tolist(), strict=True), part.values, strict=True))

    def predict(self, users: Any, items: Any) -> np.ndarray:
        if self.kind == "by heart":
            pairs = zip(np.asarray(users).tolist(), np.asarray(items).tolist(), strict=True)
            return np.array([self.stars.get(pair, 1.0) for pair in pairs])
        averages = self.averages.predict(users, items)
        return averages if self.kind == "averages" else 6 - averages


@exercise(2, "bug hunt: the price of peeking", found="under 0.001")
def the_price_of_peeking(guess: str, tuned: Callable, seed: int = 0) -> str:
    """A choice that an exam with its stars turned round cannot move, reported with the exam's error."""
    guessed(guess, ("under 0.001", "0.001 to 0.01", "over 0.01"))
    for rng in cases(seed, 4):
        ratings, _ = simulate_ratings(60, 40, 900, seed=int(rng.integers(1000)))
        known, test = splits.random_split(ratings, seed=int(rng.integers(1000)))
        test = dataclasses.replace(test, values=6 - test.values)
        settings = [{"kind": str(kind)} for kind in rng.permutation(["averages", "by heart", "upside down"])]
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
            "exam ratings in a training",
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
        causes = {
            "upside down": "The exam decided: its stars are turned round here, and the choice followed them.",
            "by heart": "It has seen the ratings that it was judged on: hold some of `known` back from the training.",
        }
        require(
            setting["kind"] == "averages", "the setting chosen while the exam's stars are turned round",
            {"kind": "averages"}, setting, causes.get(setting["kind"], ""),
        )  # fmt: skip
        final = _Predictor(known, "averages")
        mistakes = {"The RMSE on `known` is no exam.": metrics.rmse(final, known)}
        pieces = [model for part, model in fitted if len(part) < len(known) and model.kind == "averages"]
        if pieces:
            hint = "This model was trained on a part of `known`: after the choice, train on all of it."
            mistakes[hint] = metrics.rmse(pieces[-1], test)
        agree(
            error, metrics.rmse(final, test), "the error of the chosen setting", mistakes,
            cause="After the choice: train on all of `known`, and report the RMSE on `test`, not clipped.",
        )  # fmt: skip
    return "four exams with their stars turned round, and the choice stays"


def _shared(one: Ratings, other: Ratings) -> int:
    pairs = [part.users * part.n_items + part.items for part in (one, other)]
    return int(np.isin(pairs[0], pairs[1]).sum())


@exercise(3, "bug hunt: the shrinking catalogue")
def the_shrinking_catalogue(price: float, n_ratings: int, priced_loss: Callable, seed: int = 0) -> str:
    """What a weight decay is worth as λ, and a loss that charges for the rows looked up."""
    import torch

    from ..models.modules import BiasedMatrixFactorization

    agree(
        price, penalties.Penalty.from_weight_decay(0.001, n_ratings).reg, "the λ of a weight decay of 0.001",
        {
            "A factor of two: what is a weight decay worth, wd or wd / 2?": 0.001 * n_ratings,
            "A batch's mean stands for the mean over all ratings: N is their number.": 0.001 * 1024 / 2,
            "That is the decay itself. As λ it stands beside a sum, not beside a mean.": 0.001,
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
        got = priced_loss(model, users, items, values.double(), reg)
        right, mistakes = _losses(model, part, reg)
        what = "the loss of one rating, worked out by hand" if number == 0 else "the loss of a batch"
        agree(got, right, what, mistakes, tolerance=1e-5,
              cause="The mean of e² plus λ times the mean of what each rating's four rows cost, squared.")  # fmt: skip
        require(getattr(got, "requires_grad", False), what, "a tensor with a gradient", type(got).__name__,
                "Stay in PyTorch: no .item(), .detach() or NumPy on the way.")  # fmt: skip
        _require_gradient(model, part, reg, got)
    return "λ of the decay, one loss by hand, 19 batches and their gradients"


def _losses(model: Any, part: Ratings, reg: float) -> tuple[float, dict[str, float]]:
    factors, n = model.to_factors(), len(part)
    mean, costs = objective(factors, part, 0.0) / n, {}
    for side, ids in (("user", part.users), ("item", part.items)):
        rows, biases = getattr(factors, f"{side}_factors"), getattr(factors, f"{side}_biases")
        costs[side] = np.sum(rows**2, axis=1, dtype=float), biases.astype(float) ** 2, ids
    sizes: dict[str, Any] = {side: rows + biases for side, (rows, biases, _) in costs.items()}
    per_rating: Any = reg * sum(sizes[side][ids] for side, (*_, ids) in costs.items())
    k = factors.n_factors
    return objective(factors, part, reg) / n, {
        "Nothing is charged.": mean,
        "The whole tables are charged: only the rows that this batch looks up should pay.":
            mean + reg * sum(size.sum() for size in sizes.values()),
        "The errors are averaged, the price is summed: average both over the batch.": mean + per_rating.sum(),
        "Both are summed: the loss is a mean over the batch.": n * mean + per_rating.sum(),
        "The biases pay too.": mean + reg * np.mean(sum(rows[ids] for rows, _, ids in costs.values())),
        "A mean over the k factors as well? A row pays the sum of its squares.":
            mean + reg * np.mean(sum(rows[ids] / k + biases[ids] for rows, biases, ids in costs.values())),
        "Lengths, not squared lengths.":
            mean + reg * np.mean(sum(np.sqrt(rows[ids]) + np.sqrt(biases[ids]) for rows, biases, ids in costs.values())),
        "Each row pays once here. It should pay once for every rating that looks it up.":
            mean + reg * sum(sizes[side][np.unique(ids)].sum() for side, (*_, ids) in costs.items()) / n,
        "The price is halved.": mean + per_rating.mean() / 2,
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
          {"The price has no gradient: `.weight.data` and `.detach()` cut it off.": free}, tolerance=1e-5)  # fmt: skip


@exercise(4, "the clock or the price", found="price")
def the_clock_or_the_price(guess: str, early_stop: Callable, seed: int = 0) -> str:
    """Where a training with patience stops, and what it keeps: by hand, then random walks."""
    guessed(guess, ("clock", "price", "same"))
    by_hand = [1.0, 0.9, 0.95, 0.94, 0.96, 0.97, 0.8]
    for errors, patience in ((by_hand, 5), (by_hand, 2), ([1.0, 0.9, 0.9, 0.9, 0.8], 2)):
        _stops(early_stop, errors, patience)
    for rng in cases(seed):
        errors = np.round(1 + np.cumsum(rng.normal(0, 0.1, 12)), 2).tolist()
        _stops(early_stop, errors, int(rng.integers(1, 5)))
    return "three curves by hand, 20 random ones"


def _stops(early_stop: Callable, errors: Sequence[float], patience: int) -> None:
    best, last = _stop(errors, patience)
    rising = [after >= before for before, after in itertools.pairwise(errors)]
    in_a_row = (end for end in range(patience, len(errors)) if all(rising[end - patience : end]))
    hasty = next(in_a_row, len(errors) - 1)
    agree(
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
        },
        cause="Go through the list with a finger on the lowest so far, and count the places after it.",
    )  # fmt: skip


def _stop(errors: Sequence[float], patience: int, ties: bool = False) -> tuple[int, int]:
    best = last = 0
    for last, error in enumerate(errors):
        if error < errors[best] or (ties and error == errors[best]):
            best = last
        if last - best >= patience:
            break
    return best, last
