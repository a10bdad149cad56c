"""What learners typically write in the exercises to lesson 02, and words of the hint that each deserves."""

import copy

import numpy as np
import torch

import mfhelpers as mf

_rng = np.random.default_rng(0)
FAKE = mf.Ratings.from_arrays(
    *np.divmod(_rng.choice(1_000_000, 10_000, replace=False), 1000), _rng.integers(1, 5, 10_000)
)
ROWS = ([[3, 3], [0, 0]], [[6, 6], [0, 0]], [[0.5, 0.5], [0, 0]])


def passing(forget=True, half=1.0, backwards=False, moving=True):
    def one_pass(model, users, items, values, lr):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        order = range(len(values))
        for place in reversed(order) if backwards else order:
            if forget:
                optimizer.zero_grad()
            (half * (model(users[place], items[place]) - values[place]).square()).backward()
            if moving:
                optimizer.step()

    return one_pass


def all_at_once(model, users, items, values, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    (model(users, items) - values).square().sum().backward()
    optimizer.step()


def memorised(**options):
    def learn(fitting):
        fitting = options.get("of", fitting)
        start = {"mean": 2.5, "n_factors": 20} | options.get("start", {})
        model = mf.MatrixFactorization(fitting.n_users, fitting.n_items, **start)
        mf.fit(model, fitting, **({"epochs": 50, "lr": 0.01} | options.get("fit", {})))
        return model

    return learn


def history(fitting):
    model = mf.MatrixFactorization(fitting.n_users, fitting.n_items, mean=2.5)
    how = mf.History()
    mf.fit(model, fitting, epochs=1, history=how)
    return how


def fitted(
    kind=mf.MatrixFactorization, mean=None, patience=3, watch="valid", width=None, turned=False, epochs=100, judge="test",
    clip=False, of_test=False,
):  # fmt: skip
    def fitted_and_true(train, valid, test, truth, k):
        level = (test if of_test else train).values.mean(dtype=np.float64) if mean is None else mean
        model = kind(train.n_users, train.n_items, width or k, mean=level)
        if watch == "train":
            train, valid = valid, train
        how = {} if epochs is None else {"epochs": epochs}
        mf.fit(model, train, test if watch == "test" else valid, patience=patience, **how)
        part = {"test": test, "valid": valid, "train": train}[judge]
        errors = mf.rmse(model, part, clip=clip), mf.rmse(truth, part, clip=clip)
        return errors[::-1] if turned else errors

    return fitted_and_true


def quiet_aim(values):
    return np.full(len(values), values.mean()), values.var()


def loud(predicted, values):
    return (predicted.reshape(values.shape) - values).square().mean()


def squeezed(predicted, values):
    return (predicted.squeeze() - values).square().mean()


def flattened(predicted, values):
    return (predicted.reshape(-1) - values).square().mean()


def summed_over_columns(predicted, values):
    return (predicted.reshape(len(predicted), -1).sum(-1) - values).square().mean()


def at_the_mean(loss):
    return lambda values: (np.full(len(values), values.mean()), loss(values))


def loss_of(of_errors):
    return lambda predicted, values: of_errors(predicted.reshape(values.shape) - values)


def step_outside(model, users, items, values, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for place in range(len(values)):
        optimizer.zero_grad()
        loss = (model(users[place], items[place]) - values[place]).square()
    loss.backward()
    optimizer.step()


def first_alone(model, users, items, values, lr):
    passing()(model, users[:1], items[:1], values[:1], lr)


def by_adam(model, users, items, values, lr, steps=None):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    every = list(range(len(values))) if steps is None else [...] * steps
    for place in every:
        optimizer.zero_grad()
        (model(users[place], items[place]) - values[place]).square().sum().backward()
        optimizer.step()


def of_a_copy(function):
    return lambda model, *rest: function(copy.deepcopy(model), *rest)


def stern(predicted, values):
    assert predicted.shape == values.shape
    return (predicted - values).square().mean()


def mean_at_once(model, users, items, values, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    (model(users, items) - values).square().mean().backward()
    optimizer.step()


def twice_over(model, users, items, values, lr):
    for _ in range(2):
        passing()(model, users, items, values, lr)


def own_rate(function, rate=0.01):
    return lambda model, users, items, values, lr, *steps: function(model, users, items, values, rate, *steps)


def to_column(predicted, values):
    return (predicted - values[:, None]).square().mean()


def looping(forget, summed=True, momentum=0.0, factor=1.0, extra=0):
    def repaired(model, users, items, values, lr, steps):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
        if forget == "once":
            optimizer.zero_grad()
        for _ in range(steps + extra):
            if forget == "before":
                optimizer.zero_grad()
            squares = (model(users, items) - values).square()
            (factor * (squares.sum() if summed else squares.mean())).backward()
            if forget == "between":
                optimizer.zero_grad()
            optimizer.step()
            if forget == "after":
                optimizer.zero_grad()

    return repaired


def one_gradient(model, users, items, values, lr, steps):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    optimizer.zero_grad()
    (model(users, items) - values).square().sum().backward()
    for _ in range(steps):
        optimizer.step()


NOISE, GOOD, PILES = "higher", passing(), ("piling", "repaired")

WRONG = {
    "three_times_row_0": [
        (([[1, 1], [0, 0]], *ROWS[1:]), "lookups add up"),
        ((np.full((2, 2), 3), *ROWS[1:]), "Row 1 was not looked up"),
        (([[3, 0], [3, 0]], *ROWS[1:]), "not column 0"),
        ((ROWS[0], ROWS[0], ROWS[2]), "without zero_grad nothing is forgotten"),
        ((*ROWS[:2], [[1, 1], [0, 0]]), "not a third"),
        ((*ROWS[:2], [[6.5, 6.5], [0, 0]]), "nothing is left of the earlier"),
        ((*ROWS[:2], [[1 / 6, 1 / 6], [0, 0]]), "three sixths"),
        ((*ROWS[:2], ROWS[0]), "what a sum gives"),
        ((*ROWS[:2], [[1.5, 1.5], [0, 0]]), "one over six numbers"),
        ((*ROWS[:2], [[0.75, 0.75], [0, 0]]), "the six numbers of these"),
        ((ROWS[0], [[9, 9], [0, 0]], ROWS[2]), "does not square it"),
        ((ROWS[0], [[2, 2], [0, 0]], ROWS[2]), "one lookup for each line"),
        ((3, *ROWS[1:]), "This is one number"),
        (([3, 3], *ROWS[1:]), "row 0 alone"),
        (([[0, 0], [3, 3]], *ROWS[1:]), "rows are exchanged"),
    ],
    "rescue_the_published_loop": [
        (("worse", GOOD, memorised()), "One of these is asked for"),
        ((NOISE, passing(forget=False), memorised()), "zero_grad comes before"),
        ((NOISE, passing(moving=False), memorised()), "Nothing has moved"),
        ((NOISE, passing(half=0.5), memorised()), "Half of each step"),
        ((NOISE, passing(backwards=True), memorised()), "keep their order"),
        ((NOISE, all_at_once, memorised()), "one after the other"),
        ((NOISE, mean_at_once, memorised()), "of the mean of their squares"),
        ((NOISE, first_alone, memorised()), "Only the first rating"),
        ((NOISE, step_outside, memorised()), "Only the last rating"),
        ((NOISE, twice_over, memorised()), "Every rating came twice"),
        ((NOISE, passing(half=-1.0), memorised()), "Uphill"),
        ((NOISE, own_rate(passing()), memorised()), "`lr` is the optimiser's"),
        ((NOISE, own_rate(passing(), 0.1), memorised()), "but 0.1: `lr` is"),
        ((NOISE, by_adam, memorised()), "This is Adam"),
        ((NOISE, of_a_copy(passing()), memorised()), "not of a copy's"),
        ((NOISE, GOOD, memorised(of=FAKE)), "was it fitted to `fitting`"),
        ((NOISE, GOOD, history), "return the model"),
        ((NOISE, GOOD, memorised(fit={"epochs": 2}, start={"init_std": 1})), "Where does it start"),
        ((NOISE, GOOD, memorised(fit={"lr": 1e-6})), "about the constant's"),
        ((NOISE, GOOD, memorised(fit={"epochs": 10})), "It is on its way"),
        ((NOISE, GOOD, memorised(start={"n_factors": 40})), "third argument"),
    ],
    "ratings_with_something_to_learn": [
        ((5, fitted()), "the biases need room"),
        ((6, fitted()), "And b_i?"),
        ((8, fitted()), "needs no column"),
        ((10, fitted()), "product of a number of the user"),
        ((7, fitted(watch="test")), "The test set chose the epoch"),
        ((7, fitted(epochs=None)), "the 20 epochs of mf.fit's default"),
        ((7, fitted(epochs=10)), "Fewer epochs than patience needs"),
        ((7, fitted(patience=5)), "a patience of 5"),
        ((7, fitted(of_test=True)), "knows the test set"),
        ((7, fitted(width=5)), "5 factors, whatever k is"),
        ((7, fitted(width=7)), "7 factors, whatever k is"),
        ((7, fitted(judge="valid")), "RMSE on `valid`"),
        ((7, fitted(judge="train")), "RMSE on `train`"),
        ((7, fitted(clip=True)), "clipped to the scale"),
        ((7, fitted(patience=None)), "no early stopping"),
        ((7, fitted(mean=0)), "Where is the mean"),
        ((7, fitted(mean=3.53)), "not the notebook's own"),
        ((7, fitted(watch="train")), "stopped by `train`"),
        ((7, fitted(width=20)), "pass k on"),
        ((7, fitted(kind=mf.BiasedMatrixFactorization)), "A model with biases"),
        ((7, fitted(turned=True)), "first the fit"),
    ],
    "the_quiet_column": [
        ((lambda values: (values, 0.0), loud), "where an honest loss is smallest"),
        ((lambda values: (np.full(len(values), np.median(values)), values.var()), loud), "The median"),
        ((lambda values: (np.full(len(values), values.mean()), 0.0), loud), "not 0"),
        ((lambda values: (np.full(len(values), values.mean()), values.std()), loud), "no root"),
        ((quiet_aim, lambda predicted, values: (predicted - values).square().mean()), "Still a table"),
        ((quiet_aim, to_column), "Still a table"),
        ((at_the_mean(lambda values: values.var() * len(values)), loud), "not the sum"),
        ((at_the_mean(lambda values: values.var(ddof=1) if len(values) > 1 else 0.0), loud), "A mean divides by n"),
        ((at_the_mean(lambda values: np.abs(values - values.mean()).mean()), loud), "mean absolute error"),
        ((lambda values: (values.mean(), values.var()), loud), "One prediction for each rating"),
        ((lambda values: quiet_aim(values)[::-1], loud), "First the predictions"),
        ((lambda values: (np.full(len(values), (values.min() + values.max()) / 2), values.var()), loud), "the middle"),
        ((lambda values: (quiet_aim(values)[0][:, None], values.var()), loud), "These are right, and a column"),
        ((quiet_aim, lambda predicted, values: (predicted[:, 0] - values).square().mean()), "both a column"),
        ((quiet_aim, stern), "only another number"),
        ((quiet_aim, squeezed), "do not look at the ratings"),
        ((quiet_aim, flattened), "do not look at the ratings"),
        ((quiet_aim, summed_over_columns), "do not look at the ratings"),
        ((quiet_aim, loss_of(lambda e: e.square().mean().sqrt())), "the root of it"),
        ((quiet_aim, loss_of(lambda e: e.abs().mean())), "mean absolute error"),
        ((quiet_aim, loss_of(lambda e: e.mean().square())), "averaged before they are squared"),
        ((quiet_aim, loss_of(lambda e: e.square().mean() / 2)), "no factor of its own"),
        ((quiet_aim, loss_of(lambda e: e.square())), "One error for each rating"),
        ((quiet_aim, lambda predicted, values: loud(predicted, values).item()), "Stay with torch"),
        ((quiet_aim, lambda predicted, values: loud(predicted, values) * len(values)), "That is the sum"),
    ],
    "gradients_that_pile_up": [
        (("piling", looping("before")), "One of these is asked for"),
        ((PILES, looping("never")), "all gradients so far"),
        ((PILES, looping("once")), "the first gradient is still there"),
        ((PILES, looping("between")), "between backward and step"),
        ((PILES, looping("after")), "before the first backward"),
        ((PILES, looping("before", summed=False)), "this loop sums"),
        ((PILES, one_gradient), "predict anew"),
        ((PILES, looping("before", extra=1)), "One step too many"),
        ((PILES, looping("before", extra=-1)), "One step too few"),
        ((PILES, lambda *model_and_ratings: looping("before")(*model_and_ratings[:-1], 1)), "This is one step"),
        ((PILES, looping("before", momentum=0.9)), "lesson 05's momentum"),
        ((PILES, looping("before", factor=-1)), "Uphill"),
        ((PILES, looping("before", factor=0.5)), "Half of each step"),
        ((PILES, own_rate(looping("before"))), "but 0.01: `lr` is"),
        ((PILES, by_adam), "This is Adam"),
        ((PILES, of_a_copy(looping("before"))), "a copy trained"),
    ],
}
