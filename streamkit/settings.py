"""Every setting, declared once, and the one place that reads the environment.

`load_settings` turns a mapping (and the `.env` file of the working directory; the environment wins) into one frozen
struct, or names all mistakes together. What may not live here: anything that acts on a setting.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from schemas.errors import BadSettings
from streamkit import setting_values as values
from streamkit.dotenv import DotEnv, parse_dotenv
from streamkit.setting_values import is_loopback


class Settings(Struct, frozen=True, kw_only=True):
    """The deployment's settings. None: not set, the reader's default holds (each is told in docs/settings.md)."""

    data_dir: Path
    log_url: str
    partitions: int | None
    redis_url: str | None
    host: str
    port: int | None
    projector_urls: tuple[str, ...]
    secret_key: bytes | None
    secret_key_previous: bytes | None
    internal_token: str | None
    timezone: ZoneInfo
    twitch_webhook_secret: bytes | None
    twitch_webhook_secret_previous: bytes | None
    kick_public_key: str | None
    kick_webhook_token: str | None
    rate_limit: float
    cors_origins: tuple[str, ...]
    spool_max_bytes: int
    spool_after_ms: int
    dead_letter_max_bytes: int
    generations_kept: int
    rebuild: str
    snapshot_dir: Path
    kick_api_url: str
    kick_auth_url: str
    twitch_api_url: str
    twitch_auth_url: str
    twitch_eventsub_ws_url: str
    kick_client_id: str | None
    kick_client_secret: str | None
    twitch_client_id: str | None
    twitch_client_secret: str | None
    public_url: str | None
    sandbox: bool
    log_level: str

    def __repr__(self) -> str:
        """Without the values: a trace or a log line must not show secrets."""
        return f"Settings(data_dir={str(self.data_dir)!r}, log_url={self.log_url!r}, …)"


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

_BY_NAME = {setting.name: setting for setting in SETTINGS}


class Text(Struct, frozen=True):
    """The text in force for a setting (None: nothing is set and there is no default) and where it came from:
    `environment`, `.env` or `default`."""

    text: str | None
    source: str


def read_texts(environ: Mapping[str, str], cwd: Path | None = None) -> dict[str, Text]:
    """The text of every setting, by name. An empty text is as good as none. Raises BadSettings for a bad `.env`."""
    dotenv = _read_dotenv(cwd or Path.cwd())
    if dotenv.mistakes:
        raise _bad(dotenv.mistakes)
    return _texts(environ, dotenv)


def load_settings(environ: Mapping[str, str], cwd: Path | None = None) -> Settings:
    """The settings of this deployment; `cwd` (default: the process's) holds `.env` and starts relative paths.

    Raises BadSettings, whose text names every mistake and what is allowed, never a value that is a secret.
    """
    folder = cwd or Path.cwd()
    dotenv = _read_dotenv(folder)
    mistakes = list(dotenv.mistakes)
    fields: dict[str, Any] = {}
    for name, text in _texts(environ, dotenv).items():
        setting = _BY_NAME[name]
        try:
            fields[setting.field] = None if text.text is None else setting.parse(text.text, folder)
        except ValueError as error:
            got = "" if setting.secret or text.text is None else f", not {_shorten(text.text)!r}"
            mistakes.append(f"{name} must be {error}{got}")
    if fields.get("sandbox") and "host" in fields and not is_loopback(fields["host"]):
        mistakes.append(_beyond_loopback(fields["host"]))
    if mistakes:
        raise _bad(mistakes)
    fields["projector_urls"] = fields["projector_urls"] or ()
    fields["snapshot_dir"] = fields["snapshot_dir"] or fields["data_dir"] / "snapshots"
    return Settings(**fields)


def check_listen(settings: Settings, host: str) -> None:
    """For a host given on the command line: raises BadSettings when the sandbox would listen beyond this machine."""
    if settings.sandbox and not is_loopback(host):
        raise BadSettings(_beyond_loopback(host))


def unknown_names(environ: Mapping[str, str], cwd: Path | None = None) -> list[str]:
    """One sentence for each `STREAMKIT_` name that is no setting, with the nearest one that is."""
    names = sorted({*environ, *_read_dotenv(cwd or Path.cwd()).values})
    sentences = []
    for name in names:
        if name.startswith("STREAMKIT_") and name not in _BY_NAME:
            near = nearest_name(name)
            hint = f" Did you mean {near}?" if near else " `streamkit settings` lists them all."
            sentences.append(f"{name} is no setting and is ignored.{hint}")
    return sentences


def nearest_name(name: str) -> str | None:
    """The setting that was probably meant; None when none is like it."""
    return next(iter(difflib.get_close_matches(name, _BY_NAME, 1, 0.6)), None)


def _texts(environ: Mapping[str, str], dotenv: DotEnv) -> dict[str, Text]:
    found = {}
    for setting in SETTINGS:
        text, source = setting.default, "default"
        for given, where in ((environ, "environment"), (dotenv.values, ".env")):
            if setting.name in given:
                raw = given[setting.name]
                # Spaces may be part of a secret that a platform holds too.
                raw = raw if setting.secret else raw.strip()
                if raw:
                    text, source = raw, where
                break
        found[setting.name] = Text(text, source)
    return found


def _read_dotenv(cwd: Path) -> DotEnv:
    try:
        return parse_dotenv((cwd / ".env").read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return DotEnv({}, [])
    except (OSError, ValueError):
        return DotEnv({}, [f"{cwd / '.env'} must be a readable file in UTF-8"])


def _beyond_loopback(host: str) -> str:
    return f"STREAMKIT_SANDBOX=1 trusts keys that everybody has, so the host must be 127.0.0.1, ::1 or localhost, not {host!r}"


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "…"


def _bad(mistakes: list[str]) -> BadSettings:
    return BadSettings("; ".join(mistakes) + ".")
