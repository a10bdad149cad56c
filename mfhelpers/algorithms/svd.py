"""Factors from singular value decompositions: of a table without gaps, of residuals, and of what fills the gaps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from ..data.arguments import whole_number
from ..data.ratings import Ratings
from ..display.progress import progress as progress_bar
from ..models.factors import Factors
from .baselines import average_biases

DAMPING = 5.0  # of the baseline: lesson 00's choice
REG_SOFT = 14.0  # chosen like `penalties.REG`
NO_LONGER_MOVES = 1e-5  # a sweep that changes predictions by less, relative to their size, is the last


def complete_svd(matrix: Any, n_factors: int, reg: float = 0.0) -> Factors:
    """Factor a complete matrix: its singular value decomposition, truncated, and soft-thresholded by `reg`.

    Parameters
    ----------
    matrix : array, shape (n_users, n_items)
        Every cell counts, in float64. Subtract means first if you want them apart.
    n_factors : int
        k, from 1 to the smaller side.
    reg : float
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
    if isinstance(matrix, Ratings) or scipy.sparse.issparse(matrix):
        raise ValueError(f"{type(matrix).__name__} has gaps: take residual_svd or soft_impute")
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"a matrix of shape {matrix.shape} has no singular values: give one of (n_users, n_items)")
    if not np.isfinite(matrix).all():
        n = int((~np.isfinite(matrix)).sum())
        raise ValueError(f"{n} cells are not finite: for a matrix with gaps take residual_svd or soft_impute")
    k = _checked_rank(n_factors, matrix.shape)
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    none = Factors(0.0, np.zeros(len(matrix)), np.zeros(matrix.shape[1]), left[:, :0], right[:0].T)
    return _factors(none, left[:, :k], sizes[:k], right[:k], _checked_reg(reg))


