"""What learners typically write in the exercises to lesson 08, and words of the hint that each deserves."""

import numpy as np

import mfhelpers as mf


def errors_table(train, baseline):
    table = np.zeros((train.n_users, train.n_items))
    table[train.users, train.items] = train.values - baseline.predict(train.users, train.items)
    return table


def of_errors(of_table):
    return lambda train, baseline: of_table(errors_table(train, baseline))


def largest(table):
    return np.linalg.norm(table, 2)


def over_n(train, baseline):
    return largest(errors_table(train, baseline)) / len(train)


def root_mean_square(train, baseline):
    return mf.rmse(baseline, train)


def of_ratings(train, baseline):
    return largest(train.to_csr().toarray())


def of_predictions(train, baseline):
    return largest(train.to_csr().toarray() - errors_table(train, baseline))


def of_all_cells(train, baseline):
    return largest(train.to_csr().toarray() - baseline.predict(*np.indices((train.n_users, train.n_items))))


def above(fit):
    return lambda train, baseline: largest(errors_table(train, fit(train)))


def mixed(of_q, of_p=lambda P, A: P @ A, keep=(1, 1)):
    def mix(factors, A):
        biases = keep[1] * factors.user_biases, keep[1] * factors.item_biases
        P, Q = of_p(factors.user_factors, A), of_q(factors.item_factors, A)
        return mf.Factors(keep[0] * factors.mean, *biases, P, Q)

    return mix


def in_place(factors, A):
    factors.user_factors[:] = factors.user_factors @ A
    factors.item_factors[:] = undone(factors.item_factors, A)
    return factors


def undone(Q, A):
    return Q @ np.linalg.inv(A).T


def sums(of_side):
    """Both λ by one rule of reg, the number of ratings, the rows of this side, k, and the rows of both."""

    def as_sums(reg, n_ratings, n_users, n_items, k):
        return tuple(of_side(reg, n_ratings, rows, k, (n_users, n_items)) for rows in (n_users, n_items))

    return as_sums


def right_sums(reg, n_ratings, n_users, n_items, k):
    return reg * n_ratings / (n_users * k), reg * n_ratings / (n_items * k)


def at_their_mean(*given):
    return (np.prod(right_sums(*given)) ** 0.5,) * 2


def right_loss(e, P, Q, lam):
    return ((e**2).sum() + lam * ((P**2).sum() + (Q**2).sum())) / len(e)


def loss(penalty, squares=lambda e: (e**2).mean()):
    """`squares` of the errors, and λ times `penalty` of P, Q and the number of errors."""
    return lambda e, P, Q, lam: squares(e) + lam * penalty(P, Q, len(e))


def total(P, Q):
    return (P**2).sum() + (Q**2).sum()


def match(honest=None, leak=None, **how):
    """Contestants that differ from the right ones by an option, or by what they train on."""

    def contestants(ratings, reg_implicit):
        def svdpp(part, seed, **options):
            given = {"seed": seed, "reg_implicit": reg_implicit, "progress": False} | options | how
            return mf.svdpp(part, **given)

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


def on_all(svdpp, ratings):
    return lambda train, seed: svdpp(ratings, seed, implicit=ratings)


def with_test_pairs(svdpp, ratings):
    def leak(train, seed):
        rated = {*zip(train.users.tolist(), train.items.tolist(), strict=True)}
        held_out = [pair not in rated for pair in zip(ratings.users.tolist(), ratings.items.tolist(), strict=True)]
        return svdpp(train, seed, implicit=ratings[np.array(held_out)])

    return leak


def trained_already(svdpp, ratings):
    return svdpp(ratings, 0)


def without_seed(svdpp, ratings):
    return lambda train: svdpp(train, 0)


def its_predictions(svdpp, ratings):
    return lambda train, seed: svdpp(train, seed).predict(train.users, train.items)


def by_als(k):
    return lambda svdpp, ratings: lambda train, seed: mf.als(train, k, seed=seed, progress=False)


