"""Alternating least squares: with one side held still, every row of the other is a ridge regression.

No learning rate, no gradient descent: each half of a sweep is the exact minimum of the objective in one
side, for all its rows at once, so the objective cannot rise.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from ..data.arguments import LARGEST_SEED, one_of, require_memory, whole_number, yes_or_no
from ..data.ratings import Ratings
from ..models.factors import Factors, starting_factors, trained_by
from ..models.penalty import Penalty
from ..models.priors import FeaturePrior
from .loop import DIVERGED, DivergenceError, History, Monitor, Stepper, divergence_limit, run
from .priors import FeatureRows, Prior, rows_of
from .resources import choose_resources
from .sparse import LANES, csr_tensor, no_sparse_products, row_dots, row_ratio

TYPES = {"float32": torch.float32, "float64": torch.float64}
EXACT_UP_TO = 16  # factors: above, conjugate gradients cost less than normal equations
IN_CACHE = 1 << 20  # numbers in a table of products: 4 MiB are read twice as fast as what does not fit the cache
MOST_AT_ONCE = 1 << 26  # numbers in the systems of some rows: 256 MiB
STEPS_FEATURES = 20  # of conjugate gradients for W after each half-sweep, from where it stands
MAY_RISE = 1e-3  # of the objective: rounding in float32 stays far below


def als(
    train: Ratings,
    n_factors: int = 20,
    *,
    reg: float | Penalty = Penalty(1.4, power=0.5),
    biased: bool = True,
    sweeps: int = 15,
    solver: str = "auto",
    cg_steps: int = 3,
    start: Factors | None = None,
    init_std: float = 0.1,
    seed: int = 0,
    dtype: str = "float32",
    user_features: Any = None,
    item_features: Any = None,
    reg_features: float = 200.0,
    device: str | torch.device = "auto",
    threads: int | None = None,
    valid: Ratings | None = None,
    patience: int | None = None,
    watch: Callable[[Factors], Any] | None = None,
    history: History | None = None,
    log_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Factors:
    """Fit a factorisation by alternating least squares and return its five arrays.

    A sweep solves for all (p_u, b_u) with the items held still, then for all (q_i, b_i) with the users
    held still. The defaults were chosen on inner validation parts of ML-100K and ml-latest-small.

    Parameters
    ----------
    train : Ratings
    n_factors : int
        k; 0 leaves the biases alone.
    reg : float or Penalty
        The penalty λ Σ_u n_u^α (‖p_u‖² + b_u²), and the same for items. A number is λ for each rating (α = 1,
        "weighted λ", Zhou et al. 2008), as everywhere; ``Penalty(λ, power=0)`` is ridge regression with one λ for
        all rows.
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
    user_features, item_features : DataFrame or sparse matrix, optional
        What is known of all users or items, row n of number n, such as `mf.features` makes. The penalty then draws a row
        to what its features predict, x W, instead of to zero; a row without ratings is x W. Numbers in a frame are
        standardised (a missing one counts as the mean), text becomes a flag for each value; see `FeaturePrior`.
    reg_features : float
        λ of λ ‖W‖², above 0, for both sides. The default was chosen like the others, for items.
    device, threads, valid, patience, watch, history, log_dir, progress
        As in `fit`, sweep by sweep; the log has the objective, too. Interrupting keeps the factors so far.

    Returns
    -------
    Factors
        Users and items without a training rating have factors of zero, and biases of zero unless those of a
        `start` stay; with features, what these predict. `user_prior` and `item_prior` then hold W by name.

    Raises
    ------
    ValueError, OSError
        As in `fit`, and for item factors that start at zero, a penalty of zero where a row then has no unique
        solution or its features would have no say, and features that cannot be read or have another number of rows.
    DivergenceError
        When rounding spoils the solution, as float32 does with a tiny penalty: the objective rises, a
        system cannot be solved, or a number is not finite.

    Notes
    -----
    With F the rows [q_i | 1] of the items that user u rated and e their r - μ - b_i, the solution is
    (FᵀF + λ n_u^α I)⁻¹ Fᵀe. All FᵀF of one side are one sparse product: ones at the rated places, times the
    table of all products of two columns of F. In conjugate gradients the same matrix acts without being
    formed: (FᵀF) x is a sampled product, then a sparse one.

    With features, (p_u, b_u) = x_u W + a rest, and the penalty is on the rest: the half-sweep has another right side, and
    W is the ridge regression of the rows as they stand on the features, solved after each half-sweep.

    Y. Zhou et al., Large-scale Parallel Collaborative Filtering for the Netflix Prize (AAIM 2008); Y. Hu, Y.
    Koren, C. Volinsky, Collaborative Filtering for Implicit Feedback Datasets (ICDM 2008). Conjugate
    gradients: G. Takács, I. Pilászy, D. Tikk (RecSys 2011).
    """
    monitor = Monitor(train, valid, patience, watch, history, log_dir, progress)
    settings = Settings(n_factors, Penalty.of(reg), biased, sweeps, solver, cg_steps, start, init_std, seed, dtype)
    known = FeatureRows.of(monitor.train, user_features, item_features, reg_features, settings)
    if known is None:
        return settings.solve("als", monitor, device, threads, Sides)
    more = {"reg_features": known.reg}
    return settings.solve("als", monitor, device, threads, partial(FeatureSides, known=known), **more)


@dataclass
class Settings:
    """What `als`, `svdpp` and `ials` are told of the model and its solver, checked on its own."""

    n_factors: int
    penalty: Penalty
    biased: bool
    sweeps: int
    solver: str
    cg_steps: int
    start: Factors | None
    init_std: float
    seed: int
    dtype: str

    def __post_init__(self) -> None:
        for name, least in (("n_factors", 0), ("sweeps", 1), ("cg_steps", 1)):
            setattr(self, name, whole_number(name, getattr(self, name), least))
        self.seed, self.biased = whole_number("seed", self.seed, 0, LARGEST_SEED), yes_or_no("biased", self.biased)
        if not self.n_factors + self.biased:
            raise ValueError("n_factors=0, biased=False: there is nothing to solve for")
        one_of("solver", self.solver, ("auto", "exact", "cg"))
        if self.solver == "auto":
            self.solver = "exact" if self.n_factors <= EXACT_UP_TO else "cg"
        one_of("dtype", self.dtype, TYPES)

    def solve(self, name: str, monitor: Monitor, device: Any, threads: int | None, kind: Any, **more: Any) -> Factors:
        """Sweep over sides of a kind, watched; `name` and `more` belong to the log."""
        train = monitor.train
        start = starting_factors(self.start, train, self.n_factors, self.init_std, self.seed)
        if self.n_factors and not start.item_factors.any():
            raise ValueError(
                f"init_std={self.init_std}: item factors of zero are a saddle that no sweep leaves; start above 0"
            )
        if self.solver == "exact":
            numbers = (self.n_factors + 1) ** 2 * max(train.n_users, train.n_items) // 2
            require_memory(f"n_factors={self.n_factors:,} with solver='exact' for {train}", numbers, 4)
        resources = choose_resources(device, threads, len(train), start, no_sparse_products)
        with resources.scope():
            sides = kind(train, start, self, resources.device)
            sides.resources = resources
            sides.settings = {"model": name, "n_factors": self.n_factors, "solver": self.solver, "sweeps": self.sweeps,
                              "seed": self.seed, **self.penalty.settings(), **more}  # fmt: skip
            run(sides, self.sweeps, monitor)
            return sides.result()

    def require_unique(self, train: Ratings) -> None:
        """Raise ValueError where a penalty of zero leaves a row without a unique solution."""
        if self.penalty.reg:
            return
        counts = np.concatenate([train.user_counts, train.item_counts])
        needed = self.n_factors + (self.biased and not self.penalty.biases)
        short = int(((counts > 0) & (counts < needed)).sum())
        if short:
            raise ValueError(
                f"reg=0: {short:,} users and items have fewer than {needed} ratings, "
                "so no unique solution; take a reg above 0"
            )


def divergence_remedy(dtype: str) -> str:
    """What helps where rounding spoils a solution."""
    return "Take a larger reg" + (", or dtype='float64'." if dtype == "float32" else ".")


# -- one side after the other ----------------------------------------------------------------------


class Side(NamedTuple):
    """The rows to be solved for, as seen by the rows of the other side."""

    rest: torch.Tensor  # (n, n_other) CSR: r - μ
    ones: torch.Tensor  # (n, n_other) CSR: 1 at the same places
    penalty: torch.Tensor  # (n, unknowns): λ n^α
    prior: torch.Tensor | None = None  # (n, unknowns): where the penalty draws the rows to, if not to zero
    everywhere: float = 0.0  # the weight of every cell, as of a rating of zero: `alpha` of ials


class Sides(Stepper):
    """Both sides and where they stand: x = [p | b_u] and y = [q | b_i], or p and q alone."""

    unit = "sweep"

    def __init__(self, train: Ratings, start: Factors, settings: Settings, device: torch.device) -> None:
        settings.require_unique(train)
        self.start, self.train, self.penalty = start, train, settings.penalty
        self.trained, self.priors = trained_by(train), dict[str, Prior]()
        self.biased, self.dtype, self.exact = settings.biased, settings.dtype, settings.solver == "exact"
        self.make: dict[str, Any] = {"dtype": TYPES[settings.dtype], "device": device}
        self.error, self.objective, self.limit = np.inf, np.inf, divergence_limit(train)
        # what no longer counts as a rise: a millionth of the scale in every rating
        self.floor = len(train) * (1e-6 * self.limit / DIVERGED) ** 2
        rest = train.values.astype(np.float64) - start.mean
        if not self.biased:  # what is not trained is taken off beforehand
            rest = rest - start.user_biases[train.users] - start.item_biases[train.items]
        values, ones = torch.tensor(rest, **self.make), torch.ones(len(train), **self.make)
        users, items = (ids.astype(np.int32) for ids in (train.users, train.items))
        one_each = np.ones(len(train), np.int8), users, np.arange(len(train) + 1, dtype=np.int32)
        # a matrix with a row for each rating, turned: a counting sort by user, faster than any argsort
        by_user = scipy.sparse.csr_array(one_each, shape=(len(train), train.n_users)).tocsc()
        order, shape = by_user.indices, (train.n_users, train.n_items)
        places = scipy.sparse.csr_array((order, items[order], by_user.indptr), shape=shape)
        self.users = self._side(places, values, ones)
        self.items = self._side(places.tocsc(), values, ones)
        self.x = self._table(start.user_factors, start.user_biases)
        self.y = self._table(start.item_factors, start.item_biases)
        larger = max(len(self.x), len(self.y))
        self.half = (
            exact_half(self.x.shape[1], larger, device) if self.exact else _conjugate_gradients(settings.cg_steps)
        )

    def _table(self, factors: np.ndarray, biases: np.ndarray) -> torch.Tensor:
        table = np.column_stack([factors, biases]) if self.biased else factors
        return torch.tensor(table, **self.make)

    def _side(self, places, values: torch.Tensor, ones: torch.Tensor) -> Side:
        ends, columns, order = (
            torch.from_numpy(a).to(self.make["device"]) for a in (places.indptr, places.indices, places.data)
        )
        shape = places.shape if places.format == "csr" else places.shape[::-1]
        rest = csr_tensor(ends, columns, values.index_select(0, order), shape)
        return Side(rest, csr_tensor(ends, columns, ones, shape), self._penalty(np.diff(places.indptr)))

    def _penalty(self, counts: np.ndarray) -> torch.Tensor:
        columns = np.full(self.start.n_factors + self.biased, self.penalty.reg)
        if self.biased:
            columns[-1] = self.penalty.biases
        self.penalty.per_rating(counts)  # refuses what is beyond float64
        weights = np.maximum(counts, 1)[:, None] ** self.penalty.power * columns
        made = torch.tensor(weights, **self.make)
        if not made.isfinite().all():
            raise ValueError(f"{self.penalty} is up to {weights.max():.3g} for a row, beyond {self.dtype}: take less")
        # any penalty makes a row without ratings zero; none would leave it unsolved
        made[torch.from_numpy(counts == 0)] = 1
        return made

    def step(self) -> None:
        self.x = self.half(self.users, self.x, self.y, self.biased)
        self.x = self._rows("user", self.x)  # held before W follows: an interruption leaves both together
        self.y = self.half(self.items, self.y, self.x, self.biased)
        self.y = self._rows("item", self.y)

    def _rows(self, side: str, solved: torch.Tensor) -> torch.Tensor:
        """Rows that were solved for; where something else predicts them, W follows, and whom nothing holds goes along."""
        prior = self.priors.get(side)
        if prior is None:
            return solved
        prior.solve(solved)
        return prior.filled(solved)

    def interrupted(self, done: int) -> None:
        """W may have moved without the rows X W, or these without the rows that follow them."""
        for side, prior in self.priors.items():
            prior.refresh()
            if side == "user":
                self.x = prior.filled(self.x)
            else:
                self.y = prior.filled(self.y)
        super().interrupted(done)

    def draw(self, side: str, prior: Prior) -> None:
        """Let the penalty of a side, "user" or "item", draw its rows to those of a prior."""
        self.priors[side] = prior
        if side == "user":
            self.users = self.users._replace(prior=prior.drawn)
        else:
            self.items = self.items._replace(prior=prior.drawn)

    def check(self, done: int) -> None:
        """Measure RMSE and objective, and refuse what no exact solution can bring about."""
        left, right = _own(self.x, self.biased), _other(self.y, self.biased)
        errors = torch.sparse.sampled_addmm(self.users.rest, left, right.T, alpha=-1).values()
        before = self.objective
        squares = errors.square().sum().item()  # in pairs: a running sum in float32 is off by 1e-3 at 20 million
        self.error, self.objective = (squares / len(self.train)) ** 0.5, squares + self.penalty_value()
        if self.exact and not done:
            return  # an exact solver leaves whatever start it gets
        if not self.objective <= before * (1 + MAY_RISE) + self.floor or not self.error <= self.limit:
            raise DivergenceError(
                f"the objective went from {before:.6g} to {self.objective:.6g} by sweep {done}, though every solution "
                f"lowers it: {self.penalty} in {self.dtype} loses too many digits. {divergence_remedy(self.dtype)}"
            )

    def penalty_value(self) -> float:
        """The whole penalty."""
        total = 0.0
        for table, side in ((self.x, self.users), (self.y, self.items)):
            pulled = table if side.prior is None else table - side.prior
            total += (pulled.square() * side.penalty).sum(dtype=torch.float64).item()
        return total + sum(prior.cost() for prior in self.priors.values())

    def measure(self, predictor: Factors, part: Ratings) -> float:
        return self.error if part is self.train else super().measure(predictor, part)

    def scalars(self) -> dict[str, float]:
        return {"objective": self.objective}

    def predictor(self) -> Factors:
        x, y = self.x.cpu().numpy(), self.y.cpu().numpy()
        if self.biased:
            return Factors(self.start.mean, x[:, -1], y[:, -1], x[:, :-1], y[:, :-1], *self.trained)
        biases = self.start.user_biases.astype(x.dtype), self.start.item_biases.astype(x.dtype)
        return Factors(self.start.mean, *biases, x, y, *self.trained)


class FeatureSides(Sides):
    """Both sides where the penalty draws rows to what their features predict."""

    def __init__(self, train: Ratings, start: Factors, settings: Settings, device, *, known: FeatureRows) -> None:
        super().__init__(train, start, settings, device)
        self.known = known
        columns = np.full(start.n_factors + self.biased, self.penalty.reg)
        columns[-1:] = self.penalty.biases if self.biased else self.penalty.reg
        ratio = torch.tensor(columns[0] / columns, **self.make)
        for side, counts, rows, penalty in (
            ("user", train.user_counts, self.x, self.users.penalty),
            ("item", train.item_counts, self.y, self.items.penalty),
        ):
            if side in known.tables:
                unrated = torch.from_numpy(counts == 0).to(device)[:, None]
                X, flipped = rows_of(known.tables[side], **self.make)
                ones, drawn = torch.ones_like(penalty[:, :1]), torch.zeros_like(rows)
                weight = penalty[:, :1].where(~unrated, 0)
                prior = Prior(X, flipped, ones, weight, unrated, known.reg, drawn, STEPS_FEATURES, ratio=ratio)
                self.draw(side, prior)
                if settings.start is not None:  # else the first half would draw given rows to zero
                    prior.solve(rows)

    def predictor(self) -> Factors:
        return replace(super().predictor(), user_prior=self._prior("user"), item_prior=self._prior("item"))

    def _prior(self, side: str) -> FeaturePrior | None:
        if side not in self.priors:
            return None
        table = self.priors[side].table.cpu().numpy()
        biases = table[:, -1] if self.biased else np.zeros(len(table), table.dtype)
        return FeaturePrior(self.known.encodings[side], table[:, : self.start.n_factors], biases)


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


def exact_half(n_unknowns: int, n_rows: int, device: torch.device) -> Callable[..., torch.Tensor]:
    first, second = torch.triu_indices(n_unknowns, n_unknowns, device=device)
    place = torch.empty(n_unknowns, n_unknowns, dtype=torch.int64, device=device)
    place[first, second] = place[second, first] = torch.arange(len(first), device=device)
    width = max(1, (IN_CACHE if device.type == "cpu" else MOST_AT_ONCE) // n_rows)
    height = max(1, MOST_AT_ONCE // n_unknowns**2)
    pairs = list(zip(first.split(width), second.split(width), strict=True))

    def half(side: Side, own: torch.Tensor, other: torch.Tensor, biased: bool) -> torch.Tensor:
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
            target.addcmul_(side.penalty, side.prior)
        gram = side.everywhere * (features.T @ features) if side.everywhere else None
        solved = []
        for some, penalty, right in zip(
            sums.split(height), side.penalty.split(height), target.split(height), strict=True
        ):
            system = some.index_select(1, place.ravel()).view(-1, n_unknowns, n_unknowns)
            if gram is not None:
                system.add_(gram)
            system.diagonal(dim1=1, dim2=2).add_(penalty)
            lower, failed = torch.linalg.cholesky_ex(system)
            if failed.any():
                n, kind = int((failed > 0).sum()), str(own.dtype).removeprefix("torch.")
                raise DivergenceError(f"{n:,} rows cannot be solved in {kind}. {divergence_remedy(kind)}")
            solved.append(torch.cholesky_solve(right[:, :, None], lower)[:, :, 0])
        return solved[0] if len(solved) == 1 else torch.cat(solved)

    return half


def _conjugate_gradients(steps: int) -> Callable[..., torch.Tensor]:
    def half(side: Side, own: torch.Tensor, other: torch.Tensor, biased: bool) -> torch.Tensor:
        """A few steps towards the same solution, from where the rows stand; no system is formed."""
        n_unknowns = own.shape[1]
        left, right = _own(own, biased), _other(other, biased)
        unknown = torch.zeros(left.shape[1], dtype=own.dtype, device=own.device)
        unknown[:n_unknowns] = 1
        penalty = _wide(side.penalty, left.shape[1])  # which has a column of ones more, so perhaps eight
        diagonal = side.ones @ right.square() + penalty
        scale = unknown / diagonal.where(diagonal > 0, 1)
        # the residual FᵀF x - Fᵀe + penalty x, downhill: the errors of the whole predictions, times the features
        residual = torch.sparse.sampled_addmm(side.rest, left, right.T, alpha=-1) @ right
        pulled = left if side.prior is None else left - _wide(side.prior, left.shape[1])
        residual.addcmul_(penalty, pulled, value=-1)
        towards = residual * scale
        direction, height = towards, row_dots(residual, towards)
        last = min(steps, 2 * n_unknowns) - 1  # beyond, there are only rounding errors left to amplify
        for step in range(last + 1):
            pushed = torch.sparse.sampled_addmm(side.ones, direction, right.T, beta=0) @ right
            pushed.addcmul_(penalty, direction)
            length = row_ratio(height, row_dots(direction, pushed))
            left.addcmul_(length, direction)
            if step < last:
                residual.addcmul_(length, pushed, value=-1)
                towards = residual * scale
                before, height = height, row_dots(residual, towards)
                direction = towards.addcmul_(row_ratio(height, before), direction)
        return left[:, :n_unknowns].contiguous()

    return half
