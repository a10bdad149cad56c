"""What learners typically write in the exercises to lesson 04, and words of the hint that each deserves."""

import numpy as np
import torch

import mfhelpers as mf

# -- translate


def all_from_the_number_itself(reg_param, n_u, n_ratings):
    return reg_param, reg_param / n_u**0.5, 2 * reg_param / n_ratings


def settings(library, factor):
    """Right but for one of the three, which is `factor` of all arguments times what it should be."""

    def translated(reg_param, n_u, n_ratings):
        right = [reg_param * n_u, reg_param * n_u**0.5, 2 * reg_param * n_u / n_ratings]
        right[library] *= factor(n_u, n_ratings)
        return right

    return translated


# -- peeking at the test set


def by_peeking(known, test, settings, train_one):
    errors = [mf.rmse(train_one(known, **setting), test) for setting in settings]
    return settings[int(np.argmin(errors))], min(errors)


def by_training_error(known, test, settings, train_one):
    best = min(settings, key=lambda setting: mf.rmse(train_one(known, **setting), known))
    return best, mf.rmse(train_one(known, **best), test)


def held_back_but_trained_on(known, test, settings, train_one):
    _, held_back = mf.random_split(known, test=0.2)
    best = min(settings, key=lambda setting: mf.rmse(train_one(known, **setting), held_back))
    return best, mf.rmse(train_one(known, **best), test)


def honest(final, clip=False, power=1):
    """An honest choice, and the error that `final(known, test, fitting, held_back)` says: fitted to, judged on."""

    def tuned(known, test, settings, train_one):
        fitting, held_back = mf.random_split(known, test=0.2)
        best = min(settings, key=lambda setting: mf.rmse(train_one(fitting, **setting), held_back))
        part, judged = final(known, test, fitting, held_back)
        return best, mf.rmse(train_one(part, **best), judged, clip=clip) ** power

    return tuned


def highest_error(known, test, settings, train_one):
    fitting, held_back = mf.random_split(known, test=0.2)
    worst = max(settings, key=lambda setting: mf.rmse(train_one(fitting, **setting), held_back))
    return worst, mf.rmse(train_one(known, **worst), test)


def always_the_last(known, test, settings, train_one):
    setting = next(setting for setting in settings if setting["kind"] != "averages")
    return setting, 1.0


def place_of_the_setting(known, test, settings, train_one):
    chosen = mf.choose(known, settings, train_one, progress=False).settings
    return settings.index(chosen), mf.rmse(train_one(known, **chosen), test)


def setting_alone(known, test, settings, train_one):
    return mf.choose(known, settings, train_one, progress=False).settings


def taught_the_test(known, test, settings, train_one):
    everything = mf.Ratings(
        *(np.append(getattr(known, name), getattr(test, name)) for name in ("users", "items", "values")),
        known.n_users, known.n_items, known.scale,
    )  # fmt: skip
    chosen = mf.choose(everything, settings, train_one, progress=False).settings
    return chosen, mf.rmse(train_one(known, **chosen), test)


# -- the shrinking catalogue


def parts(model, users, items, values):
    rows = [model.user_factors(users), model.item_factors(items)], [model.user_biases(users), model.item_biases(items)]
    return (model(users, items) - values).square(), *rows


def free_loss(model, users, items, values, reg):
    return parts(model, users, items, values)[0].mean()


def whole_tables(model, users, items, values, reg):
    return free_loss(model, users, items, values, 0) + reg * sum(w.square().sum() for w in model.parameters())


def summed_penalty(model, users, items, values, reg):
    squares, rows, biases = parts(model, users, items, values)
    return squares.mean() + reg * sum(row.square().sum() for row in rows + biases)


def without_biases(model, users, items, values, reg):
    squares, rows, _ = parts(model, users, items, values)
    return squares.mean() + reg * sum(row.square().sum(dim=1) for row in rows).mean()


def mean_over_factors(model, users, items, values, reg):
    squares, rows, biases = parts(model, users, items, values)
    return squares.mean() + reg * sum(row.square().mean() for row in rows + biases)


def lengths(model, users, items, values, reg):
    squares, rows, biases = parts(model, users, items, values)
    return squares.mean() + reg * sum(row.norm(dim=1).mean() for row in rows + biases)


def penalised(model, users, items, values, reg):
    squares, rows, biases = parts(model, users, items, values)
    return squares.mean() + reg * sum(row.square().sum(dim=1) for row in rows + biases).mean()


def one_side(side):
    def loss(model, users, items, values, reg):
        squares, rows, biases = parts(model, users, items, values)
        return squares.mean() + reg * (rows[side].square().sum(dim=1) + biases[side].square().sum(dim=1)).mean()

    return loss


def without_gradient(model, users, items, values, reg):
    free = free_loss(model, users, items, values, reg)
    return free + (penalised(model, users, items, values, reg) - free).detach()


def item(*batch):
    return penalised(*batch).item()


def once_a_row(model, users, items, values, reg):
    squares, _, _ = parts(model, users, items, values)
    tables = (model.user_factors, users), (model.user_biases, users), (model.item_factors, items), (
        model.item_biases, items)  # fmt: skip
    return squares.mean() + reg * sum(table(torch.unique(ids)).square().sum() for table, ids in tables) / len(values)


# -- early stopping or a penalty


def lowest_of_all(errors, patience):
    return int(np.argmin(errors)), len(errors) - 1


def stop(errors, patience, better=lambda error, errors, best, last: error < errors[best], extra=0):
    best = 0
    for last, error in enumerate(errors):
        if better(error, errors, best, last):
            best = last
        if last - best == patience + extra:
            break
    return best, last


def lowest_after_the_stop(errors, patience):
    return int(np.argmin(errors)), stop(errors, patience)[1]


