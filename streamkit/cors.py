"""Cross-origin rules: browser overlays read the API from wherever they are hosted. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence

_EXPOSED = "Streamkit-Position, RateLimit, RateLimit-Policy, Age, Retry-After, Allow"
_ALLOWED = "Authorization, X-Client-Id, X-Client-Secret, Content-Type, Streamkit-Min-Position, Idempotency-Key"
_PREFLIGHT_S = "600"


class Cors:
    """`origins` are exact origins (`https://overlay.example`), or `*` for all."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.rstrip("/") for origin in origins)
        self.constant = (
            {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": _EXPOSED} if self._any else {}
        )
        """Headers of every answer, whoever asks."""
        self.vary = "Accept-Encoding" if self._any else "Accept-Encoding, Origin"

    def of(self, origin: str | None) -> dict[str, str]:
        """Headers of an answer to `origin` beside the constant ones; empty when that origin is not let in."""
        if self._any or origin is None or origin not in self._origins:
            return {}
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED}

    def preflight(self, origin: str | None, methods: Sequence[str]) -> dict[str, str]:
        """Headers of the answer to OPTIONS."""
        granted = {**self.constant, **self.of(origin)}
        if origin is None or not granted:
            return granted
        return granted | {
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Access-Control-Allow-Headers": _ALLOWED,
            "Access-Control-Max-Age": _PREFLIGHT_S,
        }
