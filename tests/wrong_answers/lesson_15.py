"""What learners typically write in the exercises to lesson 15, and words of the hint that each deserves."""

import numpy as np


def relu(x):
    return np.maximum(x, 0)


def perceptron(act=relu, last=None, join=None, bias=1.0, out=None, late=False):
    def answer(p, q, layers):
        x = np.concatenate([p, q], axis=1) if join is None else join(p, q)
        for A, c in layers[:-1]:
            x = act(x @ A.T) + c if late else act(x @ A.T + bias * c)
        A, c = layers[-1]
        x = x @ A.T + bias * c
        x = x if last is None else last(x)
        return x[:, 0] if out is None else out(x)

    return answer


def first_only(p, q, layers):
    x = np.concatenate([p, q], axis=1)
    for number, (A, c) in enumerate(layers):
        x = x @ A.T + c
        x = relu(x) if number == 0 and len(layers) > 1 else x
    return x[:, 0]


def in_place(p, q, layers):
    x = np.concatenate([p, q], axis=1)
    for A, c in layers:
        c *= 1.5
        x = relu(x @ A.T + c)
    return x[:, 0]


def popped(p, q, layers):
    x = np.concatenate([p, q], axis=1)
    while len(layers) > 1:
        A, c = layers.pop(0)
        x = relu(x @ A.T + c)
    A, c = layers.pop()
    return (x @ A.T + c)[:, 0]


def all_but_two(p, q, layers):
    x = np.concatenate([p, q], axis=1)
    for number, (A, c) in enumerate(layers):
        x = x @ A.T + c
        x = relu(x) if number < len(layers) - 2 else x
    return x[:, 0]


def first_also_alone(p, q, layers):
    x = np.concatenate([p, q], axis=1)
    for number, (A, c) in enumerate(layers):
        x = x @ A.T + c
        x = relu(x) if number == 0 else x
    return x[:, 0]


def last_without_bias(p, q, layers):
    return perceptron()(p, q, layers) - layers[-1][1][0]


def not_transposed(p, q, layers):
    x = np.concatenate([p, q], axis=1)
    for A, c in layers:
        x = relu(x @ A + c)
    return x[:, 0]


def loss(squares=None, mean=None, penalty=None, sign=1.0, out=None):
    def answer(R, rated, output, weights, reg):
        apart = (output - R)[rated]
        each = apart**2 if squares is None else squares(apart)
        error = each.mean() if mean is None else mean(each, R, rated, output)
        size = sum((w**2).sum() for w in weights) if penalty is None else penalty(weights)
        return error + sign * reg * size if out is None else out(error, reg, size)

    return answer


def by_films(each, R, rated, output):
    return np.mean([((output - R)[row][rated[row]] ** 2).mean() for row in range(len(R)) if rated[row].any()])


def of_nonzero(each, R, rated, output):
    some = rated & (np.nan_to_num(R) != 0)
    return ((output - R)[some] ** 2).mean() if some.any() else 0.0


def of_misses(each, R, rated, output):
    return each[each > 0].mean()


def weights_in_place(R, rated, output, weights, reg):
    size = 0.0
    for w in weights:
        w *= w
        size += w.sum()
    return ((output - R)[rated] ** 2).mean() + reg * size


def weights_popped(R, rated, output, weights, reg):
    size = 0.0
    while weights:
        size += (weights.pop() ** 2).sum()
    return ((output - R)[rated] ** 2).mean() + reg * size


def cleaned(R, rated, output, weights, reg):
    R[~rated] = 0
    return ((output - R)[rated] ** 2).mean() + reg * sum((w**2).sum() for w in weights)


def candidates(free=None, draw=None, out=None, seeded=None):
    def answer(train, test, n, seed):
        rng = np.random.default_rng(seed) if seeded is None else seeded(seed)
        rows = []
        for user, item in zip(test.users, test.items, strict=True):
            taken = np.concatenate([part.items[part.users == user] for part in (train, test)])
            mine = np.setdiff1d(np.arange(train.n_items), taken) if free is None else free(train, test, user, item)
            others = rng.choice(mine, n, replace=False) if draw is None else draw(rng, mine, n)
            rows.append(np.append(item, others))
        rows = np.array(rows)
        return rows if out is None else out(rows, test)

    return answer


