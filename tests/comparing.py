"""What the tests of comparisons compare: few ratings, and algorithms that are quickly trained."""

import numpy as np
import pandas as pd

from mfhelpers import Comparison, als, item_means, simulate_ratings

RATINGS, _ = simulate_ratings(30, 20, 200, min_per_user=3)
QUIET = dict(progress=False)
SCORES = ["rmse", "mae", "train_rmse", "train_mae"]
MEASURED = ["algorithm", "fold", "seed", *SCORES]
COLUMNS = [*MEASURED, "fit_seconds", "test_seconds"]


class Constant:
    """Predicts one number for all."""

    def __init__(self, value):
        self.value = value

    def predict(self, users, items):
        return np.full(len(users), float(self.value))


def constant(value):
    return lambda train, seed: Constant(value)


def means(train, seed):
    return item_means(train, 2)


def factors(train, seed):
    return als(train, 2, sweeps=2, seed=seed, **QUIET)


def drawn(train, seed):
    """Differs with the seed, and reaches beyond the scale."""
    return Constant(1 + 5 * np.random.default_rng(seed).random())


def pairs(users, items) -> set:
    return set(zip(users.tolist(), items.tolist(), strict=True))


class Witness:
    """An algorithm that notes what it may train on, with which seed, and on what it is then judged."""

    def __init__(self):
        self.trained, self.seeds, self.judged = [], [], []

    def __call__(self, train, seed):
        judged = []
        self.trained.append(train)
        self.seeds.append(seed)
        self.judged.append(judged)

        class Watched(Constant):
            def predict(self, users, items):
                judged.append(pairs(users, items))
                return super().predict(users, items)

        return Watched(3)

    @property
    def tested(self):
        """The pairs of each training's test part: all that it is asked for and has not trained on."""
        return [
            set().union(*judged) - pairs(t.users, t.items) for t, judged in zip(self.trained, self.judged, strict=True)
        ]


def measured(compared: Comparison) -> pd.DataFrame:
    """All that does not depend on the clock."""
    return compared.scores[MEASURED]
