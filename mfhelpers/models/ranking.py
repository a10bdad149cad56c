"""How good the lists are: precision, recall, nDCG, MRR and AUC over all that a user has not chosen yet."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..data.arguments import confidence, one_of, require_one_each, whole_number
from ..data.context import TIMES, asks_for_times
from ..data.interactions import Interactions, pairs_in_both, require_same_labels
from ..data.ratings import positives
from ..display.notebook import printable
from .topn import AT_ONCE


@dataclass(frozen=True, eq=False, repr=False)
class RankingScores:
    """What `rank` measured: ``scores["ndcg@20"]`` is the mean over all users who have test items.

    Attributes
    ----------
    by_user : DataFrame
        A row for each user with test items: their number as index, `n_relevant`, and a column for each score. NaN is an AUC where
        there is nothing to be told apart.
    """

    by_user: pd.DataFrame
    judged: str = ""  # a fingerprint of what was judged, and how

    @cached_property
    def names(self) -> list[str]:
        return [name for name in self.by_user.columns if name != "n_relevant"]

    @property
    def n_users(self) -> int:
        """How many users have test items."""
        return len(self.by_user)

    def __getitem__(self, name: str) -> float:
        return float(self.by_user[one_of("score", name, self.names)].mean())

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Low and high end of a t interval of the mean over users; NaN for fewer than two."""
        return _interval(self.by_user[one_of("score", name, self.names)], level)

    def difference(self, other: RankingScores, name: str, level: float = 0.95) -> tuple[float, float, float]:
        """Mean, low and high of this score minus the other's, user by user: both must have ranked the same test part."""
        if not isinstance(other, RankingScores) or self.judged != other.judged:
            raise ValueError(
                "other are no scores of the same test items: rank both on one test part, with one exclude and one recall"
            )
        apart = self.by_user[one_of("score", name, self.names)] - other.by_user[one_of("score", name, other.names)]
        return float(apart.mean()), *_interval(apart, level)

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """A row for each score: mean over users, and the ends of its interval."""
        rows = {name: (self[name], *self.interval(name, level)) for name in self.names}
        return pd.DataFrame.from_dict(rows, "index", columns=["mean", "low", "high"]).rename_axis("score")

    def __repr__(self) -> str:
        told = ", ".join(f"{name} {self[name]:.3f}" for name in self.names)
        return printable(f"RankingScores({self.n_users:,} users: {told})")

    def _repr_html_(self) -> str:
        return self.table().to_html(border=0, float_format="{:.4f}".format)


def rank(
    predictor: Any,
    test: Interactions,
    *,
    exclude: Interactions | None,
    at: Iterable[int] = (5, 10, 20),
    at_least: float | None = None,
    recall: str = "capped",
    timestamps: int | None = None,
) -> RankingScores:
    """Let a predictor put all items in order for every user with test items, and judge the lists.

    Parameters
    ----------
    predictor : Predictor
        Its predictions decide the order; equal ones come in the order of item numbers. It is asked for whole users, by
        `predict_all(users)` where it has that, which may round otherwise than `predict` and `recommend` do.
    test : Interactions or Ratings
        What is relevant. Users without any are left out of all means.
    exclude : Interactions or Ratings, or None
        What is left out of each user's list: the training part. None leaves out nothing.
    at : whole numbers
        Lengths of list to be judged.
    at_least : float, optional
        Of test `Ratings`, those of so many stars are relevant; None takes all. The others stay in the list, as misses.
    recall : {"capped", "all"}
        What hits are divided by: the most that the list could hold, min(k, n_relevant), or all n_relevant.
    timestamps : int, optional
        The moment at which the lists are made, in seconds since 1970, for a predictor that asks for one.

    Returns
    -------
    RankingScores
        `precision@k`: hits / k. `recall@k`. `ndcg@k`: Σ 1 / log2(1 + place) over the hits, relative to the best list.
        `mrr`: 1 / place of the first hit in the whole list. `auc`: the share of pairs of a relevant and another item that
        are in the right order, a tie counting half.

    Raises
    ------
    ValueError
        If parts are numbered differently, a test pair is in `exclude`, scores are not finite, or a moment is missing or
        not asked for.
    """
    if not callable(getattr(predictor, "predict", None)):
        raise ValueError(
            f"predictor is {type(predictor).__name__}: give Factors, a model, or what has predict(users, items)"
        )
    lengths, more = _lengths(at), _moment(predictor, timestamps)
    one_of("recall", recall, ("capped", "all"))
    relevant = positives("test", test, at_least)
    sizes = getattr(predictor, "n_users", None), getattr(predictor, "n_items", None)
    if None not in sizes and sizes != (relevant.n_users, relevant.n_items):
        raise ValueError(
            f"predictor knows {sizes[0]} users × {sizes[1]} items, test has {relevant.n_users} × {relevant.n_items}"
        )
    if exclude is not None:
        require_same_labels(relevant, exclude)
        if leaked := pairs_in_both(exclude, relevant):
            raise ValueError(
                f"{leaked:,} of {len(relevant):,} test pairs are in exclude= too, and would never be listed: "
                "split one Ratings"
            )
    users = np.flatnonzero(relevant.user_counts)
    places, auc = _places(predictor, relevant, exclude, users, more)
    counts = relevant.user_counts[users]
    who = np.repeat(np.arange(len(users)), counts)
    scores = _scores(places, who, counts, lengths, recall) | {"auc": auc}
    judged = hashlib.sha256(repr(recall).encode())
    for part in (relevant, exclude):
        if part is not None:
            judged.update(np.sort(part.users * np.int64(part.n_items) + part.items).tobytes())
    return RankingScores(pd.DataFrame(scores, index=pd.Index(users, name="user")), judged.hexdigest())


