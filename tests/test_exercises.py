"""Exercises from both sides: solutions pass when their notebook runs, stubs stop, wrong answers get their own hint."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import io
import re

import nbformat
import numpy as np
import pytest
import torch

from mfhelpers.check import feedback
from mfhelpers.course import classroom, notebooks

SOLUTIONS = {path.stem: nbformat.read(path, as_version=4) for path in notebooks.solutions()}
HEADING = re.compile(r"^### Exercise (\d) · (.+) \((●{1,3}|★) (\d+) minutes\)$", re.M)
ERROR = re.compile(r"(?<![\d.])(?:0\.[89]|1\.\d)\d\d(?!\d)")


def checks(name):
    """{function name: check} of a lesson, in the order of the exercises."""
    module = importlib.import_module(f"mfhelpers.check.lesson_{name[:2]}")
    found = [thing for thing in vars(module).values() if callable(thing) and hasattr(thing, "number")]
    return {thing.__name__: thing for thing in sorted(found, key=lambda thing: thing.number)}


def wrong(name):
    """{function name: [(answer, words of its hint), …]} of a lesson."""
    return importlib.import_module(f"wrong_answers.lesson_{name[:2]}").WRONG


@functools.cache
def said_to(name, function, number):
    """What a check says to one of the wrong answers."""
    with pytest.raises(feedback.NotYet) as caught:
        checks(name)[function](*wrong(name)[function][number][0], seed=0)
    return str(caught.value)


def every_wrong_answer():
    return [
        pytest.param(name, function, number, id=f"{name[:2]}-{function}-{hint[:20]}")
        for name in SOLUTIONS
        for function, answers in wrong(name).items()
        for number, (_, hint) in enumerate(answers)
    ]


def cells(notebook, kind):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def marks(cell):
    return cell.metadata.get("nbgrader", {})


def headings(notebook):
    return HEADING.findall("\n".join(cell.source for cell in cells(notebook, "markdown")))


@pytest.fixture(params=SOLUTIONS, ids=lambda name: name)
def name(request):
    return request.param


@pytest.fixture
def solution(name):
    return SOLUTIONS[name]


# -- the checks ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "function", "number"), every_wrong_answer())
def test_a_typical_wrong_answer_gets_its_own_hint(name, function, number):
    said = said_to(name, function, number)
    assert said.startswith(f"Exercise {checks(name)[function].number}, not yet: ")
    assert wrong(name)[function][number][1] in said
    assert all(f"\n   {part} " in said for part in ("expected", "got", "likely"))


def right_answers(solution):
    """What the answer cells of a notebook define, and (check, its arguments as source) for each exercise."""
    names = {"train": range(72_000)}  # one answer asks for its length
    asked = []
    for cell in cells(solution, "code"):
        if marks(cell).get("solution") or re.search("^SEED", cell.source, flags=re.M):
            exec(cell.source, names)
        asked += re.findall(r"^check\.(\w+)\((.*), seed=SEED\)", cell.source, flags=re.M)
    return names, asked


def same_results(one, other, tolerance):
    one, other = (part if isinstance(part, tuple) else (part,) for part in (one, other))
    return len(one) == len(other) and all(
        feedback._close(feedback._array(a), feedback._array(b), tolerance) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_mistake_is_taken_for_another_one(name, solution, monkeypatch, capsys):
    """In the first case in which a mistake shows, no other mistake gives the same."""
    module, compared = importlib.import_module(f"mfhelpers.check.lesson_{name[:2]}"), []

    def agree(got, expected, what, mistakes=None, cause="", tolerance=1e-6, secret=False):
        compared.append((expected, mistakes or {}, tolerance))
        feedback.agree(got, expected, what, mistakes, cause, tolerance, secret)

    monkeypatch.setattr(module, "agree", agree, raising=False)  # some compare all cases together, which knows better
    names, asked = right_answers(solution)
    for function, arguments in asked:
        compared.clear()
        eval(f"the_check({arguments}, seed=0)", names | {"the_check": checks(name)[function]})
        for hint in dict.fromkeys(hint for _, mistakes, _ in compared for hint in mistakes):
            shown = [c for c in compared if hint in c[1] and not same_results(c[1][hint], c[0], c[2])]
            assert shown, f"{function}: never wrong: {hint}"
            expected, mistakes, tolerance = shown[0]
            alike = [other for other, result in mistakes.items() if same_results(result, mistakes[hint], tolerance)]
            assert alike[0] == hint, f"{function}: {hint}"


def in_other_words():
    """Right answers that are not the solution's."""
    from wrong_answers import lesson_02, lesson_05, lesson_08, lesson_09

    of_the_lesson = lesson_02.fitted(epochs=50)
    yield "02_autograd", "ratings_with_something_to_learn", (7, of_the_lesson)
    turned = lambda predicted, values: (predicted - values.reshape(predicted.shape)).square().mean()  # noqa: E731
    yield "02_autograd", "the_quiet_column", (lesson_02.quiet_aim, turned)
    rows = lesson_05.lazy(rows=lambda g: (g != 0).any(dim=1))
    yield "05_optimizers", "momentum_meets_the_sparse_row", ("both", lesson_05.travelled, rows)
    key = lambda users, films, train: films * train.n_users + users  # noqa: E731
    yield "08_svd", "unrated_films_that_were_rated", (9, lesson_08.triples(lesson_08.redrawn(key=key)))

    def of_equal_cells(rng, n_folds, ratings):
        table = rng.permutation(ratings.n_users * ratings.n_items).reshape(ratings.n_users, -1) % n_folds
        return table[ratings.users, ratings.items]

    yield "09_surprise", "folds_over_cells", (100, lesson_09.folds(of_equal_cells))


