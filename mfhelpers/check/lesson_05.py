"""The exercises to lesson 05: fair races, a correction, momentum on sparse rows, pooled errors."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from .feedback import Together, agree, cases, exercise, fail, guessed, require

Errors = dict[str, dict[float, float]]


@exercise(1, "the unfair race", found="Adam")
def the_unfair_race(guess: str, winners: Callable, seed: int = 0) -> str:
    """Who wins at each common rate, and who at its own best one: a table by hand, then random ones."""
    names = ("SGD", "Adagrad", "Adam")
    guessed(next((name for name in names if name.lower() == str(guess).strip().lower()), guess), names)
    inf = float("inf")
    by_hand = {
        "SGD": {0.01: 1.10, 0.1: 0.90, 1: inf, 10: inf},
        "Adagrad": {0.01: 0.99, 0.1: 0.95, 1: 0.97, 10: 1.20},
        "Adam": {0.01: 0.92, 0.1: 0.96, 1: 2.00, 10: 1.10},
    }
    tables = [by_hand, *(_table(rng) for rng in cases(seed))]
    answers = [_both(winners, errors) for errors in tables]
    _named([unfair for unfair, _ in answers], tables, "who wins at each rate", _at_each_rate, UNFAIR_MISTAKES)
    _named([fair for _, fair in answers], tables, "who wins at its own best rate", _at_its_best, FAIR_MISTAKES)
    return "a table by hand, 20 at random"


def _table(rng: np.random.Generator) -> Errors:
    """Errors of five names at four rates, no two alike but two that are infinite, of two names at two rates."""
    numbers = (0.9 + rng.choice(1100, 20, replace=False) / 1000).round(3)
    numbers[4 * rng.choice(5, 2, replace=False) + rng.choice(4, 2, replace=False)] = np.inf
    return {
        name: dict(zip((0.001, 0.03, 0.5, 7), row, strict=True))
        for name, row in zip("ABCDE", numbers.reshape(5, 4).tolist(), strict=True)
    }


def _both(winners: Callable, errors: Errors) -> tuple[Any, Any]:
    got = winners({name: dict(row) for name, row in errors.items()})
    if got is None:
        fail("the result", "a dict of names, and a name", got, "Nothing came back: does the function end in `return`?")
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        fail("the result", "a dict of names, and a name", type(got).__name__, "Return both: the unfair, the fair.")
    if not isinstance(got[0], dict):
        cause = (
            "The other way round: the dict first, then the name."
            if isinstance(got[1], dict)
            else "A dict was asked for, {rate: name}: it says which name belongs to which rate."
        )
        fail("the first of the two results", "a dict {rate: name}", got[0], cause)
    return got[0], got[1]


def _named(got: list, tables: list[Errors], what: str, right: Callable, mistakes: dict[str, Callable]) -> None:
    """Names for all tables at once: a mistake is named if it explains every one of them."""
    expected = [right(errors) for errors in tables]
    failed = next((place for place, name in enumerate(expected) if not _same(got[place], name)), None)
    if failed is None:
        return
    shown = "".join(f"\n      {name}: {row}" for name, row in tables[failed].items())
    explaining = (hint for hint, rule in mistakes.items() if _same(got, [rule(errors) for errors in tables]))
    hint = next(explaining, "Look along one rate for the first, along one name for the second.")
    fail(f"{what}, of{shown}", expected[failed], got[failed], hint)


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (TypeError, ValueError):
        return False


def _ranked(errors: Errors, rate: float) -> list[str]:
    """The names, from the lowest error at this rate to the highest."""
    return sorted(errors, key=lambda name: errors[name][rate])


def _at_each_rate(errors: Errors, place: int = 0) -> dict[float, str]:
    return {rate: _ranked(errors, rate)[place] for rate in next(iter(errors.values()))}


def _lowest(errors: Errors, of: Callable = min) -> str:
    """The name for which `of` all its errors is lowest."""
    return min(errors, key=lambda name: of(list(errors[name].values())))


def _at_its_best(errors: Errors) -> str:
    return _lowest(errors)


def _finite(row: list[float]) -> list[float]:
    return [error for error in row if np.isfinite(error)]


UNFAIR_MISTAKES: dict[str, Callable] = {
    "These have the highest errors.": lambda errors: _at_each_rate(errors, -1),
    "These are second: the lowest error comes first.": lambda errors: _at_each_rate(errors, 1),
    "These are the errors: the names are wanted.": lambda errors: {
        rate: errors[name][rate] for rate, name in _at_each_rate(errors).items()
    },
    "A name with its error: the name alone is wanted.": lambda errors: {
        rate: (name, errors[name][rate]) for rate, name in _at_each_rate(errors).items()
    },
    "These are the rates by name. The other way round: for each rate a name.": lambda errors: {
        name: min(row, key=row.__getitem__) for name, row in errors.items()
    },
    "The keys are names here. The other way round: each rate is a key.": lambda errors: {
        name: rate for rate, name in _at_each_rate(errors).items()
    },
    "The keys are places, 0, 1, 2 …: the rates themselves are wanted.": lambda errors: dict(
        enumerate(_at_each_rate(errors).values())
    ),
    "This is one name for all rates, the lowest at its own best rate. Here each rate has its own winner.":
        lambda errors: dict.fromkeys(_at_each_rate(errors), _at_its_best(errors)),
    "A rate at which one of them diverges is missing: the others still race there.": lambda errors: {
        rate: name for rate, name in _at_each_rate(errors).items()
        if all(np.isfinite(row[rate]) for row in errors.values())
    },
}  # fmt: skip
FAIR_MISTAKES: dict[str, Callable] = {
    "That one wins at most of the rates. Each has one rate that suits it, and the others do not count.":
        lambda errors: max(errors, key=list(_at_each_rate(errors).values()).count),
    "That one is lowest on average over the rates, bad ones included. Let each take its best.":
        lambda errors: _lowest(errors, np.mean),
    "That one is lowest on average over the rates where it does not diverge. Let each take its best.":
        lambda errors: _lowest(errors, lambda row: np.mean(_finite(row))),
    "That one has the lowest median over the rates. Let each take its best.": lambda errors: _lowest(errors, np.median),
    "That one has the lowest error at its worst rate: max, where min belongs?": lambda errors: _lowest(errors, max),
    "That one loses: its best error is the highest of all.":
        lambda errors: max(errors, key=lambda name: min(errors[name].values())),
    "That one has the highest error of all at a single rate.":
        lambda errors: max(errors, key=lambda name: max(errors[name].values())),
    "That one wins at the first rate. Each may take any of the rates.":
        lambda errors: next(iter(_at_each_rate(errors).values())),
    "That one wins at the last rate. Each may take any of the rates.":
        lambda errors: list(_at_each_rate(errors).values())[-1],
    "That is the error: the name is wanted.": lambda errors: min(min(row.values()) for row in errors.values()),
    "That is the rate: the name is wanted.": lambda errors: min(
        next(iter(errors.values())), key=lambda rate: min(row[rate] for row in errors.values())
    ),
    "These are everybody's best errors: the name of the lowest is wanted.":
        lambda errors: {name: min(row.values()) for name, row in errors.items()},
    "The name alone is wanted, without its error.":
        lambda errors: (_at_its_best(errors), min(errors[_at_its_best(errors)].values())),
}  # fmt: skip


@exercise(2, "Adam without a correction", found="higher")
def adam_without_a_correction(guess: str, too_long: Callable, seed: int = 0) -> str:
    """The ratio of two steps after the same gradients, against a run of Adam with and without corrections."""
    guessed(guess, ("lower", "same", "higher"))
    for number, rng in enumerate(cases(seed)):
        t, b1, b2 = int(rng.integers(2, 60)), *rng.uniform([0.5, 0.9], [0.95, 0.9999])
        if number < 3:  # not from t = 1 up, since there several mistakes give the same
            t, b1, b2 = 3 - number, 0.9, 0.999
        gradients = rng.normal(1, 0.2, t)
        of_m, of_v = 1 - b1**t, 1 - b2**t
        got, what = too_long(t, b1, b2), f"the ratio of both steps, for t = {t}, β₁ = {b1:.3g}, β₂ = {b2:.4g}"
        require(
            not isinstance(got, complex), what, "a positive number", got,
            "This is the root of something negative: the power of β is beta ** t, not beta * t.",
        )  # fmt: skip
        agree(
            got, _uncorrected(gradients, b1, b2) / _corrected(gradients, b1, b2), what,
            {
                "The other way round: the step without corrections belongs above.": of_v**0.5 / of_m,
                "v stands under a root, and so does its correction.": of_m / of_v,
                "m is not corrected either: that makes the step shorter.": 1 / of_v**0.5,
                "That is the correction of m alone. Without that of v the step grows.": of_m,
                "The two corrections act against each other: divide.": of_m * of_v**0.5,
                "The betas are exchanged: b1 belongs to m, b2 to v.": of_v / of_m**0.5,
                "That is the first step's. What is it at step t?": (1 - b1) / (1 - b2) ** 0.5,
                "v makes the step longer: its correction stands below, under a root.": of_v**0.5,
                "m without its correction is too small, so the step is shorter: its correction stands above.":
                    1 / of_m / of_v**0.5,
                "m stands under no root.": (of_m / of_v) ** 0.5,
                "The root belongs to v, not to m.": of_m**0.5 / of_v,
                "v stands under a root, and so does its correction: no square.": of_m / of_v**2,
                "(1 − β)ᵗ is another number than 1 − βᵗ: first the power, then the difference.":
                    (1 - b1) ** t / (1 - b2) ** (t / 2),
                "The corrections are 1 − βᵗ: the 1 − is missing.": b1**t / b2 ** (t / 2),
                "That is step t + 1: t counts from 1.": (1 - b1 ** (t + 1)) / (1 - b2 ** (t + 1)) ** 0.5,
                "That is the ratio minus 1: how many times as long was asked for.": of_m / of_v**0.5 - 1,
                "In per cent? The ratio itself was asked for.": 100 * of_m / of_v**0.5,
            }
            | ({} if t == 1 else {
                "That is step t − 1: t counts from 1, and is 1 after the first gradient.":
                    (1 - b1 ** (t - 1)) / (1 - b2 ** (t - 1)) ** 0.5,
            }),
            cause="m / √v without, m / (1 − β₁ᵗ) / √(v / (1 − β₂ᵗ)) with corrections. Divide the first by the second.",
            tolerance=1e-5,
        )  # fmt: skip
    return "the first three steps, and 17 later ones, as two runs of Adam took them"


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
    guessed(guess, ("sparse", "dense", "both", "neither"))
    for number, rng in enumerate(cases(seed)):
        steps, beta = (3, 0.8) if number == 0 else (int(rng.integers(2, 30)), float(rng.uniform(0.3, 0.95)))
        path = _path(steps, beta, sparse=True)
        way = path[-1] / path[0]
        agree(
            travelled(steps, beta), way, f"the way after {steps} steps, β = {beta:.3g}, by PyTorch",
            {
                "That is the last step alone: add up all of them.": beta ** (steps - 1),
                "That is the step after the last, and alone: the first one counts 1, and all add up.": beta**steps,
                "The first step itself is missing.": way - 1,
                "The first step counts 1, not β: the powers start at 0.": beta * way,
                "That is one step too many: `steps` counts the first one, too.": way + beta**steps,
                "That is where it ends after very many steps.": 1 / (1 - beta),
                "That is how far it still has to go: how far has it come?": beta**steps / (1 - beta),
                "The row moves on, each time by beta times what it moved before.": 1.0,
                "Each later step is shorter than the one before: 1, β, β² …": 1 + (steps - 1) * beta,
                "The steps get shorter: each is β times the one before.": float(steps),
                "The memory adds g itself, not (1 − β) g: see SGD(momentum=…).": (1 - beta) * way,
                "That is in the table's numbers, at a rate of 0.1. In multiples of the first step?": 0.1 * way,
                "The place falls, and so does the first step: their ratio is positive.": -way,
                "These are ways of ways: add up the steps once.":
                    sum(beta**m for n in range(steps) for m in range(n + 1)),
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
    """Hold a path of six steps against the rule's and against those of its mistakes."""
    start, beta = torch.tensor(rng.normal(0, 1, (5, 5))), float(rng.uniform(0.5, 0.85))
    rates = rng.uniform(0.05, 0.5, 6).tolist()  # another one each time, as a schedule does
    gradients = _some_gradients(rng)
    w, memory, got = start.clone(), {}, []
    for g, lr in zip(gradients, rates, strict=True):
        result = rule(w, g.clone(), memory, lr, beta)
        if result is not None:
            fail("the rule", "changes w in place, returns nothing", type(result).__name__, "As the lesson's rules do.")
        got.append(w.clone())
    right = _follow(_lazy_step(), gradients, start, rates, beta)
    failed = next((n for n in range(6) if not torch.allclose(got[n], right[n], 1e-6, 1e-6)), None)
    if failed is None:
        return
    for hint, step in LAZY_MISTAKES.items():
        if torch.allclose(torch.stack(got), torch.stack(_follow(step, gradients, start, rates, beta)), 1e-6, 1e-6):
            fail(f"all rows after step {failed + 1}", right[failed], got[failed], hint)
    at_rest = (gradients[failed] == 0).all(dim=1)
    agree(
        got[failed][at_rest], right[failed][at_rest], f"the rows that the batch did not look up, at step {failed + 1}",
        cause="They moved. Change w[rows] only, where `rows` are those with a gradient.",
    )  # fmt: skip
    agree(
        got[failed], right[failed], f"all rows after step {failed + 1}",
        cause="For the rows looked up: m = beta · m + g, then w − lr · m.",
    )  # fmt: skip


