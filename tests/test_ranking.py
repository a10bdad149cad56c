"""`rank`: against trec_eval, Mann and Whitney's test and lists that are judged by hand."""

import numpy as np
import pytest
import pytrec_eval
from choosing import drawn
from scipy import stats

from mfhelpers import BiasedMatrixFactorization, Factors, Interactions, RankingScores, Ratings, rank, simulate_ratings
from mfhelpers.models import ranking

N_USERS, N_ITEMS = 30, 40
LENGTHS = (1, 3, 5, 10, 25, 60)  # the last is longer than any list
EXCLUDED = pytest.mark.parametrize("excluded", [True, False], ids=["without train", "all items"])


class Table:
    """A predictor that looks its scores up."""

    def __init__(self, scores):
        self.scores = np.asarray(scores)

    def predict(self, users, items):
        return self.scores[users, items]


class Whole(Table):
    """One that is asked for whole users."""

    def predict(self, users, items):
        pytest.fail("it was asked for pairs")

    def predict_all(self, users):
        return self.scores[users]


def parts(seed=0) -> tuple[Interactions, Interactions]:
    """Train and test; users 0 to 2 have no train rows, 3 to 5 no test rows, and 6 to 8 hardly an item besides."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.05, 0.7, N_USERS)
    share[:3], share[6:9] = 0, 0.95
    train = rng.random((N_USERS, N_ITEMS)) < share[:, None]
    test = ~train & (rng.random((N_USERS, N_ITEMS)) < rng.uniform(0.05, 0.5, (N_USERS, 1)))
    train[6:9, 5], test[[0, 6, 7, 8], 5], test[3:6] = False, True, False
    return drawn(train), drawn(test)


def scores_with_ties(seed=0) -> np.ndarray:
    """So few values that every list has ties; they are the same in float32."""
    return np.random.default_rng(seed).integers(0, 6, (N_USERS, N_ITEMS)) / 2


def candidates(user, exclude) -> np.ndarray:
    """What may stand in a user's list."""
    hidden = [] if exclude is None else exclude.items[exclude.users == user]
    return np.setdiff1d(np.arange(N_ITEMS), hidden)


def best_first(table, user, exclude) -> list[int]:
    return sorted(candidates(user, exclude).tolist(), key=lambda item: (-table[user, item], item))


TRAIN, TEST = parts()
SCORES = scores_with_ties()
RATED, _ = simulate_ratings(N_USERS, N_ITEMS, 500, min_per_user=8)
STARRED = {"train": RATED[::2], "test": RATED[1::2]}


# -- against others --------------------------------------------------------------------------------


@EXCLUDED
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("recall", ["capped", "all"])
def test_scores_are_those_of_trec_eval(seed, excluded, recall):
    train, test = parts(seed)
    table, exclude = scores_with_ties(seed), train if excluded else None
    name = [f"{N_ITEMS - item:03d}" for item in range(N_ITEMS)]  # of equals, trec_eval takes the last by name
    relevant, run = {}, {}
    for user in np.unique(test.users):
        relevant[str(user)] = {name[item]: 1 for item in test.items[test.users == user]}
        run[str(user)] = {name[item]: float(table[user, item]) for item in candidates(user, exclude)}
    lengths = ",".join(map(str, LENGTHS))
    judge = pytrec_eval.RelevanceEvaluator(
        relevant, {f"P.{lengths}", f"recall.{lengths}", f"ndcg_cut.{lengths}", "recip_rank"}
    )
    told = judge.evaluate(run)

    got = rank(Table(table), test, exclude=exclude, at=LENGTHS, recall=recall)
    assert got.by_user.index.tolist() == sorted(map(int, told))
    for user, row in got.by_user.iterrows():
        theirs, n = told[str(user)], len(relevant[str(user)])
        assert row["mrr"] == pytest.approx(theirs["recip_rank"], abs=1e-9)
        for k in LENGTHS:
            assert row[f"precision@{k}"] == pytest.approx(theirs[f"P_{k}"], abs=1e-9)
            assert row[f"ndcg@{k}"] == pytest.approx(theirs[f"ndcg_cut_{k}"], abs=1e-9)
            most = min(k, n) if recall == "capped" else n
            assert row[f"recall@{k}"] == pytest.approx(theirs[f"recall_{k}"] * n / most, abs=1e-9)


