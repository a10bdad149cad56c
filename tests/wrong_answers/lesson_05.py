"""What learners typically write in the exercises to lesson 05, and words of the hint that each deserves."""

import numpy as np
import torch

# -- the unfair race


def judge(choose=min, fair=min):
    """Winners by `choose` at each rate, and by `fair` of a name's errors at its own rates."""

    def winners(errors):
        rates = next(iter(errors.values()))
        unfair = {rate: choose(errors, key=lambda name: errors[name][rate]) for rate in rates}
        return unfair, min(errors, key=lambda name: fair(list(errors[name].values())))

    return winners


def most_wins(errors):
    unfair, _ = judge()(errors)
    wins = list(unfair.values())
    return unfair, max(errors, key=wins.count)


def errors_not_names(errors):
    rates = next(iter(errors.values()))
    return {rate: min(row[rate] for row in errors.values()) for rate in rates}, judge()(errors)[1]


def rates_of_names(errors):
    return {name: min(row, key=row.get) for name, row in errors.items()}, judge()(errors)[1]


def lowest_error(errors):
    return judge()(errors)[0], min(min(row.values()) for row in errors.values())


def rate_with(of):
    """What `of` the errors, a rate and its winner gives for each rate."""

    def winners(errors):
        unfair, fair = judge()(errors)
        return {rate: of(errors, rate, name) for rate, name in unfair.items()}, fair

    return winners


def fairly(of):
    return lambda errors: (judge()(errors)[0], of(errors))


def best_common_rate(errors):
    rates = next(iter(errors.values()))
    common = min(rates, key=lambda rate: np.mean([row[rate] for row in errors.values()]))
    return min(errors, key=lambda name: errors[name][common])


def unfair_alone(errors):
    return judge()(errors)[0]


# -- momentum meets the sparse row


def travelled(steps, beta):
    return sum(beta**n for n in range(steps))


def plain(w, g, memory, lr, beta=0.9):
    memory["m"] = beta * memory.get("m", 0) + g
    w -= lr * memory["m"]


def lazy(w, g, memory, lr, beta=0.9, new=1.0, sign=-1):
    m = memory.setdefault("m", torch.zeros_like(w))
    rows = g.abs().sum(dim=1) > 0
    m[rows] = beta * m[rows] + new * g[rows]
    w[rows] += sign * lr * m[rows]


def rows_by(looked_up):
    def rule(w, g, memory, lr, beta=0.9):
        m, rows = memory.setdefault("m", torch.zeros_like(w)), looked_up(g)
        m[rows] = beta * m[rows] + g[rows]
        w[rows] -= lr * m[rows]

    return rule


def ahead(w, g, memory, lr, beta=0.9):
    m, rows = memory.setdefault("m", torch.zeros_like(w)), g.abs().sum(dim=1) > 0
    m[rows] = beta * m[rows] + g[rows]
    w[rows] -= lr * (g[rows] + beta * m[rows])


def fading(w, g, memory, lr, beta=0.9):
    m = memory["m"] = beta * memory.get("m", torch.zeros_like(w)) + g
    rows = g.abs().sum(dim=1) > 0
    w[rows] -= lr * m[rows]


def lost(w, g, memory, lr, beta=0.9):
    fading(w, g, memory, lr, beta)
    memory["m"] = memory["m"] * (g.abs().sum(dim=1, keepdim=True) > 0)


def nothing_remembered(w, g, memory, lr, beta=0.9):
    m = memory.get("m", torch.zeros_like(w))
    rows = g.abs().sum(dim=1) > 0
    m[rows] = beta * m[rows] + g[rows]
    w[rows] -= lr * m[rows]


def a_mean(w, g, memory, lr, beta=0.9):
    lazy(w, g, memory, lr, beta, new=1 - beta)


def uphill(w, g, memory, lr, beta=0.9):
    lazy(w, g, memory, lr, beta, sign=1)


def a_copy(w, g, memory, lr, beta=0.9):
    w = w.clone()
    lazy(w, g, memory, lr, beta)
    return w


# -- a mean of means


def mean_of_roots(batches):
    return np.mean([np.sqrt(np.mean((predicted - stars) ** 2)) for predicted, stars in batches])


