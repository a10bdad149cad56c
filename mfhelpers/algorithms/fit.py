"""The training loop that all gradient models share."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ..data.arguments import require_one_each, whole_number
from ..data.files import replacing
from ..data.ratings import Ratings, require_same_labels
from ..display.progress import progress as progress_bar
from ..display.tensorboard import Logbook, even_sample
from ..models.modules import modes_kept
from ..models.penalty import Penalty
from .devices import choose_device
from .loop import DivergenceError, History, hopeless, map_columns

Optimizer = torch.optim.Optimizer

CHARGED = ("user_factors", "item_factors", "user_biases", "item_biases")
EVALUATION_CHUNK = 1 << 18  # pairs scored at a time when an epoch is judged


def fit(
    model: nn.Module,
    train: Ratings,
    valid: Ratings | None = None,
    *,
    epochs: int = 20,
    batch_size: int = 1024,
    optimizer: Optimizer | Callable[..., Optimizer] | None = None,
    lr: float | None = None,
    reg: float | Penalty = 0.0,
    schedule: Callable[[Optimizer], Any] | None = None,
    schedule_every: str = "epoch",
    patience: int | None = None,
    device: str | torch.device = "auto",
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    resume: bool = False,
    log_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> History:
    """Train a model in place on batches of shuffled ratings.

    The loss of a batch is its mean squared error, plus for each rating its share of the penalty `reg`
    for the rows that it looks up: so in the mean over all batches, 1 / n_ratings times the `objective`.

    Users and items without a training rating get rows of zeros first: see
    `MatrixFactorization.forget_unseen`. Each epoch runs in training mode and is judged in
    evaluation mode; the model's own mode is restored at the end. Interrupting (Ctrl-C, or ■ in a
    notebook) ends the training and keeps the model as it is, or with `patience` as it was in its
    best epoch.

    Parameters
    ----------
    model : module with forward(user, item), as in `mfhelpers.models`
        It is back on the CPU afterwards only if it was trained there.
    train, valid : Ratings
        `valid` is judged after every epoch and never trained on.
    epochs : int
        At most so many.
    batch_size : int
        Ratings in a step. The last batch of an epoch may be smaller.
    optimizer : a torch optimiser class, a function (parameters, lr=…) -> optimiser, or an optimiser
        Default: Adam, or SparseAdam for a model with sparse gradients. A ready optimiser brings its
        own learning rate; a function may.
    lr : float, optional
        Learning rate; default 0.005 for an optimiser class, a function's own for a function.
    reg : float or Penalty
        λ of a penalty of λ for each rating, or any `Penalty`. It charges for the rows that `forward` looks
        up in embeddings named user_factors, item_factors, user_biases and item_biases. It leaves other
        rows alone, unlike an optimiser's weight_decay.
    schedule : function of an optimiser, returns a scheduler of torch.optim.lr_scheduler, optional
        Such as ``lambda optimizer: CosineAnnealingLR(optimizer, T_max=20)``. One that steps by a metric
        (ReduceLROnPlateau) gets the validation RMSE, or without validation data the training RMSE.
    schedule_every : {"epoch", "batch"}
        After what the scheduler makes a step.
    patience : int, optional
        Stop when `valid` has not improved for so many epochs, and restore the best epoch. Needs `valid`.
    device : "auto", "cpu", "cuda", "mps" or torch.device
        "auto" takes a GPU if there is one and a step is large enough to be worth it;
        `History.device_reason` says why it chose.
    seed : int
        Of the shuffling, and of what the model draws in training, as dropout does; PyTorch's global
        generator is left as it was.
    checkpoint : path, optional
        File to write before the first epoch and after every one: a temporary one first, then renamed.
    resume : bool
        Continue from `checkpoint` if that file exists, with the same settings but for `epochs`. On
        the CPU the result equals that of an uninterrupted run bit for bit.
    log_dir : path, optional
        A new folder for TensorBoard's event files: after every epoch both RMSEs, seconds, learning rate, and
        histograms of all parameters and of predictions (of `valid`, or else of `train`); at the end the settings
        with the best RMSE, and the factors of the items with their titles for the projector. With `resume`, the
        folder of the training that is continued.
    progress : bool
        Show a bar for what takes over two seconds.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        For settings that do not fit together, a penalty that would charge for nothing, data larger than
        the model, parts that are numbered differently, predictions that are not one finite number a pair,
        a checkpoint of another training, or a `log_dir` that holds another run; before anything is trained.
    OSError
        When `log_dir` cannot be written, or the checkpoint: before anything is trained, or with `patience` after
        restoring the best epoch.
    DivergenceError
        When the training RMSE stops being a number or exceeds 100 times the rating scale; the
        message names epoch, learning rate and error. The model is left as it was one epoch before.
    """
    epochs, batch_size, seed = map(whole_number, ("epochs", "batch_size", "seed"), (epochs, batch_size, seed))
    patience = None if patience is None else whole_number("patience", patience)
    lr = None if lr is None else float(lr)
    penalty = Penalty.of(reg)
    _check_settings(model, train, valid, epochs, batch_size, optimizer, lr, patience, checkpoint, resume)
    if schedule_every not in ("epoch", "batch"):
        raise ValueError(f"schedule_every={schedule_every!r}: choose 'epoch' or 'batch'")
    if (penalty.reg or penalty.biases) and not _charged_tables(model):
        raise ValueError(f"reg={reg}: {type(model).__name__} has no embedding named {', '.join(CHARGED)} to charge for")
    target, reason = choose_device(device, min(batch_size, len(train)), model)
    moved = any(parameter.device != target for parameter in model.parameters())
    model.to(target)
    optimizer = _ready_optimizer(model, optimizer, lr, moved)
    # after the optimiser: its first rate is what the scheduler starts from
    scheduler = _made(schedule, optimizer)
    if schedule_every == "batch" and isinstance(scheduler, ReduceLROnPlateau):
        raise ValueError("schedule_every='batch': ReduceLROnPlateau steps by the RMSE of an epoch; choose 'epoch'")
    by_batch = scheduler if schedule_every == "batch" else None
    shares = _shares(penalty, train, target)

    data = train.to_tensors(target)
    held_out = valid.to_tensors(target) if valid is not None else None
    shuffling = torch.Generator().manual_seed(seed)
    history = History(n_train=len(train), device=str(target), device_reason=reason)
    path = identity = None
    if checkpoint is not None:
        path = Path(checkpoint)
        identity = _identity(
            model, train, valid, batch_size, seed, patience, penalty, optimizer, scheduler, schedule_every
        )
    resumed = resume and path.exists()
    log = None if log_dir is None else Logbook(log_dir, resumed)
    rates = _rates(optimizer)  # those in the checkpoint may be a schedule's
    with modes_kept(model), _ids_unchecked(model):
        if resumed:
            history, best = _restore(path, identity, model, optimizer, scheduler, shuffling)
            history.device, history.device_reason, history.stopped = str(target), reason, "finished"
        else:
            _require_charged(model, shares, data)
            if getattr(model, "mean_from_train", False):
                model.mean.fill_(float(train.values.mean(dtype="float64")))
                model.mean_from_train = torch.zeros_like(model.mean, dtype=torch.bool)
            if hasattr(model, "forget_unseen"):
                model.forget_unseen(train)
            _judge(history, model, data, held_out, 0.0)
            for judged in history.train_rmse + history.valid_rmse:
                if not math.isfinite(judged):
                    raise ValueError(f"the model's first predictions are not finite (RMSE {judged}): make a new model")
            # the start may remain the best
            best = copy.deepcopy(model.state_dict()) if patience is not None else None

        if log is not None:
            settings = {"model": type(model).__name__, "n_factors": getattr(model, "n_factors", 0),
                        "optimizer": type(optimizer).__name__, "lr": rates, "batch_size": batch_size,
                        "epochs": epochs, "seed": seed, **penalty.settings()}  # fmt: skip
        limit = hopeless(train)
        bar = progress_bar(show=progress, initial=history.epochs, total=epochs, unit="epoch")
        try:
            if path is not None:  # before the first epoch too: a path that cannot be written shows now
                _save(path, identity, model, optimizer, scheduler, shuffling, history, best)
            if log is not None:  # after what may be refused: a folder without a run can be taken again
                log.begin(history.epochs, resumed)
                if not history.epochs:
                    _note(log, history, model, held_out or data, optimizer)
            while history.epochs < epochs and not _out_of_patience(history, patience):
                before = copy.deepcopy(model.state_dict())
                with _reproducible(seed, history.epochs, target):
                    seconds = _epoch(model, optimizer, data, batch_size, shuffling, shares, by_batch)
                _judge(history, model, data, held_out, history.seconds[-1] + seconds)
                if not history.train_rmse[-1] <= limit:
                    model.load_state_dict(before)
                    raise DivergenceError(
                        f"diverged in epoch {history.epochs} at learning rate {_rates(optimizer)}: "
                        f"training RMSE {history.train_rmse[-1]:.3g}. Try a tenth of the learning rate."
                    )
                if log is not None:  # before the schedule: the rate that the epoch had
                    _note(log, history, model, held_out or data, optimizer)
                if scheduler is not None and by_batch is None:
                    _step_schedule(scheduler, history)
                if patience is not None and history.best_epoch == history.epochs:
                    best = copy.deepcopy(model.state_dict())
                if path is not None:
                    _save(path, identity, model, optimizer, scheduler, shuffling, history, best)
                rmse = (history.valid_rmse or history.train_rmse)[-1]
                bar.set_postfix_str(f"RMSE {rmse:.3f}", refresh=False)
                bar.update()
            if _out_of_patience(history, patience):
                history.stopped = "early"
        except KeyboardInterrupt:
            history.stopped = "interrupted"
            print(f"interrupted in epoch {history.epochs + 1}: the model so far is kept")
        except DivergenceError:
            best = None  # the epoch before is what the error promises
            raise
        finally:
            bar.close()
            if best is not None:
                model.load_state_dict(best)
            if log is not None:
                log.close(history, settings, _item_factors(model, train), map_columns(train))
    return history


# -- one epoch -------------------------------------------------------------------------------------


@contextmanager
def _ids_unchecked(model: nn.Module) -> Iterator[None]:
    """Spare a model the look at all numbers in every step: those of both parts are known to be in range."""
    if not hasattr(model, "check_ids"):
        yield
        return
    kept, model.check_ids = model.check_ids, False
    try:
        yield
    finally:
        model.check_ids = kept


def _epoch(
    model: nn.Module,
    optimizer: Optimizer,
    data: tuple[torch.Tensor, ...],
    batch_size: int,
    shuffling: torch.Generator,
    shares: dict[str, torch.Tensor],
    scheduler: Any,
) -> float:
    """One pass over the ratings in a new order; returns the seconds it took."""
    users, items, values = data
    model.train()
    started = time.perf_counter()
    # the order is drawn on the CPU, so that it is the same on every device
    order = torch.randperm(len(values), generator=shuffling).to(values.device)
    # gathered once: slices of three arrays cost less than three gathers a batch
    batches = (column.index_select(0, order).split(batch_size) for column in (users, items, values))
    with _looked_up(model, shares) as rows:
        for user, item, value in zip(*batches, strict=True):
            optimizer.zero_grad()
            loss = (model(user, item) - value).square().mean()
            for table, ids, looked_up in rows:
                loss = loss + (shares[table][ids] * looked_up.square().sum(-1)).sum() / len(value)
            rows.clear()
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
    if values.device.type == "cuda":
        torch.cuda.synchronize(values.device)
    return time.perf_counter() - started


def _shares(penalty: Penalty, train: Ratings, device: torch.device) -> dict[str, torch.Tensor]:
    """λ n^(α-1) of every row, by table; nothing if nothing is charged."""
    if not (penalty.reg or penalty.biases):
        return {}
    shares = {}
    for side, counts in (("user", train.user_counts), ("item", train.item_counts)):
        share = torch.tensor(penalty.per_rating(counts), dtype=torch.float32, device=device)
        shares[f"{side}_factors"], shares[f"{side}_biases"] = penalty.reg * share, penalty.biases * share
    return shares


def _charged_tables(model: nn.Module) -> dict[str, nn.Module]:
    return {name: table for name, table in model.named_children() if name in CHARGED}


@torch.no_grad()
def _require_charged(model: nn.Module, shares: dict[str, torch.Tensor], data: tuple[torch.Tensor, ...]) -> None:
    """Raise ValueError if `forward` takes rows of a table past the table, where nothing can be charged."""
    if not shares:
        return
    with modes_kept(model), _looked_up(model, shares) as rows:
        model.eval()
        model(data[0][:1], data[1][:1])
    missed = sorted(set(_charged_tables(model)) - {name for name, *_ in rows})
    if missed:
        raise ValueError(
            f"the penalty cannot charge for {', '.join(missed)}: forward does not call it, as in self.{missed[0]}(user)"
        )


@contextmanager
def _looked_up(model: nn.Module, shares: dict[str, torch.Tensor]) -> Iterator[list]:
    """A list to which each lookup in a charged table adds (its name, the numbers, the rows)."""
    rows: list = []
    tables = _charged_tables(model) if shares else {}
    hooks = [
        table.register_forward_hook(
            lambda _, given, named, output, name=name: rows.append((name, *given, *named.values(), output)),
            with_kwargs=True,
        )
        for name, table in tables.items()
    ]
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _reproducible(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Let what a model draws by itself, as dropout does, depend on seed and epoch, not on what ran before."""
    start = (1_000_003 * seed + epoch) % 2**64
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        # not torch.manual_seed, which moves the generators of all devices
        torch.default_generator.manual_seed(start)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(start)
        elif device.type != "cpu":
            getattr(torch, device.type).manual_seed(start)
        yield


