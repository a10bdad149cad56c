"""Factors from singular value decompositions: of a table without gaps, of residuals, and of what fills the gaps."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator, svds

from ..data.arguments import LARGEST_SEED, real_number, whole_number
from ..data.interactions import Interactions
from ..data.ratings import Ratings, require_ratings
from ..models.factors import Factors, trained_by
from .baselines import average_biases
from .loop import History, Monitor, Stepper, run
from .resources import choose_resources

DAMPING = 5.0  # of the baseline: lesson 00's choice
NO_LONGER_MOVES = 1e-5  # a sweep that changes predictions by less, relative to their size, is the last


def complete_svd(matrix: Any, n_factors: int, threshold: float = 0.0) -> Factors:
    """Factor a complete matrix: its singular value decomposition, truncated, and soft-thresholded.

    Parameters
    ----------
    matrix : array, shape (n_users, n_items)
        Every cell counts, in float64. Subtract means first if you want them apart.
    n_factors : int
        k, from 1 to the smaller side.
    threshold : float
        λ: each singular value σ becomes max(σ - λ, 0).

    Returns
    -------
    Factors
        Mean and biases of zero; float64. P = U√σ and Q = V√σ, so both sides have one length.

    Raises
    ------
    ValueError
        For a matrix that is no matrix or not finite, or a number out of range.

    Notes
    -----
    With λ = 0 no matrix of rank k is nearer (C. Eckart, G. Young, Psychometrika 1, 1936). With λ > 0 this is the
    global minimum of ‖R - P Qᵀ‖² + λ (‖P‖² + ‖Q‖²): the oracle for every other way to minimise it (N. Srebro,
    J. Rennie, T. Jaakkola, Maximum-Margin Matrix Factorization, NIPS 2004; R. Mazumder, T. Hastie,
    R. Tibshirani, JMLR 11, 2010, lemma 1).
    """
    if isinstance(matrix, (Interactions, np.ma.MaskedArray)) or scipy.sparse.issparse(matrix):
        raise ValueError(f"{type(matrix).__name__} has gaps: take residual_svd or soft_impute")
    try:
        given = np.asarray(None if hasattr(matrix, "columns") else matrix)  # a table may be a list of ratings
        if given.dtype.kind not in "iuf":
            raise TypeError(f"{given.dtype}")
        matrix = given.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"matrix is {type(matrix).__name__}: give an array of real numbers, one for each user and item, such as "
            "frame.to_numpy(); a list of ratings goes to residual_svd, by Ratings.from_frame or Ratings.from_arrays"
        ) from error
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"a matrix of shape {matrix.shape} has no singular values: give one of (n_users, n_items)")
    if not np.isfinite(matrix).all():
        n = int((~np.isfinite(matrix)).sum())
        raise ValueError(f"{n} cells are not finite: for a matrix with gaps take residual_svd or soft_impute")
    k = _checked_rank(n_factors, matrix.shape)
    threshold = real_number("threshold", threshold, at_least=0)
    with choose_resources("cpu", None, matrix.size).scope(blas=True):
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
    none = Factors(0.0, np.zeros(len(matrix)), np.zeros(matrix.shape[1]), left[:, :0], right[:0].T)
    return _factors(none, left[:, :k], values[:k], right[:k], threshold)


def residual_svd(
    train: Ratings, n_factors: int = 20, *, baseline: Factors | None = None, threshold: float = 0.0, seed: int = 0
) -> Factors:
    """Truncated SVD of what a baseline leaves unexplained, with zeros, "as the baseline says", in all gaps.

    Parameters
    ----------
    train : Ratings
    n_factors : int
        k, from 1 to one less than the smaller side.
    baseline : Factors, optional
        Taken off the ratings and added to the predictions again; without factors. Default: `average_biases`
        with a damping of 5.
    threshold : float
        As in `complete_svd`.
    seed : int
        Of the vector that the iteration starts from; it changes the last digits.

    Returns
    -------
    Factors
        float64. The matrix is kept sparse: no cell without a rating takes memory. A baseline that does not fit, or a
        number out of range, is a ValueError.
    """
    baseline, k, start = _prepared(train, n_factors, baseline, seed)
    threshold = real_number("threshold", threshold, at_least=0)
    with choose_resources("cpu", None, len(train), baseline).scope(blas=True):
        table = _table(train, _rest(train, baseline))
        return _factors(baseline, *_svds(table, k, start, train), threshold, trained_by(train, baseline))


def soft_impute(
    train: Ratings,
    n_factors: int = 20,
    *,
    threshold: float = 14.0,
    baseline: Factors | None = None,
    sweeps: int = 100,
    tolerance: float = NO_LONGER_MOVES,
    seed: int = 0,
    threads: int | None = None,
    valid: Ratings | None = None,
    patience: int | None = None,
    watch: Callable[[Factors], Any] | None = None,
    history: History | None = None,
    log_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Factors:
    """Fill the gaps with predictions, take the soft-thresholded SVD, predict, fill again, until nothing moves.

    Parameters
    ----------
    train : Ratings
    n_factors : int
        k, from 1 to one less than the smaller side. If fewer are left above the threshold, it limits nothing.
    threshold : float
        λ, as in `complete_svd`. 0 is plain iterated imputation, which overfits. If no singular value is above λ, the
        baseline comes back, with a warning. The default was chosen on inner validation parts.
    baseline, seed
        As in `residual_svd`.
    sweeps : int
        At most so many. If that is not enough, a warning says how far the last one moved.
    tolerance : float
        Stop when a sweep changes P Qᵀ by less than this share of its Frobenius norm; 0 never stops early.
    threads, valid, patience, watch, history, log_dir, progress
        As in `fit`, sweep by sweep; interrupting keeps the factors so far.

    Returns
    -------
    Factors
        float64. What does not fit is refused as in `residual_svd`.

    Notes
    -----
    What it approaches is the minimum of Σ e² + λ (‖P‖² + ‖Q‖²) over the rated cells, `als` with biased=False,
    ``reg=Penalty(λ, power=0)`` and the baseline's biases: no sweep raises it, and if fewer than k values stay above λ,
    the end is the best of *all* ranks. A sweep costs some dozens of products with the errors and with P and Q.

    R. Mazumder, T. Hastie, R. Tibshirani, Spectral Regularization Algorithms for Learning Large Incomplete Matrices
    (JMLR 11, 2010), algorithm 1.
    """
    monitor = Monitor(train, valid, patience, watch, history, log_dir, progress)
    sweeps, tolerance = whole_number("sweeps", sweeps, 1), real_number("tolerance", tolerance, at_least=0)
    threshold = real_number("threshold", threshold, at_least=0)
    baseline, k, start = _prepared(train, n_factors, baseline, seed)
    resources = choose_resources("cpu", threads, len(train), baseline)
    resources = replace(resources, device_reason="SciPy's decompositions run on the processor")
    with resources.scope(blas=True):
        imputation = _Imputation(train, baseline, k, threshold, tolerance, start)
        imputation.resources = resources
        imputation.settings = {"model": "soft_impute", "n_factors": k, "threshold": threshold, "sweeps": sweeps}
        how = run(imputation, sweeps, monitor)
    if how.stopped == "finished" and tolerance:
        warnings.warn(
            f"sweep {sweeps} still moved predictions by {imputation.moved:.1e} stars: als gets there sooner",
            stacklevel=2,
        )
    if how.stopped != "interrupted" and imputation.rest.any() and not imputation.factors.user_factors.any():
        warnings.warn(
            f"no singular value is above threshold={threshold:g}: what comes back is the baseline alone", stacklevel=2
        )
    return imputation.result()


class _Imputation(Stepper):
    """What is known where it is known, the last prediction elsewhere; a step is the soft-thresholded SVD of that."""

    unit = "sweep"

    def __init__(
        self, train: Ratings, baseline: Factors, k: int, threshold: float, tolerance: float, start: np.ndarray
    ) -> None:
        self.train, self.baseline, self.threshold = train, baseline, threshold
        self.tolerance, self.start, self.moved = tolerance, start, 0.0
        self.rest = _rest(train, baseline)
        none = np.zeros((train.n_users, k)), np.zeros(k), np.zeros((k, train.n_items))
        self.trained = trained_by(train, baseline)
        self.factors = _factors(baseline, *none, 0.0, self.trained)

    def step(self) -> None:
        train, P, Q = self.train, self.factors.user_factors, self.factors.item_factors
        errors = _table(train, self.rest - np.einsum("nk,nk->n", P[train.users], Q[train.items]))
        # the filled matrix is the errors plus P Qᵀ, which is never formed
        filled = aslinearoperator(errors) + aslinearoperator(P) @ aslinearoperator(Q.T) if P.any() else errors
        found = _svds(filled, P.shape[1], self.start, train)
        after = _factors(self.baseline, *found, self.threshold, self.trained)
        self.moved = after.rms_difference(self.factors) if after.user_factors.any() or P.any() else 0.0
        self.factors = after
        if self.tolerance:
            self.converged = self.moved <= self.tolerance * after.rms_difference(self.baseline)

    def predictor(self) -> Factors:
        return self.factors


def _svds(matrix: Any, k: int, start: np.ndarray, train: Ratings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k largest singular values and their vectors, largest first; exact zeros for rows without a rating."""
    if scipy.sparse.issparse(matrix) and not matrix.data.any():  # which the iteration could not start from
        return np.zeros((train.n_users, k)), np.zeros(k), np.zeros((k, train.n_items))
    left, values, right = svds(matrix, k=k, v0=start)
    left[train.user_counts == 0], right[:, train.item_counts == 0] = 0, 0
    order = np.argsort(-values, kind="stable")
    return left[:, order], values[order], right[order]