def _some_gradients(rng: np.random.Generator) -> torch.Tensor:
    """Gradients of five rows in six steps: pauses, zeros within a row, sums of zero, one below zero, a tiny one."""
    gradients = torch.tensor(rng.normal(0, 1, (6, 5, 5)) * (rng.random((6, 5, 1)) < 0.5))
    gradients[0, :3], gradients[1, :2], gradients[2, 0] = 1.0, 0.0, 1.0  # rows 0 and 2: a pause
    gradients[:2, 3], gradients[:, 4] = 1.0, 0.0
    gradients[3, 0] = torch.tensor([0.0, 2.0, -1.0, 0.0, -1.0])  # adds up to 0
    gradients[4, 1] = torch.tensor([0.5, -2.0, 0.0, -1.0, 0.0])  # adds up to less
    gradients[5, 2], gradients[5, 3] = 1e-7, 0.0
    gradients[3:5, 2, 1], gradients[4, 0], gradients[2, :, 0] = 0.0, 0.0, 0.0
    return gradients


Step = Callable[[torch.Tensor, Any, torch.Tensor, float, float], tuple[torch.Tensor, torch.Tensor]]


def _follow(step: Step, gradients: torch.Tensor, w: torch.Tensor, rates: list, beta: float) -> list[torch.Tensor]:
    """Where `step`, which gives the next w and m, leads."""
    m, places = torch.zeros_like(w), []
    for g, lr in zip(gradients, rates, strict=True):
        w, m = step(w, m, g, lr, beta)
        places.append(w)
    return places