def _step_schedule(scheduler: Any, history: History) -> None:
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step((history.valid_rmse or history.train_rmse)[-1])
    else:
        scheduler.step()


@torch.no_grad()
def _pooled_rmse(model: nn.Module, data: tuple[torch.Tensor, ...]) -> float:
    total = 0.0
    for users, items, values in zip(*(column.split(EVALUATION_CHUNK) for column in data), strict=True):
        predicted = model(users, items)
        require_one_each("forward", predicted.shape, len(values))
        total += (predicted - values).square().sum().item()
    return (total / len(data[2])) ** 0.5


def _judge(history: History, model: nn.Module, data: tuple, held_out: tuple | None, seconds: float) -> None:
    model.eval()
    # all is measured before any is noted: an interruption leaves lists of one length
    train_rmse = _pooled_rmse(model, data)
    valid_rmse = [] if held_out is None else [_pooled_rmse(model, held_out)]
    history.train_rmse.append(train_rmse)
    history.valid_rmse += valid_rmse
    history.seconds.append(seconds)


@torch.no_grad()
def _note(log: Logbook, history: History, model: nn.Module, shown: tuple[torch.Tensor, ...], optimizer: Any) -> None:
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    names = ["learning rate"] if len(rates) == 1 else [f"learning rate/{n}" for n in range(len(rates))]
    tables = {name.removesuffix(".weight"): _array(table) for name, table in model.named_parameters()}
    some = even_sample(len(shown[2]))
    model.eval()
    predictions = _array(model(shown[0][some], shown[1][some]))
    log.epoch(history.epochs, history.last() | dict(zip(names, rates, strict=True)), tables, predictions)


