"""What learners typically write in the exercises to lesson 08, and words of the hint that each deserves."""

import numpy as np

import mfhelpers as mf


def errors_table(train, baseline):
    table = np.zeros((train.n_users, train.n_items))
    table[train.users, train.items] = train.values - baseline.predict(train.users, train.items)
    return table


def threshold(of_table):
    return lambda train, baseline: of_table(errors_table(train, baseline))


def of_ratings(train, baseline):
    return np.linalg.norm(train.to_csr().toarray(), 2)


def of_all_cells(train, baseline):
    return np.linalg.norm(train.to_csr().toarray() - baseline.predict(*np.indices((train.n_users, train.n_items))), 2)


def mixed(of_q, keep=True, of_p=lambda P, A: P @ A):
    def mix(factors, A):
        biases = factors.user_biases, factors.item_biases
        biases = biases if keep else [np.zeros_like(b) for b in biases]
        return mf.Factors(factors.mean, *biases, of_p(factors.user_factors, A), of_q(factors.item_factors, A))

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


def root_of_both(reg, n, n_users, n_items, k):
    return 2 * [np.sqrt(np.prod(right_sums(reg, n, n_users, n_items, k)))]


def other_loss(of):
    """A loss that is `of` the mean square of e, λ times those of P and of Q, and k."""
    return lambda e, P, Q, lam: of((e**2).mean(), lam * (P**2).mean(), lam * (Q**2).mean(), P.shape[1])


def match(honest=None, leak=None, **how):
    """Contestants that differ from the right ones by an option, or by what they train on."""

    def contestants(ratings, reg_implicit):
        def svdpp(part, seed, **options):
            return mf.svdpp(part, **{"seed": seed, "reg_implicit": reg_implicit, "progress": False} | options | how)

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


def of_the_test(svdpp, ratings):
    train, test = mf.random_split(ratings, seed=0)
    return lambda part, seed: svdpp(part, seed, implicit=test)


def by_als(svdpp, ratings):
    return lambda train, seed: mf.als(train, 20, seed=seed, progress=False)


def predictions_alone(svdpp, ratings):
    return lambda train, seed: svdpp(train, seed).predict(train.users, train.items)