@EXCLUDED
@pytest.mark.parametrize("seed", range(4))
def test_auc_is_mann_and_whitneys_count(seed, excluded):
    train, test = parts(seed)
    table, exclude = scores_with_ties(seed), train if excluded else None
    for user, auc in rank(Table(table), test, exclude=exclude).by_user.auc.items():
        mine = test.items[test.users == user]
        others = np.setdiff1d(candidates(user, exclude), mine)
        if len(others):
            count = stats.mannwhitneyu(table[user, mine], table[user, others]).statistic
            assert auc == pytest.approx(count / (len(mine) * len(others)), abs=1e-12)
        else:
            assert np.isnan(auc)


@EXCLUDED
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lists_are_those_that_are_recommended(excluded, dtype):
    rng = np.random.default_rng(1)
    tables = [
        rng.integers(-2, 3, shape).astype(dtype) for shape in ((N_USERS,), (N_ITEMS,), (N_USERS, 2), (N_ITEMS, 2))
    ]
    factors, exclude = Factors(1.0, *tables), TRAIN if excluded else None
    scores = rank(factors, TEST, exclude=exclude, at=(5,))
    shown, _ = factors.recommend(scores.by_user.index.to_numpy(), 5, exclude)
    wanted = {user: set(TEST.items[TEST.users == user].tolist()) for user in scores.by_user.index}
    hits = [len(wanted[user] & set(items.tolist())) for user, items in zip(scores.by_user.index, shown, strict=True)]
    assert (scores.by_user["precision@5"] * 5).tolist() == hits


# -- who is judged, and by what --------------------------------------------------------------------


def test_only_users_with_test_items_are_judged():
    scores = rank(Table(SCORES), TEST, exclude=TRAIN)
    assert scores.by_user.index.tolist() == np.unique(TEST.users).tolist()
    assert scores.by_user.index.name == "user"
    assert scores.by_user.n_relevant.tolist() == TEST.user_counts[TEST.user_counts > 0].tolist()
    assert scores.n_users == len(np.unique(TEST.users)) < N_USERS


def test_a_perfect_order_has_ones_and_its_reverse_the_least():
    wanted = np.zeros((N_USERS, N_ITEMS))
    wanted[TEST.users, TEST.items] = 1
    best, worst = (rank(Table(sign * wanted), TEST, exclude=TRAIN).by_user for sign in (1, -1))
    for name in ("recall@5", "ndcg@5", "recall@20", "ndcg@20", "mrr"):
        assert np.allclose(best[name], 1, rtol=0, atol=1e-12)
    assert best.auc.dropna().eq(1).all()
    assert worst.auc.dropna().eq(0).all()
    for user, row in worst.iterrows():
        n_others = len(candidates(user, TRAIN)) - row.n_relevant
        assert row.mrr == pytest.approx(1 / (n_others + 1))


def test_a_list_that_is_shorter_than_asked_for_still_divides_by_its_length():
    train = drawn(np.array([[0, 0, 0, 1, 1, 1]], bool))
    test = drawn(np.array([[1, 0, 0, 0, 0, 0]], bool))
    scores = rank(Table([[2.0, 1, 3, 9, 9, 9]]), test, exclude=train, at=(1, 2, 5))
    assert [scores[f"precision@{k}"] for k in (1, 2, 5)] == [0, 0.5, 0.2]
    assert [scores[f"recall@{k}"] for k in (1, 2, 5)] == [0, 1, 1]
    assert scores["ndcg@5"] == pytest.approx(1 / np.log2(3))
    assert (scores["mrr"], scores["auc"]) == (0.5, 0.5)


def test_two_denominators_of_recall_differ_where_a_list_cannot_hold_all():
    capped, by_all = (
        rank(Table(SCORES), TEST, exclude=TRAIN, at=(3, 40), recall=how).by_user for how in ("capped", "all")
    )
    many = capped.n_relevant > 3
    assert many.any()
    assert not many.all()
    np.testing.assert_allclose(
        by_all["recall@3"] * capped.n_relevant, capped["recall@3"] * np.minimum(3, capped.n_relevant)
    )
    np.testing.assert_array_equal(capped["recall@40"], by_all["recall@40"])
    np.testing.assert_array_equal(capped["ndcg@3"], by_all["ndcg@3"])


