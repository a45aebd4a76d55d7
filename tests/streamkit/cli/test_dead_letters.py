"""`streamkit dead-letters`: what is parked, each once, and one of them whole."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from schemas.dead_letter import DeadLetter, encode_dead_letter
from streamkit.cli.dead_letters import dead_letters
from streamkit.log import open_log
from streamkit.log.protocol import DEAD_LETTERS, Record
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
    }
    assert "malformed" in run(tmp_path, "list").out


def test_one_letter_whole(tmp_path: Path) -> None:
    park(tmp_path, LETTER, replace(LETTER, body=b"\xff\xfe"))
    told = run(tmp_path, "show", "0", "--json").document
    assert told["headers"] == LETTER.headers
    assert told["body"] == LETTER.body.decode()
    assert "body_base64" not in told
    assert base64.b64decode(run(tmp_path, "show", "1", "--json").document["body_base64"]) == b"\xff\xfe"
    text = run(tmp_path, "show", "0").out
    assert "kick-event-type: kicks.gifted" in text
    assert '{"gift":{"amount":5}}' in text


def test_a_letter_that_is_not_there_is_exit_1(tmp_path: Path) -> None:
    park(tmp_path, LETTER)
    for position in ("1", "99"):
        ran = run(tmp_path, "show", position, "--json")
        assert ran.exit_code == 1
        assert ran.document == {
            "error": f"There is no dead letter at {position}; `streamkit dead-letters list` shows them."
        }
    assert run(tmp_path, "show", "first").exit_code == 2


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
