"""What learners typically write in the exercises to lesson 10, and words of the hint that each deserves."""

import tempfile
from pathlib import Path

import numpy as np

import mfhelpers as mf


def smoothing(first=None, swap=False, divisor=lambda w, t: 1 - w**t, feed_back=False, new=None, kept=np.array):
    def smoothed(values, weight):
        w = 1 - weight if swap else weight
        s, drawn = 0.0 if first is None else values[0], []
        for t, value in enumerate(values, 1):
            s = w * s + (1 - w if new is None else new) * value
            drawn.append(s / divisor(w, t))
            s = drawn[-1] if feed_back else s
        return kept(drawn)

    return smoothed


def in_place(values, weight):
    s = 0.0
    for t, value in enumerate(values.tolist(), 1):
        s = weight * s + (1 - weight) * value
        values[t - 1] = s / (1 - weight**t)
    return values


def logging(place, tag="RMSE/validation", first=0, step=lambda step: [step], values=lambda curve: curve, add=None):
    def log_curve(folder, run, curve):
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(place(Path(folder), run)) as writer:
            for number, value in enumerate(values(curve), first):
                if add:
                    add(writer, tag, value, number, run)
                else:
                    writer.add_scalar(tag.format(run=run, step=number), value, *step(number))

    return log_curve


def right_place(folder, run):
    return folder / run


def nothing_written(folder, run, curve):
    pass


def elsewhere(folder, run, curve):
    with tempfile.TemporaryDirectory() as other:
        logging(right_place)(other, run, curve)


def two_tags(writer, tag, value, step, run):
    writer.add_scalar(tag, value, step)
    writer.add_scalar("step", step, step)


def plural(writer, tag, value, step, run):
    writer.add_scalars(tag, {run: value}, step)


def turned_round(writer, tag, value, step, run):
    writer.add_scalar(tag, step, value)


def right_beginnings(steps):
    return np.flatnonzero(np.diff(steps, prepend=np.inf) <= 0)


def pieces(steps):
    return np.diff(np.r_[right_beginnings(steps), len(steps)])


def falls(shape, shift=0, of=lambda epochs: epochs):
    def falling(done, epochs):
        return shape((done + shift) / of(epochs))

    return falling


def half_cosine(t):
    return (1 + np.cos(np.pi * t)) / 2


def line(factors, part, degree=1):
    return np.polyfit(factors.predict(part.users, part.items), part.values, degree)


def slope(factors, part):
    return line(factors, part)[0]


def over(measure):
    """A slope's stead: some measure of the predictions and the ratings."""
    return lambda factors, part: measure(
        factors.predict(part.users, part.items).astype(float), part.values.astype(float)
    )


def two_points(predicted, values):
    ends = [predicted.argmin(), predicted.argmax()]
    return np.diff(values[ends])[0] / np.diff(predicted[ends])[0]


def logged(
    first=1, on_train=False, step=lambda step: [step], tag="slope", when=lambda step, sweeps: True, n_factors=20,
    learn_from_valid=False, sweeps=lambda sweeps: sweeps, measure=slope, add=None,
):  # fmt: skip
    def log_slopes(train, valid, folder, n_sweeps):
        from torch.utils.tensorboard import SummaryWriter

        count = [first]
        judged, known = (train if on_train else valid), (valid if learn_from_valid else train)
        with SummaryWriter(folder) as writer:

            def watch(factors):
                if when(count[0], n_sweeps):
                    value = measure(factors, judged)
                    if add:
                        add(writer, tag, value, count[0], None)
                    else:
                        writer.add_scalar(tag.format(step=count[0]), value, *step(count[0]))
                count[0] += 1

            mf.als(known, n_factors, sweeps=sweeps(n_sweeps), watch=watch, progress=False)

    return log_slopes


def after_the_training(train, valid, folder, sweeps):
    from torch.utils.tensorboard import SummaryWriter

    fitted = mf.als(train, 20, sweeps=sweeps, progress=False)
    with SummaryWriter(folder) as writer:
        for step in range(1, sweeps + 1):
            writer.add_scalar("slope", slope(fitted, valid), step)


def never_watched(train, valid, folder, sweeps):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder):
        mf.als(train, 20, sweeps=sweeps, progress=False)


