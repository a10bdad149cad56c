"""What learners typically write in the exercises to lesson 05, and words of the hint that each deserves."""

import numpy as np
import torch

# -- the unfair race


def at_each(errors, pick=min):
    rates = next(iter(errors.values()))
    return {rate: pick(errors, key=lambda name: errors[name][rate]) for rate in rates}


def at_best(errors, of=min, pick=min):
    return pick(errors, key=lambda name: of(list(errors[name].values())))


def judge(unfair=at_each, fair=at_best):
    return lambda errors: (unfair(errors), fair(errors))


def finite_mean(row):
    return np.mean([error for error in row if error < np.inf])


def second(errors):
    return {rate: sorted(errors, key=lambda name: errors[name][rate])[1] for rate in next(iter(errors.values()))}


def lowest_errors(errors):
    return {rate: min(row[rate] for row in errors.values()) for rate in next(iter(errors.values()))}


def all_survive(errors):
    return {rate: name for rate, name in at_each(errors).items() if all(row[rate] < 9 for row in errors.values())}


def names_and_errors(errors):
    return {rate: (name, errors[name][rate]) for rate, name in at_each(errors).items()}


def one_for_all(errors):
    return dict.fromkeys(at_each(errors), at_best(errors))


def own_rates(errors):
    return {name: min(row, key=row.get) for name, row in errors.items()}


def keyed_by_name(errors):
    return {name: rate for rate, name in at_each(errors).items()}


def stated_rates(errors):
    return {rate: min(errors, key=lambda name: errors[name][rate]) for rate in (0.01, 0.03, 0.1, 10, 60)}


def most_wins(errors):
    return max(errors, key=list(at_each(errors).values()).count)


def lowest_error(errors):
    return min(min(row.values()) for row in errors.values())


def its_rate(errors):
    row = errors[at_best(errors)]
    return min(row, key=row.get)


# -- momentum meets the sparse row


def travelled(steps, beta):
    return sum(beta**n for n in range(steps))


def way(change):
    return lambda steps, beta: change(travelled(steps, beta), steps, beta)


def ways_of_ways(steps, beta):
    return sum(travelled(n + 1, beta) for n in range(steps))


def plain(w, g, memory, lr, beta=0.9):
    memory["m"] = beta * memory.get("m", 0) + g
    w -= lr * memory["m"]


def looked_up(g):
    return g.abs().sum(dim=1) > 0


def lazy(
    rows=looked_up,
    remember=lambda m, g, lr, beta: beta * m + g,
    move=lambda old, m, g, lr, beta: lr * m,
    all_move=False,
):
    """Momentum with `rows` at work, and what it remembers and how it moves."""

    def rule(w, g, memory, lr, beta=0.9):
        m, at = memory.setdefault("m", torch.zeros_like(w)), rows(g)
        old = m.clone()
        m[at] = remember(m, g, lr, beta)[at]
        every = torch.ones_like(at) if all_move else at
        w[every] -= move(old, m, g, lr, beta)[every]

    return rule


def fading(w, g, memory, lr, beta=0.9):
    m = memory["m"] = beta * memory.get("m", torch.zeros_like(w)) + g
    rows = looked_up(g)
    w[rows] -= lr * m[rows]


def lost(w, g, memory, lr, beta=0.9):
    fading(w, g, memory, lr, beta)
    memory["m"] = memory["m"] * (g.abs().sum(dim=1, keepdim=True) > 0)


def nothing_remembered(w, g, memory, lr, beta=0.9):
    m = memory.get("m", torch.zeros_like(w))
    rows = looked_up(g)
    m[rows] = beta * m[rows] + g[rows]
    w[rows] -= lr * m[rows]


def a_copy(w, g, memory, lr, beta=0.9):
    w = w.clone()
    lazy()(w, g, memory, lr, beta)
    return w


def a_copy_that_is_lost(w, g, memory, lr, beta=0.9):
    a_copy(w, g, memory, lr, beta)


# -- a mean of means


def mean_of_roots(batches):
    return np.mean([np.sqrt(np.mean((predicted - stars) ** 2)) for predicted, stars in batches])


def keeping_all(batches):
    return np.sqrt(np.mean(np.concatenate([predicted - stars for predicted, stars in batches]) ** 2))


def root_of_mean_of_means(batches):
    return np.sqrt(np.mean([np.mean((predicted - stars) ** 2) for predicted, stars in batches]))


def weighted_roots(batches):
    pairs = [(np.sqrt(np.mean((predicted - stars) ** 2)), len(stars)) for predicted, stars in batches]
    return sum(root * n for root, n in pairs) / sum(n for _, n in pairs)


