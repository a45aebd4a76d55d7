"""What the demo shows: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TextIO

import aiohttp
from msgspec import Struct
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamkit.simulation.sender import Sent
from streamkit.simulation.totals import totals

API = "/api/public/v2"
LINE_EVERY_S = 2.0
_FEWEST_ROWS = 3
_ROWS_BESIDE_LISTS = 25
"""Of the pulse, the table, the curl line, and the frame of the lists."""


_AGREES = "The API agrees with what was delivered."
_DIFFERS = (
    "The API and what was delivered differ: what you pushed yourself counts in the API alone, and what came last may not "
    "be folded yet."
)


class Access(Struct, frozen=True):
    """The three credentials of the sandbox streamer."""

    client_id: str
    client_secret: str
    jwt: str

    @property
    def headers(self) -> dict[str, str]:
        """As the API wants them."""
        return {
            "X-Client-Id": self.client_id,
            "X-Client-Secret": self.client_secret,
            "Authorization": f"Bearer {self.jwt}",
        }

    def curl(self, url: str) -> str:
        """A command line that asks for the overview."""
        headers = " ".join(f'-H "{name}: {value}"' for name, value in self.headers.items())
        return f'curl -s "{url}{API}/overview" {headers}'

    def short_curl(self, url: str, folder: Path) -> str:
        """The same with the credentials in a file that it makes in `folder`: one that fits into a line of a terminal."""
        file = folder / "curl"
        file.touch(mode=0o600)
        file.write_text("".join(f'header = "{name}: {value}"\n' for name, value in self.headers.items()))
        return f"curl -sK {file} {url}{API}/overview"


class DemoView:
    """What is told on `out`, from `showing` to its end.

    `overview` is what the API answered at the last look, `agrees` whether its numbers were those of the deliveries.
    """

    def __init__(self, access: Access, out: TextIO, folder: Path) -> None:
        self._access = access
        self._folder = folder
        self._out = out
        self._console = Console(file=out)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._url = ""
        self._curl = ""
        self._began = time.monotonic()
        self._next_line = 0.0
        self.overview: Any = None
        self.agrees = False

    @contextmanager
    def showing(self, url: str) -> Iterator[None]:
        """Say where the API is, keep the terminal for the table, and say at the end whether both sides agree."""
        self._url = url
        self._began = time.monotonic()
        self._curl = self._access.curl(url) if self._live is None else self._access.short_curl(url, self._folder)
        self._print("StreamKit demo: a sandbox streamer on Kick and Twitch, simulated traffic, all in this process.")
        self._print(f"Ask the API yourself, in another terminal:\n\n{self._curl}\n")
        with self._live or nullcontext():
            yield
        if self.overview is not None:
            self._print(_AGREES if self.agrees else _DIFFERS)

    def ready(self, url: str) -> None:
        """The line that every served command has."""
        self._print(f"ready {url}")

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    async def refresh(self, http: aiohttp.ClientSession, sent: Sent, *, last: bool = False) -> None:
        """Ask the API and show it beside what was sent. Raises aiohttp.ClientError when it does not answer."""
        expected = await asyncio.to_thread(totals, list(sent.facts))
        self.overview = await self._ask(http, "overview")
        numbers = _numbers(expected, self.overview)
        self.agrees = all(told == shown for _, told, shown in numbers)
        if self._live is not None:
            kicks, coins, events = [
                await self._ask(http, name) for name in ("kicks", "coins", "events-history?limit=8")
            ]
            rows = min(len(events), self._console.height - _ROWS_BESIDE_LISTS)
            lists = [_lists(kicks, coins, events, rows)] if rows >= _FEWEST_ROWS else []
            curl = Text(
                self._curl.replace(" http", " \\\n  http"), overflow="fold"
            )  # two lines: one is cut at 80 columns
            self._live.update(
                Group(self._pulse(sent), _table(numbers, _watching(self.overview)), *lists, curl), refresh=True
            )
        elif last is self.agrees or not last:
            self._line(sent, numbers, last=last)

    async def _ask(self, http: aiohttp.ClientSession, path: str) -> Any:
        async with http.get(f"{self._url}{API}/{path}", headers=self._access.headers) as answer:
            return (await answer.json())["data"]

    def _pulse(self, sent: Sent) -> Text:
        seconds = time.monotonic() - self._began
        return Text(
            f"{seconds:5.0f} s   {sent.accepted} deliveries answered 2xx ({sent.accepted / seconds:.0f}/s), "
            f"{sent.rejected.total() + sent.failed} not   "
            f"p50 {sent.percentile_ms(0.5):.1f} ms   p99 {sent.percentile_ms(0.99):.1f} ms   Ctrl-C ends it"
        )

    def _line(self, sent: Sent, numbers: list[tuple[str, Any, Any]], *, last: bool) -> None:
        now = time.monotonic()
        if now < self._next_line and not last:
            return
        self._next_line = now + LINE_EVERY_S
        told = "  ".join(f"{name} {shown}/{told}" for name, told, shown in numbers if isinstance(told, int))
        folding = "" if self.agrees else "  (the rest is being folded)"
        self._print(f"{self._pulse(sent).plain.removesuffix('   Ctrl-C ends it')}\n  served/sent: {told}{folding}")


def _numbers(expected: Any, overview: Any) -> list[tuple[str, Any, Any]]:
    """Name, by the deliveries, by the API."""
    subscriptions, coins = overview["subscriptions"], overview["coins"]
    platforms = overview["stream_status"]["platforms"]
    return [
        ("events", expected.events.total, overview["events"]["total"]),
        ("new subscriptions", expected.subscriptions.new, subscriptions["new"]),
        ("renewals", expected.subscriptions.resubs, subscriptions["resubs"]),
        ("gifted", expected.subscriptions.gifted, subscriptions["gifted"]),
        ("active", expected.subscriptions.active, subscriptions["active"]),
        ("coins", expected.coins.total_coins, coins["total_coins"]),
        ("viewers with coins", expected.coins.users_count, coins["users_count"]),
        ("kicks", expected.kicks.total_kicks, overview["kicks"]["total_kicks"]),
        *(
            (f"title on {name}", expected.stream_titles[name], platforms[name].get("stream_title"))
            for name in ("kick", "twitch")
        ),
    ]


def _watching(overview: Any) -> str:
    """How many watch, as last polled from the platforms."""
    platforms = overview["stream_status"]["platforms"]
    return ", ".join(f"{name} {_shown(shown.get('viewer_count'))}" for name, shown in platforms.items())


def _table(numbers: list[tuple[str, Any, Any]], watching: str) -> Table:
    table = Table("", "by the deliveries", "by the API", title="GET /api/public/v2/overview", title_justify="left")
    for name, told, shown in numbers:
        style = "green" if told == shown else "yellow"
        table.add_row(name, _shown(told), Text(_shown(shown), style=style))
    table.add_row("watching (polled)", "", watching)
    return table


def _shown(number: Any) -> str:
    return "-" if number is None else str(number)


def _lists(kicks: Any, coins: Any, events: Any, rows: int) -> Table:
    table = Table("top gifters (kicks)", "most coins", "newest events", show_lines=False)
    columns = (
        [f"{row['username']} {row['kicks']}" for row in kicks["top_gifters"]],
        [f"{row['username']} {row['coins']}" for row in coins["leaderboard"]],
        [f"{row['platform']:6} {row['type']} {row['actor'] or '-'} {row['message'] or ''}" for row in events],
    )
    for index in range(rows):
        table.add_row(*(Text(column[index], no_wrap=True) if index < len(column) else "" for column in columns))
    return table
