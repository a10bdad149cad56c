"""The exercises to lesson 10: what event files hold, and what is drawn of them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..algorithms import als as least_squares
from ..data import splits
from ..data.ratings import Ratings
from ..models.factors import Factors
from ..models.truth import simulate_ratings
from .feedback import agree, cases, exercise, fail, guessed, require

TAG = "RMSE/validation"


@exercise(1, "the smoothed minimum", found="later")
def the_smoothed_minimum(guess: str, smoothed: Callable, seed: int = 0) -> str:
    """Smoothing by hand, of a constant, and of random curves."""
    guessed(guess, ("earlier", "same", "later"))
    _smoothing(smoothed, np.array([4.0, 2.0]), 0.2, "what is drawn of 4, 2 with a weight of 0.2")
    _smoothing(smoothed, np.full(5, 3.0), 0.6, "what is drawn of 3, 3, 3, 3, 3")
    for rng in cases(seed):
        values = rng.uniform(0.9, 1.2, int(rng.integers(1, 9)))
        _smoothing(smoothed, values, rng.choice([0.0, 0.3, 0.6, 0.9]), "what is drawn of a random curve")
    return "4 and 2 by hand, a constant, 20 random curves"


def _smoothing(smoothed: Callable, values: np.ndarray, weight: float, what: str) -> None:
    def sums(x, w, s=0.0):
        kept = []
        for value in x:
            s = w * s + (1 - w) * value
            kept.append(s)
        return np.array(kept)

    t = np.arange(1, len(values) + 1)
    again, s = [], 0.0
    for place, value in enumerate(values, 1):
        s = (weight * s + (1 - weight) * value) / (1 - weight**place)
        again.append(s)
    swapped = sums(values, 1 - weight) / (1 - (1 - weight) ** t) if weight else np.full(len(values), np.inf)
    agree(
        smoothed(values.copy(), float(weight)), sums(values, weight) / (1 - weight**t), what,
        {
            "This begins far too low: divide by 1 - w^t.": sums(values, weight),
            "The sum goes on from s itself: only what is drawn is divided.": again,
            "This begins at the first value, where s begins at 0.": sums(values, weight, values[0]),
            "The weight is that of what came before: the new value has 1 - w.": swapped,
            "t counts from 1: the first value is divided by 1 - w.": sums(values, weight) / (1 - weight ** (t + 1)),
            "These are the values as they were.": values,
            "That is the mean of all values so far: later ones weigh more.": np.cumsum(values) / t,
            "The divisor is 1 - w at every step: it is 1 - w^t.": sums(values, weight) / (1 - weight),
            "The new value has no weight of its own: it is multiplied by 1 - w.":
                sums(values / (1 - weight), weight) / (1 - weight**t),
            "What is drawn is one behind: add the new value to s first.":
                np.r_[0, sums(values, weight)[:-1]] / (1 - weight**t),
            "1 - w^t, and not (1 - w)^t: the power belongs to w.": sums(values, weight) / (1 - weight) ** t,
            "That is the last number alone: give what is drawn at each step.":
                (sums(values, weight) / (1 - weight**t))[-1],
        },
        cause="For 4 and 2 with a weight of 0.2: s is 0.8 · 4 = 3.2, drawn as 3.2 / 0.8; then 0.2 · 3.2 + 0.8 · 2 = 2.24, drawn as 2.24 / 0.96.",
    )  # fmt: skip


@exercise(2, "bug hunt: two runs in one")
def two_runs_in_one(log_curve: Callable, beginnings: Callable, seed: int = 0) -> str:
    """Two runs read back from a folder, and places where steps begin anew."""
    curves = {f"k={5 * n}": rng.uniform(0.9, 1.2, n + 2) for n, rng in enumerate(cases(seed, 2), 1)}
    with _folder() as folder:
        for run, curve in curves.items():
            log_curve(folder, run, curve.copy())
        runs = sorted({file.parent.relative_to(folder).as_posix() for file in folder.rglob("events.out.tfevents*")})
        if runs != sorted(curves):
            cause = "One run for both: a run is a folder, so each needs one of its name." if runs == ["."] else (
                "Nothing was written: does the writer get as far as closing?" if not runs else
                "A folder for each run, of its name, in the folder that is given.")  # fmt: skip
            fail("the runs in the folder", ", ".join(curves), ", ".join(runs) or "none", cause)
        for run, curve in curves.items():
            steps, values = _written(folder / run, TAG)
            agree(values, curve, f"the values of run {run!r}",
                  {"This is another run's curve.": next(c for name, c in curves.items() if name != run)})  # fmt: skip
            agree(steps, np.arange(len(curve)), f"the steps of run {run!r}",
                  {"All at step 0: hand the step to add_scalar.": np.zeros(len(curve)),
                   "From 1? The docstring says from 0.": np.arange(len(curve)) + 1})  # fmt: skip
    _begins(beginnings, np.array([0, 1, 2, 0, 1, 2, 3]), "the beginnings in 0 1 2 0 1 2 3")
    for rng in cases(seed):
        lengths = rng.integers(1, 5, int(rng.integers(1, 5)))
        trainings = [np.cumsum(rng.integers(1, 4, n)) - 1 + rng.integers(2) for n in lengths]
        trainings = [t if n == 0 or t[0] <= trainings[n - 1][-1] else t - t[0] for n, t in enumerate(trainings)]
        _begins(
            beginnings, np.concatenate(trainings), f"the beginnings in {' '.join(map(str, np.concatenate(trainings)))}"
        )
    return "two runs read back, 21 zigzags"


def _begins(beginnings: Callable, steps: np.ndarray, what: str) -> None:
    right = np.flatnonzero(np.r_[True, np.diff(steps) <= 0])
    agree(
        beginnings(steps.astype(float)), right, what,
        {
            "The first training begins at place 0, and is missing.": right[1:],
            "These are the last places of each training but one: np.diff is one shorter than the steps.": right[1:] - 1,
            "The first is right. The others are one too early: np.diff is one shorter than the steps.":
                np.r_[0, right[1:] - 1],
            "A step that stays where it was begins anew, too.": np.flatnonzero(np.r_[True, np.diff(steps) < 0]),
            "Not every training begins at step 0, or at the smallest: look where the steps stop rising.":
                np.flatnonzero(steps == steps.min()),
            "This is a mask: np.flatnonzero gives the places.": np.r_[True, np.diff(steps) <= 0],
            "These are steps, not their places.": steps[right],
        },
    )  # fmt: skip


@exercise(3, "a rate that changes", found="lower")
def a_rate_that_changes(guess: str, falling: Callable, seed: int = 0) -> str:
    """Half a cosine, against PyTorch's own scheduler."""
    import torch

    guessed(guess, ("lower", "same", "higher"))
    for rng in cases(seed, 5):
        epochs = int(rng.integers(2, 30))
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler, right = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs), [1.0]
        for _ in range(epochs):
            optimizer.step()
            scheduler.step()
            right.append(optimizer.param_groups[0]["lr"])
        t, got = np.arange(epochs + 1) / epochs, [falling(done, epochs) for done in range(epochs + 1)]
        agree(
            None if got[0] is None else got, np.array(right),
            f"the shares after 0 to {epochs} of {epochs} epochs",
            {
                "From 1 to -1: shift and halve it, so that no rate is negative.": np.cos(np.pi * t),
                "From 2 to 0: halve it.": 1 + np.cos(np.pi * t),
                "A quarter of a cosine: it falls to 0 as well, but steeply at the end. The angle goes to π.":
                    np.cos(np.pi * t / 2),
                "A straight line: it should start and end flat.": 1 - t,
                "It rises: the sign of the cosine.": (1 - np.cos(np.pi * t)) / 2,
                "Degrees? np.cos takes radians.": (1 + np.cos(180 * t)) / 2,
                "A whole cosine comes up again: the angle goes to π.": (1 + np.cos(2 * np.pi * t)) / 2,
                "It begins below 1: before the first epoch none is done.":
                    (1 + np.cos(np.pi * (np.arange(epochs + 1) + 1) / epochs)) / 2,
                "It does not come down to 0: after all epochs the angle is π.":
                    (1 + np.cos(np.pi * np.arange(epochs + 1) / (epochs + 1))) / 2,
                "That is the rate itself, from 0.01: the share of the first rate is asked for.":
                    0.01 * (1 + np.cos(np.pi * t)) / 2,
                "It comes down to 0 one epoch too soon: after all epochs, not before the last.":
                    (1 + np.cos(np.pi * np.arange(epochs + 1) / (epochs - 1))) / 2,
            },
            tolerance=1e-5,
        )  # fmt: skip
    return "five lengths, as PyTorch's CosineAnnealingLR"


