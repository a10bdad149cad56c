"""One style for all figures, and a way to show them with a text for those who cannot see them."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler

from .notebook import show as show_bundle

# Okabe and Ito's colours, told apart by colour-blind readers; markers and lines differ as well.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000",
)  # fmt: skip
DPI = 144  # drawn at twice the size it is shown in, for sharp text on any screen
STYLE = {
    "figure.figsize": (7.0, 4.0),
    "figure.dpi": 72,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 12.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "axes.prop_cycle": cycler(color=[BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK])
    + cycler(marker=["o", "s", "^", "D", "v", "P", "x"])
    + cycler(linestyle=["-", "--", "-.", ":", "-", "--", "-."]),
    "svg.hashsalt": "mfhelpers",
}


def use_style() -> None:
    """Make the style of the lessons the default of this process; every lesson calls it once."""
    plt.rcParams.update(STYLE)


def show(fig: Any, alt: str) -> None:
    """Show a figure once, with `alt` as its text for screen readers, and close it.

    Parameters
    ----------
    fig : matplotlib figure
    alt : str
        What the figure shows, as a finding in a sentence or two; stored with the picture.

    Raises
    ------
    ValueError
        If the text is missing, or an axis with data has no label.
    """
    if len(alt.split()) < 5:
        raise ValueError(f"alt={alt!r}: say in a sentence what the figure shows")
    for ax in fig.axes:
        labelled = ax.get_xlabel() and ax.get_ylabel()
        if ax.has_data() and ax.axison and not labelled and ax.get_label() != "<colorbar>":
            raise ValueError(
                f"the axes {ax.get_title(loc='left') or ax.get_title() or ''!r} lack a label: ax.set(xlabel=…, ylabel=…)"
            )
    buffer = io.BytesIO()
    # no software version in the file: the bytes shall not change with it
    fig.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    width = round(fig.get_size_inches()[0] * DPI / 1.5)
    plt.close(fig)
    png = base64.b64encode(buffer.getvalue()).decode()
    show_bundle({"image/png": png, "text/plain": "[figure]"}, {"image/png": {"alt": alt, "width": width}})
    # JupyterLab 4.6 and nbconvert 7.17 ignore a picture's alt text: a folded line reaches every reader
    words = f"<details><summary>The figure in words</summary>{html.escape(alt)}</details>"
    show_bundle({"text/html": words, "text/plain": alt})


def lines(series: Mapping[str, Any], x: Any = None, *, ax: Any = None, **axes: Any) -> Any:
    """Draw named lines over common places `x`, by default 0, 1, 2 …, with a legend.

    Parameters
    ----------
    series : dict from a name to values
    x : array, optional
    ax : matplotlib axes, optional
        Default: those of a new figure.
    **axes
        What `Axes.set` takes: xlabel, ylabel, title, xscale, ylim …; None changes nothing.

    Returns
    -------
    The axes; `show(ax.figure, alt=…)` shows them.
    """
    ax = plt.subplots()[1] if ax is None else ax
    for name, values in series.items():
        places = range(len(values)) if x is None else x
        ax.plot(places, values, label=name, markevery=max(1, len(values) // 12))
    ax.set(**_given(axes))
    ax.legend()
    return ax


def dots(table: Any, *, ax: Any = None, **axes: Any) -> Any:
    """Draw the columns of a data frame as rows of dots, one for each of its rows, with a line at their mean.

    A column with a value that is not finite gets the word "diverged" instead.

    Parameters
    ----------
    table : DataFrame
    ax, **axes
        As in `lines`, and so is what is returned; a new figure is as high as there are columns.
    """
    ax = _rows(table.columns, ax, axes)
    for place, name in enumerate(table):
        values = table[name].to_numpy()
        if not np.isfinite(values).all():
            ax.annotate("diverged", (0.02, place), xycoords=("axes fraction", "data"), va="center")
            continue
        ax.plot(values, np.full(len(values), place), "o", color=BLUE, alpha=0.6)
        ax.plot([values.mean()] * 2, [place - 0.28, place + 0.28], "-", color=BLACK)
    return ax


def intervals(table: Any, *, ax: Any = None, **axes: Any) -> Any:
    """Draw a `difference` with its `low` and `high` for each row of a data frame, beside a line at 0.

    Filled where the interval excludes 0, hollow where it does not. Parameters and result as in `dots`.
    """
    ax = _rows(table.index, ax, axes)
    ax.axvline(0, color=BLACK, linestyle="-", linewidth=1)
    for place, row in enumerate(table.itertuples()):
        if not np.isfinite(row.difference):
            ax.annotate("diverged", (0.02, place), xycoords=("axes fraction", "data"), va="center")
            continue
        sure = row.low > 0 or row.high < 0
        ax.plot([row.low, row.high], [place] * 2, "-", color=BLUE, marker="|")
        ax.plot(row.difference, place, "o", color=BLUE, markerfacecolor=BLUE if sure else "white")
    return ax


def _rows(names: Any, ax: Any, axes: dict[str, Any]) -> Any:
    """Axes with a row for each name, the first on top."""
    names = list(map(str, names))
    ax = plt.subplots(figsize=(7.0, 1.2 + 0.42 * len(names)))[1] if ax is None else ax
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), **_given(axes))
    ax.grid(visible=False, axis="y")
    return ax


def _given(axes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in axes.items() if value is not None}


def long_tail(ax: Any, counts: Any, **line: Any) -> None:
    """Draw how many ratings each user or item has, most first, on a logarithmic axis."""
    counts = np.sort(np.asarray(counts))[::-1]
    counts = counts[counts > 0]
    ax.semilogy(np.arange(1, len(counts) + 1), counts, markevery=0.1, **line)


def film_map(ax: Any, points: Any, labels: Any) -> None:
    """Draw points with their names beside them; a name that would cover another one or a point is left out.

    Parameters
    ----------
    ax : matplotlib axes
        With their title and labels: what is added later moves things.
    points : array, shape (n, 2)
    labels : n str
        The most important first.
    """
    points = np.asarray(points)
    ax.scatter(points[:, 0], points[:, 1], s=12, color=BLUE, marker="o")
    ax.margins(0.12)
    ax.figure.draw_without_rendering()  # where things are is known only once the layout is made
    renderer = ax.figure.canvas.get_renderer()
    frame, taken, radius = ax.get_window_extent(renderer), [], 2 * ax.figure.dpi / 72
    pixels = ax.transData.transform(points)
    for place, label in zip(points, labels, strict=True):
        for dx, align in ((5, "left"), (-5, "right")):
            text = ax.annotate(label, place, (dx, 0), textcoords="offset points", fontsize=8.5, ha=align, va="center")
            box = text.get_window_extent(renderer)
            inside = (frame.min <= box.min).all() and (box.max <= frame.max).all()
            free = inside and not box.padded(radius).count_contains(pixels)
            if free and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()
