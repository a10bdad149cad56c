"""What a learner reads: an exercise passed, or the property that it lacks and the likely cause."""

from __future__ import annotations

import functools
import traceback
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from ..data.ratings import Ratings
from .timelimit import TimeLimit, TimeUp, is_learners


class NotYet(AssertionError):
    """An answer lacks a property; the message is all that a notebook shows."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for it: frames of the check would teach nothing
        return str(self).splitlines()


SECONDS = 20.0  # for the answers of one check; right ones take a second or two


def exercise(number: int, title: str, found: Any = None) -> Callable:
    """Make a check of a function that raises `NotYet`, or returns what it has verified in a few words.

    The check prints that the exercise passed. It takes `seconds=` besides: answers that run on for
    longer are stopped, and told so.

    Parameters
    ----------
    number, title
        As in the notebook.
    found : any, optional
        What MovieLens says to the guess, which is the check's first argument then. A wrong guess
        passes: the verdict on it stands in what is printed.
    """

    def decorate(verify: Callable[..., str]) -> Any:
        @functools.wraps(verify)
        def checked(*answer: Any, seed: int = 0, seconds: float = SECONDS) -> None:
            limit = TimeLimit(seconds)
            try:
                with limit:
                    verified = verify(*answer, seed=seed)
            except NotYet as lacking:
                raise NotYet(f"Exercise {number}, not yet: {lacking}") from None
            except TimeUp as late:
                limit.close()
                raise NotYet(f"Exercise {number}, not yet: {_late(late, seconds)}") from None
            except Exception as error:  # of the learner's code; the check's own frames would show the solution
                raise NotYet(f"Exercise {number}, not yet: {_stopped(error)}") from None
            print(f"Exercise {number} passed: {verified}" + ("" if found is None else _verdict(answer[0], found)))

        marked: Any = checked
        marked.number, marked.title, marked.found = number, title, found
        return marked

    return decorate


def _verdict(guess: Any, found: Any) -> str:
    if guess == found or str(guess).strip().lower() == str(found).lower():
        return f". You guessed {guess!r}, and so it is on MovieLens"
    return f". You guessed {guess!r}; on MovieLens it is {found!r}. Which number below did you expect otherwise?"


LIKELY = {  # what an error means in an answer; the first that fits
    NotImplementedError: "This cell still waits for your answer.",
    np.linalg.LinAlgError: "solve takes a square matrix, then the right side: print both shapes. Is a [:, None] missing?",
    IndexError: "A place beyond the end, or an axis too many: print the shapes, and the place.",
    KeyError: "A key that is not there: print the keys.",
    ZeroDivisionError: "What is divided by here can be zero.",
    TypeError: "Are the arguments those of the docstring, in its order, and is each a number or an array?",
    AttributeError: "Print what this object is; has something become None?",
    NameError: "A name that this notebook does not know: is its cell run?",
    ValueError: "Print the shapes of what meets in this line.",
    RecursionError: "The function calls itself without an end.",
    RuntimeError: "Print the shapes and the dtypes of what meets in this line.",
}


def _stopped(error: Exception) -> str:
    """An error in the learner's code, as a property that it lacks; one of the check itself goes on."""
    learners = _learners_lines(error)
    if not learners and not isinstance(error, TypeError):  # a call with other arguments leaves no frame
        raise error
    place = f" in the line `{learners[-1]}`" if learners and learners[-1] else ""
    cause = next((words for kind, words in LIKELY.items() if isinstance(error, kind)), "Run your function on its own.")
    if isinstance(error, np.linalg.LinAlgError) and "ingular" in str(error):
        cause = "A system without a unique solution: is a penalty missing on the diagonal?"
    return _message(f"your answer stops{place}", "a result", f"{type(error).__name__}: {error}", cause)


def _late(error: BaseException, seconds: float) -> str:
    """An answer that was stopped, as a property that it lacks."""
    lines, stopped = [], error
    while stopped and not lines:  # what woke the answer may have been overtaken by what was to stop it
        lines, stopped = _learners_lines(stopped), stopped.__cause__ or stopped.__context__
    place = f" in the line `{lines[-1]}`" if lines and lines[-1] else ""
    return _message(
        f"your answer does not end{place}", f"a result within {seconds:g} seconds", "none so far",
        "Does its loop ever end? Or does it go round too often, where a product of arrays would do it at once? "
        "(On a slow computer: seconds=60 as one more argument.)",
    )  # fmt: skip