@exercise(4, "your own tag", found="first")
def your_own_tag(guess: str, slope: Callable, log_slopes: Callable, seed: int = 0) -> str:
    """Slopes of known predictions, then those of ALS as read from the file."""
    guessed(guess, ("first", "last", "between"))
    for rng in cases(seed):
        values = rng.integers(1, 6, 12)
        part = Ratings(np.zeros(12, int), np.arange(12), values, 1, 12, (1, 5, 1))
        predicted = 3 + rng.uniform(0.2, 1) * (values - 3) + rng.normal(0, 0.5, 12)
        known = Factors(0.0, np.zeros(1), predicted, np.zeros((1, 0)), np.zeros((12, 0)))
        agree(slope(known, part), _slope(predicted, values), "the slope of 12 ratings over their predictions",
              _wrong_slopes(predicted, values), tolerance=1e-4)  # fmt: skip
    ratings, _ = simulate_ratings(60, 40, 900, seed=seed)
    train, valid = splits.random_split(ratings, seed=seed)
    expected, on_train, turned = [], [], []

    def watch(factors):
        for part, kept in ((valid, expected), (train, on_train)):
            kept.append(_slope(factors.predict(part.users, part.items), part.values))
        turned.append(_slope(valid.values, factors.predict(valid.users, valid.items)))

    least_squares.als(train, 20, sweeps=4, watch=watch, progress=False)
    with _folder() as folder:
        log_slopes(train, valid, folder / "run", 4)
        steps, values = _written(folder / "run", "slope")
    agree(
        values, expected, "the slopes after each of 4 sweeps, as the file has them",
        {
            "On the training part? The slope is that of `valid`.": on_train,
            "The last sweep alone: write one in each call of `watch`.": expected[-1:],
            "The first sweep is missing.": expected[1:],
            "The last sweep is missing: is the writer closed before it is written?": expected[:-1],
            "The slope of the predictions over the ratings was written: x and y are the other way round.": turned,
        },
        cause="20 factors, and all else as mf.als has it.", tolerance=1e-3,
    )  # fmt: skip
    agree(
        steps, np.arange(1, 5), "the steps",
        {
            "All at step 0: hand the step to add_scalar.": np.zeros(4),
            "Sweeps count from 1, as in the logs of mf.als: step 0 would be the start.": np.arange(4),
        },
    )  # fmt: skip
    return "20 known slopes, and four sweeps read back from the file"