@pytest.mark.parametrize(("lesson", "function", "answer"), list(in_other_words()))
def test_a_right_answer_in_other_words_passes(lesson, function, answer, capsys):
    checks(lesson)[function](*answer, seed=0)
    assert "passed: " in capsys.readouterr().out


def test_each_exercise_knows_two_wrong_answers_with_different_hints(name):
    assert list(wrong(name)) == list(checks(name))
    for function, answers in wrong(name).items():
        assert len({hint for _, hint in answers}) >= 2, function


def test_checks_are_numbered_and_titled_as_in_the_notebook(name, solution):
    stated = [(int(number), title) for number, title, _, _ in headings(solution)]
    assert [(check.number, check.title) for check in checks(name).values()] == stated
    assert [number for number, _ in stated] == list(range(1, len(stated) + 1))


def test_every_check_says_what_it_looks_at(name):
    for function in checks(name).values():
        assert len(function.__doc__.split()) >= 5
        assert "seed" in inspect.signature(function).parameters


# -- the solutions ---------------------------------------------------------------------------------


def test_minutes_of_the_exercises_are_the_lessons(name, solution):
    total = sum(int(minutes) for *_, minutes in headings(solution))
    assert f"**Time.** {total} minutes." in solution.cells[0].source
    lesson = nbformat.read(notebooks.folder() / f"{name}.ipynb", as_version=4)
    assert f"{total} minutes of exercises" in lesson.cells[0].source
    assert 3 <= len(headings(solution)) <= 5


