"""Stochastic gradient descent with the gradients written out by hand: three engines, one objective.

All three descend on Σ (r - r̂)² + penalty, r̂_ui = μ + b_u + b_i + p_u · q_i. What differs is how many
ratings share one step, and with it the speed: on one core some 5·10⁴, 4·10⁶ and over 10⁷ ratings a second.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from ..data.arguments import LARGEST_SEED, one_of, real_number, whole_number, yes_or_no
from ..data.linear import CHUNK
from ..data.ratings import Ratings
from ..models.factors import Factors, starting_factors, trained_by
from ..models.penalty import Penalty
from .loop import TOO_MUCH, DivergenceError, History, Monitor, Stepper, divergence_limit, run, slower
from .resources import choose_resources
from .sparse import LANES, csr_tensor, no_sparse_products

ENGINES = ("frozen", "minibatch", "loop")
MAX_STEP_FRACTION = 0.5  # what one step may take of the way to the mean of a row's errors
MOST_KEPT = 1 << 28  # numbers that frozen batches may keep beside their ratings: 1 GiB


def sgd(
    train: Ratings,
    n_factors: int = 20,
    *,
    epochs: int = 20,
    lr: float = 0.005,
    reg: float | Penalty = 0.02,
    biased: bool = True,
    engine: str = "frozen",
    batch_size: int | None = None,
    order: str = "shuffled",
    start: Factors | None = None,
    init_std: float = 0.1,
    seed: int = 0,
    device: str | torch.device = "auto",
    threads: int | None = None,
    valid: Ratings | None = None,
    patience: int | None = None,
    watch: Callable[[Factors], Any] | None = None,
    history: History | None = None,
    log_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Factors:
    """Fit a factorisation by gradient descent and return its five arrays.

    Each rating moves p_u by lr · (e q_i - λ p_u), and q_i, b_u, b_i likewise; the ratings of a batch
    move together, by the sum of their steps.

    Parameters
    ----------
    train : Ratings
    n_factors : int
        k; 0 leaves the biases alone.
    epochs : int
    lr : float
        Step for one rating, as in Surprise: half of what multiplies the gradient of e². In a batch,
        rows with many ratings take smaller steps; see the notes.
    reg : float or Penalty
        λ of a penalty of λ for each rating, or any `Penalty`.
    biased : bool
        Without, b_u and b_i stay as they start: at zero, or those of `start`.
    engine : {"frozen", "minibatch", "loop"}
        "loop": one rating at a time in NumPy, float64; exact and slow.
        "minibatch": slices of a shuffled index, the gradient added up by `index_add_`; float32.
        "frozen": ratings are dealt into batches once, each kept as a sparse matrix; an epoch shuffles
        the batches. Fastest on a CPU; float32. It keeps n_users + n_items numbers for each batch, k times
        as many if the biases have a λ of their own.
    batch_size : int, optional
        Ratings in a step; default 4096 for "minibatch", and for "frozen" a 32nd of the ratings within
        16,384 … 524,288. "loop" knows no batches.
    order : {"shuffled", "surprise"}
        "surprise", for "loop": users in the order in which they first occur, the ratings of each in
        theirs, the same in every epoch. With the same start this gives scikit-surprise's factors.
    start : Factors, optional
        Where to begin, with k = `n_factors`; its mean is kept. Default: factors drawn from N(0, init_std²),
        biases of zero and the mean of `train`. A `start` keeps the rows of users and items without ratings; drawn
        ones are set to zero.
    init_std : float
    seed : int
        Of the start and of the shuffling. On a GPU sums may differ in their last bits from run to run.
    device, threads, valid, patience, watch, history, log_dir, progress
        As in `fit`; "loop" runs on the CPU. Interrupting keeps the factors so far.

    Returns
    -------
    Factors
        float64 from "loop", float32 from the others.

    Raises
    ------
    ValueError, OSError, DivergenceError
        As in `fit`.

    Notes
    -----
    Constant columns carry the biases: with P = [p | b_u | 1] and Q = [q | 1 | b_i] one product gives
    b_u + b_i + p · q, and its gradient those of all.

    A batch in which a row has n ratings sums n steps computed from the same old values. Were lr · n
    above 2, its bias would overshoot the mean of its errors further each time. So a row's step is at
    most 0.5 / n, with n the ratings that the row has in a batch on average. Above that, a larger `lr`
    changes nothing for this row. On ML-100K, in default batches, that is half of all ratings at lr = 0.02 and
    hardly any at 0.005; smaller batches lift the limit.

    The update is that of Funk (2006) and of Koren, Bell, Volinsky, Matrix Factorization Techniques for
    Recommender Systems (IEEE Computer 42, 2009).
    """
    monitor = Monitor(train, valid, patience, watch, history, log_dir, progress)
    settings = Settings(
        n_factors, epochs, lr, Penalty.of(reg), biased, engine, batch_size, order, start, init_std, seed
    )
    batch_size, start = settings.batch_size_for(train), settings.start_for(train)
    resources = choose_resources(device, threads, min(batch_size, len(train)), start, settings.refusal)
    with resources.scope():
        kind = {"loop": _OneByOne, "minibatch": Minibatch, "frozen": _Frozen}[engine]
        # not the numbers that drew the factors
        steps = kind(train, start, settings, np.random.default_rng([settings.seed, 1]), resources.device)
        steps.resources, steps.settings = resources, settings.for_log(train)
        run(steps, settings.epochs, monitor)
        return steps.result()


@dataclass
class Settings:
    """What `sgd` and `hogwild` are told, checked on its own and then against the ratings."""

    n_factors: int
    epochs: int
    lr: float
    penalty: Penalty
    biased: bool
    engine: str
    batch_size: int | None
    order: str
    start: Factors | None
    init_std: float
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("n_factors", 0), ("epochs", 1)):
            setattr(self, name, whole_number(name, getattr(self, name), least))
        self.seed, self.biased = whole_number("seed", self.seed, 0, LARGEST_SEED), yes_or_no("biased", self.biased)
        self.lr = real_number("lr", self.lr, above=0)
        one_of("engine", self.engine, ENGINES)
        one_of("order", self.order, ("shuffled", "surprise"))
        if self.engine != "loop" and self.order == "surprise":
            raise ValueError(
                f"order='surprise' goes through the ratings one by one: engine='loop', not {self.engine!r}"
            )
        if self.engine == "loop" and self.batch_size is not None:
            raise ValueError(f"batch_size={self.batch_size}: engine='loop' takes one rating at a time")
        if self.batch_size is not None:
            self.batch_size = whole_number("batch_size", self.batch_size, 1)

    def start_for(self, train: Ratings) -> Factors:
        start = starting_factors(self.start, train, self.n_factors, self.init_std, self.seed)
        if self.start is not None or self.init_std > 1:
            error = mean_error(start, train)
            if not error <= divergence_limit(train):
                what = "init_std" if self.start is None else "start"
                raise ValueError(f"{what}={getattr(self, what)}: it begins {error:.3g} stars off; take smaller factors")
        return start

    def batch_size_for(self, train: Ratings) -> int:
        """Ratings in a step; a ValueError if frozen batches would keep too many numbers."""
        if self.engine == "loop":
            return 1
        size = self.batch_size or (4096 if self.engine == "minibatch" else min(max(len(train) // 32, 1 << 14), 1 << 19))
        batches, rows = -(-len(train) // size), train.n_users + train.n_items
        own_of_biases = self.biased and self.penalty.biases != self.penalty.reg
        kept = batches * rows * (_width(self.n_factors, self.biased) if own_of_biases else 1)
        if self.engine == "frozen" and kept > MOST_KEPT:
            raise ValueError(
                f"batch_size={size}: {batches:,} frozen batches keep {kept:,} numbers; "
                "take larger ones, or engine='minibatch'"
            )
        return size

    def refusal(self, kind: str) -> str | None:
        """Why this engine cannot run on a kind of device."""
        if self.engine == "loop":
            return "does not run engine='loop': choose 'minibatch' or 'frozen'"
        missing = no_sparse_products(kind) if self.engine == "frozen" else None
        return f"{missing}: choose engine='minibatch'" if missing else None

    def for_log(self, train: Ratings) -> dict[str, Any]:
        return {"model": "sgd", "engine": self.engine, "n_factors": self.n_factors, "lr": self.lr, "epochs": self.epochs,
                "batch_size": self.batch_size_for(train), "seed": self.seed, **self.penalty.settings()}  # fmt: skip


def _width(n_factors: int, biased: bool) -> int:
    """Columns of a table of factors and biases, a multiple of `LANES`."""
    width = n_factors + 2 * biased
    return width + -width % LANES


class _Engine(Stepper):
    """What all engines share."""

    def __init__(self, train: Ratings, start: Factors, settings: Settings) -> None:
        self.trained = trained_by(train, start)
        self.train, self.lr, self.biased = train, settings.lr, settings.biased
        self.setting, self.remedy = f" at learning rate {self.lr:g}", slower(train)
        largest = settings.penalty.largest_share(train)
        if self.lr <= 1 <= self.lr * largest:
            self.setting = f"{self.setting} and a penalty of {largest:.3g} a rating"
            self.remedy = TOO_MUCH

    def factors(self) -> Factors:
        raise NotImplementedError

    def predictor(self) -> Factors:
        """The factors, if they predict ratings: the error of an epoch is measured before its steps."""
        error = np.nan
        with suppress(ValueError):  # Factors refuses what is not finite
            factors = self.factors()
            error = self.mean_error(factors)
            if error <= divergence_limit(self.train):
                return factors
        raise DivergenceError(f"diverged{self.setting}: errors of {error:.3g} stars. {self.remedy}")

    def mean_error(self, factors: Factors) -> float:
        """Mean absolute error on the training ratings, or on an even sample of very many."""
        return mean_error(factors, self.train)


def mean_error(factors: Factors, train: Ratings) -> float:
    some = slice(None, None, -(-len(train) // CHUNK))
    errors = factors.predict(train.users[some], train.items[some]) - train.values[some]
    return np.abs(errors).mean(dtype=np.float64)


class _OneByOne(_Engine):
    """One rating at a time."""

    def __init__(self, train: Ratings, start: Factors, settings: Settings, shuffling, device) -> None:
        super().__init__(train, start, settings)
        penalty = settings.penalty
        self.mean, self.shuffling = start.mean, None if settings.order == "surprise" else shuffling
        # lists for single numbers, which NumPy is slow at
        self.b_u, self.b_i = (getattr(start, f"{side}_biases").astype(np.float64).tolist() for side in ("user", "item"))
        self.P, self.Q = (getattr(start, f"{side}_factors").astype(np.float64) for side in ("user", "item"))
        shares = [penalty.per_rating(counts) for counts in (train.user_counts, train.item_counts)]
        self.reg_p, self.reg_q = ((penalty.reg * share).tolist() for share in shares)
        self.reg_u, self.reg_i = ((penalty.biases * share).tolist() for share in shares)
        if settings.order == "surprise":
            _, first, number = np.unique(train.users, return_index=True, return_inverse=True)
            train = train[np.argsort(first[number], kind="stable")]
        self.columns = train.users, train.items, train.values.astype(np.float64)

    @np.errstate(over="ignore", invalid="ignore")  # a divergence is told by its error alone
    def step(self) -> float:
        P, Q, b_u, b_i, lr, mean = self.P, self.Q, self.b_u, self.b_i, self.lr, self.mean
        reg_p, reg_q, reg_u, reg_i = self.reg_p, self.reg_q, self.reg_u, self.reg_i
        k, add_up = P.shape[1], np.add.accumulate
        order = slice(None) if self.shuffling is None else self.shuffling.permutation(len(self.columns[0]))
        total = 0.0
        for u, i, r in zip(*(column[order].tolist() for column in self.columns), strict=True):
            p, q = P[u], Q[i]
            # a running sum adds from left to right, as a loop does; np.dot would round differently
            e = r - (mean + b_u[u] + b_i[i] + (add_up(p * q)[-1] if k else 0.0))
            total += e * e
            if self.biased:
                b_u[u] += lr * (e - reg_u[u] * b_u[u])
                b_i[i] += lr * (e - reg_i[i] * b_i[i])
            P[u], Q[i] = p + lr * (e * q - reg_p[u] * p), q + lr * (e * p - reg_q[i] * q)
        return (total / len(self.columns[0])) ** 0.5

    def factors(self) -> Factors:
        return Factors(self.mean, np.array(self.b_u), np.array(self.b_i), self.P, self.Q, *self.trained)


class _Batched(_Engine):
    """What both batched engines keep: P = [p | b_u | 1 | 0…] and Q = [q | 1 | b_i | 0…]."""

    def __init__(self, train: Ratings, start: Factors, settings: Settings, shuffling, device) -> None:
        super().__init__(train, start, settings)
        self.start, self.shuffling, self.device = start, shuffling, device
        self.k = k = start.n_factors
        self.n_ratings, self.n_batches = len(train), -(-len(train) // settings.batch_size_for(train))
        ones = [np.ones((n, 1)) for n in (train.n_users, train.n_items)]
        sides = [
            [start.user_factors, start.user_biases[:, None], ones[0]],
            [start.item_factors, ones[1], start.item_biases[:, None]],
        ]
        self.P, self.Q = (self._table(side if self.biased else side[:1]) for side in sides)
        counts = train.user_counts, train.item_counts
        self.steps_p, self.steps_q = (_once(self._steps(n)) for n in counts)
        self.regs_p, self.regs_q = (_once(self._regs(n, k + side, settings.penalty)) for side, n in enumerate(counts))

    def _table(self, columns: list[np.ndarray]) -> torch.Tensor:
        missing = _width(self.k, self.biased) - sum(column.shape[1] for column in columns)
        columns = [*columns, np.zeros((len(columns[0]), missing))]
        return self._tensor(np.hstack(columns))

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, dtype=torch.float32, device=self.device)

    def _rest(self, train: Ratings) -> torch.Tensor:
        """What P and Q are to explain: biases that are not trained are taken off beforehand."""
        rest = train.values - self.start.mean
        if not self.biased:
            rest = rest - self.start.user_biases[train.users] - self.start.item_biases[train.items]
        return self._tensor(rest)

    def _steps(self, counts: np.ndarray) -> torch.Tensor:
        """Each row's learning rate, shape (n, 1): smaller where a batch holds many of its ratings."""
        in_a_batch = np.maximum(counts, 1) / self.n_batches
        return self._tensor(np.minimum(self.lr, MAX_STEP_FRACTION / in_a_batch)[:, None])

    def _regs(self, counts: np.ndarray, bias: int, penalty: Penalty) -> torch.Tensor:
        """λ for a rating of each row: shape (n, 1) where it is one for all columns, else (n, width)."""
        share = penalty.per_rating(np.maximum(counts, 1))[:, None]  # a row without ratings takes no step
        if penalty.biases == penalty.reg or not self.biased:
            return self._tensor(penalty.reg * share)
        columns = np.full(self.P.shape[1], penalty.reg)
        columns[bias] = penalty.biases
        return self._tensor(share * columns)

    def factors(self) -> Factors:
        P, Q, k = self.P.cpu().numpy(), self.Q.cpu().numpy(), self.k
        if self.biased:
            user_biases, item_biases = P[:, k], Q[:, k + 1]
        else:
            biases = self.start.user_biases, self.start.item_biases
            user_biases, item_biases = (b.astype(np.float32) for b in biases)
        return Factors(self.start.mean, user_biases, item_biases, P[:, :k], Q[:, :k], *self.trained)


