"""`streamkit dead-letters`: what is parked, each once, and one of them whole."""

from __future__ import annotations

import asyncio
import base64
import getpass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from schemas.control import ControlEvent, DeadLettersDropped, decode_control
from schemas.dead_letter import DeadLetter, encode_dead_letter, letter_key
from streamkit.cli.dead_letters import dead_letters
from streamkit.log import open_log
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, MAX_POSITION, Record
from tests.streamkit.cli.running import Ran, invoke
from tests.unreadable import UNREADABLE

LETTER = DeadLetter(
    reason="unknown_broadcaster",
    platform="kick",
    type="kicks.gifted",
    event_id="kick:01M6BFS7ZZVZC2Q24MH3Y4HZJY",
    user_id=None,
    received_at=datetime(2026, 11, 24, 8, 0, 1, 5, UTC),
    detail="nobody is registered under 84635624",
    headers={"kick-event-type": "kicks.gifted"},
    body=b'{"gift":{"amount":5}}',
    broadcaster_id="84635624",
)


def run(folder: Path, *arguments: str) -> Ran:
    return invoke(dead_letters, *arguments, folder=folder)


def park(folder: Path, *letters: DeadLetter) -> None:
    async def append() -> None:
        log = await open_log("sqlite:", data_dir=folder / "data")
        try:
            await log.append(DEAD_LETTERS, [Record(one.event_id, encode_dead_letter(one)) for one in letters])
        finally:
            await log.close()

    asyncio.run(append())


def test_nothing_is_parked(tmp_path: Path) -> None:
    assert run(tmp_path, "list", "--json").document == []
    assert run(tmp_path, "list").out == "None.\n"


def test_the_list_has_each_letter_once(tmp_path: Path) -> None:
    failed = replace(LETTER, reason="fold_failed", partition=0, position=7)
    park(
        tmp_path,
        LETTER,
        replace(LETTER, received_at=datetime(2026, 11, 24, 9, tzinfo=UTC)),  # the same, parked again
        replace(LETTER, reason="malformed"),  # the same delivery for another reason
        failed,
        replace(failed, event_id="unreadable"),  # the same place on the events log
        replace(failed, position=8),
    )
    told = run(tmp_path, "list", "--json").document
    assert [(one["position"], one["reason"]) for one in told] == [
        (0, "unknown_broadcaster"),
        (2, "malformed"),
        (3, "fold_failed"),
        (5, "fold_failed"),
    ]
    assert told[0] == {
        "position": 0,
        "reason": "unknown_broadcaster",
        "platform": "kick",
        "type": "kicks.gifted",
        "event_id": "kick:01M6BFS7ZZVZC2Q24MH3Y4HZJY",
        "received_at": "2026-11-24T08:00:01.000005+00:00",
        "broadcaster_id": "84635624",
        "state": "open",
    }
    assert "malformed" in run(tmp_path, "list").out


def positions(ran: Ran) -> list[int]:
    assert ran.exit_code == 0
    return [one["position"] for one in ran.document]


def test_the_list_is_of_what_fits_all_that_is_asked_for(tmp_path: Path) -> None:
    later = datetime(2026, 11, 25, tzinfo=UTC)
    park(
        tmp_path,
        LETTER,
        replace(LETTER, reason="malformed"),
        replace(LETTER, event_id="twitch:1", platform="twitch", type="channel.cheer", received_at=later),
        replace(LETTER, reason="malformed", event_id="twitch:1", platform="twitch", received_at=later),
        replace(LETTER, reason="fold_failed", platform=None, partition=0, position=1, received_at=datetime(2026, 1, 1)),
    )
    for options, expected in (
        ((), [0, 1, 2, 3, 4]),
        (("--reason", "malformed"), [1, 3]),
        (("--platform", "twitch"), [2, 3]),
        (("--type", "channel.cheer"), [2]),
        (("--since", "2026-11-24T08:00:01.000005Z"), [0, 1, 2, 3]),
        (("--since", "2026-11-24T08:00:01.000006Z"), [2, 3]),
        (("--since", "2026-11-25T01:00:00+01:00"), [2, 3]),
        (("--since", "2026-11-25"), [2, 3]),
        (("--since", "2026-01-01"), [0, 1, 2, 3, 4]),
        (("--reason", "malformed", "--platform", "kick"), [1]),
        (("--reason", "unknown_type"), []),
    ):
        assert positions(run(tmp_path, "list", "--json", *options)) == expected, options
    for wrong in (("--since", "yesterday"), ("--reason", "late"), ("--platform", "trovo")):
        assert run(tmp_path, "list", *wrong).exit_code == 2