def last_one(errors, patience):
    return (stop(errors, patience)[1],) * 2


def one_too_late(errors, patience):
    return stop(errors, patience, extra=1)


def ties_are_better(errors, patience):
    return stop(errors, patience, lambda error, errors, best, last: error <= errors[best])


def never_reset(errors, patience):
    best = waited = 0
    for last, error in enumerate(errors):
        if error < errors[best]:
            best = last
        else:
            waited += 1
        if waited == patience:
            break
    return best, last


def worse_than_before(errors, patience):
    rises = 0
    for last in range(1, len(errors)):
        rises = rises + 1 if errors[last] >= errors[last - 1] else 0
        if rises == patience:
            break
    return int(np.argmin(errors[: last + 1])), last


WRONG = {
    "translate": [
        ((all_from_the_number_itself,), "once for each of the user"),
        ((settings(0, lambda n_u, n: 1 / n_u),), "cmfrec penalises a row once"),
        ((settings(1, lambda n_u, n: 1 / n_u),), "that makes ρ √n_u"),
        ((settings(1, lambda n_u, n: n_u),), "for each of the n_u ratings"),
        ((settings(2, lambda n_u, n: 0.5),), "A factor of two"),
        ((settings(2, lambda n_u, n: n),), "takes a mean"),
        ((settings(2, lambda n_u, n: n / n_u),), "not over those of one user"),
        ((settings(2, lambda n_u, n: 0.25),), "half of a penalty's λ"),
        ((settings(2, lambda n_u, n: 1 / n_u),), "its decay acts once"),
        ((lambda *row: settings(0, lambda n_u, n: 1)(*row)[::-1],), "In the order of the question"),
    ],
    "peeking_at_the_test_set": [
        (("under 0.001", by_peeking), "The test set decided"),
        (("under 0.001", by_training_error), "It has seen the ratings"),
        (("under 0.001", held_back_but_trained_on), "It has seen the ratings"),
        (("under 0.001", honest(lambda known, test, fitting, held_back: (fitting, test))), "train on all of it"),
        (("under 0.001", honest(lambda known, test, fitting, held_back: (known, known))), "`test` is asked for"),
        (("under 0.001", honest(lambda known, test, fitting, held_back: (fitting, held_back))), "report the RMSE on"),
        (("under 0.001", place_of_the_setting), "not its place"),
        (("under 0.001", setting_alone), "Return both"),
        (("under 0.001", taught_the_test), "not on `test`"),
        (("under 0.001", highest_error), "Is it the highest"),
        (("under 0.001", always_the_last), "Nothing was compared"),
        (("under 0.001", honest(lambda known, test, fitting, held_back: (known, test), clip=True)), "clipped"),
        (("under 0.001", honest(lambda known, test, fitting, held_back: (known, test), power=2)), "take its root"),
    ],
    "the_shrinking_catalogue": [
        ((72.0, 72_000, penalised), "A factor of two"),
        ((0.512, 72_000, penalised), "stands for the mean over all"),
        ((0.001, 72_000, penalised), "beside a sum"),
        ((0.0005, 72_000, penalised), "not beside their mean"),
        ((144.0, 72_000, penalised), "half of N wd"),
        ((36.0, 72_000, one_side(0)), "The penalty of the films is missing"),
        ((36.0, 72_000, one_side(1)), "The penalty of the users is missing"),
        ((36.0, 72_000, lambda *batch: penalised(*batch[:-1], -batch[-1])), "plus, not minus"),
        ((36.0, 72_000, lambda *batch: penalised(*batch[:-1], batch[-1] / 2)), "The penalty is halved"),
        ((36.0, 72_000, lambda *batch: penalised(*batch[:-1], batch[-1] / 4)), "over the four tables"),
        ((36.0, 72_000, free_loss), "no penalty in it"),
        ((36.0, 72_000, whole_tables), "of the whole tables"),
        ((36.0, 72_000, summed_penalty), "the penalty is summed"),
        ((36.0, 72_000, without_biases), "The biases have a penalty"),
        ((36.0, 72_000, mean_over_factors), "k factors as well"),
        ((36.0, 72_000, lengths), "not squared lengths"),
        ((36.0, 72_000, once_a_row), "once for every rating"),
        ((36.0, 72_000, without_gradient), "has no gradient"),
        ((36.0, 72_000, item), "no .item()"),
    ],
    "early_stopping_or_a_penalty": [
        (("penalty", lowest_of_all), "Nobody stopped it"),
        (("penalty", lowest_after_the_stop), "comes after the stop"),
        (("penalty", last_one), "keeps the last one"),
        (("penalty", one_too_late), "One epoch too late"),
        (("penalty", ties_are_better), "An equal error"),
        (("penalty", never_reset), "begins anew at each new lowest"),
        (("penalty", worse_than_before), "not with the epoch before"),
        (("penalty", lambda errors, patience: stop(errors, patience)[0]), "in the order of the question"),
        (("penalty", lambda errors, patience: stop(errors, patience)[::-1]), "the one kept comes first"),
        (("penalty", lambda errors, patience: [place + 1 for place in stop(errors, patience)]), "Counted from 1"),
        (
            ("penalty", lambda errors, patience: [errors[place] for place in stop(errors, patience)]),
            "give their places",
        ),
        (
            ("penalty", lambda errors, patience: (stop(errors, patience)[0], stop(errors, patience)[1] - 1)),
            "the error that stopped it",
        ),
        (
            ("penalty", lambda errors, patience: (stop(errors, patience)[0], stop(errors, patience)[0] + patience)),
            "before patience does",
        ),
        (("penalty", lambda errors, patience: stop(errors, 1)), "whatever the patience"),
        (("clock", stop), "One of these is asked for"),
    ],
}
