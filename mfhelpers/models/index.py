"""An index of items: the best ones found by walking a graph, where a product with every item would take too long."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ..data.arguments import require_memory, whole_number, yes_or_no
from ..display.progress import progress as progress_bar
from .topn import Hidden, Lists, answered, empty_lists, fill_lists

AT_ONCE = 1 << 14  # items between two steps of the progress bar
CANDIDATES_AT_ONCE = 1 << 20  # found items in memory at a time
USERS_AT_ONCE = 64  # whose excluded items are in memory at a time
LONGEST = 1e3  # of an item's row, in medians: beyond it the others lie too near to each other for float32
COMPARED = 16  # vectors of a graph that is handed over


class Index:
    """An approximate search for the items with the highest predictions; `Factors.to_index` makes one.

    Parameters
    ----------
    factors : Factors
        The items are theirs, and lists are made for their users.
    graph : voyager.Index
        With the `item_vectors` of those items that have other numbers than zeros: rows of zeros would be each other's
        neighbours and nobody else's, and cut the graph into pieces. ``index.graph.save(path)`` writes it, and
        ``mf.Index(factors, voyager.Index.load(path))`` has it again.

    Raises
    ------
    ValueError
        If the graph holds other vectors than those of these items.

    Notes
    -----
    It may miss an item that belongs in a list; what it does return has the prediction of `factors.predict`, bit for bit.
    """

    def __init__(self, factors: Any, graph: Any) -> None:
        known = _known(factors)
        if len(graph) != known.sum() or graph.num_dimensions != factors.n_factors + 2:
            raise ValueError(
                f"the graph holds {len(graph):,} vectors of {graph.num_dimensions} numbers, {factors} need "
                f"{known.sum():,} of {factors.n_factors + 2}: make it of these items, to_index()"
            )
        some = np.flatnonzero(known)[:: max(1, known.sum() // COMPARED)]
        try:
            held = np.array([graph.get_vector(int(item)) for item in some])
        except (KeyError, RuntimeError):  # an item that it does not hold
            held = None
        if held is None or not np.allclose(held, item_vectors(factors, some), atol=1e-3):
            raise ValueError(
                f"the graph holds other vectors than those of {factors}: after a training make a new one, to_index()"
            )
        self.factors, self.graph, self.unknown = factors, graph, np.flatnonzero(~known)
        self.biased = float(factors.item_biases.any())  # without biases a 1 would leave nothing of small factors

    def __repr__(self) -> str:
        return f"Index({self.factors.n_items:,} items, k = {self.factors.n_factors})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"graph": self.graph.as_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, graph=_voyager().Index.load(io.BytesIO(state["graph"])))

    def of(self, factors: Any) -> Index:
        """The same graph for other users of the same items, such as `fold_in` makes them: nothing is built.

        Raises
        ------
        ValueError
            If their items differ from those of the index.
        """
        for field in ("item_biases", "item_factors"):
            theirs: Any = getattr(factors, field, None)
            ours = getattr(self.factors, field)
            if theirs is not ours and not np.array_equal(theirs, ours):  # fold_in hands them on as they are
                raise ValueError(
                    f"{factors} have other items than {self.factors}: build an index of theirs, to_index()"
                )
        made = object.__new__(Index)
        made.__dict__.update(self.__dict__, factors=factors)
        return made

    def recommend(self, user: Any, n: int = 10, exclude: Any = None, ef: int = 200) -> Lists:
        """Likely the `n` items with the highest prediction: `Factors.recommend`, sooner where items are very many.

        Parameters
        ----------
        user, n, exclude
            As in `Factors.recommend`. What is excluded is searched for, too, and taken out.
        ef : int
            How many candidates a search keeps, n and the excluded at least: with more, fewer items are missed, and it
            takes longer.

        Returns
        -------
        items, predictions : arrays of equal shape, (n,) or (m, n)
            As `Factors.recommend` returns them; some of the best may be missing, and worse ones stand in their places.

        Raises
        ------
        ValueError
            As in `Factors.recommend`, and for an `ef` that is no whole number from 1.

        Notes
        -----
        Where n and the excluded are a quarter of the items or more, the search is exact: `Factors.recommend`.
        """
        factors, ef = self.factors, whole_number("ef", ef, 1, 2**31 - 1)

        def find(users: np.ndarray, n: int, hidden: Hidden) -> Lists:
            lists, scores = empty_lists(users, n, factors.predict)
            parts = (users[at : at + USERS_AT_ONCE] for at in range(0, len(users), USERS_AT_ONCE))
            counts = [np.bincount(hidden(part)[0], minlength=len(part)) for part in parts]
            wanted = n + np.concatenate([*counts, np.zeros(0, np.int64)])
            walks = 4 * wanted < len(self.graph)
            blocks = np.cumsum(wanted * walks) // CANDIDATES_AT_ONCE
            for block in np.unique(blocks[walks]):
                places = np.flatnonzero(walks & (blocks == block))
                some = np.full((len(places), n), -1), np.full((len(places), n), -np.inf, scores.dtype)
                walks[places] = self._walk(users[places], wanted[places], hidden, ef, *some)
                lists[places], scores[places] = some
            rest = np.flatnonzero(~walks)
            if len(rest):
                lists[rest], scores[rest] = factors.recommend(users[rest], n, exclude)
            return lists, scores

        return answered(find, user, n, exclude, (factors.n_users, factors.n_items))

    def _walk(
        self, users: np.ndarray, wanted: np.ndarray, hidden: Hidden, ef: int, lists: np.ndarray, scores: np.ndarray
    ) -> np.ndarray:
        """Fill the lists of some users; returns whether the graph reaches as many items as each of them wants."""
        n_items = self.factors.n_items
        found = [self._nearest(int(user), int(many), ef) for user, many in zip(users, wanted, strict=True)]
        own, items = np.repeat(np.arange(len(users)), list(map(len, found))), np.concatenate(found)
        rows, seen = hidden(users)
        if len(seen):
            shown = ~np.isin(own * n_items + items, rows * n_items + seen)
            own, items = own[shown], items[shown]
        fill_lists(lists, scores, own, items, self.factors.predict(users[own], items))
        return np.array([len(each) > 0 for each in found], bool)

    def _nearest(self, user: int, n: int, ef: int) -> np.ndarray:
        """Some n items, and as many of those with zeros; none where the graph does not reach so many."""
        query = np.append(self.factors.user_factors[user].astype(np.float64), (self.biased, 0.0))
        query /= max(np.abs(query).max(), 1e-300)  # a cosine has no length, and float32 squares it
        try:
            found = self.graph.query(query.astype(np.float32), n, query_ef=max(n, ef))[0].astype(np.int64)
        except _voyager().RecallError:
            return np.zeros(0, np.int64)
        return np.concatenate([found, self.unknown[:n]])


def item_vectors(factors: Any, items: Any = slice(None)) -> np.ndarray:
    """Rows [q_i, b_i, √(M² - ‖q_i‖² - b_i²)] / M, all of length 1: cosines with [p_u, 1, 0] are in the order of predictions.

    Parameters
    ----------
    factors : Factors
        M is the largest ‖[q_i, b_i]‖ of all its items.
    items : int array or slice
        Which rows are wanted: all of a large catalogue take as much memory as its factors.

    Returns
    -------
    float32 array, shape (n, k + 2)

    Notes
    -----
    Y. Bachrach and others, Speeding Up the Xbox Recommender System Using a Euclidean Transformation for Inner-Product
    Spaces (RecSys 2014).
    """
    lengths = factors._item_lengths
    longest = max(lengths.max(initial=0.0), 1e-300)
    rows = np.column_stack([factors.item_factors[items], factors.item_biases[items]]).astype(np.float64) / longest
    rest = np.sqrt(np.maximum(0.0, 1.0 - (lengths[items] / longest) ** 2))
    return np.column_stack([rows, rest]).astype(np.float32)


def build_index(factors: Any, m: int, ef_construction: int, threads: int, seed: int, progress: bool) -> Index:
    """The graph of `Factors.to_index`, with a progress bar."""
    m, ef_construction = whole_number("m", m, 2, 256), whole_number("ef_construction", ef_construction, 1, 100_000)
    threads, seed = whole_number("threads", threads, 1, 1024), whole_number("seed", seed, 0, 2**32 - 1)
    progress, voyager = yes_or_no("progress", progress), _voyager()
    known = np.flatnonzero(_known(factors))
    if not len(known):
        raise ValueError(f"{factors} have neither factors nor biases of items: there is no order to find")
    longest, median = factors._item_lengths.max(), np.median(factors._item_lengths[known])
    if longest > LONGEST * median:
        raise ValueError(
            f"item {factors._item_lengths.argmax()} has a row of length {longest:.3g}, the median is {median:.3g}: beyond "
            f"{LONGEST:,.0f} times that float32 does not tell the others apart; recommend() does, or scale that row"
        )
    require_memory(f"an index of {len(known):,} items with m={m}", len(known) * (factors.n_factors + 2 * m + 16), 4)
    graph = voyager.Index(
        voyager.Space.Cosine, factors.n_factors + 2, M=m, ef_construction=ef_construction, random_seed=seed,
        max_elements=len(known),
    )  # fmt: skip
    for at in progress_bar(range(0, len(known), AT_ONCE), show=progress, desc="index"):
        part = known[at : at + AT_ONCE]
        graph.add_items(item_vectors(factors, part), ids=part, num_threads=threads)
    return Index(factors, graph)


def _known(factors: Any) -> np.ndarray:
    """Of which items there is more than zeros."""
    return factors.item_factors.any(axis=1) | (factors.item_biases != 0)


def _voyager() -> Any:
    try:
        import voyager
    except ImportError as error:
        raise ImportError("voyager is not installed: pip install -c constraints.txt voyager") from error
    return voyager
