"""Stochastic gradient descent with the gradients written out by hand: three engines, one objective.

All three descend on Σ (r - r̂)² + penalty, r̂_ui = μ + b_u + b_i + p_u · q_i. What differs is how many
ratings share one step, and with it the speed: on one core some 5·10⁴, 4·10⁶ and over 10⁷ ratings a second.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from ..data.arguments import whole_number
from ..data.ratings import Ratings
from ..display.progress import progress as progress_bar
from ..models.factors import CHUNK, Factors, drawn
from ..models.penalty import Penalty
from .devices import choose_device
from .loop import DivergenceError, hopeless
from .sparse import LANES, csr_tensor

ENGINES = ("frozen", "minibatch", "loop")
MOST_OF_THE_WAY = 0.5  # what one step may take of the way to the mean of a row's errors
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
    device: str | torch.device = "cpu",
    watch: Callable[[Factors], Any] | None = None,
    progress: bool = True,
) -> Factors:
    """Fit a factorisation by gradient descent and return its five arrays.

    Each rating moves p_u by lr · (e q_i - λ p_u), and q_i, b_u, b_i likewise; the ratings of a batch
    move together, by the sum of their steps. Interrupting (Ctrl-C, or ■ in a notebook) ends the
    training and returns the factors so far.

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
    device : str or torch.device
        For the two batched engines: "cpu", "cuda", or "auto" as in `fit`.
    watch : function of Factors, optional
        Called after every epoch, for a learning curve.
    progress : bool
        Show a bar for what takes over two seconds.

    Returns
    -------
    Factors
        float64 from "loop", float32 from the others.

    Raises
    ------
    ValueError
        For settings that do not fit together, before anything is trained.
    DivergenceError
        When errors stop being numbers or exceed 100 times the rating scale.

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
    n_factors, epochs, seed = map(whole_number, ("n_factors", "epochs", "seed"), (n_factors, epochs, seed))
    penalty, lr = Penalty.of(reg), float(lr)
    batch_size = checked(train, n_factors, epochs, lr, engine, batch_size, order, start, seed)
    if start is None:
        start = drawn(train, n_factors, float(init_std), seed)
    shuffling = np.random.default_rng([seed, 1])  # not the numbers that drew the factors
    device = _device(device, engine, min(batch_size, len(train)), start)
    if engine == "loop":
        steps = _Loop(train, start, lr, penalty, biased, order, shuffling)
    else:
        kind = Minibatch if engine == "minibatch" else _Frozen
        steps = kind(train, start, lr, penalty, biased, batch_size, shuffling, device)

    limit, epoch = hopeless(train), 1
    bar = progress_bar(range(1, epochs + 1), show=progress, unit="epoch")
    try:
        for epoch in bar:
            rmse = steps.epoch()
            if not rmse <= limit:
                raise DivergenceError(
                    f"diverged in epoch {epoch} at learning rate {lr:g}: errors of {rmse:.3g} stars. "
                    "Try a tenth of the learning rate."
                )
            if watch is not None:
                watch(sound(steps, train, lr))
    except KeyboardInterrupt:
        print(f"interrupted in epoch {epoch}: the factors so far are kept")
    finally:
        bar.close()
    return sound(steps, train, lr)


def sound(steps: Any, train: Ratings, lr: float) -> Factors:
    """The factors of an engine, if they predict ratings: the error of an epoch is measured before its steps."""
    try:
        factors = steps.factors()
        error = steps.error(factors, train)
    except ValueError:  # Factors refuses what is not finite
        error = np.nan
    if not error <= hopeless(train):
        raise DivergenceError(
            f"diverged at learning rate {lr:g}: errors of {error:.3g} stars. Try a tenth of it, or a smaller penalty."
        )
    return factors


def _device(device: str | torch.device, engine: str, batch_size: int, start: Factors) -> torch.device:
    chosen, _ = choose_device(device, batch_size, start)
    if device == "auto" and engine == "loop":
        return torch.device("cpu")
    if engine == "loop" and chosen.type != "cpu":
        raise ValueError(f"device={str(device)!r}: engine='loop' runs on the CPU; choose 'minibatch' or 'frozen'")
    if engine == "frozen" and chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device={str(device)!r} has no sparse products: choose engine='minibatch'")
    return chosen