def _once(rows: torch.Tensor) -> torch.Tensor:
    """One row where all are equal, as they mostly are: it need not be looked up."""
    return rows[:1].clone() if bool((rows == rows[:1]).all()) else rows


class Minibatch(_Batched):
    """Slices of a shuffled index; what belongs to one row is added up by `index_add_`."""

    def __init__(self, train: Ratings, *others: Any) -> None:
        super().__init__(train, *others)
        users, items, _ = train.to_tensors(self.device)
        self.columns = users, items, self._rest(train)

    def share(self, chosen: np.ndarray, seed: list[int]) -> Minibatch:
        """An engine for the `chosen` ratings alone that moves the same P and Q."""
        part = copy.copy(self)
        del vars(part)["train"]  # which need not travel to another process
        users, items, rest = (column[torch.from_numpy(chosen)] for column in self.columns)
        part.columns = users, items, rest
        part.n_ratings = len(chosen)
        part.n_batches = max(1, round(self.n_batches * len(chosen) / self.n_ratings))
        part.shuffling = np.random.default_rng(seed)
        return part

    def step(self) -> float:
        P, Q, k = self.P, self.Q, self.k
        order = torch.from_numpy(self.shuffling.permutation(self.n_ratings)).to(self.device)
        # gathered once an epoch: slices of three arrays cost less than three gathers a batch
        shuffled = (column.index_select(0, order).tensor_split(self.n_batches) for column in self.columns)
        total = torch.zeros((), device=self.device)
        for users, items, rest in zip(*shuffled, strict=True):
            p, q = P.index_select(0, users), Q.index_select(0, items)
            e = rest - (p * q).sum(dim=1)
            total += e @ e
            move_p = self._move(e, q, p, self.steps_p, self.regs_p, users)
            move_q = self._move(e, p, q, self.steps_q, self.regs_q, items)
            if self.biased:  # the columns of ones stay
                move_p[:, k + 1] = 0
                move_q[:, k] = 0
            P.index_add_(0, users, move_p)
            Q.index_add_(0, items, move_q)
        return (total.item() / self.n_ratings) ** 0.5

    @staticmethod
    def _move(e, other, own, steps, regs, rows) -> torch.Tensor:
        """step (e · other - λ own), for each rating of a batch."""
        move = other * e[:, None]
        if len(regs) == 1:
            move.sub_(own * regs)
        else:
            move.addcmul_(own, regs.index_select(0, rows), value=-1)
        return move.mul_(steps if len(steps) == 1 else steps.index_select(0, rows))


