"""The tokens to call a platform with: a broadcaster's own, and the app's; renewed in time, once, and kept in the vault.

What may not live here: what they are used for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from schemas.control import PlatformName

State = Literal["connected", "needs_reconnect"]


class Connection(Struct, frozen=True):
    """A broadcaster whose tokens for a platform we hold. `needs_reconnect`: the platform refused to renew them."""

    user_id: int
    platform: PlatformName
    platform_id: str
    state: State
    scopes: tuple[str, ...]
    connected_at: datetime


class Tokens:
    """One per process and event loop."""

    def configured(self, platform: PlatformName) -> bool:
        """Whether the deployment has an app on the platform; without one nothing is done there."""
        raise NotImplementedError

    async def user_token(self, user_id: int, platform: PlatformName) -> str:
        """The broadcaster's access token, good for the next minute.

        Raises NotConnected, NeedsReconnect, PlatformAway, PlatformTimeout, PlatformRefused, LogUnavailable. May wait for
        the platform and for another process that renews. Cancellation leaves a renewal to its end.
        """
        raise NotImplementedError

    async def refreshed(self, user_id: int, platform: PlatformName, *, refused: str) -> str:
        """Another access token than `refused`, which the platform answered 401 to. Use it once, and do not ask again for
        the same request. Raises as `user_token`."""
        raise NotImplementedError

    async def app_token(self, platform: PlatformName, *, refused: str | None = None) -> str:
        """The app's access token; another one than `refused`, which the platform answered 401 to.

        Raises NotConnected without an app, PlatformAway, PlatformTimeout, PlatformRefused.
        """
        raise NotImplementedError

    def connections(self) -> Mapping[tuple[int, PlatformName], Connection]:
        """All that are connected by tokens, whatever their state. Cheap."""
        raise NotImplementedError

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` (on the event loop, must not block) after `connections()` changed in who or in state."""
        raise NotImplementedError
