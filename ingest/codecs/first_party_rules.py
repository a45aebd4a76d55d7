"""What first-party events have to keep to beyond their types: times, texts, amounts, further settings; and whose song
an address is.

The `check_…` functions raise Unfit; its text is the message for the sender.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ingest.codecs.values import Unfit, instant
from schemas.first_party_sent import SentSettings

MAX_BACK = timedelta(days=30)
MAX_AHEAD = timedelta(minutes=5)
MAX_SETTINGS_BYTES = 65_536
MAX_SETTINGS_DEPTH = 32
UNKNOWN_PROVIDER = "unknown"

_PROVIDERS = {
    "youtube.com": "youtube",
    "youtu.be": "youtube",
    "spotify.com": "spotify",
    "soundcloud.com": "soundcloud",
}
_SETTINGS = frozenset(SentSettings.__struct_fields__)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?//")
_HOST = re.compile(r"\S{1,255}")
_BAD_TEXT = re.compile("[\0\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def check_time(text: str, received_at: datetime) -> datetime:
    """`occurred_at` as UTC. Raises Unfit when it is no time or lies outside its window, both ends of which count."""
    try:
        occurred_at = instant(text)
    except Unfit:
        raise Unfit("Expected an RFC 3339 time with an offset, as 2026-06-06T18:30:00+02:00") from None
    if occurred_at < received_at - MAX_BACK:
        raise Unfit("Expected a time at most 30 days back")
    if occurred_at > received_at + MAX_AHEAD:
        raise Unfit("Expected a time at most 5 minutes ahead")
    return occurred_at


def check_amount(amount: int) -> None:
    """Raises Unfit for an adjustment by nothing."""
    if amount == 0:
        raise Unfit("Expected another number than 0")


def text_fault(text: str) -> str | None:
    """What is wrong with a text wherever it stands, None when nothing is."""
    found = _BAD_TEXT.search(text)
    if found is None:
        return None
    return "Expected text without NUL" if found[0] == "\0" else "Expected text without half a surrogate pair"


def check_settings(data: dict[str, Any]) -> None:
    """Raises Unfit when the further settings of a giveaway cannot be kept as they are."""
    for _, message in settings_faults(data, "$"):
        raise Unfit(message)


def settings_faults(data: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Path and message of all that is wrong with the further settings among `data`; `path` is that of `data`."""
    settings = further_settings(data)
    sound = True
    for fault in _json_faults(settings, path, 0):
        sound = False
        yield fault
    if sound and len(msgspec.json.encode(settings)) > MAX_SETTINGS_BYTES:
        yield path, f"Expected further settings of at most {MAX_SETTINGS_BYTES} bytes as JSON"


def further_settings(data: dict[str, Any]) -> dict[str, Any]:
    """What the data of `giveaway.opened` has beside its own fields."""
    return {name: value for name, value in data.items() if name not in _SETTINGS}


def _json_faults(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            if fault := text_fault(value):
                yield path, fault
        case dict() | list() if depth > MAX_SETTINGS_DEPTH:
            yield path, f"Expected at most {MAX_SETTINGS_DEPTH} levels of further settings"
        case dict():
            for name, inner in value.items():
                if fault := text_fault(name):
                    yield member(path, name), fault.replace("text", "a name")
                yield from _json_faults(inner, member(path, name), depth + 1)
        case list():
            for index, inner in enumerate(value):
                yield from _json_faults(inner, f"{path}[{index}]", depth + 1)
        case bool() | None:
            pass
        case int() if not -(1 << 63) <= value < 1 << 64:
            yield path, "Expected a number within 64 bits"
        case float() if not math.isfinite(value):
            yield path, "Expected a number within 64 bits"


def member(path: str, name: str) -> str:
    """The JSONPath of the member `name` of the object at `path`."""
    return f"{path}.{name}" if _NAME.fullmatch(name) else f"{path}[{json.dumps(name[:100])}]"


def provider_of(song_url: str) -> str:
    """`youtube`, `spotify` or `soundcloud` by the address' host or a host above it, else the host in lower case without
    port; `unknown` where there is no host. An address may lack its scheme (`youtu.be/…`), then its host has a dot."""
    address = song_url.strip()
    scheme = _SCHEME.match(address)
    try:
        host = urlsplit(address if scheme else f"//{address}").hostname or ""
    except ValueError:  # brackets that hold no address
        return UNKNOWN_PROVIDER
    host = host.rstrip(".")
    if not _HOST.fullmatch(host) or (scheme is None and "." not in host):
        return UNKNOWN_PROVIDER
    parts = host.split(".")
    return _PROVIDERS.get(".".join(parts[-2:]), host)
