"""The exercises to lesson 05: fair races, a correction, momentum on sparse rows, pooled errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .feedback import Together, agree, cases, exercise, fail, guessed, require

Errors = dict[str, dict[float, float]]


@exercise(1, "the unfair race", found="Adam")
def the_unfair_race(guess: str, winners: Callable, seed: int = 0) -> str:
    """Who wins at each common rate, and who at its own best one: a table by hand, then random ones."""
    guessed(guess, ("SGD", "Adagrad", "Adam"))
    inf = float("inf")
    by_hand = {
        "SGD": {0.01: 1.10, 0.1: 0.90, 1: inf, 10: inf},
        "Adagrad": {0.01: 0.99, 0.1: 0.95, 1: 0.97, 10: 1.20},
        "Adam": {0.01: 0.92, 0.1: 0.96, 1: 2.00, 10: 1.10},
    }
    tables = [by_hand]
    for rng in cases(seed):
        rates = [0.001, 0.03, 0.5, 7]
        tables.append(
            {name: dict(zip(rates, rng.uniform(0.9, 2, 4).round(3).tolist(), strict=True)) for name in "ABCDE"}
        )
    given = [_both(winners({name: dict(row) for name, row in table.items()})) for table in tables]
    for judge, place in ((_unfair, 0), (_fair, 1)):
        with Together() as same:
            for table, got in zip(tables, given, strict=True):
                judge(same, got[place], table)
    return "a table by hand, 20 at random"


def _both(got: Any) -> tuple:
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        fail("the result", "a dict of names, and a name", type(got).__name__, "Return both: the unfair, the fair.")
    return got[0], got[1]


def _shown(errors: Errors) -> str:
    return "".join(f"\n      {name}: {row}" for name, row in errors.items())


def _unfair(same: Together, got: Any, errors: Errors) -> None:
    rates = list(next(iter(errors.values())))
    right = {rate: min(errors, key=lambda name: errors[name][rate]) for rate in rates}
    wins = list(right.values())
    same.equal(
        got, right, f"who wins at each rate, of{_shown(errors)}",
        {
            "These have the highest errors.": {rate: max(errors, key=lambda name: errors[name][rate]) for rate in rates},
            "These are the errors: the names are wanted.": {rate: errors[right[rate]][rate] for rate in rates},
            "A name for each rate, without its error.": {rate: (right[rate], errors[right[rate]][rate]) for rate in rates},
            "These are the rates by name. The other way round: for each rate a name.":
                {name: min(row, key=row.__getitem__) for name, row in errors.items()},
            "These are numbers of wins: for each rate the name is wanted.": {name: wins.count(name) for name in errors},
            "A list has lost the rates: a dict, with a name for each rate.": wins,
            "One winner for all rates? For each rate a name.": min(errors, key=lambda name: min(errors[name].values())),
        },
        cause="Look along one rate: whose error is lowest there?",
    )  # fmt: skip


def _fair(same: Together, got: Any, errors: Errors) -> None:
    rates = list(next(iter(errors.values())))
    wins = [min(errors, key=lambda name: errors[name][rate]) for rate in rates]
    best = {name: min(row.values()) for name, row in errors.items()}
    common = min(rates, key=lambda rate: np.mean([errors[name][rate] for name in errors]))
    same.equal(
        got, min(best, key=best.__getitem__), f"who wins at its own best rate, of{_shown(errors)}",
        {
            "That one wins at most of the rates. Each has one rate that suits it, and the others do not count.":
                max(errors, key=wins.count),
            "That one is lowest on average over the rates, bad ones included. Let each take its best.":
                min(errors, key=lambda name: np.mean(list(errors[name].values()))),
            "That one has the lowest median over the rates. Let each take its best.":
                min(errors, key=lambda name: np.median(list(errors[name].values()))),
            "That one is lowest at the rate that suits all of them best: each is to take its own.":
                min(errors, key=lambda name: errors[name][common]),
            "That one's worst rate is the least bad. Let each take its best.":
                min(errors, key=lambda name: max(errors[name].values())),
            "That one is highest at its best rate: lowest is wanted.": max(best, key=best.__getitem__),
            "That is the error: the name is wanted.": min(best.values()),
            "That is the rate: the name is wanted.":
                min((error, rate) for row in errors.values() for rate, error in row.items())[1],
            "These are all the lowest errors: the name that has the lowest of them is wanted.": best,
            "That one is lowest at the first rate. Let each take its best.":
                min(errors, key=lambda name: errors[name][rates[0]]),
        },
        cause="Look along one name for its lowest error. Whose is the lowest of these?",
    )  # fmt: skip


@exercise(2, "Adam without a correction", found="higher")
def adam_without_a_correction(guess: str, too_long: Callable, seed: int = 0) -> str:
    """The ratio of two steps after the same gradients, against a run of Adam with and without corrections."""
    guessed(guess, ("lower", "same", "higher"))
    for number, rng in enumerate(cases(seed)):
        t, b1, b2 = int(rng.integers(2, 60)), *rng.uniform([0.5, 0.9], [0.95, 0.9999])
        if number < 2:  # at t = 1 two mistakes give the same
            t, b1, b2 = 2 - number, 0.9, 0.999
        gradients = rng.normal(1, 0.2, t)
        of_m, of_v = 1 - b1**t, 1 - b2**t
        agree(
            too_long(t, b1, b2), _uncorrected(gradients, b1, b2) / _corrected(gradients, b1, b2),
            f"the ratio of both steps, for t = {t}, β₁ = {b1:.3g}, β₂ = {b2:.4g}",
            {
                "The other way round: the step without corrections belongs above.": of_v**0.5 / of_m,
                "v stands under a root, and so does its correction.": of_m / of_v,
                "m is not corrected either: that makes the step shorter.": 1 / of_v**0.5,
                "That is the correction of m alone. Without that of v the step grows.": of_m,
                "The two corrections act against each other: divide.": of_m * of_v**0.5,
                "The betas are exchanged: b1 belongs to m, b2 to v.": of_v / of_m**0.5,
                "That is the first step's. What is it at step t?": (1 - b1) / (1 - b2) ** 0.5,
                "1 − βᵗ is not (1 − β)ᵗ: the power belongs to β.": ((1 - b1) / (1 - b2) ** 0.5) ** t,
                "t counts from 1: at the first step each sum holds one gradient.":
                    (1 - b1 ** (t + 1)) / (1 - b2 ** (t + 1)) ** 0.5,
                "By how much longer? How many *times* as long is asked for.": of_m / of_v**0.5 - 1,
                "That is the ratio of the squares: a step is m / √v.": of_m**2 / of_v,
                "The powers are missing: βᵗ is what is left of the start after t steps.":
                    b1 / b2**0.5,
            },
            cause="m / √v without, m / (1 − β₁ᵗ) / √(v / (1 − β₂ᵗ)) with corrections. Divide the first by the second.",
            tolerance=1e-5,
        )  # fmt: skip
    return "the first two steps, and 18 later ones, as two runs of Adam took them"


def _uncorrected(gradients: np.ndarray, b1: float, b2: float) -> float:
    m = v = 0.0
    for g in gradients:
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return m / v**0.5


def _corrected(gradients: np.ndarray, b1: float, b2: float) -> float:
    """The last step of PyTorch's Adam at a rate of 1."""
    w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer, before = torch.optim.Adam([w], lr=1.0, betas=(b1, b2), eps=1e-12), 0.0
    for g in gradients:
        before, w.grad = w.item(), torch.tensor([g], dtype=torch.float64)
        optimizer.step()
    return before - w.item()


