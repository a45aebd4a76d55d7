"""The envelope of the public API, shared by its read side and by first-party intake: credentials out of a
request, successes and problems into answers. What may not live here: anything that knows a route.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from schemas.answers import BroadcasterInfo, Failure, FieldError, PlatformAccount, Success
from schemas.errors import Problem, Retry
from schemas.problems import PROBLEMS
from streamkit.directory import Broadcaster

PROBLEM_TYPE = "application/problem+json"
"""Content type of failures (RFC 9457): JSON by its suffix, so every JSON client reads it."""

JSON_TYPE = "application/json"

_encoder = msgspec.json.Encoder()


class GivenCredentials(Struct, frozen=True):
    """The three credentials as sent; None is absent or empty. `in_query`: they came in the query string."""

    client_id: str | None
    client_secret: str | None
    jwt: str | None
    in_query: bool


def credentials_of(request: web.BaseRequest) -> GivenCredentials:
    """The credentials of a request: the three headers, or, when none of them is there, the query parameters.

    An empty header is there, and what it carries is missing; so it is with an Authorization of another scheme than
    Bearer. Raises Problem 400 `invalid_parameter` when one of them is given twice.
    """
    headers = request.headers
    client_id = headers.getall("X-Client-Id", None)
    secret = headers.getall("X-Client-Secret", None)
    authorization = headers.getall("Authorization", None)
    if (client_id, secret, authorization) != (None, None, None):
        return GivenCredentials(
            _single(client_id, "header X-Client-Id"),
            _single(secret, "header X-Client-Secret"),
            _bearer(_single(authorization, "header Authorization")),
            False,
        )
    if not request.query_string:
        return GivenCredentials(None, None, None, False)
    query = request.query
    return GivenCredentials(
        _single(query.getall("client_id", None), "parameter client_id"),
        _single(query.getall("client_secret", None), "parameter client_secret"),
        _single(query.getall("jwt", None), "parameter jwt"),
        any(name in query for name in ("client_id", "client_secret", "jwt")),
    )


def _single(values: list[str] | None, what: str) -> str | None:
    if not values:
        return None
    if len(values) > 1:
        raise Problem(400, "invalid_parameter", f"The {what} is given {len(values)} times; send it once.")
    return values[0] or None


def _bearer(authorization: str | None) -> str | None:
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None


def broadcaster_info(broadcaster: Broadcaster) -> BroadcasterInfo:
    """The envelope's `broadcaster`: connected platforms only, in the order of their names."""
    platforms = {
        name: PlatformAccount(identity.username, identity.id)
        for name, identity in sorted(broadcaster.platforms.items())
    }
    kick = platforms.get("kick")
    primary: Any = broadcaster.primary_platform
    return BroadcasterInfo(
        broadcaster.user_id,
        broadcaster.name,
        primary if primary in platforms else None,
        platforms,
        kick.username if kick else None,
        kick.id if kick else None,
    )


def time_text(epoch_us: int, timezone: tzinfo) -> str:
    """An instant (epoch microseconds) in `timezone`, cut to the second; UTC is written `+00:00`.

    The first and the last hours of the calendar are told in UTC: in another time zone they have no date.
    """
    try:
        return datetime.fromtimestamp(epoch_us // 1_000_000, timezone).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(epoch_us // 1_000_000, UTC).isoformat(timespec="seconds")


def success_body(
    broadcaster: Broadcaster,
    data: Any,
    *,
    now_us: int,
    timezone: tzinfo,
    next: str | UnsetType | None = UNSET,
) -> bytes:
    """The JSON of a success generated at `now_us`; `next` is left out where there are no pages."""
    ok: Literal[True] = True
    return _encoder.encode(Success(ok, "v2", time_text(now_us, timezone), broadcaster_info(broadcaster), data, next))


def problem_body(problem: Problem, path: str) -> bytes:
    """The JSON of a failure. `path` is the request's, as sent, without its query (credentials may stand there)."""
    errors = msgspec.UNSET if problem.errors is None else [FieldError(**each) for each in problem.errors]
    kind = PROBLEMS[problem.code]
    return _encoder.encode(
        Failure(
            False,
            problem.code,
            problem.message,
            f"urn:streamkit:problem:{problem.code}",
            kind.title,
            problem.status,
            problem.message,
            path,
            errors,
        )
    )


def problem_response(problem: Problem, request: web.BaseRequest) -> web.Response:
    """The answer to a refused request; 401 names the Bearer scheme, an unread body closes the connection."""
    headers = dict(problem.headers)
    headers["Cache-Control"] = "no-store"
    if problem.status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="streamkit"')
    response = web.Response(
        status=problem.status,
        body=problem_body(problem, request.rel_url.raw_path),
        content_type=PROBLEM_TYPE,
        headers=headers,
    )
    if problem.status in (408, 413):
        response.force_close()
    return response


def unavailable(retry: Retry) -> Problem:
    """A part of ours that is away, as the 503 consumers get."""
    return Problem(503, "unavailable", str(retry), headers={"Retry-After": str(retry.retry_after_s)})
