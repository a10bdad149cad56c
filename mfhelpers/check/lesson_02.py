"""The exercises to lesson 02: autograd, its loop, and what goes wrong in it without a word."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from ..algorithms import fit as training
from ..algorithms.loop import History
from ..data import splits
from ..data.ratings import Ratings
from ..models import metrics, modules as models
from ..models.truth import simulate_ratings
from .feedback import agree, cases, exercise, fail, guessed, require, some_ratings

RATES = (0.001, 0.01, 0.05, 0.1)  # which answers use in the place of the one that they are given


@exercise(1, "three times row 0")
def three_times_row_0(once: Any, twice: Any, of_the_mean: Any, seed: int = 0) -> str:
    """Gradients of an embedding in which one row is looked up three times."""
    of_sums = {
        "This is one number: the gradient has the shape of the table.": lambda number: number,
        "That is row 0 alone: the gradient has the shape of the table.": lambda number: [number, number],
        "The rows are exchanged: row 0 was looked up.": lambda number: [[0, 0], [number, number]],
        "Row 0 was looked up, and not column 0: each row of the gradient belongs to a row of the table.":
            lambda number: [[number, 0], [number, 0]],
        "Row 1 was not looked up: it gets nothing.": lambda number: np.full((2, 2), number),
    }  # fmt: skip
    for what, got, number, wrong in (
        ("one line", once, 3.0, {1.0: "Row 0 was looked up three times, and lookups add up."}),
        ("two lines", twice, 6.0, {
            3.0: "backward adds to the gradient that is there: without zero_grad nothing is forgotten.",
            9.0: "One line more does not square it: backward adds the same gradient once more.",
            2.0: "That is one lookup for each line: three rows come out of each.",
        }),
        ("the line with the mean", of_the_mean, 0.5, {
            6.5: "zero_grad came before the last line: nothing is left of the earlier ones.",
            1.0: "A mean of six numbers counts each a sixth, not a third.",
            1 / 6: "Row 0 is three times in the mean: three sixths, not one.",
            3.0: "That is what a sum gives: a mean divides it by how many numbers there are.",
            0.75: "Two rows of the table, three that come out: the mean runs over the six numbers of these.",
            1.5: "Rows are divided here, and their numbers not: the mean is one over six numbers.",
        }),
    ):  # fmt: skip
        agree(
            got, [[number, number], [0, 0]], f"the gradient after {what}",
            {hint: [[other, other], [0, 0]] for other, hint in wrong.items()}
            | {hint: of(number) for hint, of in of_sums.items()},
            secret=True, cause="Write down the three rows that come out. How often does each number of the table enter the result?",
        )  # fmt: skip
    return "all three gradients"


@exercise(2, "rescue the published loop", found="higher")
def rescue_the_published_loop(guess: str, one_pass: Callable, memorised: Callable, seed: int = 0) -> str:
    """Steps one rating at a time against gradients by hand; a model that has memorised noise."""
    guessed(guess, ("lower", "same", "higher"))
    for rng in cases(seed, 8):
        model, columns = _model_and_ratings(rng)
        start, lr, each = _tables(model), rng.uniform(0.01, 0.1), np.arange(len(columns[2]))[:, None]
        one_pass(model, *columns, lr)

        def after(groups=each, start=start, columns=columns, lr=lr, **options):
            return _descended(start[0], start[1], columns, lr, groups, **options)

        agree(
            _tables(model), after(), "P and Q after one pass over a few ratings",
            {
                "Nothing has moved: is there a step after backward, of this model's own parameters, not of a copy's?": start,
                "Gradients pile up: zero_grad comes before each backward.": after(kept=1.0),
                "All ratings made one step together: take them one after the other.": after(each.T),
                "Half of each step: the loss is e², without a factor of its own.": after(factor=1.0),
                "Uphill? The optimiser itself goes down the gradient of the loss.": after(factor=-2.0),
                "The last rating comes first: keep their order.": after(each[::-1]),
                "Every rating came twice: one pass is asked for.": after(np.vstack([each, each])),
                "Only the first rating has made a step: is the step inside the loop?": after(each[:1]),
                "Only the last rating has made a step: is `backward` inside the loop?": after(each[-1:]),
                "All ratings made one step together, and of the mean of their squares: take them one by one.":
                    after(each.T, factor=2 / len(each)),
                "This is Adam: the published pass is plain SGD, torch.optim.SGD.": _adam(model, start, columns, lr, each),
            } | {
                f"The rate is not the one that is given, but {rate}: `lr` is the optimiser's.":
                    _descended(start[0], start[1], columns, rate, each) for rate in RATES
            },
        )  # fmt: skip
    rng = np.random.default_rng([seed, 99])
    cells = np.divmod(rng.choice(1_000_000, 8_000, replace=False), 1000)
    _has_memorised(memorised, Ratings(*cells, rng.integers(1, 5, 8_000), 1000, 1000, (1, 4, 1)))
    return "8 passes against gradients by hand; 8,000 made-up ratings memorised"


def _has_memorised(memorised: Callable, fitting: Ratings) -> None:
    model: Any = memorised(fitting)
    what, wanted = "the MSE on the ratings that it was fitted to", "below 0.01"
    if not isinstance(model, torch.nn.Module):
        fail("the result", "a model", type(model).__name__, "This is how the training went: return the model.")
    width = _tables(model)[0].shape[1]
    require(width == 20, "the number of factors", 20, width, "n_factors is the third argument of the model.")
    with torch.no_grad():
        users, items, values = fitting.to_tensors()
        mse = (model(users, items) - values).square().mean().item()
    require(
        not mse > 4,
        what,
        wanted,
        f"{mse:.3f}",
        "Where does it start? A standard deviation of 1, or a mean of 0, is far away.",
    )
    constant = fitting.values.var(dtype=np.float64)
    require(not mse > 1.1 * constant, what, wanted, f"{mse:.3f}",
            f"Worse than the constant's {constant:.2f}: was it fitted to `fitting`, the argument? Or did it start far away?")  # fmt: skip
    require(not mse > 0.9, what, wanted, f"{mse:.3f}", "That is about the constant's: a larger rate, or more epochs.")
    require(mse < 0.01, what, wanted, f"{mse:.3f}", "It is on its way: more epochs, or a somewhat larger rate.")


@exercise(3, "ratings with something to learn")
def ratings_with_something_to_learn(enough: int, fitted_and_true: Callable, seed: int = 0) -> str:
    """How many factors the truth takes, and a fit with early stopping on small simulated catalogues."""
    reasons = {
        5: "That is the factors alone: the biases need room, too.",
        6: "One more column holds b_u times 1. And b_i?",
        8: "The mean needs no column: the model has it as a constant.",
    }
    other = "Write each of b_u and b_i as a product of a number of the user and a number of the film."
    require(
        enough == 7, "the number of factors", "the five, and room for both biases", enough, reasons.get(enough, other)
    )
    for number in range(2):
        _fitted_and_true(fitted_and_true(*_catalogue(seed, number), 3), seed, number)
    return "the number of factors; two small catalogues"


@functools.cache  # an answer is checked more than once
def _catalogue(seed: int, number: int) -> tuple:
    """Three parts and their truth: first one on which more patience finds more, then one on which it stops in time."""
    rng, patience_matters = np.random.default_rng([seed, number]), number == 0
    n = 5_000 if patience_matters else 12_000
    while True:
        ratings, truth = simulate_ratings(200, 120, n, seed=int(rng.integers(1000)))
        known, test = splits.random_split(ratings, seed=int(rng.integers(1000)))
        train, valid = splits.random_split(known, test=0.1, seed=1)
        history = History()
        error, late = _fitted(train, valid, test, 3, history=history), len(history.valid_rmse) > 45
        if patience_matters:
            found = not late and abs(error - _fitted(train, valid, test, 3, patience=5)) > 1e-3
        else:
            found = not late and len(history.valid_rmse) > 24
        if found:
            return train, valid, test, truth


def _fitted_and_true(got: Any, seed: int, number: int) -> None:
    train, valid, test, truth = _catalogue(seed, number)
    what, right = "the RMSE of the fit and of the truth", (_fitted(train, valid, test, 3), metrics.rmse(truth, test))
    if not _near(got, right):  # the kept epoch is one of few: two mistakes may keep the same
        fitting = [hint for hint, pairs in _wrong_fits(seed, number).items() if any(_near(got, pair) for pair in pairs)]
        require(not fitting, what, right, got, " Or: ".join(fitting))
    agree(
        got, right, what, {
            "The other way round: first the fit, then the truth.": right[::-1],
            "The truth is an object that predicts: its RMSE on `test` is asked for, as that of the model.":
                (right[0], 0.0),
        },
        cause="Are mean, ids and parts those of the arguments, and not the notebook's own? All else as usual: seed, rate "
        "and batch size as mf.MatrixFactorization and mf.fit have them.", tolerance=1e-4,
    )  # fmt: skip


@functools.cache
def _wrong_fits(seed: int, number: int) -> dict[str, list[tuple[float, float]]]:
    """What typical mistakes give: for each hint the errors of the fit and of the truth, judged alike or not."""
    train, valid, test, truth = _catalogue(seed, number)
    wrong: dict[str, dict[str, Any]] = {
        "The test set chose the epoch: `valid` is what stops the fit.": {"valid": test},
        "There is no early stopping: patience=3.": {"patience": None},
        "It ended before patience could stop it: these are the 20 epochs of mf.fit's default. Give it 100.":
            {"patience": None, "epochs": 20},
        "Fewer epochs than patience needs: at most 100 are asked for.": {"epochs": 10},
        "That is a patience of 5: it is to be 3.": {"patience": 5},
        "That is a patience of 10: it is to be 3.": {"patience": 10},
        "That is a patience of 1: it is to be 3.": {"patience": 1},
        "Fitted to `valid` and stopped by `train`: the other way round.":
            {"train": valid, "valid": train, "mean": train.values.mean(dtype=np.float64)},
        "Where is the mean? The model starts at zero stars.": {"mean": 0.0},
        "The mean is that of `train`: this one knows the test set.": {"mean": test.values.mean(dtype=np.float64)},
        "These are not k factors: pass k on.": {"k": 20},
        "These are 5 factors, whatever k is: pass k on.": {"k": 5},
        "These are 7 factors, whatever k is: pass k on.": {"k": 7},
        "A model with biases: lesson 03. Here it is mf.MatrixFactorization.": {"kind": models.BiasedMatrixFactorization},
        "Is that the RMSE on `valid`? `test` is asked for.": {"judged": valid},
        "Is that the RMSE on `train`? `test` is asked for.": {"judged": train},
        "These predictions are clipped to the scale: mf.rmse as it is.": {"clip": True},
    }  # fmt: skip
    results = {}
    for hint, options in wrong.items():
        fit = _fitted(**{"train": train, "valid": valid, "test": test, "k": 3} | options)
        judged, clip = options.get("judged", test), options.get("clip", False)
        results[hint] = [(fit, metrics.rmse(truth, judged, clip=clip)), (fit, metrics.rmse(truth, test))]
    return results


def _near(got: Any, expected: tuple) -> bool:
    try:
        return np.allclose(got, expected, rtol=1e-4)
    except (TypeError, ValueError):
        return False


def _fitted(
    train, valid, test, k, mean=None, patience=3, kind=models.MatrixFactorization, epochs=100, judged=None, clip=False,
    history=None,
) -> float:  # fmt: skip
    mean = train.values.mean(dtype=np.float64) if mean is None else mean
    model = kind(train.n_users, train.n_items, k, mean=mean)
    training.fit(model, train, valid, epochs=epochs, patience=patience, history=history)
    return metrics.rmse(model, test if judged is None else judged, clip=clip)


@exercise(4, "bug hunt: the quiet column")
def the_quiet_column(aim: Callable, loud_loss: Callable, seed: int = 0) -> str:
    """What comparing all with all aims at, and a loss that does not."""
    for rng in cases(seed):
        n = int(rng.integers(1, 8))
        values, predicted = rng.integers(1, 6, n).astype(float), rng.normal(3.5, 1, n)
        agree(
            aim(values.copy()), (np.full(n, values.mean()), values.var()),
            f"the column that makes the quiet loss smallest for the ratings {values}",
            {
                "That is where an honest loss is smallest. As a column, each prediction is compared with all ratings.": (values, 0.0),
                "The median is nearest in absolute errors. These are squares.": (np.full(n, np.median(values)), values.var()),
                "The predictions are right. The loss there is the mean square of what is left, not 0.":
                    (np.full(n, values.mean()), 0.0),
                "The predictions are right. The loss is in squared stars: no root.": (np.full(n, values.mean()), values.std()),
                "The predictions are right. A mean divides by n.":
                    (np.full(n, values.mean()), values.var() * n / max(n - 1, 1)),
                "The predictions are right. The loss is a mean, not the sum.": (np.full(n, values.mean()), values.var() * n),
                "The predictions are right. Is that the mean absolute error? The loss is in squares.":
                    (np.full(n, values.mean()), np.mean(np.abs(values - values.mean()))),
                "One prediction for each rating is asked for: an array of shape (n,).": (values.mean(), values.var()),
                "These are right, and a column: an array of shape (n,) is asked for.": (np.full((n, 1), values.mean()), values.var()),
                "That is the middle between the lowest and the highest. In squares the mean is nearest.":
                    (np.full(n, (values.min() + values.max()) / 2), values.var()),
                "First the predictions, then the loss.": (values.var(), np.full(n, values.mean())),
            },
            cause="Take one prediction p. Its part of the loss is the mean of (p - r)² over all r: where is that smallest?",
        )  # fmt: skip
        for shape in ((n, 1), (n,)):
            _honest(loud_loss, predicted.reshape(shape), values)
    for shape in ((1, 1), (1,), (2, 1)):
        _is_loud(loud_loss, torch.full(shape, 3.0), torch.tensor([3.0, 4.0, 5.0]))
    return "20 random batches, some of a single rating, as a column and as a row; other numbers are an error"


def _is_loud(loud_loss: Callable, predicted: torch.Tensor, values: torch.Tensor) -> None:
    try:
        got = loud_loss(predicted, values)
    except (RuntimeError, ValueError, AssertionError):
        return
    fail(
        f"the loss of predictions of shape {tuple(predicted.shape)} for three ratings", "an error", got,
        "A single prediction passes for one of every rating: squeeze() and reshape(-1) do not look at the ratings. "
        "reshape(values.shape) does.",
    )  # fmt: skip


def _honest(loud_loss: Callable, predicted: np.ndarray, values: np.ndarray) -> None:
    given, n = torch.tensor(predicted, requires_grad=True), len(values)
    what, errors = f"the loss of predictions of shape {predicted.shape}", predicted.ravel() - values
    try:
        loss = loud_loss(given, torch.tensor(values))
    except (IndexError, AssertionError, ValueError, RuntimeError) as error:
        fail(what, "a loss", f"{type(error).__name__}: {error}",
             f"There is one prediction for each of the {n} ratings: both a column (n, 1) and a row (n,) are to be taken, and only "
             "another number of predictions refused.")  # fmt: skip
    table = predicted.ravel()[:, None] - values
    agree(
        loss, np.mean(errors**2), what,
        {
            "Still a table of all pairs: look at the shape of the difference.": np.mean(table**2),
            "That is the sum: take the mean.": np.sum(errors**2),
            "That is the root of it.": np.sqrt(np.mean(errors**2)),
            "That is the mean absolute error: square.": np.mean(np.abs(errors)),
            "The errors are averaged before they are squared: square each.": np.mean(errors) ** 2,
            "Half of it: this loss has no factor of its own.": np.mean(errors**2) / 2,
            "That divides by n - 1: a mean divides by n.": np.sum(errors**2) / max(n - 1, 1) + (n == 1),
            "One error for each rating: take their mean.": errors**2,
        },
        cause="Print the shapes of both before you subtract.",
    )  # fmt: skip
    if not getattr(loss, "requires_grad", False):
        fail(f"{what}", "a tensor that backward can start from", type(loss).__name__,
             "Stay with torch: item(), detach() and NumPy forget where a number came from.")  # fmt: skip
    loss.backward()
    agree(given.grad, (2 * errors / n).reshape(predicted.shape), f"the gradient of {what}")


@exercise(5, "bug hunt: gradients that pile up", found=("piling", "repaired"))
def gradients_that_pile_up(guess: tuple, repaired: Callable, seed: int = 0) -> str:
    """Steps of a model that may come with old gradients, against gradients by hand."""
    guessed(guess, tuple((one, other) for one in ("piling", "repaired") for other in ("piling", "repaired")))
    for number, rng in enumerate(cases(seed, 10)):
        model, columns = _model_and_ratings(rng)
        start, lr, steps = _tables(model), rng.uniform(0.005, 0.02), 3 + number % 3
        old = (np.zeros_like(start[0]), np.zeros_like(start[1]))
        if number % 2 == 0:  # every other model has been used before
            model(*columns[:2]).sum().backward()
            old = tuple(np.array(table.grad.tolist()) for table in model.parameters() if table.grad is not None)
        repaired(model, *columns, lr, steps)
        groups = steps * [np.arange(len(columns[2]))]

        def after(groups=groups, start=start, columns=columns, lr=lr, **options):
            return _descended(start[0], start[1], columns, lr, groups, **options)

        mistakes = {
            "Nothing has moved: is the gradient forgotten between backward and step, where it is about to be used? Or was a "
            "copy trained?": start,
            "This is Adam: torch.optim.SGD, as in the colleague's loop.": _adam(model, start, columns, lr, groups),
            "Cleared once, before the loop: after the second backward the first gradient is still there.": after(kept=1.0),
            "Nothing forgets: every step follows all gradients so far.": after(kept=1.0, old=old),
            "The model came with a gradient of an earlier use: forget before the first backward, too.": after(old=old),
            "The gradient of the start was used for every step: predict anew in each.": after(frozen=True),
            "This is one step: the loop ends too early.": after(groups[:1]),
            "One step too many.": after([*groups, groups[0]]),
            "One step too few.": after(groups[1:]),
            "Uphill? The optimiser itself goes down the gradient of the loss.": after(factor=-2.0),
            "Half of each step: the loss is e², without a factor of its own.": after(factor=1.0),
            "A memory that fades is lesson 05's momentum: here each step follows its own gradient alone.":
                after(kept=0.9),
            "With the mean each step is divided by the number of ratings: this loop sums.":
                after(factor=2 / len(columns[2])),
            "A rate that shrinks? It is lr in each step.": after(kept=-1.0),
        } | {
            f"The rate is not the one that is given, but {rate}: `lr` is the optimiser's.":
                _descended(start[0], start[1], columns, rate, groups) for rate in RATES
        }  # fmt: skip
        agree(_tables(model), after(), f"P and Q after {steps} steps", mistakes)
    return "10 trainings, half of them of a model with old gradients"


def _model_and_ratings(rng: np.random.Generator) -> tuple[torch.nn.Module, tuple]:
    ratings = some_ratings(rng)
    model = models.MatrixFactorization(
        ratings.n_users, ratings.n_items, 2, mean=3, init_std=0.5, seed=int(rng.integers(1000))
    )
    users, items, values = ratings.to_tensors()
    return model.double(), (users, items, values.double())


def _tables(model: Any) -> tuple[np.ndarray, np.ndarray]:
    P, Q = (table.weight.detach().numpy().copy() for table in (model.user_factors, model.item_factors))
    return P, Q


def _adam(model: torch.nn.Module, start: tuple, columns: tuple, lr: float, groups: Iterable) -> tuple:
    """P and Q after the same steps by Adam, from the same start."""
    other: Any = copy.deepcopy(model)
    with torch.no_grad():
        for table, at in zip((other.user_factors, other.item_factors), start, strict=True):
            table.weight.copy_(torch.from_numpy(at))
    optimizer, (users, items, values) = torch.optim.Adam(other.parameters(), lr=lr), columns
    for group in groups:
        optimizer.zero_grad()
        (other(users[group], items[group]) - values[group]).square().sum().backward()
        optimizer.step()
    return _tables(other)


def _descended(
    P: np.ndarray, Q: np.ndarray, columns: tuple, lr: float, groups: Iterable, *,
    factor: float = 2.0, kept: float = 0.0, old: tuple | None = None, frozen: bool = False,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """P and Q after a step for each group of ratings, by hand.

    `kept` of the gradient before is added to each; `old` is one from before the first.
    """
    users, items, values = (column.numpy() for column in columns)
    P, Q = P.copy(), Q.copy()
    first = P, Q
    before = old or (np.zeros_like(P), np.zeros_like(Q))
    for number, group in enumerate(groups):
        u, i = users[group], items[group]
        p, q = (first[0][u], first[1][i]) if frozen else (P[u], Q[i])
        e = values[group] - 3 - np.einsum("nk,nk->n", p, q)
        now = np.zeros_like(P), np.zeros_like(Q)
        np.add.at(now[0], u, -factor * e[:, None] * q)
        np.add.at(now[1], i, -factor * e[:, None] * p)
        share = 1.0 if old is not None and number == 0 else kept
        before = tuple(share * a + b for a, b in zip(before, now, strict=True))
        P, Q = P - lr * before[0], Q - lr * before[1]
    return P, Q