def _item_factors(model: nn.Module, train: Ratings) -> np.ndarray | None:
    """What the projector can show, if the model calls it by our name."""
    table = getattr(getattr(model, "item_factors", None), "weight", None)
    return _array(table) if table is not None and len(table) >= train.n_items else None


def _array(table: torch.Tensor) -> np.ndarray:
    table = table.detach().cpu()
    return table.to(torch.promote_types(table.dtype, torch.float32)).numpy()  # NumPy has no bfloat16


def _out_of_patience(history: History, patience: int | None) -> bool:
    return patience is not None and history.epochs - history.best_epoch >= patience


# -- checks before the start -----------------------------------------------------------------------


def _check_settings(model, train, valid, epochs, batch_size, optimizer, lr, patience, checkpoint, resume) -> None:
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs={epochs}, batch_size={batch_size}: both must be at least 1")
    if lr is not None and not lr > 0:
        raise ValueError(f"lr={lr}: the learning rate must be above 0")
    if isinstance(optimizer, Optimizer) and lr is not None:
        raise ValueError("lr= and a ready optimiser contradict each other: the optimiser has a learning rate")
    if patience is not None and (valid is None or patience < 1):
        raise ValueError(f"patience={patience}: early stopping needs validation ratings and a patience of 1 or more")
    if resume and checkpoint is None:
        raise ValueError("resume=True needs checkpoint=, the file to continue from")
    if isinstance(optimizer, Optimizer):
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not trained & {id(p) for p in model.parameters()}:
            raise ValueError("this optimiser holds none of the model's parameters: was it made for an earlier model?")
    for part in (train, valid):
        for n in ("n_users", "n_items"):
            if part is not None and hasattr(model, n) and getattr(part, n) > getattr(model, n):
                raise ValueError(f"the ratings have {n}={getattr(part, n)}, the model only {getattr(model, n)}")
    if valid is not None:
        require_same_labels(train, valid)