def of_batches(end):
    """`end` of what a loop collects: of each batch its errors."""
    return lambda batches: end([predicted - stars for predicted, stars in batches])


def sums(end):
    """`end` of the sum of squares, the number of ratings, that of batches, and those of the first and last batch."""

    def of(errors):
        sizes = [len(each) for each in errors]
        return end(sum(np.sum(each**2) for each in errors), sum(sizes), len(sizes), sizes[0], sizes[-1])

    return of_batches(of)


def rms(errors):
    return np.sqrt(np.mean(errors**2))


def last_batch(batches):
    for predicted, stars in batches:
        total, n = np.sum((predicted - stars) ** 2), len(stars)
    return np.sqrt(total / n)


def last_squares(batches):
    n = 0
    for predicted, stars in batches:
        total, n = np.sum((predicted - stars) ** 2), n + len(stars)
    return np.sqrt(total / n)


def first_batch(batches):
    for predicted, stars in batches:
        return rms(predicted - stars)


def never_added(batches):
    total, n = 0, 0
    for predicted, stars in batches:
        total + np.sum((predicted - stars) ** 2)
        n += len(stars)
    return np.sqrt(total / n)


def mean_of_squares_of_sums(errors):
    return np.sqrt(sum(each.sum() ** 2 for each in errors) / sum(map(len, errors)))


def twice_through(batches):
    n = sum(len(stars) for _, stars in batches)
    return np.sqrt(sum(np.sum((predicted - stars) ** 2) for predicted, stars in batches) / n)


def twice_through_backwards(batches):
    total = sum(np.sum((predicted - stars) ** 2) for predicted, stars in batches)
    return np.sqrt(total / sum(len(stars) for _, stars in batches))


RIGHT = judge()