def not_of_training(train, test, user, item):
    return np.setdiff1d(np.arange(train.n_items), train.items[train.users == user])


def not_of_test(train, test, user, item):
    return np.setdiff1d(np.arange(train.n_items), test.items[test.users == user])


def all_but_the_item(train, test, user, item):
    return np.setdiff1d(np.arange(train.n_items), np.append(train.items[train.users == user], item))


def only_rated(train, test, user, item):
    taken = np.concatenate([part.items[part.users == user] for part in (train, test)])
    return np.setdiff1d(np.unique(train.items), taken)


def popular(train, test, n, seed):
    rng, rows = np.random.default_rng(seed), []
    chances = np.bincount(train.items, minlength=train.n_items) + 0.2
    for user, item in zip(test.users, test.items, strict=True):
        chance = chances.copy()
        for part in (train, test):
            chance[part.items[part.users == user]] = 0
        rows.append(np.append(item, rng.choice(train.n_items, n, replace=False, p=chance / chance.sum())))
    return np.array(rows)


def rows_by(draw):
    """Rows of candidates where `draw(user, free, n)` gives the others."""

    def answer(train, test, n, seed):
        rows, make = [], draw(seed, train)
        for user, item in zip(test.users, test.items, strict=True):
            taken = np.concatenate([part.items[part.users == user] for part in (train, test)])
            rows.append(np.append(item, make(user, np.setdiff1d(np.arange(train.n_items), taken), n)))
        return np.array(rows)

    return answer


def _once_a_user(seed, train):
    rng, known = np.random.default_rng(seed), {}

    def make(user, free, n):
        if user not in known:
            known[user] = rng.choice(free, n, replace=False)
        return known[user]

    return make


def _one_order(seed, train):
    order = np.random.default_rng(seed).permutation(train.n_items)
    return lambda user, free, n: order[np.isin(order, free)][:n]


once_a_user, one_order = rows_by(_once_a_user), rows_by(_one_order)
seeded_in_the_loop = rows_by(
    lambda seed, train: lambda user, free, n: np.random.default_rng(seed).choice(free, n, False)
)
seeded_by_user = rows_by(
    lambda seed, train: lambda user, free, n: np.random.default_rng(seed + user).choice(free, n, False)
)


def liked_only(train, test, user, item):
    liked = train.items[(train.users == user) & (train.values >= 4)]
    return np.setdiff1d(np.arange(train.n_items), np.append(liked, test.items[test.users == user]))


def nobodys(train, test, user, item):
    return np.setdiff1d(np.arange(train.n_items), np.concatenate([train.items, test.items]))


def global_generator(train, test, n, seed):
    np.random.seed(seed)
    return candidates(seeded=lambda seed: np.random.default_rng(np.random.randint(10**6)))(train, test, n, seed)


def hit_rate(ahead=None, hit=None, nans=True, out=None):
    def answer(scores, k):
        own, rest = scores[:, :1], scores[:, 1:]
        place = (rest >= own).sum(axis=1) if ahead is None else ahead(own, rest)
        found = place < k if hit is None else hit(place, k)
        if nans:
            found = found & ~np.isnan(scores).any(axis=1)
        return found.mean() if out is None else out(found, k)

    return answer


def by_sorting(scores, k):
    return (np.argsort(-scores, axis=1, kind="stable")[:, :k] == 0).any(axis=1).mean()


def without_nans(scores, k):
    whole = scores[~np.isnan(scores).any(axis=1)]
    return ((whole[:, 1:] >= whole[:, :1]).sum(axis=1) < k).mean() if len(whole) else 0.0


def reciprocal(scores, k):
    place = (scores[:, 1:] >= scores[:, :1]).sum(axis=1)
    return (((place < k) & ~np.isnan(scores).any(axis=1)) / (place + 1)).mean()


def filled(scores, k):
    scores[np.isnan(scores)] = -1
    return ((scores[:, 1:] >= scores[:, :1]).sum(axis=1) < k).mean()


