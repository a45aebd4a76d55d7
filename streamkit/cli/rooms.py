"""Which rooms are up: every address where one may be is asked for its readiness."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from schemas.errors import BadSettings
from streamkit.addresses import DEFAULT_API_URL, DEFAULT_INGEST_URL, DEFAULT_PROJECTOR_URL, announced_processes
from streamkit.keys import keys_of
from streamkit.settings import Settings

ROOMS = ("ingest", "projector", "api")
_PROBE_S = 3.0
_KEY_DIFFERS = (
    "up, but the internal token differs: give this command the STREAMKIT_SECRET_KEY "
    "(or STREAMKIT_INTERNAL_TOKEN) of the services"
)
_ANOTHER_LOG = "a StreamKit answers there that works on another log; its figures are not told here"
_NO_ROOMS_TOLD = "something answers there, and does not say which rooms it serves: the internal token differs"


async def look_for_rooms(settings: Settings, further_urls: Sequence[str], *, log_id: str | None) -> dict[str, Any]:
    """`rooms`; of the projectors that answer `positions`, `lag_events`, `lag_s` and `partitions`, each with its `owner`
    (None: none answers); what all `spool`s together hold (None: no room that answers has one); and `since_start`, what
    the processes counted, each from its start on (None: none tells).

    A process that works on another log than `log_id` (None: it cannot be known which) is nobody's room here. Of a room,
    `up` is None when something answers that may be it. Waits 3 s at most; does not raise.
    """
    token = _token(settings)
    processes = {process.url: process.rooms for process in announced_processes(settings.data_dir)}
    urls = dict.fromkeys((*processes, *further_urls, *_usual(settings)))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PROBE_S)) as http:
        probed = await asyncio.gather(*(_probe(http, url, token) for url in urls))
    found = [answer for answer in probed if answer is not None]
    unheard = [url for url, answer in zip(urls, probed, strict=True) if answer is None and url in further_urls]
    answers = [answer for answer in found if log_id is None or answer.get("log_id", log_id) == log_id]
    rooms = [_up(room, answer) for room in ROOMS for answer in answers if room in answer["rooms"]]
    silent = [answer for answer in answers if not answer["rooms"]]
    rooms += [
        _up(room, answer, reasons=[_KEY_DIFFERS])
        for room in ROOMS
        for answer in silent
        if room in processes.get(answer["url"], ())
    ]
    elsewhere = [
        (answer["url"], _ANOTHER_LOG if answer["rooms"] else _NO_ROOMS_TOLD)
        for answer in found
        if answer not in answers or (answer in silent and answer["url"] not in processes)
    ]
    seen = {entry["room"] for entry in rooms}
    rooms += [_not_seen(room, unheard, elsewhere[:1]) for room in ROOMS if room not in seen]
    folding = [answer for answer in answers if "positions" in answer]
    return {
        "rooms": rooms,
        "positions": {p: position for answer in folding for p, position in answer["positions"].items()} or None,
        "lag_events": sum(answer["lag_events"] for answer in folding) if folding else None,
        "lag_s": max(answer["lag_s"] for answer in folding) if folding else None,
        "partitions": {
            p: one | {"owner": answer["url"]} for answer in folding for p, one in answer.get("partitions", {}).items()
        }
        or None,
        "spool": _together([answer["spool"] for answer in answers if "spool" in answer]),
        "since_start": count_since_start([answer["metrics"] for answer in answers if answer["metrics"] is not None]),
    }


def _together(spools: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    if not spools:
        return None
    return {
        "events": sum(spool["events"] for spool in spools),
        "bytes": sum(spool["bytes"] for spool in spools),
        "oldest_s": max(spool["oldest_s"] for spool in spools),
    }


def count_since_start(told: Sequence[str]) -> dict[str, Any] | None:
    """Of what processes tell at `/metrics`: duplicates known at intake and dropped by the fold, and the seconds that each
    read model's settling took, most first."""
    if not told:
        return None
    at_intake = dropped = 0
    settled_s: defaultdict[str, float] = defaultdict(float)
    for family in (family for text in told for family in text_string_to_metric_families(text)):
        for sample in family.samples:
            if sample.name == "streamkit_deliveries_total" and sample.labels["outcome"] == "duplicate":
                at_intake += int(sample.value)
            elif sample.name == "streamkit_folded_duplicates_total":
                dropped += int(sample.value)
            elif sample.name == "streamkit_fold_model_seconds_total":
                settled_s[sample.labels["model"]] += sample.value
    return {
        "duplicates": {"at_intake": at_intake, "in_fold": dropped},
        "settling_s": {
            model: round(settled_s[model], 3) for model in sorted(settled_s, key=settled_s.__getitem__, reverse=True)
        },
    }


def projector_ports(settings: Settings) -> tuple[tuple[str, ...], str | None]:
    """Where projectors of this deployment may be, and the internal token; None when this process does not know it."""
    here = [one.url for one in announced_processes(settings.data_dir) if "projector" in one.rooms]
    return tuple(dict.fromkeys((*here, *settings.projector_urls))), _token(settings)


def _token(settings: Settings) -> str | None:
    try:
        return settings.internal_token or keys_of(settings, create=False).internal_token
    except BadSettings:
        return None


def _usual(settings: Settings) -> tuple[str, ...]:
    own = (f"http://{settings.host}:{settings.port}",) if settings.port else ()
    return (DEFAULT_API_URL, DEFAULT_INGEST_URL, *(settings.projector_urls or (DEFAULT_PROJECTOR_URL,)), *own)


def _up(room: str, answer: dict[str, Any], reasons: Sequence[str] = ()) -> dict[str, Any]:
    told = {"status": answer["status"], "url": answer["url"], "reasons": list(reasons or answer["reasons"])}
    return {"room": room, "up": True, **told}


def _not_seen(room: str, unheard: Sequence[str], elsewhere: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """`unheard`: addresses that somebody named, and where nothing answers; `elsewhere`: the address that may have it, if
    there is one, and why that is not known."""
    reasons = [f"no StreamKit answers at {url}" for url in unheard]
    told: dict[str, Any] = {"room": room, "up": False, "status": None, "url": None, "reasons": reasons}
    for url, why in elsewhere:
        told |= {"up": None, "url": url, "reasons": [why]}
    return told


async def _probe(http: aiohttp.ClientSession, url: str, token: str | None) -> dict[str, Any] | None:
    """None when no StreamKit answers there."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        (_, ready), (is_told, metrics) = await asyncio.gather(
            *(_get(http, f"{url}{path}", headers) for path in ("/readyz", "/metrics"))
        )
        told = msgspec.json.decode(ready)
        if "status" not in told:
            return None
        return {"url": url, "rooms": (), "reasons": (), "metrics": metrics if is_told else None, **told}
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, TypeError):
        return None


async def _get(http: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> tuple[bool, str]:
    """Whether it was answered 2xx, and with what."""
    async with http.get(url, headers=headers) as answer:
        return answer.ok, await answer.text()