def test_the_lesson_lists_its_exercises(name, solution):
    lesson = nbformat.read(notebooks.folder() / f"{name}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in cells(lesson, "markdown"))
    listed = text[text.index("## Exercises") :]
    assert f"(exercises/{name}.ipynb)" in listed
    for number, title, level, minutes in headings(solution):
        assert f"{number}. {title} ({level} {minutes} minutes)" in listed


def test_title_names_the_lesson(name, solution):
    lesson = nbformat.read(notebooks.folder() / f"{name}.ipynb", as_version=4)
    title = lesson.cells[0].source.splitlines()[0].removeprefix("# ")
    assert solution.cells[0].source.startswith(f"# Exercises to lesson {name[:2]} · {title}\n")
    assert f"(../{name}.ipynb)" in solution.cells[0].source


def test_each_exercise_has_hints_an_answer_and_a_check(solution):
    found = {}
    for cell in solution.cells:
        if cell.cell_type == "markdown" and (match := HEADING.search(cell.source)):
            number = match[1]
            found[number] = []
        if "grade_id" in marks(cell):
            assert re.fullmatch(rf"exercise-{number}([a-z]|-check|-words)?", marks(cell).grade_id)
            found[number].append(marks(cell).grade_id)
    for number, ids in found.items():
        assert ids[0] == f"exercise-{number}"
        assert f"exercise-{number}-check" in ids
    text = "\n".join(cell.source for cell in cells(solution, "markdown"))
    for exercise in HEADING.split(text)[5::5]:
        assert "<summary>Hint</summary>" in exercise
        assert exercise.count("<details>") == exercise.count("</details>") >= 1


def test_marks_are_nbgraders(solution):
    ids = [marks(cell).grade_id for cell in solution.cells if marks(cell)]
    assert len(ids) == len(set(ids))
    for cell in solution.cells:
        assert set(cell.metadata) <= {"nbgrader", "tags"}
        mark, source = marks(cell), cell.source
        assert bool(mark.get("solution")) == ("### BEGIN SOLUTION" in source)
        if "### BEGIN HIDDEN TESTS" in source:
            assert mark.grade
            assert not mark.solution
        if mark:
            is_check, is_words = mark.grade_id.endswith("-check"), mark.grade_id.endswith("-words")
            assert mark.schema_version == 3
            assert mark.solution is not is_check
            assert mark.locked is is_check
            assert mark.grade is (is_check or is_words)
            assert not mark.grade or mark.points >= 1


def test_a_check_has_its_seed_and_hidden_tests_another(solution):
    for cell in solution.cells:
        if marks(cell).get("grade_id", "").endswith("-check"):
            visible, _, hidden = cell.source.partition("### BEGIN HIDDEN TESTS")
            assert re.search(r"^check\.\w+\(.*seed=SEED\)", visible, flags=re.M)
            assert not hidden or re.search(r"^check\.\w+\(.*seed=SEED \+ 1\)", hidden, flags=re.M)


def test_the_seed_stands_where_a_teacher_can_change_it(solution):
    assert len(classroom.SEED.findall("\n".join(cell.source for cell in cells(solution, "code")))) == 1


def test_outputs_are_stored_and_of_real_data(solution):
    code = cells(solution, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        texts = "".join(output.get("text", "") for output in cell.outputs)
        assert "SIMULATED" not in str(cell.outputs)
        assert all(output.output_type != "error" and output.get("name") != "stderr" for output in cell.outputs)
        if marks(cell).get("grade_id", "").endswith("-check"):
            assert f"Exercise {marks(cell).grade_id.split('-')[1]} passed: " in texts
            assert set(cell.metadata.tags) <= {"nbval-check-output", "nbval-ignore-output"}


def test_errors_stated_in_an_answer_are_printed(solution):
    printed = ERROR.findall(str([cell.outputs for cell in cells(solution, "code")]))
    for lesson in sorted(notebooks.folder().glob("*.ipynb")):
        for cell in cells(nbformat.read(lesson, as_version=4), "code"):
            printed += ERROR.findall(" ".join(output.get("text", "") for output in cell.outputs))
    stated = ERROR.findall("\n".join(cell.source for cell in cells(solution, "markdown")))
    assert set(stated) <= set(printed)


def test_no_line_of_code_runs_out_of_the_page(solution):
    assert not [line for cell in cells(solution, "code") for line in cell.source.splitlines() if len(line) > 110]


def test_budgets(solution):
    """As for lessons; a question with its hints, or an answer in words, is one text cell."""
    assert max(len(cell.source.split()) for cell in cells(solution, "markdown")) <= 150
    assert max(sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in cells(solution, "code")) <= 25


# -- students' copies ------------------------------------------------------------------------------


def test_a_students_copy_is_what_the_solution_makes(name, solution):
    stored = (notebooks.folder() / "exercises" / f"{name}.ipynb").read_text(encoding="utf8")
    assert nbformat.writes(classroom.student_copy(solution)) + "\n" == stored, "renew it: make outputs"


def test_no_students_copy_is_left_over():
    assert {path.stem for path in (notebooks.folder() / "exercises").glob("*.ipynb")} == set(SOLUTIONS)


def test_a_students_copy_parses_and_gives_nothing_away(solution):
    copy = classroom.student_copy(solution)
    nbformat.validate(copy)
    for cell in copy.cells:
        assert not re.search("BEGIN|END (SOLUTION|HIDDEN)", cell.source)
        if cell.cell_type == "code":
            ast.parse(cell.source)
            assert not cell.outputs
            assert cell.execution_count is None


def test_every_stub_stops_and_names_its_exercise(solution):
    copy = classroom.student_copy(solution)
    for cell in cells(copy, "code"):
        if not marks(cell).get("solution"):
            continue
        names, number = {}, re.search(r"\d+", marks(cell).grade_id)[0]
        with pytest.raises(NotImplementedError, match=f"Exercise {number}: your answer goes here"):
            run_stub(cell.source, names)


def run_stub(source, names):
    exec(source, names)
    (function,) = (thing for thing in names.values() if inspect.isfunction(thing))
    assert len(function.__doc__.split()) >= 5
    function(*[None] * len(inspect.signature(function).parameters))


# -- feedback itself -------------------------------------------------------------------------------


@feedback.exercise(7, "for this test")
def answer_is_pair(answer, seed=0):
    feedback.agree(answer, 2.0, "twice one", {"That is one.": 1.0})
    return "one case"


def test_a_right_answer_is_told_what_was_verified():
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert answer_is_pair(2) is None
    assert said.getvalue() == "Exercise 7 passed: one case\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "does the function end in `return`"),
        (1, "That is one."),
        ([2.0, 2.0], "the shape of twice one"),
        (float("nan"), "A nan came in"),
        ("two", "This is a str"),
        (3, "Go through it by hand"),
    ],
)
def test_feedback_goes_from_nothing_to_shape_to_numbers(answer, words):
    with pytest.raises(feedback.NotYet, match=re.escape(words)):
        answer_is_pair(answer)


