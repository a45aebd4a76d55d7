"""From the text of a setting to its value: one small function per kind of value.

Each takes the text and the working directory, and raises ValueError with what is allowed, to follow "must be".
No text of a value stands in an error: it may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

MIN_SECRET_KEY_BYTES = 32

_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")
_SIZE = re.compile(r"(\d{1,18})\s*(KiB|MiB|GiB|TiB)?", re.IGNORECASE)
_FACTORS = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def path(text: str, cwd: Path) -> Path:
    """An absolute path; a relative one starts at the working directory."""
    return (cwd / Path(text).expanduser()).absolute()


def whole(low: int, high: int) -> Callable[[str, Path], int]:
    """A whole number within both bounds."""

    def parse(text: str, _cwd: Path) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def rate(text: str, _cwd: Path) -> float:
    """Requests a second; 0 is off."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1_000_000:
        raise ValueError("a number from 0 (off) to 1000000")
    return value


def size_bytes(text: str, _cwd: Path) -> int:
    """Bytes, with KiB, MiB, GiB or TiB after the number where wanted."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError("a number of bytes such as 1073741824, 512 MiB or 4 GiB")
    return int(found[1]) * _FACTORS[(found[2] or "").lower()]


def one_of(*words: str) -> Callable[[str, Path], str]:
    """One of these words."""

    def parse(text: str, _cwd: Path) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return parse


def switch(text: str, _cwd: Path) -> bool:
    """1 or 0, and the words for them."""
    lowered = text.lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ValueError("1 or 0")


def host(text: str, _cwd: Path) -> str:
    """A name or address to listen on."""
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", text):
        raise ValueError("a host name or an address such as 127.0.0.1, 0.0.0.0 or ::")
    return text


def is_loopback(name: str) -> bool:
    """Whether listening on `name` reaches no further than this machine."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def log_url(text: str, _cwd: Path) -> str:
    """`sqlite:` or `kafka://host:port[,host:port]`."""
    if text == "sqlite:":
        return text
    brokers = text.removeprefix("kafka://").split(",")
    found = [_HOST_PORT.fullmatch(broker) for broker in brokers]
    if not text.startswith("kafka://") or not all(match and 0 < int(match[1]) < 65536 for match in found):
        raise ValueError("sqlite: or kafka://host:port[,host:port]")
    return text


def url(*schemes: str) -> Callable[[str, Path], str]:
    """An absolute address with one of the schemes; a slash at its end is cut off."""
    allowed = " or ".join(f"{scheme}://…" for scheme in schemes)

    def parse(text: str, _cwd: Path) -> str:
        try:
            parts = urlsplit(text)
            parts.port  # noqa: B018 - raises ValueError when it is no port
        except ValueError:
            raise ValueError(f"an address {allowed}") from None
        missing = not parts.hostname and parts.scheme != "unix"
        if parts.scheme not in schemes or missing or re.search(r"\s", text) or parts.fragment:
            raise ValueError(f"an address {allowed}")
        return text.rstrip("/")

    return parse


def urls(text: str, cwd: Path) -> tuple[str, ...]:
    """Comma-separated http addresses."""
    parse = url("http", "https")
    try:
        return tuple(parse(part.strip(), cwd) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("addresses http://host:port, separated by commas") from None


def origins(text: str, _cwd: Path) -> tuple[str, ...]:
    """`*`, or the origins of web pages that may read the API from a browser."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if found != ("*",) and not all(re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s?#@]+", origin) for origin in found):
        raise ValueError("* or origins such as https://overlay.example, separated by commas, without a path")
    return found


def timezone(text: str, _cwd: Path) -> ZoneInfo:
    """An IANA time zone."""
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError("an IANA time zone such as Europe/Prague or UTC") from None


def secret_key(text: str, _cwd: Path) -> bytes:
    """At least 32 bytes in base64, either alphabet, padding optional."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < MIN_SECRET_KEY_BYTES:
        raise ValueError("at least 32 random bytes in base64 (openssl rand -base64 32 makes them)")
    return key


def twitch_secret(text: str, _cwd: Path) -> bytes:
    """Twitch takes 10 to 100 ASCII characters: https://dev.twitch.tv/docs/eventsub/handling-webhook-events/."""
    if not text.isascii() or not text.isprintable() or not 10 <= len(text) <= 100:
        raise ValueError("10 to 100 printable ASCII characters")
    return text.encode()


def token(text: str, _cwd: Path) -> str:
    """A secret that travels in a header or a path."""
    if not re.fullmatch(r"[A-Za-z0-9._~+=-]{1,200}", text):
        raise ValueError("1 to 200 letters, digits and . _ ~ + = -")
    return text


def word(text: str, _cwd: Path) -> str:
    """An id or secret that a platform gave us."""
    if not re.fullmatch(r"[!-~]{1,500}", text):
        raise ValueError("1 to 500 ASCII characters without spaces")
    return text


def rsa_public_key(text: str, cwd: Path) -> str:
    """The PEM text of an RSA public key, from the text itself (line ends may be written \\n) or from a file."""
    allowed = "an RSA public key as PEM text, or the path of a file with one"
    pem = text.replace("\\n", "\n")
    try:
        if "-----BEGIN" not in text:
            pem = path(text, cwd).read_text(encoding="ascii")
        key = load_pem_public_key(pem.encode())
    except (OSError, ValueError, UnsupportedAlgorithm):
        raise ValueError(allowed) from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError(allowed)
    return pem


def level(text: str, _cwd: Path) -> str:
    """The least level that is logged."""
    if text.upper() not in _LEVELS:
        raise ValueError("DEBUG, INFO, WARNING or ERROR")
    return text.upper()
