"""The OpenAPI 3.1 document, made from the same operations the router serves and from the answer structs.

`Operation` is what a route tells its consumers; api/routes.py extends it with how the answer is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.answers import Failure, StreamInfoChange, Success
from schemas.problems import PROBLEMS, ProblemKind

POSITION_PATTERN = r"[0-9]{1,9}:[0-9]{1,18}"
"""`partition:position`, one item of Streamkit-Min-Position."""


class Parameter(Struct, frozen=True):
    """A query parameter. An integer has bounds and a default; any other of None default is optional unless `required`.
    A `time` is RFC 3339, a `cursor` one that the same path gave as `next`."""

    name: str
    kind: Literal["integer", "string", "time", "cursor"]
    description: str
    default: int | str | None = None
    minimum: int = 1
    maximum: int = 100
    choices: tuple[str, ...] = ()
    example: str | None = None
    required: bool = False
    by_position: bool = False
    """Of a cursor: ties of its history go by log position, else by event id."""


class Operation(Struct, frozen=True, kw_only=True):
    """One path with its one method (GET also takes HEAD), as consumers read of it.

    `scope` None: no credentials. `data` is the type of the envelope's `data`, None: the answer has no envelope.
    `example` is the example of `data`; `body` the type of the request body, with `body_example`; `appends`: the answer
    tells the position right after what was appended; `keyed`: an Idempotency-Key is taken; `problems` the codes with which this operation fails beside what
    all do.
    """

    path: str
    method: Literal["GET", "POST"] = "GET"
    tag: str
    summary: str
    description: str
    scope: str | None = "read"
    parameters: tuple[Parameter, ...] = ()
    data: Any = None
    example: Any = None
    body: Any = None
    body_example: Any = None
    appends: bool = False
    keyed: bool = False
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The path without what the API's paths begin with: a name for metrics, and of the operation."""
        return self.path.removeprefix("/api/public").removeprefix("/v2").removeprefix("/")

    @property
    def is_paged(self) -> bool:
        """Whether the envelope has `next`."""
        return any(parameter.kind == "cursor" for parameter in self.parameters)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods the path takes, for `Allow`."""
        return ("GET", "HEAD", "OPTIONS") if self.method == "GET" else (self.method, "OPTIONS")


EXAMPLE_BROADCASTER = {
    "user_id": 123,
    "name": "Streamer",
    "primary_platform": "twitch",
    "platforms": {
        "kick": {"username": "streamer_name", "id": "84635624"},
        "twitch": {"username": "streamer_tv", "id": "29958160"},
    },
    "kick_username": "streamer_name",
    "kick_user_id": "84635624",
}

_INTRODUCTION = """Fetch stream status, subscriptions, coins, loyalty stats, and historical events of a broadcaster.

Every request carries three credentials, as headers (preferred) or as the query parameters `client_id`,
`client_secret` and `jwt`. When any of the three headers is present, the query is not looked at. Answers to query
credentials are not to be stored by caches.

