"""The tokens of one platform: codes, access and refresh tokens, their lifetimes and rotation. No HTTP; the clock is
an argument.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

Clock = Callable[[], datetime]


class Client(Struct, frozen=True):
    """An app registered on the platform."""

    id: str
    secret: str


class TokenRules(Struct, frozen=True, kw_only=True):
    """Lifetimes in seconds. A refresh token dies when it was not used for `refresh_unused_s`.

    `rotates`: a refresh gives a new refresh token, and the one before works for another `rotated_good_s`.
    `live_per_refresh`: so many access tokens of one consent are good at once, the newest.
    """

    user_s: float
    app_s: float = 5_184_000
    code_s: float = 600
    refresh_unused_s: float = 30 * 86_400
    rotates: bool
    rotated_good_s: float = 300
    live_per_refresh: int = 50


class Grant(Struct):
    """One consent of a person."""

    person_id: str
    scopes: tuple[str, ...]
    revoked: bool = False


class Access(Struct, kw_only=True):
    """An access token; `grant` None: the app's own."""

    token: str
    grant: Grant | None
    expires_at: datetime

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it may do; nothing beyond the public for the app's own."""
        return self.grant.scopes if self.grant else ()


class Issued(Struct, frozen=True):
    """What the token endpoint answers with; an app's own token has no refresh token."""

    access: Access
    refresh_token: str | None
    lifetime_s: int


class _Refresh(Struct, kw_only=True):
    grant: Grant
    good_until: datetime


class _Code(Struct, frozen=True, kw_only=True):
    grant: Grant
    redirect_uri: str
    challenge: str | None
    good_until: datetime


class InvalidGrant(Exception):
    """The code or refresh token is unknown, used, expired or revoked, or what comes with it does not match."""


class Grants:
    """Every token of the one app. `on_revoked` are called with the person whose consent has ended."""

    def __init__(self, client: Client, rules: TokenRules, now: Clock) -> None:
        self.client = client
        self.rules = rules
        self.on_revoked: list[Callable[[str], None]] = []
        self._now = now
        self._grants: list[Grant] = []
        self._codes: dict[str, _Code] = {}
        self._access: dict[str, Access] = {}
        self._refresh: dict[str, _Refresh] = {}

    def code(self, person_id: str, scopes: Iterable[str], redirect_uri: str, challenge: str | None) -> str:
        """A person consented: the code for the redirect, good once. `challenge` is PKCE's, S256."""
        code = secrets.token_urlsafe(32)
        grant = Grant(person_id, tuple(scopes))
        good_until = self._in(self.rules.code_s)
        self._codes[code] = _Code(grant=grant, redirect_uri=redirect_uri, challenge=challenge, good_until=good_until)
        return code

    def consented(self, person_id: str, scopes: Iterable[str]) -> Issued:
        """A person's consent without a browser, and its tokens."""
        return self.redeem(self.code(person_id, scopes, "", None), "", None)

    def redeem(self, code: str, redirect_uri: str, verifier: str | None) -> Issued:
        """The tokens of a code. Raises InvalidGrant."""
        found = self._codes.pop(code, None)
        if found is None or found.redirect_uri != redirect_uri or found.good_until <= self._now():
            raise InvalidGrant
        if found.challenge is not None and not _proves(verifier or "", found.challenge):
            raise InvalidGrant
        self._grants.append(found.grant)
        return self._issue(found.grant, self._new_refresh(found.grant))

    def refresh(self, token: str) -> Issued:
        """New tokens. Raises InvalidGrant."""
        found = self._refresh.get(token)
        if found is None or found.grant.revoked or found.good_until <= self._now():
            raise InvalidGrant
        if not self.rules.rotates:
            found.good_until = self._in(self.rules.refresh_unused_s)
            return self._issue(found.grant, token)
        found.good_until = min(found.good_until, self._in(self.rules.rotated_good_s))
        return self._issue(found.grant, self._new_refresh(found.grant))

    def app(self) -> Issued:
        """A token of the app's own."""
        return self._issue(None, None)

    def access(self, token: str) -> Access | None:
        """The access token, when it is good now."""
        found = self._access.get(token)
        if found is None or found.expires_at <= self._now() or (found.grant and found.grant.revoked):
            return None
        return found

    def expires_in_s(self, access: Access) -> int:
        """Whole seconds it has left."""
        return int((access.expires_at - self._now()).total_seconds())

    def revoke(self, token: str) -> bool:
        """An access token alone, or a refresh token and all that came of its consent. False: unknown."""
        if self._access.pop(token, None) is not None:
            return True
        refresh = self._refresh.pop(token, None)
        if refresh is not None:
            self._end(refresh.grant)
        return refresh is not None

    def revoke_person(self, person_id: str) -> None:
        """The person disconnected the app in the platform's settings: none of their tokens is good any more."""
        for grant in self._grants:
            if grant.person_id == person_id:
                self._end(grant)

    def _end(self, grant: Grant) -> None:
        if not grant.revoked:
            grant.revoked = True
            for told in self.on_revoked:
                told(grant.person_id)

    def expire_access(self, person_id: str | None) -> None:
        """The person's access tokens (None: the app's own) have run out; refresh tokens are as good as before."""
        for access in self._access.values():
            if (access.grant.person_id if access.grant else None) == person_id:
                access.expires_at = self._now()

    def granted(self, person_id: str) -> frozenset[str] | None:
        """Every scope the person has granted and not taken back; None: no consent stands."""
        standing = [one for one in self._grants if one.person_id == person_id and not one.revoked]
        return frozenset(scope for grant in standing for scope in grant.scopes) if standing else None

    def _issue(self, grant: Grant | None, refresh_token: str | None) -> Issued:
        lifetime_s = self.rules.app_s if grant is None else self.rules.user_s
        access = Access(token=secrets.token_hex(15), grant=grant, expires_at=self._in(lifetime_s))
        self._access[access.token] = access
        if grant is not None:
            of_grant = [token for token, other in self._access.items() if other.grant is grant]
            for token in of_grant[: -self.rules.live_per_refresh]:
                del self._access[token]
        return Issued(access, refresh_token, int(lifetime_s))

    def _new_refresh(self, grant: Grant) -> str:
        token = secrets.token_urlsafe(36)
        self._refresh[token] = _Refresh(grant=grant, good_until=self._in(self.rules.refresh_unused_s))
        return token

    def _in(self, seconds: float) -> datetime:
        return self._now() + timedelta(seconds=seconds)

    def change_rules(self, **changes: float) -> None:
        """Other lifetimes or another rotation, for tokens issued from now on."""
        self.rules = msgspec.structs.replace(self.rules, **changes)


def _proves(verifier: str, challenge: str) -> bool:
    """PKCE, S256: https://www.rfc-editor.org/rfc/rfc7636#section-4.6"""
    digest = hashlib.sha256(verifier.encode()).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)
