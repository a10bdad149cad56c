"""Comparing algorithms over folds and seeds, paired."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..algorithms.loop import DivergenceError, note_interruption
from ..data.arguments import confidence, one_of, whole_number, yes_or_no
from ..data.interactions import Interactions, pairs_in_both, require_interactions, require_same_labels
from ..data.ratings import Ratings, require_ratings
from ..data.splits import kfold
from ..display.progress import progress as progress_bar
from ..models.metrics import Predictor, Score, evaluate
from .tuning import trained

SCORES = ("rmse", "mae", "train_rmse", "train_mae")
SECONDS = ("fit_seconds", "test_seconds")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What `cross_validate` measured.

    Attributes
    ----------
    scores : DataFrame
        A row for each training: `algorithm`, `fold` (from 0), `seed`; `rmse` and `mae` on the test part,
        `train_rmse` and `train_mae` on the train part, in stars, infinite where it diverged; `fit_seconds`,
        and `test_seconds` for predicting the test part.
    test_share : float
        Test ratings for one training rating, on average over the folds: `differences` needs it.
    score : str
        What algorithms are compared by unless another one is named: "rmse", or the `Score` that was measured, which
        then has a column too.
    """

    scores: pd.DataFrame
    test_share: float
    score: str = "rmse"

    @property
    def algorithms(self) -> list[str]:
        """The names, in the order in which they were given."""
        return list(dict.fromkeys(self.scores.algorithm))

    def by_fold(self, score: str | None = None) -> pd.DataFrame:
        """One number for each fold (rows) and algorithm (columns): the mean over seeds, of seconds the median."""
        score = one_of("score", score or self.score, dict.fromkeys([self.score, *SCORES, *SECONDS]))
        # dropna: an algorithm that diverged everywhere has no time for predicting, but a column
        return self.scores.pivot_table(
            score, "fold", "algorithm", "median" if score in SECONDS else "mean", dropna=False
        )[self.algorithms]

    def table(self) -> pd.DataFrame:
        """A row for each algorithm: means over folds and seeds.

        Columns
        -------
        rmse, mae, train_rmse, train_mae : stars
        sd : of the score over folds, each fold averaged over its seeds; NaN for one fold, or where one diverged
        seed_sd : of the score over seeds within a fold, the mean of all folds; NaN for one seed, or likewise
        fit_seconds, test_seconds : medians, since what is loaded on first use belongs to no fold
        """
        each = {score: self.by_fold(score).mean() for score in dict.fromkeys([self.score, *SCORES])}
        finite = self.scores.replace([np.inf, -np.inf], np.nan)
        seeds = finite.groupby(["algorithm", "fold"])[self.score].std().groupby("algorithm").mean()
        folds = finite.groupby(["algorithm", "fold"])[self.score].mean().groupby("algorithm").std()
        seconds = self.scores.groupby("algorithm")[list(SECONDS)].median()
        columns = {self.score: each.pop(self.score), "sd": folds, "seed_sd": seeds, **each, **seconds}
        table = pd.DataFrame(columns).loc[self.algorithms].rename_axis("algorithm")
        table.loc[np.isinf(table.rmse), ["sd", "seed_sd"]] = np.nan
        return table

    def differences(self, to: str, score: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """How far each algorithm is from one of them, fold by fold, with an interval.

        Parameters
        ----------
        to : str
            The algorithm to compare with.
        score : {"rmse", "mae", "train_rmse", "train_mae", "fit_seconds", "test_seconds"}, optional
            Default: that of the comparison.
        level : float
            Of the interval, between 0 and 1.

        Returns
        -------
        DataFrame
            A row for each other algorithm: `difference` (its mean minus the mean of `to`), `low` and `high`, and
            `verdict`: "lower" or "higher" only where the interval excludes 0, else "undecided". After a
            divergence there is no interval (NaN), and the verdict is "diverged"; of what was not measured, "not measured".

        Raises
        ------
        ValueError
            For a name that was not compared, or fewer than two folds.

        Notes
        -----
        The difference of a fold is that of the means over its seeds, and a t interval over the J folds has
        J - 1 degrees of freedom: more seeds are no new ratings. Its variance is (1/J + n_test/n_train) times that of
        the differences, since folds share most of their training ratings and so agree too well (C. Nadeau,
        Y. Bengio, Inference for the Generalization Error, Machine Learning 52, 2003).
        """
        from scipy import stats

        if to not in self.algorithms:
            raise ValueError(f"to={to!r} was not compared; there are {', '.join(map(repr, self.algorithms))}")
        level = confidence("level", level)
        folds = self.by_fold(score)
        if len(folds) < 2:
            raise ValueError(f"{len(folds)} fold: an interval needs two or more")
        others = [name for name in self.algorithms if name != to]
        with np.errstate(invalid="ignore"):  # inf - inf, where two diverged
            apart = folds[others].to_numpy() - folds[[to]].to_numpy()
            mean, spread, n = apart.mean(axis=0), apart.std(axis=0, ddof=1), len(folds)
        failed = self.scores.rmse.eq(np.inf).groupby(self.scores.algorithm).any()
        finite = np.isfinite(apart).all(axis=0) & ~failed[others].to_numpy() & ~failed[to]
        mean = np.where(finite, mean, np.nan)
        half = stats.t.ppf((1 + level) / 2, n - 1) * spread * np.sqrt(1 / n + self.test_share)
        apart_from_0 = np.where(mean + half < 0, "lower", np.where(mean - half > 0, "higher", "undecided"))
        unknown = np.where(failed[others].to_numpy() | failed[to], "diverged", "not measured")
        verdict = np.where(finite, apart_from_0, unknown)
        columns = {"difference": mean, "low": mean - half, "high": mean + half, "verdict": verdict}
        return pd.DataFrame(columns, index=pd.Index(others, name="algorithm"))

    def plot(self, to: str | None = None, score: str | None = None, ax: Any = None, title: str | None = None) -> Any:
        """Draw each fold's score, or with `to` the differences to that algorithm with their 95 % intervals.

        Returns
        -------
        The axes; `plots.show(ax.figure, alt=…)` shows them.
        """
        from ..display import plots  # here, so that a comparison does not load a drawing library

        score = self.score if score is None else score
        unit = "seconds" if score in SECONDS else "stars" if score in SCORES else ""
        what = {"rmse": "RMSE", "mae": "MAE", "train_rmse": "training RMSE", "train_mae": "training MAE"}
        what = what.get(score, score.replace("_", " "))
        if to is None:
            label = f"{what}{unit and ', '}{unit}: a dot a fold, a line at their mean"
            return plots.dots(self.by_fold(score), ax=ax, title=title, xlabel=label, ylabel="algorithm")
        label = f"{what} minus that of {to}{unit and ', '}{unit}: mean and 95 % interval"
        return plots.intervals(self.differences(to, score), ax=ax, title=title, xlabel=label, ylabel="algorithm")

    def __repr__(self) -> str:
        rounds = self.scores[["fold", "seed"]].drop_duplicates()
        return (
            f"Comparison({len(self.algorithms)} algorithms, {len(rounds)} rounds)\n{self.table().round(4).to_string()}"
        )

    def _repr_html_(self) -> str:
        return self.table().to_html(border=0, float_format="{:.4f}".format)


def cross_validate(
    algorithms: Mapping[str, Callable[..., Predictor]],
    ratings: Interactions,
    folds: int | Iterable[tuple[Interactions, Interactions]] = 5,
    seeds: Iterable[int] = (0,),
    *,
    clip: bool = True,
    score: str | Score = "rmse",
    progress: bool = True,
) -> Comparison:
    """Train and judge every algorithm on the same folds with the same seeds.

    Interrupting keeps the rounds (a fold with a seed) that all algorithms have finished.

    Parameters
    ----------
    algorithms : dict from a name to a function (train, seed=…) -> predictor
        What comes back is a `Predictor`. For scikit-surprise: `from_surprise`. A training that diverges has an
        infinite error. (Both parts are predicted: of Surprise's nearest neighbours that takes longer than training.)
    ratings : Ratings, or for a score of lists Interactions
    folds : int, or (train, test) pairs
        A number means `kfold`, the folds of Surprise's ``KFold(n, random_state=42)``.
    seeds : whole numbers, or one
        Each algorithm is trained once for each seed on each fold.
    clip : bool
        Limit predictions to the rating scale before they are judged.
    score : "rmse", "mae", a score of `rank` such as "ndcg@20", or Score
        What they are compared by; another than the first two is measured on the test part, too. Of `Interactions` no
        RMSE is measured: its columns are NaN.
    progress : bool
        Show a bar for what takes over two seconds.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If there is nothing to compare, or a test rating is in its own train part; before anything is trained.
    """
    algorithms, score = _checked_algorithms(algorithms), Score.of(score, clip)
    (require_ratings if score.needs_values else require_interactions)("ratings", ratings)
    seeds = [whole_number("seed", seed) for seed in (seeds if np.iterable(seeds) else [seeds])]
    folds = _checked_folds(ratings, folds)
    if not seeds or not folds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"{len(folds)} folds, seeds {seeds}: at least one of each, no seed twice, none below 0")
    rows, kept = [], 0
    rounds = itertools.product(enumerate(folds), seeds)
    bar = progress_bar(
        total=len(folds) * len(seeds) * len(algorithms), show=yes_or_no("progress", progress), unit="fit"
    )
    try:
        for (fold, (train, test)), seed in rounds:
            for name, algorithm in algorithms.items():
                bar.set_postfix_str(name, refresh=False)
                measured = _trial(name, algorithm, train, test, seed, clip, score)
                rows.append({"algorithm": name, "fold": fold, "seed": seed, **measured})
                bar.update()
            kept = len(rows)
    except KeyboardInterrupt:
        if not kept:
            raise
        note_interruption()
        print(f"interrupted after {kept // len(algorithms)} of {len(folds) * len(seeds)} rounds, which are kept")
    finally:
        bar.close()
    judged = folds[: rows[kept - 1]["fold"] + 1]
    share = float(np.mean([len(held_out) / len(part) for part, held_out in judged]))
    return Comparison(pd.DataFrame(rows[:kept]), share, score.name)


