"""Sliders and menus: what they call, and what stands in their place where nobody can move them."""

import ipywidgets
import pytest
from IPython import display

from mfhelpers import interactive


@pytest.fixture
def shown(monkeypatch):
    """As in a notebook with somebody in front of it; collects the widgets that are displayed."""
    widgets = []
    monkeypatch.setattr(interactive, "attended", lambda: True)
    monkeypatch.setattr(display, "display", widgets.append)
    return widgets


def controls(shown):
    (box,) = shown
    return box.children[:-1]


def test_sliders_call_again_with_what_was_chosen(shown):
    calls = []
    interactive.sliders(lambda k=5, reg=0.1: calls.append((k, reg)), k=(1, 5, 20), reg=[0.1, 1.0])
    k, reg = controls(shown)
    assert calls == [(5, 0.1)]
    k.value = 20
    reg.value = 1.0
    assert calls == [(5, 0.1), (20, 0.1), (20, 1.0)]
    assert [slider.description for slider in (k, reg)] == ["k", "reg"]
    assert not k.continuous_update  # once it is released, not at every place on the way


@pytest.mark.parametrize("draw", [lambda k: None, lambda k=7: None, lambda other=1: None])
def test_sliders_need_a_place_to_start(shown, draw):
    with pytest.raises(ValueError, match=r"needs a default for 'k' among \[1, 5\]"):
        interactive.sliders(draw, k=(1, 5))
    assert shown == []


def test_films_not_seen_are_left_out(shown):
    calls = []
    interactive.rate_films({7: "Alien", 3: "Brazil"}, calls.append, stars=range(1, 6))
    alien, brazil = controls(shown)
    assert calls == [{}]
    brazil.value = 4
    alien.value = 1
    brazil.value = None
    assert calls == [{}, {3: 4}, {7: 1, 3: 4}, {7: 1}]
    assert isinstance(alien, ipywidgets.Dropdown)
    assert [label for label, _ in alien.options] == ["not seen", "1", "2", "3", "4", "5"]


def test_half_stars_can_be_given(shown):
    interactive.rate_films({0: "Alien"}, lambda chosen: None, stars=(0.5, 1.0))
    assert controls(shown)[0].options[1:] == (("0.5", 0.5), ("1", 1.0))


def test_where_nobody_can_choose_a_line_says_so_and_nothing_is_drawn(capsys):
    interactive.sliders(lambda k=1: pytest.fail("drawn"), k=(1, 2))
    interactive.rate_films({0: "Alien", 1: "Brazil"}, lambda chosen: pytest.fail("drawn"), stars=(1, 2))
    said = capsys.readouterr().out
    assert "sliders for k stand here" in said
    assert "menus for 2 films stand here" in said


def test_a_page_made_by_a_machine_has_nobody_in_front_of_it(monkeypatch):
    monkeypatch.setattr(interactive, "in_notebook", lambda: True)
    monkeypatch.delenv("MFHELPERS_ATTENDED", raising=False)
    monkeypatch.setenv("MFHELPERS_PROGRESS", "0")  # no bars: the reader may still be there
    assert interactive.attended()
    monkeypatch.setenv("MFHELPERS_ATTENDED", "0")
    assert not interactive.attended()
