"""An independent oracle: plain Python that reads decoded events in log order and gives the API's numbers.

Naive on purpose: it keeps every standing event in a list and computes each answer from scratch when asked. It is
written from the meaning of the numbers alone and may not import anything of the projector or the read models.
`Oracle` drops duplicates and gives each endpoint's `data`; the exact numbers behind it are `Numbers` (oracle_rows.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any

from schemas.event import Event, decode_event
from tests import oracle_engagement as engagement
from tests.oracle_log import Log, Standing
from tests.oracle_rows import Numbers

API = "/api/public/v2/"


class Oracle:
    """The numbers of a log prefix. Times in endpoint data are written in `timezone`."""

    def __init__(self, events: Iterable[Event], *, timezone: tzinfo = UTC) -> None:
        self._timezone = timezone
        self._log: dict[int, list[Standing]] = defaultdict(list)
        event_ids: set[str] = set()
        natural_keys: set[str] = set()
        for position, event in enumerate(events):
            if event.event_id in event_ids or event.natural_key in natural_keys:
                continue  # no trace: not even its other key is remembered
            event_ids.add(event.event_id)
            if event.natural_key is not None:
                natural_keys.add(event.natural_key)
            self._log[event.user_id].append(Standing(position, event))

    def numbers(self, user_id: int) -> Numbers:
        """The exact numbers of one broadcaster."""
        return Numbers(self._of(user_id))

    @property
    def standing(self) -> list[Event]:
        """Every standing event of every broadcaster, in log order."""
        return [s.event for s in sorted(s for of_one in self._log.values() for s in of_one)]

    # ------------------------------------------------------------------ endpoints

    def overview(self, user_id: int, platforms: Collection[str], now: datetime) -> dict[str, Any]:
        """`GET overview`."""
        subscriptions = self.subscriptions_summary(user_id, platforms, now)
        del subscriptions["history_count"]
        return {
            "stream_status": self.stream_status(user_id, platforms),
            "subscriptions": subscriptions,
            "coins": self.coins(user_id, 1)["summary"],
            "kicks": {"total_kicks": self.kicks(user_id, 1)["summary"]["total_kicks"]},
            "events": {"total": self.numbers(user_id).events_total()},
        }

    def stream_status(self, user_id: int, platforms: Collection[str]) -> dict[str, Any]:
        """`GET stream-status`."""
        answer: dict[str, Any] = {}
        for platform in sorted(platforms):
            state = self.numbers(user_id).stream(platform)
            answer[platform] = {"is_live": state.is_live}
            if state.is_live:
                answer[platform] |= {
                    "viewer_count": state.viewers,
                    "stream_title": state.title,
                    "category_name": state.category,
                }
        return {"is_live": any(p["is_live"] for p in answer.values()), "platforms": answer}

    def subscriptions_summary(self, user_id: int, platforms: Collection[str], now: datetime) -> dict[str, Any]:
        """`GET subscriptions-summary`."""
        new, resubs, gifted = self.numbers(user_id).subscription_totals()
        active = [row.platform for row in self.numbers(user_id).active_rows(platforms, now)]
        return {
            "active": len(active),
            "gifted": gifted,
            "new": new,
            "resubs": resubs,
            "all": gifted + new + resubs,
            "by_platform": {p: {"active_total": active.count(p)} for p in sorted(platforms)},
            "history_count": len(self.numbers(user_id).subscription_rows()),
        }

    def subscriptions_active(
        self, user_id: int, platforms: Collection[str], now: datetime, limit: int = 25
    ) -> dict[str, Any]:
        """`GET subscriptions-active`."""
        rows = self.numbers(user_id).active_rows(platforms, now)
        preview = [{"username": row.username, "expires_at": self._iso(row.value)} for row in rows[:limit]]
        return {"active_total": len(rows), "preview": preview}

    def subscriptions_history(self, user_id: int, limit: int = 50) -> list[dict[str, Any]]:
        """`GET subscriptions-history`."""
        return [
            {
                "type": row.type,
                "platform": row.platform,
                "actor": row.actor,
                "count": row.subscriptions,
                "received_at": self._iso(row.received_at),
            }
            for row in self.numbers(user_id).subscription_rows()[:limit]
        ]

    def coins(self, user_id: int, limit: int = 25) -> dict[str, Any]:
        """`GET coins`."""
        ranks = self.numbers(user_id).coin_rows()
        return {
            "summary": {"total_coins": sum(row.value for row in ranks), "users_count": len(ranks)},
            "leaderboard": [{"username": row.username, "coins": row.value} for row in ranks[:limit]],
        }

    def coins_viewer(self, user_id: int, platform: str, username: str) -> dict[str, Any] | None:
        """`GET coins/viewer`; None when there is no such viewer."""
        found = self.numbers(user_id).coins_of(platform, username)
        return found and {
            "username": found.username,
            "platform": found.platform,
            "id": found.viewer_id,
            "coins": sum(found.account.values()),
            "rank": found.rank,
            "earned": found.account,
        }

    def kicks(self, user_id: int, limit: int = 25) -> dict[str, Any]:
        """`GET kicks`. `limit` is the history's; there are always up to 25 top gifters."""
        history = self.numbers(user_id).kick_rows()
        return {
            "summary": {"total_kicks": sum(amount for _, amount, *_ in history), "gift_events": len(history)},
            "top_gifters": [
                {"username": row.username, "kicks": row.value} for row in self.numbers(user_id).gifter_rows()[:25]
            ],
            "history": [{"actor": actor, "amount": amount} for actor, amount, *_ in history[:limit]],
        }

    # ------------------------------------------------------------------ songs, giveaway, wheel, gamble

    def song_request(self, user_id: int, limit: int = 10) -> list[dict[str, Any]]:
        """`GET song-request`."""
        return [
            {
                "requester_username": song.requester,
                "provider": song.provider,
                "song_url": song.song_url,
                "platform": song.platform,
                "title": song.title,
                "duration_s": song.duration_s,
                "request_id": song.request_id,
                "requested_at": self._iso(song.requested_at),
            }
            for song in engagement.song_queue(self._of(user_id))[:limit]
        ]

    def song_request_history(self, user_id: int, limit: int = 10) -> list[dict[str, Any]]:
        """`GET song-request/history`."""
        return [
            {
                "requester_username": song.requester,
                "provider": song.provider,
                "song_url": song.song_url,
                "title": song.title,
                "outcome": song.outcome,
                "request_id": song.request_id,
                "ended_at": self._iso(song.ended_at),
            }
            for song in engagement.song_history(self._of(user_id))[:limit]
        ]

    def giveaway(self, user_id: int) -> dict[str, Any]:
        """`GET giveaway`."""
        for latest in engagement.giveaways(self._of(user_id))[:1]:
            return {
                "settings": {"title": latest.title, "keyword": latest.keyword, **latest.settings},
                "entries": [{"username": entry.username, "platform": entry.platform} for entry in latest.entries],
                "winner": latest.winner and latest.winner._asdict(),
                "is_open": latest.ended_at is None,
            }
        return {"settings": None, "entries": [], "winner": None, "is_open": False}

    def giveaway_history(self, user_id: int, limit: int = 10) -> list[dict[str, Any]]:
        """`GET giveaway/history`."""
        return [
            {
                "giveaway_id": giveaway.giveaway_id,
                "title": giveaway.title,
                "keyword": giveaway.keyword,
                "opened_at": self._iso(giveaway.opened_at),
                "ended_at": giveaway.ended_at and self._iso(giveaway.ended_at),
                "entries": len(giveaway.entries),
                "winner": giveaway.winner
                and {"username": giveaway.winner.username, "platform": giveaway.winner.platform},
            }
            for giveaway in engagement.giveaways(self._of(user_id))[:limit]
        ]

    def wheel(self, user_id: int) -> dict[str, Any]:
        """`GET wheel`."""
        wheel = engagement.wheel(self._of(user_id)) or engagement.Wheel(None, [], None)
        return wheel._asdict()

    def wheel_history(self, user_id: int, limit: int = 10) -> list[dict[str, Any]]:
        """`GET wheel/history`."""
        return [
            {"result": spin.result, "actor": spin.actor, "spun_at": self._iso(spin.spun_at)}
            for spin in engagement.spins(self._of(user_id))[:limit]
        ]

    def gamble(self, user_id: int, limit: int = 10) -> list[dict[str, Any]]:
        """`GET gamble`."""
        return [
            {
                "username": gamble.username,
                "game_type": gamble.game_type,
                "outcome": gamble.outcome,
                "bet": gamble.bet,
                "payout": gamble.payout,
                "platform": gamble.platform,
                "played_at": self._iso(gamble.played_at),
            }
            for gamble in engagement.gambles(self._of(user_id))[:limit]
        ]

    # ------------------------------------------------------------------ events

    def events_history(self, user_id: int, limit: int = 50, type: str | None = None) -> list[dict[str, Any]]:
        """`GET events-history`."""
        return [
            {
                "type": row.type,
                "platform": row.platform,
                "actor": row.actor,
                "message": row.message,
                "received_at": self._iso(row.received_at),
            }
            for row in self.numbers(user_id).event_rows(type)[:limit]
        ]

    def _of(self, user_id: int) -> Log:
        return self._log.get(user_id, [])

    def _iso(self, at: datetime) -> str:
        return at.astimezone(self._timezone).replace(microsecond=0).isoformat()


