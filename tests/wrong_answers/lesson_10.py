"""What learners typically write in the exercises to lesson 10, and words of the hint that each deserves."""

from pathlib import Path

import numpy as np

import mfhelpers as mf


def smoothing(first=None, swap=False, divide=True, offset=0, feed_back=False):
    def smoothed(values, weight):
        w = 1 - weight if swap else weight
        s, drawn = 0.0 if first is None else values[0], []
        for t, value in enumerate(values, 1):
            s = w * s + (1 - w) * value
            drawn.append(s / (1 - w ** (t + offset)) if divide else s)
            s = drawn[-1] if feed_back else s
        return np.array(drawn)

    return smoothed


def one_behind(values, weight):
    s, drawn = 0.0, []
    for t, value in enumerate(values, 1):
        drawn.append(s / (1 - weight**t))
        s = weight * s + (1 - weight) * value
    return np.array(drawn)


def of_predictions(of):
    return lambda factors, part: of(factors.predict(part.users, part.items), part.values)


def logging(place, tag="RMSE/validation", first=0, with_step=True):
    def log_curve(folder, run, curve):
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(place(Path(folder), run)) as writer:
            for step, value in enumerate(curve, first):
                writer.add_scalar(tag.format(run=run), value, *([step] if with_step else []))

    return log_curve


def right_place(folder, run):
    return folder / run


def nothing_written(folder, run, curve):
    pass


def right_beginnings(steps):
    return np.flatnonzero(np.diff(steps, prepend=np.inf) <= 0)


def quarter(done, epochs):
    return np.cos(np.pi * done / epochs / 2)


def right_falling(done, epochs):
    return (1 + np.cos(np.pi * done / epochs)) / 2


def slope(factors, part):
    return np.polyfit(factors.predict(part.users, part.items), part.values, 1)[0]


def turned(factors, part):
    return np.polyfit(part.values, factors.predict(part.users, part.items), 1)[0]


def constant(factors, part):
    return np.polyfit(factors.predict(part.users, part.items), part.values, 1)[1]


def correlation(factors, part):
    return np.corrcoef(factors.predict(part.users, part.items), part.values)[0, 1]


def through_zero(factors, part):
    predicted = factors.predict(part.users, part.items)
    return predicted @ part.values / (predicted @ predicted)


def logged(first=1, on_train=False, with_step=True, tag="slope", at_the_end=False):
    def log_slopes(train, valid, folder, sweeps):
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(folder) as writer:
            count = [first]

            def watch(factors):
                value = slope(factors, train if on_train else valid)
                writer.add_scalar(tag, value, *([count[0]] if with_step else []))
                count[0] += 1

            fitted = mf.als(train, 20, sweeps=sweeps, watch=None if at_the_end else watch, progress=False)
            if at_the_end:
                watch(fitted)

    return log_slopes


