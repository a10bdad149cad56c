"""Alternating least squares: with one side held still, every row of the other is a ridge regression.

No learning rate, no gradient descent: each half of a sweep is the exact minimum of the objective in one
side, for all its rows at once, so the objective cannot rise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from ..data.arguments import whole_number
from ..data.ratings import Ratings, require_same_labels
from ..display.progress import progress as progress_bar
from ..display.tensorboard import Logbook, even_sample
from ..models.factors import ARRAYS, Factors, drawn
from ..models.metrics import rmse
from ..models.penalty import Penalty
from .devices import choose_device
from .loop import HOPELESS, DivergenceError, History, hopeless, map_columns
from .sparse import LANES, csr_tensor

SOLVERS = ("exact", "cg")
TYPES = {"float32": torch.float32, "float64": torch.float64}
EXACT_UP_TO = 16  # factors: above, conjugate gradients cost less than normal equations
IN_CACHE = 1 << 20  # numbers in a table of products: 4 MiB are read twice as fast as what does not fit the cache
MOST_AT_ONCE = 1 << 26  # numbers in the systems of some rows: 256 MiB
MAY_RISE = 1e-3  # of the objective: rounding in float32 stays far below
REG_SVDPP, REG_IMPLICIT = 1.6, 60.0  # chosen like `penalties.REG`
STEPS_IMPLICIT = 5  # of conjugate gradients for Y in a sweep: from a warm start few will do


def als(
    train: Ratings,
    n_factors: int = 10,
    *,
    reg: float | Penalty | None = None,
    reg_exponent: float | None = None,
    reg_biases: float | None = None,
    biased: bool = True,
    sweeps: int = 15,
    solver: str = "auto",
    cg_steps: int = 3,
    start: Factors | None = None,
    init_std: float = 0.1,
    seed: int = 0,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    implicit: Ratings | None = None,
    reg_implicit: float | None = None,
    valid: Ratings | None = None,
    patience: int | None = None,
    history: History | None = None,
    watch: Callable[[Factors], Any] | None = None,
    log_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Factors:
    """Fit a factorisation by alternating least squares and return its five arrays.

    A sweep solves for all (p_u, b_u) with the items held still, then for all (q_i, b_i) with the users
    held still. Interrupting (Ctrl-C, or ■ in a notebook) ends the training and returns the factors so far.
    The defaults were chosen on inner validation parts of ML-100K and ml-latest-small.

    Parameters
    ----------
    train : Ratings
    n_factors : int
        k; 0 leaves the biases alone.
    reg : float or Penalty, optional
        λ of the penalty λ Σ_u n_u^α (‖p_u‖² + b_u²), and the same for items, default 1.4; or a `Penalty`, which
        says all three.
    reg_exponent : float, optional
        α, default 0.5. 0 is ridge regression with one λ for all rows, 1 is "weighted λ" (Zhou et al. 2008), as
        in `sgd(reg=λ)`.
    reg_biases : float, optional
        λ of the biases; default `reg`.
    biased : bool
        Without, b_u and b_i stay as they start: at zero, or those of `start`.
    sweeps : int
    solver : {"auto", "exact", "cg"}
        "exact" adds up the normal equations of every row and solves them by Cholesky: (k + 1)² numbers a row.
        "cg" takes `cg_steps` steps of conjugate gradients from the last sweep's solution: as little memory as
        gradient descent, and the same course within a few sweeps. "auto": exact up to k = 16.
    cg_steps : int
        For "cg".
    start : Factors, optional
        Where to begin, with k = `n_factors`; its mean is kept. Users are solved for first, so for "exact" the
        items alone matter. Default: items drawn from N(0, init_std²), no biases, the mean of `train`.
    init_std : float
    seed : int
        Of the start.
    dtype : {"float32", "float64"}
        Precision of everything. "float64" for tiny penalties, and for comparisons to many digits.
    device : str or torch.device
        "cpu", "cuda", or "auto" as in `fit`.
    implicit : Ratings, optional
        Whose items count as implicit feedback, whatever their value: see `svdpp`.
    reg_implicit : float, optional
        λ of that part, above 0; default 60. Without `implicit` it means nothing and is refused.
    valid : Ratings, optional
        Judged after every sweep and never trained on; see `history` and `patience`.
    patience : int, optional
        Stop when `valid` has not improved for so many sweeps, and return the best. Needs `valid`.
    history : History, optional
        An empty `History()` to be filled: RMSE after each sweep, seconds, and why it stopped.
    watch : function of Factors, optional
        Called after every sweep.
    log_dir : path, optional
        A new folder for TensorBoard's event files, with what `fit` puts there and the objective.
    progress : bool
        Show a bar for what takes over two seconds.

    Returns
    -------
    Factors
        Users and items without a training rating have factors of zero (users with `implicit` feedback have what
        it predicts), and biases of zero unless those of a `start` stay.

    Raises
    ------
    ValueError
        For settings that do not fit together, item factors that start at zero, or a penalty of zero where a
        row then has no unique solution, or a `log_dir` that holds another run; before anything is trained.
    OSError
        When `log_dir` cannot be written.
    DivergenceError
        When rounding spoils the solution, as float32 does with a tiny penalty: the objective rises, a
        system cannot be solved, or a number is not finite.

    Notes
    -----
    With F the rows [q_i | 1] of the items that user u rated and e their r - μ - b_i, the solution is
    (FᵀF + λ n_u^α I)⁻¹ Fᵀe. All FᵀF of one side are one sparse product: ones at the rated places, times the
    table of all products of two columns of F. In conjugate gradients the same matrix acts without being
    formed: (FᵀF) x is a sampled product, then a sparse one.

    Y. Zhou et al., Large-scale Parallel Collaborative Filtering for the Netflix Prize (AAIM 2008); Y. Hu, Y.
    Koren, C. Volinsky, Collaborative Filtering for Implicit Feedback Datasets (ICDM 2008). Conjugate
    gradients: G. Takács, I. Pilászy, D. Tikk (RecSys 2011).
    """
    n_factors, sweeps, cg_steps, seed = map(
        whole_number, ("n_factors", "sweeps", "cg_steps", "seed"), (n_factors, sweeps, cg_steps, seed)
    )
    patience = None if patience is None else whole_number("patience", patience)
    penalty = Penalty.of_parts(reg, reg_exponent, reg_biases)
    if solver == "auto":
        solver = "exact" if n_factors <= EXACT_UP_TO else "cg"
    _check(train, n_factors, penalty, biased, sweeps, solver, cg_steps, start, seed, dtype)
    reg_implicit = _check_implicit(train, n_factors, implicit, reg_implicit, dtype)
    _check_judging(train, valid, patience, history)
    given = start is not None
    if not given:
        start = drawn(train, n_factors, float(init_std), seed)
    if n_factors and not start.item_factors.any():
        raise ValueError(f"init_std={init_std}: item factors of zero are a saddle that no sweep leaves; start above 0")
    target, reason = _device(device, len(train), start)
    if implicit is None:
        sides = _Sides(train, start, penalty, biased, dtype, target)
    else:
        sides = _ImplicitSides(train, start, penalty, biased, dtype, target, implicit, reg_implicit)
        if given:
            sides.go_on()
    half = _exact(sides.x.shape[1], max(len(sides.x), len(sides.y)), target) if solver == "exact" else None
    half = half or _conjugate_gradients(cg_steps)
    log = None if log_dir is None else Logbook(log_dir)
    judged = any(wish is not None for wish in (valid, history, watch, log_dir))
    history = History() if history is None else history
    history.n_train, history.device, history.device_reason = len(train), str(target), reason
    seconds, done, best = 0.0, 0, sides.factors()
    latest = best
    sides.look(0, cheap=not judged and solver == "exact")
    if judged:
        _judge(history, best, sides.error, valid, 0.0)
    if log is not None:
        log.begin()

    bar = progress_bar(range(1, sweeps + 1), show=progress, unit="sweep")
    try:
        if log is not None:
            _note(log, history, best, sides.objective, valid or train)
        for done in bar:
            begun = time.perf_counter()
            sides.sweep(half)
            seconds += time.perf_counter() - begun
            # a look at all errors costs a fifth of a sweep with few factors: after 4, 8, 16 … and the last
            if judged or done == sweeps or (done > 2 and not done & (done - 1)):
                sides.look(done)
            if judged:
                latest = sides.factors()
                _judge(history, latest, sides.error, valid, seconds)
                best = latest if history.best_epoch == history.epochs else best
                if log is not None:
                    _note(log, history, latest, sides.objective, valid or train)
                if watch is not None:
                    watch(latest)
            if patience is not None and history.epochs - history.best_epoch >= patience:
                history.stopped = "early"
                break
    except KeyboardInterrupt:
        history.stopped = "interrupted"
        sides.look(done)
        latest = sides.factors()
        print(f"interrupted in sweep {done}: the factors so far are kept")
    finally:
        bar.close()
        if log is not None:
            settings = {"model": "als" if implicit is None else "svdpp", "n_factors": n_factors, "solver": solver,
                        "sweeps": sweeps, "seed": seed, **penalty.settings()}  # fmt: skip
            if implicit is not None:
                settings["reg_implicit"] = reg_implicit
            log.close(history, settings, (latest if patience is None else best).item_factors, map_columns(train))
    return sides.factors() if patience is None else best


def svdpp(
    train: Ratings,
    n_factors: int = 20,
    *,
    implicit: Ratings | None = None,
    reg: float | Penalty | None = None,
    reg_implicit: float = REG_IMPLICIT,
    **options: Any,
) -> Factors:
    """Fit SVD++, a factorisation that also learns from *which* items a user rated, by least squares.

    r̂_ui = μ + b_u + b_i + q_i · (p_u + |N(u)|^-½ Σ_{j ∈ N(u)} y_j), with N(u) the items that u rated. What
    comes back has the whole bracket as the user's factors, so it predicts like any other `Factors`.

    Parameters
    ----------
    train : Ratings
    n_factors : int
        k, from 1.
    implicit : Ratings, optional
        The pairs that make up N(u), whatever their values, in the numbering of `train`; default `train`. Test
        pairs do not belong here: that somebody will rate a film tells how they will.
    reg : float or Penalty, optional
        As in `als`, but λ is 1.6 by default.
    reg_implicit : float
        λ of λ Σ_j ‖y_j‖², above 0, default 60.
    **options
        All others of `als`.

    Returns
    -------
    Factors
        A user without ratings in `train` has the factors that N(u) gives.

    Raises
    ------
    ValueError, DivergenceError
        As `als`.

    Notes
    -----
    Seen from f_u = p_u + X Y, where X has |N(u)|^-½ at the pairs, the penalty λ n_u^α ‖f_u - (X Y)_u‖² draws a user's
    factors to what N(u) predicts instead of to zero. So f_u is half a sweep of `als` with another right side, and Y
    a ridge regression of all f_u on X, by a few conjugate gradients in each sweep: no step raises the objective.

    The model: Y. Koren, Factorization Meets the Neighborhood (KDD 2008), eq. 15, there by gradient descent.
    """
    if reg is None:
        reg = REG_SVDPP
    implicit = train if implicit is None else implicit
    return als(train, n_factors, reg=reg, implicit=implicit, reg_implicit=reg_implicit, **options)


def _remedy(dtype: str) -> str:
    return "Take a larger reg" + (", or dtype='float64'." if dtype == "float32" else ".")


def _judge(history: History, factors: Factors, error: float, valid: Ratings | None, seconds: float) -> None:
    judged = [] if valid is None else [rmse(factors, valid)]  # before any is noted: an interruption leaves no gap
    history.train_rmse.append(error)
    history.valid_rmse.extend(judged)
    history.seconds.append(seconds)


def _note(log: Logbook, history: History, factors: Factors, objective: float, shown: Ratings) -> None:
    some = even_sample(len(shown))
    tables = {name: getattr(factors, name) for name in ARRAYS[1:]}
    predictions = factors.predict(shown.users[some], shown.items[some])
    log.epoch(history.epochs, history.last() | {"objective": objective}, tables, predictions)


# -- one side after the other ----------------------------------------------------------------------


class _Side(NamedTuple):
    """The rows to be solved for, as seen by the rows of the other side."""

    rest: torch.Tensor  # (n, n_other) CSR: r - μ
    ones: torch.Tensor  # (n, n_other) CSR: 1 at the same places
    price: torch.Tensor  # (n, unknowns): λ n^α
    prior: torch.Tensor | None = None  # (n, unknowns): where the price draws the rows to, if not to zero


class _Sides:
    """Both sides and where they stand: x = [p | b_u] and y = [q | b_i], or p and q alone."""

    def __init__(self, train, start, penalty, biased, dtype, device) -> None:
        self.start, self.biased, self.n_ratings, self.penalty, self.dtype = start, biased, len(train), penalty, dtype
        self.make = {"dtype": TYPES[dtype], "device": device}
        self.error, self.objective, self.hopeless = np.inf, np.inf, hopeless(train)
        # what no longer counts as a rise: a millionth of the scale in every rating
        self.floor = len(train) * (1e-6 * self.hopeless / HOPELESS) ** 2
        rest = train.values.astype(np.float64) - start.mean
        if not biased:  # what is not trained is taken off beforehand
            rest = rest - start.user_biases[train.users] - start.item_biases[train.items]
        values, ones = torch.tensor(rest, **self.make), torch.ones(len(train), **self.make)
        users, items = (ids.astype(np.int32) for ids in (train.users, train.items))
        one_each = np.ones(len(train), np.int8), users, np.arange(len(train) + 1, dtype=np.int32)
        # a matrix with a row for each rating, turned: a counting sort by user, faster than any argsort
        by_user = scipy.sparse.csr_array(one_each, shape=(len(train), train.n_users)).tocsc()
        order, shape = by_user.indices, (train.n_users, train.n_items)
        places = scipy.sparse.csr_array((order, items[order], by_user.indptr), shape=shape)
        self.users = self._side(places, values, ones, penalty)
        self.items = self._side(places.tocsc(), values, ones, penalty)
        self.x = self._table(start.user_factors, start.user_biases)
        self.y = self._table(start.item_factors, start.item_biases)

    def _table(self, factors: np.ndarray, biases: np.ndarray) -> torch.Tensor:
        table = np.column_stack([factors, biases]) if self.biased else factors
        return torch.tensor(table, **self.make)

    def _side(self, places, values: torch.Tensor, ones: torch.Tensor, penalty: Penalty) -> _Side:
        ends, columns, order = (
            torch.from_numpy(a).to(self.make["device"]) for a in (places.indptr, places.indices, places.data)
        )
        shape = places.shape if places.format == "csr" else places.shape[::-1]
        rest = csr_tensor(ends, columns, values.index_select(0, order), shape)
        return _Side(rest, csr_tensor(ends, columns, ones, shape), self._price(np.diff(places.indptr), penalty))

    def _price(self, counts: np.ndarray, penalty: Penalty) -> torch.Tensor:
        columns = np.full(self.start.n_factors + self.biased, penalty.reg)
        if self.biased:
            columns[-1] = penalty.biases
        prices = np.maximum(counts, 1)[:, None] ** penalty.power * columns
        made = torch.tensor(prices, **self.make)
        if not made.isfinite().all():
            raise ValueError(f"{penalty} charges up to {prices.max():.3g} for a row, beyond {self.dtype}: take less")
        made[torch.from_numpy(counts == 0)] = (
            1  # any price makes a row without ratings zero; none would leave it unsolved
        )
        return made

    def sweep(self, half: Callable[..., torch.Tensor]) -> None:
        x = half(self.users, self.x, self.y, self.biased)
        self.x, self.y = x, half(self.items, self.y, x, self.biased)

    def look(self, done: int, cheap: bool = False) -> None:
        """Measure RMSE and objective, and refuse what no exact solution can bring about.

        Of the first state an exact solver needs to know no more than that it can do better than nothing.
        """
        if cheap and not self.start.item_biases.any():
            errors = self.users.rest.values()
        else:
            left, right = _own(self.x, self.biased), _other(self.y, self.biased)
            errors = torch.sparse.sampled_addmm(self.users.rest, left, right.T, alpha=-1).values()
        before = self.objective
        squares = errors.square().sum().item()  # in pairs: a running sum in float32 is off by 1e-3 at 20 million
        self.error, self.objective = (squares / self.n_ratings) ** 0.5, squares + self.cost(self.x, self.y)
        if not self.objective <= before * (1 + MAY_RISE) + self.floor or not self.error <= self.hopeless:
            raise DivergenceError(
                f"the objective went from {before:.6g} to {self.objective:.6g} by sweep {done}, though every solution "
                f"lowers it: {self.penalty} in {self.dtype} loses too many digits. {_remedy(self.dtype)}"
            )

    def cost(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """The whole penalty."""
        pairs = (_less(x, self.users.prior), self.users.price), (_less(y, self.items.prior), self.items.price)
        return sum((table.square() * price).sum(dtype=torch.float64).item() for table, price in pairs)

    def factors(self) -> Factors:
        x, y = self.x.cpu().numpy(), self.y.cpu().numpy()
        if self.biased:
            return Factors(self.start.mean, x[:, -1], y[:, -1], x[:, :-1], y[:, :-1])
        kind = x.dtype
        return Factors(self.start.mean, self.start.user_biases.astype(kind), self.start.item_biases.astype(kind), x, y)


class _ImplicitSides(_Sides):
    """Both sides where the users' factors are drawn to X Y: the mean of a user's rated items in Y, times √|N(u)|."""

    def __init__(self, train, start, penalty, biased, dtype, device, implicit: Ratings, reg: float) -> None:
        super().__init__(train, start, penalty, biased, dtype, device)
        self.k, self.reg = start.n_factors, reg
        device = self.make["device"]
        counts = np.maximum(implicit.user_counts, 1).astype(np.float64)
        self.share = torch.tensor(1 / np.sqrt(counts), **self.make)[:, None]  # X is this times a pattern of ones
        if implicit is train:
            self.seen, self.seen_by = self.users.ones, self.items.ones
        else:
            ones = scipy.sparse.csr_array(
                (np.ones(len(implicit)), (implicit.users, implicit.items)), shape=(train.n_users, train.n_items)
            )
            self.seen, self.seen_by = self._pattern(ones), self._pattern(ones.T.tocsr())
        self.unrated = torch.from_numpy(train.user_counts == 0).to(device)[:, None]
        self.price = self.users.price[:, :1].where(~self.unrated, 0)
        # Jacobi's preconditioner, the diagonal of Xᵀ W X + λ: without it, a low price takes many more sweeps
        self.scale = 1 / (self.seen_by @ (self.share.square() * self.price) + reg)
        self.table = torch.zeros(train.n_items, self.k, **self.make)
        self.users = self.users._replace(prior=torch.zeros_like(self.x))

    def go_on(self) -> None:
        """Find the table that belongs to given factors; else the first half would draw them to zero."""
        for _ in range(10):  # from nothing it takes more steps
            self._solve_table()

    def _pattern(self, ones) -> torch.Tensor:
        parts = (
            torch.from_numpy(part.astype(np.int32)).to(self.make["device"]) for part in (ones.indptr, ones.indices)
        )
        return csr_tensor(*parts, torch.ones(ones.nnz, **self.make), ones.shape)

    def sweep(self, half: Callable[..., torch.Tensor]) -> None:
        self.x = half(self.users, self.x, self.y, self.biased)
        self._solve_table()
        self.x = torch.where(self.unrated, self.users.prior, self.x)  # whom nothing holds goes along
        self.y = half(self.items, self.y, self.x, self.biased)

    def _solve_table(self) -> None:
        """Ridge regression of the users' factors on what they rated, by conjugate gradients: (Xᵀ W X + λ) Y = Xᵀ W P."""
        prior = self.users.prior[:, : self.k]
        weight = self.share * self.price
        residual = self.seen_by @ (weight * (self.x[:, : self.k] - prior)) - self.reg * self.table
        direction = towards = residual * self.scale
        height = (residual * towards).sum(dim=0)
        for _ in range(STEPS_IMPLICIT):
            moved = self.share * (self.seen @ direction)
            pushed = self.seen_by @ (weight * moved) + self.reg * direction
            length = _ratio(height, (direction * pushed).sum(dim=0))
            self.table.addcmul_(direction, length)
            prior.addcmul_(moved, length)
            residual = residual - pushed * length
            towards = residual * self.scale
            before, height = height, (residual * towards).sum(dim=0)
            direction = towards + direction * _ratio(height, before)

    def cost(self, x: torch.Tensor, y: torch.Tensor) -> float:
        return super().cost(x, y) + self.reg * self.table.square().sum(dtype=torch.float64).item()