WRONG = {
    "the_unfair_race": [
        (("Lion", RIGHT), "One of these is asked for"),
        (("Adam", judge(lambda errors: at_each(errors, max))), "highest errors"),
        (("Adam", judge(second)), "These are second"),
        (("Adam", judge(lowest_errors)), "the names are wanted"),
        (("Adam", judge(names_and_errors)), "the name alone is wanted"),
        (("Adam", judge(own_rates)), "for each rate a name"),
        (("Adam", judge(keyed_by_name)), "each rate is a key"),
        (("Adam", judge(lambda errors: dict(enumerate(at_each(errors).values())))), "The keys are places"),
        (("Adam", judge(one_for_all)), "Here each rate has its own winner"),
        (("Adam", judge(all_survive)), "A rate at which one of them diverges"),
        (("Adam", judge(stated_rates)), "print the keys"),
        (("Adam", judge(lambda errors: list(at_each(errors).values()))), "which name belongs to which rate"),
        (("Adam", judge(at_best, at_each)), "the dict first"),
        (("Adam", judge(fair=most_wins)), "wins at most of the rates"),
        (("Adam", judge(fair=lambda errors: at_best(errors, np.mean))), "bad ones included"),
        (("Adam", judge(fair=lambda errors: at_best(errors, finite_mean))), "where it does not diverge"),
        (("Adam", judge(fair=lambda errors: at_best(errors, np.median))), "lowest median"),
        (("Adam", judge(fair=lambda errors: at_best(errors, max))), "at its worst rate"),
        (("Adam", judge(fair=lambda errors: at_best(errors, pick=max))), "That one loses"),
        (("Adam", judge(fair=lambda errors: at_best(errors, max, max))), "highest error of all"),
        (
            ("Adam", judge(fair=lambda errors: min(errors, key=lambda name: errors[name][min(errors[name])]))),
            "first rate",
        ),
        (("Adam", judge(fair=lambda errors: at_each(errors)[max(at_each(errors))])), "last rate"),
        (("Adam", judge(fair=lowest_error)), "That is the error"),
        (("Adam", judge(fair=its_rate)), "That is the rate"),
        (("Adam", judge(fair=lambda errors: {name: min(row.values()) for name, row in errors.items()})), "best errors"),
        (("Adam", judge(fair=lambda errors: (at_best(errors), lowest_error(errors)))), "without its error"),
        (("Adam", at_each), "Return both"),
        (("Adam", lambda errors: None), "end in `return`"),
    ],
    "adam_without_a_correction": [
        (("higher", lambda t, b1, b2: (1 - b2**t) ** 0.5 / (1 - b1**t)), "The other way round"),
        (("higher", lambda t, b1, b2: (1 - b1**t) / (1 - b2**t)), "under a root, and so"),
        (("higher", lambda t, b1, b2: 1 / (1 - b2**t) ** 0.5), "m is not corrected either"),
        (("higher", lambda t, b1, b2: 1 - b1**t), "correction of m alone"),
        (("higher", lambda t, b1, b2: (1 - b1**t) * (1 - b2**t) ** 0.5), "against each other"),
        (("higher", lambda t, b1, b2: (1 - b2**t) / (1 - b1**t) ** 0.5), "betas are exchanged"),
        (("higher", lambda t, b1, b2: (1 - b1) / (1 - b2) ** 0.5), "the first step's"),
        (("higher", lambda t, b1, b2: (1 - b2**t) ** 0.5), "v makes the step longer"),
        (("higher", lambda t, b1, b2: 1 / (1 - b1**t) / (1 - b2**t) ** 0.5), "m without its correction is too small"),
        (("higher", lambda t, b1, b2: ((1 - b1**t) / (1 - b2**t)) ** 0.5), "m stands under no root"),
        (("higher", lambda t, b1, b2: (1 - b1**t) ** 0.5 / (1 - b2**t)), "The root belongs to v"),
        (("higher", lambda t, b1, b2: (1 - b1**t) / (1 - b2**t) ** 2), "no square"),
        (("higher", lambda t, b1, b2: (1 - b1) ** t / ((1 - b2) ** t) ** 0.5), "first the power"),
        (("higher", lambda t, b1, b2: b1**t / (b2**t) ** 0.5), "the 1 − is missing"),
        (("higher", lambda t, b1, b2: (1 - b1 * t) / (1 - b2 * t) ** 0.5), "not beta * t"),
        (("higher", lambda t, b1, b2: (1 - b1 ** (t - 1)) / (1 - b2 ** (t - 1)) ** 0.5), "step t − 1"),
        (("higher", lambda t, b1, b2: (1 - b1 ** (t + 1)) / (1 - b2 ** (t + 1)) ** 0.5), "step t + 1"),
        (("higher", lambda t, b1, b2: (1 - b1**t) / (1 - b2**t) ** 0.5 - 1), "the ratio minus 1"),
        (("higher", lambda t, b1, b2: 100 * (1 - b1**t) / (1 - b2**t) ** 0.5), "In per cent"),
        (("higher", lambda t, b1, b2: 1.0), "Divide the first by the second"),
    ],
    "momentum_meets_the_sparse_row": [
        (("no", travelled, lazy()), "One of these is asked for"),
        (("both", lambda steps, beta: beta ** (steps - 1), lazy()), "the last step alone"),
        (("both", lambda steps, beta: beta**steps, lazy()), "the step after the last"),
        (("both", lambda steps, beta: travelled(steps + 1, beta), lazy()), "one step too many"),
        (("both", way(lambda far, steps, beta: far - 1), lazy()), "first step itself is missing"),
        (("both", way(lambda far, steps, beta: far * beta), lazy()), "the powers start at 0"),
        (("both", lambda steps, beta: 1 / (1 - beta), lazy()), "after very many steps"),
        (("both", way(lambda far, steps, beta: 1 / (1 - beta) - far), lazy()), "how far has it come"),
        (("both", lambda steps, beta: 1, lazy()), "The row moves on"),
        (("both", lambda steps, beta: 1 + (steps - 1) * beta, lazy()), "Each later step is shorter"),
        (("both", lambda steps, beta: steps, lazy()), "The steps get shorter"),
        (("both", way(lambda far, steps, beta: 1 - beta**steps), lazy()), "see SGD(momentum=…)"),
        (("both", way(lambda far, steps, beta: 0.1 * far), lazy()), "In multiples of the first step"),
        (("both", way(lambda far, steps, beta: -far), lazy()), "their ratio is positive"),
        (("both", ways_of_ways, lazy()), "ways of ways"),
        (("both", travelled, plain), "All rows move here"),
        (("both", travelled, lazy(all_move=True)), "it still moves the rows at rest"),
        (("both", travelled, fading), "has faded"),
        (("both", travelled, lost), "is lost"),
        (("both", travelled, nothing_remembered), "Nothing is remembered"),
        (("both", travelled, lazy(lambda g: g.sum(dim=1) != 0)), "add up to 0 counts as at rest"),
        (("both", travelled, lazy(lambda g: g.sum(dim=1) > 0)), "less than 0 counts as at rest"),
        (("both", travelled, lazy(lambda g: g != 0)), "Single numbers of a row"),
        (("both", travelled, lazy(lambda g: g > 0)), "Numbers below zero"),
        (("both", travelled, lazy(lambda g: (g != 0).all(dim=1))), "A row with a single 0"),
        (("both", travelled, lazy(lambda g: g[:, 0] != 0)), "The first column decides"),
        (("both", travelled, lazy(lambda g: g.abs().sum(dim=1) > 1e-6)), "Compare with 0"),
        (("both", travelled, lazy(lambda g: g.abs().sum(dim=0) > 0)), "dim=0 adds up"),
        (("both", travelled, lazy(lambda g: g.abs().sum(dim=1) == 0)), "where g is not 0"),
        (("both", travelled, lazy(remember=lambda m, g, lr, beta: beta * m + (1 - beta) * g)), "adds g itself"),
        (("both", travelled, lazy(remember=lambda m, g, lr, beta: m + g)), "Nothing of the memory fades"),
        (("both", travelled, lazy(remember=lambda m, g, lr, beta: 0.9 * m + g)), "a beta of its own"),
        (
            (
                "both",
                travelled,
                lazy(remember=lambda m, g, lr, beta: beta * m + lr * g, move=lambda old, m, g, lr, beta: m),
            ),
            "The rate is in the memory",
        ),
        (("both", travelled, lazy(move=lambda old, m, g, lr, beta: m)), "The rate is missing"),
        (("both", travelled, lazy(move=lambda old, m, g, lr, beta: -lr * m)), "Uphill"),
        (("both", travelled, lazy(move=lambda old, m, g, lr, beta: lr * old)), "by the old memory"),
        (("both", travelled, lazy(move=lambda old, m, g, lr, beta: lr * (m + g))), "which holds g already"),
        (("both", travelled, lazy(move=lambda old, m, g, lr, beta: lr * (beta * m + g))), "Nesterov"),
        (("both", travelled, a_copy), "in place"),
        (("both", travelled, a_copy_that_is_lost), "w is as before"),
    ],
    "a_mean_of_means": [
        (("better", rms), "One of these is asked for"),
        (("higher", mean_of_roots), "mean of the batches' RMSEs"),
        (
            ("higher", of_batches(lambda errors: np.median([rms(each) for each in errors]))),
            "median of the batches' RMSEs",
        ),
        (("higher", root_of_mean_of_means), "Every batch counts the same"),
        (("higher", keeping_all), "Two running numbers are enough"),
        (("higher", weighted_roots), "weighted by size"),
        (("higher", sums(lambda total, n, count, first, last: total / n)), "The root is missing"),
        (("higher", sums(lambda total, n, count, first, last: np.sqrt(total / count))), "number of batches"),
        (("higher", sums(lambda total, n, count, first, last: np.sqrt(total / last))), "size of the last batch"),
        (("higher", sums(lambda total, n, count, first, last: np.sqrt(total / first))), "size of the first batch"),
        (("higher", sums(lambda total, n, count, first, last: np.sqrt(total / (n + 1)))), "one rating too many"),
        (("higher", sums(lambda total, n, count, first, last: np.sqrt(total / max(n - 1, 1)))), "one rating too few"),
        (("higher", sums(lambda total, n, count, first, last: np.sqrt(total) / n)), "after the root"),
        (("higher", sums(lambda total, n, count, first, last: np.sqrt(total))), "Nothing is divided"),
        (
            (
                "higher",
                of_batches(lambda errors: np.sqrt(sum(np.mean(each**2) for each in errors) / sum(map(len, errors)))),
            ),
            "Means are added up",
        ),
        (
            (
                "higher",
                of_batches(lambda errors: sum(np.sqrt(np.sum(each**2)) for each in errors) / sum(map(len, errors))),
            ),
            "the root of its sum",
        ),
        (("higher", of_batches(lambda errors: sum(rms(each) for each in errors))), "RMSEs added up"),
        (("higher", last_batch), "Only the last batch"),
        (("higher", last_squares), "the last batch's alone"),
        (("higher", first_batch), "inside the loop"),
        (("higher", of_batches(lambda errors: np.mean(np.abs(np.concatenate(errors))))), "mean absolute error"),
        (("higher", of_batches(lambda errors: abs(np.mean(np.concatenate(errors))))), "and cancel"),
        (("higher", of_batches(lambda errors: np.std(np.concatenate(errors)))), "standard deviation"),
        (("higher", of_batches(mean_of_squares_of_sums)), "square each"),
        (("higher", never_added), "Nothing has been added up"),
        (("higher", twice_through), "gone through twice"),
        (("higher", twice_through_backwards), "gone through twice"),
    ],
}