@exercise(3, "bug hunt: momentum meets the sparse row", found="both")
def momentum_meets_the_sparse_row(guess: str, travelled: Callable, lazy_momentum: Callable, seed: int = 0) -> str:
    """What PyTorch's momentum does to a row without a gradient, and a rule that leaves it alone."""
    choices = ("sparse", "dense", "both", "neither")
    guessed(guess, choices)
    moved = [kind for kind in ("sparse", "dense") if len(set(_path(11, 0.9, kind == "sparse"))) > 1]
    require(
        guess == ("both" if len(moved) == 2 else moved[0]), "in which table row 1 moves on", "what you see when you run it",
        repr(guess), "print(positions_of_row_1(sparse=True)), and the same with False: do the numbers stay?",
    )  # fmt: skip
    for number, rng in enumerate(cases(seed)):
        steps, beta = (3, 0.9) if number == 0 else (int(rng.integers(2, 30)), float(rng.uniform(0.3, 0.95)))
        path = _path(steps, beta, sparse=True)
        agree(
            travelled(steps, beta), path[-1] / path[0], f"the way after {steps} steps, β = {beta:.3g}, by PyTorch",
            {
                "That is the last step alone: add up all of them.": beta ** (steps - 1),
                "The first step itself is missing.": path[-1] / path[0] - 1,
                "That is one step too many: `steps` counts the first one, too.": path[-1] / path[0] + beta**steps,
                "That is where it ends after very many steps.": 1 / (1 - beta),
                "The row moves on, each time by beta times what it moved before.": 1.0,
                "That is one step too few: `steps` counts the last one, too.": path[-1] / path[0] - beta ** (steps - 1),
                "The first step counts in full: 1, β, β² …, not β, β², β³ …": beta * path[-1] / path[0],
                "Each step is as long as the first here: it shrinks by β.": float(steps),
                "That is where row 1 is. How far is that in multiples of its first step?": abs(path[-1]),
                "Each later step is shorter than the one before: 1, β, β² …": 1 + (steps - 1) * beta,
            },
            cause="The memory is g, β g, β² g …, and each step moves the row by the rate times it.", tolerance=1e-5,
        )  # fmt: skip
    for rng in cases(seed):
        _lazy(lazy_momentum, rng)
    return "PyTorch's way of a row, 20 paths of a lazy one"


