"""Choosing hyper-parameters on training data alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..algorithms.loop import DivergenceError, interruptions, note_interruption
from ..data.arguments import whole_number, yes_or_no
from ..data.interactions import Interactions, require_interactions
from ..data.ratings import require_ratings
from ..data.splits import kfold
from ..display.progress import progress as progress_bar
from ..models.metrics import Predictor, Score


@dataclass(frozen=True, eq=False)
class Choice:
    """What `choose` found.

    Attributes
    ----------
    settings : dict
        Those with the best mean score, by default the lowest validation RMSE; of equals the first.
    log : DataFrame
        A row for each setting that was tried, in that order: the setting, then `rmse`, or another score, the
        mean over the inner folds; `sd`, its standard deviation over them (NaN for one fold or a divergence);
        `seconds`, of all folds together.
    """

    settings: dict[str, Any]
    log: pd.DataFrame

    def _repr_html_(self) -> str:
        return self.log.to_html(index=False, border=0, float_format="{:.4g}".format)


def choose(
    train: Interactions,
    settings: Mapping[str, Sequence] | Iterable[Mapping[str, Any]],
    fit_one: Callable[..., Predictor],
    *,
    folds: int = 3,
    rounds: int | None = None,
    seed: int = 0,
    clip: bool = True,
    score: str | Score = "rmse",
    progress: bool = True,
) -> Choice:
    """Try settings on inner folds of `train` and return the best, with the log of all.

    What is held out for the judgement comes from `train`, so give it the training part only: a choice
    that has seen test ratings makes the test score too good. Interrupting keeps what was tried so far.

    Parameters
    ----------
    train : Ratings, or for a score of lists Interactions
    settings : dict of lists, or list of dicts
        A dict of lists means every combination, ``{"reg": [0.02, 0.1], "n_factors": [10, 40]}``.
    fit_one : function (part, **setting) -> predictor
        Trains on `part` and returns a `Predictor`. A training that diverges counts as an infinite error.
    folds : int
        Inner folds, 2 or more. Many leave more ratings to train on, as many as the final training has
        nearly; the best λ depends on that.
    rounds : int, optional
        How many of the folds are held out, one after the other: so often each setting is trained. Default all.
    seed : int
        Of the inner folds, which are the same for all settings.
    clip : bool
        Limit predictions to the rating scale before they are judged.
    score : "rmse", "mae", a score of `rank` such as "ndcg@20", or Score
        What the best setting is best in; the log has a column of that name.
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
    score = Score.of(score, clip)
    (require_ratings if score.needs_values else require_interactions)("train", train)
    if not callable(fit_one):
        raise ValueError(f"fit_one={fit_one!r}: give a function (part, **setting) -> predictor")
    settings = _combined(settings, score.name)
    parts = kfold(
        train, whole_number("folds", folds), whole_number("seed", seed, 0, 2**32 - 1)
    )  # refuses a wrong number of folds
    rounds = folds if rounds is None else whole_number("rounds", rounds)
    if not 1 <= rounds <= folds:
        raise ValueError(f"rounds={rounds}: of folds={folds} inner folds hold out 1 … {folds}")
    held_out = list(itertools.islice(parts, rounds))
    tried: list[dict[str, Any]] = []
    bar = progress_bar(total=len(settings) * rounds, show=yes_or_no("progress", progress), unit="fit")
    try:
        for setting in settings:
            began, reached = time.perf_counter(), []
            for part, judged in held_out:
                reached.append(_trial(fit_one, part, judged, setting, score))
                bar.update()
            sd = np.std(reached, ddof=1) if rounds > 1 and np.isfinite(reached).all() else np.nan
            seconds = time.perf_counter() - began
            tried.append({**setting, score.name: np.mean(reached), "sd": sd, "seconds": seconds})
            bar.set_postfix_str(f"best {tried[_best(tried, score)][score.name]:.4f}", refresh=False)
    except KeyboardInterrupt:
        if not tried:
            raise
        note_interruption()
        print(f"interrupted after {len(tried)} of {len(settings)} settings: the best of those is returned")
    finally:
        bar.close()
    best = _best(tried, score)
    if not np.isfinite(tried[best][score.name]):
        what = "diverged" if tried[best][score.name] == score.worst else "have no finite score"
        raise ValueError(f"all {len(tried)} settings {what}: try smaller learning rates")
    # of the settings first, also of those that not every setting has
    names = dict.fromkeys(name for setting in settings[: len(tried)] for name in setting)
    return Choice(settings[best], pd.DataFrame(tried, columns=[*names, score.name, "sd", "seconds"]))


def _combined(settings: Any, score: str) -> list[dict[str, Any]]:
    """Every combination of a dict of lists; a list of dicts as it is."""
    if isinstance(settings, Mapping):
        single = [name for name, values in settings.items() if isinstance(values, str) or not np.iterable(values)]
        if single:
            raise ValueError(f"{single[0]}={settings[single[0]]!r}: give a list of values to try")
        # the product of no lists would be one empty setting
        combinations = itertools.product(*settings.values()) if settings else []
        settings = [dict(zip(settings, values, strict=True)) for values in combinations]
    try:
        settings = [{**setting} for setting in settings]
    except TypeError as error:
        raise ValueError(f"settings={settings!r}: give a dict of lists, or a list of dicts, by names") from error
    if not settings:
        raise ValueError("there is no setting to try: give a dict of lists, or a list of dicts")
    taken = {score, "sd", "seconds"} & {name for setting in settings for name in setting}
    if taken:
        raise ValueError(f"a setting called {min(taken)!r} would be overwritten in the log: give it another name")
    return settings


def _trial(
    fit_one: Callable[..., Any], part: Interactions, judged: Interactions, setting: dict[str, Any], score: Score
) -> float:
    """Train with one setting on one inner fold, and judge it on what was held out."""
    predictor = trained("fit_one", lambda: fit_one(part, **setting))
    try:
        return score.worst if predictor is None else score.measure(predictor, judged, part)
    except DivergenceError:
        return score.worst


def trained(who: str, train: Callable[[], Any]) -> Predictor | None:
    """What a training returns, None if it diverged; an interruption that it kept to itself is raised again."""
    fitted, diverged = None, False
    with interruptions() as noticed:
        try:
            fitted = train()
        except DivergenceError:
            diverged = True
    if noticed:
        raise KeyboardInterrupt
    if not (diverged or isinstance(fitted, Predictor)):
        raise ValueError(
            f"{who} returned {type(fitted).__name__}: return the model or the Factors, "
            "or anything else with predict(users, items)"
        )
    return fitted


def _best(tried: list[dict[str, Any]], score: Score) -> int:
    sign = -1 if score.higher_is_better else 1
    values = [sign * row[score.name] for row in tried]
    return min(range(len(tried)), key=lambda at: values[at] if np.isfinite(values[at]) else np.inf)