def epochs(at=None, best=None, pick=None, out=None):
    def answer(valid, test):
        place = valid.argmax(axis=1) if at is None else at(valid, test)
        own = test[np.arange(len(test)), place] if pick is None else pick(valid, test, place)
        most = test.max(axis=1).mean() if best is None else best(valid, test)
        return (own.mean(), most) if out is None else out(own, most)

    return answer


WRONG = {
    "a_perceptron_by_hand": [
        ((perceptron(last=relu),), "The last layer has no ReLU"),
        ((perceptron(act=lambda x: x),), "Between layers stands a ReLU"),
        ((perceptron(join=lambda p, q: np.concatenate([q, p], axis=1)),), "p comes first"),
        ((perceptron(late=True),), "before the ReLU"),
        ((perceptron(bias=0.0),), "The biases c are missing"),
        ((perceptron(bias=-1.0),), "come with a minus"),
        ((first_only,), "Only the first layer has its ReLU"),
        ((perceptron(act=lambda x: 1 / (1 + np.exp(-x))),), "ReLU is asked for"),
        ((perceptron(act=np.tanh),), "ReLU is asked for"),
        ((perceptron(act=np.abs),), "The absolute value"),
        ((perceptron(act=lambda x: np.minimum(x, 0)),), "keeps the negative side"),
        ((perceptron(out=lambda x: x),), "shape (n,)"),
        ((perceptron(out=lambda x: x[:1, 0]),), "The first pair alone"),
        ((perceptron(out=lambda x: x.sum()),), "Summed over the pairs"),
        ((lambda p, q, layers: (p * q).sum(axis=1),), "That is the product"),
        ((perceptron(join=lambda p, q: np.concatenate([p, q])),), "your answer stops"),
        ((perceptron(join=lambda p, q: p * q),), "your answer stops"),
        ((not_transposed,), "your answer stops"),
        ((in_place,), "`*=` and `+=` work in place"),
        ((popped,), "`pop`"),
        ((perceptron(out=lambda x: x.squeeze()),), "`squeeze()` also"),
        ((perceptron(act=lambda x: x, last=relu),), "at the end only"),
        ((all_but_two,), "One ReLU is missing"),
        ((perceptron(act=lambda x: np.where(x > 0, x, 0.01 * x)),), "Leaky"),
        ((perceptron(join=lambda p, q: relu(np.concatenate([p, q], axis=1))),), "The input has no ReLU"),
        ((perceptron(join=lambda p, q: np.stack([p, q], axis=2).reshape(len(p), -1)),), "interleaved"),
        ((first_also_alone,), "With one layer"),
        ((last_without_bias,), "The last layer has a bias"),
        ((lambda p, q, layers: None,), "end in `return`"),
    ],
    "a_loss_that_sees_rated_places_only": [
        ((loss(mean=lambda each, R, rated, output: ((output - np.nan_to_num(R)) ** 2).mean()),), "Empty places count"),
        ((loss(mean=lambda each, R, rated, output: ((output - R) ** 2 * rated).sum() / rated.sum()),), "nan · 0 is nan"),
        ((loss(mean=lambda each, R, rated, output: ((output * rated - R) ** 2).sum() / rated.sum()),), "nan · 0 is nan"),
        ((loss(mean=lambda each, R, rated, output: each.sum() / rated.size),), "over rated places"),
        ((loss(mean=of_nonzero),), "may be exactly 0"),
        ((loss(mean=by_films),), "mean of the films' means"),
        ((loss(mean=lambda each, R, rated, output: each.sum()),), "and not their sum"),
        ((loss(mean=lambda each, R, rated, output: each.mean() / 2),), "Half of it"),
        ((loss(mean=lambda each, R, rated, output: np.sqrt(each.mean())),), "not its root"),
        ((loss(squares=np.abs),), "The absolute error"),
        ((loss(penalty=lambda w: 0.0),), "The penalty is missing"),
        ((loss(penalty=lambda w: (w[0] ** 2).sum()),), "*all* weights"),
        ((loss(penalty=lambda w: (w[-1] ** 2).sum()),), "*all* weights"),
        ((loss(penalty=lambda w: sum(np.abs(one).sum() for one in w)),), "unsquared"),
        ((loss(penalty=lambda w: sum(np.linalg.norm(one) for one in w)),), "not its square"),
        ((loss(penalty=lambda w: sum((one**2).mean() for one in w)),), "The penalty is a mean"),
        ((loss(sign=-1.0),), "with a minus"),
        ((loss(out=lambda error, reg, size: error + size),), "reg is missing"),
        ((loss(mean=lambda each, R, rated, output: each),), "one for all"),
        ((cleaned,), "It was changed"),
        ((weights_in_place,), "`*=` and `pop`"),
        ((weights_popped,), "`*=` and `pop`"),
        ((loss(mean=of_misses),), "predicted exactly"),
        ((loss(mean=lambda each, R, rated, output: np.nanmean((output - R) ** 2)),), "need not be nan"),
        ((loss(mean=lambda each, R, rated, output: ((output - R)[~rated] ** 2).mean()),), "*not* rated"),
        ((loss(mean=lambda each, R, rated, output: (output - R)[rated].mean() ** 2),), "Square first"),
        ((loss(out=lambda error, reg, size: error + reg / 2 * size),), "neither halved nor squared"),
        ((loss(out=lambda error, reg, size: error + reg**2 * size),), "neither halved nor squared"),
        ((loss(out=lambda error, reg, size: (error + reg * size) / 2),), "The sum of both"),
        ((loss(penalty=lambda w: sum(one.sum() ** 2 for one in w)),), "then the sum"),
        ((loss(penalty=lambda w: sum((one**2).sum() for one in w if one.ndim > 1)),), "Vectors are weights"),
        ((loss(penalty=lambda w: np.mean([(one**2).sum() for one in w])),), "not their mean"),
        ((lambda *given: None,), "end in `return`"),
    ],
    "candidates_without_a_mistake": [
        ((candidates(free=not_of_training),), "The positive is among the others"),
        ((candidates(free=not_of_test),), "has chosen in training"),
        ((candidates(free=all_but_the_item),), "several test items"),
        ((candidates(free=lambda train, test, user, item: np.arange(train.n_items)),), "others of a row"),
        ((candidates(free=only_rated),), "never drawn"),
        ((candidates(draw=lambda rng, free, n: rng.choice(free, n)),), "drawn twice"),
        ((candidates(draw=lambda rng, free, n: free[:n]),), "The same films for every seed"),
        ((candidates(draw=lambda rng, free, n: rng.choice(free[:-1], n, replace=False)),), "end too early"),
        ((candidates(seeded=lambda seed: np.random.default_rng(0)),), "The same films for every seed"),
        ((candidates(seeded=lambda seed: np.random.default_rng()),), "Use the seed"),
        ((global_generator,), "NumPy's global generator"),
        ((popular,), "the same chance"),
        ((candidates(out=lambda rows, test: rows[:, 1:]),), "test item itself is missing"),
        ((candidates(out=lambda rows, test: rows.T),), "Turned"),
        ((candidates(out=lambda rows, test: np.roll(rows, -1, axis=1)),), "comes first in its row"),
        ((candidates(out=lambda rows, test: rows[np.argsort(test.users, kind="stable")]),), "were they sorted"),
        ((candidates(out=lambda rows, test: rows.astype(float)),), "Films are numbers"),
        ((candidates(free=lambda train, test, user, item: np.setdiff1d(np.arange(1, train.n_items + 1), np.append(train.items[train.users == user], test.items[test.users == user]))),), "numbered from 0"),
        ((lambda train, test, n, seed: None,), "end in `return`"),
        ((once_a_user,), "before* the loop"),
        ((seeded_in_the_loop,), "before* the loop"),
        ((seeded_by_user,), "before* the loop"),
        ((one_order,), "before* the loop"),
        ((candidates(free=liked_only),), "has chosen in training"),
        ((candidates(draw=lambda rng, free, n: rng.choice(free, n - 1, replace=False)),), "*besides* the test item"),
        ((candidates(free=nobodys),), "*other* users"),
    ],
    "hits_and_ties": [
        ((hit_rate(ahead=lambda own, rest: (rest > own).sum(axis=1)),), "yours lets its test item win them"),
        ((hit_rate(nans=False),), "a broken model hits"),
        ((hit_rate(ahead=lambda own, rest: (rest > own).sum(axis=1), nans=False),), "Both: ties go"),
        ((by_sorting,), "Both: ties go"),
        ((hit_rate(hit=lambda place, k: place <= k),), "One place too many"),
        ((hit_rate(hit=lambda place, k: place < k - 1),), "One place too few"),
        ((hit_rate(ahead=lambda own, rest: (rest < own).sum(axis=1)),), "The lowest scores come first"),
        ((hit_rate(ahead=lambda own, rest: (rest > own).sum(axis=1) + (rest == own).sum(axis=1) / 2),), "Half of a tie"),
        ((hit_rate(out=lambda found, k: found.sum()),), "Their share is asked for"),
        ((hit_rate(out=lambda found, k: 100 * found.mean()),), "In percent"),
        ((hit_rate(out=lambda found, k: found),), "their mean is asked for"),
        ((hit_rate(out=lambda found, k: found.mean() / k),), "that is a precision"),
        ((hit_rate(hit=lambda place, k: place < 1),), "The first place alone"),
        ((without_nans,), "Users with a nan were left out"),
        ((filled,), "It was changed"),
        ((lambda scores, k: filled(scores.copy(), k),), "A nan became a number"),
        ((lambda scores, k: hit_rate(nans=False)(np.where(np.isnan(scores), np.inf, scores), k),), "A nan became a number"),
        ((lambda scores, k: 0.0 if np.isnan(scores).any() else hit_rate()(scores, k),), "and not all rows"),
        ((hit_rate(hit=lambda place, k: place < 10),), "k is given"),
        ((reciprocal,), "reciprocal rank"),
        ((hit_rate(nans=False, out=lambda found, k: found.mean()),), "a broken model hits"),
        ((lambda scores, k: None,), "end in `return`"),
    ],
    "the_best_epoch": [
        ((epochs(out=lambda own, most: (most, own.mean())),), "The other way round"),
        ((epochs(at=lambda valid, test: test.argmax(axis=1)),), "that is the trap itself"),
        ((epochs(at=lambda valid, test: valid.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)),), "yours takes the last"),
        ((epochs(at=lambda valid, test: np.full(len(test), valid.mean(axis=0).argmax())),), "its own best epoch"),
        ((epochs(best=lambda valid, test: test.mean(axis=0).max()),), "not the maximum of the means"),
        ((epochs(best=lambda valid, test: test.max()),), "of the optimistic score"),
        ((epochs(out=lambda own, most: (own.max(), most)),), "not the best run"),
        ((epochs(pick=lambda valid, test, place: valid.max(axis=1)),), "Its *test* score"),
        ((epochs(at=lambda valid, test: valid.argmin(axis=1)),), "Higher is better"),
        ((epochs(at=lambda valid, test: np.full(len(test), test.shape[1] - 1)),), "That is the last epoch"),
        ((epochs(pick=lambda valid, test, place: test[:, place]),), "pairs them"),
        ((epochs(out=lambda own, most: own.mean()),), "Two are asked for"),
        ((epochs(out=lambda own, most: (own, most)),), "A number for each run"),
        ((lambda valid, test: None,), "end in `return`"),
        ((lambda valid, test: epochs()(test, valid),), "are exchanged"),
        ((epochs(best=lambda valid, test: valid.max(axis=1).mean()),), "best *test* scores"),
        ((epochs(best=lambda valid, test: test.max(axis=0).mean()),), "The maximum within each run"),
        ((epochs(out=lambda own, most: (own.sum(), most * len(own))),), "not their sum"),
        ((epochs(out=lambda own, most: (own[0], most)),), "not the first alone"),
        ((epochs(at=lambda valid, test: np.minimum(valid.argmax(axis=1) + 1, valid.shape[1] - 1)),), "Epochs count from 0"),
        ((epochs(pick=lambda valid, test, place: test[valid == valid.max(axis=1, keepdims=True)]),), "Of equal validation scores"),
        ((epochs(out=lambda own, most: (own.mean(), most - own.mean())),), "not the difference"),
        ((epochs(pick=lambda valid, test, place: place),), "the epoch's number"),
        ((epochs(pick=lambda valid, test, place: test.ravel()[[valid.argmax()]], best=lambda valid, test: test.max()),), "finds one place in all runs"),
    ],
}  # fmt: skip