Checks come in this order: path and method, credentials, scope, rate, parameters, body. HEAD answers as GET does,
without the body; OPTIONS needs no credentials and lists the methods in `Allow`. Parameters not described here are
ignored; a described one given twice is refused. Bodies above 1 KiB are compressed for clients that accept gzip."""

_HEADERS: dict[str, dict[str, Any]] = {
    "Streamkit-Position": {
        "description": "The log position this answer reflects, or right after what the request appended, as "
        "`partition:position`. Send it back unchanged in Streamkit-Min-Position to read no older state.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+:[0-9]+$"},
        "example": "0:1234",
    },
    "Age": {
        "description": "Seconds since the body was built. Absent when it was built for this request.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 0,
    },
    "RateLimit-Policy": {
        "description": "The client's quota: `q` requests, refilled over `w` seconds. Absent when there is no limit.",
        "schema": {"type": "string"},
        "example": '"client";q=100;w=2',
    },
    "RateLimit": {
        "description": "What is left of it: `r` requests; `t` seconds until it is full again.",
        "schema": {"type": "string"},
        "example": '"client";r=99;t=1',
    },
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "WWW-Authenticate": {
        "description": "The scheme of the Authorization header.",
        "required": True,
        "schema": {"type": "string"},
        "example": 'Bearer realm="streamkit"',
    },
    "Allow": {
        "description": "The methods this path takes.",
        "required": True,
        "schema": {"type": "string"},
        "example": "GET, HEAD, OPTIONS",
    },
    "Cache-Control": {
        "description": "`no-store` for query credentials and failures, else `private, no-cache`.",
        "schema": {"type": "string"},
        "example": "private, no-cache",
    },
}

_MIN_POSITION = {
    "name": "Streamkit-Min-Position",
    "in": "header",
    "required": False,
    "description": "Read your writes: the answer reflects this position (`0:1234`) or a later one. Comma-separated for several "
    "partitions; those of other partitions than the broadcaster's are ignored. Waits up to 2 seconds, then 503.",
    "schema": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": f"^{POSITION_PATTERN}$"}},
    "style": "simple",
}

IDEMPOTENCY_KEY_PATTERN = r"[!-~]([ -~]{0,253}[!-~])?"
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 printable ASCII characters, for one request of yours: sent again within 24 hours, it is answered as "
    "it was and nothing is done again. With another body it is refused.",
    "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY_PATTERN}$"},
    "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
}

_SECURITY_SCHEMES = {
    "ClientId": {"type": "apiKey", "in": "header", "name": "X-Client-Id"},
    "ClientSecret": {"type": "apiKey", "in": "header", "name": "X-Client-Secret"},
    "Jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "QueryClientId": {"type": "apiKey", "in": "query", "name": "client_id"},
    "QueryClientSecret": {"type": "apiKey", "in": "query", "name": "client_secret"},
    "QueryJwt": {"type": "apiKey", "in": "query", "name": "jwt"},
}
_SECURITY: list[dict[str, list[str]]] = [
    {"ClientId": [], "ClientSecret": [], "Jwt": []},
    {"QueryClientId": [], "QueryClientSecret": [], "QueryJwt": []},
]

_BODY_PROBLEMS = ("malformed_body", "request_timeout", "body_too_large", "unsupported_media_type", "invalid_body")


def problem_codes(operation: Operation) -> list[str]:
    """The machine codes with which the operation may fail."""
    codes = ["bad_request", "method_not_allowed", "expectation_failed", "internal_error", "not_implemented"]
    if operation.scope is not None:
        codes += [kind.code for kind in PROBLEMS.values() if kind.status == 401]
        codes += ["insufficient_scope", "rate_limited", "unavailable"]
    if operation.method == "GET":
        codes.append("invalid_parameter")
    if operation.body is not None:
        codes += ["invalid_parameter", *_BODY_PROBLEMS]
    return [*codes, *operation.problems]


def build_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document for these operations, as JSON values."""
    types = [operation.data for operation in operations if operation.data is not None]
    bodies = [operation.body for operation in operations if operation.body is not None]
    schemas, components = msgspec.json.schema_components(
        [*types, *bodies, Success, Failure], ref_template="#/components/schemas/{name}"
    )
    components[StreamInfoChange.__name__]["minProperties"] = 1  # msgspec has no word for it
    components["GiveawaySettings"]["additionalProperties"] = True
    data_schemas, body_schemas = iter(schemas), iter(schemas[len(types) :])
    envelope = components.pop("Success")
    paths: dict[str, Any] = {}
    for operation in operations:
        answer = None if operation.data is None else _enveloped(envelope, operation, next(data_schemas))
        body = None if operation.body is None else next(body_schemas)
        paths[operation.path] = {operation.method.lower(): _operation(operation, answer, body)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "StreamKit Public API",
            "version": "v2",
            "summary": "Numbers of live streamers on Kick and Twitch",
            "description": _INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {"schemas": components, "headers": _HEADERS, "securitySchemes": _SECURITY_SCHEMES},
    }