def control_events(folder: Path) -> list[ControlEvent]:
    async def read() -> list[ControlEvent]:
        log = await open_log("sqlite:", data_dir=folder / "data")
        try:
            return [decode_control(value) for value in (await log.read(CONTROL, 0, 0)).values]
        finally:
            await log.close()

    return asyncio.run(read())


def test_what_is_dropped_is_closed_and_the_control_topic_says_by_whom_and_why(tmp_path: Path) -> None:
    park(tmp_path, LETTER, replace(LETTER, reason="malformed"), LETTER)
    ran = run(tmp_path, "drop", "--reason", "malformed", "--by", "ann", "--why", "a test of Kick's", "--json")
    assert (ran.exit_code, ran.document) == (0, {"dry_run": False, "dropped": 1, "meanwhile": 0})
    (event,) = control_events(tmp_path)
    assert isinstance(event, DeadLettersDropped)
    assert (event.by, event.why, event.letters) == (
        "ann",
        "a test of Kick's",
        (letter_key(replace(LETTER, reason="malformed")),),
    )
    assert positions(run(tmp_path, "list", "--json")) == [0]
    both = run(tmp_path, "list", "--all-states", "--json").document
    assert [(one["position"], one["state"]) for one in both] == [(0, "open"), (1, "dropped")]
    shown = run(tmp_path, "show", "1", "--json").document
    assert (shown["state"], shown["closed_by"], shown["closed_why"]) == ("dropped", "ann", "a test of Kick's")
    assert shown["closed_at"] == event.at.isoformat()
    assert run(tmp_path, "show", "2", "--json").document["state"] == "open"  # a copy of the first
    assert "1 dropped." in run(tmp_path, "drop", "--all").out
    assert run(tmp_path, "list", "--json").document == []
    (_, last) = control_events(tmp_path)
    assert isinstance(last, DeadLettersDropped)
    assert (last.by, last.why) == (getpass.getuser(), None)


def test_a_number_of_letters_is_dropped_oldest_first_or_none_in_a_dry_run(tmp_path: Path) -> None:
    park(tmp_path, *(replace(LETTER, event_id=f"kick:{number}") for number in range(5)))
    assert run(tmp_path, "drop", "--all", "--max", "2", "--dry-run").out == "A dry run: 2 would be dropped.\n"
    assert positions(run(tmp_path, "list", "--json")) == [0, 1, 2, 3, 4]
    assert run(tmp_path, "drop", "--all", "--max", "2").out == "2 dropped.\n"
    assert positions(run(tmp_path, "list", "--json")) == [2, 3, 4]
    assert run(tmp_path, "drop", "--position", "3").out == "1 dropped.\n"
    assert positions(run(tmp_path, "list", "--json")) == [2, 4]


def test_many_letters_are_closed_by_few_control_events(tmp_path: Path) -> None:
    park(tmp_path, *(replace(LETTER, event_id=f"kick:{number}") for number in range(450)))
    assert run(tmp_path, "drop", "--all", "--json").document["dropped"] == 450
    assert len(control_events(tmp_path)) == 3