WRONG = {
    "the_smoothed_minimum": [
        (("later", smoothing(divide=False)), "far too low"),
        (("later", smoothing(first=1, divide=False)), "begins at the first value"),
        (("later", smoothing(swap=True)), "the new value has 1 - w"),
        (("later", smoothing(feed_back=True)), "only what is drawn is divided"),
        (("later", smoothing(offset=1)), "t counts from 1"),
        (("later", lambda values, weight: values), "as they were"),
        (("later", lambda values, weight: np.cumsum(values) / np.arange(1, len(values) + 1)), "mean of all values"),
        (("later", lambda values, weight: smoothing(divide=False)(values, weight) / (1 - weight)), "at every step"),
        (("later", lambda values, weight: smoothing()(values, weight) / (1 - weight)), "weight of its own"),
        (("later", one_behind), "one behind"),
        (
            (
                "later",
                lambda values, weight: (
                    smoothing(divide=False)(values, weight) / (1 - weight) ** np.arange(1, len(values) + 1)
                ),
            ),
            "the power belongs to w",
        ),
        (("later", lambda values, weight: smoothing()(values, weight)[-1]), "the last number alone"),
        (("never", smoothing()), "One of these is asked for"),
    ],
    "two_runs_in_one": [
        ((logging(lambda folder, run: folder), right_beginnings), "a run is a folder"),
        ((logging(lambda folder, run: folder, tag="{run}/RMSE"), right_beginnings), "a run is a folder"),
        ((logging(right_place, tag="RMSE"), right_beginnings), "under that name"),
        ((logging(right_place, first=1), right_beginnings), "from 0"),
        ((logging(right_place, with_step=False), right_beginnings), "hand the step"),
        ((nothing_written, right_beginnings), "Nothing was written"),
        ((logging(right_place), lambda steps: np.flatnonzero(np.diff(steps) <= 0)), "np.diff is one shorter"),
        ((logging(right_place), lambda steps: right_beginnings(steps)[1:]), "begins at place 0"),
        ((logging(right_place), lambda steps: np.flatnonzero(steps == 0)), "where the steps stop rising"),
        ((logging(right_place), lambda steps: np.r_[True, np.diff(steps) <= 0]), "This is a mask"),
        ((logging(right_place), lambda steps: steps[right_beginnings(steps)]), "not their places"),
        (
            (logging(right_place), lambda steps: np.flatnonzero(np.diff(steps, prepend=np.inf) < 0)),
            "stays where it was",
        ),
        (
            (logging(right_place), lambda steps: np.r_[0, np.flatnonzero(np.diff(steps) <= 0)]),
            "The others are one too early",
        ),
        ((logging(lambda folder, run: folder / f"run {run}"), right_beginnings), "of its name"),
    ],
    "a_rate_that_changes": [
        (("lower", lambda done, epochs: np.cos(np.pi * done / epochs)), "shift and halve"),
        (("lower", quarter), "A quarter of a cosine"),
        (("lower", lambda done, epochs: 2 * right_falling(done, epochs)), "From 2 to 0"),
        (("lower", lambda done, epochs: (1 + np.cos(180 * done / epochs)) / 2), "Degrees"),
        (("lower", lambda done, epochs: right_falling(2 * done, epochs)), "A whole cosine"),
        (("lower", lambda done, epochs: right_falling(done + 1, epochs)), "begins below 1"),
        (("lower", lambda done, epochs: right_falling(done, epochs + 1)), "does not come down to 0"),
        (("lower", lambda done, epochs: 0.01 * right_falling(done, epochs)), "the rate itself"),
        (("slower", right_falling), "One of these is asked for"),
        (("lower", lambda done, epochs: 1 - done / epochs), "A straight line"),
        (("lower", lambda done, epochs: right_falling(done, epochs - 1)), "one epoch too soon"),
        (("lower", lambda done, epochs: 1 - right_falling(done, epochs)), "It rises"),
    ],
    "your_own_tag": [
        (("first", turned, logged()), "x and y are the other way round"),
        (("first", constant, logged()), "That is the constant"),
        (("first", through_zero, logged()), "the line through zero"),
        (("first", correlation, logged()), "That is the correlation"),
        (("first", slope, logged(on_train=True)), "On the training part"),
        (("first", of_predictions(lambda x, y: np.mean(y - x)), logged()), "mean error"),
        (("first", of_predictions(lambda x, y: np.cov(x, y, ddof=0)[0, 1]), logged()), "covariance"),
        (("first", of_predictions(lambda x, y: np.corrcoef(x, y)[0, 1] ** 2), logged()), "square of the correlation"),
        (("first", of_predictions(lambda x, y: y.std() / x.std()), logged()), "ratio of standard deviations"),
        (("always", slope, logged()), "One of these is asked for"),
        (("first", slope, logged(first=0)), "Sweeps count from 1"),
        (("first", slope, logged(with_step=False)), "All at step 0"),
        (("first", slope, logged(at_the_end=True)), "The last sweep alone"),
        (("first", slope, logged(tag="Slope of ALS")), "under that name"),
    ],
}
