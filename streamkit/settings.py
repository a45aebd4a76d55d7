"""The settings of a deployment, and the one place that reads the environment.

`load_settings` turns a mapping (and the `.env` file of the working directory; the environment wins) into one frozen
struct, or names all mistakes together. What may not live here: anything that acts on a setting.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from schemas.errors import BadSettings
from streamkit.declared_settings import SETTINGS
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
    twitch_eventsub_url: str | None
    kick_client_id: str | None
    kick_client_secret: str | None
    twitch_client_id: str | None
    twitch_client_secret: str | None
    public_url: str | None
    sandbox: bool
    log_level: str

    @property
    def snapshots_are_shared(self) -> bool:
        """Whether they lie elsewhere than in the data folder, where no other projector would find them."""
        return self.snapshot_dir != self.data_dir / "snapshots"

    def __repr__(self) -> str:
        """Without the values: a trace or a log line must not show secrets."""
        return f"Settings(data_dir={str(self.data_dir)!r}, log_url={self.log_url!r}, …)"


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
