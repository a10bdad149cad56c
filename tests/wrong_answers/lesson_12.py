"""What learners typically write in the exercises to lesson 12, and words of the hint that each deserves."""

from itertools import combinations, combinations_with_replacement, product

import numpy as np


def rather(
    asked=lambda Q, film, other: Q[film] - Q[other], inside=1, outside=1, gram=lambda a, Q: a * Q.T @ Q,
    count=lambda n, a, m, c: n + a * m, last=lambda parts: parts,
):  # fmt: skip
    def why_rather(film, other, chosen, confidences, Q, alpha, reg):
        own = Q[chosen]
        penalty = reg * count(len(chosen), alpha, len(Q), confidences)
        A = (own.T * confidences**inside) @ own + gram(alpha, Q) + penalty * np.eye(Q.shape[1])
        try:
            return last(confidences**outside * (own @ np.linalg.solve(A, asked(Q, film, other))))
        except np.linalg.LinAlgError:
            return np.full(len(own), np.nan)

    return why_rather


def products(film, other, chosen, confidences, Q, alpha, reg):
    return confidences * (Q[chosen] @ (Q[film] - Q[other]))


def system(chosen, confidences, Q, alpha, reg):
    own = Q[chosen]
    return (own.T * confidences) @ own + alpha * Q.T @ Q + reg * (len(own) + alpha * len(Q)) * np.eye(Q.shape[1])


def not_inverted(film, other, chosen, confidences, Q, alpha, reg):
    return confidences * (Q[chosen] @ (system(chosen, confidences, Q, alpha, reg) @ (Q[film] - Q[other])))


def penalty_everywhere(film, other, chosen, confidences, Q, alpha, reg):
    own = Q[chosen]
    A = (own.T * confidences) @ own + alpha * Q.T @ Q + reg * (len(own) + alpha * len(Q))
    try:
        return confidences * (own @ np.linalg.solve(A, Q[film] - Q[other]))
    except np.linalg.LinAlgError:
        return np.full(len(own), np.nan)


def left_out(film, other, chosen, confidences, Q, alpha, reg):
    def difference(keep):
        p = np.linalg.solve(
            system(chosen[keep], confidences[keep], Q, alpha, reg), Q[chosen[keep]].T @ confidences[keep]
        )
        return (Q[film] - Q[other]) @ p

    everything = np.ones(len(chosen), bool)
    return np.array([difference(everything) - difference(np.arange(len(chosen)) != j) for j in range(len(chosen))])


def in_place(film, other, chosen, confidences, Q, alpha, reg):
    parts = rather()(film, other, chosen, confidences, Q, alpha, reg)
    confidences *= parts
    return confidences


def near_the_user(film, other, chosen, confidences, Q, alpha, reg):
    p = np.linalg.solve(system(chosen, confidences, Q, alpha, reg), Q[chosen].T @ confidences)
    return confidences * (Q[chosen] @ p)


def rows_by(squares=lambda Q, b: (Q**2).sum(1) + b**2, added=np.sqrt, b_of=lambda b: b):
    def item_rows(Q, b):
        sizes = squares(Q, b)
        return np.column_stack([Q, b_of(b), added(np.maximum(0, sizes.max() - sizes))])

    return item_rows


def asks(bias=1, last=0):
    return lambda p: np.append(p, (bias, last))


def of_factors(Q, b):
    return (Q**2).sum(1)


def by_mean_length(Q, b):
    sizes = (Q**2).sum(1) + b**2
    with np.errstate(invalid="ignore"):
        return np.column_stack([Q, b, np.sqrt(sizes.mean() - sizes)])


def squared_twice(Q, b):
    squares = (Q**2).sum(1) + b**2
    return np.column_stack([Q, b, np.sqrt(np.maximum(0, squares.max() ** 2 - squares))])


def unit_factors(Q, b):
    return rows_by()(Q / np.linalg.norm(Q, axis=1, keepdims=True), b)


