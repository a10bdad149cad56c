"""Choosing hyper-parameters on training data alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import display
from .metrics import rmse
from .ratings import Ratings
from .splits import kfold
from .training import DivergenceError


@dataclass(frozen=True)
class Choice:
    """What `choose` found.

    Attributes
    ----------
    settings : dict
        Those with the lowest mean validation RMSE; of equals the first.
    log : DataFrame
        A row for each setting that was tried, in that order: the setting, then `rmse`, the mean over the
        inner folds; `sd`, its standard deviation over them; `seconds`, of all folds together.
    """

    settings: dict[str, Any]
    log: pd.DataFrame

    def _repr_html_(self) -> str:
        return self.log.to_html(index=False, border=0, float_format="{:.4g}".format)


def choose(
    train: Ratings,
    settings: Mapping[str, Sequence] | Iterable[Mapping[str, Any]],
    fit_one: Callable[..., Any],
    *,
    n_splits: int = 3,
    seed: int = 0,
    clip: bool = True,
    progress: bool = True,
) -> Choice:
    """Try settings on inner folds of `train` and return the best, with the log of all.

    What is held out for the judgement comes from `train`, so give it the training part only: a choice
    that has seen test ratings makes the test score too good. Interrupting keeps what was tried so far.

    Parameters
    ----------
    train : Ratings
    settings : dict of lists, or list of dicts
        A dict of lists means every combination, ``{"reg": [0.02, 0.1], "n_factors": [10, 40]}``.
    fit_one : function (part, **setting) -> predictor
        Trains on `part` and returns anything that `evaluate` takes. A training that diverges counts as
        an infinite error.
    n_splits : int
        Inner folds; each setting is trained so many times.
    seed : int
        Of the inner folds, which are the same for all settings.
    clip : bool
        Limit predictions to the rating scale before they are judged.
    progress : bool
        Show a bar for what takes over two seconds.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If there is no setting, or none could be trained.
    """
    if isinstance(settings, Mapping):
        settings = [dict(zip(settings, values, strict=True)) for values in itertools.product(*settings.values())]
    settings = [dict(setting) for setting in settings]
    if not settings:
        raise ValueError("there is no setting to try: give a dict of lists, or a list of dicts")
    folds = list(kfold(train, n_splits, seed))
    tried = []
    bar = display.progress(total=len(settings) * n_splits, show=progress, unit="fit")
    try:
        for setting in settings:
            began, errors = time.perf_counter(), []
            for part, held_out in folds:
                try:
                    errors.append(rmse(fit_one(part, **setting), held_out, clip))
                except DivergenceError:
                    errors.append(np.inf)
                bar.update()
            spread = np.std(errors, ddof=1) if np.isfinite(errors).all() else np.inf
            tried.append({**setting, "rmse": np.mean(errors), "sd": spread, "seconds": time.perf_counter() - began})
            bar.set_postfix_str(f"best {min(row['rmse'] for row in tried):.4f}", refresh=False)
    except KeyboardInterrupt:
        if not tried:
            raise
        print(f"interrupted after {len(tried)} of {len(settings)} settings: the best of those is returned")
    finally:
        bar.close()
    best = min(range(len(tried)), key=lambda at: tried[at]["rmse"])
    if not np.isfinite(tried[best]["rmse"]):
        raise ValueError(f"all {len(tried)} settings diverged: try smaller learning rates")
    return Choice(settings[best], pd.DataFrame(tried))