def _checked_algorithms(algorithms: Any) -> dict[str, Callable[..., Any]]:
    wanted = "give a dict from names to functions (train, seed=…) -> predictor, or of from_surprise(…)"
    if not isinstance(algorithms, Mapping) or not algorithms:
        raise ValueError(f"algorithms={algorithms!r}: {wanted}")
    for name, algorithm in algorithms.items():
        if not callable(algorithm):
            raise ValueError(f"{name!r} is no function: {wanted}")
        try:
            inspect.signature(algorithm).bind(None, seed=0)
        except TypeError as error:
            remedy = "from_surprise(…)" if isinstance(algorithm, type) else "lambda train, seed: …"
            raise ValueError(f"{name!r} does not take (train, seed=…), {error}: wrap it as {remedy}") from error
        except ValueError:  # no signature to look at
            continue
    return dict(algorithms)


def _checked_folds(ratings: Interactions, folds: Any) -> list[tuple[Any, Any]]:
    if np.isscalar(folds):
        return list(kfold(ratings, whole_number("folds", folds)))
    if not isinstance(folds, Iterable):
        raise ValueError(f"folds is {type(folds).__name__}: give a number, or (train, test) pairs such as kfold makes")
    folds = list(folds)
    for fold in folds:
        kind = Ratings if isinstance(ratings, Ratings) else Interactions
        if not (isinstance(fold, (tuple, list)) and [isinstance(part, kind) for part in fold] == [True, True]):
            raise ValueError(
                f"folds= takes a number or (train, test) pairs of {kind.__name__}; a single split is [random_split(…)]"
            )
        for part in fold:
            require_same_labels(ratings, part)
        if leaked := pairs_in_both(*fold):
            raise ValueError(
                f"{leaked:,} of {len(fold[1]):,} test ratings are in the train part too: what it tells is no error"
            )
    return folds


