"""Rich output where there is a notebook, plain text elsewhere."""

from __future__ import annotations

import sys
from typing import Any


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
