"""Every failure the public API answers, declared once: code, status, title, and a sentence as example.

The answers (streamkit/envelope.py) take their titles here, the OpenAPI document its error responses. A failure
with a code that does not stand here is a defect.
"""

from __future__ import annotations

from msgspec import Struct


class ProblemKind(Struct, frozen=True):
    """One machine code. `message` is the text of the answer, or an example of it; `when` tells consumers the cause."""

    code: str
    status: int
    title: str
    message: str
    when: str


PROBLEM_KINDS: tuple[ProblemKind, ...] = (
    ProblemKind(
        "bad_request",
        400,
        "Bad request",
        "This is not valid HTTP, its first line or a header is over 8190 bytes, or there are over 128 headers.",
        "The request is not valid HTTP, or its head is too long.",
    ),
    ProblemKind(
        "invalid_parameter",
        400,
        "Invalid parameter",
        "Parameter limit must be an integer from 1 to 100.",
        "A query parameter or Streamkit-Min-Position is malformed, out of range or repeated.",
    ),
    ProblemKind(
        "malformed_body",
        400,
        "Malformed body",
        "The body is not JSON in UTF-8.",
        "The request body cannot be read as JSON.",
    ),
    ProblemKind(
        "missing_credentials",
        401,
        "Missing credentials",
        "Missing client_id, client_secret, or JWT token.",
        "One of the three credentials is absent or empty.",
    ),
    ProblemKind(
        "invalid_credentials",
        401,
        "Invalid credentials",
        "Unknown client_id or wrong client_secret.",
        "The client is unknown or revoked, its broadcaster was removed, or the secret is wrong: one answer for all.",
    ),
    ProblemKind(
        "invalid_jwt",
        401,
        "Invalid JWT",
        "JWT token is not valid. Generate a new one in the dashboard.",
        "The token is malformed, signed by another key, unknown, or not made for this API.",
    ),
    ProblemKind(
        "expired_jwt",
        401,
        "Expired JWT",
        "JWT token has expired. Generate a new one in the dashboard.",
        "The token's time is over.",
    ),
    ProblemKind(
        "revoked_jwt",
        401,
        "Revoked JWT",
        "JWT token was revoked. Generate a new one in the dashboard.",
        "The token was revoked.",
    ),
    ProblemKind(
        "credential_mismatch",
        401,
        "Credential mismatch",
        "The JWT token was issued for another client_id.",
        "The token belongs to another client.",
    ),
    ProblemKind(
        "insufficient_scope",
        403,
        "Insufficient scope",
        "This needs the scope stream-info:write, which the JWT token lacks.",
        "The token does not carry the scope of the route.",
    ),
    ProblemKind(
        "insufficient_platform_scope",
        403,
        "Insufficient platform scope",
        "The platform connection does not allow changing the stream's title; connect the platform again.",
        "The broadcaster's consent on the platform does not cover the change.",
    ),
    ProblemKind(
        "not_found",
        404,
        "Not found",
        "There is nothing at this path.",
        "The path is not one of this document, or nobody is called so.",
    ),
    ProblemKind(
        "method_not_allowed",
        405,
        "Method not allowed",
        "This path takes GET, HEAD and OPTIONS.",
        "The path exists and takes other methods: those in Allow.",
    ),
    ProblemKind(
        "request_timeout",
        408,
        "Request timeout",
        "The body was not complete within 10 seconds.",
        "The request body came too slowly.",
    ),
    ProblemKind(
        "no_connected_platform",
        409,
        "No connected platform",
        "No platform is connected for writing; connect the broadcaster's account first.",
        "The broadcaster has no platform account through which the stream could be changed.",
    ),
    ProblemKind(
        "body_too_large",
        413,
        "Body too large",
        "The body is larger than 65536 bytes.",
        "The request body is over the limit.",
    ),
    ProblemKind(
        "unsupported_media_type",
        415,
        "Unsupported media type",
        "The body must be sent as Content-Type: application/json.",
        "The request body is not declared as JSON.",
    ),
    ProblemKind(
        "expectation_failed",
        417,
        "Expectation failed",
        "The only Expect that is understood is 100-continue.",
        "The header Expect asks for something else than 100-continue.",
    ),
    ProblemKind(
        "invalid_body",
        422,
        "Invalid body",
        "The body has 1 mistake; see errors.",
        "The body is JSON of the wrong shape; errors lists each mistake with its path.",
    ),
    ProblemKind(
        "rate_limited",
        429,
        "Rate limited",
        "Too many requests; try again in 1 second.",
        "The client's rate is used up; Retry-After tells when to come back.",
    ),
    ProblemKind(
        "internal_error",
        500,
        "Internal error",
        "Something went wrong on our side; the request may be sent again.",
        "A defect of the server.",
    ),
    ProblemKind(
        "not_implemented",
        501,
        "Not implemented",
        "This method is none that the server knows.",
        "The request's method is none of HTTP's that the server knows.",
    ),
    ProblemKind(
        "platform_error",
        502,
        "Platform error",
        "The platform refused the change or answered with an error.",
        "The platform did not make the change.",
    ),
    ProblemKind(
        "unavailable",
        503,
        "Unavailable",
        "The read models are not reachable at the moment; try again shortly.",
        "The projector is away or has not reached Streamkit-Min-Position within 2 seconds, or the log did not take the events.",
    ),
    ProblemKind(
        "outcome_unknown",
        504,
        "Outcome unknown",
        "The platform did not answer in time; the change may or may not have been made.",
        "The platform did not say whether it made the change.",
    ),
)

PROBLEMS = {kind.code: kind for kind in PROBLEM_KINDS}