def residual_svd(
    train: Ratings, n_factors: int = 10, *, baseline: Factors | None = None, reg: float = 0.0, seed: int = 0
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
    reg : float
        λ: each singular value σ becomes max(σ - λ, 0).
    seed : int
        Of the vector that the iteration starts from; it changes the last digits.

    Returns
    -------
    Factors
        float64. The matrix is kept sparse: no cell without a rating takes memory.

    Raises
    ------
    ValueError
        For a baseline that does not fit, or a number out of range.
    """
    baseline, k, reg, start = _prepared(train, n_factors, baseline, reg, seed)
    table = _table(train, _rest(train, baseline))
    return _factors(baseline, *_svds(table, k, start, train), reg)


def soft_impute(
    train: Ratings,
    n_factors: int = 20,
    *,
    reg: float = REG_SOFT,
    baseline: Factors | None = None,
    sweeps: int = 100,
    tolerance: float = NO_LONGER_MOVES,
    seed: int = 0,
    watch: Callable[[Factors], Any] | None = None,
    progress: bool = True,
) -> Factors:
    """Fill the gaps with predictions, take the soft-thresholded SVD, predict, fill again, until nothing moves.

    Interrupting (Ctrl-C, or ■ in a notebook) ends the iteration and returns the factors so far.

    Parameters
    ----------
    train : Ratings
    n_factors : int
        k, from 1 to one less than the smaller side. If fewer are left above the threshold, it limits nothing.
    reg : float
        λ: each singular value σ becomes max(σ - λ, 0), default 14. 0 is plain iterated imputation, which learns by
        heart. If none is above λ, the baseline comes back, with a warning.
    baseline : Factors, optional
        Taken off the ratings and added to the predictions again, as in `residual_svd`.
    sweeps : int
        At most so many. If that is not enough, a warning says how far the last one moved.
    tolerance : float
        Stop when a sweep changes P Qᵀ by less than this share of its size (Frobenius norms); 0 never stops early.
    seed : int
        As in `residual_svd`.
    watch : function of Factors, optional
        Called after every sweep.
    progress : bool
        Show a bar for what takes over two seconds.

    Returns
    -------
    Factors
        float64.

    Raises
    ------
    ValueError
        For a baseline that does not fit, or a number out of range.

    Notes
    -----
    What it approaches is the minimum of Σ e² + λ (‖P‖² + ‖Q‖²) over the rated cells, `als` with biased=False,
    reg_exponent=0 and the baseline's biases: no sweep raises it, and if fewer than k values stay above λ, the end is
    the best of *all* ranks. The filled matrix is sparse plus rank k and is never formed: a sweep costs some dozens of
    products with each part.

    R. Mazumder, T. Hastie, R. Tibshirani, Spectral Regularization Algorithms for Learning Large Incomplete Matrices
    (JMLR 11, 2010), algorithm 1.
    """
    sweeps = whole_number("sweeps", sweeps)
    if sweeps < 1 or not 0 <= tolerance < float("inf"):
        raise ValueError(f"sweeps={sweeps}, tolerance={tolerance}: at least one sweep, a tolerance from 0")
    baseline, k, reg, start = _prepared(train, n_factors, baseline, reg, seed)
    rest = _rest(train, baseline)
    factors = _factors(baseline, np.zeros((train.n_users, k)), np.zeros(k), np.zeros((k, train.n_items)), 0.0)
    bar = progress_bar(range(1, sweeps + 1), show=progress, unit="sweep")
    done, converged = 0, tolerance == 0
    try:
        for done in bar:  # noqa: B007
            P, Q = factors.user_factors, factors.item_factors
            # what is known where it is known, the last prediction elsewhere: P Qᵀ plus the errors
            errors = _table(train, rest - np.einsum("nk,nk->n", P[train.users], Q[train.items]))
            filled = _filled(errors, P, Q) if P.any() else errors
            after = _factors(baseline, *_svds(filled, k, start, train), reg)
            moved = after.rms_difference(factors) if after.user_factors.any() or P.any() else 0.0
            factors = after
            if watch is not None:
                watch(factors)
            size = factors.rms_difference(baseline)
            bar.set_postfix_str(f"moved by {moved:.1e} stars", refresh=False)
            if moved <= tolerance * size:
                converged = True
                break
        if not converged:
            warnings.warn(
                f"sweep {done} still moved predictions by {moved:.1e} stars: als gets there sooner", stacklevel=2
            )
        if rest.any() and not factors.user_factors.any():
            warnings.warn(
                f"no singular value is above reg={reg:g}: what comes back is the baseline alone", stacklevel=2
            )
    except KeyboardInterrupt:
        print(f"interrupted in sweep {done}: the factors so far are kept")
    finally:
        bar.close()
    return factors


def _filled(errors: scipy.sparse.csr_array, P: np.ndarray, Q: np.ndarray) -> scipy.sparse.linalg.LinearOperator:
    turned = errors.T.tocsr()
    times = lambda x: errors @ x + P @ (Q.T @ x)  # noqa: E731
    times_turned = lambda x: turned @ x + Q @ (P.T @ x)  # noqa: E731
    return scipy.sparse.linalg.LinearOperator(
        errors.shape, matvec=times, rmatvec=times_turned, matmat=times, rmatmat=times_turned, dtype=np.float64
    )


def _svds(matrix: Any, k: int, start: np.ndarray, train: Ratings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k largest singular values and their vectors, largest first; exact zeros for rows without a rating."""
    if scipy.sparse.issparse(matrix) and not matrix.data.any():  # which the iteration could not start from
        return np.zeros((train.n_users, k)), np.zeros(k), np.zeros((k, train.n_items))
    left, sizes, right = scipy.sparse.linalg.svds(matrix, k=k, v0=start)
    left[train.user_counts == 0], right[:, train.item_counts == 0] = 0, 0
    order = np.argsort(-sizes, kind="stable")
    return left[:, order], sizes[order], right[order]


def _factors(baseline: Factors, left: np.ndarray, sizes: np.ndarray, right: np.ndarray, reg: float) -> Factors:
    """The baseline plus U max(σ - λ, 0) Vᵀ, each vector's largest entry positive: the signs are a convention."""
    root = np.sqrt(np.maximum(sizes - reg, 0))
    largest = np.take_along_axis(right, np.abs(right).argmax(axis=1)[:, None], axis=1)[:, 0]
    signed = root * np.where(largest < 0, -1, 1)
    biases = (np.asarray(b, dtype=np.float64) for b in (baseline.user_biases, baseline.item_biases))
    return Factors(baseline.mean, *biases, left * signed, right.T * signed)


def _table(train: Ratings, values: np.ndarray) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array((values, (train.users, train.items)), shape=(train.n_users, train.n_items))


def _rest(train: Ratings, baseline: Factors) -> np.ndarray:
    biases = baseline.user_biases.astype(np.float64)[train.users] + baseline.item_biases[train.items]
    return train.values.astype(np.float64) - baseline.mean - biases


def _prepared(
    train: Ratings, n_factors: int, baseline: Factors | None, reg: float, seed: int
) -> tuple[Factors, int, float, np.ndarray]:
    shape = train.n_users, train.n_items
    k, seed = _checked_rank(n_factors, shape, beside=1), whole_number("seed", seed)
    if seed < 0:
        raise ValueError(f"seed={seed}: a seed is a whole number from 0")
    if baseline is None:
        baseline = average_biases(train, DAMPING)
    if not isinstance(baseline, Factors) or baseline.n_factors or (baseline.n_users, baseline.n_items) != shape:
        raise ValueError(f"baseline={baseline!r}: give Factors of {shape[0]:,} × {shape[1]:,} without factors (k = 0)")
    return baseline, k, _checked_reg(reg), np.random.default_rng(seed).normal(size=min(shape))


def _checked_rank(n_factors: int, shape: tuple[int, int], beside: int = 0) -> int:
    k, most = whole_number("n_factors", n_factors), min(shape) - beside
    if most < 1:
        raise ValueError(f"a {shape[0]:,} × {shape[1]:,} matrix is too small: it needs two rows and two columns")
    if not 1 <= k <= most:
        raise ValueError(f"n_factors={k}: of a {shape[0]:,} × {shape[1]:,} matrix choose 1 … {most}")
    return k


def _checked_reg(reg: float) -> float:
    if not 0 <= reg < float("inf"):
        raise ValueError(f"reg={reg!r}: a threshold is finite and not negative")
    return float(reg)
