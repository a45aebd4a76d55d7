"""Every setting, declared once: name, unit, default, what it is for, and how its text becomes a value.

What may not live here: where the texts come from (settings.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from streamkit import setting_values as values


class Setting(Struct, frozen=True):
    """One declaration. `default` is the text that stands when nothing is set (None: the field is None, and
    `without` says what that means); `parse(text, working directory)` raises ValueError with what is allowed."""

    name: str
    unit: str
    default: str | None
    help: str
    parse: Callable[[str, Path], Any]
    secret: bool = False
    without: str = "unset"

    @property
    def field(self) -> str:
        """The name in Settings."""
        return self.name.removeprefix("STREAMKIT_").lower()

    @property
    def default_shown(self) -> str:
        """The default as a person reads it."""
        return self.without if self.default is None else self.default


_http = values.url("http", "https")

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "STREAMKIT_DATA_DIR",
        "path",
        "./data",
        "Everything local: the SQLite log, read models, the spool, generated keys (mode 0600)",
        values.path,
    ),
    Setting(
        "STREAMKIT_LOG_URL",
        "url",
        "sqlite:",
        "The event log: sqlite: (a file in the data folder) or kafka://host:port[,host:port]",
        values.log_url,
    ),
    Setting(
        "STREAMKIT_PARTITIONS",
        "count",
        None,
        "Partitions of a new events log; fixed for the life of the log",
        values.whole(1, 1024),
        without="1 for SQLite, 4 for Kafka",
    ),
    Setting(
        "STREAMKIT_REDIS_URL",
        "url",
        None,
        "Redis for edge dedupe and cache hints shared between processes; losing it loses speed only",
        values.url("redis", "rediss", "unix"),
        without="unset: in-process",
    ),
    Setting("STREAMKIT_HOST", "host", "127.0.0.1", "Where to listen", values.host),
    Setting(
        "STREAMKIT_PORT",
        "port",
        None,
        "The port to listen on; 0 picks a free one",
        values.whole(0, 65535),
        without="8080 (up, api), 8081 (ingest alone), 8082 (projector's read port)",
    ),
    Setting(
        "STREAMKIT_PROJECTOR_URLS",
        "urls",
        None,
        "Where an api that runs alone finds the projectors' read ports, comma-separated",
        values.urls,
        without="unset: http://127.0.0.1:8082",
    ),
    Setting(
        "STREAMKIT_SECRET_KEY",
        "base64",
        None,
        "At least 32 random bytes: JWT signing, secret hashing, token encryption and the internal token derive from it",
        values.secret_key,
        secret=True,
        without="generated into the data folder by up and demo",
    ),
    Setting(
        "STREAMKIT_SECRET_KEY_PREVIOUS",
        "base64",
        None,
        "The secret key before the present one: verifies and decrypts only, during a rotation",
        values.secret_key,
        secret=True,
    ),
    Setting(
        "STREAMKIT_INTERNAL_TOKEN",
        "token",
        None,
        "Bearer token for the read port, /metrics and the details of /readyz",
        values.token,
        secret=True,
        without="derived from the secret key",
    ),
    Setting("STREAMKIT_TIMEZONE", "IANA name", "UTC", "The time zone of times in answers", values.timezone),
    Setting(
        "STREAMKIT_TWITCH_WEBHOOK_SECRET",
        "text",
        None,
        "The secret of our Twitch EventSub subscriptions, 10 to 100 ASCII characters",
        values.twitch_secret,
        secret=True,
        without="unset: /webhooks/twitch answers 503",
    ),
    Setting(
        "STREAMKIT_TWITCH_WEBHOOK_SECRET_PREVIOUS",
        "text",
        None,
        "The Twitch secret before the present one, accepted beside it during a rotation",
        values.twitch_secret,
        secret=True,
    ),
    Setting(
        "STREAMKIT_KICK_PUBLIC_KEY",
        "PEM or path",
        None,
        "Kick's signing key as PEM text or a file's path; never refreshed when set",
        values.rsa_public_key,
        without="Kick's documented key, refreshed from Kick after a failed signature",
    ),
    Setting(
        "STREAMKIT_KICK_WEBHOOK_TOKEN",
        "token",
        None,
        "When set, only /webhooks/kick/<token> is accepted: every Kick app shares one signing key",
        values.token,
        secret=True,
        without="unset: /webhooks/kick",
    ),
    Setting("STREAMKIT_RATE_LIMIT", "requests/s", "50", "Requests a second per API client; 0 is off", values.rate),
    Setting(
        "STREAMKIT_CORS_ORIGINS",
        "origins",
        "*",
        "Origins of web pages that may read the API from a browser, comma-separated",
        values.origins,
    ),
    Setting(
        "STREAMKIT_SPOOL_MAX_BYTES",
        "bytes",
        "4 GiB",
        "What the spool may hold while Kafka is away, at most; beyond it platforms get 503",
        values.size_bytes,
    ),
    Setting(
        "STREAMKIT_SPOOL_AFTER_MS",
        "ms",
        "1000",
        "So long Kafka has to acknowledge a delivery before it goes into the spool",
        values.whole(50, 60_000),
    ),
    Setting(
        "STREAMKIT_DEAD_LETTER_MAX_BYTES",
        "bytes",
        "1 GiB",
        "What the dead letters may hold, at most; deliveries beyond it are counted as dropped",
        values.size_bytes,
    ),
    Setting(
        "STREAMKIT_GENERATIONS_KEPT",
        "count",
        "2",
        "Generations of read models that stay after a promotion: the live one, and those that were live before it",
        values.whole(1, 100),
    ),
    Setting(
        "STREAMKIT_REBUILD",
        "auto or manual",
        "auto",
        "After an upgrade that raised read models: fold and promote a new generation at once, or when told to",
        values.one_of("auto", "manual"),
    ),
    Setting(
        "STREAMKIT_SNAPSHOT_DIR",
        "path",
        None,
        "Snapshots of read models; a folder that all projectors share, so that each can go on from what another folded",
        values.path,
        without="snapshots in the data folder",
    ),
    Setting("STREAMKIT_KICK_API_URL", "url", "https://api.kick.com", "Kick's API", _http),
    Setting("STREAMKIT_KICK_AUTH_URL", "url", "https://id.kick.com", "Kick's OAuth server", _http),
    Setting("STREAMKIT_TWITCH_API_URL", "url", "https://api.twitch.tv", "Twitch's API", _http),
    Setting("STREAMKIT_TWITCH_AUTH_URL", "url", "https://id.twitch.tv", "Twitch's OAuth server", _http),
    Setting(
        "STREAMKIT_TWITCH_EVENTSUB_WS_URL",
        "url",
        "wss://eventsub.wss.twitch.tv/ws",
        "Twitch's EventSub websocket, used where Twitch cannot deliver to STREAMKIT_PUBLIC_URL",
        values.url("ws", "wss"),
    ),
    Setting(
        "STREAMKIT_TWITCH_EVENTSUB_URL",
        "url",
        None,
        "Where Twitch's EventSub subscriptions are made, listed and deleted",
        _http,
        without="unset: eventsub/subscriptions at Twitch's API",
    ),
    Setting(
        "STREAMKIT_KICK_CLIENT_ID",
        "text",
        None,
        "The deployment's app on Kick",
        values.word,
        without="unset: nothing is asked of Kick",
    ),
    Setting("STREAMKIT_KICK_CLIENT_SECRET", "text", None, "The secret of the app on Kick", values.word, secret=True),
    Setting(
        "STREAMKIT_TWITCH_CLIENT_ID",
        "text",
        None,
        "The deployment's app on Twitch",
        values.word,
        without="unset: nothing is asked of Twitch",
    ),
    Setting(
        "STREAMKIT_TWITCH_CLIENT_SECRET", "text", None, "The secret of the app on Twitch", values.word, secret=True
    ),
    Setting(
        "STREAMKIT_PUBLIC_URL",
        "url",
        None,
        "This deployment's address as browsers and platforms reach it: streamers consent there, Twitch delivers there",
        _http,
        without="unset: where ingest listens on this machine",
    ),
    Setting(
        "STREAMKIT_SANDBOX",
        "1 or 0",
        "0",
        "Trust the sandbox signing keys of demo and simulate; refuses to listen beyond this machine",
        values.switch,
    ),
    Setting(
        "STREAMKIT_LOG_LEVEL", "level", "INFO", "The least level logged: DEBUG, INFO, WARNING, ERROR", values.level
    ),
)