class _Batch(NamedTuple):
    """Ratings that make a step together, as a sparse matrix and its transpose."""

    ratings: torch.Tensor  # (n_users, n_items) CSR, values r - μ
    starts: torch.Tensor  # of the transpose's rows
    users: torch.Tensor  # its columns
    order: torch.Tensor  # where each of its values stands in `ratings`
    keep_p: torch.Tensor  # 1 - step λ n for each row: what the penalty leaves of it
    keep_q: torch.Tensor


class _Frozen(_Batched):
    """Batches that are dealt once; errors, gradients and their sums are three sparse products."""

    def __init__(self, train: Ratings, *others: Any) -> None:
        super().__init__(train, *others)
        rest = self._rest(train)
        which = np.empty(len(train), np.int64)
        parts = np.array_split(self.shuffling.permutation(len(train)), self.n_batches)
        for number, part in enumerate(parts):
            which[part] = number
        # by user and item within each batch: what is looked up together lies together
        places = (which * train.n_users + train.users) * train.n_items + train.items
        dealt = torch.argsort(torch.from_numpy(places)).numpy()  # a radix sort: NumPy's takes five times as long
        ends = np.cumsum([len(part) for part in parts])[:-1]
        self.batches = [self._frozen(train, rest, chosen) for chosen in np.split(dealt, ends)]
        # written anew in each step: fresh memory for the products cost a tenth of it at k = 100
        self.pull_p, self.pull_q = torch.empty_like(self.P), torch.empty_like(self.Q)

    def _frozen(self, train: Ratings, rest: torch.Tensor, chosen: np.ndarray) -> _Batch:
        shape = train.n_users, train.n_items
        users, items = train.users[chosen], train.items[chosen].astype(np.int32)
        starts = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=shape[0]))]).astype(np.int32)
        positions = scipy.sparse.csr_array((np.arange(len(chosen)), items, starts), shape=shape)
        transposed = positions.tocsc()
        ends, columns, turned_starts, turned_users, order = (
            torch.from_numpy(part).to(self.device)
            for part in (starts, items, transposed.indptr, transposed.indices, transposed.data)
        )
        values = rest.index_select(0, torch.from_numpy(chosen).to(self.device))
        rows_p, rows_q = self._tensor(np.diff(starts)[:, None]), self._tensor(np.diff(transposed.indptr)[:, None])
        keep_p, keep_q = 1 - self.steps_p * self.regs_p * rows_p, 1 - self.steps_q * self.regs_q * rows_q
        return _Batch(csr_tensor(ends, columns, values, shape), turned_starts, turned_users, order, keep_p, keep_q)

    def step(self) -> float:
        P, Q = self.P, self.Q
        total = torch.zeros((), device=self.device)
        for number in self.shuffling.permutation(self.n_batches):
            batch = self.batches[number]
            # e = r - p·q where there is a rating, then Σ e q for each user and Σ e p for each item
            E = torch.sparse.sampled_addmm(batch.ratings, P, Q.T, alpha=-1)
            errors = E.values()
            # not csr_tensor: a filter of warnings in each step cost 7 % of it
            turned = errors.index_select(0, batch.order)
            Et = torch.sparse_csr_tensor(
                batch.starts, batch.users, turned, size=(len(Q), len(P)), check_invariants=False
            )
            torch.mm(E, Q, out=self.pull_p)
            torch.mm(Et, P, out=self.pull_q)
            P.mul_(batch.keep_p).addcmul_(self.pull_p, self.steps_p)
            Q.mul_(batch.keep_q).addcmul_(self.pull_q, self.steps_q)
            if self.biased:  # whole rows have moved, the columns of ones with them
                P[:, self.k + 1] = 1
                Q[:, self.k] = 1
            total += errors @ errors
        return (total.item() / self.n_ratings) ** 0.5

    def mean_error(self, factors: Factors) -> float:
        """The same from the batches as they lie; of very many ratings, from some batches, which are random."""
        some = self.batches[: max(1, CHUNK * self.n_batches // self.n_ratings)]
        errors = [torch.sparse.sampled_addmm(batch.ratings, self.P, self.Q.T, alpha=-1).values() for batch in some]
        return sum(each.abs().sum().item() for each in errors) / sum(map(len, errors))