def _path(steps: int, beta: float, sparse: bool) -> list[float]:
    """Where row 1 is after each step, of which the first alone has a gradient for it."""
    start = torch.zeros(3, 2, dtype=torch.float64)
    table = torch.nn.Embedding.from_pretrained(start, freeze=False, sparse=sparse)
    optimizer, positions = torch.optim.SGD(table.parameters(), lr=0.1, momentum=beta), []
    for row in [1] + (steps - 1) * [2]:
        optimizer.zero_grad()
        table(torch.tensor([row])).sum().backward()
        optimizer.step()
        positions.append(table.weight[1, 0].item())
    return positions


def _lazy(rule: Callable, rng: np.random.Generator) -> None:
    start, lr, beta = (
        torch.tensor(rng.normal(0, 1, (5, 3))),
        float(rng.uniform(0.05, 0.5)),
        float(rng.uniform(0.5, 0.95)),
    )
    gradients = torch.tensor(rng.normal(0, 1, (6, 5, 3)) * (rng.random((6, 5, 1)) < 0.5))
    gradients[0, :3], gradients[1, :2], gradients[2, 0] = 1.0, 0.0, 1.0  # rows 0 and 2: a pause
    gradients[:2, 3], gradients[:, 4] = 1.0, 0.0
    gradients[1, 2], gradients[1, 3] = torch.tensor([1.0, -3.0, -1.0]), torch.tensor([1.0, 0.0, 1.0])
    gradients[2, 1] = torch.tensor([1.0, -2.0, 1.0])  # looked up, though it adds up to 0
    gradients[3, 1], gradients[4, 2] = torch.tensor([0.0, 1.0, 1.0]), -1.0
    w, memory = start.clone(), {}
    for number, g in enumerate(gradients):
        before = w.clone()
        got = rule(w, g.clone(), memory, lr, beta)
        if got is not None:
            fail("the rule", "changes w in place, returns nothing", type(got).__name__, "As the lesson's rules do.")
        at_rest = g.abs().sum(dim=1) == 0
        agree(
            w[at_rest], before[at_rest], f"the rows that the batch did not look up, at step {number + 1}",
            cause="They moved. Change w[rows] only, where `rows` are those with a gradient.",
        )  # fmt: skip
        so_far = gradients[: number + 1]
        right = _after(so_far, start, lr, beta, "lazy")
        wrong = {} if torch.allclose(w, right) else _wrong_rules(so_far, start, right, lr, beta)
        agree(
            w,
            right,
            f"all rows after step {number + 1}",
            wrong,
            cause="For the rows looked up: m = beta · m + g, then w − lr · m.",
        )


def _wrong_rules(so_far: torch.Tensor, start: torch.Tensor, right: torch.Tensor, lr: float, beta: float) -> dict:
    """What typical wrong rules give after the same gradients."""
    return {
        "Uphill: w minus the rate times the memory.": 2 * start - right,
        "w is as before: change it in place, as in `w[rows] -= …`.": start,
        "A row whose gradient adds up to 0 was looked up all the same: abs() before the sum.":
            _after(so_far, start, lr, beta, "lazy", lambda g: g.sum(dim=1) != 0),
        "A row with a negative gradient was looked up, too: abs() before the sum.":
            _after(so_far, start, lr, beta, "lazy", lambda g: g.sum(dim=1) > 0),
        "A row with a negative gradient was looked up, too: ask what is not 0.":
            _after(so_far, start, lr, beta, "lazy", lambda g: (g > 0).any(dim=1)),
        "One column does not tell which rows were looked up: ask all of a row's numbers.":
            _after(so_far, start, lr, beta, "lazy", lambda g: g[:, 0] != 0),
        "A row with a single 0 in it was looked up, too: any number that is not 0 will do.":
            _after(so_far, start, lr, beta, "lazy", lambda g: (g != 0).all(dim=1)),
        "Nesterov's way looks ahead. Here the step is the rate times the memory.":
            _after(so_far, start, lr, beta, "ahead"),
        "The rate is not the one that is given: `lr` is an argument.": _after(so_far, start, 0.1, beta, "lazy"),
        "The memory's share is not the one that is given: `beta` is an argument.":
            _after(so_far, start, lr, 0.9, "lazy"),
        "The memory of a row at rest has faded. It should wait until the row is looked up again.":
            _after(so_far, start, lr, beta, "fading"),
        "The memory of a row at rest is lost. It should wait until the row is looked up again.":
            _after(so_far, start, lr, beta, "lost"),
        "Nothing is remembered: that is SGD. Does memory[\"m\"] keep what you compute?":
            _after(so_far, start, lr, beta, "none"),
        "The lesson's momentum adds g itself, not (1 − β) g.":
            _after((1 - beta) * so_far, start, lr, beta, "lazy"),
    }  # fmt: skip


