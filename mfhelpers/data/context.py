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


def asked_for(function: Callable[..., Any], part: Interactions | None = None) -> tuple[str, ...]:
    """Which of `timestamps`, `user_features` and `item_features` a function takes, by these names.

    With a part, those with a default are left out where it does not have them.
    """
    try:
        taken = inspect.signature(function).parameters
    except (TypeError, ValueError):  # what has no signature asks for nothing
        return ()
    needed = required_by(function)
    return tuple(name for name in NAMES if name in taken and (part is None or name in needed or _has(part, name)))


def required_by(function: Callable[..., Any]) -> tuple[str, ...]:
    """Those of these names without a default."""
    taken = inspect.signature(function).parameters
    return tuple(name for name in NAMES if name in taken and taken[name].default is inspect.Parameter.empty)


def _has(part: Interactions, name: str) -> bool:
    if name == TIMES:
        return part.timestamps is not None
    return part.features is not None and getattr(part.features, name.replace("_features", "s")) is not None


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
        if name in names:
            if frame is None:
                raise ValueError(f"{part} have no {name.replace('_', ' ')}, and the model asks for them")
            encoding = Encoding.of(frame, name)
            require_memory(f"{name} of {part}", len(frame) * len(encoding.names), 4)
            found[name] = encoding.encode(frame, name).toarray().astype(np.float32)
    return found


def times_of(part: Interactions, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The timestamps if they are asked for; a ValueError if there are none."""
    if TIMES not in names:
        return {}
    if part.timestamps is None:
        raise ValueError(f"{part} has no timestamps, and the model asks for them")
    return {TIMES: part.timestamps}


def context_of(part: Interactions, names: Iterable[str]) -> dict[str, np.ndarray]:
    """All that is asked for of a part."""
    names = tuple(names)
    return times_of(part, names) | tables_of(part, names)
