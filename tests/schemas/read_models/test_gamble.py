from __future__ import annotations

from collections.abc import Callable

from schemas.bounds import MAX_QUANTITY
from schemas.event import Event
from schemas.first_party_kinds import GamblePlayed, Outcome
from schemas.kinds import Viewer
from tests.projector.events import ANN, BOB, chat, pushed, us
from tests.schemas.read_models.conftest import Ask


def played(
    outcome: Outcome, bet: int, payout: int, actor: Viewer = ANN, *, at: float = 0.0, game: str = "coinflip"
) -> Event:
    return pushed(GamblePlayed(game_type=game, outcome=outcome, bet=bet, payout=payout), actor, at=at)


def test_nobody_gambled(asked: Ask) -> None:
    assert asked([], "gamble_history", limit=10) == []
    theirs = pushed(GamblePlayed(game_type="slots", outcome="win", bet=1, payout=2), ANN, user_id=8)
    assert asked([theirs], "gamble_history", limit=10) == []


def test_a_gamble_is_told_with_bet_payout_platform_and_time(asked: Ask) -> None:
    data = GamblePlayed(game_type="Slots \U0001f3b0", outcome="draw", bet=0, payout=MAX_QUANTITY)
    game = pushed(data, BOB, at=5, platform="twitch")
    assert asked([game], "gamble_history", limit=10) == [
        ("Bob", "Slots \U0001f3b0", "draw", 0, MAX_QUANTITY, "twitch", us(5), game.event_id)
    ]


def test_newest_first_by_time_then_by_event_id_whatever_the_arrival(asked: Ask) -> None:
    log = [
        played("win", 10, 20, at=5, game="b"),
        played("lose", 10, 0, at=9, game="c"),
        played("draw", 10, 10, at=5, game="B"),
        played("win", 1, 3, BOB, at=-5, game="a"),
    ]
    rows = asked(log, "gamble_history", limit=10)
    assert [(row[1], row[2], row[3], row[4]) for row in rows] == [
        ("c", "lose", 10, 0),
        ("B", "draw", 10, 10),
        ("b", "win", 10, 20),
        ("a", "win", 1, 3),
    ]
    assert asked(log, "gamble_history", limit=2) == rows[:2]


def test_the_name_is_the_one_in_the_event(asked: Ask) -> None:
    log = [
        played("win", 1, 2, at=1),
        chat("hi", Viewer("1", "Anna"), at=2),
        played("win", 1, 2, Viewer("1", "Al"), at=3),
    ]
    assert [row[0] for row in asked(log, "gamble_history", limit=10)] == ["Al", "Ann"]


def test_pages_of_the_history_while_viewers_gamble(walked: Callable[..., None]) -> None:
    log = [played("win", number, 1, at=number // 3) for number in range(7)]
    walked(log, "gamble_history", 6, 7, [played("lose", 1, 0, BOB, at=9 + number) for number in range(5)])
