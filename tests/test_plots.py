"""Figures: one picture with its text, the same bytes every time, and names that cover nothing."""

import base64
import io
import itertools

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mfhelpers import History, plots

ALT = "A line that climbs from one to three."


@pytest.fixture(autouse=True)
def the_lessons_style():
    with matplotlib.rc_context():
        plots.use_style()
        yield
        plt.close("all")


@pytest.fixture
def bundles(monkeypatch):
    """The (data, metadata) of all that `show` gave to the notebook."""
    bundles = []
    monkeypatch.setattr(plots, "show_bundle", lambda data, metadata=None: bundles.append((data, metadata)))
    return bundles


class Pictures:
    """Those of the bundles that hold a picture."""

    def __init__(self, bundles):
        self.bundles = bundles

    def __iter__(self):
        return (bundle for bundle in self.bundles if "image/png" in bundle[0])

    def __len__(self):
        return sum(1 for _ in self)


@pytest.fixture
def shown(bundles):
    return Pictures(bundles)


def figure(**labels):
    fig, ax = plt.subplots()
    ax.plot([1, 2, 3])
    ax.set(**(labels or dict(xlabel="x", ylabel="y")))
    return fig


def history(train, valid=()):
    return History(list(train), list(valid))


# -- show ------------------------------------------------------------------------------------------


def test_show_gives_one_png_with_its_text(shown):
    plots.show(figure(), ALT)
    [(data, metadata)] = shown
    assert metadata["image/png"]["alt"] == ALT
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert image.format == "PNG"
    assert image.size == (7 * plots.DPI, 4 * plots.DPI)
    assert 0 < metadata["image/png"]["width"] < image.width  # drawn larger than shown


def test_the_words_follow_the_picture_for_readers_whose_program_drops_the_alt_text(bundles):
    plots.show(figure(), "Ratings of a < b and " + ALT)
    (picture, _), (words, _) = bundles
    assert "image/png" in picture
    assert words["text/plain"] == "Ratings of a < b and " + ALT
    assert words["text/html"].startswith("<details>")
    assert "a &lt; b" in words["text/html"]


def test_the_bytes_are_the_same_every_time_and_name_no_version(shown):
    for _ in range(2):
        plots.show(figure(), ALT)
    one, two = (data["image/png"] for data, _ in shown)
    assert one == two
    png = base64.b64decode(one)
    assert "Software" not in Image.open(io.BytesIO(png)).info
    assert matplotlib.__version__.encode() not in png


def test_show_closes_its_figure_and_no_other(shown):
    other, fig = plt.figure(), figure()
    plots.show(fig, ALT)
    assert plt.get_fignums() == [other.number]


@pytest.mark.parametrize("alt", ["", " \n", "RMSE", "RMSE against number of"])
def test_a_figure_without_a_sentence_is_refused(shown, alt):
    with pytest.raises(ValueError, match="say in a sentence"):
        plots.show(figure(), alt)
    assert not shown


@pytest.mark.parametrize("labels", [dict(title="T"), dict(title="T", xlabel="x"), dict(title="T", ylabel="y")])
def test_axes_with_data_but_no_label_are_refused_by_name(shown, labels):
    with pytest.raises(ValueError, match=r"the axes 'T' lack a label: ax\.set"):
        plots.show(figure(**labels), ALT)
    assert not shown


@pytest.mark.parametrize("draw", [lambda ax: ax.set_axis_off(), lambda ax: ax.clear()], ids=["switched off", "empty"])
def test_axes_that_show_no_scale_or_no_data_need_no_label(shown, draw):
    fig = figure(xlabel="")
    draw(fig.axes[0])
    plots.show(fig, ALT)
    assert shown


def test_a_colorbar_needs_no_label_but_its_neighbour_does(shown):
    fig, ax = plt.subplots()
    fig.colorbar(ax.imshow([[1, 2], [3, 4]]))
    with pytest.raises(ValueError, match="lack a label"):
        plots.show(fig, ALT)
    ax.set(xlabel="films", ylabel="users")
    plots.show(fig, ALT)
    assert len(shown) == 1


# -- style -----------------------------------------------------------------------------------------


