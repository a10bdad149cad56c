"""What learners typically write in the exercises to lesson 11, and words of the hint that each deserves."""

import numpy as np


def in_order(tie):
    return lambda scores, relevant, k: relevant[np.lexsort((tie(relevant), -scores))][:k].sum() / k


def by_the_limit(value):
    def expected_precision(scores, relevant, k):
        limit = np.sort(scores)[::-1][k - 1]
        above, tied = scores > limit, scores == limit
        return value(relevant[above].sum(), k - above.sum(), relevant[tied], relevant[above | tied], k, relevant.sum())

    return expected_precision


def expected(sure, places, tied, _, k, __):
    return (sure + places * tied.mean()) / k


def sorted_in_place(scores, relevant, k):
    right = by_the_limit(expected)(scores, relevant, k)
    scores.sort()
    return right


def simulated_ties(scores, relevant, k):
    rng = np.random.default_rng(0)
    return np.mean([in_order(lambda flags: rng.random(len(flags)))(scores, relevant, k) for _ in range(50)])


def discounted(hits=lambda first, twice: first, best=lambda k, n, found: min(k, n), gain=None, closed=False, cut=True):
    def ndcg(listed, relevant, k):
        first = np.zeros(len(listed), bool)
        first[np.unique(listed, return_index=True)[1]] = True
        twice = np.isin(listed, relevant)
        marked = hits(twice & first, twice)
        marked = marked[first] if closed else marked
        marked = marked[:k] if cut else marked
        gains = (gain or (lambda t: 1 / np.log2(1 + t)))(np.arange(1, max(k, len(listed), len(relevant)) + 1))
        found = max(1, int(marked.sum()))
        return (marked * gains[: len(marked)]).sum() / gains[: best(k, len(relevant), found)].sum()

    return ndcg


def colleagues_ndcg(listed, relevant, k):
    hits = np.isin(listed[:k], relevant)
    gains = 1 / np.log2(1 + np.arange(1, len(hits) + 1))
    return (hits * gains).sum() / gains[: len(set(listed[:k][hits]))].sum()


def cut_sum(listed, relevant, k):
    first = np.unique(listed, return_index=True)[1]
    hits = np.isin(listed, relevant) & np.isin(np.arange(len(listed)), first)
    return hits[:k], 1 / np.log2(1 + np.arange(1, k + 1)), min(k, len(relevant))


def gains_alone(*given):
    hits, gains, _ = cut_sum(*given)
    return (hits * gains[: len(hits)]).sum()


def row(weights=(1, 1), gram=lambda a, Q, own: a * Q.T @ Q, count=lambda n, a, m, c: n + a * m, aim=None, times=1):
    def solve_row(chosen, confidences, Q, alpha, reg):
        own = Q[chosen]
        matrix, right = (own.T * confidences ** weights[0]) @ own, own.T @ confidences ** weights[1]
        if aim:
            right = aim(right, alpha, Q, own)
        penalty = times * reg * count(len(chosen), alpha, len(Q), confidences)
        A = matrix + gram(alpha, Q, own) + penalty * np.eye(Q.shape[1])
        try:
            return np.linalg.solve(A, right)
        except np.linalg.LinAlgError:
            return np.full(len(A), np.nan)

    return solve_row


def share(of_row=lambda n: n - 1, of_all=lambda m: m - 1, mean=lambda values, train: values[train.users].mean()):
    return lambda train: mean(of_row(train.user_counts) / of_all(train.n_items), train)


def other(skip, side="right", more=0):
    return lambda chosen, draws: draws + np.searchsorted(skip(chosen, np.arange(len(chosen))), draws, side) + more


def new(value):
    def new_scores(X, x, reg):
        A = np.linalg.solve(X @ X.T + reg * np.eye(len(X)), X)
        with np.errstate(divide="ignore", invalid="ignore"):
            return value(x, x - (x @ X.T) @ A, 1 - (X * A).sum(axis=0), reg)

    return new_scores


def of_items(transpose=False, stacked=False, hidden=None):
    def new_scores(X, x, reg):
        rows = np.vstack([X, x]) if stacked else X
        P = np.linalg.inv(rows.T @ rows + reg * np.eye(len(x)))
        B = np.eye(len(x)) - P / np.diag(P)
        scores = x @ (B.T if transpose else B)
        return scores if hidden is None else np.where(x > 0, hidden, scores)

    return new_scores


def whole_matrix(X, reg):
    A = np.linalg.solve(X @ X.T + reg * np.eye(len(X)), X)
    B = X.T @ A / (1 - (X * A).sum(axis=0))
    np.fill_diagonal(B, 0)
    return B


def penalty_everywhere(chosen, confidences, Q, alpha, reg):
    own, n_cells = Q[chosen], len(chosen) + alpha * len(Q)
    return np.linalg.pinv((own.T * confidences) @ own + alpha * Q.T @ Q + reg * n_cells) @ (own.T @ confidences)


right_share, right_other = share(), other(lambda chosen, t: chosen - t)

