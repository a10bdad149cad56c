"""What a reader sees while and after code runs: progress bars, and rich output where there is a notebook."""

from __future__ import annotations

import os
import sys
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
        for pages that are made by a machine; tqdm's own TQDM_DISABLE does not reach notebooks.
    **options
        `total`, `desc`, `unit` … as in tqdm.
    """
    hidden = not show or os.environ.get("MFHELPERS_PROGRESS") == "0"
    return tqdm(iterable, disable=hidden, delay=SECONDS_BEFORE_A_BAR, leave=False, **options)


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def show(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    """Display a MIME bundle in a notebook; print its text/plain part elsewhere."""
    if in_notebook():
        from IPython.display import display

        display(data, metadata=metadata or {}, raw=True)
    else:
        print(data["text/plain"])
