"""Bare connections to a server of ours: what no HTTP client would send, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
DEADLINE_S = 10.0


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Wire]:
    """A TCP connection to `url`, closed at the end. The body has 10 s."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def one_answer(reader: asyncio.StreamReader) -> bytes:
    """Head and body of the next answer, by its Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


async def ask(url: str, sent: bytes, *, end: bool = False) -> bytes:
    """The answer to `sent`; with `end` the sending side is closed then, and it is all that comes before the end."""
    async with connected(url) as (reader, writer):
        writer.write(sent)
        if end:
            writer.write_eof()
        return await (reader.read() if end else one_answer(reader))


def parsed(answer: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers (lower-case names) and the JSON body of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, msgspec.json.decode(body) if body else None