@feedback.exercise(8, "for this test")
def calls_the_answer(answer, seed=0):
    feedback.agree(answer([1.0, 2.0]), 1.0, "the first")
    return "one case"


def test_an_error_in_an_answer_names_its_line_and_shows_nothing_of_the_check():
    def beyond(numbers):
        return numbers[2]

    with pytest.raises(feedback.NotYet) as caught:
        calls_the_answer(beyond)
    said = str(caught.value)
    assert "your answer stops in the line `return numbers[2]`" in said
    assert "IndexError: list index out of range" in said
    assert "A place beyond the end" in said
    assert caught.value.__suppress_context__
    assert "feedback.agree" not in said


def test_a_fault_of_the_check_is_not_blamed_on_the_learner():
    @feedback.exercise(9, "for this test")
    def broken(answer, seed=0):
        return np.zeros(3).reshape(2, 2)

    broken.__wrapped__.__code__ = broken.__wrapped__.__code__.replace(co_filename=feedback.__file__)
    with pytest.raises(ValueError, match="cannot reshape"):
        broken(1)


@pytest.mark.parametrize(
    ("got", "expected"), [(np.inf, 3.0), (3.0, np.inf), ("3", 3.0), (3 + 1j, 3.0), ([None], [np.nan])]
)
def test_what_is_no_such_number_is_refused(got, expected):
    with pytest.raises(feedback.NotYet):
        feedback.agree(got, expected, "the number")


def test_infinities_and_nans_agree_with_their_like():
    feedback.agree([np.inf, np.nan, 1], [np.inf, np.nan, 1.0], "the numbers")
    feedback.agree([torch.tensor(1.0, requires_grad=True)], [1.0], "the number")


def test_a_stub_that_is_called_by_a_check_still_names_its_exercise():
    def stub(numbers):
        raise NotImplementedError("Exercise 8: your answer goes here")

    with pytest.raises(feedback.NotYet, match="Exercise 8: your answer goes here"):
        calls_the_answer(stub)


@feedback.exercise(9, "for this test", found="up")
def with_a_guess(guess, seed=0):
    feedback.guessed(guess, ("up", "down"))
    return "one case"


@pytest.mark.parametrize(
    ("guess", "verdict"),
    [
        ("Up", "You guessed 'Up', and so it is on MovieLens"),
        ("down", "You guessed 'down'; on MovieLens it is 'up'. Which number below did you expect otherwise?"),
    ],
)
def test_a_guess_may_be_wrong_and_is_told_so(guess, verdict):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        with_a_guess(guess)
    assert said.getvalue() == f"Exercise 9 passed: one case. {verdict}\n"


def test_a_guess_is_one_of_those_asked_for():
    with pytest.raises(feedback.NotYet, match="'up' or 'down'"):
        with_a_guess("sideways")


def test_every_guess_gets_a_verdict_and_the_solution_guesses_right(name, solution):
    text = "\n".join(cell.source for cell in cells(solution, "code"))
    for function, check in checks(name).items():
        guess = next(iter(inspect.signature(check).parameters)) == "guess"
        assert guess is (check.found is not None), function
        if guess:
            (given,) = re.findall(rf"^guess_{check.number} = (.+)$", text, flags=re.M)
            assert ast.literal_eval(given) == check.found