def _lazy_step(
    rows: Callable = lambda g: (g != 0).any(dim=1, keepdim=True),
    new: Callable = lambda m, g, lr, beta: beta * m + g,
    move: Callable = lambda old, m, g, lr, beta: lr * m,
    kept: Callable = torch.where,
    moving: Callable | None = None,
) -> Step:
    """Momentum for `rows`, or with one part of it gone wrong."""

    def step(w, m, g, lr, beta):
        after, looked_up = new(m, g, lr, beta), rows(g)
        after = kept(looked_up, after, m)
        return w - move(m, after, g, lr, beta) * (moving or rows)(g), after

    return step


LAZY_MISTAKES: dict[str, Step] = {
    "w is as before: change it in place, with w[rows] -= …, for the rows where g is not 0.": lambda w, m, g, lr, beta: (w, m),
    "Uphill: w minus the rate times the memory.": _lazy_step(move=lambda old, m, g, lr, beta: -lr * m),
    "A row whose numbers add up to 0 counts as at rest here. Add up their absolute values: g.abs().sum(dim=1).":
        _lazy_step(rows=lambda g: g.sum(dim=1, keepdim=True) != 0),
    "A row whose numbers add up to less than 0 counts as at rest here. Add up their absolute values.":
        _lazy_step(rows=lambda g: g.sum(dim=1, keepdim=True) > 0),
    "Single numbers of a row are at rest here. A row is looked up as a whole: add up over dim=1.":
        _lazy_step(rows=lambda g: g != 0),
    "Numbers below zero are at rest here. A row is looked up as a whole, whatever its signs.":
        _lazy_step(rows=lambda g: g > 0),
    "A row with a single 0 counts as at rest here: one number that is not 0 is enough.":
        _lazy_step(rows=lambda g: (g != 0).all(dim=1, keepdim=True)),
    "The first column decides here: a row is looked up if any of its numbers is not 0.":
        _lazy_step(rows=lambda g: g[:, :1] != 0),
    "A small gradient counts as none here. Compare with 0.":
        _lazy_step(rows=lambda g: g.abs().sum(dim=1, keepdim=True) > 1e-6),
    "dim=0 adds up each column. Which *rows* have a gradient says dim=1.":
        _lazy_step(rows=lambda g: g.abs().sum(dim=0)[:, None] > 0),
    "All rows move here, as in PyTorch. The rule should change w[rows] and m[rows] only.":
        _lazy_step(rows=lambda g: torch.ones_like(g[:, :1]) > 0),
    "The memory waits, but it still moves the rows at rest: change w[rows] only.":
        _lazy_step(moving=lambda g: 1.0),
    "The memory of a row at rest has faded. It should wait until the row is looked up again.":
        _lazy_step(kept=lambda rows, new, old: new),
    "The memory of a row at rest is lost. It should wait until the row is looked up again.":
        _lazy_step(kept=lambda rows, new, old: new * rows),
    "Nothing is remembered: that is SGD. Does memory[\"m\"] keep what you compute?":
        _lazy_step(new=lambda m, g, lr, beta: g),
    "The lesson's momentum adds g itself, not (1 − β) g.": _lazy_step(new=lambda m, g, lr, beta: beta * m + (1 - beta) * g),
    "The rate is in the memory. In the lesson's momentum it stands outside, so that a new rate counts at once.":
        _lazy_step(new=lambda m, g, lr, beta: beta * m + lr * g, move=lambda old, m, g, lr, beta: m),
    "The rate is missing: w minus lr times the memory.": _lazy_step(move=lambda old, m, g, lr, beta: m),
    "w moves by the old memory: renew the memory first.": _lazy_step(move=lambda old, m, g, lr, beta: lr * old),
    "w moves by g and by the memory, which holds g already.": _lazy_step(move=lambda old, m, g, lr, beta: lr * (m + g)),
    "That is Nesterov's momentum, g + β m. The lesson's moves w by m.":
        _lazy_step(move=lambda old, m, g, lr, beta: lr * (beta * m + g)),
    "Nothing of the memory fades, not even in rows looked up: beta times m.": _lazy_step(new=lambda m, g, lr, beta: m + g),
    "The memory has a beta of its own, 0.9, where it is given one.": _lazy_step(new=lambda m, g, lr, beta: 0.9 * m + g),
}  # fmt: skip


