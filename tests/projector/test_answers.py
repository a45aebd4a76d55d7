"""One request's questions, answered by one connection or by two at once: the same rows, of one position."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from projector.answers import Second, Shared, answer, recent_of
from schemas.kinds import KicksGifted
from streamkit.reads import Question
from tests.harness import Folded, fold
from tests.projector.events import ANN, BOB, USER, event

QUESTIONS = (
    Question("kicks_summary"),
    Question("kicks_top", {"limit": 25}),
    Question("coins_leaderboard", {"limit": 25}),
    Question("events_total"),
) * 5


@pytest.fixture
def folded(tmp_path: Path) -> Iterator[Folded]:
    log = [event(KicksGifted(amount=5), actor, at=at) for at, actor in enumerate((ANN, BOB, ANN))]
    with fold(log, path=tmp_path / "a.duckdb") as folded:
        yield folded


@pytest.fixture
def second(folded: Folded) -> Iterator[Second]:
    session = folded.session.cursor()
    with ThreadPoolExecutor(1) as pool:
        yield Second(session, pool.submit)
    session.close()


def test_two_connections_answer_as_one(folded: Folded, second: Second) -> None:
    alone = answer(folded.session, user_id=USER, questions=QUESTIONS)
    for _ in range(20):
        assert answer(folded.session, second, user_id=USER, questions=QUESTIONS) == alone


def test_a_connection_that_sees_another_position_leaves_the_questions_alone(folded: Folded, second: Second) -> None:
    shared = Shared(USER, QUESTIONS, recent_of(folded.session, USER))
    shared.help(second.session, folded.position + 1)
    assert not any(shared.rows)
    shared.help(second.session, folded.position)
    assert all(shared.rows)


def test_a_question_that_fails_leaves_both_connections_usable(folded: Folded, second: Second) -> None:
    for name, parameters, error in (("no_such", {}, KeyError), ("kicks_top", {"limit": "many"}, duckdb.Error)):
        with pytest.raises(error):
            answer(folded.session, second, user_id=USER, questions=(*QUESTIONS, Question(name, parameters)))
        assert answer(folded.session, second, user_id=USER, questions=QUESTIONS)[0] == 3


def test_a_pool_that_is_closing_is_done_without(folded: Folded) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    session = folded.session.cursor()
    position, rows = answer(folded.session, Second(session, pool.submit), user_id=USER, questions=QUESTIONS)
    session.close()
    assert position == 3
    assert all(rows)
