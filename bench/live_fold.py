"""How many events a second the live fold takes, exactly once, with every read model: `python -m bench.live_fold`.

A realistic mix of one partition, 2 % of it delivered twice, folded into a real file in batches of 1,000 (as it comes
live) and of 20,000 (catching up). `--profile` prints the time of every statement, and what each read model costs.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from msgspec import Struct

from projector.database import open_file
from projector.fold import Staged, fold_staged
from projector.session import Session
from projector.stager import Stager
from schemas.event import SCHEMA_VERSION
from schemas.read_models import READ_MODELS

T0 = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = (
    "chat",
    "follow",
    "new",
    "renewal",
    "gifts",
    "received",
    "kicks",
    "cheer",
    "bits",
    "redeem",
    "update",
    "status",
    "song",
    "gamble",
    "adjusted",
)
WEIGHTS = (790, 40, 15, 15, 10, 30, 15, 30, 5, 20, 15, 5, 4, 4, 2)


def events(
    count: int, *, broadcasters: int = 1_000, viewers: int = 5_000, rate: float = 1_000.0, seed: int = 1
) -> Iterator[bytes]:
    """`count` records in log order, `rate` of them per second of event time, one in fifty a repetition."""
    rng = random.Random(seed)
    lately: list[bytes] = []
    for index in range(count):
        if lately and rng.random() < 0.02:
            yield rng.choice(lately)
            continue
        value = msgspec.json.encode(_event(rng, index, broadcasters, viewers, rate))
        lately.append(value)
        if len(lately) > 5_000:
            lately = lately[2_500:]
        yield value


def _event(rng: random.Random, index: int, broadcasters: int, viewers: int, rate: float) -> dict[str, Any]:
    occurred_at = T0 + timedelta(seconds=index / rate)
    user_id = rng.randrange(broadcasters)
    viewer = int(viewers * rng.random() ** 2)
    kind = rng.choices(KINDS, WEIGHTS)[0]
    platform = (
        "twitch"
        if kind in ("received", "cheer", "bits")
        else "kick"
        if kind == "kicks"
        else rng.choice(("kick", "twitch"))
    )
    message_id = uuid.UUID(int=rng.getrandbits(128))
    natural: str | None = None
    data: dict[str, Any]
    match kind:
        case "chat":
            name, data = (
                "chat.message.sent",
                {
                    "message_id": str(message_id),
                    "message": "hello chat, this is message " + str(index),
                    "first_word": "hello",
                },
            )
            natural = f"{platform}:{name}:{user_id}:{message_id}"
        case "follow":
            name, data = "channel.followed", {}
        case "new":
            name, data = "channel.subscription.new", {"tier": 1, "months": 1}
        case "renewal":
            name, data = (
                "channel.subscription.renewal",
                {"tier": 1, "months": 1, "cumulative_months": rng.randrange(1, 30), "message": "again!"},
            )
            natural = f"{platform}:{name}:{user_id}:{viewer}:{index}"
        case "gifts":
            giftees = (
                [{"id": str(rng.randrange(viewers)), "name": f"viewer{rng.randrange(viewers)}"} for _ in range(5)]
                if platform == "kick"
                else []
            )
            name, data = "channel.subscription.gifts", {"tier": 1, "count": 5, "giftees": giftees}
        case "received":
            name, data = "channel.subscription.gift_received", {"tier": 1}
        case "kicks":
            name, data = "kicks.gifted", {"amount": 100, "gift_name": "Rage Quit", "message": "w"}
            natural = f"{platform}:{name}:{user_id}:{viewer}:{index}"
        case "cheer":
            name, data = "channel.cheered", {"amount": 50, "message": "cheer50"}
        case "bits":
            name, data = "channel.bits.used", {"amount": 50, "use": "power_up"}
        case "redeem":
            name, data = (
                "channel.reward.redemption.updated",
                {
                    "redemption_id": str(message_id),
                    "reward_id": "r",
                    "reward_title": "Hydrate",
                    "cost": 100,
                    "status": "pending",
                },
            )
            natural = f"{platform}:{name}:{user_id}:{message_id}:pending"
        case "update":
            name, data = "livestream.metadata.updated", {"title": f"Ranked grind {index}", "category_name": "Chess"}
        case "song":
            name = "song.requested"
            data = {"request_id": str(index), "song_url": "https://youtu.be/x", "provider": "youtube"}
        case "gamble":
            name, data = "gamble.played", {"game_type": "dice", "outcome": "win", "bet": 10, "payout": 20}
        case "adjusted":
            name, data = "coins.adjusted", {"amount": 25}
        case _:
            name, data = (
                "livestream.status.updated",
                {"is_live": rng.random() < 0.5, "stream_id": str(index // 50), "started_at": T0},
            )
    if platform == "kick" and name.startswith("channel.subscription"):
        data["expires_at"] = occurred_at + timedelta(days=30)
    return {
        "schema_version": SCHEMA_VERSION,
        "event_id": _event_id(kind, platform, user_id, index, message_id),
        "natural_key": natural,
        "type": name,
        "platform": platform,
        "user_id": user_id,
        "actor": None if kind in ("update", "status") else {"id": str(viewer), "name": f"viewer{viewer}"},
        "occurred_at": occurred_at,
        "received_at": occurred_at + timedelta(milliseconds=300),
        "data": data,
    }


def _event_id(kind: str, platform: str, user_id: int, index: int, message_id: uuid.UUID) -> str:
    if kind in ("song", "gamble", "adjusted"):
        return f"streamkit:{user_id}:{index}"
    return f"{platform}:{message_id}" if platform == "twitch" else f"kick:01M{index:023d}"


class Folding(Struct, frozen=True):
    """How long it took, on the clock and of the processors."""

    seconds: float
    cpu_s: float


class Profiled(Session):
    """A session that adds up the time of each statement."""

    def __init__(self, path: Path) -> None:
        self.session = open_file(path, log_id="bench", partition=0)
        self.filter, self.newest = self.session.filter, self.session.newest
        self.seconds: dict[str, float] = defaultdict(float)

    def execute(self, sql: str, parameters: Any = None) -> duckdb.DuckDBPyConnection:
        """As Session does."""
        began = time.perf_counter()
        try:
            return self.session.execute(sql, parameters)
        finally:
            self.seconds[sql] += time.perf_counter() - began

    def execute_once(self, sql: str) -> duckdb.DuckDBPyConnection:
        """As Session does."""
        return self.session.execute_once(sql)

    def cursor(self) -> Session:
        """Another session on the same file, whose time is not added up."""
        return self.session.cursor()

    def close(self) -> None:
        """As Session does."""
        self.session.close()


def costs(seconds: Mapping[str, float]) -> dict[str, float]:
    """Of the seconds by statement, what belongs to each read model."""
    return {
        model.name: sum(
            spent
            for sql, spent in seconds.items()
            if sql in model.settle or any(sql.startswith(f"INSERT INTO {fold.into} ") for fold in model.fold)
        )
        for model in READ_MODELS
    }


def run(records: list[bytes], batch: int, session: Session) -> Folding:
    """Fold `records` in batches of `batch` into the new file of `session`, each parsed beside the fold of the one before,
    as a partition with a backlog does."""
    cpu, began = time.process_time(), time.perf_counter()
    parts = [(start, records[start : start + batch]) for start in range(0, len(records), batch)]
    with ThreadPoolExecutor(1) as beside, closing(Stager(session.cursor())) as stager:

        def staging(start: int, part: list[bytes]) -> Future[Staged | None]:
            return beside.submit(stager.stage, range(start, start + len(part)), part)

        ready = staging(*parts[0])
        for (start, part), following in zip_longest(parts, parts[1:]):
            staged = ready.result()
            assert staged is not None, "some record is no event"
            if following is not None:
                ready = staging(*following)
            fold_staged(session, start, staged, start + len(part))
    return Folding(time.perf_counter() - began, time.process_time() - cpu)


def print_profile(seconds: Mapping[str, float], batches: float, events: int) -> None:
    """Every statement and every read model, the dearest first."""
    for sql, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"  {spent / batches * 1e3:8.2f} ms a batch  {' '.join(sql.split())[:100]}")
    for name, spent in costs(seconds).items():
        print(f"  {spent / events * 1e6:8.2f} us an event  {name}")


def main() -> None:
    """Print one line per batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--broadcasters", type=int, default=1_000)
    parser.add_argument("--viewers", type=int, default=5_000)
    parser.add_argument("--batches", type=int, nargs="+", default=[1_000, 20_000])
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    records = list(events(options.count, broadcasters=options.broadcasters, viewers=options.viewers))
    for batch in options.batches:
        with tempfile.TemporaryDirectory() as folder:
            session = Profiled(Path(folder) / "fold.duckdb")
            took = run(records, batch, session)
            session.close()
        if options.profile:
            print_profile(session.seconds, len(records) / batch, len(records))
        print(
            f"live fold, batches of {batch:>6,}: {len(records) / took.seconds:>9,.0f} events/s,"
            f" {took.cpu_s / len(records) * 1e6:.1f} us of processor time each"
        )


if __name__ == "__main__":
    main()