def _scores(
    places: np.ndarray, who: np.ndarray, counts: np.ndarray, lengths: Sequence[int], recall: str
) -> dict[str, np.ndarray]:
    """Each user's scores, by the places from 1 of their relevant items."""
    scores: dict[str, np.ndarray] = {"n_relevant": counts}
    gains = 1 / np.log2(1 + np.arange(1, max(places.max(), counts.max()) + 1))
    best = np.concatenate([[0], np.cumsum(gains)])
    for k in lengths:
        inside = places <= k
        hits = np.bincount(who[inside], minlength=len(counts))
        most = np.minimum(k, counts)
        scores[f"precision@{k}"] = hits / k
        scores[f"recall@{k}"] = hits / (most if recall == "capped" else counts)
        gained = np.bincount(who[inside], gains[places[inside] - 1], minlength=len(counts))
        scores[f"ndcg@{k}"] = gained / best[most]
    first = np.full(len(counts), places.max(initial=1))
    np.minimum.at(first, who, places)
    return scores | {"mrr": 1 / first}


def _moment(predictor: Any, timestamps: int | None) -> dict[str, int]:
    if not asks_for_times(predictor):
        if timestamps is not None:
            raise ValueError(f"{type(predictor).__name__} does not ask for timestamps: leave timestamps= out")
        return {}
    if timestamps is None:
        raise ValueError(
            f"{type(predictor).__name__} asks for timestamps: rank(…, timestamps=the moment of the lists); as a score, "
            "Score(name, lambda p, test, train: mf.rank(p, test, exclude=train, timestamps=…)[…], True)"
        )
    return {TIMES: whole_number("timestamps", timestamps)}


def _places(
    predictor: Any, relevant: Interactions, exclude: Interactions | None, users: np.ndarray, more: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The place, from 1, of each relevant item in its user's list, users in order; and each user's AUC."""
    n_items, rows = relevant.n_items, max(1, AT_ONCE // relevant.n_items)
    places, auc = [], []
    for at in range(0, len(users), rows):
        some = users[at : at + rows]
        scores = _scores_of(predictor, some, n_items, more)
        n_listed = np.full(len(some), n_items)
        if exclude is not None:
            owners, hidden = exclude.items_of(some)
            scores[owners, hidden] = -np.inf
            n_listed -= np.bincount(owners, minlength=len(some))
        owners, wanted = relevant.items_of(some)
        ends = np.cumsum(np.bincount(owners, minlength=len(some)))
        for own, mine, n in zip(scores, np.split(wanted, ends[:-1]), n_listed, strict=True):
            ordered, of_mine = np.sort(own), own[mine]
            above = n_items - np.searchsorted(ordered, of_mine, "right")
            alike = n_items - np.searchsorted(ordered, of_mine, "left") - above
            before = [
                np.count_nonzero(own[:item] == own[item]) if ties > 1 else 0
                for item, ties in zip(mine, alike, strict=True)
            ]
            places.append(1 + above + before)
            # Mann and Whitney's count: ranks from below, those of a tie at their mean
            n_others, ranks = n - len(mine), n - above - (alike - 1) / 2
            right = ranks.sum() - len(mine) * (len(mine) + 1) / 2
            auc.append(right / (len(mine) * n_others) if n_others else np.nan)
    return np.concatenate(places), np.array(auc)


def _scores_of(predictor: Any, users: np.ndarray, n_items: int, more: dict[str, int]) -> np.ndarray:
    """All scores of some users, to be written into."""
    if hasattr(predictor, "predict_all"):
        scores, shape = np.array(predictor.predict_all(users, **more)), (len(users), n_items)
        if scores.shape != shape:
            raise ValueError(f"predict_all returned shape {scores.shape} for {len(users)} users, expected {shape}")
    else:
        scores = predictor.predict(np.repeat(users, n_items), np.tile(np.arange(n_items), len(users)), **more)
        scores = np.asarray(scores.detach().cpu() if hasattr(scores, "detach") else scores)
        require_one_each("predict", scores.shape, len(users) * n_items)
        scores = scores.reshape(len(users), n_items).copy()
    if scores.dtype.kind not in "iuf":
        raise ValueError(f"the scores are {scores.dtype}: they must be real numbers")
    if scores.dtype.kind != "f":
        scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are not finite")
    return scores


def ranking_score(name: Any) -> tuple[int, ...] | None:
    """The lengths of list that a score of that name asks for; None for what is no score of `rank`."""
    found = (
        re.fullmatch(r"(?:mrr|auc|(?:ndcg|recall|precision)@([1-9][0-9]{0,8}))", name)
        if isinstance(name, str)
        else None
    )
    return None if found is None else (int(found[1] or 1),)


def _lengths(at: Any) -> list[int]:
    try:
        lengths = [whole_number("at", k, 1) for k in at]
    except TypeError as error:
        raise ValueError(f"at={at!r}: give lengths of lists, such as (5, 10, 20)") from error
    if not lengths or len(set(lengths)) < len(lengths):
        raise ValueError(f"at={at!r}: give at least one length, and none twice")
    return lengths


def _interval(values: pd.Series, level: float) -> tuple[float, float]:
    from scipy import stats

    level = confidence("level", level)
    values = values.dropna()
    if len(values) < 2:
        return np.nan, np.nan  # one user scatters about nothing
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std() / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
