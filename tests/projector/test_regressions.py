"""Logs that the laws once found folded wrongly, each reduced to the smallest that fails."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from schemas.event import Event
from schemas.kinds import KicksGifted, Viewer
from tests.harness import fold

T = datetime(2024, 1, 31, 12, 0, tzinfo=UTC)


def _gift(number: int, viewer: Viewer) -> Event:
    return Event(
        event_id=f"kick:{number}",
        natural_key=None,
        type="kicks.gifted",
        platform="kick",
        user_id=1,
        actor=viewer,
        occurred_at=T,
        received_at=T,
        data=KicksGifted(amount=5),
    )


def test_top_gifters_tie_by_casefold(tmp_path: Path) -> None:
    """`casefold` takes ß and SS for one, `lower` does not: these two tie by name, and then the id decides."""
    log = [_gift(1, Viewer("1", "straße")), _gift(2, Viewer("2", "STRASSE")), _gift(3, Viewer("3", "strasst"))]
    with fold(log, path=tmp_path / "a.duckdb") as folded:
        assert [row.username for row in folded.ask(1, "kicks_top", limit=25)] == ["straße", "STRASSE", "strasst"]
