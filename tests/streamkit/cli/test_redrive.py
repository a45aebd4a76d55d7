"""`streamkit dead-letters redrive`: what has become an event is on the log, once, under its own id and times.

The ingest room's codecs and the projector's fold are the real ones: the command runs as `streamkit/__main__.py` makes it.
"""

from __future__ import annotations

import asyncio
import getpass
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from msgspec import Struct

from ingest.codecs import kick
from schemas.control import DeadLettersDropped, DeadLettersRedriven, decode_control, encode_control
from schemas.dead_letter import DeadLetter, encode_dead_letter, letter_key
from schemas.errors import LogUnavailable
from schemas.event import Event, decode_event, encode_event, utc_now
from schemas.kinds import KicksGifted
from streamkit.__main__ import cli
from streamkit.log import open_log
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, Appended, EventLog, Record, partition_of
from streamkit.log.sqlite import SqliteLog
from tests.harness import fold
from tests.letters import parked, unfolded
from tests.projector.events import USER, chat, event
from tests.samples import KICK_BROADCASTER, USER_ID, load
from tests.streamkit.cli.running import Ran, environment, invoke

GIFT, CHAT = load("kick", "kicks.gifted"), load("kick", "chat.message.sent")
EXPECTED = decode_event(GIFT.expected or b"")
STRANGER = GIFT.body.replace(b'"user_id":7001', b'"user_id":424242')
T = TypeVar("T")


class Deployment(Struct, frozen=True):
    """A folder with nothing running in it, and its log."""

    folder: Path
    settings: dict[str, str]

    def run(self, *arguments: str) -> Ran:
        """`streamkit dead-letters ARGUMENTS`."""
        return invoke(cli, "dead-letters", *arguments, folder=self.folder, **self.settings)

    def redrive(self, *arguments: str) -> dict[str, Any]:
        """The report of a redrive that exits 0."""
        ran = self.run("redrive", "--json", *arguments)
        assert ran.exit_code == 0, ran.err
        report: dict[str, Any] = ran.document
        return report

    def open(self) -> list[int]:
        """The positions of the open letters."""
        return [one["position"] for one in self.run("list", "--json").document]

    def add_account(self) -> None:
        """The samples' broadcaster on Kick, under USER_ID."""
        ran = invoke(
            cli,
            *("accounts", "add", "--name", "N", "--user-id", str(USER_ID), "--kick", f"n:{KICK_BROADCASTER}"),
            folder=self.folder,
            **self.settings,
        )
        assert ran.exit_code == 0, ran.err

    def with_log(self, work: Callable[[EventLog], Coroutine[Any, Any, T]]) -> T:
        """Work on the log that its processes share."""

        async def opened() -> T:
            url = self.settings.get("STREAMKIT_LOG_URL", "sqlite:")
            log = await open_log(url, data_dir=self.folder / "data")
            try:
                return await work(log)
            finally:
                await log.close()

        return asyncio.run(opened())

    def append(self, topic: str, *records: Record) -> None:
        """Append."""
        self.with_log(lambda log: log.append(topic, records))

    def park(self, *letters: DeadLetter) -> None:
        """Append dead letters."""
        self.append(DEAD_LETTERS, *(Record(one.event_id, encode_dead_letter(one)) for one in letters))

    def values(self, topic: str) -> list[bytes]:
        """Every record of a topic."""

        async def read(log: EventLog) -> list[bytes]:
            found = []
            for partition, end in enumerate(await log.ends(topic)):
                found += (await log.read(topic, partition, 0, limit=end + 1, wait_s=5.0 if end else 0.0)).values
            return found

        return self.with_log(read)

    def events(self) -> list[Event]:
        """All events on the log."""
        return [decode_event(value) for value in self.values(EVENTS)]

    def actions(self) -> list[DeadLettersRedriven | DeadLettersDropped]:
        """What operators did."""
        events = [decode_control(value) for value in self.values(CONTROL)]
        return [event for event in events if isinstance(event, DeadLettersRedriven | DeadLettersDropped)]

    def partition(self) -> int:
        """Where USER_ID's events lie."""

        async def count(log: EventLog) -> int:
            return log.partitions(EVENTS)

        return partition_of(str(USER_ID), self.with_log(count))

    def kicks(self, path: Path) -> tuple[int, int]:
        """(kicks, gifts) of USER_ID, folded from the log."""
        with fold(self.values(EVENTS), path=path) as folded:
            (row,) = folded.ask(USER_ID, "kicks_summary")
            return row.total_kicks, row.gift_events