def _after(
    gradients: torch.Tensor, start: torch.Tensor, lr: float, beta: float, memory: str, looked_up: Callable | None = None
) -> torch.Tensor:
    w, m = start.clone(), torch.zeros_like(start)
    for g in gradients:
        rows = (looked_up(g) if looked_up else g.abs().sum(dim=1) > 0)[:, None]
        new = g if memory == "none" else beta * m + g
        w -= lr * (g + beta * new if memory == "ahead" else new) * rows
        m = new if memory == "fading" else new * rows if memory == "lost" else torch.where(rows, new, m)
    return w


@exercise(4, "bug hunt: a mean of means", found="higher")
def a_mean_of_means(guess: str, pooled_rmse: Callable, seed: int = 0) -> str:
    """One RMSE however the ratings are dealt into batches: four batches by hand, then random ones."""
    guessed(guess, ("lower", "same", "higher"))
    by_hand = [np.array([1.0, 2.0, 2.0, 1.0]), np.array([6.0]), np.array([5.0]), np.array([2.0, 3.0])]  # √(84 / 8)
    _pooled(pooled_rmse, by_hand, np.zeros(8), "the RMSE of errors of 1, 2, 2, 1, then 6, 5, and 2, 3 in four batches")
    for rng in cases(seed):
        stars = rng.integers(1, 6, 23).astype(np.float32)
        errors = rng.normal(0, 1, 23) * rng.uniform(0.2, 3, 23)
        for size in (1, 4, 7, 23):
            split = np.split(errors, range(size, 23, size))
            _pooled(pooled_rmse, split, stars, f"the RMSE of 23 ratings in batches of {size}")
    return "four batches by hand; 20 times 23 ratings, the same number in batches of 1, 4, 7 and 23"


def _pooled(pooled_rmse: Callable, errors: list[np.ndarray], stars: np.ndarray, what: str) -> None:
    parts = np.split(stars, np.cumsum([len(part) for part in errors])[:-1])
    batches = [(part + error, part) for part, error in zip(parts, errors, strict=True)]
    sizes = np.array([len(part) for part in errors])
    squares = np.array([np.sum(part**2) for part in errors])
    means, n = squares / sizes, sizes.sum()
    try:
        got = pooled_rmse(iter(batches))
    except ZeroDivisionError:
        got = np.nan
    used_up = "`batches` was gone through twice, and is empty the second time. Keep both numbers in one loop."
    right = np.sqrt(squares.sum() / n)
    require(not isinstance(got, float) or np.isfinite(got), what, right, got, used_up)
    agree(
        got, right, what,
        {
            "That is the mean of the batches' RMSEs: take one root, at the end.": np.mean(np.sqrt(means)),
            "Every batch counts the same here, however many ratings it has: add up squares, not means.":
                np.sqrt(means.mean()),
            "The roots are weighted by size, but they are still roots of parts: add up squares.":
                np.sqrt(means) @ sizes / n,
            "The root is missing: this is the mean squared error.": squares.sum() / n,
            "That divides by the number of batches: count the ratings.": np.sqrt(squares.sum() / len(sizes)),
            "That divides by the size of the last batch: count the ratings of all.": np.sqrt(squares.sum() / sizes[-1]),
            "That divides after the root: the mean comes first.": np.sqrt(squares.sum()) / n,
            "Only the last batch is in it: add up with +=.": np.sqrt(means[-1]),
            "That is the mean absolute error: square, then take the root of the mean.":
                np.mean(np.abs(np.concatenate(errors))),
            "That is the median of the batches' RMSEs: take one root, over all ratings.": np.median(np.sqrt(means)),
            "Each batch's *sum* is rooted here: add up the squares, then take one root.": np.sqrt(squares).sum() / n,
            "That is the standard deviation of the errors: their mean counts as well.": np.std(np.concatenate(errors)),
            "That divides by n - 1: a mean divides by n.": np.sqrt(squares.sum() / max(n - 1, 1)),
            "Only the first batch is in it: return after the loop.": np.sqrt(means[0]),
            "That is the worst batch's RMSE: all ratings count.": np.sqrt(means.max()),
            "The sum is rooted, but not divided by the number of ratings.": np.sqrt(squares.sum()),
            used_up: 0.0,
        },
        cause="Two running numbers: the sum of squared errors and how many there are. At the end one root.",
    )  # fmt: skip
