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
from ..models import metrics
from ..models.factors import Factors
from ..models.truth import simulate_ratings
from .feedback import Together, agree, cases, exercise, fail, guessed, require, untouched

TAG = "RMSE/validation"


@exercise(1, "the smoothed minimum", found="later")
def the_smoothed_minimum(guess: str, smoothed: Callable, seed: int = 0) -> str:
    """Smoothing by hand, of a constant, and of random curves."""
    guessed(guess, ("earlier", "same", "later"))
    with Together() as same:
        _smoothing(same, smoothed, np.array([4.0, 2.0]), 0.25, "what is drawn of 4, 2 with a weight of 0.25")
        _smoothing(same, smoothed, np.full(5, 3.0), 0.6, "what is drawn of 3, 3, 3, 3, 3")
        for rng in cases(seed):
            values = rng.uniform(0.9, 1.2, int(rng.integers(1, 9)))
            _smoothing(same, smoothed, values, rng.choice([0.0, 0.3, 0.6, 0.9]), "what is drawn of a random curve")
    return "4 and 2 by hand, a constant, 20 random curves"


def _smoothing(same: Together, smoothed: Callable, values: np.ndarray, weight: float, what: str) -> None:
    def sums(x, w, s=0.0, new=None):
        kept = []
        for value in x:
            s = w * s + (1 - w if new is None else new) * value
            kept.append(s)
        return np.array(kept)

    given, t = values.copy(), np.arange(1, len(values) + 1)
    s, again, before = sums(values, weight), [], 0.0
    for place, value in enumerate(values, 1):
        before = (weight * before + (1 - weight) * value) / (1 - weight**place)
        again.append(before)
    got = smoothed(given, float(weight))
    untouched(given, values, "the values that were given")
    right, late = s / (1 - weight**t), np.r_[values[0], values[:-1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        swapped = sums(values, 1 - weight) / (1 - (1 - weight) ** t)
        from_zero = s / (1 - weight ** (t - 1))
        product = s / (1 - weight * t)
    same.agree(
        got, right, what,
        {
            "This begins far too low: divide by 1 - w^t.": s,
            "The sum goes on from s itself: only what is drawn is divided.": np.array(again),
            "This begins at the first value, where s begins at 0.": sums(values, weight, values[0]),
            "The weight is that of what came before: the new value has 1 - w.": swapped,
            "t counts from 1: the first value is divided by 1 - w.": s / (1 - weight ** (t + 1)),
            "t counts from 1: with 0 the first value is divided by 1 - w^0, which is 0.": from_zero,
            "These are the values as they were.": values,
            "The divisor is 1 - w^t for each t. This is s over 1 - w throughout, as if new values had the weight 1.":
                s / (1 - weight),
            "One divisor for all, that of the last? Each s_t has its own, 1 - w^t.": s / (1 - weight ** len(values)),
            "Multiplied by 1 - w^t: divide.": s * (1 - weight**t),
            "1 - w t? The weight is raised to the power t.": product,
            "Divided by w^t: the divisor is 1 - w^t.": s / weight**t if weight else np.full(len(values), np.nan),
            "The new value has the weight 1 - w, which is missing.": sums(values, weight, new=1.0) / (1 - weight**t),
            "That is a mean of all so far. Smoothing gives the last ones more weight.": np.cumsum(values) / t,
            "That mixes each value with the one before alone: s goes on from s.":
                weight * late + (1 - weight) * values,
            "From the last to the first? s goes on from the earlier ones.":
                (sums(values[::-1], weight) / (1 - weight**t))[::-1],
            "One number? What is drawn has one for each value.": right[-1],
            "The 0 from which s begins is not drawn.": np.r_[0.0, right],
        },
        cause="With w = 0.25: s is 0.75 · 4 = 3, drawn as 3 / 0.75; then 0.25 · 3 + 0.75 · 2 = 2.25, drawn as 2.25 / (1 - 0.25²).",
    )  # fmt: skip
    require(got is None or hasattr(got, "argmin"), "what comes back", "an array", f"a {type(got).__name__}",
            "np.array(…) makes an array of a list.")  # fmt: skip


@exercise(2, "bug hunt: two runs in one")
def two_runs_in_one(log_curve: Callable, beginnings: Callable, seed: int = 0) -> str:
    """Two runs read back from a folder, and places where steps begin anew."""
    curves = {f"k={5 * n}": rng.uniform(0.9, 1.2, n + 2) for n, rng in enumerate(cases(seed, 2), 1)}
    with _folder() as folder:
        for run, curve in curves.items():
            log_curve(folder, run, curve.copy())
        runs = sorted({file.parent.relative_to(folder).as_posix() for file in folder.rglob("events.out.tfevents*")})
        if runs != sorted(curves):
            cause = _other_runs(runs, list(curves))
            fail("the runs in the folder", ", ".join(curves), ", ".join(runs) or "none", cause)
        for run, curve in curves.items():
            _written_curve(folder / run, curve, next(c for name, c in curves.items() if name != run))
    with Together() as same:
        _begins(same, beginnings, np.array([0, 1, 2, 0, 1, 2, 3]), "the beginnings in 0 1 2 0 1 2 3")
        for rng in cases(seed):
            lengths = rng.integers(1, 5, int(rng.integers(1, 5)))
            trainings = [np.cumsum(rng.integers(1, 4, n)) - 1 + rng.integers(2) for n in lengths]
            trainings = [t if n == 0 or t[0] <= trainings[n - 1][-1] else t - t[0] for n, t in enumerate(trainings)]
            steps = np.concatenate(trainings)
            _begins(same, beginnings, steps, f"the beginnings in {' '.join(map(str, steps))}")
    return "two runs read back, 21 zigzags"


def _other_runs(runs: list[str], wanted: list[str]) -> str:
    """Why the folder may hold other runs than those of the given names."""
    if not runs:
        return "Nothing was written there: the writer takes the run's folder in `folder`, and has to be closed."
    if runs == ["."]:
        return "One run for both: a run is a folder, so each needs one of its name."
    if any(run.startswith(f"{name}/") for run in runs for name in wanted):
        return "A folder too deep: the event file lies in the folder of the run's name. (add_scalars makes folders of its own.)"
    if any("RMSE" in run for run in runs):
        return "add_scalars makes a run of its own for each curve: add_scalar writes one number into this one."
    if len(runs) == 1:
        return "The same folder for both: it has the name that is given, `run`."
    return "A folder for each run, of its name alone, in the folder that is given."


def _written_curve(folder: Path, curve: np.ndarray, other: np.ndarray) -> None:
    steps, values = _written(folder, TAG)
    places = np.arange(len(curve))
    agree(
        values, curve, f"the values of run {folder.name!r}",
        {
            "This is another run's curve.": other,
            "Value and step are the other way round: add_scalar(tag, value, step).": places,
            "The last value alone: one call for each value.": curve[-1:],
            "The first value alone: does the loop return, or is the writer not closed?": curve[:1],
            "The first value is missing.": curve[1:],
            "The last value is missing.": curve[:-1],
            "Both curves in one run: each call has a folder of its own.": np.r_[curve, other],
            "From the last to the first? The curve is written as it comes.": curve[::-1],
        },
    )  # fmt: skip
    agree(
        steps, places, f"the steps of run {folder.name!r}",
        {
            "All at step 0: hand the step to add_scalar.": np.zeros(len(curve)),
            "From 1? The docstring says from 0.": places + 1,
            "One step for all? Each value has its own.": np.full(len(curve), len(curve)),
            "They fall: step 0 is that of the first value.": places[::-1],
        },
    )  # fmt: skip


def _begins(same: Together, beginnings: Callable, steps: np.ndarray, what: str) -> None:
    rises, goes_on = np.diff(steps), np.r_[False, np.diff(steps) > 0]
    right = np.flatnonzero(~goes_on)
    got = beginnings(steps.astype(float))
    same.agree(
        got, right, what,
        {
            "The first training begins at place 0, and is missing.": right[1:],
            "These are the last places of each training but one: np.diff is one shorter than the steps.": right[1:] - 1,
            "The first is right. The others are one too early: np.diff is one shorter than the steps.":
                np.r_[0, right[1:] - 1],
            "A step that stays where it was begins anew, too.": np.flatnonzero(np.r_[True, rises < 0]),
            "The first training begins at place 0, and a step that stays where it was begins anew, too.":
                np.flatnonzero(rises < 0) + 1,
            "Not every training begins at step 0, or at the smallest: look where the steps stop rising.":
                np.flatnonzero(steps == steps.min()),
            "Not every training begins at step 0: look where the steps stop rising.": np.flatnonzero(steps == 0),
            "The first training is found only if it begins at step 0: put something before it that no step can exceed.":
                np.flatnonzero(np.diff(steps, prepend=0) <= 0),
            "A training may leave steps out: only where they do not rise a new one begins.":
                np.flatnonzero(np.r_[True, rises != 1]),
            "These are the places at which a training goes on.": np.flatnonzero(goes_on),
            "These are the places at which a training goes on, counted one too early.": np.flatnonzero(rises > 0),
            "These are the first places of each step. Steps come again in each training; look where they stop rising.":
                np.sort(np.unique(steps, return_index=True)[1]),
            "These are the places of the ends, not of the beginnings.": np.r_[right[1:] - 1, len(steps) - 1],
            "There is no training behind the last step.": np.r_[right, len(steps)],
            "That is how many trainings there are: where does each begin?": len(right),
            "These are the lengths of the trainings: where does each begin?": np.diff(np.r_[right, len(steps)]),
            "The first is compared with the last: place -1 is the end. It begins a training whatever comes before.":
                np.flatnonzero(steps <= np.roll(steps, 1)),
            "np.where gives a tuple of arrays, of which [0] is wanted; np.flatnonzero gives the array.": right[None, :],
            "np.argwhere gives a column: np.flatnonzero gives a row.": right[:, None],
            "This is a mask: np.flatnonzero gives the places.": ~goes_on,
            "These are steps, not their places.": steps[right],
        },
        cause="Write the steps in a line with their places below: where is one not above the one before?",
    )  # fmt: skip
    places = np.asarray(got)
    require(places.dtype.kind != "f", "the places", "whole numbers", places.dtype,
            "np.append to an empty list makes fractions of them, and nothing can be cut there: .astype(int).")  # fmt: skip


@exercise(3, "a rate that changes", found="lower")
def a_rate_that_changes(guess: str, falling: Callable, seed: int = 0) -> str:
    """Half a cosine, against PyTorch's own scheduler."""
    import torch

    guessed(guess, ("lower", "same", "higher"))
    with Together() as same:
        for rng in cases(seed, 5):
            epochs = int(rng.integers(2, 30))
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
            scheduler, right = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs), [1.0]
            for _ in range(epochs):
                optimizer.step()
                scheduler.step()
                right.append(optimizer.param_groups[0]["lr"])
            got = [falling(done, epochs) for done in range(epochs + 1)]
            what = f"the shares after 0 to {epochs} of {epochs} epochs"
            same.agree(None if got[0] is None else got, np.array(right), what, _wrong_falls(epochs),
                       cause=_not_a_half_cosine(got), tolerance=1e-5)  # fmt: skip
    return "five lengths, as PyTorch's CosineAnnealingLR"


def _not_a_half_cosine(got: list) -> str:
    """What a curve lacks that is no known mistake."""
    shares = np.asarray(got, dtype=float) if all(np.ndim(share) == 0 and share is not None for share in got) else None
    if shares is None:
        return "One number for each epoch was asked for."
    if abs(shares[0] - 1) > 1e-6:
        return "It does not begin at 1: which angle has a cosine of 1?"
    if abs(shares[-1]) > 1e-6:
        return "It does not end at 0: which angle has a cosine of -1, and what becomes of it if shifted and halved?"
    return (
        "It goes from 1 to 0, but not along half a cosine: after half of the epochs it is 1/2, after a quarter 0.854."
    )


def _wrong_falls(epochs: int) -> dict[str, np.ndarray]:
    done = np.arange(epochs + 1)
    t, cos = done / epochs, np.cos
    right = (1 + cos(np.pi * t)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        turned = (1 + cos(np.pi * epochs / done)) / 2
    return {
        "From 1 to -1: shift and halve it, so that no rate is negative.": cos(np.pi * t),
        "From 2 to 0: halve it.": 1 + cos(np.pi * t),
        "From 1.5 to 0.5: halve all of it, the 1 as well.": 1 + cos(np.pi * t) / 2,
        "From 1/2 to -1/2: shift it, too.": cos(np.pi * t) / 2,
        "A quarter of a cosine: it falls to 0 as well, but steeply at the end. The angle goes to π.":
            cos(np.pi * t / 2),
        "A whole cosine: it is back at 1 in the end. The angle goes to π, not to 2 π.": (1 + cos(2 * np.pi * t)) / 2,
        "A quarter of a cosine, shifted and halved, ends at 1/2: the angle goes to π.": (1 + cos(np.pi * t / 2)) / 2,
        "A straight line: it should start and end flat.": 1 - t,
        "An exponential: it should start flat and end at 0.": np.exp(-t),
        "A parabola ends flat, but does not start so.": (1 - t) ** 2,
        "It rises: the sign of the cosine.": (1 - cos(np.pi * t)) / 2,
        "It rises: 1 - t / T is what is left, and the angle belongs to what is done.": 1 - right,
        "A sine has its steepest place where a cosine is flat: at the start.": (1 + np.sin(np.pi * t)) / 2,
        "A sine falls steeply at the start: it should start flat.": 1 - np.sin(np.pi * t / 2),
        "Degrees? np.cos takes radians.": (1 + cos(180 * t)) / 2,
        "The angle goes to π, not to 1.": (1 + cos(t)) / 2,
        "The angle grows by π in each epoch: divide by the number of epochs.": (1 + cos(np.pi * done)) / 2,
        "The angle is π times what is done, divided by all: the fraction is turned over.": turned,
        "A negative rate is cut off at 0: shift and halve it instead.": np.maximum(cos(np.pi * t), 0),
        "Without its sign the second half rises again: shift and halve it instead.": np.abs(cos(np.pi * t)),
        "Ten epochs are those of the notebook: the function is told how many, `epochs`.":
            (1 + cos(np.pi * done / 10)) / 2,
        "Counted from 1? After 0 epochs the share is 1.": (1 + cos(np.pi * (done + 1) / epochs)) / 2,
        "It comes down to 0 one epoch too soon: after all epochs, not before the last.":
            (1 + cos(np.pi * done / (epochs - 1))) / 2,
        "It does not come down to 0: it ends after `epochs`, not one later.": (1 + cos(np.pi * done / (epochs + 1))) / 2,
        "// leaves whole numbers, so that the rate stays at 1 to the end: divide with /.":
            (1 + cos(np.pi * (done // epochs))) / 2,
        "That is the rate: only its share of the first one was asked for, which begins at 1.": 0.01 * right,
        "Squared: the cosine itself, shifted and halved.": right**2,
        "It stays at 1.": np.ones(epochs + 1),
    }  # fmt: skip


@exercise(4, "your own tag", found="first")
def your_own_tag(guess: str, slope: Callable, log_slopes: Callable, seed: int = 0) -> str:
    """Slopes of known predictions, then those of ALS as read from the file."""
    guessed(guess, ("first", "last", "between"))
    with Together() as same:
        for rng in cases(seed):
            values = rng.integers(1, 6, 12)
            part = Ratings(np.zeros(12, int), np.arange(12), values, 1, 12, (1, 5, 1))
            predicted = 3 + rng.uniform(0.2, 1) * (values - 3) + rng.normal(0, 0.5, 12)
            known = Factors(0.0, np.zeros(1), predicted, np.zeros((1, 0)), np.zeros((12, 0)))
            same.agree(slope(known, part), _slope(predicted, values), "the slope of 12 ratings over their predictions",
                       _wrong_slopes(predicted, values), tolerance=1e-4,
                       cause="How much do the ratings rise for one star more of prediction? By least squares over all pairs.")  # fmt: skip
    ratings, _ = simulate_ratings(60, 40, 900, seed=seed)
    _logged_slopes(log_slopes, *splits.random_split(ratings, seed=seed))
    return "20 known slopes, and four sweeps read back from the file"


def _logged_slopes(log_slopes: Callable, train: Ratings, valid: Ratings) -> None:
    expected, on_train = _slopes_of(20, train, valid, train)
    of_ten, of_valid = _slopes_of(10, train, valid)[0], _slopes_of(20, valid, train, valid)
    fifteen, errors = _slopes_of(20, train, valid, sweeps=15)[0], []

    def judge(fitted):
        errors.append(metrics.rmse(fitted, valid))

    least_squares.als(train, 20, sweeps=4, watch=judge, progress=False)
    with _folder() as folder:
        log_slopes(train, valid, folder / "run", 4)
        steps, values = _written(folder / "run", "slope")
    agree(
        values, expected, "the slopes after each of 4 sweeps, as the file has them",
        {
            "On the training part? The slope is that of `valid`.": on_train,
            "10 factors? The docstring says 20.": of_ten,
            "It is trained on `valid`: `train` and `valid` are the other way round.": of_valid[0],
            "It is trained and judged on `valid`: train on `train`.": of_valid[1],
            "15 sweeps? That is the default of mf.als: hand on `sweeps`.": fifteen,
            "This is the RMSE. What else does the lesson's histogram tell?": errors,
            "Value and step are the other way round: add_scalar(tag, value, step).": np.arange(1, 5),
            "Value and step are the other way round: add_scalar(tag, value, step), and steps from 1.": np.arange(4),
            "The last sweep alone: write one in each call of `watch`.": expected[-1:],
            "The first sweep is missing.": expected[1:],
            "The last sweep is missing.": expected[:-1],
            "The first slope in every sweep: compute it anew in each call of `watch`.": np.full(4, expected[0]),
            "The last model in every sweep: `watch` is handed each one.": np.full(4, expected[-1]),
        },
        cause="20 factors, and all else as mf.als has it.", tolerance=1e-3,
    )  # fmt: skip
    agree(
        steps, np.arange(1, 5), "the steps",
        {
            "All at step 0: hand the step to add_scalar.": np.zeros(4),
            "Sweeps count from 1, as in the logs of mf.als: step 0 would be the start.": np.arange(4),
            "One step for all? Each sweep has its own.": np.full(4, 4),
            "Always step 1: does the count begin anew in each call of `watch`?": np.ones(4),
            "They count one too far: the first sweep is 1.": np.arange(2, 6),
        },
    )  # fmt: skip


def _slopes_of(n_factors: int, train: Ratings, *parts: Ratings, sweeps: int = 4) -> list[list[float]]:
    """After each sweep of ALS, on each of the parts."""
    found: list[list[float]] = [[] for _ in parts]

    def watch(fitted):
        for part, kept in zip(parts, found, strict=True):
            kept.append(_slope(fitted.predict(part.users, part.items), part.values))

    least_squares.als(train, n_factors, sweeps=sweeps, watch=watch, progress=False)
    return found


def _slope(predicted: Any, values: Any) -> float:
    return float(np.polyfit(np.asarray(predicted, float), np.asarray(values, float), 1)[0])


def _wrong_slopes(predicted: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    right, n, errors = _slope(predicted, values), len(values), values - predicted
    correlation = float(np.corrcoef(predicted, values)[0, 1])
    return {
        "That is the slope of the predictions over the ratings: x and y are the other way round.":
            _slope(values, predicted),
        "x and y are the other way round; and np.cov divides by n - 1, np.var by n.":
            _slope(values, predicted) * n / (n - 1),
        "Once each is sorted, a rating no longer stands beside its own prediction.":
            _slope(np.sort(predicted), np.sort(values)),
        "That is the line through two points, the lowest and the highest: all pairs count.":
            float(np.diff(values[[predicted.argmin(), predicted.argmax()]])[0] / np.ptp(predicted)),
        "That is the constant: polyfit gives the slope first.": float(np.polyfit(predicted, values, 1)[1]),
        "That is the line through zero: it needs a constant.": float(predicted @ values / (predicted @ predicted)),
        "That is the correlation: how close to a line they are, not how steep it is.": correlation,
        "That is the correlation squared, the share of explained variance: it does not say how steep the line is.":
            correlation**2,
        "That is a ratio of standard deviations. A slope also counts how well the two go together.":
            float(values.std() / predicted.std()),
        "That is a ratio of means: a slope is about how they vary.": float(values.mean() / predicted.mean()),
        "np.cov divides by n - 1 and np.var by n: take both of the same kind.": right * n / (n - 1),
        "That is the covariance: divide by the variance of the predictions.": right * predicted.var(),
        "That is the covariance: divide by the variance of the predictions, not by n - 1.":
            right * predicted.var() * n / (n - 1),
        "Both numbers of the line: the slope is the first.": np.polyfit(predicted, values, 1),
        "Both numbers of the line, constant first: the slope alone.": np.polyfit(predicted, values, 1)[::-1],
        "That is the slope of the errors: of the ratings it is one more.": _slope(predicted, errors),
        "That is a parabola's first number: degree 1 is a line.": float(np.polyfit(predicted, values, 2)[0]),
        "The predictions are clipped: take them as they are.": _slope(np.clip(predicted, 1, 5), values),
        "The predictions are rounded: take them as they are.": _slope(np.round(predicted), values),
        "That is the RMSE: how far they are off, and not how they rise.": float(np.sqrt(np.mean(errors**2))),
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
    cause = "One tag, under that name; and is the writer closed, so that all is written?"
    if len(tags) > 1:
        cause = "One tag alone was asked for." if tag in tags else "One tag for all: the step tells the values apart."
    elif not tags:
        cause = "The file is empty: is anything added to it, and is the writer closed, so that all is written?"
    require(tags == [tag], "the tags in the file", tag, ", ".join(tags) or "none", cause)
    scalars = events.Scalars(tag)
    return np.array([event.step for event in scalars]), np.array([event.value for event in scalars])