def test_a_constant_model_shows_items_by_number_and_tells_nothing_apart():
    constant = rank(Table(np.zeros((N_USERS, N_ITEMS))), TEST, exclude=TRAIN, at=(5,))
    falling = rank(Table(np.tile(-np.arange(N_ITEMS), (N_USERS, 1))), TEST, exclude=TRAIN, at=(5,))
    assert constant.by_user.auc.dropna().eq(0.5).all()
    same = ["precision@5", "recall@5", "ndcg@5", "mrr"]
    np.testing.assert_array_equal(constant.by_user[same], falling.by_user[same])


def test_an_auc_without_others_is_unknown_and_left_out_of_the_mean():
    test = drawn(np.array([[1, 1, 0, 0], [1, 0, 0, 0]], bool))
    train = drawn(np.array([[0, 0, 1, 1], [0, 0, 0, 0]], bool))
    scores = rank(Table([[1.0, 2, 3, 4], [4, 3, 2, 4]]), test, exclude=train)
    assert np.isnan(scores.by_user.auc[0])
    assert scores["auc"] == scores.by_user.auc[1] == pytest.approx(2.5 / 3)


@pytest.mark.parametrize("at_least", [2, 4, 4.5])
def test_of_ratings_those_below_at_least_are_misses(at_least):
    train, test = STARRED["train"], STARRED["test"]
    scores = rank(Table(SCORES), test, exclude=train, at_least=at_least)
    np.testing.assert_array_equal(
        scores.by_user, rank(Table(SCORES), test.to_interactions(at_least), exclude=train).by_user
    )
    for user, precision in scores.by_user["precision@10"].items():
        liked = test[(test.users == user) & (test.values >= at_least)].items
        assert precision == np.isin(best_first(SCORES, user, train)[:10], liked).sum() / 10


def test_without_at_least_all_that_is_rated_is_relevant():
    train, test = STARRED["train"], STARRED["test"]
    everything = rank(Table(SCORES), test.to_interactions(), exclude=train.to_interactions())
    np.testing.assert_array_equal(rank(Table(SCORES), test, exclude=train).by_user, everything.by_user)


def test_weights_change_nothing():
    weighted = drawn(TEST.to_csr().toarray() > 0, np.random.default_rng(0).uniform(1, 9, (N_USERS, N_ITEMS)))
    np.testing.assert_array_equal(
        rank(Table(SCORES), weighted, exclude=TRAIN).by_user, rank(Table(SCORES), TEST, exclude=TRAIN).by_user
    )


# -- whom it asks, and how -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Table, Whole])
@pytest.mark.parametrize("at_once", [1, N_ITEMS, 3 * N_ITEMS + 7, 10**6])
def test_blocks_leave_no_seam(kind, at_once, monkeypatch):
    whole = rank(Table(SCORES), TEST, exclude=TRAIN).by_user
    monkeypatch.setattr(ranking, "AT_ONCE", at_once)
    np.testing.assert_array_equal(rank(kind(SCORES), TEST, exclude=TRAIN).by_user, whole)


def test_blocks_bound_how_many_scores_are_in_memory(monkeypatch):
    monkeypatch.setattr(ranking, "AT_ONCE", 4 * N_ITEMS)
    asked = []

    class Counted(Table):
        def predict(self, users, items):
            asked.append(len(users))
            return super().predict(users, items)

    rank(Counted(SCORES), TEST, exclude=TRAIN)
    assert max(asked) == 4 * N_ITEMS
    assert sum(asked) == len(np.unique(TEST.users)) * N_ITEMS


@pytest.mark.parametrize(
    "change", [lambda s: 3 * s - 7, np.exp, lambda s: s.astype(np.float32), lambda s: (2 * s).astype(int)]
)
def test_nothing_but_the_order_of_scores_counts(change):
    np.testing.assert_array_equal(
        rank(Table(change(SCORES)), TEST, exclude=TRAIN).by_user, rank(Table(SCORES), TEST, exclude=TRAIN).by_user
    )


