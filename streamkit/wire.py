"""A success as the bytes that go on the wire, for the path that nearly every request takes.

aiohttp builds, copies and serializes a header map for each answer, which costs more than everything the api does for
a kept one. `Ready` writes a head made of parts that are bytes already. Only public parts of aiohttp are used, and only
for what is plain: HTTP/1.1 and a connection that stays open. All else goes through web.Response. api and ingest share it.
"""

from __future__ import annotations

import time
from email.utils import formatdate

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

_UNSENT_BYTES = 1 << 18
"""With more than this in the socket's buffer, the client reads slower than it asks, and waits."""


def is_plain(request: web.BaseRequest) -> bool:
    """Whether `Ready` may answer the request; HEAD is the caller's to look for."""
    return request.version == HttpVersion11 and request.keep_alive


class Ready(web.StreamResponse):
    """A success whose `head` (status line and headers, complete) and `body` are written at once."""

    def __init__(self, head: bytes, body: bytes = b"", *, status: int = 200) -> None:
        super().__init__(status=status)
        self._bytes = head + body

    @property
    def keep_alive(self) -> bool:
        """The connection stays open: `is_plain` said so."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write everything; called by aiohttp. Waits only for a client that reads too slowly."""
        writer = request.writer
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        transport.write(self._bytes)
        if transport.get_write_buffer_size() > _UNSENT_BYTES:
            await writer.drain()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


class DateHeader:
    """The `Date` header's line, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self) -> str:
        """`Date: …` with its line end, for now."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = f"Date: {formatdate(now, usegmt=True)}\r\n"
        return self._line
