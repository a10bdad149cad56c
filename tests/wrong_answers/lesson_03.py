"""What learners typically write in the exercises to lesson 03, and words of the hint that each deserves."""

import numpy as np

import mfhelpers as mf


def turns(films_first=True, forgetful=False, damped=True, swapped=False, at_once=False, centred=True):
    def in_turns(part, damping, rounds):
        rest = part.values - (part.values.mean(dtype=np.float64) if centred else 0)
        b_u, b_i = np.zeros(part.n_users), np.zeros(part.n_items)

        def of_films(b_u):
            sums = np.bincount(part.items, rest - b_u[part.users], minlength=part.n_items)
            return sums / (part.item_counts + damping if damped else np.maximum(part.item_counts, 1))

        def of_users(b_i):
            sums = np.bincount(part.users, rest - b_i[part.items], minlength=part.n_users)
            return sums / (part.user_counts + damping if damped else np.maximum(part.user_counts, 1))

        for _ in range(rounds):
            if at_once:
                b_i, b_u = of_films(b_u), of_users(b_i)
            elif films_first:
                b_i = of_films(0 * b_u if forgetful else b_u)
                b_u = of_users(b_i)
            else:
                b_u = of_users(b_i)
                b_i = of_films(b_u)
        return (b_i, b_u) if swapped else (b_u, b_i)

    return in_turns


def other_average(of):
    """Turns whose answer is `of` the sums, the counts, the damping, and whether it is the films' turn."""

    def in_turns(part, damping, rounds):
        rest = part.values - part.values.mean(dtype=np.float64)
        b_u, b_i = np.zeros(part.n_users), np.zeros(part.n_items)
        for _ in range(rounds):
            b_i = of(np.bincount(part.items, rest - b_u[part.users], part.n_items), part.item_counts, damping, True)
            b_u = of(np.bincount(part.users, rest - b_i[part.items], part.n_users), part.user_counts, damping, False)
        return b_u, b_i

    return in_turns


def medians(groups, rest, n):
    return np.array([np.median(rest[groups == g]) if (groups == g).any() else 0 for g in range(n)])


def by_medians(part):
    rest = part.values - part.values.mean(dtype=np.float64)
    b_i = medians(part.items, rest, part.n_items)
    return medians(part.users, rest - b_i[part.items], part.n_users), b_i


def level_in_it(part, sign=-1, centred=False):
    rest = part.values - (part.values.mean(dtype=np.float64) if centred else 0)
    b_i = np.bincount(part.items, rest, part.n_items) / np.maximum(part.item_counts, 1)
    left = rest + sign * b_i[part.items]
    return np.bincount(part.users, left, part.n_users) / np.maximum(part.user_counts, 1), b_i


def halved(of):
    """`of` the right correlation and number, and of what they were asked of."""
    return lambda *asked: of(*halving()(*asked), *asked)


def covariance(part, lowest, highest, seed):
    both = mf.random_split(part, test=0.5, seed=seed)
    counts = np.array([half.item_counts for half in both])
    films = (counts.min(axis=0) >= lowest) & (counts.max(axis=0) <= highest)
    return np.cov(*(mf.item_means(half).item_biases[films] for half in both))[0, 1], counts[:, films].mean()


def halving(count=min, damping=0, per_half=True, matrix=False, inclusive=True):
    def halves(part, lowest, highest, seed):
        both = mf.random_split(part, test=0.5, seed=seed)
        counts = np.array([half.item_counts for half in both])
        if count is sum:
            films = (counts.sum(axis=0) >= lowest) & (counts.sum(axis=0) <= highest)
        elif count is next:
            films = (counts[0] >= lowest) & (counts[0] <= highest)
        else:
            films = (counts.min(axis=0) >= lowest) & (counts.max(axis=0) <= highest - (not inclusive))
        table = np.corrcoef(*(mf.item_means(half, damping).item_biases[films] for half in both))
        return table if matrix else table[0, 1], counts[:, films].mean() * (1 if per_half else 2)

    return halves


def ratio(correlation, n):
    return n * (1 - correlation) / correlation


def averages(films_first=True, both=True, damping=0):
    def once_generous(part):
        rest = part.values - part.values.mean(dtype=np.float64)
        counts = [np.maximum(n + damping, 1) for n in (part.user_counts, part.item_counts)]
        b_u = np.bincount(part.users, rest, minlength=part.n_users) / counts[0]
        if films_first:
            b_i = np.bincount(part.items, rest, minlength=part.n_items) / counts[1]
            if both:
                b_u = np.bincount(part.users, rest - b_i[part.items], minlength=part.n_users) / counts[0]
        else:
            b_i = np.bincount(part.items, rest - b_u[part.users], minlength=part.n_items) / counts[1]
        return b_u, b_i

    return once_generous


def nothing_for_strangers(part):
    rest = part.values - part.values.mean(dtype=np.float64)
    with np.errstate(invalid="ignore"):
        b_i = np.bincount(part.items, rest, minlength=part.n_items) / part.item_counts
        left = rest - b_i[part.items]
        return np.bincount(part.users, left, minlength=part.n_users) / part.user_counts, b_i


def best_column(factors, biases):
    return max(np.corrcoef(column, biases)[0, 1] ** 2 for column in factors.T)


def largest_correlation(factors, biases):
    return max(abs(np.corrcoef(column, biases)[0, 1]) for column in factors.T)


def added_up(factors, biases):
    return sum(np.corrcoef(column, biases)[0, 1] ** 2 for column in factors.T)