def keyed(key):
    """Draws again while `key` says that a pair is one of the training part's."""

    def draw(train, users, rng):
        unrated, seen = among_all(train, users, rng), key(train, train.users, train.items)
        while len(again := np.flatnonzero(np.isin(key(train, users, unrated), seen))):
            unrated[again] = among_all(train, again, rng)
        return unrated

    return draw


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
    "which_lambda_leaves_no_factor": [
        (("mean", threshold(np.linalg.norm)), "the length of the whole table"),
        (("mean", threshold(lambda table: np.abs(table).max())), "A direction collects many"),
        (("mean", threshold(lambda table: np.linalg.norm(table, 2) ** 2)), "an eigenvalue"),
        (("mean", threshold(lambda table: np.linalg.norm(table, 2) / 2)), "the twos cancel"),
        (("mean", threshold(lambda table: np.linalg.norm(table, "nuc"))), "sum of all singular values"),
        (("mean", threshold(lambda table: np.linalg.norm(table, 2) * 2)), "the twos cancel"),
        (("mean", threshold(lambda table: np.linalg.norm(table, -2))), "the smallest singular value"),
        (("mean", threshold(lambda table: np.linalg.svd(table)[1][1])), "the second singular value"),
        (("mean", threshold(lambda table: np.linalg.norm(table, 1))), "sum of a column"),
        (("mean", threshold(lambda table: np.linalg.norm(table, np.inf))), "sum of a row"),
        (("mean", threshold(lambda table: np.linalg.norm(table, 2) ** 0.5)), "Its root"),
        (("films", threshold(lambda table: np.linalg.norm(table, 2))), "One of these is asked for"),
        (("mean", of_ratings), "take the baseline off first"),
        (("mean", of_all_cells), "In a gap there is no error"),
    ],
    "the_unnamed_factor": [
        (("films", mixed(lambda Q, A: Q @ A)), "only if A is a rotation"),
        (("films", mixed(lambda Q, A: Q @ np.linalg.inv(A))), "That is Q A⁻¹"),
        (("films", mixed(lambda Q, A: Q)), "nothing undoes A"),
        (("films", mixed(undone, keep=False)), "both biases stay"),
        (("films", mixed(lambda Q, A: Q @ A.T)), "inverse"),
        (("films", mixed(undone, of_p=lambda P, A: P)), "it was to be multiplied"),
        (("films", mixed(undone, of_p=lambda P, A: P @ A.T)), "That is P Aᵀ"),
        (("films", mixed(undone, of_p=lambda P, A: P @ np.linalg.inv(A))), "That is P A⁻¹"),
        (("films", lambda factors, A: (factors.user_factors @ A, undone(factors.item_factors, A))), "mf.Factors(mean"),
        (("predictions", mixed(undone)), "A Aᵀ is 1"),
        (("penalty", mixed(undone)), "keeps the length of each row"),
    ],
    "one_lambda_for_every_k": [
        ((sums(*[lambda reg, n, rows, k: reg * n / rows] * 2), sum_loss), "Where is k"),
        ((sums(*[lambda reg, n, rows, k: reg / (rows * k)] * 2), sum_loss), "The error is a mean, too"),
        ((sums(*[lambda reg, n, rows, k: reg * n] * 2), sum_loss), "means of P and Q still"),
        ((lambda *sizes: right_sums(*sizes)[::-1], sum_loss), "the other way round"),
        ((sums(*[lambda reg, n, rows, k: reg * n * rows * k] * 2), sum_loss), "a mean divides"),
        ((sums(*[lambda reg, n, rows, k: reg] * 2), sum_loss), "the errors' is not"),
        ((sums(*[lambda reg, n, rows, k: reg * n / k] * 2), sum_loss), "not k rows"),
        ((sums(*[lambda reg, n, rows, k: reg / n / (rows * k)] * 2), sum_loss), "Multiply the whole loss"),
        ((root_of_both, sum_loss), "The root of it comes later"),
        ((right_sums, other_loss(lambda e, p, q, k: e + k * (p + q))), "k times a mean"),
        (
            (
                right_sums,
                lambda e, P, Q, lam: ((e**2).sum() + lam * P.shape[1] * ((P**2).mean() + (Q**2).mean())) / len(e),
            ),
            "all squares are to be summed",
        ),
        (
            (
                right_sums,
                lambda e, P, Q, lam: (e**2).mean() + lam * ((P**2).sum(axis=1).mean() + (Q**2).sum(axis=1).mean()),
            ),
            "k times a mean",
        ),
        ((right_sums, lambda e, P, Q, lam: (e**2).mean()), "no penalty in it"),
        ((right_sums, lambda e, P, Q, lam: ((e**2).sum() + lam * (P**2).sum()) / len(e)), "The penalty of Q"),
        ((right_sums, lambda e, P, Q, lam: ((e**2).sum() + lam * (Q**2).sum()) / len(e)), "The penalty of P"),
        (
            (right_sums, lambda e, P, Q, lam: ((e**2).sum() + lam * (np.linalg.norm(P) + np.linalg.norm(Q))) / len(e)),
            "roots of the sums",
        ),
        (
            (right_sums, lambda e, P, Q, lam: ((e**2).sum() - lam * ((P**2).sum() + (Q**2).sum())) / len(e)),
            "subtracted",
        ),
        ((right_sums, sum_loss), "not divided by the number of errors"),
        ((right_sums, mean_loss), "That is the colleague's loss"),
        ((right_sums, half_summed), "as the squares are"),
    ],
    "a_leak_with_a_lower_penalty": [
        ((3, match(leak=the_same)), "It knows no pairs of the test set"),
        ((3, match(honest=with_pairs)), "It knows the pairs of the test set"),
        ((3, match(leak=on_all_stars)), "learned from the stars"),
        ((3, match(reg_implicit=60)), "Is reg_implicit passed on"),
        ((3, match(seed=0)), "Is the seed passed on"),
        ((3, match(leak=of_the_test)), "of the test set alone"),
        ((3, match(honest=by_als)), "This is ALS"),
        ((3, lambda ratings, reg_implicit: match()(ratings, reg_implicit)["leak"]), "Return a dict of both"),
        ((3, match(honest=predictions_alone)), "returns what mf.svdpp returns"),
    ],
    "unrated_films_that_were_rated": [
        ((9, triples(among_all)), "drawn among all"),
        ((9, triples(redrawn)), "once or a few times"),
        ((9, triples(rated_by_nobody)), "Rated by somebody"),
        ((9, triples(lambda *given: redrawn(*given, times=3))), "once or a few times"),
        ((9, triples(keyed(lambda train, users, items: users * train.n_users + items))), "user * n_users + film"),
        ((9, triples(keyed(lambda train, users, items: items * train.n_items + users))), "film * n_items + user"),
        ((9, lambda *given: triples(among_all)(*given)[:2]), "Return users, rated films, unrated films"),
        ((7, triples(among_all)), "One of these is asked for"),
        ((9, triples(lambda *given: redrawn(*given, times=60, among=of_a_rating))), "films that nobody rated"),
        ((9, triples(among_all, of_ratings=False)), "Draw a rating, evenly"),
        ((9, left_out), "drawn again, not left out"),
        ((9, by_users), "as often as every other"),
        ((9, its_own_generator), "Draw with `rng`"),
    ],
}