def as_reg(ratings, reg_implicit):
    return {
        "honest": lambda train, seed: mf.svdpp(train, reg=reg_implicit, seed=seed, progress=False),
        "leak": lambda train, seed: mf.svdpp(train, reg=reg_implicit, seed=seed, implicit=ratings, progress=False),
    }


def as_both(ratings, reg_implicit):
    return match(reg=reg_implicit)(ratings, reg_implicit)


def as_a_tuple(ratings, reg_implicit):
    return tuple(match()(ratings, reg_implicit).values())


def triples(draw, of_ratings=True, last=0):
    def sample_pairs(train, n, rng):
        chosen = rng.integers(0, len(train) - last, n)
        users, rated = train.users[chosen], train.items[chosen]
        if not of_ratings:
            users, rated = rng.integers(0, train.n_users, n), rng.integers(0, train.n_items, n)
        return users, rated, draw(train, users, rng)

    return sample_pairs


def among_all(train, users, rng):
    return rng.integers(0, train.n_items, len(users))


def all_but_last(train, users, rng):
    return rng.integers(0, train.n_items - 1, len(users))


def all_but_first(train, users, rng):
    return rng.integers(1, train.n_items, len(users))


def rated_by_nobody(train, users, rng):
    return rng.choice(np.flatnonzero(train.item_counts == 0), len(users))


def of_a_rating(train, users, rng):
    return train.items[rng.integers(0, len(train), len(users))]


def that_somebody_rated(train, users, rng):
    return rng.choice(np.unique(train.items), len(users))


def by_film(users, films, train):
    return users * train.n_items + films


def redrawn(times=200, among=among_all, key=by_film):
    def draw(train, users, rng):
        unrated, seen = among(train, users, rng), key(train.users, train.items, train)
        for _ in range(times):
            hit = np.isin(key(users, unrated, train), seen)
            unrated[hit] = among(train, users[hit], rng)
        return unrated

    return draw


def going_on(step):
    def draw(train, users, rng):
        unrated, seen = among_all(train, users, rng), by_film(train.users, train.items, train)
        while (hit := np.isin(by_film(users, unrated, train), seen)).any():
            unrated[hit] = (unrated[hit] + step) % train.n_items
        return unrated

    return draw


def first_free(train, users, rng):
    return (train.to_csr().toarray() == 0).argmax(axis=1)[users]


def always_the_same(train, n, rng):
    users, rated, unrated = triples(redrawn())(train, n, rng)
    first = dict(zip(users[::-1].tolist(), unrated[::-1].tolist(), strict=True))
    return users, rated, np.array([first[user] for user in users.tolist()])


def left_out(train, n, rng):
    users, rated, unrated = triples(among_all)(train, n, rng)
    good = ~np.isin(by_film(users, unrated, train), by_film(train.users, train.items, train))
    return users[good], rated[good], unrated[good]


def whole_triples_again(train, n, rng):
    many = left_out(train, 20 * n, rng)
    return tuple(part[:n] for part in many)


def another_than_rated(train, n, rng):
    users, rated, unrated = triples(among_all)(train, n, rng)
    while (same := unrated == rated).any():
        unrated[same] = rng.integers(0, train.n_items, same.sum())
    return users, rated, unrated


def by_users(train, n, rng):
    users = rng.choice(np.flatnonzero(train.user_counts), n)
    rated = np.array([rng.choice(train.items[train.users == user]) for user in users])
    return users, rated, redrawn()(train, users, rng)


def by_films(train, n, rng):
    rated = rng.choice(np.flatnonzero(train.item_counts), n)
    users = np.array([rng.choice(train.users[train.items == film]) for film in rated])
    return users, rated, redrawn()(train, users, rng)


def apart(train, n, rng):
    users, _, unrated = triples(redrawn())(train, n, rng)
    return users, of_a_rating(train, users, rng), unrated


def turned(train, n, rng):
    users, rated, unrated = triples(redrawn())(train, n, rng)
    return users, unrated, rated


def as_floats(train, n, rng):
    return tuple(part / 1.0 for part in triples(redrawn())(train, n, rng))


def a_table(train, n, rng):
    return np.column_stack(triples(redrawn())(train, n, rng))


def its_own_generator(train, n, rng):
    return triples(redrawn())(train, n, np.random.default_rng(0))