def least_squares(constant=True, left_over=False, root=False):
    def explained(factors, biases):
        X = np.column_stack([factors, np.ones(len(biases))]) if constant else factors
        left = biases - X @ np.linalg.lstsq(X, biases, rcond=None)[0]
        share = left.var() / biases.var() if left_over else 1 - left.var() / biases.var()
        return share**0.5 if root else share

    return explained


WRONG = {
    "ask_again_and_again": [
        (("better", turns()), "One of these is asked for"),
        (("fall", turns(films_first=False)), "Users were asked first"),
        (("fall", turns(forgetful=True)), "begins from zero"),
        (("fall", other_average(lambda s, n, d, films: s / np.maximum(n, d))), "At least `damping`"),
        (("fall", turns(damped=False)), "No damping"),
        (("fall", turns(swapped=True)), "b_u first"),
        (("fall", turns(at_once=True)), "asked at once"),
        (("fall", turns(centred=False)), "subtract mu"),
        (("fall", lambda part, damping, rounds: turns()(part, damping, min(rounds, 4))), "go on from the one before"),
        (("fall", lambda part, damping, rounds: turns()(part, damping, rounds + 1)), "One round too many"),
        (("fall", lambda part, damping, rounds: turns()(part, damping, rounds - 1)), "One round too few"),
        (("fall", lambda part, damping, rounds: turns()(part, 2 * damping, rounds)), "Twice as much damping"),
        (("fall", lambda part, damping, rounds: turns()(part, 5, rounds)), "where the function is given one"),
        (("fall", other_average(lambda sums, n, damping, films: sums)), "Sums, not means"),
        (("fall", other_average(lambda sums, n, damping, films: sums / damping)), "by the damping alone"),
        (
            ("fall", other_average(lambda sums, n, damping, films: sums / np.maximum(n + damping * films, 1))),
            "The users are not damped",
        ),
        (
            ("fall", other_average(lambda sums, n, damping, films: sums / np.maximum(n + damping * (not films), 1))),
            "The films are not damped",
        ),
    ],
    "how_many_ratings_make_a_bias": [
        ((0.4, halving(count=sum), ratio), "Counted in both halves"),
        ((0.4, halving(count=next), ratio), "Counted in the first half"),
        ((0.4, halving(damping=5), ratio), "Damped"),
        ((0.4, halving(per_half=False), ratio), "give the mean in a half"),
        ((0.4, halving(inclusive=False), ratio), "The upper bound"),
        ((0.4, halving(matrix=True), ratio), "off its diagonal"),
        ((0.3, halving(), ratio), "One of these is asked for"),
        ((0.4, covariance, ratio), "That is the covariance"),
        ((0.4, halved(lambda c, n, *asked: (n, c)), ratio), "first the correlation"),
        ((0.4, halved(lambda c, n, *asked: (c**2, n)), ratio), "the square of the correlation"),
        (
            (0.4, halved(lambda c, n, part, lowest, highest, _: halving()(part, lowest + 1, highest, _)), ratio),
            "The lower bound",
        ),
        ((0.4, lambda part, lowest, highest, seed: halving()(part, lowest, highest, 0), ratio), "hand on `seed`"),
        ((0.4, halving(), lambda correlation, n: n * (1 - correlation)), "Divide by the correlation, too"),
        ((0.4, halving(), lambda correlation, n: (1 - correlation) / correlation / n), "on the wrong side"),
        ((0.4, halving(), lambda correlation, n: 1 / ratio(correlation, n)), "its inverse"),
        ((0.4, halving(), lambda correlation, n: ratio(correlation, 1)), "where is n?"),
        ((0.4, halving(), lambda correlation, n: n * correlation / (1 - correlation)), "solved for n"),
    ],
    "twice_generous": [
        ((5, 5, averages()), "adds both"),
        ((3, 5, averages()), "Where is the mean"),
        ((6.5, 3.5, averages()), "the film's bias is 1.5"),
        ((6.5, 5, averages(both=False)), "Still twice generous"),
        ((6.5, 5, averages(films_first=False)), "films were to be first"),
        ((5.5, 5, averages()), "knows no scale"),
        ((6.5, 5, averages(damping=5)), "These are damped"),
        ((6.5, 5, by_medians), "These are medians"),
        ((6.5, 5, lambda part: averages()(part)[::-1]), "b_u first"),
        ((6.5, 5, level_in_it), "subtract mu"),
        ((6.5, 5, lambda part: level_in_it(part, sign=1, centred=True)), "is what it leaves"),
        ((6.5, 5, lambda part: tuple(b / 2 for b in averages(both=False)(part))), "Each is halved"),
        ((6.5, 5, nothing_for_strangers), "0 / 0"),
    ],
    "do_factors_repeat_the_biases": [
        (("most", best_column), "best single column"),
        (("most", largest_correlation), "correlation of one column"),
        (("most", added_up), "do not add up"),
        (("most", least_squares(constant=False)), "a column of ones"),
        (("most", least_squares(left_over=True)), "the share left over"),
        (("most", least_squares(root=True)), "That is its root"),
        (
            ("most", lambda factors, biases: 1 - (1 - least_squares()(factors, biases)) ** 0.5),
            "share of the standard deviation",
        ),
        (
            ("most", lambda factors, biases: least_squares()(factors, biases) * biases.var()),
            "That is the variance explained",
        ),
        (("most", lambda factors, biases: added_up(factors, biases) / factors.shape[1]), "the mean over the columns"),
        (("most", lambda factors, biases: np.corrcoef(factors[:, 0], biases)[0, 1] ** 2), "The first column alone"),
        (("all", least_squares()), "One of these is asked for"),
    ],
}