@pytest.mark.parametrize("excluded", [0, -1e300, 1e300])
def test_what_a_hidden_item_scores_is_no_matter(excluded):
    table = SCORES.copy()
    table[TRAIN.users, TRAIN.items] = excluded
    np.testing.assert_array_equal(
        rank(Table(table), TEST, exclude=TRAIN).by_user, rank(Table(SCORES), TEST, exclude=TRAIN).by_user
    )


def test_what_a_predictor_returns_is_left_as_it_is():
    class Lent(Table):
        def predict(self, users, items):
            return self.scores.reshape(-1)

        def predict_all(self, users):
            return self.scores

    class Pairs(Lent):
        predict_all = property()  # it has none

    everybody = drawn(np.eye(N_USERS, N_ITEMS, dtype=bool))
    train = drawn(~np.eye(N_USERS, N_ITEMS, dtype=bool) & (SCORES > 1))
    for kind in (Lent, Pairs):
        lent = kind(SCORES.copy())
        rank(lent, everybody, exclude=train)
        np.testing.assert_array_equal(lent.scores, SCORES)


def test_a_model_is_ranked_as_its_factors_are():
    model = BiasedMatrixFactorization(N_USERS, N_ITEMS, 3, mean=2.0)
    np.testing.assert_array_equal(
        rank(model, TEST, exclude=TRAIN).by_user, rank(model.to_factors(), TEST, exclude=TRAIN).by_user
    )


# -- means over users ------------------------------------------------------------------------------


ONE, OTHER = (rank(Table(scores_with_ties(seed)), TEST, exclude=TRAIN, at=(5, 10)) for seed in (0, 1))


def test_a_score_is_the_mean_over_users():
    assert ONE.names == ["precision@5", "recall@5", "ndcg@5", "precision@10", "recall@10", "ndcg@10", "mrr", "auc"]
    for name in ONE.names:
        assert ONE[name] == pytest.approx(np.nanmean(ONE.by_user[name]), rel=1e-12)
    assert f"ndcg@5 {ONE['ndcg@5']:.3f}" in repr(ONE)
    assert repr(ONE).startswith(f"RankingScores({ONE.n_users} users: ")


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_intervals_are_students(level):
    for name in ONE.names:
        values = ONE.by_user[name].dropna()
        told = stats.ttest_1samp(values, 0).confidence_interval(level)
        assert ONE.interval(name, level) == pytest.approx((told.low, told.high), rel=1e-9)
        apart = (ONE.by_user[name] - OTHER.by_user[name]).dropna()
        told = stats.ttest_1samp(apart, 0).confidence_interval(level)
        assert ONE.difference(OTHER, name, level) == pytest.approx((apart.mean(), told.low, told.high), rel=1e-9)


def test_the_table_has_a_row_for_each_score():
    table = ONE.table(0.8)
    assert table.index.tolist() == ONE.names
    assert table.columns.tolist() == ["mean", "low", "high"]
    assert tuple(table.loc["mrr"]) == (ONE["mrr"], *ONE.interval("mrr", 0.8))
    assert all(name in ONE._repr_html_() for name in ONE.names)