def _learners_lines(error: BaseException) -> list[str | None]:
    """The lines of the learner's own code that an error has come through."""
    return [frame.line for frame in traceback.extract_tb(error.__traceback__) if is_learners(frame.filename)]


def fail(what: str, expected: Any, got: Any, cause: str) -> NoReturn:
    """Raise `NotYet`: what property, what it should be and is, and why that may be."""
    raise NotYet(_message(what, expected, got, cause))


def _message(what: str, expected: Any, got: Any, cause: str) -> str:
    return f"{what}\n   expected  {_show(expected)}\n   got       {_show(got)}\n   likely    {cause}"


def require(holds: Any, what: str, expected: Any, got: Any, cause: str) -> None:
    """Require a property; `fail` with the rest if it does not hold."""
    if not holds:
        fail(what, expected, got, cause)


def untouched(now: Any, before: Any, what: str) -> None:
    """Require an argument to be what it was before the answer was called."""
    require(np.array_equal(now, before, equal_nan=True), f"{what} after your answer", before, now,
            "It was changed, and belongs to the caller: `*=`, `-=`, `sort` and `pop` work in place. Compute something new.")  # fmt: skip


class Either(tuple):
    """Results of which each deserves the same hint."""


def agree(
    got: Any,
    expected: Any,
    what: str,
    mistakes: Mapping[str, Any] | None = None,
    cause: str = "Go through it by hand for one rating and compare each intermediate result.",
    tolerance: float = 1e-6,
    secret: bool = False,
) -> None:
    """Require an answer to be the expected numbers.

    Parameters
    ----------
    got, expected : number, array, tensor, or a tuple of arrays
    what : str
        The property, as in "the row of P after one step".
    mistakes : {hint: result}
        What typical mistakes give in the same case. An answer that is one of them gets its hint. `Either` of several
        results, where slips of one kind are worth one hint.
    cause : str
        The hint for every other answer.
    tolerance : float
        Relative to 1 + the size of each number.
    secret : bool
        Whether the expected numbers are the answer itself, and so are not told.

    Raises
    ------
    NotYet
        If nothing came back, the shape is another, or a number is.
    """
    told = "to be worked out" if secret else expected
    if got is None:
        fail(what, told, got, "Nothing came back: does the function end in `return`?")
    if isinstance(expected, tuple):
        return _agree_all(got, expected, what, mistakes or {}, cause, tolerance, secret)
    try:
        got = _array(got)
    except (TypeError, ValueError):
        fail(what, told, got, f"This is a {type(got).__name__}, where a number or an array should be.")
    expected = _array(expected)
    told = told if secret else expected
    if _close(got, expected, tolerance):
        return None
    for hint, wrong in (mistakes or {}).items():
        if any(_close(got, _array(one), tolerance) for one in (wrong if isinstance(wrong, Either) else (wrong,))):
            fail(what, told, got, hint)
    if got.shape != expected.shape:
        fail(
            f"the shape of {what}",
            str(expected.shape),
            str(got.shape),
            "Print the shapes of what goes in, then of each step.",
        )
    if np.isnan(got).any() and not np.isnan(expected).any():
        cause = "A nan came in: a division by zero, or a number that grew out of all bounds?"
    elif _close(got, expected, 1e-4):
        apart = np.abs(got - expected).max()
        cause += f" (Nearly: {apart:.0e} apart. Is something float32, or does a descent end too early?)"
    fail(what, told, got, cause)


def _agree_all(got, expected, what, mistakes, cause, tolerance, secret) -> None:
    """`agree` for several results: hints for all of them together, then each on its own."""
    several = not isinstance(got, (dict, str)) and hasattr(got, "__len__") and len(got) == len(expected)
    if not several:
        fail(what, f"{len(expected)} results", got, f"Give all {len(expected)} of them, in the order of the question.")
    try:
        parts = [_array(part) for part in got]
    except (TypeError, ValueError):
        fail(what, f"{len(expected)} results of numbers", got, "One of them is no number and no array.")

    def are(others):
        return all(_close(one, _array(other), tolerance) for one, other in zip(parts, others, strict=True))

    if are(expected):
        return
    for hint, wrong in mistakes.items():
        if any(are(one) for one in (wrong if isinstance(wrong, Either) else (wrong,))):
            fail(what, "to be worked out" if secret else expected, tuple(got), hint)
    for place, (one, other) in enumerate(zip(parts, expected, strict=True), 1):
        agree(one, other, f"{what}, number {place} of {len(expected)}", cause=cause, tolerance=tolerance, secret=secret)


