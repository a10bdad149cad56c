"""What every algorithm ends in: a mean, two vectors of biases and two matrices of factors."""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..data.arguments import (
    file_path,
    in_range,
    low_and_high,
    real_number,
    require_memory,
    yes_or_no,
)  # fmt: skip
from ..data.files import replacing
from ..data.interactions import Interactions, numbers
from ..data.linear import predicted
from ..data.ratings import Ratings
from ..display.notebook import printable
from .folding import checked, systems
from .index import Index, build_index
from .penalty import Penalty
from .priors import FeaturePrior, prior_arrays, prior_of
from .topn import Fast, largest, recommend

MANY = 64  # users from which on a copy of the items, one row a factor, saves more than it takes
FLOAT32 = 1e37  # in size; a sum of products may be larger on its way
MOST = 1e18  # in size, of a number: products of two are finite in float32, and squares of predictions in float64
ARRAYS = ("mean", "user_biases", "item_biases", "user_factors", "item_factors")
TRAINED = ("trained_users", "trained_items")
PRIORS = ("user_prior", "item_prior")


@dataclass(frozen=True, eq=False, repr=False)
class Factors:
    """A fitted factorisation: r̂_ui = μ + b_u + b_i + p_u · q_i.

    Parameters
    ----------
    mean : float
        μ, the level that all predictions share, in stars.
    user_biases, item_biases : float arrays, shapes (n_users,) and (n_items,)
        b_u and b_i.
    user_factors, item_factors : float arrays, shapes (n_users, k) and (n_items, k)
        P and Q; k may be 0, which leaves the biases alone.
    trained_users, trained_items : bool arrays, shapes (n_users,) and (n_items,), optional
        Which rows a training had ratings for, as every algorithm notes. None: those that are not all zeros.
    user_prior, item_prior : FeaturePrior, optional
        What features predict of a row, after a training with features: `new_users` and `new_items` ask it.

    Raises
    ------
    ValueError
        If shapes disagree, or a number is not finite or above 1e18 in size.

    Notes
    -----
    A user or an item without training ratings is called *cold*. It mostly has a row of zeros: the
    prediction falls back to what the other side knows, and at last to the mean.
    """

    mean: float
    user_biases: np.ndarray
    item_biases: np.ndarray
    user_factors: np.ndarray
    item_factors: np.ndarray
    trained_users: np.ndarray | None = None
    trained_items: np.ndarray | None = None
    user_prior: FeaturePrior | None = dataclasses.field(default=None, kw_only=True)
    item_prior: FeaturePrior | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if np.ndim(self.mean) or np.asarray(self.mean).dtype.kind not in "iuf":
            raise ValueError(f"mean={self.mean!r}: give a number, such as 3.5")
        object.__setattr__(self, "mean", float(self.mean))
        for field in ARRAYS[1:]:
            array = np.asarray(getattr(self, field))  # np.array of a tensor warns
            if array.dtype not in (np.float32, np.float64):
                raise ValueError(f"{field} has type {array.dtype}, expected float32 or float64")
            if (
                array.flags.writeable or array.base is not None
            ):  # else nobody can change it, such as those of other Factors
                array = array.copy()
                array.flags.writeable = False
            object.__setattr__(self, field, array)
        for field in ("user_biases", "item_biases"):
            if getattr(self, field).ndim != 1:
                raise ValueError(f"{field} has shape {getattr(self, field).shape}, expected one number a row, (n,)")
        if self.user_factors.ndim != 2 or self.item_factors.ndim != 2:
            raise ValueError("user_factors and item_factors must be matrices, shape (n, k)")
        k = self.user_factors.shape[1]
        for field, shape in (("user_factors", (self.n_users, k)), ("item_factors", (self.n_items, k))):
            if getattr(self, field).shape != shape:
                raise ValueError(f"{field} has shape {getattr(self, field).shape}, expected {shape}")
        for field in ARRAYS:
            array = np.asarray(getattr(self, field))
            largest = max(array.max(initial=0), -array.min(initial=0))
            if not np.isfinite(largest):
                bad = int((~np.isfinite(array)).sum())
                raise ValueError(f"{field} holds {bad} values that are not finite: did the training diverge?")
            if largest > MOST:
                raise ValueError(f"{field} reaches {largest:.3g}, above {MOST:g}: rescale the ratings, or the start")
        for field, n in zip(TRAINED, (self.n_users, self.n_items), strict=True):
            if getattr(self, field) is not None:
                rows = np.array(getattr(self, field))
                if rows.dtype != bool or rows.shape != (n,):
                    raise ValueError(f"{field} is {rows.dtype} of shape {rows.shape}, expected bool of ({n},)")
                rows.flags.writeable = False
                object.__setattr__(self, field, rows)
        for field in PRIORS:
            prior = getattr(self, field)
            if prior is not None and not (isinstance(prior, FeaturePrior) and prior.factors.shape[1] == k):
                raise ValueError(f"{field} is {prior!r}: give a FeaturePrior with k = {k}, that of the same training")

    @property
    def n_users(self) -> int:
        return len(self.user_biases)

    @property
    def n_items(self) -> int:
        return len(self.item_biases)

    @property
    def n_factors(self) -> int:
        return self.user_factors.shape[1]

    def __repr__(self) -> str:
        return printable(
            f"Factors({self.n_users:,} users × {self.n_items:,} items, k = {self.n_factors}, mean {self.mean:.3f})"
        )

    # -- prediction ------------------------------------------------------------------------------

    def predict(self, users: Any, items: Any, limits: tuple[float, ...] | None = None) -> np.ndarray:
        """Predicted ratings of the pairs (users[j], items[j]).

        Parameters
        ----------
        users, items : integers or integer arrays of one shape
        limits : (low, high, …), optional
            Of the predictions; a `Scale` will do.

        Returns
        -------
        float array of the common shape of users and items.

        Raises
        ------
        ValueError
            For a number outside 0 … n_users - 1 or 0 … n_items - 1, other shapes, or limits that are none.
        """
        users, items = pairs(users, items, self.n_users, self.n_items)
        out = predicted([getattr(self, field) for field in ARRAYS], users.ravel(), items.ravel())
        if limits is not None:
            np.clip(out, *low_and_high(limits), out=out)
        return out.reshape(users.shape)

    def predict_all(self, users: Any) -> np.ndarray:
        """Predictions of all items for some users, by one matrix product: equal to `predict` up to rounding.

        Parameters
        ----------
        users : int array, shape (n,)

        Returns
        -------
        float array, shape (n, n_items)
        """
        users = in_range("user", np.atleast_1d(numbers(users)), self.n_users)
        if users.ndim > 1:
            raise ValueError(f"users has shape {users.shape}: give a list of numbers")
        dtype = np.result_type(*(getattr(self, field) for field in ARRAYS[1:]))  # that of `predict`
        scores = self.user_factors[users].astype(dtype, copy=False) @ self.item_factors.T.astype(dtype, copy=False)
        scores += self.item_biases
        scores += (self.mean + self.user_biases[users])[:, None]
        return scores

    def recommend(self, user: Any, n: int = 10, exclude: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The `n` items with the highest prediction for a user, or for each of several, best first.

        Parameters
        ----------
        user : int or int array, shape (m,)
            A user's list does not depend on who else is asked for.
        n : int
            How many. One user gets fewer if fewer are left; in the lists of several, -1 stands where nothing is left.
        exclude : Ratings, Interactions or array of item numbers, optional
            What not to show: as `Ratings` or `Interactions`, all that this user has there.

        Returns
        -------
        items, predictions : arrays of equal shape, (n,) or (m, n)
            Equal predictions come in the order of item numbers.

        Raises
        ------
        ValueError
            For a number out of range, or an `exclude` that is a mask or holds no integers.
        """
        return recommend(user, n, exclude, (self.n_users, self.n_items), self._fast(), self.predict)

    @functools.cached_property
    def _item_lengths(self) -> np.ndarray:
        """‖[q_i, b_i]‖ of each item, float64, read-only."""
        squares = np.einsum("ij,ij->i", self.item_factors, self.item_factors, dtype=np.float64)
        lengths = np.sqrt(squares + self.item_biases.astype(np.float64) ** 2)
        lengths.flags.writeable = False
        return lengths

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_item_lengths"}

    def _fast(self) -> Fast:
        """All scores of some users in float32, with a bound of their error."""
        P, Q = (table.astype(np.float32, copy=False) for table in (self.user_factors, self.item_factors))
        b_i, levels = self.item_biases.astype(np.float32, copy=False), self.mean + self.user_biases.astype(np.float64)
        by_item, asked = Q.T, 0

        def fast(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            nonlocal by_item, asked
            asked += len(users)
            if asked > MANY and not by_item.flags.c_contiguous:
                by_item = np.ascontiguousarray(by_item)
            rows = P[users]
            # |p_u · q_i + b_i| is at most ‖[p_u, 1]‖ ‖[q_i, b_i]‖
            sizes = (np.linalg.norm(rows.astype(np.float64), axis=1) + 1.0) * self._item_lengths.max()
            if sizes.max(initial=0.0) < FLOAT32:
                scores = rows @ by_item
            else:
                scores = np.clip(rows.astype(np.float64) @ by_item, -FLOAT32, FLOAT32).astype(np.float32)
            scores += b_i
            # 1e-44: what is lost where products are too small for float32
            return scores, (self.n_factors + 8) * (2.0**-22 * (sizes + np.abs(levels[users])) + 1e-44)

        return fast

    def to_index(
        self, *, m: int = 16, ef_construction: int = 200, threads: int = 1, seed: int = 0, progress: bool = True
    ) -> Index:
        """A graph of the items, for an approximate `recommend` where they are very many; needs voyager.

        Parameters
        ----------
        m : int
            Neighbours of an item in the graph, 2 to 256: with more, fewer items are missed, and it is larger and slower to build.
        ef_construction : int
            Candidates among which these neighbours are chosen.
        threads : int
            With several, the graph depends on which of them is quicker.
        seed : int
            The graph has layers, and an item's highest one is drawn.
        progress : bool
            Whether a bar is shown after two seconds.

        Returns
        -------
        Index
            Its `recommend` searches; its `of` takes other users, such as those of `fold_in`.

        Raises
        ------
        ImportError
            If voyager is not installed.
        ValueError
            For a setting out of range, items that all have zeros, or one a thousand times as long as the median: float32
            would not tell the others apart. And if the graph does not fit into memory.

        Notes
        -----
        The graph is HNSW of Y. Malkov, D. Yashunin, Efficient and Robust Approximate Nearest Neighbor Search Using
        Hierarchical Navigable Small World Graphs (TPAMI 2020). `recommend` misses nothing, and is quicker
        for thousands of items, and wherever the graph would be asked less often than building it pays.
        """
        return build_index(self, m, ef_construction, threads, seed, progress)

    def similar_items(self, item: int, n: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """The `n` items whose factors point most nearly the same way, best first.

        Returns
        -------
        items, cosines : arrays of equal length
            The item itself and items without factors are left out.

        Raises
        ------
        ValueError
            If nothing was learned of `item`: a row of zeros has no direction.
        """
        item = one_number("item", item, self.n_items)
        lengths = np.linalg.norm(self.item_factors, axis=1)
        if not lengths[item]:
            raise ValueError(f"item {item} has no factors (k = 0, or it had no ratings), so nothing is similar to it")
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = self.item_factors @ self.item_factors[item] / (lengths * lengths[item])
        cosines[(lengths == 0) | (np.arange(self.n_items) == item)] = -np.inf
        return largest(cosines, n)

    def fold_in(
        self, ratings: Interactions, *, reg: float | Penalty, biased: bool = True,
        alpha: float | None = None, at_least: float | None = None, features: Any = None,
    ) -> Factors:  # fmt: skip
        """New users, solved for against the items as they stand: nothing else is trained.

        Parameters
        ----------
        ratings : Ratings, or with `alpha` Interactions
            Of the new users, numbered from 0, and of the items as they are numbered here.
        reg : float or Penalty
            That which the factors were trained with.
        biased : bool
            Without, the new users get no b_u.
        alpha, at_least : float, optional
            Those of `ials`, for its factors: every cell counts, and there are no biases.
        features : DataFrame or sparse matrix, a row for each new user
            Needed after ``als(…, user_features=)``, with the same columns: what the penalty draws the new users to.

        Returns
        -------
        Factors
            The same items with the users of `ratings`; a user without a rating gets zeros, or what the features
            predict. float64.

        Raises
        ------
        ValueError
            For ratings of other items than these, a penalty of zero where it leaves no unique solution, and features
            where there should be none, or the other way round.

        Notes
        -----
        With F the rows [q_i | 1] of what user u rated and e their r - μ - b_i, (p_u, b_u) is
        (FᵀF + λ n_u^power I)⁻¹ Fᵀe: half a sweep of alternating least squares, for these users alone. With `alpha` it is
        half a sweep of `ials`.
        """
        penalty, biased = Penalty.of(reg), yes_or_no("biased", biased) and alpha is None
        part = checked(self, ratings, alpha, at_least)
        drawn = self._drawn(features, part.n_users)[:, : self.n_factors + biased]
        solved = drawn.copy()
        with threadpool_limits(1, "blas"):  # small systems: threads would only wait for each other
            for system in systems(self, part, penalty, biased, alpha, np.arange(part.n_users)):
                right = system.features.T @ system.targets + system.penalties * drawn[system.user]
                solved[system.user] = system.solve(right, penalty)
        biases = solved[:, -1] if biased else np.zeros(part.n_users)
        if not np.isfinite(solved).all():
            raise ValueError(f"{penalty} is beyond float64 for {part}: take less")
        trained = part.user_counts > 0, self.trained_items
        priors = {"user_prior": self.user_prior, "item_prior": self.item_prior}
        users = solved[:, : self.n_factors]
        return Factors(self.mean, biases, self.item_biases, users, self.item_factors, *trained, **priors)

    def explain(
        self, user: int, item: int, ratings: Interactions, *, reg: float | Penalty, biased: bool = True,
        alpha: float | None = None, at_least: float | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """What each rating of a user adds to the prediction of an item.

        Parameters
        ----------
        user, item : int
            The user's number is that in `ratings`.
        ratings, reg, biased, alpha, at_least
            As in `fold_in`, whose prediction is taken apart.

        Returns
        -------
        items, contributions : arrays of equal length
            What the user rated, the largest contribution first. Their sum and μ + b_i are the prediction, exactly.

        Raises
        ------
        ValueError
            As in `fold_in`, and for a number out of range.

        Notes
        -----
        The prediction is linear in the ratings: with A the matrix of the user's system, item j's part is fᵢᵀ A⁻¹ fⱼ eⱼ. Y. Hu,
        Y. Koren, C. Volinsky, Collaborative Filtering for Implicit Feedback Datasets (ICDM 2008), section 5.
        """
        penalty, biased = Penalty.of(reg), yes_or_no("biased", biased) and alpha is None
        if self.user_prior is not None:
            raise ValueError(
                "these factors were trained with features of users, whose share in a prediction is no rating's: explain "
                "those of als(train, item_features=…)"
            )
        part = checked(self, ratings, alpha, at_least)
        item, user = one_number("item", item, self.n_items), one_number("user", user, part.n_users)
        asked = self.item_factors[item].astype(np.float64)
        asked = np.append(asked, 1.0) if biased else asked
        for system in systems(self, part, penalty, biased, alpha, np.array([user])):
            contributions = (system.features @ system.solve(asked, penalty)) * system.targets
            order = np.argsort(-contributions, kind="stable")
            return system.items[order], contributions[order]
        return np.zeros(0, np.int64), np.zeros(0)  # nothing rated, nothing added

    def _drawn(self, features: Any, n: int) -> np.ndarray:
        """Where the penalty draws `n` new users to, shape (n, k + 1): zeros without features."""
        if self.user_prior is None:
            if features is not None:
                self._asked_prior("user")
            return np.zeros((n, self.n_factors + 1))
        if features is None:
            raise ValueError(
                "these factors were trained with features of users: give those of the new users, features=a frame with the "
                "same columns (NaN or '' where a number or a text is not known)"
            )
        factors, biases = self.user_prior.rows("features", features)
        if len(biases) != n:
            raise ValueError(f"features has {len(biases):,} rows, expected {n:,}: one for each user of the ratings")
        return np.column_stack([factors, biases])

    def new_users(self, features: Any) -> Factors:
        """Users of whom nothing but features is known, in front of the same items.

        Parameters
        ----------
        features : DataFrame or sparse matrix, n rows
            With the columns that `als(…, user_features=)` was given.

        Returns
        -------
        Factors
            With n users, numbered from 0; for each of them what the features predict.

        Raises
        ------
        ValueError
            If the factors were trained without features of users, or for other columns.
        """
        factors, biases = self._asked_prior("user").rows("features", features)
        return replace(self, user_factors=factors, user_biases=biases, trained_users=np.zeros(len(biases), bool))

    def new_items(self, features: Any) -> Factors:
        """Items of which nothing but features is known, in front of the same users: as `new_users`, with `item_features=`."""
        factors, biases = self._asked_prior("item").rows("features", features)
        return replace(self, item_factors=factors, item_biases=biases, trained_items=np.zeros(len(biases), bool))

    def _asked_prior(self, side: str) -> FeaturePrior:
        prior = getattr(self, f"{side}_prior")
        if prior is None:
            raise ValueError(
                f"{self} were trained without features of {side}s: als(train, {side}_features=…) learns what they predict"
            )
        return prior

    # -- comparison ------------------------------------------------------------------------------

    def rms_difference(self, other: Factors) -> float:
        """Root mean square difference of the predictions over *all* user-item pairs, in stars.

        Factors themselves cannot be compared: P A and Q A⁻ᵀ predict the same for every invertible A.
        Predictions can, and two thin QR factorisations do it without forming the matrix: cost
        (n_users + n_items) k², computed in float64.
        """
        if not isinstance(other, Factors):
            raise ValueError(f"other is {type(other).__name__}: give Factors; a model has them as to_factors()")
        if (self.n_users, self.n_items) != (other.n_users, other.n_items):
            raise ValueError(f"{self} and {other} are of different sizes")
        left, right = self._sides()
        other_left, other_right = other._sides()
        left = np.asarray(np.linalg.qr(np.hstack([left, -other_left]), mode="r"))
        right = np.asarray(np.linalg.qr(np.hstack([right, other_right]), mode="r"))
        return float(np.linalg.norm(left @ right.T) / np.sqrt(self.n_users * self.n_items))

    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        """All predictions as one product: [P | μ + b_u | 1] [Q | 1 | b_i]ᵀ."""
        # float64 before μ is added: a float32 sum would round away what two means differ by
        user_biases = self.user_biases.astype(np.float64)[:, None]
        users = [self.user_factors, self.mean + user_biases, np.ones((self.n_users, 1))]
        items = [self.item_factors, np.ones((self.n_items, 1)), self.item_biases[:, None]]
        return np.hstack(users), np.hstack(items)

    def cold(self, users: Any, items: Any) -> np.ndarray:
        """Which pairs have a user or an item without training ratings.

        A side that is zero altogether is not part of the model (the item mean knows no users), so
        it makes nothing cold.
        """
        users, items = pairs(users, items, self.n_users, self.n_items)
        return self._cold("user")[users] | self._cold("item")[items]

    def _cold(self, side: str) -> np.ndarray:
        in_model = getattr(self, f"{side}_biases").any() or getattr(self, f"{side}_factors").any()
        return ~self.known(side) & in_model

    def known(self, side: str) -> np.ndarray:
        """Which rows of "user" or "item" a training had ratings for; if nobody noted it, those that are not all zeros."""
        trained = getattr(self, f"trained_{side}s")
        if trained is None:
            trained = (getattr(self, f"{side}_biases") != 0) | getattr(self, f"{side}_factors").any(axis=1)
        return trained

    # -- files -----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> Path:
        """Write the arrays to an npz file; the old file stays until the new one is whole."""
        path = file_path("path", path)
        known = {field: getattr(self, field) for field in ARRAYS + TRAINED if getattr(self, field) is not None}
        for side in PRIORS:
            known |= {f"{side}_{name}": array for name, array in prior_arrays(getattr(self, side)).items()}
        with replacing(path) as file:
            np.savez(file, **known)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> Factors:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DataError
            If the file is not a whole npz with the five arrays, or they do not fit together.
        """
        path = file_path("path", path)
        try:
            # opened here, because np.load leaves a damaged file open
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                # an array that a flipped bit makes smaller is not read to its end, where its checksum stands
                if not isinstance(stored, np.lib.npyio.NpzFile) or (stored.zip and stored.zip.testzip()):
                    raise ValueError("it is no npz, or damaged")
                missing = [field for field in ARRAYS if field not in stored]
                if missing:
                    raise ValueError(f"it has no {missing[0]}")
                arrays: dict[str, Any] = {field: stored[field] for field in ARRAYS + TRAINED if field in stored}
                arrays["mean"] = arrays["mean"].item()
                arrays |= {side: prior_of({name.removeprefix(f"{side}_"): stored[name] for name in stored
                                           if name.startswith(f"{side}_")}) for side in PRIORS}  # fmt: skip
                return cls(**arrays)
        except FileNotFoundError:
            raise
        except Exception as error:  # NumPy, zipfile and zlib raise a dozen kinds for what is damaged
            from ..data.movielens import DataError  # here, so that factors do not load what downloads

            raise DataError(f"{path} does not hold Factors: {error}; save them again") from error


def pairs(users: Any, items: Any, n_users: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of users and items, in range and in their common shape; a ValueError if they are not."""
    users, items = in_range("user", users, n_users), in_range("item", items, n_items)
    try:
        users, items = np.broadcast_arrays(users, items)
    except ValueError as error:
        raise ValueError(f"users of shape {users.shape} and items of {items.shape} make no pairs: one each") from error
    return users, items


def one_number(what: str, number: Any, limit: int) -> int:
    """`number` as an int within 0 … limit - 1; a ValueError for several, and for what is out of range."""
    if np.ndim(number):
        raise ValueError(f"{what}={number!r}: give one number; a loop over several makes a list for each")
    return int(in_range(what, number, limit))


def initial_factors(train: Interactions, n_factors: int, init_std: float, seed: int) -> Factors:
    """Where training begins: factors from N(0, init_std²), rows of zeros for who has no rating, no biases.

    The mean is that of ratings, and 0 for interactions, which have no values.
    """
    # twice: drawn, and as they are trained
    require_memory(f"n_factors={n_factors:,} for {train}", 2 * n_factors * (train.n_users + train.n_items))
    rng = np.random.default_rng([seed, 0])
    # zero for whoever has no rating: a random start would be added to every prediction of them
    users = rng.normal(0, init_std, (train.n_users, n_factors)) * (train.user_counts > 0)[:, None]
    items = rng.normal(0, init_std, (train.n_items, n_factors)) * (train.item_counts > 0)[:, None]
    rated = trained_by(train)
    zeros = np.zeros(train.n_users), np.zeros(train.n_items)
    mean = train.values.mean(dtype=np.float64) if isinstance(train, Ratings) else 0.0
    return Factors(mean, *zeros, users, items, *rated)


def trained_by(train: Interactions, start: Factors | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Which users and items have ratings in `train`, or were trained before, as far as `start` knows."""
    rated = train.user_counts > 0, train.item_counts > 0
    return rated if start is None else (rated[0] | start.known("user"), rated[1] | start.known("item"))


def starting_factors(start: Factors | None, train: Interactions, n_factors: int, init_std: float, seed: int) -> Factors:
    """`start`, if a training of so many factors can begin there (a ValueError if not); without one, `initial_factors`."""
    init_std = real_number("init_std", init_std, at_least=0, at_most=1e9)
    if start is None:
        start = initial_factors(train, n_factors, init_std, seed)
        if n_factors and not any(getattr(start, f"{s}_factors").astype(np.float32).any() for s in ("user", "item")):
            raise ValueError(
                f"init_std={init_std}: factors that start at zero are a saddle and never move; start above 0"
            )
        return start
    if not isinstance(start, Factors):
        raise ValueError(f"start={type(start).__name__}: give Factors, such as those of another training")
    if (start.n_users, start.n_items, start.n_factors) != (train.n_users, train.n_items, n_factors):
        raise ValueError(f"start={start} does not fit {train} with n_factors={n_factors}")
    return start
