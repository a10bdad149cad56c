"""Choosing hyper-parameters on training data alone."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..algorithms.loop import DivergenceError
from ..data.arguments import whole_number
from ..data.ratings import Ratings
from ..data.splits import kfold
from ..display.progress import progress as progress_bar
from ..models.metrics import rmse


@dataclass(frozen=True, eq=False)
class Choice:
    """What `choose` found.

    Attributes
    ----------
    settings : dict
        Those with the lowest mean validation RMSE; of equals the first.
    log : DataFrame
        A row for each setting that was tried, in that order: the setting, then `rmse`, the mean over the
        inner folds; `sd`, its standard deviation over them (NaN for one fold or a divergence);
        `seconds`, of all folds together.
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
    n_folds: int | None = None,
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
        Inner folds, 2 or more. Many leave more ratings to train on, as many as the final training has
        nearly; the best λ depends on that.
    n_folds : int, optional
        How many of them are held out, one after the other: so often each setting is trained. Default all.
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
        single = [name for name, values in settings.items() if isinstance(values, str) or not np.iterable(values)]
        if single:
            raise ValueError(f"{single[0]}={settings[single[0]]!r}: give a list of values to try")
        # the product of no lists would be one empty setting
        combinations = itertools.product(*settings.values()) if settings else []
        settings = [dict(zip(settings, values, strict=True)) for values in combinations]
    settings = [dict(setting) for setting in settings]
    if not settings:
        raise ValueError("there is no setting to try: give a dict of lists, or a list of dicts")
    taken = {"rmse", "sd", "seconds"} & {name for setting in settings for name in setting}
    if taken:
        raise ValueError(f"a setting called {min(taken)!r} would be overwritten in the log: give it another name")
    n_splits = whole_number("n_splits", n_splits)
    folds = kfold(train, n_splits, seed)  # refuses a wrong n_splits
    n_folds = n_splits if n_folds is None else whole_number("n_folds", n_folds)
    if not 1 <= n_folds <= n_splits:
        raise ValueError(f"n_folds={n_folds}: of n_splits={n_splits} inner folds hold out 1 … {n_splits}")
    folds = list(itertools.islice(folds, n_folds))
    tried = []
    bar = progress_bar(total=len(settings) * len(folds), show=progress, unit="fit")
    try:
        for setting in settings:
            began, errors = time.perf_counter(), []
            for part, held_out in folds:
                try:
                    with interruptions() as noticed:
                        fitted = fit_one(part, **setting)
                    if not hasattr(fitted, "predict"):
                        raise ValueError(
                            f"fit_one returned {type(fitted).__name__}: return the model or the Factors, "
                            "or anything else with predict(users, items)"
                        )
                    if noticed:  # and `fit` or `sgd` returned what they had
                        raise KeyboardInterrupt
                    errors.append(rmse(fitted, held_out, clip))
                except DivergenceError:
                    errors.append(np.inf)
                bar.update()
            spread = np.std(errors, ddof=1) if len(errors) > 1 and np.isfinite(errors).all() else np.nan
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
    # of the settings first, also of those that not every setting has
    names = dict.fromkeys(name for setting in settings[: len(tried)] for name in setting)
    return Choice(settings[best], pd.DataFrame(tried, columns=[*names, "rmse", "sd", "seconds"]))


@contextmanager
def interruptions() -> Iterator[list]:
    """Notes each Ctrl-C: a training that keeps its model when it is interrupted does not pass it on."""
    noticed: list = []
    try:
        before = signal.getsignal(signal.SIGINT)

        def notice(number, frame):
            noticed.append(number)
            before(number, frame)

        signal.signal(signal.SIGINT, notice if callable(before) else before)
    except (ValueError, TypeError):  # not the main thread, or a handler that is not Python's
        yield noticed
        return
    try:
        yield noticed
    finally:
        signal.signal(signal.SIGINT, before)