def root_of_mean_of_means(batches):
    return np.sqrt(np.mean([np.mean((predicted - stars) ** 2) for predicted, stars in batches]))


def weighted_roots(batches):
    pairs = [(np.sqrt(np.mean((predicted - stars) ** 2)), len(stars)) for predicted, stars in batches]
    return sum(root * n for root, n in pairs) / sum(n for _, n in pairs)


def pooled(batches, end):
    """`end` of the sum of squares, the number of ratings, that of batches, and that of the last batch's ratings."""
    total = n = count = last = 0
    for predicted, stars in batches:
        last, count = len(stars), count + 1
        total, n = total + np.sum((predicted - stars) ** 2), n + last
    return end(total, n, count, last)


def ending(end):
    return lambda batches: pooled(batches, end)


def first_batch(batches):
    for predicted, stars in batches:
        return np.sqrt(np.mean((predicted - stars) ** 2))


def of_roots(of):
    return lambda batches: of([np.sqrt(np.mean((predicted - stars) ** 2)) for predicted, stars in batches])


def of_all(of):
    return lambda batches: of(np.concatenate([predicted - stars for predicted, stars in batches]))


def last_batch(batches):
    for predicted, stars in batches:
        total, n = np.sum((predicted - stars) ** 2), len(stars)
    return np.sqrt(total / n)


def twice_through(batches):
    n = sum(len(stars) for _, stars in batches)
    return np.sqrt(sum(np.sum((predicted - stars) ** 2) for predicted, stars in batches) / n)


def twice_through_backwards(batches):
    total = sum(np.sum((predicted - stars) ** 2) for predicted, stars in batches)
    return np.sqrt(total / sum(len(stars) for _, stars in batches))