def of_q_alone_cut(Q, b):
    squares = (Q**2).sum(1) + b**2
    return np.column_stack([Q, b, np.sqrt(np.maximum(0, (Q**2).sum(1).max() - squares))])


def greedy(
    gain, again=False, first_by_score=False, taken=-np.inf, last=False, what=lambda chosen, scores: np.array(chosen)
):
    def covering(scores, flags, weight, n):
        on, chosen = flags > 0, []
        for _ in range(n):
            covered = on[chosen].any(axis=0)
            value = np.asarray(gain(scores, on, covered, weight, on[chosen[-1:]].any(axis=0)), float)
            if not again:
                value = np.where(np.isin(np.arange(len(scores)), chosen), taken, value)
            best = len(value) - 1 - value[::-1].argmax() if last else value.argmax()
            chosen.append(int(scores.argmax() if first_by_score and not chosen else best))
        return what(chosen, scores)

    return covering


def gain(scores, on, covered, weight, last):
    return scores + weight * (on & ~covered).sum(1)


def best_alone(scores, flags, weight, n):
    first = np.argsort(-scores, kind="stable")[:n]
    return first[greedy(gain)(scores[first], flags[first], weight, n)]


def chance(
    distance=lambda p, q: (p * np.log(p / q)).sum(), smooth=lambda q, p: 0.99 * q + 0.01 * p, over=combinations,
    mean=np.mean, q_of=lambda rows: rows.mean(axis=0),
):  # fmt: skip
    def by_chance(shares, n):
        p = shares.mean(axis=0)
        known = p > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            found = [
                distance(p[known], smooth(q_of(shares[list(films)])[known], p[known]))
                for films in over(range(len(shares)), n)
            ]
        return mean(found)

    return by_chance


def of_the_mean(shares, n):
    return 0.0


def each_film(shares, n):
    return chance()(shares, 1)


def even_shares(shares, n):
    p = shares.mean(axis=0)
    known = p > 0
    found = []
    for films in combinations(range(len(shares)), n):
        q = 0.99 * shares[list(films)].mean(axis=0) + 0.01 / shares.shape[1]
        found.append((p[known] * np.log(p[known] / q[known])).sum())
    return np.mean(found)


def of_what_is_listed(shares, n):
    h, found = shares.mean(axis=0), []
    for films in combinations(range(len(shares)), n):
        listed = shares[list(films)].mean(axis=0)
        kept = (h > 0) & (listed > 0)
        found.append((h[kept] * np.log(h[kept] / (0.99 * listed + 0.01 * h)[kept])).sum())
    return np.mean(found)


def drawn_lists(shares, n):
    rng, right = np.random.default_rng(0), chance()(shares, n)
    return right * (1 + 0.02 * rng.random()) if len(shares) > 3 else right


def with_repetition(films, n):
    return product(films, repeat=n)


def pieces(number=True, merge=True, biases=1, what=lambda films, scores: films, low=False):
    def best_of_blocks(P, blocks, n):
        films, scores, first = np.zeros((len(P), 0), int), np.zeros((len(P), 0)), 0
        for Q, b in blocks:
            found = P @ Q.T + biases * b
            numbers = np.tile(np.arange(len(Q)) + first * number, (len(P), 1))
            if merge:
                found, numbers = np.hstack([scores, found]), np.hstack([films, numbers])
            best = np.argsort(found if low else -found, axis=1, kind="stable")[:, :n]
            scores, films = np.take_along_axis(found, best, axis=1), np.take_along_axis(numbers, best, axis=1)
            first += len(Q)
        return what(films, scores)

    return best_of_blocks


def own_lists(cut):
    def best_of_blocks(P, blocks, n):
        lists, first = [], 0
        for Q, b in blocks:
            lists.append(first + np.argsort(-(P @ Q.T + b), axis=1, kind="stable")[:, :n])
            first += len(Q)
        return np.hstack(lists)[:, : n if cut else None]

    return best_of_blocks


