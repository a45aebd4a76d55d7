"""First-party events, pure: the body of `POST /ingest/v1/events` to events, or to every mistake in it.

docs/first-party.md tells each rule. What may not live here: HTTP, credentials, the log.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NoReturn

import msgspec
from msgspec import structs

from ingest.codecs.first_party_mistakes import MAX_MISTAKES, find_mistakes
from ingest.codecs.first_party_rules import (
    check_amount,
    check_settings,
    check_time,
    further_settings,
    provider_of,
)
from ingest.codecs.values import UNFIT
from schemas.errors import Problem
from schemas.event import Event
from schemas.first_party_kinds import GiveawayOpened, SongQueueCleared
from schemas.first_party_sent import Body, SentSettings
from schemas.kinds import Viewer

_body = msgspec.json.Decoder(Body)
_INT_DIGITS = 100


def decode(body: bytes, user_id: int, received_at: datetime) -> list[Event]:
    """The events of the broadcaster `user_id`, at least one, in the order sent; repeated ids are the caller's to see.

    A good body costs one typed decoding. Raises Problem 400 `malformed_body` for what is not JSON in UTF-8, and 422
    `invalid_body` whose `errors` name every mistake: then nothing of the body is to be kept.
    """
    try:
        sent = _body.decode(body)
        if b"\\u0000" not in body:
            return _events(sent, user_id, received_at)
    except UNFIT:
        pass
    value = _json(body)
    errors = find_mistakes(value, received_at)
    if errors:
        count = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
        if len(errors) == MAX_MISTAKES:
            count = f"{MAX_MISTAKES} mistakes or more"
        raise Problem(422, "invalid_body", f"The body has {count}; see errors.", errors=errors)
    # A repeated key of which the last is good, or the text \u0000 with a backslash before it.
    return _events(msgspec.convert(value, Body), user_id, received_at)


def _events(sent: Any, user_id: int, received_at: datetime) -> list[Event]:
    return [_event(each, user_id, received_at) for each in (sent if isinstance(sent, list) else (sent,))]


def _event(sent: Any, user_id: int, received_at: datetime) -> Event:
    """Raises Unfit when a rule that the types do not know does not hold."""
    kind = sent.__struct_config__.tag
    actor = sent.actor
    return Event(
        event_id=f"streamkit:{user_id}:{sent.id}",
        natural_key=None,
        type=kind,
        platform="streamkit" if actor is None else actor.platform,
        user_id=user_id,
        actor=None if actor is None else Viewer(actor.id, actor.name),
        occurred_at=received_at if sent.occurred_at is None else check_time(sent.occurred_at, received_at),
        received_at=received_at,
        data=_data(kind, sent.data),
    )


def _data(kind: str, data: Any) -> Any:
    match kind:
        case "song.requested":
            return data if data.provider else structs.replace(data, provider=provider_of(data.song_url))
        case "song.queue_cleared":
            return SongQueueCleared()
        case "giveaway.opened":
            return _opened(data)
        case "coins.adjusted":
            check_amount(data.amount)
    return data


def _opened(data: dict[str, Any]) -> GiveawayOpened:
    check_settings(data)
    known = msgspec.convert(data, SentSettings)
    return GiveawayOpened(
        giveaway_id=known.giveaway_id,
        title=known.title,
        keyword=known.keyword,
        keyword_word=None if known.keyword is None else known.keyword.casefold(),
        settings=further_settings(data),
    )


def _json(body: bytes) -> Any:
    """The body's JSON, as Python reads it: lone surrogates, which msgspec takes for damage, can be told by path."""
    try:
        return json.loads(body.decode(), parse_constant=_no_constant, parse_int=_integer)
    except (ValueError, RecursionError):
        raise Problem(400, "malformed_body", "The body is not JSON in UTF-8, or it is nested too deep.") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int | float:
    # Python refuses to read thousands of digits; whatever is so large is out of every bound.
    return int(digits) if len(digits) < _INT_DIGITS else float(digits)
