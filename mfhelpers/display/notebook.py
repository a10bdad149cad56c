"""Rich output where there is a notebook, plain text elsewhere."""

from __future__ import annotations

import sys
from typing import Any


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def printable(text: str) -> str:
    """`text` with plain letters for those that the console does not have, such as × where it is one of Windows'."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("×", "x").replace("…", "...").encode(encoding, "replace").decode(encoding)
    return text


def show(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    """Display a MIME bundle in a notebook; print its text/plain part elsewhere."""
    if in_notebook():
        from IPython.display import display

        display(data, metadata=metadata or {}, raw=True)
    else:
        print(data["text/plain"])
