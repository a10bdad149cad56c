"""What a comparison shows: tables, figures, and an interval that folds deserve."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from comparing import COLUMNS, QUIET, RATINGS, SCORES, Constant, constant, drawn, factors, means
from scipy import stats

from mfhelpers import Comparison, cross_validate, evaluate, plots

pytestmark = pytest.mark.usefixtures("no_figure_stays")


# -- Comparison: tables ----------------------------------------------------------------------------


def made(share=0.25, seconds=None, **scores) -> Comparison:
    """A comparison with these RMSEs: for each algorithm a number for each fold, or folds × seeds."""
    tables = {name: np.asarray(each, float).reshape(len(each), -1) for name, each in scores.items()}
    folds, n_seeds = next(iter(tables.values())).shape
    rows = []
    for at, (fold, seed, name) in enumerate(itertools.product(range(folds), range(n_seeds), tables)):
        rmse, took = tables[name][fold, seed], at if seconds is None else seconds[name][fold * n_seeds + seed]
        rows.append((name, fold, seed, rmse, rmse + 1, rmse + 2, rmse + 3, took, took / 10))
    return Comparison(pd.DataFrame(rows, columns=COLUMNS), share)


SOME = {"z": [[1.0, 1.2], [2.0, 2.6], [3.0, 3.0]], "a": [[1.5, 1.5], [1.5, 2.5], [3.5, 2.5]]}


def test_by_fold_has_the_mean_over_seeds_of_each_fold():
    by_fold = made(**SOME).by_fold()
    assert by_fold.columns.tolist() == ["z", "a"]
    assert by_fold.index.tolist() == [0, 1, 2]
    np.testing.assert_allclose(by_fold, [[1.1, 1.5], [2.3, 2.0], [3.0, 3.0]], rtol=1e-12)
    for more, score in enumerate(SCORES):
        np.testing.assert_allclose(made(**SOME).by_fold(score), by_fold + more, rtol=1e-12)


def test_a_score_that_there_is_not_is_refused():
    compared = made(**SOME)
    for ask in (
        compared.by_fold,
        lambda score: compared.differences("a", score),
        lambda score: compared.plot(score=score),
    ):
        with pytest.raises(ValueError, match="score='RMSE': choose 'rmse', 'mae', .*'test_seconds'"):
            ask("RMSE")


def test_the_table_has_means_and_both_spreads_and_medians_of_seconds():
    seconds = {"z": [100, 1, 2, 3, 4, 5], "a": [9, 9, 9, 9, 1, 1]}
    table = made(**SOME, seconds=seconds).table()
    assert list(table.columns) == [
        "rmse",
        "sd",
        "seed_sd",
        "mae",
        "train_rmse",
        "train_mae",
        "fit_seconds",
        "test_seconds",
    ]
    assert table.index.tolist() == ["z", "a"]
    # z: fold means 1.1, 2.3, 3.0; within folds ±0.1, ±0.3 and none, each times √2
    np.testing.assert_allclose(table.rmse, [6.4 / 3, 6.5 / 3], rtol=1e-12)
    np.testing.assert_allclose(table.sd, [np.std([1.1, 2.3, 3.0], ddof=1), np.std([1.5, 2, 3], ddof=1)], rtol=1e-12)
    np.testing.assert_allclose(table.seed_sd, np.sqrt(2) * np.array([0.4, 1.0]) / 3, rtol=1e-12)
    for more, score in enumerate(SCORES):
        np.testing.assert_allclose(table[score], table.rmse + more, rtol=1e-12)
    assert table.fit_seconds.tolist() == [3.5, 9]
    assert table.test_seconds.tolist() == pytest.approx([0.35, 0.9])


def test_one_seed_has_no_spread_over_seeds_and_one_fold_none_over_folds():
    one_seed, one_fold = made(z=[1, 2, 3], a=[1, 2, 4]).table(), made(z=[[1, 2]], a=[[3, 4]]).table()
    assert one_seed.seed_sd.isna().all()
    assert one_seed.sd.tolist() == [1, np.std([1, 2, 4], ddof=1)]
    assert one_fold.sd.isna().all()
    np.testing.assert_allclose(one_fold.seed_sd, np.sqrt(0.5))


@pytest.mark.parametrize("names", list(itertools.permutations(["SVD", "als", "2"])), ids="-".join)
def test_algorithms_keep_the_order_in_which_they_were_given(names):
    compared = cross_validate({name: constant(at) for at, name in enumerate(names)}, RATINGS, 2, **QUIET)
    assert compared.algorithms == compared.table().index.tolist() == compared.by_fold().columns.tolist() == list(names)
    assert compared.differences(names[1]).index.tolist() == [names[0], names[2]]
    for ax, shown in ((compared.plot(), names), (compared.plot(to=names[1]), (names[0], names[2]))):
        assert [label.get_text() for label in ax.get_yticklabels()] == list(shown)
    # and each has its own numbers
    each = [evaluate(Constant(at), RATINGS).mae for at in range(1, 3)]
    np.testing.assert_allclose(compared.table().mae.iloc[1:], each, rtol=1e-6)


def test_the_representations_hold_every_name():
    compared = cross_validate({"item means": means, "a<b": factors, "third": drawn}, RATINGS, 3, (0, 1), **QUIET)
    assert "3 algorithms, 6 rounds" in repr(compared)
    for name, rmse in compared.table().rmse.items():
        assert name in repr(compared)
        assert f"{rmse:.4f}" in repr(compared)
        assert f"<td>{rmse:.4f}</td>" in compared._repr_html_()
        assert f"<th>{name.replace('<', '&lt;')}</th>" in compared._repr_html_()


# -- Comparison: differences -----------------------------------------------------------------------

FIVE = dict(base=[1.0, 1.1, 1.2, 1.3, 1.4], other=[1.01, 1.12, 1.23, 1.34, 1.45])  # apart by 0.01 … 0.05


@pytest.mark.parametrize(
    ("share", "level", "t", "verdict"),
    # t: 97.5, 97.5 and 99.5 % points of Student's distribution with 4 degrees of freedom, from a table
    [(0.25, 0.95, 2.776445, "higher"), (0.3, 0.95, 2.776445, "undecided"), (0.25, 0.99, 4.604095, "undecided")],
)
def test_the_interval_is_that_of_nadeau_and_bengio(share, level, t, verdict):
    row = made(share, **FIVE).differences("base", level=level).loc["other"]
    half = t * (0.00025 * (1 / 5 + share)) ** 0.5  # 0.00025 = (4 + 1 + 0 + 1 + 4) · 0.01² / 4
    assert row.difference == pytest.approx(0.03, rel=1e-9)
    assert (row.low, row.high) == pytest.approx((0.03 - half, 0.03 + half), rel=1e-5)
    assert row.verdict == verdict


@pytest.mark.parametrize("folds", [2, 3, 10])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_interval_is_students_wider_by_what_folds_share(folds, share):
    rng = np.random.default_rng(folds)
    scores = {name: rng.normal(size=(folds, 2)) for name in "abc"}
    apart = made(share, **scores).differences("b", level=0.9)
    for name in "ac":
        each = (scores[name] - scores["b"]).mean(axis=1)
        naive = stats.ttest_1samp(each, 0).confidence_interval(0.9)
        wider = ((1 / folds + share) / (1 / folds)) ** 0.5
        assert apart.difference[name] == pytest.approx(each.mean())
        assert apart.high[name] - apart.low[name] == pytest.approx(wider * (naive.high - naive.low))
        assert (apart.high[name] + apart.low[name]) / 2 == pytest.approx(each.mean())


def test_each_score_has_its_own_differences():
    compared = cross_validate({"means": means, "factors": factors}, RATINGS, 4, **QUIET)
    for score in [*SCORES, "fit_seconds", "test_seconds"]:
        by_fold = compared.by_fold(score)
        apart = compared.differences("means", score).loc["factors"]
        assert apart.difference == pytest.approx((by_fold.factors - by_fold.means).mean())
    assert compared.differences("means").equals(compared.differences("means", "rmse", 0.95))


def test_differences_turn_their_sign_with_the_algorithm_to_compare_with():
    rng = np.random.default_rng(3)
    compared = made(a=rng.normal(0, 1, 6), b=rng.normal(9, 1, 6), c=rng.normal(0, 1, 6))
    turned = {"lower": "higher", "higher": "lower", "undecided": "undecided"}
    seen = set()
    for one, two in itertools.permutations("abc", 2):
        there, back = compared.differences(one).loc[two], compared.differences(two).loc[one]
        assert (there.difference, there.low, there.high) == pytest.approx((-back.difference, -back.high, -back.low))
        assert there.verdict == turned[back.verdict]
        seen.add(there.verdict)
    assert seen == set(turned)


def test_more_seeds_with_the_same_means_do_not_narrow_the_interval():
    few = {name: np.array(each).reshape(-1, 1) for name, each in FIVE.items()}
    many = {name: each + np.tile([-0.3, 0.3], 10) for name, each in few.items()}
    more = made(**many)
    assert len(more.scores) == 20 * len(made(**few).scores)
    pd.testing.assert_frame_equal(more.differences("base"), made(**few).differences("base"), rtol=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_verdict_is_a_difference_only_where_the_interval_excludes_zero(level):
    rng = np.random.default_rng(0)
    shifts = dict(zip(map(str, range(60)), np.linspace(-2, 2, 60), strict=True))
    scores = {name: rng.normal(shift, 1, 5) for name, shift in shifts.items()}
    apart = made(base=np.zeros(5), **scores).differences("base", level=level)
    wanted = ["lower" if row.high < 0 else "higher" if row.low > 0 else "undecided" for row in apart.itertuples()]
    assert apart.verdict.tolist() == wanted
    assert {*wanted} == {"lower", "higher", "undecided"}


def test_identical_algorithms_differ_by_nothing():
    compared = cross_validate({"one": factors, "two": factors, "three": constant(3)}, RATINGS, 3, (0, 1), **QUIET)
    same = compared.differences("one").loc["two"]
    assert (same.difference, same.low, same.high, same.verdict) == (0, 0, 0, "undecided")
    assert compared.differences("one").difference["three"] != 0


def test_algorithms_that_are_equally_good_are_seldom_called_different():
    """Differences of folds that agree as those of 5-fold cross-validation are taken to: correlation n_test / n.

    A textbook interval for five independent folds would find a difference where there is none two or three times
    as often as it says.
    """
    rng, n = np.random.default_rng(0), 2000
    common, own = rng.normal(size=(n, 1)), rng.normal(size=(n, 5))
    apart = np.sqrt(0.2) * common + np.sqrt(0.8) * own
    scores = {f"algorithm {at}": 1 + 0.01 * each for at, each in enumerate(apart)}

    def share_called_different(share):
        verdict = made(share, base=np.ones(5), **scores).differences("base").verdict
        return (verdict != "undecided").mean()

    assert 0.03 < share_called_different(0.25) < 0.07  # 5 % ± 4 standard errors
    assert share_called_different(0.0) > 0.11


def test_a_difference_in_every_fold_is_found():
    compared = cross_validate({"means": means, "beyond": constant(1)}, RATINGS, 5, **QUIET)
    assert compared.differences("means").verdict.tolist() == ["higher"]
    assert compared.differences("beyond").verdict.tolist() == ["lower"]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (dict(to="c"), "to='c' was not compared; there are 'base', 'other'"),
        (dict(to="base", level=0), "level=0: choose a share between 0 and 1"),
        (dict(to="base", level=1), "level=1: choose a share"),
        (dict(to="base", level=95), "level=95: choose a share between 0 and 1, such as 0.95"),
        (dict(to="base", level=float("nan")), "level=nan: choose a share"),
    ],
)
def test_what_cannot_be_asked_of_a_comparison_is_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        made(**FIVE).differences(**ask)


def test_one_fold_has_no_interval():
    with pytest.raises(ValueError, match="1 fold: an interval needs two or more"):
        made(a=[[1, 2, 3]], b=[[2, 3, 4]]).differences("a")


# -- Comparison: figures ---------------------------------------------------------------------------


@pytest.mark.parametrize("score", [*SCORES, "fit_seconds", "test_seconds"])
@pytest.mark.parametrize("to", [None, "means"])
def test_a_plot_has_labels_with_units_and_a_row_for_each_algorithm(to, score, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "show_bundle", lambda data, metadata=None: shown.append(data))
    compared = cross_validate({"means": means, "factors": factors, "3": constant(3)}, RATINGS, 3, (0, 1), **QUIET)
    ax = compared.plot(to, score, title="All are alike")
    names = [name for name in compared.algorithms if name != to]
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    assert ("seconds" if score.endswith("seconds") else "stars") in ax.get_xlabel()
    assert to is None or to in ax.get_xlabel()
    dots = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "o"]
    wanted = compared.by_fold(score).to_numpy().T if to is None else compared.differences(to, score)[["difference"]]
    np.testing.assert_array_equal(dots, wanted)
    assert "All are alike" in (ax.get_title(), ax.get_title(loc="left"))
    plots.show(ax.figure, "Three algorithms that are about equally good.")
    assert "image/png" in shown[0]


def test_a_plot_shows_the_folds_or_the_differences(monkeypatch):
    compared = made(**FIVE)
    fig, (left, right) = plt.subplots(1, 2)
    assert compared.plot(ax=left) is left
    assert compared.plot(to="base", ax=right) is right
    dots = [line for line in left.lines if line.get_marker() == "o"]
    assert [line.get_xdata().tolist() for line in dots] == [FIVE["base"], FIVE["other"]]
    [dot] = [line for line in right.lines if line.get_marker() == "o"]
    assert dot.get_xdata() == pytest.approx([0.03])
    row = compared.differences("base").loc["other"]
    assert any(line.get_xdata() == pytest.approx([row.low, row.high]) for line in right.lines)
    assert [fig.number] == plt.get_fignums()


def test_a_marker_is_hollow_where_there_is_no_difference():
    compared = made(base=FIVE["base"], up=FIVE["other"], same=FIVE["base"], down=[0, 0.1, 0.2, 0.3, 0.401])
    ax = compared.plot(to="base")
    filled = {
        line.get_ydata()[0]: line.get_markerfacecolor() != "white" for line in ax.lines if line.get_marker() == "o"
    }
    assert compared.differences("base").verdict.tolist() == ["higher", "undecided", "lower"]
    assert filled == {0: True, 1: False, 2: True}