def _trial(
    name: str,
    algorithm: Callable[..., Any],
    train: Interactions,
    test: Interactions,
    seed: int,
    clip: bool,
    score: Score,
) -> dict[str, float]:
    """Train once and judge it on both parts."""
    prepare = getattr(algorithm, "prepare", None)
    data = train if prepare is None else prepare(train)
    diverged = dict.fromkeys(SCORES, np.inf) | dict.fromkeys(SECONDS, np.nan)
    diverged |= {} if score.name in SCORES else {score.name: score.worst}
    started = time.perf_counter()
    predictor = trained(repr(name), lambda: algorithm(data, seed=seed))
    spent = {"fit_seconds": time.perf_counter() - started}
    if predictor is None:
        return diverged
    try:
        started = time.perf_counter()
        errors = _errors(predictor, test, clip)
        predicted = time.perf_counter()
        more = {} if score.name in SCORES else {score.name: score.measure(predictor, test, train)}
        # of ratings the time to predict them; lists alone are what the score asks for
        spent["test_seconds"] = (predicted if isinstance(test, Ratings) else time.perf_counter()) - started
        learned = {f"train_{name}": error for name, error in _errors(predictor, train, clip).items()}
    except DivergenceError:
        return diverged
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from error
    return errors | learned | more | spent


def _errors(predictor: Predictor, part: Interactions, clip: bool) -> dict[str, float]:
    """RMSE and MAE; not numbers where there are no values to be off from."""
    if not isinstance(part, Ratings):
        return {"rmse": np.nan, "mae": np.nan}
    scores = evaluate(predictor, part, clip)
    return {"rmse": scores.rmse, "mae": scores.mae}