def test_scores_of_one_user_can_be_shown():
    alone = rank(Table(SCORES), TEST[TEST.users == 0], exclude=TRAIN)
    assert np.isnan(alone.interval("mrr")).all()
    assert "mrr" in repr(alone)
    assert "mrr" in alone._repr_html_()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: ONE["ndcg@20"], r"score='ndcg@20': choose 'precision@5', .* or 'auc'"),
        (lambda: ONE["n_relevant"], "score='n_relevant': choose"),
        (lambda: ONE.interval("map"), "score='map': choose"),
        (lambda: ONE.interval("mrr", 0), "level=0: choose a share between 0 and 1, such as 0.95"),
        (lambda: ONE.interval("mrr", 95), "level=95: choose a share"),
        (lambda: ONE.interval("mrr", "high"), "level='high': choose a share between 0 and 1, such as 0.95"),
        (
            lambda: ONE.difference(3, "mrr"),
            "no scores of the same test items: rank both on one test part|rank both on one test part",
        ),
        (lambda: ONE.difference(rank(Table(SCORES), TRAIN, exclude=TEST), "mrr"), "rank both on one test part"),
        (lambda: ONE.difference(rank(Table(SCORES), TEST, exclude=TRAIN, at=(7,)), "ndcg@5"), "score='ndcg@5': choose"),
    ],
)
def test_scores_that_are_not_there_are_refused_by_name(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


# -- what is refused -------------------------------------------------------------------------------


def relabelled(part: Interactions) -> Interactions:
    return Interactions(part.users, part.items, part.n_users, part.n_items, item_ids=np.arange(100, 100 + part.n_items))


def with_one(value) -> np.ndarray:
    table = SCORES.copy()
    table[0, 3] = value
    return table


class Shaped(Table):
    def predict(self, users, items):
        return super().predict(users, items)[:, None]


class Short(Whole):
    def predict_all(self, users):
        return self.scores[users, :-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predictor": None}, r"predictor is NoneType: give Factors, a model, or what has predict\(users, items\)"),
        ({"predictor": SCORES}, "predictor is ndarray: give Factors"),
        ({"predictor": BiasedMatrixFactorization(N_USERS, 9, 2)}, "predictor knows 30 users × 9 items, test has 30 × 40"),
        ({"predictor": Table(with_one(np.nan))}, r"1 of \d+ scores are not finite"),
        ({"predictor": Whole(with_one(np.inf))}, r"1 of \d+ scores are not finite"),
        ({"predictor": Shaped(SCORES)}, r"predict returned shape \((\d+), 1\) for \1 pairs"),
        ({"predictor": Short(SCORES)}, r"predict_all returned shape \(\d+, 39\)"),
        ({"test": None}, "test is NoneType: give Ratings or Interactions"),
        ({"test": TEST.to_csr()}, "test is csr_array: give Ratings or Interactions"),
        ({"exclude": [1, 2]}, "the second of two parts is list: give Ratings or Interactions"),
        ({"exclude": relabelled(TRAIN)}, "item_ids.* is 0 in one and 100 in the other"),
        ({"exclude": TEST}, r"(\d+) of \1 test pairs are in exclude= too, and would never be listed: split one Ratings"),
        ({"at": 5}, r"at=5: give lengths of lists, such as \(5, 10, 20\)"),
        ({"at": None}, "at=None: give lengths"),
        ({"at": ()}, r"at=\(\): give at least one length, and none twice"),
        ({"at": (5, 5)}, r"at=\(5, 5\): give at least one length, and none twice"),
        ({"at": (0,)}, "at=0: it must be at least 1"),
        ({"at": (2.5,)}, "at=2.5: give a whole number"),
        ({"recall": "most"}, "recall='most': choose 'capped' or 'all'"),
        ({"at_least": 4}, "at_least=4: the test part has no stars, so all of it counts"),
        ({"test": STARRED["test"], "exclude": None, "at_least": 6}, "at_least=6: no rating of .* is that high"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(changes, message):
    arguments = {"predictor": Table(SCORES), "test": TEST, "exclude": TRAIN} | changes
    with pytest.raises(ValueError, match=message):
        rank(arguments.pop("predictor"), arguments.pop("test"), **arguments)


def test_what_is_left_out_must_be_said():
    with pytest.raises(TypeError, match="exclude"):
        rank(Table(SCORES), TEST)


def test_a_test_part_that_is_partly_in_the_train_part_is_refused_only_as_far_as_it_counts():
    values = np.array([5, 1, 4], np.float32)
    test = Ratings([0, 0, 0], [0, 1, 2], values, 1, 4, (1, 5, 1))
    known = Ratings([0], [1], [1], 1, 4, (1, 5, 1))
    with pytest.raises(ValueError, match="1 of 3 test pairs are in exclude= too"):
        rank(Table([[1.0, 2, 3, 4]]), test, exclude=known)
    assert isinstance(rank(Table([[1.0, 2, 3, 4]]), test, exclude=known, at_least=4), RankingScores)


def test_differences_are_of_one_test_part_and_one_way_to_judge():
    one, other = (rank(Table(SCORES), TEST, exclude=TRAIN, recall=recall) for recall in ("capped", "all"))
    elsewhere = rank(Table(SCORES), TRAIN, exclude=TEST)
    for wrong in (other, elsewhere):
        with pytest.raises(ValueError, match="no scores of the same test items"):
            one.difference(wrong, "mrr")