def halves(*answer):
    """Two cases, in the first of which two mistakes give the same."""
    with feedback.Together() as same:
        for n, got in zip((4, 6), answer, strict=True):
            same.agree(got, n / 2, f"half of {n}", {"That is n - 3.": n - 3.0, "That is 1.": 1.0}, cause="Divide.")


@pytest.mark.parametrize(
    ("answer", "words"),
    [((1, 3), "That is n - 3."), ((1, 5), "Divide"), ((1, 1), "That is 1."), ((9, 3), "Divide"), ((9, 1), "Divide")],
)
def test_a_mistake_is_named_if_it_explains_every_case(answer, words):
    with pytest.raises(feedback.NotYet, match="half of 4") as caught:
        halves(*answer)
    assert words in str(caught.value)


def test_cases_that_agree_pass_together():
    halves(2, 3)
    with pytest.raises(feedback.NotYet, match=r"half of 6[\s\S]*Divide"):
        halves(2, 4)


@pytest.mark.parametrize("answer", [{"a": 1, "b": 2}, "12", 3, [1, 2, 3], ["a", "b"]])
def test_several_results_are_asked_for_in_plain_words(answer):
    with pytest.raises(feedback.NotYet, match=r"expected  2 results"):
        feedback.agree(answer, (1.0, 2.0), "the pair")


def test_a_secret_is_not_told():
    for answer in (3, None, [1.0], "x"):
        with pytest.raises(feedback.NotYet) as caught:
            feedback.agree(answer, 17.25, "the number", {"That is three.": 3}, secret=True)
        assert "17.25" not in str(caught.value)


def test_a_notebook_shows_the_message_alone():
    with pytest.raises(feedback.NotYet) as caught:
        answer_is_pair(1)
    shown = caught.value._render_traceback_()
    assert shown == str(caught.value).splitlines()
    assert shown[0] == "Exercise 7, not yet: twice one"


# -- what teachers are told ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teaching():
    return (notebooks.folder().parent / "TEACHING.md").read_text(encoding="utf8")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_teachers_are_told_hints_that_checks_give(teaching):
    told = re.findall(r"^\| (\d\d)\.(\d) ([^|]+?) \| (.+) \|$", teaching, flags=re.M)
    every = [(name[:2], str(check.number), check.title) for name in SOLUTIONS for check in checks(name).values()]
    assert [tuple(row[:3]) for row in told] == every
    names = {name[:2]: name for name in SOLUTIONS}
    for lesson, number, _, hints in told:
        name = names[lesson]
        (function,) = (f for f, check in checks(name).items() if check.number == int(number))
        messages = [said_to(name, function, n) for n in range(len(wrong(name)[function]))]
        given = {" ".join(message.split("   likely    ")[1].split()) for message in messages}
        assert set(hints.split("<br>")) <= given


def test_exercises_in_the_plans_exist(teaching):
    plans = teaching[: teaching.index("## Run times")]
    every = {f"{name[:2]}.{check.number}" for name in SOLUTIONS for check in checks(name).values()}
    named = set(re.findall(r"\b\d\d\.\d\b", plans))
    assert len(named) >= 10
    assert named <= every


def test_the_minutes_of_each_plan_add_up(teaching):
    plans = re.findall(r"^\*\*(\d+) minutes: .*?\n\n(.*?)\n\n", teaching, flags=re.M | re.S)
    assert [minutes for minutes, _ in plans] == ["45", "90"]
    for minutes, plan in plans:
        assert sum(map(int, re.findall(r"^\| (\d+) \|", plan, flags=re.M))) == int(minutes)


def test_every_notebook_has_its_run_times(teaching):
    rows = re.findall(r"^\| (\d\d_\w+) \| (\d+), (\d+) \| (\d+), (\d+) \|$", teaching, flags=re.M)
    assert [row[0] for row in rows] == list(SOLUTIONS)
    assert all(int(megabytes) < 1000 for row in rows for megabytes in (row[2], row[4]))


def test_sections_in_the_plans_exist(teaching):
    plans = teaching[: teaching.index("## Run times")]
    headings = "".join(
        cell.source
        for path in notebooks.folder().glob("*.ipynb")
        for cell in cells(nbformat.read(path, as_version=4), "markdown")
    )
    for section in re.findall(r'"([A-Z][^"]+)"', plans):
        assert f"## {section}\n" in headings, section
