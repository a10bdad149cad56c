"""Rich output where there is a notebook, plain text elsewhere."""

from __future__ import annotations

import html
import sys
from typing import Any


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


class LiveTable:
    """A table that grows before the reader's eyes: each `add` redraws it where it was first shown.

    Parameters
    ----------
    *columns : str
        Headings. Numbers are set right, and whole ones with commas.

    Attributes
    ----------
    rows : list of tuples
    """

    def __init__(self, *columns: str) -> None:
        self.columns, self.rows = columns, []
        self._place = None
        if in_notebook():
            from IPython.display import HTML, display

            self._html = HTML
            self._place = display(HTML(self._repr_html_()), display_id=True)

    def add(self, *row: Any) -> None:
        """Append a row and redraw the table; outside a notebook, print the row."""
        if len(row) != len(self.columns):
            raise ValueError(f"{len(row)} values for the {len(self.columns)} columns {', '.join(self.columns)}")
        self.rows.append(row)
        if self._place is not None:
            self._place.update(self._html(self._repr_html_()))
        else:
            print(*(_written(value) for value in row), sep="   ")

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(column)}</th>" for column in self.columns)
        body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _written(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value  # NumPy's numbers as Python's
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cell(value: Any) -> str:
    side = "left" if isinstance(value, str) else "right"
    return f'<td style="text-align: {side}">{html.escape(_written(value))}</td>'


def show(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    """Display a MIME bundle in a notebook; print its text/plain part elsewhere."""
    if in_notebook():
        from IPython.display import display

        display(data, metadata=metadata or {}, raw=True)
    else:
        print(data["text/plain"])