def _ready_optimizer(model: nn.Module, optimizer: Any, lr: float | None, moved: bool) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        if moved:  # the parameters have a new device, what the optimiser keeps of each has not
            optimizer.load_state_dict(optimizer.state_dict())
    else:
        if optimizer is None:
            optimizer = torch.optim.SparseAdam if getattr(model, "sparse", False) else torch.optim.Adam
        if lr is None and isinstance(optimizer, type):
            lr = 0.005
        optimizer = optimizer(model.parameters(), **({} if lr is None else {"lr": lr}))
    return optimizer


def _made(schedule: Any, optimizer: Optimizer) -> Any:
    if schedule is None:
        return None
    if not callable(schedule):
        kind = type(schedule).__name__
        raise ValueError(f"schedule={kind}: give a function, schedule=lambda optimizer: {kind}(optimizer, …)")
    scheduler = schedule(optimizer)
    if not hasattr(scheduler, "step"):
        raise ValueError(f"schedule returned {scheduler!r}, which is no scheduler: does it return one?")
    return scheduler


def _rates(optimizer: Optimizer) -> str:
    return ", ".join(sorted({f"{float(group['lr']):g}" for group in optimizer.param_groups}))


# -- checkpoints -----------------------------------------------------------------------------------


def _identity(
    model, train, valid, batch_size, seed, patience, penalty, optimizer, scheduler, schedule_every
) -> dict[str, Any]:
    """What must agree for a checkpoint to be continued.

    The settings of optimiser and schedule too, learning rate first: those in the file would silently
    replace the new ones. And whether there is early stopping: without it no best epoch is kept up to date.
    """
    sums = [hashlib.sha256(part.users.tobytes() + part.items.tobytes() + part.values.tobytes()).hexdigest()
            for part in (train, valid) if part is not None]  # fmt: skip
    groups = optimizer.param_groups
    settings = {key: [group[key] for group in groups] for key in groups[0] if key != "params"}
    shapes = _shapes(model.state_dict())
    dropout = [part.p for part in model.modules() if isinstance(part, nn.Dropout)]
    schedule = {}
    if scheduler is not None:
        started = {f"schedule's {key}": value for key, value in scheduler.state_dict().items()}
        schedule = {"schedule_every": schedule_every, **started}
    return _plain({"model": type(model).__name__, "shapes": shapes, "dropout": dropout, "data": sums,
            "batch_size": batch_size, "seed": seed, "reg": dataclasses.astuple(penalty),
            "schedule": type(scheduler).__name__, "optimizer": type(optimizer).__name__,
            "early stopping": patience is not None, **settings, **schedule})  # fmt: skip


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's: a checkpoint with the former could not be read again."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (dict, Counter):
        return type(value)({_plain(key): _plain(part) for key, part in value.items()})
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _shapes(weights: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in weights.items()}