def _less(table: torch.Tensor, prior: torch.Tensor | None) -> torch.Tensor:
    return table if prior is None else table - prior


def _own(table: torch.Tensor, biased: bool) -> torch.Tensor:
    """[p | b_u | 1 | 0…]: its product with `_other` of the items adds up a whole prediction."""
    columns = [table, table.new_ones(len(table), 1)] if biased else [table]
    return _wide(torch.cat(columns, dim=1))


def _other(table: torch.Tensor, biased: bool) -> torch.Tensor:
    """[q | 1 | b_i | 0…]: first what is multiplied by unknowns, then what is not."""
    columns = [table[:, :-1], table.new_ones(len(table), 1), table[:, -1:]] if biased else [table]
    return _wide(torch.cat(columns, dim=1))


def _wide(table: torch.Tensor, width: int | None = None) -> torch.Tensor:
    """With columns of zeros on the right, up to `width`, by default the next multiple of `LANES`."""
    width = table.shape[1] + -table.shape[1] % LANES if width is None else width
    return torch.nn.functional.pad(table, (0, width - table.shape[1]))


def _exact(n_unknowns: int, n_rows: int, device: torch.device) -> Callable[..., torch.Tensor]:
    first, second = torch.triu_indices(n_unknowns, n_unknowns, device=device)
    place = torch.empty(n_unknowns, n_unknowns, dtype=torch.int64, device=device)
    place[first, second] = place[second, first] = torch.arange(len(first), device=device)
    width = max(1, (IN_CACHE if device.type == "cpu" else MOST_AT_ONCE) // n_rows)
    height = max(1, MOST_AT_ONCE // n_unknowns**2)
    pairs = list(zip(first.split(width), second.split(width), strict=True))

    def half(side: _Side, own: torch.Tensor, other: torch.Tensor, biased: bool) -> torch.Tensor:
        """Every row's normal equations, added up by one sparse product, solved by Cholesky."""
        features = _other(other, biased)[:, :n_unknowns]
        target = side.rest @ features
        pieces = []
        for one, another in pairs:
            products = features.index_select(1, one).mul_(features.index_select(1, another))
            if biased and not pieces:  # Σ b_i q_i comes along
                products = torch.cat([features * other[:, -1:], products], dim=1)
            pieces.append(side.ones @ products)
        sums = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
        if biased:
            target -= sums[:, :n_unknowns]
            sums = sums[:, n_unknowns:]
        if side.prior is not None:
            target.addcmul_(side.price, side.prior)
        solved = []
        for some, price, right in zip(sums.split(height), side.price.split(height), target.split(height), strict=True):
            system = some.index_select(1, place.ravel()).view(-1, n_unknowns, n_unknowns)
            system.diagonal(dim1=1, dim2=2).add_(price)
            lower, failed = torch.linalg.cholesky_ex(system)
            if failed.any():
                n, kind = int((failed > 0).sum()), str(own.dtype).removeprefix("torch.")
                raise DivergenceError(f"{n:,} rows cannot be solved in {kind}. {_remedy(kind)}")
            solved.append(torch.cholesky_solve(right[:, :, None], lower)[:, :, 0])
        return solved[0] if len(solved) == 1 else torch.cat(solved)

    return half


def _conjugate_gradients(steps: int) -> Callable[..., torch.Tensor]:
    def half(side: _Side, own: torch.Tensor, other: torch.Tensor, biased: bool) -> torch.Tensor:
        """A few steps towards the same solution, from where the rows stand; no system is formed."""
        n_unknowns = own.shape[1]
        left, right = _own(own, biased), _other(other, biased)
        unknown = torch.zeros(left.shape[1], dtype=own.dtype, device=own.device)
        unknown[:n_unknowns] = 1
        price = _wide(side.price, left.shape[1])  # which has a column of ones more, so perhaps eight
        diagonal = side.ones @ right.square() + price
        scale = unknown / diagonal.where(diagonal > 0, 1)
        # the residual FᵀF x - Fᵀe + price x, downhill: the errors of the whole predictions, times the features
        residual = torch.sparse.sampled_addmm(side.rest, left, right.T, alpha=-1) @ right
        drawn_to_zero = left if side.prior is None else left - _wide(side.prior, left.shape[1])
        residual.addcmul_(price, drawn_to_zero, value=-1)
        towards = residual * scale
        direction, height = towards, _dots(residual, towards)
        last = min(steps, 2 * n_unknowns) - 1  # beyond, there are only rounding errors left to amplify
        for step in range(last + 1):
            pushed = torch.sparse.sampled_addmm(side.ones, direction, right.T, beta=0) @ right
            pushed.addcmul_(price, direction)
            length = _ratio(height, _dots(direction, pushed))
            left.addcmul_(length, direction)
            if step < last:
                residual.addcmul_(length, pushed, value=-1)
                towards = residual * scale
                before, height = height, _dots(residual, towards)
                direction = towards.addcmul_(_ratio(height, before), direction)
        return left[:, :n_unknowns].contiguous()

    return half


def _dots(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(dim=1, keepdim=True)


def _ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a / b, and 0 where a row has nothing left to solve."""
    return torch.where(b > 0, a / b, 0)


# -- settings --------------------------------------------------------------------------------------


def _check(train, n_factors, penalty, biased, sweeps, solver, cg_steps, start, seed, dtype) -> None:
    """Refuse what cannot be solved, with a ValueError."""
    if n_factors < 0 or min(sweeps, cg_steps) < 1 or seed < 0:
        raise ValueError(
            f"n_factors={n_factors}, sweeps={sweeps}, cg_steps={cg_steps}, seed={seed}: "
            "factors and seed from 0, the others from 1"
        )
    if not n_factors + biased:
        raise ValueError("n_factors=0, biased=False: there is nothing to solve for")
    if solver not in SOLVERS:
        raise ValueError(f"solver={solver!r}: choose 'auto', {', '.join(map(repr, SOLVERS))}")
    if dtype not in TYPES:
        raise ValueError(f"dtype={dtype!r}: choose {' or '.join(map(repr, TYPES))}")
    if start is not None and not isinstance(start, Factors):
        raise ValueError(f"start={type(start).__name__}: give Factors, such as those of another training")
    shape = train.n_users, train.n_items, n_factors
    if start is not None and (start.n_users, start.n_items, start.n_factors) != shape:
        raise ValueError(f"start={start} does not fit {train} with n_factors={n_factors}")
    if not penalty.reg:
        counts = np.concatenate([train.user_counts, train.item_counts])
        needed = n_factors + (biased and not penalty.biases)
        short = int(((counts > 0) & (counts < needed)).sum())
        if short:
            raise ValueError(
                f"reg=0: {short:,} users and items have fewer than {needed} ratings, "
                "so no unique solution; take a reg above 0"
            )


def _check_judging(train: Ratings, valid: Ratings | None, patience: int | None, history: History | None) -> None:
    if valid is not None:
        require_same_labels(train, valid)
    if patience is not None and (valid is None or patience < 1):
        raise ValueError(f"patience={patience}: early stopping needs validation ratings and a patience of 1 or more")
    if history is not None and not (isinstance(history, History) and not history.train_rmse):
        raise ValueError("history= takes a new, empty History() and fills it")


def _check_implicit(train: Ratings, n_factors: int, implicit: Ratings | None, reg: float | None, dtype: str) -> float:
    """Refuse what cannot be solved, with a ValueError; return the price of implicit factors."""
    if implicit is None:
        if reg is not None:
            raise ValueError(
                f"reg_implicit={reg!r} without implicit= charges for nothing: give implicit=, or use svdpp"
            )
        return REG_IMPLICIT
    if not isinstance(implicit, Ratings):
        raise ValueError(f"implicit={implicit!r}: give Ratings, such as train itself")
    require_same_labels(train, implicit)
    if not n_factors:
        raise ValueError("n_factors=0: implicit feedback moves the users' factors, so there must be some")
    reg = REG_IMPLICIT if reg is None else reg
    limits = torch.finfo(TYPES[dtype])
    if not isinstance(reg, (int, float, np.number)) or not limits.tiny <= reg < limits.max:
        raise ValueError(f"reg_implicit={reg!r}: the price of implicit factors is a finite number above 0, in {dtype}")
    return float(reg)


def _device(device: str | torch.device, n_ratings: int, start: Factors | None) -> tuple[torch.device, str]:
    chosen, reason = choose_device(device, n_ratings, start)
    if chosen.type not in ("cpu", "cuda"):
        if device != "auto":
            raise ValueError(f"device={str(device)!r} has no sparse products: choose 'cpu'")
        chosen, reason = torch.device("cpu"), f"{chosen.type} has no sparse products"
    return chosen, reason