def _operation(operation: Operation, answer: dict[str, Any] | None, body: dict[str, Any] | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "operationId": operation.name.replace("-", "_").replace("/", "_"),
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "security": [] if operation.scope is None else _SECURITY,
    }
    parameters = [_parameter(parameter) for parameter in operation.parameters]
    if operation.scope is not None and operation.method == "GET":
        parameters.append(_MIN_POSITION)
    if operation.keyed:
        parameters.append(_IDEMPOTENCY_KEY)
    if parameters:
        document["parameters"] = parameters
    if operation.scope is not None:
        document["description"] += f" Needs the scope `{operation.scope}`."
    if body is not None:
        document["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body, "example": operation.body_example}},
        }
    document["responses"] = {"200": _success(operation, answer), **_failures(operation)}
    return document


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer" if parameter.kind == "integer" else "string"}
    if parameter.kind == "integer":
        schema |= {"minimum": parameter.minimum, "maximum": parameter.maximum}
    if parameter.required or parameter.kind == "cursor":
        schema["minLength"] = 1
    if parameter.kind == "time":
        schema["format"] = "date-time"
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    if parameter.default is not None:
        schema["default"] = parameter.default
    document = {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.description,
        "schema": schema,
    }
    if parameter.example is not None:
        document["example"] = parameter.example
    return document


def _enveloped(envelope: dict[str, Any], operation: Operation, data: dict[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in envelope.items() if key != "title"}
    properties = {**envelope["properties"], "data": data}
    if operation.is_paged:
        schema["required"] = [*schema["required"], "next"]
    else:
        del properties["next"]
    return schema | {"properties": properties}


def _success(operation: Operation, answer: dict[str, Any] | None) -> dict[str, Any]:
    if answer is None:
        return {
            "description": "This document.",
            "content": {"application/json": {"schema": {"type": "object", "required": ["openapi", "info", "paths"]}}},
        }
    example = {
        "ok": True,
        "version": "v2",
        "generated_at": "2026-06-06T00:00:00+02:00",
        "broadcaster": EXAMPLE_BROADCASTER,
        "data": operation.example,
    }
    if operation.is_paged:
        example["next"] = None
    names = ["RateLimit-Policy", "RateLimit", "Cache-Control"]
    if operation.method == "GET":
        names = ["Streamkit-Position", "Age", *names]
    elif operation.appends:
        names = ["Streamkit-Position", *names]
    return {
        "description": operation.summary + ".",
        "headers": _header_references(names),
        "content": {"application/json": {"schema": answer, "example": example}},
    }


def _failures(operation: Operation) -> dict[str, Any]:
    by_status: dict[int, list[ProblemKind]] = {}
    for code in problem_codes(operation):
        by_status.setdefault(PROBLEMS[code].status, []).append(PROBLEMS[code])
    return {str(status): _failure(operation, status, kinds) for status, kinds in sorted(by_status.items())}


def _failure(operation: Operation, status: int, kinds: Sequence[ProblemKind]) -> dict[str, Any]:
    names = {401: ["WWW-Authenticate"], 405: ["Allow"], 429: ["Retry-After"], 503: ["Retry-After"]}.get(status, [])
    if operation.scope is not None and status not in (401, 403, 405, 417):
        names = [*names, "RateLimit-Policy", "RateLimit"]
    return {
        "description": f"{HTTPStatus(status).phrase}. " + " ".join(f"`{kind.code}`: {kind.when}" for kind in kinds),
        "headers": _header_references([*names, "Cache-Control"]),
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Failure"},
                        {"properties": {"error": {"enum": [kind.code for kind in kinds]}, "status": {"const": status}}},
                    ]
                },
                "examples": {kind.code: {"value": _example(operation, kind)} for kind in kinds},
            }
        },
    }


def _example(operation: Operation, kind: ProblemKind) -> dict[str, Any]:
    example: dict[str, Any] = {
        "ok": False,
        "error": kind.code,
        "message": kind.message,
        "type": f"urn:streamkit:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.message,
        "instance": operation.path,
    }
    if kind.code == "invalid_body":
        example["errors"] = [{"path": "$.title", "message": "Expected `str`, got `int`"}]
    return example


def _header_references(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
