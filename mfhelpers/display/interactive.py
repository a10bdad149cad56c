"""Sliders and menus that call a lesson's own function again with what the reader chose."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .notebook import in_notebook


def sliders(draw: Callable[..., Any], **choices: Sequence) -> None:
    """A slider for each keyword of `draw`, which is called again whenever one is moved.

    Arrow keys move the slider that has the focus. Where nobody can move one (a script, a page made
    by a machine: MFHELPERS_ATTENDED=0), a line says so and nothing is drawn.

    Parameters
    ----------
    draw : function
        Takes a keyword for each slider; its defaults are where they start. What it prints or shows
        appears below.
    **choices : sequences
        The values of each slider.

    Raises
    ------
    ValueError
        If `draw` has no default for a slider, or one that is not among its values.
    """
    defaults = {name: parameter.default for name, parameter in inspect.signature(draw).parameters.items()}
    for name, values in choices.items():
        if defaults.get(name, inspect.Parameter.empty) not in list(values):
            raise ValueError(f"draw() needs a default for {name!r} among {list(values)}, to start there")
    if not attended():
        print(f"[sliders for {' and '.join(choices)} stand here when you run this in JupyterLab]")
        return
    import ipywidgets

    controls = {
        name: ipywidgets.SelectionSlider(
            options=list(values), value=defaults[name], description=name, continuous_update=False
        )
        for name, values in choices.items()
    }
    _redraw_below(controls, lambda values: draw(**values))


def rate_films(titles: Mapping[int, str], draw: Callable[[dict[int, float]], Any], stars: Iterable[float]) -> None:
    """A menu for each film, "not seen" or some stars; `draw` is called after each choice.

    Tab goes from film to film, arrow keys or a digit choose. Where nobody can choose, a line says so.

    Parameters
    ----------
    titles : {item: title}
    draw : function of {item: stars}
        Of the films rated so far.
    stars : iterable of float
        What may be chosen.
    """
    if not attended():
        print(f"[menus for {len(titles)} films stand here when you run this in JupyterLab]")
        return
    import ipywidgets

    options = [("not seen", None), *((f"{value:g}", float(value)) for value in stars)]
    controls = {
        item: ipywidgets.Dropdown(
            options=options, value=None, description=title[:30], style={"description_width": "16em"},
            layout={"width": "26em"},
        )
        for item, title in titles.items()
    }  # fmt: skip
    _redraw_below(controls, lambda values: draw({item: value for item, value in values.items() if value is not None}))


def attended() -> bool:
    """Whether somebody may be there to move a slider: a notebook, and no machine that makes a page of it."""
    return in_notebook() and os.environ.get("MFHELPERS_ATTENDED") != "0"


def _redraw_below(controls: dict[Any, Any], draw: Callable[[dict], Any]) -> None:
    import ipywidgets
    from IPython.display import clear_output, display

    below = ipywidgets.Output()

    def redraw(change=None):
        with below:
            clear_output(wait=True)
            draw({name: control.value for name, control in controls.items()})

    for control in controls.values():
        control.observe(redraw, "value")
    display(ipywidgets.VBox([*controls.values(), below]))
    redraw()