def _save(path: Path, identity, model, optimizer, scheduler, shuffling, history: History, best) -> None:
    state = {
        "identity": identity,
        "model": model.state_dict(),
        "optimizer": _plain(optimizer.state_dict()),
        "schedule": _plain(scheduler.state_dict()) if scheduler is not None else None,
        "shuffling": shuffling.get_state(),
        "history": dataclasses.asdict(history),
        "best": best,
    }
    try:
        with replacing(path) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # PyTorch's own writer raises the second for a full disk
        raise OSError(
            f"the checkpoint {path} cannot be written ({error}): choose a file in a folder that you can write"
        ) from error


def _restore(path: Path, identity, model, optimizer, scheduler, shuffling) -> tuple[History, dict | None]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        stored = state["identity"]
        different = [key for key in identity if identity[key] != stored.get(key)]
        if not different:
            # all that may fail comes before the model is touched
            history, best = History(**state["history"]), state["best"]
            for weights in (state["model"], best or state["model"]):
                if _shapes(weights) != identity["shapes"]:
                    raise ValueError("its weights have other shapes than it says")
            if not 0 < len(history.train_rmse) == len(history.seconds):
                raise ValueError("its history has gaps")
            shuffling.set_state(state["shuffling"])
            optimizer.load_state_dict(state["optimizer"])
            if scheduler is not None:
                scheduler.load_state_dict(state["schedule"])
    except Exception as error:
        raise ValueError(f"{path} is not a checkpoint of fit, or is damaged: {error!r}") from error
    if different:
        key = different[0]
        raise ValueError(
            f"{path} belongs to another training: its {key} is {stored.get(key)}, here it is {identity[key]}"
        )
    model.load_state_dict(state["model"])
    return history, best