WRONG = {
    "a_tie_is_worth_its_chance": [
        ((in_order(lambda relevant: ~relevant),), "the best of all orders"),
        ((in_order(lambda relevant: relevant),), "the worst of all orders"),
        ((in_order(lambda relevant: np.arange(len(relevant))),), "in the order of the films"),
        ((in_order(lambda relevant: -np.arange(len(relevant))),), "from the last film to the first"),
        (
            (by_the_limit(lambda sure, places, tied, *rest: (sure + tied.sum()) / rest[1]),),
            "All tied films were counted",
        ),
        ((by_the_limit(lambda sure, places, tied, all_, *_: all_.mean()),), "All films from the limit up"),
        ((by_the_limit(lambda sure, places, tied, all_, k, n: sure / k),), "The tied films are missing"),
        (
            (by_the_limit(lambda sure, places, tied, all_, k, n: places * tied.mean() / k),),
            "Those above the limit are missing",
        ),
        ((by_the_limit(lambda sure, places, tied, all_, k, n: (sure + tied.sum() / 2) / k),), "Half of each tied film"),
        ((by_the_limit(lambda sure, places, tied, all_, k, n: (sure + tied.mean()) / k),), "stands for one place"),
        ((by_the_limit(lambda sure, places, tied, all_, k, n: sure + places * tied.mean()),), "divides them by k"),
        ((by_the_limit(lambda sure, places, tied, all_, k, n: (sure + places * tied.mean()) / n),), "that is recall"),
        (
            (lambda scores, relevant, k: relevant[np.argsort(scores, kind="stable")][:k].sum() / k,),
            "from the lowest score",
        ),
        ((sorted_in_place,), "It was changed"),
        ((lambda scores, relevant, k: relevant[np.argsort(scores)[::-1][:k]].mean(),), "one order of many"),
        ((lambda scores, relevant, k: relevant[np.argsort(-scores)[:k]].mean(),), "one order of many"),
        ((lambda scores, relevant, k: relevant.mean(),), "whatever the scores"),
        (
            (by_the_limit(lambda sure, places, tied, _, k, n: (sure + places * tied.mean()) / min(k, n)),),
            "precision divides by k",
        ),
        ((simulated_ties,), "Which score has place k?"),
        ((lambda scores, relevant, k: None,), "end in `return`"),
    ],
    "an_ndcg_above_1": [
        ((lambda *given: min(1.0, np.nan_to_num(colleagues_ndcg(*given))),), "Cut off at 1, the two bugs"),
        ((lambda *given: min(1.0, discounted(hits=lambda first, twice: twice)(*given)),), "Cut off at 1, a film"),
        (
            (lambda listed, relevant, k: discounted(best=lambda k, n, _: min(k, n, len(listed)))(listed, relevant, k),),
            "longer than yours",
        ),
        ((colleagues_ndcg,), "A film that comes twice is still counted twice. And"),
        ((discounted(hits=lambda first, twice: twice),), "still counted twice: only its first place"),
        ((discounted(best=lambda k, n, found: found),), "Compared with the best order of the hits"),
        (
            (discounted(hits=lambda first, twice: twice, best=lambda k, n, found: found),),
            "Repetitions are hits here",
        ),
        ((discounted(best=lambda k, n, found: k),), "not full of hits"),
        ((discounted(best=lambda k, n, found: n),), "k films at most"),
        ((discounted(closed=True),), "the list closed up"),
        ((gains_alone,), "This is the sum of gains"),
        ((discounted(cut=False),), "The whole list was judged"),
        ((lambda *given: (lambda hits, gains, most: hits.sum() / most)(*cut_sum(*given)),), "That is recall"),
        ((lambda *given: (lambda hits, gains, most: hits.sum() / given[2])(*cut_sum(*given)),), "That is precision"),
        ((discounted(gain=lambda t: 1 / t),), "1 / place as a gain?"),
        ((lambda listed, relevant, k: discounted()(np.sort(listed), relevant, k),), "Write the list with its places"),
        ((lambda listed, relevant, k: None,), "end in `return`"),
    ],
    "a_row_with_confidences": [
        ((row(weights=(0, 0)),), "The confidences are forgotten"),
        ((row(weights=(0, 1)),), "belong to the matrix, too"),
        ((row(weights=(1, 0)),), "belong to the right side, too"),
        ((row(weights=(2, 2)),), "Confidences squared"),
        ((row(gram=lambda a, Q, own: 0 * Q.T @ Q),), "not chosen are missing"),
        ((row(weights=(2, 1)),), "(c q)(c q)ᵀ has them twice"),
        ((lambda i, c, Q, a, reg: row(count=lambda n, a, m, _: n + a * m)(i, 1 + c, Q, a, reg),), "as in Hu's paper"),
        ((penalty_everywhere,), "belongs on the diagonal"),
        ((row(gram=lambda a, Q, own: Q.T @ Q),), "QᵀQ without α"),
        ((row(gram=lambda a, Q, own: a * (Q.T @ Q - own.T @ own)),), "not chosen alone"),
        ((row(gram=lambda a, Q, own: a * own.T @ own),), "α over the chosen films"),
        ((row(count=lambda n, a, m, c: 1),), "Here it is λ alone"),
        ((row(count=lambda n, a, m, c: 0),), "The penalty is missing"),
        ((row(count=lambda n, a, m, c: n),), "counts α n_items, too"),
        ((row(count=lambda n, a, m, c: c.sum() + a * m),), "not their confidences"),
        ((row(count=lambda n, a, m, c: a * m),), "the n chosen films are missing"),
        ((row(count=lambda n, a, m, c: n + m),), "α is missing there"),
        ((row(count=lambda n, a, m, c: n + a * (m - n)),), "the number of all films"),
        ((row(times=2),), "the factor 2 falls out"),
        ((row(aim=lambda right, a, Q, own: right + a * Q.sum(axis=0)),), "The target of an empty cell is 0"),
        ((row(aim=lambda right, a, Q, own: right + a * own.sum(axis=0)),), "α came on top"),
        ((lambda *given: None,), "end in `return`"),
    ],
    "pairs_against_oneself": [
        ((25, right_share, right_other), "1 or 10 or 50"),
        ((10, share(lambda n: n, lambda m: m), right_other), "until j differs from i"),
        ((10, share(of_all=lambda m: m), right_other), "one less to draw from"),
        ((10, share(of_row=lambda n: n), right_other), "one less to hit"),
        ((10, share(mean=lambda v, train: v[train.user_counts > 0].mean()), right_other), "the mean over users"),
        ((10, share(mean=lambda v, train: v.mean()), right_other), "the mean over all users"),
        ((10, lambda train: train.density, right_other), "the density of the table"),
        ((10, share(mean=lambda v, train: v[train.users].sum()), right_other), "how many draws hit"),
        ((10, lambda train: 1 - right_share(train), right_other), "that do not hit"),
        ((10, lambda train: 100 * right_share(train), right_other), "In percent?"),
        (
            (10, lambda train: ((train.item_counts[train.items] - 1) / (train.n_items - 1)).mean(), right_other),
            "Films were counted",
        ),
        ((10, right_share, lambda chosen, draws: draws), "These are the draws"),
        ((10, right_share, other(lambda chosen, t: chosen)), "as many as lie below r"),
        ((10, right_share, other(lambda chosen, t: chosen, "left")), "strictly below r"),
        ((10, right_share, other(lambda chosen, t: chosen - t, "left")), "One too few"),
        ((10, right_share, lambda chosen, draws: draws + len(chosen)), "All chosen films were skipped"),
        ((10, right_share, other(lambda chosen, t: chosen - t, more=-1)), "the draw 0 is the first"),
        ((10, right_share, other(lambda chosen, t: chosen - t, more=1)), "One too far"),
        ((10, right_share, other(lambda chosen, t: chosen - t - 1)), "with t counted from 0"),
        (
            (10, right_share, lambda chosen, draws: np.searchsorted(chosen - np.arange(len(chosen)), draws, "right")),
            "how many are skipped",
        ),
        ((10, right_share, lambda chosen, draws: right_other(chosen, draws) / 1.0), "whole numbers"),
        ((10, right_share, lambda chosen, draws: None), "end in `return`"),
    ],
    "a_new_user_without_the_large_matrix": [
        ((new(lambda x, left, rest, reg: left),), "each film's own share"),
        ((new(lambda x, left, rest, reg: x - left),), "The diagonal is forgotten"),
        ((new(lambda x, left, rest, reg: left / rest),), "what is taken off"),
        ((new(lambda x, left, rest, reg: -left / rest),), "x is missing"),
        ((new(lambda x, left, rest, reg: x - left),), "The diagonal is forgotten"),
        ((new(lambda x, left, rest, reg: x + (x - left) / rest),), "The first x is forgotten"),
        ((new(lambda x, left, rest, reg: x - left),), "divide by 1 - Σ X∘A"),
        ((new(lambda x, left, rest, reg: x - reg * left / rest),), "λ once too often"),
        ((new(lambda x, left, rest, reg: x - left / rest / reg),), "Divided by λ"),
        ((of_items(stacked=True),), "The new row took part"),
        ((of_items(transpose=True),), "B is not symmetric"),
        ((new(lambda x, left, rest, reg: x - left / (1 - (1 - rest).sum())),), "axis=0"),
        ((new(lambda x, left, rest, reg: x - left / (1 - rest)),), "not Σ X∘A"),
        ((new(lambda x, left, rest, reg: x - left * rest),), "Multiplied where it is divided"),
        ((new(lambda x, left, rest, reg: x + left / rest),), "The sign"),
        ((lambda X, x, reg: new(lambda x, left, rest, reg: x - left / rest)(X, x, 1.0),), "λ is missing in A"),
        ((of_items(),), "A matrix of items × items was made"),
        ((lambda X, x, reg: x @ whole_matrix(X, reg),), "A matrix of items × items was made"),
        ((of_items(hidden=0.0),), "set to 0"),
        ((of_items(hidden=-np.inf),), "set to -inf"),
        ((lambda X, x, reg: None,), "end in `return`"),
    ],
}
