"""A platform's REST API called with a token: what Kick's and Twitch's have in common.

What may not live here: any address of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamkit.platforms.answers import refusal
from streamkit.platforms.http import Answer, Outgoing


class Rest:
    """The API at `base`. `headers` go with every call, beside the token."""

    def __init__(self, outgoing: Outgoing, platform: str, base: str, headers: Mapping[str, str] | None = None) -> None:
        self._outgoing = outgoing
        self._platform = platform
        self._base = base
        self._headers = dict(headers or {})

    async def get(self, path: str, token: str, params: list[tuple[str, str]] | None = None) -> Answer:
        """A GET, tried twice. Raises as `call`."""
        return await self.call("GET", path, token, params=params, attempts=2)

    async def call(
        self,
        method: str,
        path: str,
        token: str,
        *,
        params: list[tuple[str, str]] | None = None,
        json: Any = None,
        attempts: int = 1,
    ) -> Answer:
        """A call whose answer is a 2xx. Raises PlatformRefused for any other, PlatformAway, PlatformTimeout."""
        answer = await self._outgoing.call(
            method,
            f"{self._base}{path}",
            headers={"Authorization": f"Bearer {token}", **self._headers},
            params=params,
            json=json,
            attempts=attempts,
        )
        if not 200 <= answer.status < 300:
            raise refusal(self._platform, answer)
        return answer