def test_lines_differ_by_more_than_their_colour():
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()
    n = len(cycle["color"])
    assert len(set(cycle["color"])) == len(set(cycle["marker"])) == n
    assert len(set(cycle["linestyle"])) >= 4
    for one, two in itertools.combinations(matplotlib.colors.to_rgba_array(cycle["color"]), 2):
        assert np.abs(one - two).max() > 0.15


# -- histories -------------------------------------------------------------------------------------


def test_a_history_draws_a_labelled_line_for_each_part_that_there_is():
    ax = history([3, 2, 1], [3, 2.5, 2]).plot(title="One model")
    assert [line.get_label() for line in ax.lines] == ["train", "validation"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["train", "validation"]
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), [[0, 3], [1, 2.5], [2, 2]])
    assert ax.get_title(loc="left") == "One model"
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 2


def test_a_history_is_drawn_where_it_is_told_and_can_be_shown_at_once(shown):
    fig, (_, right) = plt.subplots(1, 2)
    assert history(range(100, 0, -1)).plot(ax=right) is right
    assert right.lines[0].get_label() == "train"
    plots.show(fig, ALT)
    assert shown


def test_a_history_leaves_a_title_that_is_there():
    ax = plt.subplots()[1]
    ax.set_title("mine")
    assert history([2, 1]).plot(ax=ax).get_title(loc="left") == "mine"


# -- lines -----------------------------------------------------------------------------------------


def test_lines_share_their_places_and_say_what_they_are():
    ax = plots.lines({"slow": [3, 2], "fast": [3, 1]}, (10, 100), xscale="log", xlabel="ratings", title="One is fast")
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), [[10, 3], [100, 1]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["slow", "fast"]
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_title(loc="left")) == ("log", "ratings", "One is fast")


def test_lines_without_places_count_from_zero_each_to_its_own_end():
    ax = plots.lines({"short": [5, 6], "long": [1, 2, 3]})
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 5], [1, 6]])
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), [0, 1, 2])


# -- dots and intervals ----------------------------------------------------------------------------

FOLDS = pd.DataFrame({"second": [0.9, 1.0, 1.4], "first": [0.8, 0.7, 0.9]}, index=[5, 7, 9])
APART = pd.DataFrame(
    {"difference": [0.2, -0.3, 0.1, 0.1, -0.1], "low": [0.1, -0.4, -0.1, 0.0, -0.2], "high": [0.3, -0.2, 0.3, 0.2, 0.0]},
    index=["above", "below", "around", "from zero", "up to zero"],
)  # fmt: skip


def rows(ax) -> list[str]:
    """The names beside the rows, from top to bottom."""
    labels = sorted(ax.get_yticklabels(), key=lambda label: -ax.transData.transform((0, label.get_position()[1]))[1])
    return [label.get_text() for label in labels]


def test_dots_has_a_row_for_each_column_with_its_values_and_their_mean():
    ax = plots.dots(FOLDS, xlabel="RMSE, stars")
    assert rows(ax) == ["second", "first"]
    for place, name in enumerate(FOLDS):
        values, mean = (line for line in ax.lines if place - 0.3 < np.mean(line.get_ydata()) < place + 0.3)
        np.testing.assert_array_equal(values.get_xydata(), [[value, place] for value in FOLDS[name]])
        assert (values.get_marker(), values.get_linestyle()) == ("o", "None")
        np.testing.assert_allclose(mean.get_xdata(), FOLDS[name].mean())
        assert min(mean.get_ydata()) < place < max(mean.get_ydata())


def test_intervals_has_a_row_for_each_difference_from_low_to_high_beside_zero():
    ax = plots.intervals(APART, xlabel="difference, stars")
    assert rows(ax) == list(APART.index)
    zero, *lines = ax.lines
    assert list(zero.get_xdata()) == [0, 0]
    for place, (bar, dot) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
        row = APART.iloc[place]
        np.testing.assert_array_equal(bar.get_xydata(), [[row.low, place], [row.high, place]])
        np.testing.assert_array_equal(dot.get_xydata(), [[row.difference, place]])