def test_a_position_where_no_open_letter_lies_is_exit_1(tmp_path: Path) -> None:
    park(tmp_path, LETTER)
    assert run(tmp_path, "drop", "--position", "0", "--by", "ann").exit_code == 0
    ran = run(tmp_path, "drop", "--position", "0", "--json")
    assert ran.exit_code == 1
    assert "at position 0: it was dropped by ann at 20" in ran.document["error"]
    ran = run(tmp_path, "drop", "--position", "7")
    assert ran.exit_code == 1
    assert "No open dead letter fits at position 7: there is none" in ran.err
    assert run(tmp_path, "drop", "--all", "--json").document["dropped"] == 0


def test_to_drop_one_says_which(tmp_path: Path) -> None:
    park(tmp_path, LETTER)
    for arguments in ((), ("--max", "1"), ("--dry-run",), ("--all", "--by", " "), ("--all", "--why", "x" * 501)):
        assert run(tmp_path, "drop", *arguments).exit_code == 2, arguments
    assert positions(run(tmp_path, "list", "--json")) == [0]


def test_one_letter_whole(tmp_path: Path) -> None:
    park(tmp_path, LETTER, replace(LETTER, body=b"\xff\xfe"))
    told = run(tmp_path, "show", "0", "--json").document
    assert told["headers"] == LETTER.headers
    assert told["body"] == LETTER.body.decode()
    assert "body_base64" not in told
    assert base64.b64decode(run(tmp_path, "show", "1", "--json").document["body_base64"]) == b"\xff\xfe"
    text = run(tmp_path, "show", "0").out
    assert "kick-event-type: kicks.gifted" in text
    assert '"amount": 5' in text
    assert "None" not in text
    assert "event id" in text
    assert "�" in run(tmp_path, "show", "1").out


def test_a_letters_text_moves_no_terminal(tmp_path: Path) -> None:
    park(tmp_path, replace(LETTER, headers={"kick-event-type": "\x9b31m"}, body='{"a":"\x9b2J"} \x1b'.encode()))
    text = run(tmp_path, "show", "0").out
    assert "type: \\x9b31m" in text
    assert "\\x9b2J" in text
    assert all(character.isprintable() for line in text.split("\n") for character in line)
    assert "\x9b2J" in run(tmp_path, "show", "0", "--json").document["body"]


def test_a_letter_that_is_not_there_is_exit_1(tmp_path: Path) -> None:
    park(tmp_path, LETTER)
    for position in ("1", "99", str(MAX_POSITION)):
        ran = run(tmp_path, "show", position, "--json")
        assert ran.exit_code == 1
        assert ran.document == {
            "error": f"There is no dead letter at {position}; `streamkit dead-letters list` shows them."
        }
    for no_position in ("first", str(MAX_POSITION + 1)):
        assert run(tmp_path, "show", no_position).exit_code == 2


def test_a_record_that_is_no_letter_is_named_and_passed_over(tmp_path: Path) -> None:
    async def append() -> None:
        log = await open_log("sqlite:", data_dir=tmp_path / "data")
        try:
            values = [*UNREADABLE, encode_dead_letter(LETTER)]
            await log.append(DEAD_LETTERS, [Record("1", value) for value in values])
        finally:
            await log.close()

    asyncio.run(append())
    ran = run(tmp_path, "list", "--json")
    assert ran.exit_code == 0
    assert [one["position"] for one in ran.document] == [len(UNREADABLE)]
    assert len(ran.err.splitlines()) == len(UNREADABLE)
    assert " 0:0 of streamkit.dead-letters " in ran.err
    for position in range(len(UNREADABLE)):
        shown = run(tmp_path, "show", str(position))
        assert (shown.exit_code, shown.out) == (1, "")
        assert f"The record at {position} is no dead letter" in shown.err


@pytest.mark.parametrize("arguments", [("list",), ("show", "0"), ("drop", "--all"), ("list", "--all-states", "--json")])
def test_where_there_is_no_log_none_is_made(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = run(tmp_path, *arguments)
    assert ran.exit_code == (1 if arguments[0] == "show" else 0)
    assert "There is no log in" in ran.err
    assert list(tmp_path.iterdir()) == []