@pytest.fixture
def here(tmp_path: Path) -> Deployment:
    """Over SQLite."""
    return Deployment(tmp_path, {})


@pytest.fixture(params=["sqlite", "kafka"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Deployment:
    """Over SQLite, and over real Kafka."""
    url = request.getfixturevalue("kafka_log_url") if request.param == "kafka" else "sqlite:"
    return Deployment(tmp_path, {"STREAMKIT_LOG_URL": url})


def gifts(count: int, **more: Any) -> list[DeadLetter]:
    """Letters of so many gifts of 500 kicks, each by its own id and second."""
    return [
        parked(GIFT, message_id=f"m{n}", body=GIFT.body.replace(b"11:59:58", f"11:58:{n:02}".encode()), **more)
        for n in range(count)
    ]


def test_after_accounts_add_the_events_are_on_the_log_at_their_own_times(anywhere: Deployment) -> None:
    anywhere.park(parked(GIFT), parked(GIFT, message_id="other", body=STRANGER))
    before = anywhere.redrive("--reason", "unknown_broadcaster")
    assert (before["redriven"], before["put_back"], anywhere.open()) == (0, 2, [0, 1])
    assert anywhere.events() == []
    anywhere.add_account()
    report = anywhere.redrive("--reason", "unknown_broadcaster", "--by", "ann", "--why", "registered late")
    assert report == {
        "dry_run": False,
        "redriven": 1,
        "ignored": 0,
        "put_back": 1,
        "dropped": 0,
        "meanwhile": 0,
        "stopped_at": None,
        "events_end": f"{anywhere.partition()}:1",
        "left": [
            {
                "position": 1,
                "event_id": "kick:other",
                "reason": "unknown_broadcaster",
                "detail": "no account has this channel connected",
            }
        ],
    }
    assert anywhere.events() == [EXPECTED]
    (action,) = anywhere.actions()
    assert isinstance(action, DeadLettersRedriven)
    assert (action.by, action.why, action.letters) == ("ann", "registered late", (letter_key(parked(GIFT)),))
    assert anywhere.open() == [1]
    again = anywhere.redrive("--reason", "unknown_broadcaster")
    assert (again["redriven"], again["put_back"], anywhere.events()) == (0, 1, [EXPECTED])


def test_what_is_told_to_a_person(here: Deployment) -> None:
    here.add_account()
    here.park(parked(GIFT), parked(GIFT, message_id="other", body=STRANGER))
    ran = here.run("redrive", "--all", "--dry-run")
    assert ran.exit_code == 0
    first, second, header, row, last = ran.out.splitlines()
    assert (first, second) == ("1 would be redriven.", "1 would be put back: still no events.")
    assert header.split() == ["POSITION", "REASON", "NOW", "EVENT", "ID", "DETAIL"]
    assert row.split()[:3] == ["1", "unknown_broadcaster", "kick:other"]
    assert last == "A dry run: nothing was changed."
    assert here.run("redrive", "--position", "0").out == "1 redriven.\n"


def test_a_dry_run_changes_nothing(here: Deployment) -> None:
    here.add_account()
    here.park(*gifts(3), parked(CHAT, "malformed", body=b"{}"))
    control = here.values(CONTROL)
    report = here.redrive("--all", "--dry-run", "--on-error", "drop")
    assert (report["dry_run"], report["redriven"], report["dropped"]) == (True, 3, 1)
    assert report["events_end"] is None
    assert (here.values(EVENTS), here.values(CONTROL), here.open()) == ([], control, [0, 1, 2, 3])


def test_a_letter_that_is_no_event_still_is_put_back_or_stops_it_or_is_dropped(here: Deployment) -> None:
    here.add_account()
    first, second = gifts(2)
    here.park(first, parked(GIFT, message_id="other", body=STRANGER), second, parked(CHAT, "malformed", body=b"{}"))
    ran = here.run("redrive", "--all", "--on-error", "stop", "--json")
    assert ran.exit_code == 1
    assert (ran.document["redriven"], ran.document["stopped_at"]) == (1, 1)
    assert ran.document["left"][0]["reason"] == "unknown_broadcaster"
    assert "Stopped at the dead letter 1, which is still no event." in ran.err
    assert here.open() == [1, 2, 3]
    report = here.redrive("--all", "--on-error", "put-back")
    assert (report["redriven"], report["put_back"], here.open()) == (1, 2, [1, 3])
    report = here.redrive("--reason", "malformed", "--on-error", "drop", "--by", "ann", "--why", "never")
    assert (report["redriven"], report["dropped"], here.open()) == (0, 1, [1])
    dropped = here.actions()[-1]
    assert isinstance(dropped, DeadLettersDropped)
    assert (dropped.by, dropped.why) == ("ann", "never")
    assert len(here.events()) == 2
    assert here.run("redrive", "--all", "--on-error", "ignore").exit_code == 2


def test_so_many_at_most_and_those_put_back_do_not_count(here: Deployment, tmp_path: Path) -> None:
    here.add_account()
    here.park(parked(GIFT, message_id="other", body=STRANGER), *gifts(5))
    report = here.redrive("--all", "--max", "2")
    assert (report["redriven"], report["put_back"], here.open()) == (2, 1, [0, 3, 4, 5])
    assert here.redrive("--all", "--max", "10")["redriven"] == 3
    assert here.kicks(tmp_path / "fold") == (2500, 5)


def test_one_position_once(here: Deployment) -> None:
    here.add_account()
    here.park(*gifts(2))
    assert here.redrive("--position", "1")["redriven"] == 1
    ran = here.run("redrive", "--position", "1", "--json")
    assert ran.exit_code == 1
    assert f"at position 1: it was redriven by {getpass.getuser()} at 20" in ran.document["error"]
    assert here.open() == [0]
    assert here.run("redrive").exit_code == 2


def test_copies_of_a_letter_are_one(here: Deployment, tmp_path: Path) -> None:
    here.add_account()
    here.park(parked(GIFT), parked(GIFT), parked(GIFT, "malformed"))
    assert here.redrive("--all")["redriven"] == 2  # one delivery that was parked for two reasons at different times
    assert here.kicks(tmp_path / "fold") == (500, 1)
    assert here.open() == []


def test_what_an_upgrade_understands_is_redriven(here: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    here.add_account()
    here.park(parked(GIFT, "unknown_type"), parked(CHAT, "malformed", message_id="chat"))
    with monkeypatch.context() as the_old_build:
        the_old_build.delitem(kick.TYPES, "kicks.gifted")
        strict = msgspec.json.Decoder(msgspec.defstruct("Chat", [("colour", str)]))
        the_old_build.setitem(kick.TYPES, "chat.message.sent", (strict, kick.TYPES["chat.message.sent"][1]))
        left = here.redrive("--all")["left"]
        assert [(one["position"], one["reason"]) for one in left] == [(0, "unknown_type"), (1, "malformed")]
        assert "colour" in left[1]["detail"]
    assert here.redrive("--reason", "unknown_type")["redriven"] == 1
    assert here.events() == [EXPECTED]
    assert here.redrive("--reason", "malformed", "--type", "chat.message.sent")["redriven"] == 1
    assert {one.event_id for one in here.events()} == {EXPECTED.event_id, "kick:chat"}


def test_a_kind_that_this_build_ignores_is_closed_and_counts_nothing(here: Deployment) -> None:
    here.park(parked(load("twitch", "channel.chat.notification.v1"), "unknown_type"))
    report = here.redrive("--all")
    assert (report["redriven"], report["ignored"], report["events_end"]) == (1, 1, None)
    assert (here.events(), here.open()) == ([], [])
    assert "1 of them count nothing" in _told_again(here)


def _told_again(here: Deployment) -> str:
    here.park(parked(load("twitch", "channel.chat.notification.v1"), "unknown_type", message_id="again"))
    return here.run("redrive", "--all").out


def test_an_event_that_could_not_be_folded_is_appended_again(anywhere: Deployment, tmp_path: Path) -> None:
    gift = event(KicksGifted(amount=20))
    broken = encode_event(event(KicksGifted(amount=7))).replace(b'"amount":7', b'"amount":null')
    anywhere.append(EVENTS, Record(str(USER), encode_event(gift)))
    anywhere.park(unfolded(gift), unfolded(broken, 1))
    for _ in range(2):
        report = anywhere.redrive("--reason", "fold_failed")
    assert (report["redriven"], report["put_back"], anywhere.open()) == (0, 1, [1])
    assert anywhere.values(EVENTS) == [encode_event(gift)] * 2
    assert anywhere.kicks(tmp_path / "fold") == (20, 1)


def test_an_event_too_long_for_its_letter_is_taken_from_the_events_log(here: Deployment) -> None:
    long = encode_event(chat("x" * 750_000))
    here.append(EVENTS, Record(str(USER), long))
    letter = unfolded(long)
    assert letter.body == b""
    here.park(letter, unfolded(long, 9), unfolded(long, 0, partition=3))  # nothing lies at the last two's places
    assert here.run("show", "0", "--json").document["body"] == long.decode()
    report = here.redrive("--all")
    assert (report["redriven"], report["put_back"]) == (1, 2)
    assert here.values(EVENTS) == [long] * 2


def test_an_event_longer_than_the_log_takes_is_none(here: Deployment) -> None:
    here.add_account()
    emotes = [{"emote_id": "9" * 2000, "positions": [{"s": 0, "e": 0}] * 600}]
    here.park(parked(CHAT, body=msgspec.json.encode(CHAT.document() | {"emotes": emotes})), *gifts(1))
    report = here.redrive("--all")
    assert (report["redriven"], report["put_back"]) == (1, 1)
    assert "longer than the 1000000 bytes" in report["left"][0]["detail"]


def test_a_letter_of_which_only_the_head_can_be_read_is_put_back(here: Deployment) -> None:
    whole = encode_dead_letter(parked(GIFT))
    here.append(DEAD_LETTERS, Record("1", whole.replace(b'"body":"', b'"body":"!')), Record("1", b"{}"))
    ran = here.run("redrive", "--all", "--json")
    assert ran.document["left"][0]["detail"] == "this build cannot read the letter"
    assert "0:1 of streamkit.dead-letters" in ran.err


def test_of_two_operators_at_once_the_first_on_the_control_topic_stands(
    here: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.add_account()
    first, second = gifts(2)
    here.park(first, second)
    append = SqliteLog.append

    async def after_another(self: SqliteLog, topic: str, records: Sequence[Record]) -> list[Appended]:
        if topic == CONTROL:
            dropped = DeadLettersDropped(at=utc_now(), by="bob", letters=(letter_key(first),))
            await append(self, CONTROL, [Record("dead-letters", encode_control(dropped))])
        return await append(self, topic, records)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteLog, "append", after_another)
        ran = here.run("redrive", "--all")
    assert ran.out == "1 redriven.\n1 closed by another command meanwhile.\n"
    assert here.run("show", "0", "--json").document["closed_by"] == "bob"
    assert here.open() == []


def test_a_log_that_goes_away_midway_is_exit_3_and_the_same_command_goes_on(
    here: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.add_account()
    here.park(*gifts(5))
    monkeypatch.setattr("streamkit.cli.closing._LETTERS_AT_ONCE", 2)
    append, calls = SqliteLog.append, iter(range(100))

    async def away(self: SqliteLog, topic: str, records: Sequence[Record]) -> list[Appended]:
        if next(calls) == 3:  # events, control, events, control
            raise LogUnavailable("The log is away.")
        return await append(self, topic, records)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteLog, "append", away)
        assert here.run("redrive", "--all").exit_code == 3
    assert here.open() == [2, 3, 4]
    assert here.redrive("--all")["redriven"] == 3
    assert len(here.values(EVENTS)) == 7
    assert here.kicks(tmp_path / "fold") == (2500, 5)


KILLED_AT = """
import os, signal
from streamkit.__main__ import main
from streamkit.cli import closing
from streamkit.log.kafka import KafkaLog
from streamkit.log.sqlite import SqliteLog
closing._LETTERS_AT_ONCE = 2
calls = iter(range(100))
def killed_around(append):
    async def around(self, topic, records):
        call = next(calls)
        if (call, "before") == {moment}: os.kill(os.getpid(), signal.SIGKILL)
        appended = await append(self, topic, records)
        if (call, "after") == {moment}: os.kill(os.getpid(), signal.SIGKILL)
        return appended
    return around
for log in (KafkaLog, SqliteLog): log.append = killed_around(log.append)
main()
"""


@pytest.mark.parametrize("moment", [(0, "before"), (0, "after"), (1, "after"), (3, "before"), (4, "after")], ids=str)
def test_kill_9_between_any_two_steps_loses_nothing_and_counts_nothing_twice(
    moment: tuple[int, str], anywhere: Deployment, tmp_path: Path
) -> None:
    """Steps: events, control, events, control, events, control, of five letters two at a time."""
    anywhere.add_account()
    anywhere.park(*gifts(5))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT.format(moment=moment), "dead-letters", "redrive", "--all"],
        env=environment(anywhere.folder, **anywhere.settings),
        cwd=anywhere.folder,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = anywhere.open()
    assert len(left) == {0: 5, 1: 3, 3: 3, 4: 1}[moment[0]]
    assert anywhere.redrive("--all")["redriven"] == len(left)
    assert anywhere.open() == []
    assert {one.event_id for one in anywhere.events()} == {f"kick:m{n}" for n in range(5)}
    assert anywhere.kicks(tmp_path / "fold") == (2500, 5)