def fresh_generator(train, n, rng):
    return triples(redrawn())(train, n, np.random.default_rng())


WRONG = {
    "the_lambda_that_leaves_no_factor": [
        (("both", of_errors(largest)), "'averages' or 'mean'"),
        (("mean", of_errors(np.linalg.norm)), "the length of the whole table"),
        (("mean", of_errors(lambda table: np.abs(table).max())), "the largest single error"),
        (("mean", of_errors(lambda table: largest(table) ** 2)), "an eigenvalue"),
        (("mean", of_errors(lambda table: largest(table) / 2)), "Half of it"),
        (("mean", of_errors(lambda table: 2 * largest(table))), "Twice that"),
        (("mean", over_n), "squared errors are a sum"),
        (("mean", root_mean_square), "the RMSE of the baseline"),
        (("mean", of_errors(lambda table: np.linalg.svd(table)[1][1])), "the second singular value"),
        (("mean", of_errors(lambda table: np.linalg.norm(table, -2))), "the smallest singular value"),
        (("mean", of_errors(lambda table: np.linalg.svd(table)[1].mean())), "The mean of the singular values"),
        (("mean", of_errors(lambda table: np.linalg.norm(table, "nuc"))), "sum of all singular values"),
        (("mean", of_errors(np.linalg.matrix_rank)), "a number of singular values"),
        (("mean", of_errors(lambda table: np.linalg.norm(table, axis=1).max())), "of one user. A direction"),
        (("mean", of_errors(lambda table: np.linalg.norm(table, axis=0).max())), "of one film. A direction"),
        (("mean", of_errors(lambda table: np.linalg.norm(table, 1))), "absolute errors of one film"),
        (("mean", of_errors(lambda table: np.linalg.norm(table, np.inf))), "absolute errors of one user"),
        (("mean", of_errors(lambda table: np.linalg.svd(table)[1])), "These are all singular values"),
        (("mean", of_errors(lambda table: largest(np.abs(table)))), "lost their signs"),
        (("mean", of_ratings), "take the baseline off first"),
        (("mean", of_predictions), "singular values of the predictions"),
        (("mean", of_all_cells), "In a gap there is no error"),
        (("mean", above(mf.global_mean)), "The mean is taken off, whatever"),
        (("mean", above(lambda train: mf.average_biases(train, 5))), "The averages are taken off, whatever"),
        (("mean", above(mf.average_biases)), "Averages without damping"),
    ],
    "the_unnamed_factor": [
        (("names", mixed(undone)), "'penalty' or 'films'"),
        (("films", mixed(lambda Q, A: Q @ A)), "only if A is a rotation"),
        (("films", mixed(lambda Q, A: Q @ np.linalg.inv(A))), "That is Q A⁻¹"),
        (("films", mixed(lambda Q, A: Q @ A.T)), "That is Q Aᵀ"),
        (("films", mixed(lambda Q, A: Q)), "nothing undoes A"),
        (("films", mixed(lambda Q, A: Q / np.linalg.norm(A, axis=0))), "undoes a stretch, and no rotation"),
        (("films", mixed(lambda Q, A: Q @ (1 / A).T)), "that of a matrix is np.linalg.inv"),
        (("films", mixed(lambda Q, A: Q @ (1 / A))), "and not turned"),
        (("films", mixed(lambda Q, A: np.linalg.inv(A) @ Q.T)), "Q is its transpose"),
        (("films", in_place), "make new ones"),
        (("films", mixed(undone, of_p=lambda P, A: P)), "P is as before"),
        (("films", mixed(undone, of_p=lambda P, A: P @ A.T)), "That is P Aᵀ"),
        (("films", mixed(lambda Q, A: Q @ A.T, of_p=lambda P, A: P @ np.linalg.inv(A))), "That is P A⁻¹"),
        (("films", mixed(lambda Q, A: Q @ A, of_p=lambda P, A: P @ np.linalg.inv(A).T)), "That is P A⁻ᵀ"),
        (("films", mixed(undone, of_p=lambda P, A: P @ A @ A)), "multiplied by A twice"),
        (("films", mixed(undone, keep=(1, 0))), "The biases are gone"),
        (("films", mixed(undone, keep=(0, 1))), "The mean is gone"),
        (("films", mixed(undone, keep=(0, 0))), "The mean and the biases are gone"),
        (("films", lambda factors, A: (factors.user_factors @ A, undone(factors.item_factors, A))), "Make them as"),
    ],
    "one_lambda_for_all_sizes": [
        ((sums(lambda reg, n, rows, k, both: reg * n / rows), right_loss), "Where is k"),
        ((sums(lambda reg, n, rows, k, both: reg * n * rows * k), right_loss), "a mean divides."),
        ((sums(lambda reg, n, rows, k, both: reg * n * k / rows), right_loss), "k multiplies here"),
        ((sums(lambda reg, n, rows, k, both: reg / (rows * k)), right_loss), "The error is a mean, too"),
        ((sums(lambda reg, n, rows, k, both: reg / (rows * k * n)), right_loss), "the whole loss is multiplied by it"),
        ((sums(lambda reg, n, rows, k, both: reg * n), right_loss), "means of P and Q still"),
        ((sums(lambda reg, n, rows, k, both: reg), right_loss), "`reg` as it is"),
        ((sums(lambda reg, n, rows, k, both: reg * n / k), right_loss), "P has k columns"),
        ((sums(lambda reg, n, rows, k, both: (reg * n / (rows * k)) ** 0.5), right_loss), "roots of both"),
        ((sums(lambda reg, n, rows, k, both: reg * np.prod(both) / (rows * k)), right_loss), "not over all cells"),
        ((sums(lambda reg, n, rows, k, both: reg * n / (sum(both) * k)), right_loss), "not averaged together"),
        ((at_their_mean, right_loss), "the root of the product"),
        ((lambda *sizes: right_sums(*sizes)[::-1], right_loss), "the other way round"),
        ((lambda *sizes: right_sums(*sizes)[0], right_loss), "Give all 2"),
        (
            (right_sums, loss(lambda P, Q, n: total(P, Q), lambda e: (e**2).sum())),
            "not divided by the number of errors",
        ),
        ((right_sums, loss(lambda P, Q, n: total(P, Q))), "The penalty is not divided by the number of errors, as"),
        ((right_sums, loss(lambda P, Q, n: total(P, Q) / n, lambda e: (e**2).sum())), "The squares are not divided"),
        ((right_sums, loss(lambda P, Q, n: (P**2).mean() + (Q**2).mean())), "That is the colleague's loss"),
        ((right_sums, loss(lambda P, Q, n: (P**2).sum(1).mean() + (Q**2).sum(1).mean())), "a mean over the rows"),
        ((right_sums, loss(lambda P, Q, n: (P**2).mean(1).sum() + (Q**2).mean(1).sum())), "a mean over the columns"),
        ((right_sums, loss(lambda P, Q, n: total(P, Q) / n / P.shape[1])), "The penalty is divided by k"),
        ((right_sums, loss(lambda P, Q, n: (np.vstack([P, Q]) ** 2).mean())), "one mean over P and Q"),
        ((right_sums, loss(lambda P, Q, n: total(P, Q) * n)), "multiplied by the number of errors"),
        ((right_sums, loss(lambda P, Q, n: ((P**2).sum() / len(P) + (Q**2).sum() / len(Q)) / n)), "errors, too"),
        ((right_sums, lambda e, P, Q, lam: right_loss(e, P, Q, lam) * len(e) / len(P)), "by the number of users"),
        ((right_sums, loss(lambda P, Q, n: (np.linalg.norm(P) + np.linalg.norm(Q)) / n)), "Sums of lengths"),
        ((right_sums, loss(lambda P, Q, n: np.linalg.norm(P) + np.linalg.norm(Q))), "Lengths, not squares, and"),
        ((right_sums, loss(lambda P, Q, n: (P**2).sum() / n)), "The penalty of Q is missing"),
        ((right_sums, loss(lambda P, Q, n: (Q**2).sum() / n)), "The penalty of P is missing"),
        ((right_sums, loss(lambda P, Q, n: 0)), "There is no penalty left"),
        ((right_sums, loss(lambda P, Q, n: total(P, Q) / n / 2)), "Half of the penalty"),
        ((right_sums, lambda *given: right_loss(*given) ** 0.5), "That is its root"),
    ],
    "a_leak_with_less_regularisation": [
        ((30, match()), "60 or 10 or 3"),
        ((3, match(leak=the_same)), "It knows no pairs of the test set"),
        ((3, match(honest=with_pairs)), "It knows the pairs of the test set"),
        ((3, match(honest=with_pairs, leak=the_same)), "The two are exchanged"),
        ((3, match(leak=on_all_stars)), "learned from the stars"),
        ((3, match(leak=on_all)), "learned from the stars"),
        ((3, match(honest=on_all_stars)), "learned from the stars"),
        ((3, match(reg_implicit=60)), "Is reg_implicit passed on"),
        ((3, match(seed=0)), "Is the seed passed on"),
        ((3, match(seed=0, reg_implicit=60)), "Neither reg_implicit nor the seed"),
        ((3, as_reg), "the λ of the factors"),
        ((3, as_both), "`reg` stays at its default"),
        ((3, match(leak=with_test_pairs)), "of the test set alone"),
        ((3, match(biased=False)), "all else stays"),
        ((3, match(n_factors=10)), "Ten factors?"),
        ((3, match(honest=by_als(20))), "This is ALS, without the pairs"),
        ((3, match(honest=by_als(10))), "This is ALS with ten factors"),
        ((3, match(honest=trained_already)), "trained already"),
        ((3, match(leak=without_seed)), "a function of (train, seed)"),
        ((3, match(honest=its_predictions)), "These are predictions"),
        ((3, as_a_tuple), "Return a dict of both"),
    ],
    "unrated_films_that_were_rated": [
        ((4.5, triples(redrawn())), "1 or 5 or 9"),
        ((9, triples(among_all)), "drawn among all"),
        ((9, triples(of_a_rating)), "drawn from the ratings"),
        ((9, another_than_rated), "of the same triple"),
        ((9, triples(redrawn(times=1))), "not often enough"),
        ((9, triples(redrawn(times=10))), "not often enough"),
        ((9, triples(redrawn(key=lambda users, films, train: users * train.n_users + films))), "user * n_users + film"),
        ((9, triples(redrawn(key=lambda users, films, train: films * train.n_items + users))), "film * n_items + user"),
        ((9, triples(redrawn(key=lambda users, films, train: users + films))), "as with user + film"),
        ((9, triples(redrawn(key=lambda users, films, train: users * (train.n_items - 1) + films))), "(n_items - 1)"),
        ((9, always_the_same), "Always the same film for a user"),
        ((9, triples(rated_by_nobody)), "Rated by somebody"),
        ((9, triples(redrawn(among=of_a_rating))), "films that nobody rated never"),
        ((9, triples(redrawn(among=that_somebody_rated))), "those that nobody rated too"),
        ((9, triples(redrawn(among=all_but_last))), "The last film is never drawn"),
        ((9, triples(redrawn(among=all_but_first))), "The first film is never drawn"),
        ((9, triples(going_on(1))), "goes on to the next film"),
        ((9, triples(going_on(-1))), "goes back to the film before"),
        ((9, triples(first_free)), "Always the first film"),
        ((9, triples(among_all, of_ratings=False)), "Draw a rating, evenly"),
        ((9, triples(redrawn(), last=1)), "The last rating is never drawn"),
        ((9, whole_triples_again), "The whole triple is drawn again"),
        ((9, left_out), "drawn again, not left out"),
        ((9, by_users), "Every user comes equally often"),
        ((9, by_films), "Every film comes equally often"),
        ((9, apart), "of the same rating belong together"),
        ((9, turned), "The last two are the other way round"),
        ((9, as_floats), "rows of the table"),
        ((9, a_table), "Return users, rated films, unrated films"),
        ((9, its_own_generator), "Draw with `rng`"),
        ((9, fresh_generator), "Draw with `rng` alone"),
    ],
}