def answers(
    records: Iterable[bytes], user_id: int, platforms: Collection[str], now: datetime, *, timezone: tzinfo = UTC
) -> dict[str, Any]:
    """The `data` of every GET endpoint by its path, with default parameters, for the records of an events log.

    `records` are the log's values in log order, duplicates and all broadcasters included; `platforms` the connected
    ones; `now` the answer's `generated_at`.
    """
    oracle = Oracle(map(decode_event, records), timezone=timezone)
    data: dict[str, Any] = {
        "overview": oracle.overview(user_id, platforms, now),
        "stream-status": oracle.stream_status(user_id, platforms),
        "subscriptions-summary": oracle.subscriptions_summary(user_id, platforms, now),
        "subscriptions-active": oracle.subscriptions_active(user_id, platforms, now),
        "subscriptions-history": oracle.subscriptions_history(user_id),
        "coins": oracle.coins(user_id),
        "kicks": oracle.kicks(user_id),
        "loyalty-rules": oracle.numbers(user_id).rules(),
        "song-request": oracle.song_request(user_id),
        "song-request/history": oracle.song_request_history(user_id),
        "giveaway": oracle.giveaway(user_id),
        "giveaway/history": oracle.giveaway_history(user_id),
        "wheel": oracle.wheel(user_id),
        "wheel/history": oracle.wheel_history(user_id),
        "gamble": oracle.gamble(user_id),
        "events-history": oracle.events_history(user_id),
    }
    return {API + path: answer for path, answer in data.items()}


def differences(expected: Any, served: Any, where: str = "$") -> list[str]:
    """What `served` lacks or has otherwise than `expected`, one line each; extra object keys are allowed."""
    if isinstance(expected, dict) and isinstance(served, dict):
        # which platforms these two name is an answer, and an offline one says nothing but that
        if (".platforms" in where or ".by_platform" in where) and expected.keys() != served.keys():
            return [f"{where}: expected {sorted(expected)}, served {sorted(served)}"]
        found = [f"{where}.{key}: missing" for key in expected if key not in served]
        return found + [
            line
            for key in expected
            if key in served
            for line in differences(expected[key], served[key], f"{where}.{key}")
        ]
    if isinstance(expected, list) and isinstance(served, list) and len(expected) == len(served):
        pairs = enumerate(zip(expected, served, strict=True))
        return [line for i, (want, have) in pairs for line in differences(want, have, f"{where}[{i}]")]
    if expected == served and type(expected) is type(served):
        return []
    return [f"{where}: expected {expected!r}, served {served!r}"]
