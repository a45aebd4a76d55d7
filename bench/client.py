"""A blocking HTTP client on one kept-alive connection, for probes that time single requests."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from types import TracebackType
from typing import Self


class Client:
    """Requests to 127.0.0.1:`port`; use as a context manager."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> http.client.HTTPResponse:
        """The answer, its body read (`.read()` is empty now). Raises RuntimeError when it is no 2xx."""
        return self._exchange(method, path, headers, body)[0]

    def get(self, path: str, headers: Mapping[str, str]) -> bytes:
        """The body of a GET. Raises RuntimeError when it is no 2xx."""
        return self._exchange("GET", path, headers, None)[1]

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, path, body=body, headers=dict(headers))
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path} answered {answer.status}: {text[:300]!r}")
        return answer, text
