"""Records that name a place on the events log: in a log of other partitions it is another place.

They are the dead letters of events that could not be folded, and the control events that closed such letters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec.structs import replace

from schemas.control import DeadLettersDropped, DeadLettersRedriven, decode_control, encode_control
from schemas.dead_letter import decode_dead_letter, decode_head, encode_dead_letter, letter_key
from schemas.errors import UNREADABLE
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, Record

Place = tuple[int, int]
"""(partition, position) on the events log."""

_LETTER_OF_A_PLACE = re.compile(r"fold_failed (\d+):(\d+)")


def places_in(topic: str, value: bytes) -> list[Place]:
    """The places that a record names; none for one that cannot be read."""
    return [place for key in _letters(topic, value) if (place := _place(key)) is not None]


def moved(topic: str, record: Record, places: Mapping[Place, Place]) -> Record:
    """The record with each place as `places` has it anew; the record itself when it names none that moved."""
    if all(places.get(place, place) == place for place in places_in(topic, record.value)):
        return record
    if topic == CONTROL:
        event = decode_control(record.value)
        assert isinstance(event, DeadLettersRedriven | DeadLettersDropped)
        letters = tuple(_renamed(key, places) for key in event.letters)
        return Record(record.key, encode_control(replace(event, letters=letters)))
    letter = decode_dead_letter(record.value)
    old = f"{letter.partition}:{letter.position}"
    partition, position = places[letter.partition or 0, letter.position or 0]
    new = f"{partition}:{position}"
    event_id = new if letter.event_id == old else letter.event_id  # of an event that has none it is the place
    letter = replace(letter, partition=partition, position=position, event_id=event_id)
    return Record(new if record.key == old else record.key, encode_dead_letter(letter))


def _letters(topic: str, value: bytes) -> tuple[str, ...]:
    try:
        if topic == DEAD_LETTERS:
            return (letter_key(decode_head(value)),)
        if topic == CONTROL:
            event = decode_control(value)
            return event.letters if isinstance(event, DeadLettersRedriven | DeadLettersDropped) else ()
    except UNREADABLE:
        pass
    return ()


def _place(key: str) -> Place | None:
    found = _LETTER_OF_A_PLACE.fullmatch(key)
    return None if found is None else (int(found[1]), int(found[2]))


def _renamed(key: str, places: Mapping[Place, Place]) -> str:
    place = _place(key)
    if place is None:
        return key
    partition, position = places.get(place, place)
    return f"fold_failed {partition}:{position}"
