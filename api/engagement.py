"""Song queue, giveaway, wheel and gambling of a broadcaster who has used none of them.

No event of theirs is taken in yet, so this is the truth for everyone. Their read models come with their events;
then these functions take rows like those of api/answers.py, and this file goes.
"""

from __future__ import annotations

from api.answers import Asked
from schemas import answers


def song_request(asked: Asked) -> list[answers.SongRequest]:
    """No song waits."""
    return []


def giveaway(asked: Asked) -> answers.Giveaway:
    """No giveaway was ever opened."""
    return answers.Giveaway(None, [], None)


def wheel(asked: Asked) -> answers.Wheel:
    """The wheel was never configured."""
    return answers.Wheel(None, [], None)


def gamble(asked: Asked) -> list[answers.GambleResult]:
    """Nobody has played."""
    return []