WRONG = {
    "the_smoothed_minimum": [
        (("later", smoothing(divisor=lambda w, t: 1)), "far too low"),
        (("later", smoothing(first=1, divisor=lambda w, t: 1)), "begins at the first value"),
        (("later", smoothing(swap=True)), "the new value has 1 - w"),
        (("later", smoothing(feed_back=True)), "only what is drawn is divided"),
        (("later", smoothing(divisor=lambda w, t: 1 - w ** (t + 1))), "the first value is divided by 1 - w."),
        (("later", smoothing(divisor=lambda w, t: 1 - np.float64(w) ** (t - 1))), "1 - w^0, which is 0"),
        (("later", smoothing(divisor=lambda w, t: 1 - w)), "s over 1 - w throughout"),
        (("later", smoothing(divisor=lambda w, t: 1 / (1 - w**t))), "Multiplied by"),
        (("later", smoothing(divisor=lambda w, t: np.float64(1) - w * t)), "raised to the power"),
        (("later", smoothing(divisor=lambda w, t: np.float64(w) ** t or np.nan)), "Divided by w^t"),
        (("later", smoothing(new=1.0)), "which is missing"),
        (
            ("later", lambda values, weight: smoothing(divisor=lambda w, t: 1 - w ** len(values))(values, weight)),
            "that of the last",
        ),
        (("later", smoothing(kept=lambda drawn: drawn[-1])), "One number?"),
        (("later", smoothing(kept=lambda drawn: np.array([0.0, *drawn]))), "is not drawn"),
        (("later", smoothing(kept=list)), "makes an array of a list"),
        (("later", in_place), "belongs to the caller"),
        (("later", lambda values, weight: values), "as they were"),
        (("later", lambda values, weight: np.cumsum(values) / np.arange(1, len(values) + 1)), "a mean of all so far"),
        (
            ("later", lambda values, weight: weight * np.r_[values[0], values[:-1]] + (1 - weight) * values),
            "one before alone",
        ),
        (("later", lambda values, weight: smoothing()(values[::-1], weight)[::-1]), "From the last to the first"),
        (("at first", smoothing()), "One of these is asked for"),
    ],
    "two_runs_in_one": [
        ((logging(lambda folder, run: folder), right_beginnings), "a run is a folder"),
        ((logging(lambda folder, run: folder, tag="{run}/RMSE"), right_beginnings), "a run is a folder"),
        ((logging(lambda folder, run: folder / "run"), right_beginnings), "The same folder for both"),
        ((logging(lambda folder, run: folder / f"run {run}"), right_beginnings), "of its name alone"),
        ((logging(lambda folder, run: folder / run / "RMSE"), right_beginnings), "A folder too deep"),
        ((logging(right_place, add=plural), right_beginnings), "add_scalars makes"),
        ((logging(right_place, tag="RMSE"), right_beginnings), "under that name"),
        ((logging(right_place, tag="RMSE/{step}"), right_beginnings), "One tag for all"),
        ((logging(right_place, add=two_tags), right_beginnings), "One tag alone"),
        ((logging(right_place, add=turned_round), right_beginnings), "add_scalar(tag, value, step)"),
        ((logging(right_place, first=1), right_beginnings), "from 0"),
        ((logging(right_place, step=lambda step: []), right_beginnings), "hand the step"),
        ((logging(right_place, step=lambda step: [step + 1]), right_beginnings), "The docstring says from 0"),
        ((logging(right_place, values=lambda curve: curve[-1:]), right_beginnings), "The last value alone"),
        ((logging(right_place, values=lambda curve: curve[:1]), right_beginnings), "The first value alone"),
        ((logging(right_place, values=lambda curve: curve[:-1]), right_beginnings), "The last value is missing"),
        ((logging(right_place, values=lambda curve: curve[::-1]), right_beginnings), "From the last to the first"),
        ((nothing_written, right_beginnings), "Nothing was written"),
        ((elsewhere, right_beginnings), "the run's folder in `folder`"),
        ((logging(right_place), lambda steps: np.flatnonzero(np.diff(steps) <= 0)), "np.diff is one shorter"),
        (
            (logging(right_place), lambda steps: np.r_[0, right_beginnings(steps)[1:] - 1]),
            "The others are one too early",
        ),
        ((logging(right_place), lambda steps: right_beginnings(steps)[1:]), "begins at place 0"),
        ((logging(right_place), lambda steps: np.flatnonzero(steps == 0)), "where the steps stop rising"),
        ((logging(right_place), lambda steps: np.flatnonzero(steps == steps.min())), "or at the smallest"),
        (
            (logging(right_place), lambda steps: np.flatnonzero(np.diff(steps, prepend=np.inf) < 0)),
            "stays where it was",
        ),
        (
            (logging(right_place), lambda steps: np.flatnonzero(np.diff(steps) < 0) + 1),
            "place 0, and a step that stays",
        ),
        (
            (logging(right_place), lambda steps: np.flatnonzero(np.diff(steps, prepend=0) <= 0)),
            "only if it begins at step 0",
        ),
        ((logging(right_place), lambda steps: np.flatnonzero(np.diff(steps, prepend=-9) != 1)), "may leave steps out"),
        (
            (logging(right_place), lambda steps: np.flatnonzero(np.diff(steps, prepend=np.inf) > 0)),
            "a training goes on",
        ),
        ((logging(right_place), lambda steps: np.flatnonzero(np.diff(steps) > 0)), "counted one too early"),
        (
            (logging(right_place), lambda steps: np.sort(np.unique(steps, return_index=True)[1])),
            "first places of each step",
        ),
        (
            (logging(right_place), lambda steps: [*right_beginnings(steps), len(steps)]),
            "no training behind",
        ),
        ((logging(right_place), lambda steps: np.r_[right_beginnings(steps)[1:] - 1, len(steps) - 1]), "of the ends"),
        ((logging(right_place), lambda steps: len(right_beginnings(steps))), "how many trainings"),
        ((logging(right_place), pieces), "lengths of the trainings"),
        ((logging(right_place), lambda steps: np.diff(steps, prepend=np.inf) <= 0), "This is a mask"),
        ((logging(right_place), lambda steps: np.flatnonzero(steps <= np.roll(steps, 1))), "place -1 is the end"),
        ((logging(right_place), lambda steps: np.where(np.diff(steps, prepend=np.inf) <= 0)), "a tuple of arrays"),
        ((logging(right_place), lambda steps: np.argwhere(np.diff(steps, prepend=np.inf) <= 0)), "gives a column"),
        ((logging(right_place), lambda steps: steps[right_beginnings(steps)]), "not their places"),
        ((logging(right_place), lambda steps: np.append([], right_beginnings(steps))), "whole numbers"),
    ],
    "a_rate_that_changes": [
        (("lower", falls(lambda t: np.cos(np.pi * t))), "shift and halve"),
        (("lower", falls(lambda t: 1 + np.cos(np.pi * t))), "From 2 to 0"),
        (("lower", falls(lambda t: 1 + np.cos(np.pi * t) / 2)), "the 1 as well"),
        (("lower", falls(lambda t: np.cos(np.pi * t) / 2)), "shift it, too"),
        (("lower", falls(lambda t: np.cos(np.pi * t / 2))), "A quarter of a cosine"),
        (("lower", falls(lambda t: half_cosine(2 * t))), "A whole cosine"),
        (("lower", falls(lambda t: half_cosine(t / 2))), "ends at 1/2"),
        (("lower", lambda done, epochs: 0.9**done), "It does not end at 0"),
        (("lower", falls(lambda t: 1 - t, shift=1)), "It does not begin at 1"),
        (("lower", falls(lambda t: 1 - t**2)), "not along half a cosine"),
        (("lower", falls(lambda t: 1 - t)), "A straight line"),
        (("lower", falls(lambda t: np.exp(-t))), "An exponential"),
        (("lower", falls(lambda t: (1 - t) ** 2)), "A parabola"),
        (("lower", falls(lambda t: (1 + np.sin(np.pi * t)) / 2)), "A sine has its steepest"),
        (("lower", falls(lambda t: 1 - np.sin(np.pi * t / 2))), "A sine falls steeply"),
        (("lower", falls(lambda t: half_cosine(180 * t / np.pi))), "radians"),
        (("lower", falls(lambda t: half_cosine(t / np.pi))), "not to 1"),
        (("lower", falls(half_cosine, of=lambda epochs: 1)), "by π in each epoch"),
        (("lower", lambda done, epochs: half_cosine(np.float64(epochs) / done)), "turned over"),
        (("lower", falls(lambda t: max(np.cos(np.pi * t), 0))), "cut off at 0"),
        (("lower", falls(lambda t: abs(np.cos(np.pi * t)))), "Without its sign"),
        (("lower", falls(half_cosine, of=lambda epochs: 10)), "Ten epochs are those"),
        (("lower", falls(half_cosine, shift=1)), "Counted from 1"),
        (("lower", falls(half_cosine, of=lambda epochs: epochs - 1)), "one epoch too soon"),
        (("lower", falls(half_cosine, of=lambda epochs: epochs + 1)), "not one later"),
        (("lower", lambda done, epochs: half_cosine(done // epochs)), "// leaves whole numbers"),
        (("lower", falls(lambda t: 0.01 * half_cosine(t))), "only its share"),
        (("lower", falls(lambda t: half_cosine(t) ** 2)), "Squared"),
        (("lower", falls(lambda t: 1.0)), "It stays at 1"),
        (("lower", falls(lambda t: 1 - half_cosine(t))), "It rises"),
        (("lower", lambda done, epochs: None), "end in `return`"),
    ],
    "your_own_tag": [
        (("first", over(lambda p, r: np.polyfit(r, p, 1)[0]), logged()), "x and y are the other way round"),
        (("first", lambda *given: line(*given)[1], logged()), "That is the constant"),
        (("first", over(lambda p, r: np.cov(p, r)[0, 1] / r.var()), logged()), "the other way round; and np.cov"),
        (("first", over(lambda p, r: np.polyfit(np.sort(p), np.sort(r), 1)[0]), logged()), "Once each is sorted"),
        (("first", over(two_points), logged()), "the lowest and the highest"),
        (("first", over(lambda p, r: p @ r / (p @ p)), logged()), "the line through zero"),
        (("first", over(lambda p, r: np.corrcoef(p, r)[0, 1]), logged()), "how close to a line"),
        (("first", over(lambda p, r: np.corrcoef(p, r)[0, 1] ** 2), logged()), "correlation squared"),
        (("first", over(lambda p, r: r.std() / p.std()), logged()), "ratio of standard deviations"),
        (("first", over(lambda p, r: r.mean() / p.mean()), logged()), "ratio of means"),
        (("first", over(lambda p, r: np.cov(p, r)[0, 1] / p.var()), logged()), "np.cov divides by n - 1"),
        (("first", over(lambda p, r: np.cov(p, r)[0, 1]), logged()), "by the variance of the predictions"),
        (("first", line, logged()), "the slope is the first"),
        (("first", lambda *given: line(*given)[::-1], logged()), "constant first"),
        (("first", over(lambda p, r: np.polyfit(p, r - p, 1)[0]), logged()), "slope of the errors"),
        (("first", lambda *given: line(*given, degree=2)[0], logged()), "A parabola's".lower()),
        (("first", over(lambda p, r: np.polyfit(p.clip(1, 5), r, 1)[0]), logged()), "are clipped"),
        (("first", over(lambda p, r: np.polyfit(p.round(), r, 1)[0]), logged()), "are rounded"),
        (("first", mf.rmse, logged()), "how far they are off"),
        (("first", slope, logged(on_train=True)), "On the training part"),
        (("first", slope, logged(learn_from_valid=True)), "train on `train`"),
        (("first", slope, logged(learn_from_valid=True, on_train=True)), "are the other way round"),
        (("first", slope, logged(n_factors=10)), "The docstring says 20"),
        (("first", slope, logged(sweeps=lambda sweeps: 15)), "hand on `sweeps`"),
        (("first", slope, logged(sweeps=lambda sweeps: sweeps - 1)), "The last sweep is missing"),
        (("first", slope, logged(measure=mf.rmse)), "This is the RMSE"),
        (("first", slope, logged(add=turned_round)), "add_scalar(tag, value, step)"),
        (("first", slope, logged(first=0)), "Sweeps count from 1"),
        (("first", slope, logged(first=2)), "one too far"),
        (("first", slope, logged(step=lambda step: [])), "All at step 0"),
        (("first", slope, logged(step=lambda step: [1])), "Always step 1"),
        (("first", slope, logged(when=lambda step, sweeps: step == sweeps)), "The last sweep alone"),
        (("first", slope, logged(when=lambda step, sweeps: step > 1)), "The first sweep is missing"),
        (("first", slope, after_the_training), "The last model in every sweep"),
        (("first", slope, never_watched), "The file is empty"),
        (("first", slope, logged(tag="Slope of ALS")), "under that name"),
        (("first", slope, logged(tag="slope/{step}")), "One tag for all"),
    ],
}