def first_block(P, blocks, n):
    Q, b = next(iter(blocks))
    return np.argsort(-(P @ Q.T + b), axis=1, kind="stable")[:, :n]


def whole_table(n_kept=True):
    def best_of_blocks(P, blocks, n):
        scores = np.hstack([P @ Q.T + b for Q, b in blocks])
        return np.argsort(-scores, axis=1, kind="stable")[:, : n if n_kept else None]

    return best_of_blocks


def users_outside(P, blocks, n):
    lists = []
    for p in P:
        scores = [b + Q @ p for Q, b in blocks]
        if scores:
            lists.append(np.argsort(-np.concatenate(scores), kind="stable")[:n])
    return np.array(lists)


def kept_blocks(P, blocks, n):
    return pieces()(P, list(blocks), n)


def for_all(P, blocks, n):
    scores = np.hstack([P @ Q.T + b for Q, b in blocks])
    return np.argsort(-scores.sum(axis=0), kind="stable")[:n]


WRONG = {
    "why_this_and_not_that": [
        ((rather(last=lambda parts: parts.sum()),), "each chosen film's own part"),
        ((rather(lambda Q, film, other: Q[film]),), "subtract those of the other's"),
        ((rather(lambda Q, film, other: Q[other]),), "parts of the other film's score"),
        ((rather(lambda Q, film, other: Q[other] - Q[film]),), "The other way round"),
        ((rather(lambda Q, film, other: Q[film] + Q[other]),), "the difference of two scores"),
        ((rather(outside=0),), "multiplies its part, too"),
        ((rather(outside=2),), "stands once"),
        ((rather(inside=0),), "forgotten in A."),
        ((rather(inside=0, outside=0),), "in A and in the sum"),
        ((rather(gram=lambda a, Q: 0 * Q.T @ Q),), "not chosen are missing in A"),
        ((rather(gram=lambda a, Q: Q.T @ Q),), "QᵀQ without α"),
        ((rather(count=lambda n, a, m, c: 1),), "Here it is λ alone"),
        ((rather(count=lambda n, a, m, c: n),), "counts α n_items, too"),
        ((rather(count=lambda n, a, m, c: c.sum() + a * m),), "and not their confidences"),
        ((rather(count=lambda n, a, m, c: 0),), "The penalty is missing"),
        ((penalty_everywhere,), "times np.eye"),
        ((products,), "A is not inverted"),
        ((not_inverted,), "Multiplied by A"),
        ((rather(last=lambda parts: np.sort(parts)[::-1]),), "Sorted?"),
        ((rather(last=lambda parts: parts / (parts.sum() or np.nan)),), "In percent of the sum"),
        ((left_out,), "changes if a film were left out"),
        ((rather(count=lambda n, a, m, c: n + m),), "α is missing before n_items"),
        ((rather(count=lambda n, a, m, c: a * (n + m)),), "α multiplies n_items alone"),
        ((rather(count=lambda n, a, m, c: m + a * m),), "the rows of Q"),
        ((rather(count=lambda n, a, m, c: n + a * n),), "the rows of Q"),
        ((rather(outside=0.5),), "normalised, or its root"),
        ((rather(inside=2),), "twice in A"),
        ((rather(last=np.abs),), "Parts may be negative"),
        ((near_the_user,), "how near the user is"),
        ((rather(gram=lambda a, Q: 0 * Q.T @ Q, count=lambda n, a, m, c: 0),), "Two terms of A are missing"),
        ((in_place,), "It was changed"),
        ((lambda *given: None,), "end in `return`"),
    ],
    "the_wrong_neighbours": [
        ((rows_by(of_factors), asks(last=1)), "Two bugs are left"),
        ((rows_by(of_factors), asks()), "made of the length of q alone"),
        ((rows_by(), asks(last=1)), "The user's last number is 1"),
        ((rows_by(), asks(last=-1)), "The user's last number is -1"),
        ((rows_by(), asks(bias=0)), "that of q · p alone"),
        ((rows_by(of_factors), asks(bias=0)), "the added number ignores b"),
        ((rows_by(), asks(bias=0, last=1)), "exchanged: 1 belongs to the bias"),
        ((rows_by(added=lambda gap: 0 * gap), asks()), "Nothing makes the rows equally long"),
        ((rows_by(added=lambda gap: gap), asks()), "its root is missing"),
        (
            (rows_by(lambda Q, b: np.sqrt((Q**2).sum(1) + b**2), lambda gap: gap), asks()),
            "lengths add up by their squares",
        ),
        ((rows_by(), asks(bias=-1)), "is subtracted"),
        ((rows_by(of_factors, b_of=lambda b: 0 * b), asks()), "that of q · p alone"),
        ((squared_twice, asks()), "M is squared already"),
        ((rows_by(), lambda p: np.append(p / np.linalg.norm(p), (1, 0))), "scaled before the 1 came"),
        ((unit_factors, asks()), "their length is part of the score"),
        ((rows_by(lambda Q, b: (Q**2).sum(1) + b), asks()), "squares, and then one root"),
        ((of_q_alone_cut, asks()), "M has to be the longest"),
        ((lambda Q, b: rows_by()(Q, b).T, asks()), "A row for each item"),
        ((rows_by(), lambda p: asks()(p)[:, None]), "A row for each item"),
        ((by_mean_length, asks()), "The root of a negative number"),
        ((lambda Q, b: np.column_stack([Q, b]), asks()), "one number more"),
        ((rows_by(), lambda p: np.append(p, 1)), "one number more"),
        ((lambda Q, b: None, asks()), "end in `return`"),
        ((rows_by(), lambda p: None), "end in `return`"),
    ],
    "a_list_that_is_more_than_its_parts": [
        ((greedy(lambda s, on, covered, w, last: s + w * on.sum(1)),), "All genres of a film count"),
        ((greedy(gain, again=True),), "may come twice"),
        ((greedy(lambda s, on, covered, w, last: (on & ~covered).sum(1)),), "Genres alone decide"),
        ((greedy(lambda s, on, covered, w, last: s),), "Scores alone decide"),
        ((greedy(lambda s, on, covered, w, last: s + (on & ~covered).sum(1)),), "The weight is forgotten"),
        ((greedy(lambda s, on, covered, w, last: s + w * (on & covered).sum(1)),), "already are rewarded"),
        ((greedy(lambda s, on, covered, w, last: s - w * (on & covered).sum(1)),), "Old genres are punished"),
        ((greedy(lambda s, on, covered, w, last: s + w * (on & ~last).sum(1)),), "Only the last film"),
        ((greedy(lambda s, on, covered, w, last: s + w * (on & ~covered).any(1)),), "Whether there is a new genre"),
        (
            (greedy(lambda s, on, covered, w, last: s + w * (on & ~covered).sum(1) / np.maximum(1, on.sum(1))),),
            "The share of new genres",
        ),
        ((greedy(gain, first_by_score=True),), "taken by its score alone"),
        ((greedy(lambda s, on, covered, w, last: s - w * (on & ~covered).sum(1)),), "new genres subtracted"),
        ((greedy(gain, what=lambda chosen, scores: scores[chosen]),), "These are scores"),
        ((greedy(gain, what=lambda chosen, scores: np.sort(chosen)),), "their order is not"),
        ((greedy(gain, last=True),), "Of equal films the first"),
        ((greedy(gain, taken=0.0),), "Scores can be negative"),
        (
            (greedy(lambda s, on, covered, w, last: s + w * (on.astype(int) - covered).sum(1)),),
            "All genres of a film count",
        ),
        ((greedy(lambda s, on, covered, w, last: (1 - w) * s + w * (on & ~covered).sum(1)),), "That is MMR's form"),
        ((greedy(lambda s, on, covered, w, last: s + w * (on & ~covered).mean(1)),), "among all genres"),
        ((greedy(gain, what=lambda chosen, scores: np.array(chosen, float)),), "whole numbers"),
        ((best_alone,), "takes films from all"),
        ((lambda *given: None,), "end in `return`"),
    ],
    "how_far_from_the_past": [
        ((of_the_mean,), "The divergence of the mean list is 0"),
        ((chance(lambda p, q: (q[q > 0] * np.log(q[q > 0] / p[q > 0])).sum()),), "h and ℓ are exchanged"),
        ((chance(smooth=lambda q, p: q),), "makes it infinite"),
        ((chance(smooth=lambda q, p: 0.01 * q + 0.99 * p),), "0.99 and 0.01 are exchanged"),
        ((chance(lambda p, q: (p * np.log2(p / q)).sum()),), "natural logarithm"),
        ((chance(lambda p, q: (p * np.log10(p / q)).sum()),), "log10?"),
        ((chance(mean=np.sum),), "divide by their number"),
        ((chance(over=with_repetition),), "A film came twice"),
        ((each_film,), "Each film on its own"),
        ((chance(mean=lambda found: found[0]),), "that of the first n films"),
        ((chance(mean=np.max),), "The worst of all lists"),
        ((chance(mean=np.min),), "The best of all lists"),
        ((even_shares,), "even shares"),
        ((of_what_is_listed,), "leave out only those with h = 0"),
        ((chance(lambda p, q: (p * np.log(p / q)).mean()),), "it is their sum"),
        ((chance(mean=lambda found: found[-1]),), "The last list's divergence"),
        ((chance(mean=np.median),), "The median of all lists"),
        ((chance(over=combinations_with_replacement),), "A film came twice in a list (with"),
        ((drawn_lists,), "Drawn lists are only near"),
        ((chance(q_of=lambda rows: rows.sum(axis=0)),), "divide by n"),
        ((chance(smooth=lambda q, p: q + 0.01 * p),), "adds up to more than 1"),
        ((chance(lambda p, q: np.log(p / q).sum()),), "Without the weight h"),
        ((chance(lambda p, q: (p * np.log(q / p)).sum()),), "The sign"),
        ((lambda shares, n: None,), "end in `return`"),
    ],
    "a_catalogue_in_pieces": [
        ((pieces(number=False),), "numbers within a block"),
        ((first_block,), "the best of the first block"),
        ((pieces(merge=False),), "the best of the last block"),
        ((pieces(merge=False, number=False),), "numbered within it"),
        ((own_lists(cut=False),), "one after the other"),
        ((own_lists(cut=True),), "sort once more, over all blocks"),
        ((pieces(low=True),), "The lowest scores"),
        ((pieces(what=lambda films, scores: films[:, ::-1]),), "from the last to the first"),
        ((pieces(what=lambda films, scores: np.sort(films, axis=1)),), "in the order of their numbers"),
        ((pieces(biases=0),), "The biases are forgotten"),
        ((pieces(biases=-1),), "The biases are subtracted"),
        ((pieces(what=lambda films, scores: scores),), "These are scores"),
        ((pieces(what=lambda films, scores: films.T),), "transposed"),
        ((for_all,), "One list for all"),
        ((pieces(what=lambda films, scores: np.tile(films[0], (len(films), 1))),), "an order of their own"),
        ((pieces(what=lambda films, scores: (films, scores)),), "The numbers alone"),
        ((users_outside,), "A generator is used up"),
        ((kept_blocks,), "let each block go"),
        ((whole_table(n_kept=False),), "the first n are asked for"),
        ((whole_table(),), "let each block go"),
        ((pieces(what=lambda films, scores: films / 1.0),), "whole numbers"),
        ((lambda *given: None,), "end in `return`"),
    ],
}