def _factors(
    baseline: Factors, left: np.ndarray, values: np.ndarray, right: np.ndarray, threshold: float, trained: Any = ()
) -> Factors:
    """The baseline plus U max(σ - λ, 0) Vᵀ, each vector's largest entry positive: the signs are a convention."""
    root = np.sqrt(np.maximum(values - threshold, 0))
    largest = np.take_along_axis(right, np.abs(right).argmax(axis=1)[:, None], axis=1)[:, 0]
    signed = root * np.where(largest < 0, -1, 1)
    b_u, b_i = (np.asarray(b, dtype=np.float64) for b in (baseline.user_biases, baseline.item_biases))
    return Factors(baseline.mean, b_u, b_i, left * signed, right.T * signed, *trained)


def _table(train: Ratings, values: np.ndarray) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array((values, (train.users, train.items)), shape=(train.n_users, train.n_items))


def _rest(train: Ratings, baseline: Factors) -> np.ndarray:
    biases = baseline.user_biases.astype(np.float64)[train.users] + baseline.item_biases[train.items]
    return train.values.astype(np.float64) - baseline.mean - biases


def _prepared(train: Ratings, n_factors: int, baseline: Factors | None, seed: int) -> tuple[Factors, int, np.ndarray]:
    require_ratings("train", train)
    shape = train.n_users, train.n_items
    k, seed = _checked_rank(n_factors, shape, beside=1), whole_number("seed", seed, 0, LARGEST_SEED)
    if baseline is None:
        baseline = average_biases(train, DAMPING)
    if not isinstance(baseline, Factors) or baseline.n_factors or (baseline.n_users, baseline.n_items) != shape:
        raise ValueError(f"baseline={baseline!r}: give Factors of {shape[0]:,} × {shape[1]:,} without factors (k = 0)")
    return baseline, k, np.random.default_rng(seed).normal(size=min(shape))


def _checked_rank(n_factors: int, shape: tuple[int, int], beside: int = 0) -> int:
    k, most = whole_number("n_factors", n_factors), min(shape) - beside
    if most < 1:
        raise ValueError(f"a {shape[0]:,} × {shape[1]:,} matrix is too small: it needs two rows and two columns")
    if not 1 <= k <= most:
        raise ValueError(f"n_factors={k}: of a {shape[0]:,} × {shape[1]:,} matrix choose 1 … {most}")
    return k
