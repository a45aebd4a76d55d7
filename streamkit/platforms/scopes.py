"""What a streamer is asked to allow, and why: the least that the subscriptions and calls of this deployment need.

docs/connect.md tells each with its reason. Kick's subscriptions go by the app's token, which needs no consent.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from schemas.control import PlatformName
from streamkit.settings import Settings

KICK_SCOPES = ("user:read", "channel:write")
"""https://docs.kick.com/getting-started/scopes"""

TWITCH_SCOPES = (
    "user:read:chat",
    "moderator:read:followers",
    "channel:read:subscriptions",
    "bits:read",
    "channel:read:redemptions",
    "channel:moderate",
    "channel:manage:broadcast",
)
"""https://dev.twitch.tv/docs/authentication/scopes/"""

TWITCH_WEBHOOK_SCOPES = ("user:bot", "channel:bot")
"""Chat by webhook is subscribed to with the app's token, and that takes these two besides."""


def twitch_uses_webhooks(settings: Settings) -> bool:
    """Whether Twitch can deliver to us: an https address on port 443, and a secret. Else the websocket is used."""
    public = urlsplit(settings.public_url or "")
    return settings.twitch_webhook_secret is not None and public.scheme == "https" and public.port in (None, 443)


def scopes_asked(platform: PlatformName, settings: Settings) -> tuple[str, ...]:
    """What the consent page of the platform shows."""
    if platform == "kick":
        return KICK_SCOPES
    return TWITCH_SCOPES + (TWITCH_WEBHOOK_SCOPES if twitch_uses_webhooks(settings) else ())
