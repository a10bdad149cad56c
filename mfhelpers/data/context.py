"""What a prediction may depend on besides the numbers of user and item: when, and what is known of both."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .arguments import require_memory
from .encoding import Encoding, features
from .interactions import Interactions

# one of the first for each pair, the others tables with a row for each user or item
TIMES, TABLES = "timestamps", ("user_features", "item_features")
NAMES = (TIMES, *TABLES)


def asked_for(function: Callable[..., Any]) -> tuple[str, ...]:
    """Which of `timestamps`, `user_features` and `item_features` a function takes by these names, with a default or without."""
    try:
        taken = inspect.signature(function).parameters
    except (TypeError, ValueError):  # what has no signature asks for nothing
        return ()
    by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return tuple(name for name in NAMES if name in taken and taken[name].kind in by_name)


def tables_of(part: Interactions, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Those of the two tables that are asked for, as `mf.features` and `Encoding` make them: float32, shape (n, columns).

    Raises
    ------
    ValueError
        If the ratings have no such features.
    """
    names = [name for name in names if name in TABLES]
    if not names:
        return {}
    found = {}
    for name, frame in zip(TABLES, features(part), strict=True):
        if name not in names:
            continue
        if frame is None:
            what = name.replace("_", " ")
            raise ValueError(f"{part} have no {what}, which the model asks for: from_arrays(…, {name}=) takes some")
        encoding = Encoding.of(frame, name)
        require_memory(f"{name} of {part}", len(frame) * len(encoding.names), 4)
        found[name] = encoding.encode(frame, name).astype(np.float32).toarray()
    return found


def times_of(part: Interactions, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The timestamps if they are asked for; a ValueError if there are none."""
    if TIMES not in names:
        return {}
    if part.timestamps is None:
        raise ValueError(f"{part} has no timestamps, which the model asks for: from_arrays(…, timestamps=) takes them")
    return {TIMES: part.timestamps}


def context_for(predictor: Any, part: Interactions) -> dict[str, np.ndarray]:
    """What the `predict` of any predictor asks for of a part; one that was trained with tables has them already."""
    tables = () if hasattr(predictor, "feature_tables") else asked_for(predictor.predict)
    times = (TIMES,) if asks_for_times(predictor) else ()
    return times_of(part, times) | tables_of(part, tables)


def asks_for_times(predictor: Any) -> bool:
    """Whether a predictor needs moments; a `PairModel`, whose `predict` always takes them, says so itself."""
    said = getattr(predictor, "asks_for_times", None)
    return said if isinstance(said, bool) else TIMES in asked_for(predictor.predict)