def _slope(predicted: Any, values: Any) -> float:
    return float(np.polyfit(np.asarray(predicted, float), np.asarray(values, float), 1)[0])


def _wrong_slopes(predicted: np.ndarray, values: np.ndarray) -> dict[str, float]:
    return {
        "That is the slope of the predictions over the ratings: x and y are the other way round.":
            _slope(values, predicted),
        "That is the mean error: how much too low, not how steep.": float(np.mean(values - predicted)),
        "That is the covariance: divide by the variance of the predictions.": float(np.cov(predicted, values, ddof=0)[0, 1]),
        "That is the square of the correlation: a share, and no slope.": float(np.corrcoef(predicted, values)[0, 1] ** 2),
        "That is the constant: polyfit gives the slope first.": float(np.polyfit(predicted, values, 1)[1]),
        "That is the line through zero: it needs a constant.": float(predicted @ values / (predicted @ predicted)),
        "That is the correlation: how close to a line they are, not how steep it is.":
            float(np.corrcoef(predicted, values)[0, 1]),
        "That is a ratio of standard deviations. A slope also counts how well the two go together.":
            float(values.std() / predicted.std()),
    }  # fmt: skip


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # Windows keeps open files
        yield Path(name)


def _written(run: Path, tag: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a tag in a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    require(any(run.glob("events.out.tfevents*")), f"an event file in {run.name!r}", "one", "none",
            "SummaryWriter takes the folder of the run. `with SummaryWriter(…) as writer:` also closes it.")  # fmt: skip
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    tags: Any = events.Tags()["scalars"]
    require(tags == [tag], "the tags in the file", tag, ", ".join(tags) or "none",
            "One tag, under that name; and is the writer closed, so that all is written?")  # fmt: skip
    scalars = events.Scalars(tag)
    return np.array([event.step for event in scalars]), np.array([event.value for event in scalars])
