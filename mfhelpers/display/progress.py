"""Progress bars on what takes over two seconds."""

from __future__ import annotations

import os
from typing import Any

from tqdm.auto import tqdm

SECONDS_BEFORE_A_BAR = 2


def progress(iterable: Any = None, *, show: bool = True, **options: Any) -> tqdm:
    """A tqdm bar that appears only if the work takes over two seconds, and goes when it is done.

    Parameters
    ----------
    iterable : iterable, optional
        What to loop over; without one, call `update` on the bar.
    show : bool
        False switches this bar off. The environment variable MFHELPERS_PROGRESS=0 switches all off,
        and nothing else; tqdm's own TQDM_DISABLE does not reach notebooks.
    **options
        `total`, `desc`, `unit` … as in tqdm.
    """
    hidden = not show or os.environ.get("MFHELPERS_PROGRESS") == "0"
    return tqdm(iterable, disable=hidden, delay=SECONDS_BEFORE_A_BAR, leave=False, **options)
