"""What learners typically write in the exercises to lesson 08, and words of the hint that each deserves."""

import numpy as np

import mfhelpers as mf


def errors_table(train, baseline):
    table = np.zeros((train.n_users, train.n_items))
    table[train.users, train.items] = train.values - baseline.predict(train.users, train.items)
    return table


def priced(of_table):
    return lambda train, baseline: of_table(errors_table(train, baseline))


def of_ratings(train, baseline):
    return np.linalg.norm(train.to_csr().toarray(), 2)


def of_all_cells(train, baseline):
    return np.linalg.norm(train.to_csr().toarray() - baseline.predict(*np.indices((train.n_users, train.n_items))), 2)


def mixed(of_q, keep=True):
    def mix(factors, A):
        biases = factors.user_biases, factors.item_biases
        biases = biases if keep else [np.zeros_like(b) for b in biases]
        return mf.Factors(factors.mean, *biases, factors.user_factors @ A, of_q(factors.item_factors, A))

    return mix


def undone(Q, A):
    return Q @ np.linalg.inv(A).T


def sums(of_users, of_films):
    return lambda reg, n, n_users, n_items, k: (of_users(reg, n, n_users, k), of_films(reg, n, n_items, k))


def right_sums(reg, n_ratings, n_users, n_items, k):
    return reg * n_ratings / (n_users * k), reg * n_ratings / (n_items * k)


def mean_loss(e, P, Q, lam):
    return (e**2).mean() + lam * ((P**2).mean() + (Q**2).mean())


def sum_loss(e, P, Q, lam):
    return (e**2).sum() + lam * ((P**2).sum() + (Q**2).sum())


def half_summed(e, P, Q, lam):
    return (e**2).mean() + lam * ((P**2).sum() + (Q**2).sum())


def match(honest=None, leak=None, **how):
    """Contestants that differ from the right ones by an option, or by what they train on."""

    def contestants(ratings, price):
        def svdpp(part, seed, **options):
            return mf.svdpp(part, **{"seed": seed, "reg_implicit": price, "progress": False} | options | how)

        return {
            "honest": honest(svdpp, ratings) if honest else svdpp,
            "leak": leak(svdpp, ratings) if leak else lambda train, seed: svdpp(train, seed, implicit=ratings),
        }

    return contestants


def the_same(svdpp, ratings):
    return lambda train, seed: svdpp(train, seed)


def with_pairs(svdpp, ratings):
    return lambda train, seed: svdpp(train, seed, implicit=ratings)


def on_all_stars(svdpp, ratings):
    return lambda train, seed: svdpp(ratings, seed)


def triples(draw, of_ratings=True):
    def sample_pairs(train, n, rng):
        chosen = rng.integers(0, len(train), n)
        users, rated = train.users[chosen], train.items[chosen]
        if not of_ratings:
            users, rated = rng.integers(0, train.n_users, n), rng.integers(0, train.n_items, n)
        return users, rated, draw(train, users, rng)

    return sample_pairs


def among_all(train, users, rng):
    return rng.integers(0, train.n_items, len(users))


def rated_by_nobody(train, users, rng):
    return rng.choice(np.flatnonzero(train.item_counts == 0), len(users))


def redrawn(train, users, rng, times=1, among=among_all):
    unrated, seen = among(train, users, rng), train.users * train.n_items + train.items
    for _ in range(times):
        hit = np.isin(users * train.n_items + unrated, seen)
        unrated[hit] = among(train, users[hit], rng)
    return unrated


def of_a_rating(train, users, rng):
    return train.items[rng.integers(0, len(train), len(users))]


def left_out(train, n, rng):
    users, rated, unrated = triples(among_all)(train, n, rng)
    good = ~np.isin(users * train.n_items + unrated, train.users * train.n_items + train.items)
    return users[good], rated[good], unrated[good]


def by_users(train, n, rng):
    users = rng.choice(np.flatnonzero(train.user_counts), n)
    rated = np.array([rng.choice(train.items[train.users == user]) for user in users])
    return users, rated, redrawn(train, users, rng, 60)


def its_own_generator(train, n, rng):
    rng = np.random.default_rng(0)
    return triples(lambda *given: redrawn(*given, times=60))(train, n, rng)


WRONG = {
    "how_much_must_nothing_cost": [
        (("mean", priced(np.linalg.norm)), "the length of the whole table"),
        (("mean", priced(lambda table: np.abs(table).max())), "A direction collects many"),
        (("mean", priced(lambda table: np.linalg.norm(table, 2) ** 2)), "an eigenvalue"),
        (("mean", priced(lambda table: np.linalg.norm(table, 2) / 2)), "the twos cancel"),
        (("mean", priced(lambda table: np.linalg.norm(table, "nuc"))), "sum of all singular values"),
        (("mean", of_ratings), "take the baseline off first"),
        (("mean", of_all_cells), "In a gap there is no error"),
    ],
    "the_unnamed_factor": [
        (("films", mixed(lambda Q, A: Q @ A)), "only if A is a rotation"),
        (("films", mixed(lambda Q, A: Q @ np.linalg.inv(A))), "That is Q A⁻¹"),
        (("films", mixed(lambda Q, A: Q)), "nothing undoes A"),
        (("films", mixed(undone, keep=False)), "both biases stay"),
        (("predictions", mixed(undone)), "A Aᵀ is 1"),
        (("price", mixed(undone)), "keeps the length of each row"),
    ],
    "one_price_for_all_sizes": [
        ((sums(*[lambda reg, n, rows, k: reg * n / rows] * 2), sum_loss), "Where is k"),
        ((sums(*[lambda reg, n, rows, k: reg / (rows * k)] * 2), sum_loss), "The error is a mean, too"),
        ((sums(*[lambda reg, n, rows, k: reg * n] * 2), sum_loss), "means of P and Q still"),
        ((lambda *sizes: right_sums(*sizes)[::-1], sum_loss), "the other way round"),
        ((right_sums, sum_loss), "not divided by the number of errors"),
        ((right_sums, mean_loss), "That is the colleague's loss"),
        ((right_sums, half_summed), "as the squares are"),
    ],
    "a_leak_with_a_lower_price": [
        ((3, match(leak=the_same)), "It knows no pairs of the exam"),
        ((3, match(honest=with_pairs)), "It knows the pairs of the exam"),
        ((3, match(leak=on_all_stars)), "learned from the stars"),
        ((3, match(reg_implicit=60)), "Is the price passed on"),
        ((3, match(seed=0)), "Is the seed passed on"),
    ],
    "unrated_films_that_were_rated": [
        ((9, triples(among_all)), "drawn among all"),
        ((9, triples(redrawn)), "drawn again once"),
        ((9, triples(rated_by_nobody)), "Rated by somebody"),
        ((9, triples(lambda *given: redrawn(*given, times=60, among=of_a_rating))), "films that nobody rated"),
        ((9, triples(among_all, of_ratings=False)), "Draw a rating, evenly"),
        ((9, left_out), "drawn again, not left out"),
        ((9, by_users), "as often as every other"),
        ((9, its_own_generator), "Draw with `rng`"),
    ],
}