class Together:
    """Several cases of one question: an answer gets the hint of a mistake that fits it in all of them.

    Where results are few whole numbers, two mistakes give the same one now and then. So the cases that
    follow the first failure are asked as well, and only a mistake that explains every answer is named.
    """

    def __init__(self) -> None:
        self._first: tuple | None = None
        self._fitting: set[str] | None = None

    def __enter__(self) -> Together:
        return self

    def agree(self, got: Any, expected: Any, what: str, mistakes: Mapping[str, Any], **how: Any) -> None:
        """As the function of this name; what is lacking is said when all cases have been asked."""
        self._ask(got, expected, what, mistakes, agree, how)

    def equal(self, got: Any, expected: Any, what: str, mistakes: Mapping[str, Any], cause: str) -> None:
        """As `agree`, for names and dicts of names."""
        self._ask(got, expected, what, mistakes, _equal, {"cause": cause})

    def _ask(self, got: Any, expected: Any, what: str, mistakes: Mapping, compare: Callable, how: Mapping) -> None:
        fitting = set()
        for hint, wrong in mistakes.items():
            if any(_passes(compare, got, one, **how) for one in (wrong if isinstance(wrong, Either) else (wrong,))):
                fitting.add(hint)
        self._fitting = fitting if self._fitting is None else self._fitting & fitting
        if self._first is None and not _passes(compare, got, expected, **how):
            self._first = got, expected, what, mistakes, compare, how

    def __exit__(self, kind: type | None, error: BaseException | None, where: Any) -> None:
        if self._first is None or not (error is None or isinstance(error, Exception)):
            return
        got, expected, what, mistakes, compare, how = self._first
        told = {hint: wrong for hint, wrong in mistakes.items() if hint in (self._fitting or ())}
        compare(got, expected, what, told, **how)


def _equal(got: Any, expected: Any, what: str, mistakes: Mapping[str, Any] | None = None, cause: str = "") -> None:
    for hint, wrong in (mistakes or {}).items():
        require(got == expected or got != wrong, what, expected, got, hint)
    require(got == expected, what, expected, got, cause)


def _passes(compare: Callable, got: Any, expected: Any, **how: Any) -> bool:
    try:
        compare(got, expected, "", **how)
    except NotYet:
        return False
    return True


def guessed(guess: Any, choices: tuple, what: str = "your guess") -> None:
    """Require one of the possible guesses; which one is the learner's own business."""
    require(
        guess in choices or str(guess).strip().lower() in choices,
        what,
        " or ".join(map(repr, choices)),
        repr(guess),
        "One of these is asked for.",
    )


def peak_memory(answer: Callable, *given: Any) -> int:
    """Bytes that an answer takes at most, of what Python and NumPy allocate."""
    tracemalloc.start()
    try:
        answer(*given)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def cases(seed: int, n: int = 20) -> Iterator[np.random.Generator]:
    """Random generators for n cases, the same for the same seed."""
    for number in range(n):
        yield np.random.default_rng([seed, number])


def some_ratings(rng: np.random.Generator, n_users: int = 6, n_items: int = 5, share: float = 0.6) -> Ratings:
    """A few ratings of 1 to 5 stars; the last user and the last item have none."""
    rated = rng.random((n_users - 1, n_items - 1)) < share
    rated[0, 0] = rated[-1, -1] = True
    users, items = np.nonzero(rated)
    order = rng.permutation(len(users))
    values = rng.integers(1, 6, len(users))
    return Ratings(users[order], items[order], values, n_users, n_items, (1, 5, 1))


def _array(value: Any) -> np.ndarray:
    """float64; a TypeError for what is no number."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, (list, tuple)):
        value = [part.detach().cpu().numpy() if hasattr(part, "detach") else part for part in value]
    array = np.asarray(value)
    if array.dtype == object and not any(one is None for one in array.flat):  # as of a frame with numbers and flags
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{array.dtype} is no type of real numbers")
    return array.astype(np.float64)


def _close(got: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    return got.shape == expected.shape and bool(np.allclose(got, expected, tolerance, tolerance, equal_nan=True))


def _show(value: Any) -> str:
    if isinstance(value, tuple) and value and not isinstance(value[0], (str, tuple)):
        return " and ".join(map(_show, value))
    if isinstance(value, (np.ndarray, np.generic, float)) or hasattr(value, "detach"):
        try:
            digits = {"float_kind": lambda number: f"{number:.4g}"}
            text = np.array2string(_array(value), formatter=digits, threshold=12, edgeitems=3, separator=", ")
        except (TypeError, ValueError):
            return str(value)
        return text.replace("\n", "\n             ")
    return str(value)
