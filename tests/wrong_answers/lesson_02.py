"""What learners typically write in the exercises to lesson 02, and words of the hint that each deserves."""

import numpy as np
import torch

import mfhelpers as mf

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


def by_heart(**options):
    def learn(fitting):
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


def fitted(kind=mf.MatrixFactorization, mean=None, patience=3, watch="valid", width=None, turned=False):
    def fitted_and_true(train, valid, test, truth, k):
        level = train.values.mean() if mean is None else mean
        model = kind(train.n_users, train.n_items, width or k, mean=level)
        mf.fit(model, train, valid if watch == "valid" else test, epochs=100, patience=patience)
        errors = mf.rmse(model, test), mf.rmse(truth, test)
        return errors[::-1] if turned else errors

    return fitted_and_true


def quiet_aim(values):
    return np.full(len(values), values.mean()), values.var()


def loud(predicted, values):
    return (predicted.reshape(-1) - values).square().mean()


def to_column(predicted, values):
    return (predicted - values[:, None]).square().mean()


def looping(forget, summed=True):
    def repaired(model, users, items, values, lr, steps):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        if forget == "once":
            optimizer.zero_grad()
        for _ in range(steps):
            if forget == "before":
                optimizer.zero_grad()
            squares = (model(users, items) - values).square()
            (squares.sum() if summed else squares.mean()).backward()
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
    ],
    "rescue_the_published_loop": [
        (("worse", GOOD, by_heart()), "One of these is asked for"),
        ((NOISE, passing(forget=False), by_heart()), "zero_grad comes before"),
        ((NOISE, passing(moving=False), by_heart()), "Nothing has moved"),
        ((NOISE, passing(half=0.5), by_heart()), "Half of each step"),
        ((NOISE, passing(backwards=True), by_heart()), "keep their order"),
        ((NOISE, all_at_once, by_heart()), "one after the other"),
        ((NOISE, GOOD, history), "return the model"),
        ((NOISE, GOOD, by_heart(fit={"epochs": 2}, start={"init_std": 1})), "Where does it start"),
        ((NOISE, GOOD, by_heart(fit={"lr": 1e-6})), "about the constant's"),
        ((NOISE, GOOD, by_heart(fit={"epochs": 10})), "It is on its way"),
        ((NOISE, GOOD, by_heart(start={"n_factors": 40})), "third argument"),
    ],
    "ratings_with_something_to_learn": [
        ((5, fitted()), "the biases need room"),
        ((6, fitted()), "And b_i?"),
        ((7, fitted(watch="test")), "The exam chose the epoch"),
        ((7, fitted(patience=None)), "no early stopping"),
        ((7, fitted(mean=0)), "Where is the mean"),
        ((7, fitted(width=20)), "pass k on"),
        ((7, fitted(kind=mf.BiasedMatrixFactorization)), "A model with biases"),
        ((7, fitted(turned=True)), "first the fit"),
    ],
    "the_quiet_column": [
        ((lambda values: (values, 0.0), loud), "the aim of an honest loss"),
        ((lambda values: (np.full(len(values), np.median(values)), values.var()), loud), "The median"),
        ((lambda values: (np.full(len(values), values.mean()), 0.0), loud), "not 0"),
        ((lambda values: (np.full(len(values), values.mean()), values.std()), loud), "no root"),
        ((quiet_aim, lambda predicted, values: (predicted - values).square().mean()), "Still a table"),
        ((quiet_aim, to_column), "Still a table"),
        ((quiet_aim, lambda predicted, values: loud(predicted, values).item()), "Stay with torch"),
        ((quiet_aim, lambda predicted, values: loud(predicted, values) * len(values)), "That is the sum"),
    ],
    "gradients_that_pile_up": [
        (("piling", looping("before")), "One of these is asked for"),
        ((PILES, looping("never")), "the first gradient is still there"),
        ((PILES, looping("once")), "the first gradient is still there"),
        ((PILES, looping("between")), "between backward and step"),
        ((PILES, looping("after")), "before the first backward"),
        ((PILES, looping("before", summed=False)), "this loop sums"),
        ((PILES, one_gradient), "predict anew"),
    ],
}
