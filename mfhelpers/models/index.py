"""An index of items: the best ones found by walking a graph, where a product with every item would take too long."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.arguments import whole_number
from ..display.progress import progress as progress_bar
from .topn import asked, empty_lists, fill

AT_ONCE = 1 << 14  # items between two steps of the progress bar
USERS_AT_ONCE = 1 << 10


class Index:
    """An approximate search for the items with the highest predictions; made by `Factors.to_index`.

    Parameters
    ----------
    factors : Factors
        Whose items it holds, and whose users ask.
    graph : voyager.Index
        Of those `item_vectors(factors)` whose items are known: rows of zeros are each other's neighbours and nobody else's,
        so they would cut the graph into pieces. It has `save` and `load` of its own.

    Notes
    -----
    It may miss an item that belongs in a list; what it does return has the prediction of `factors.predict`, bit for bit.
    """

    def __init__(self, factors: Any, graph: Any) -> None:
        known = factors.item_lengths > 0
        if len(graph) != known.sum() or graph.num_dimensions != factors.n_factors + 2:
            raise ValueError(
                f"the graph holds {len(graph):,} vectors of {graph.num_dimensions} numbers, {factors} need "
                f"{known.sum():,} of {factors.n_factors + 2}: make it of these items"
            )
        self.factors, self.graph, self.unknown = factors, graph, np.flatnonzero(~known)

    def __repr__(self) -> str:
        return f"Index({self.factors.n_items:,} items, k = {self.factors.n_factors})"

    def of(self, factors: Any) -> Index:
        """The same graph for other users of the same items, such as `fold_in` makes them: nothing is built.

        Raises
        ------
        ValueError
            If their items differ from those of the index.
        """
        for field in ("item_biases", "item_factors"):
            if not np.array_equal(getattr(factors, field), getattr(self.factors, field)):
                raise ValueError(
                    f"{factors} have other items than {self.factors}: build an index of theirs, to_index()"
                )
        return Index(factors, self.graph)

    def recommend(self, user: Any, n: int = 10, exclude: Any = None, ef: int = 200) -> tuple[np.ndarray, np.ndarray]:
        """Likely the `n` items with the highest prediction: `Factors.recommend`, sooner where items are very many.

        Parameters
        ----------
        user, n, exclude
            As in `Factors.recommend`. What is excluded is searched for, too, and taken out.
        ef : int
            How many candidates a search keeps: the larger, the fewer are missed, and the longer it takes.

        Returns
        -------
        items, predictions : arrays of equal shape, (n,) or (m, n)
            As `Factors.recommend` returns them; some of the best may be missing, and worse ones stand in their places.

        Raises
        ------
        ValueError
            As in `Factors.recommend`, and for an `ef` below 1.
        """
        factors, ef = self.factors, whole_number("ef", ef, 1)
        n, users, hidden = asked(user, n, exclude, (factors.n_users, factors.n_items))
        everybody = np.atleast_1d(users)
        lists, scores = empty_lists(everybody, n, factors.predict)
        for at in range(0, len(everybody), USERS_AT_ONCE):
            some = everybody[at : at + USERS_AT_ONCE]
            rows, seen = hidden(some)
            wanted = np.minimum(n + np.bincount(rows, minlength=len(some)), factors.n_items)
            found = [self._nearest(*one, ef) for one in zip(some, wanted, strict=True)]
            own, items = np.repeat(np.arange(len(some)), list(map(len, found))), np.concatenate(found)
            shown = ~np.isin(own * factors.n_items + items, rows * factors.n_items + seen)
            own, items = own[shown], items[shown]
            fill(lists[at : at + len(some)], scores[at : at + len(some)], own, items, factors.predict(some[own], items))
        if users.ndim:
            return lists, scores
        left = lists[0] >= 0
        return lists[0][left], scores[0][left]

    def _nearest(self, user: np.int64, n: np.int64, ef: int) -> np.ndarray:
        """Some n items and as many unknown ones; all where n is a large part of them, or more than the graph reaches."""
        if 4 * n < len(self.graph):
            query = np.append(self.factors.user_factors[user], (1.0, 0.0))
            query = (query / np.abs(query).max()).astype(np.float32)  # a cosine has no length, and float32 squares it
            try:
                found = self.graph.query(query, int(n), query_ef=max(int(n), ef))[0].astype(np.int64)
                return np.concatenate([found, self.unknown[:n]])
            except _voyager().RecallError:
                pass
        return np.arange(self.factors.n_items)


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

    Raises
    ------
    ValueError
        If all items have zeros.

    Notes
    -----
    Y. Bachrach and others, Speeding Up the Xbox Recommender System Using a Euclidean Transformation for Inner-Product
    Spaces (RecSys 2014).
    """
    lengths = factors.item_lengths
    longest = lengths.max(initial=0.0)
    if not longest:
        raise ValueError(f"{factors} have neither factors nor biases of items: there is no order to find")
    rows = np.column_stack([factors.item_factors[items], factors.item_biases[items]]).astype(np.float64) / longest
    rest = np.sqrt(np.maximum(0.0, 1.0 - (lengths[items] / longest) ** 2))
    return np.column_stack([rows, rest]).astype(np.float32)


def built(factors: Any, m: int, ef_construction: int, threads: int, seed: int, progress: bool) -> Index:
    """The graph of `Factors.to_index`, with a progress bar."""
    m, ef_construction = whole_number("m", m, 2, 256), whole_number("ef_construction", ef_construction, 1, 100_000)
    threads, seed = whole_number("threads", threads, 1, 1024), whole_number("seed", seed, 0, 2**32 - 1)
    voyager = _voyager()
    known = np.flatnonzero(factors.item_lengths)
    width = item_vectors(factors, known[:1]).shape[1]  # and items without any order are refused
    graph = voyager.Index(
        voyager.Space.Cosine, width, M=m, ef_construction=ef_construction, random_seed=seed, max_elements=len(known)
    )
    for at in progress_bar(range(0, len(known), AT_ONCE), show=progress, desc="index"):
        part = known[at : at + AT_ONCE]
        graph.add_items(item_vectors(factors, part), ids=part, num_threads=threads)
    return Index(factors, graph)


def _voyager() -> Any:
    try:
        import voyager
    except ImportError as error:
        raise ImportError("voyager is not installed: pip install -c constraints.txt voyager") from error
    return voyager