@exercise(4, "bug hunt: a mean of means", found="higher")
def a_mean_of_means(guess: str, pooled_rmse: Callable, seed: int = 0) -> str:
    """One RMSE however the ratings are dealt into batches: two batches by hand, then random ones."""
    guessed(guess, ("lower", "same", "higher"))
    # errors of 1, 2, 2 and, in a smaller last batch, 5: the root of 34 / 4
    by_hand = [np.array([1.0, 2.0, 2.0]), np.array([5.0])]
    with Together() as same:
        _pooled(same, pooled_rmse, by_hand, np.zeros(4), "the RMSE of errors of 1, 2, 2 in one batch and 5 in the next")
        for rng in cases(seed):
            stars = rng.integers(1, 6, 23).astype(np.float32)
            errors = rng.normal(0, 1, 23) * rng.uniform(0.2, 3, 23)
            for size in (1, 4, 7, 23):
                split = np.split(errors, range(size, 23, size))
                _pooled(same, pooled_rmse, split, stars, f"the RMSE of 23 ratings in batches of {size}")
    _keeps_nothing(pooled_rmse)
    return "two batches by hand; 20 times 23 ratings, the same number in batches of 1, 4, 7 and 23"


def _keeps_nothing(pooled_rmse: Callable, batches: int = 50, size: int = 20_000) -> None:
    """Measure the memory that it takes for many batches, if nothing else is measuring now."""
    if tracemalloc.is_tracing():
        return
    stars = np.full(size, 3.0)
    tracemalloc.start()
    try:
        pooled_rmse((np.full(size, 4.0), stars) for _ in range(batches))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    require(
        peak < 0.4 * batches * stars.nbytes, f"the memory for {batches} batches of {size:,} ratings",
        f"that of a few batches, each {stars.nbytes / 1e6:g} MB", f"{peak / 1e6:.1f} MB",
        "The predictions or their errors are kept until the end. Two running numbers are enough: "
        "the sum of squared errors, and how many there are.",
    )  # fmt: skip


