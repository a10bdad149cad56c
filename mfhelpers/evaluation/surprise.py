"""Algorithms of scikit-surprise, trained and judged like ours."""

from __future__ import annotations

import inspect
import os
import tempfile
from typing import Any

import numpy as np

from ..algorithms.loop import DivergenceError
from ..data.ratings import Ratings, require_ratings


class from_surprise:
    """A scikit-surprise algorithm for `cross_validate`, and for single trainings.

    Parameters
    ----------
    kind : str or class
        Such as "SVD", "SVDpp", "BaselineOnly", "KNNBaseline", or a class of your own.
    **settings
        Those of the class. `random_state` comes from the seed, and nothing is printed.

    Raises
    ------
    ValueError
        If Surprise has no such algorithm, or it does not take such settings.
    ImportError
        If scikit-surprise is not installed.

    Notes
    -----
    Ratings become Surprise's `Trainset` directly, in the order and numbering that it would give them itself;
    `prepare` does so, and its time does not count as training. `NormalPredictor` draws from NumPy's global generator,
    which no seed reaches.
    """

    def __init__(self, kind: Any, **settings: Any) -> None:
        surprise = _surprise()
        found = getattr(surprise, kind, None) if isinstance(kind, str) else kind
        if not (isinstance(found, type) and issubclass(found, surprise.AlgoBase)):
            raise ValueError(f"Surprise has no algorithm {kind!r}: choose such as 'SVD', 'SVDpp', 'BaselineOnly'")
        accepted = _accepted(found, surprise.AlgoBase)
        self.kind, self.settings = found, dict(settings)
        self.takes_seed = "random_state" in accepted
        if "verbose" in accepted:
            self.settings.setdefault("verbose", False)
        refused = [name for name in settings if name not in accepted or name == "random_state"]
        if refused:
            raise ValueError(f"{found.__name__} takes no setting {refused[0]!r} here; the seed sets random_state")

    def __repr__(self) -> str:
        return f"from_surprise({', '.join([self.kind.__name__, *(f'{n}={v!r}' for n, v in self.settings.items())])})"

    def prepare(self, train: Ratings) -> Any:
        """The ratings as Surprise's `Trainset`, without its detour over text."""
        from surprise import Trainset

        require_ratings("train", train)

        inner_u, inner_i = (
            {raw: at for at, raw in enumerate(dict.fromkeys(ids.tolist()))} for ids in (train.users, train.items)
        )
        by_user: dict[int, list] = {u: [] for u in range(len(inner_u))}
        by_item: dict[int, list] = {i: [] for i in range(len(inner_i))}
        for raw_u, raw_i, r in zip(train.users.tolist(), train.items.tolist(), train.values.tolist(), strict=True):
            u, i = inner_u[raw_u], inner_i[raw_i]
            by_user[u].append((i, r))
            by_item[i].append((u, r))
        scale = train.scale.low, train.scale.high
        return Trainset(by_user, by_item, len(inner_u), len(inner_i), len(train), scale, inner_u, inner_i)

    def __call__(self, train: Any, seed: int = 0) -> SurprisePredictor:
        """Train on `Ratings`, or on what `prepare` made of them."""
        trainset = self.prepare(train) if isinstance(train, Ratings) else train
        seeded = {"random_state": seed} if self.takes_seed else {}
        model = self.kind(**self.settings, **seeded)
        model.fit(trainset)
        return SurprisePredictor(model)


class SurprisePredictor:
    """A fitted Surprise algorithm as `evaluate` wants it; `model` is the algorithm itself.

    Surprise goes on when its numbers overflow, so a divergence shows here: `predict` raises `DivergenceError`.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, users: Any, items: Any) -> np.ndarray:
        """Surprise's estimates, not clipped; unknown users and items get what the algorithm gives them."""
        pairs = zip(np.asarray(users).tolist(), np.asarray(items).tolist(), strict=True)
        estimates = np.array([self.model.predict(u, i, clip=False).est for u, i in pairs], dtype=np.float64)
        if not np.isfinite(estimates).all():
            raise DivergenceError(f"{type(self.model).__name__} diverged: try a tenth of its learning rate")
        return estimates


def _accepted(kind: type, last: type) -> set[str]:
    """The settings of a class: those of its constructor and, where that passes on the others, of its bases'."""
    accepted = set()
    for base in kind.__mro__:
        if base is last:  # which looks up these two among whatever it is given
            return accepted | {"bsl_options", "sim_options"}
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            accepted |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
            if all(p.kind is not p.VAR_KEYWORD for p in parameters):
                break
    return accepted


def _surprise() -> Any:
    # importing it makes a folder for downloads in the home directory, unless it is told another place
    os.environ.setdefault("SURPRISE_DATA_FOLDER", tempfile.gettempdir())
    try:
        import surprise
    except ImportError as error:
        raise ImportError("scikit-surprise is not installed: pip install -c constraints.txt scikit-surprise") from error
    return surprise