def test_intervals_are_hollow_where_they_hold_zero_at_their_end_too():
    dots = [line for line in plots.intervals(APART).lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, False, True, True, True]


@pytest.mark.parametrize(("draw", "table"), [(plots.dots, FOLDS), (plots.intervals, APART)])
def test_rows_are_drawn_where_they_are_told_and_can_be_shown_at_once(shown, draw, table):
    fig, (left, right) = plt.subplots(1, 2)
    left.set_title("mine")
    labels = {"xlabel": "stars", "ylabel": "who"}
    assert draw(table, ax=left, **labels, title=None) is left
    assert draw(table, ax=right, **labels, title="theirs") is right
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("mine", "theirs")
    plots.show(fig, ALT)
    plots.show(draw(table, **labels).figure, ALT)
    assert len(shown) == 2


def test_a_row_without_a_number_says_why():
    lost = APART.copy()
    lost.loc[lost.index[0], ["difference", "low", "high"]] = np.nan
    for ax in (plots.intervals(lost), plots.dots(pd.DataFrame({"a": [1.0, np.inf], "b": [1.0, 2.0]}))):
        assert [text.get_text() for text in ax.texts] == ["diverged"]


def test_a_figure_is_higher_for_more_rows():
    few, many = (plots.intervals(pd.concat([APART] * n)).figure.get_figheight() for n in (1, 2))
    assert many - few > 5 * 0.3  # inches for each of five more


# -- long_tail -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, np.array])
def test_long_tail_puts_the_most_first_and_leaves_out_what_nobody_rated(kind):
    ax = plt.subplots()[1]
    plots.long_tail(ax, kind([2, 0, 7, 1, 7]), label="films")
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[1, 7], [2, 7], [3, 2], [4, 1]])
    assert ax.get_yscale() == "log"
    assert ax.lines[0].get_label() == "films"
    ax.figure.draw_without_rendering()


# -- film_map --------------------------------------------------------------------------------------


CROWD = np.random.default_rng(0).normal(size=(40, 2))


@pytest.mark.parametrize(
    ("points", "size"),
    [
        (CROWD, (7, 4)),
        (CROWD, (3, 1.2)),
        (CROWD * 0.01 + [[5, -5]], (5, 5)),
        ([[0, 0], [0.1, 0], [2, 0], [9, 0]], (7, 4)),
    ],
    ids=["cloud", "small figure", "far from the origin", "on a line"],
)
@pytest.mark.parametrize("dpi", [72, plots.DPI])
def test_names_cover_no_other_name_and_no_point_and_stay_inside(points, size, dpi):
    fig, ax = plt.subplots(figsize=size)
    ax.set(xlabel="first factor", ylabel="second factor", title="Films")
    plots.film_map(ax, points, [f"Film number {i}, The ({1950 + i})" for i in range(len(points))])
    fig.set_dpi(dpi)
    fig.draw_without_rendering()
    frame, boxes = ax.get_window_extent(), [text.get_window_extent() for text in ax.texts]
    assert boxes or size == (3, 1.2)
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    assert not any(box.padded(dpi / 72).count_contains(ax.transData.transform(points)) for box in boxes)
    assert all((frame.min <= box.min).all() and (box.max <= frame.max).all() for box in boxes)


def test_every_point_is_drawn_and_the_first_of_rivals_are_named():
    ax, points = plt.subplots()[1], [[0, 0], [0, 0], [0, 0], [1, 1]]
    plots.film_map(ax, points, ["Alien", "Brazil", "Casablanca", "Dune"])
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), points)
    assert [text.get_text() for text in ax.texts] == ["Alien", "Brazil", "Dune"]  # on the right, on the left, apart


def test_a_name_goes_with_its_point():
    ax = plt.subplots()[1]
    places = {"Alien": (0, 0), "Brazil": (1, 2), "Casablanca": (3, 1)}
    plots.film_map(ax, list(places.values()), list(places))
    assert {text.get_text(): tuple(text.xy) for text in ax.texts} == places


def test_as_many_names_as_points():
    with pytest.raises(ValueError, match="zip"):
        plots.film_map(plt.subplots()[1], [[0, 0], [1, 1]], ["Alien"])