class _Once:
    """Batches that can be gone through once, and know how often that was tried."""

    def __init__(self, batches: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._left, self.ends = iter(batches), 0

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return self

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            return next(self._left)
        except StopIteration:
            self.ends += 1
            raise


def _pooled(same: Together, pooled_rmse: Callable, errors: list[np.ndarray], stars: np.ndarray, what: str) -> None:
    parts = np.split(stars, np.cumsum([len(part) for part in errors])[:-1])
    batches = _Once([(part + error, part) for part, error in zip(parts, errors, strict=True)])
    everything = np.concatenate(errors)
    try:
        got = pooled_rmse(batches)
    except ZeroDivisionError:
        if batches.ends < 2:
            raise
        got = np.nan
    right = np.sqrt(np.mean(everything**2))
    require(
        batches.ends < 2, what, right, got,
        "`batches` was gone through twice, and is empty the second time. Keep both numbers in one loop.",
    )  # fmt: skip
    same.agree(
        got, right, what, _unpooled(errors, everything),
        cause="Two running numbers: the sum of squared errors and how many there are. At the end one root.",
    )  # fmt: skip


def _unpooled(errors: list[np.ndarray], everything: np.ndarray) -> dict[str, float]:
    """What typical mistakes make of these errors."""
    sizes = np.array([len(part) for part in errors])
    squares = np.array([np.sum(part**2) for part in errors])
    means, n = squares / sizes, sizes.sum()
    return {
        "That is the mean of the batches' RMSEs: take one root, at the end.": float(np.mean(np.sqrt(means))),
        "That is the median of the batches' RMSEs: take one root, at the end.": np.median(np.sqrt(means)),
        "Every batch counts the same here, but the last one has fewer ratings: add up squares, not means.":
            np.sqrt(means.mean()),
        "The roots are weighted by size, but they are still roots of parts: add up squares.": np.sqrt(means) @ sizes / n,
        "The root is missing: this is the mean squared error.": squares.sum() / n,
        "That divides by the number of batches: count the ratings.": np.sqrt(squares.sum() / len(sizes)),
        "That divides by the size of the last batch: count the ratings of all.": np.sqrt(squares.sum() / sizes[-1]),
        "That divides by the size of the first batch: count the ratings of all.": np.sqrt(squares.sum() / sizes[0]),
        "That divides by one rating too many: the count starts at 0.": np.sqrt(squares.sum() / (n + 1)),
        "That divides by one rating too few: RMSE divides by n.": np.sqrt(squares.sum() / max(n - 1, 1)),
        "That divides after the root: the mean comes first.": np.sqrt(squares.sum()) / n,
        "Nothing is divided: the mean is the sum by the number of ratings.": np.sqrt(squares.sum()),
        "Means are added up and divided by the number of ratings: add up squares.": np.sqrt(means.sum() / n),
        "Each batch adds the root of its sum: add up the squares, and take one root at the end.":
            np.sqrt(squares).sum() / n,
        "These are the batches' RMSEs added up: one root, of one mean.": np.sqrt(means).sum(),
        "Only the last batch is in it: add up with +=.": np.sqrt(means[-1]),
        "The squares are the last batch's alone: add up with +=.": np.sqrt(squares[-1] / n),
        "Only the first batch is in it: is `return` inside the loop?": np.sqrt(means[0]),
        "That is the mean absolute error.": float(np.mean(np.abs(everything))),
        "The errors are averaged before they are squared, and cancel.": abs(everything.mean()),
        "Here the errors' own mean is taken off: that is their standard deviation.": everything.std(),
        "Each batch's errors are added up before they are squared: square each.":
            np.sqrt(sum(part.sum() ** 2 for part in errors) / n),
        "Nothing has been added up: `total + …` alone changes nothing, += does.": 0.0,
    }  # fmt: skip