def checked(
    train: Ratings,
    n_factors: int,
    epochs: int,
    lr: float,
    engine: str,
    batch_size: int | None,
    order: str,
    start: Factors | None,
    seed: int,
) -> int:
    """Refuse what cannot be trained, with a ValueError; return the batch size."""
    if seed < 0:
        raise ValueError(f"seed={seed}: a seed is a whole number from 0")
    if start is not None and not isinstance(start, Factors):
        raise ValueError(f"start={type(start).__name__}: give Factors, such as model.to_factors()")
    if n_factors < 0 or epochs < 1:
        raise ValueError(f"n_factors={n_factors}, epochs={epochs}: factors from 0, epochs from 1")
    if not 0 < lr < float("inf"):
        raise ValueError(f"lr={lr}: the learning rate must be above 0 and finite")
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: choose {', '.join(map(repr, ENGINES))}")
    if order not in ("shuffled", "surprise"):
        raise ValueError(f"order={order!r}: choose 'shuffled' or 'surprise'")
    if engine != "loop" and order == "surprise":
        raise ValueError(f"order='surprise' goes through the ratings one by one: engine='loop', not {engine!r}")
    if engine == "loop" and batch_size is not None:
        raise ValueError(f"batch_size={batch_size}: engine='loop' takes one rating at a time")
    if start is not None and (start.n_users, start.n_items, start.n_factors) != (
        train.n_users,
        train.n_items,
        n_factors,
    ):
        raise ValueError(f"start={start} does not fit {train} with n_factors={n_factors}")
    if batch_size is None:
        return 4096 if engine == "minibatch" else min(max(len(train) // 32, 1 << 14), 1 << 19)
    batch_size = whole_number("batch_size", batch_size)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: a step needs at least one rating")
    batches, rows = -(-len(train) // batch_size), train.n_users + train.n_items
    if engine == "frozen" and batches * rows > MOST_KEPT:
        raise ValueError(
            f"batch_size={batch_size}: each of {batches:,} frozen batches keeps {rows:,} numbers; "
            "take larger ones, or engine='minibatch'"
        )
    return batch_size


class _Engine:
    """What all engines share."""

    def error(self, factors: Factors, train: Ratings) -> float:
        """Mean absolute error on the training ratings, or on an even sample of very many."""
        some = slice(None, None, -(-len(train) // CHUNK))
        errors = factors.predict(train.users[some], train.items[some]) - train.values[some]
        return np.abs(errors).mean(dtype=np.float64)


class _Loop(_Engine):
    """One rating at a time."""

    def __init__(self, train, start, lr, penalty, biased, order, shuffling) -> None:
        self.mean, self.lr, self.biased, self.shuffling = start.mean, lr, biased, shuffling
        # lists for single numbers, which NumPy is slow at
        self.b_u, self.b_i = (getattr(start, f"{side}_biases").astype(np.float64).tolist() for side in ("user", "item"))
        self.P, self.Q = (getattr(start, f"{side}_factors").astype(np.float64) for side in ("user", "item"))
        shares = [penalty.per_rating(counts) for counts in (train.user_counts, train.item_counts)]
        self.reg_p, self.reg_q = ((penalty.reg * share).tolist() for share in shares)
        self.reg_u, self.reg_i = ((penalty.biases * share).tolist() for share in shares)
        if order == "surprise":
            _, first, number = np.unique(train.users, return_index=True, return_inverse=True)
            train = train[np.argsort(first[number], kind="stable")]
            self.shuffling = None
        self.columns = train.users, train.items, train.values.astype(np.float64)

    @np.errstate(over="ignore", invalid="ignore")  # a divergence is told by its error alone
    def epoch(self) -> float:
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
        return Factors(self.mean, np.array(self.b_u), np.array(self.b_i), self.P, self.Q)


class _Batched(_Engine):
    """What both batched engines keep: P = [p | b_u | 1 | 0…] and Q = [q | 1 | b_i | 0…]."""

    def __init__(self, train, start, lr, penalty, biased, batch_size, shuffling, device) -> None:
        self.start, self.biased, self.shuffling, self.device = start, biased, shuffling, device
        self.k = k = start.n_factors
        self.n_ratings, self.n_batches = len(train), -(-len(train) // batch_size)
        ones = [np.ones((n, 1)) for n in (train.n_users, train.n_items)]
        sides = [
            [start.user_factors, start.user_biases[:, None], ones[0]],
            [start.item_factors, ones[1], start.item_biases[:, None]],
        ]
        self.P, self.Q = (self._table(side if biased else side[:1]) for side in sides)
        counts = train.user_counts, train.item_counts
        self.steps_p, self.steps_q = (_once(self._steps(n, lr)) for n in counts)
        self.regs_p, self.regs_q = (_once(self._regs(n, k + side, penalty)) for side, n in enumerate(counts))

    def _table(self, columns: list[np.ndarray]) -> torch.Tensor:
        width = sum(column.shape[1] for column in columns)
        columns = [*columns, np.zeros((len(columns[0]), -width % LANES))]
        return self._tensor(np.hstack(columns))

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, dtype=torch.float32, device=self.device)

    def _rest(self, train: Ratings) -> torch.Tensor:
        """What P and Q are to explain: biases that are not trained are taken off beforehand."""
        rest = train.values - self.start.mean
        if not self.biased:
            rest = rest - self.start.user_biases[train.users] - self.start.item_biases[train.items]
        return self._tensor(rest)

    def _steps(self, counts: np.ndarray, lr: float) -> torch.Tensor:
        """Each row's learning rate, shape (n, 1): smaller where a batch holds many of its ratings."""
        in_a_batch = np.maximum(counts, 1) / self.n_batches
        return self._tensor(np.minimum(lr, MOST_OF_THE_WAY / in_a_batch)[:, None])

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
            user_biases, item_biases = (
                getattr(self.start, f"{side}_biases").astype(np.float32) for side in ("user", "item")
            )
        return Factors(self.start.mean, user_biases, item_biases, P[:, :k], Q[:, :k])


def _once(rows: torch.Tensor) -> torch.Tensor:
    """One row where all are equal, as they mostly are: it need not be looked up."""
    return rows[:1].clone() if bool((rows == rows[:1]).all()) else rows


class Minibatch(_Batched):
    """Slices of a shuffled index; what belongs to one row is added up by `index_add_`."""

    def __init__(self, train, *settings) -> None:
        super().__init__(train, *settings)
        users, items, _ = train.to_tensors(self.device)
        self.columns = users, items, self._rest(train)

    def share(self, chosen: np.ndarray, seed: list[int]) -> Minibatch:
        """An engine for the `chosen` ratings alone that moves the same P and Q."""
        part = copy.copy(self)
        part.columns = tuple(column[torch.from_numpy(chosen)] for column in self.columns)
        part.n_ratings = len(chosen)
        part.n_batches = max(1, round(self.n_batches * len(chosen) / self.n_ratings))
        part.shuffling = np.random.default_rng(seed)
        return part

    def epoch(self) -> float:
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

    def __init__(self, train, *settings) -> None:
        super().__init__(train, *settings)
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
        rows = torch.from_numpy(starts).to(self.device), torch.from_numpy(items).to(self.device)
        values = rest.index_select(0, torch.from_numpy(chosen).to(self.device))
        rows_p, rows_q = self._tensor(np.diff(starts)[:, None]), self._tensor(np.diff(transposed.indptr)[:, None])
        return _Batch(
            csr_tensor(*rows, values, shape),
            *(torch.from_numpy(a).to(self.device) for a in (transposed.indptr, transposed.indices, transposed.data)),
            1 - self.steps_p * self.regs_p * rows_p,
            1 - self.steps_q * self.regs_q * rows_q,
        )

    def epoch(self) -> float:
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

    def error(self, factors: Factors, train: Ratings) -> float:
        """The same from the batches as they lie; of very many ratings, from some batches, which are random."""
        some = self.batches[: max(1, CHUNK * self.n_batches // self.n_ratings)]
        errors = [torch.sparse.sampled_addmm(batch.ratings, self.P, self.Q.T, alpha=-1).values() for batch in some]
        return sum(each.abs().sum().item() for each in errors) / sum(map(len, errors))