WRONG = {
    "the_unfair_race": [
        (("Adam", judge(choose=max)), "highest errors"),
        (("Adam", errors_not_names), "the names are wanted"),
        (("Adam", rates_of_names), "for each rate a name"),
        (("Adam", most_wins), "wins at most of the rates"),
        (("Adam", judge(fair=np.mean)), "lowest on average"),
        (("Adam", lowest_error), "the name is wanted"),
        (("Adam", unfair_alone), "Return both"),
        (("Adamax", judge()), "One of these is asked for"),
        (("Adam", judge(fair=np.median)), "lowest median"),
        (("Adam", judge(fair=max)), "least bad"),
        (("Adam", rate_with(lambda errors, rate, name: (name, errors[name][rate]))), "without its error"),
        (("Adam", lambda errors: (list(judge()(errors)[0].values()), judge()(errors)[1])), "A list has lost the rates"),
        (("Adam", lambda errors: (judge()(errors)[1], judge()(errors)[1])), "One winner for all rates"),
        (("Adam", fairly(best_common_rate)), "suits all of them best"),
        (("Adam", fairly(lambda errors: max(errors, key=lambda name: min(errors[name].values())))), "lowest is wanted"),
        (
            ("Adam", fairly(lambda errors: {name: min(row.values()) for name, row in errors.items()})),
            "all the lowest errors",
        ),
        (
            ("Adam", fairly(lambda errors: min((e, r) for row in errors.values() for r, e in row.items())[1])),
            "That is the rate",
        ),
    ],
    "adam_without_a_correction": [
        (("higher", lambda t, b1, b2: (1 - b2**t) ** 0.5 / (1 - b1**t)), "The other way round"),
        (("higher", lambda t, b1, b2: (1 - b1**t) / (1 - b2**t)), "under a root"),
        (("higher", lambda t, b1, b2: 1 / (1 - b2**t) ** 0.5), "m is not corrected either"),
        (("higher", lambda t, b1, b2: 1 - b1**t), "correction of m alone"),
        (("higher", lambda t, b1, b2: (1 - b1**t) * (1 - b2**t) ** 0.5), "against each other"),
        (("higher", lambda t, b1, b2: (1 - b2**t) / (1 - b1**t) ** 0.5), "betas are exchanged"),
        (("higher", lambda t, b1, b2: (1 - b1) / (1 - b2) ** 0.5), "the first step's"),
        (("higher", lambda t, b1, b2: (1 - b1) ** t / ((1 - b2) ** t) ** 0.5), "the power belongs to β"),
        (("higher", lambda t, b1, b2: (1 - b1 ** (t + 1)) / (1 - b2 ** (t + 1)) ** 0.5), "t counts from 1"),
        (("higher", lambda t, b1, b2: (1 - b1**t) / (1 - b2**t) ** 0.5 - 1), "How many *times*"),
        (("higher", lambda t, b1, b2: (1 - b1**t) ** 2 / (1 - b2**t)), "ratio of the squares"),
        (("longer", lambda t, b1, b2: (1 - b1**t) / (1 - b2**t) ** 0.5), "One of these is asked for"),
    ],
    "momentum_meets_the_sparse_row": [
        (("dense", travelled, lazy), "print(positions_of_row_1"),
        (("both", lambda steps, beta: beta ** (steps - 1), lazy), "the last step alone"),
        (("both", lambda steps, beta: travelled(steps + 1, beta), lazy), "one step too many"),
        (("both", lambda steps, beta: travelled(steps, beta) - 1, lazy), "first step itself is missing"),
        (("both", lambda steps, beta: 1 / (1 - beta), lazy), "after very many steps"),
        (("both", lambda steps, beta: 1, lazy), "The row moves on"),
        (("both", lambda steps, beta: travelled(steps - 1, beta), lazy), "one step too few"),
        (("both", lambda steps, beta: beta * travelled(steps, beta), lazy), "counts in full"),
        (("both", lambda steps, beta: steps, lazy), "it shrinks by β"),
        (("both", lambda steps, beta: 1 + (steps - 1) * beta, lazy), "shorter than the one before"),
        (("both", travelled, rows_by(lambda g: g.sum(dim=1) != 0)), "adds up to 0"),
        (("both", travelled, rows_by(lambda g: g.sum(dim=1) > 0)), "negative gradient"),
        (("both", travelled, rows_by(lambda g: (g > 0).any(dim=1))), "ask what is not 0"),
        (("both", travelled, rows_by(lambda g: g[:, 0] != 0)), "One column does not tell"),
        (("both", travelled, rows_by(lambda g: (g != 0).all(dim=1))), "a single 0 in it"),
        (("both", travelled, lambda w, g, memory, lr, beta: lazy(w.clone(), g, memory, lr, beta)), "w is as before"),
        (("both", travelled, lambda w, g, memory, lr, beta: lazy(w, g, memory, 0.1, beta)), "`lr` is an argument"),
        (("both", travelled, lambda w, g, memory, lr, beta: lazy(w, g, memory, lr)), "`beta` is an argument"),
        (("both", travelled, ahead), "Nesterov's way"),
        (("both", travelled, plain), "They moved"),
        (("both", travelled, fading), "has faded"),
        (("both", travelled, lost), "is lost"),
        (("both", travelled, nothing_remembered), "Nothing is remembered"),
        (("both", travelled, a_mean), "adds g itself"),
        (("both", travelled, uphill), "Uphill"),
        (("both", travelled, a_copy), "in place"),
    ],
    "a_mean_of_means": [
        (("higher", mean_of_roots), "mean of the batches' RMSEs"),
        (("higher", root_of_mean_of_means), "Every batch counts the same"),
        (("higher", weighted_roots), "weighted by size"),
        (("higher", ending(lambda total, n, count, last: total / n)), "The root is missing"),
        (("higher", ending(lambda total, n, count, last: np.sqrt(total / count))), "number of batches"),
        (("higher", ending(lambda total, n, count, last: np.sqrt(total / last))), "size of the last batch"),
        (("higher", ending(lambda total, n, count, last: np.sqrt(total) / n)), "after the root"),
        (("higher", last_batch), "Only the last batch"),
        (("higher", first_batch), "Only the first batch"),
        (("higher", ending(lambda total, n, count, last: np.sqrt(total))), "not divided by the number"),
        (("higher", ending(lambda total, n, count, last: np.sqrt(total / (n - 1)))), "divides by n - 1"),
        (("higher", of_roots(np.median)), "median of the batches' RMSEs"),
        (("higher", of_roots(max)), "the worst batch's"),
        (("higher", of_all(np.std)), "standard deviation of the errors"),
        (("higher", of_all(lambda e: np.abs(e).mean())), "mean absolute error"),
        (("higher", twice_through), "gone through twice"),
        (("higher", twice_through_backwards), "gone through twice"),
    ],
}
