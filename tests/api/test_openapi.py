"""The OpenAPI document says what the server does: every route, parameter, header and failure, and no other."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import pytest

from api.read import PREFIX
from api.routes import READS, ROUTES
from schemas.first_party_route import PUSH_EVENTS
from schemas.problems import PROBLEM_KINDS
from tests.api.house import House

SEED = {
    "overview": None,
    "stream-status": None,
    "subscriptions-summary": None,
    "subscriptions-active": None,
    "subscriptions-history": 50,
    "coins": 25,
    "kicks": 25,
    "song-request": 10,
    "giveaway": None,
    "wheel": None,
    "gamble": 10,
    "events-history": 50,
}
"""Each read route of the seed with the default of its limit."""


@pytest.fixture
async def document(house: House) -> Any:
    """The document as served, without credentials."""
    reply = await house.get("/api/public/openapi?version=v2", bare=True)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    return reply.json


def resolved(document: Any, node: Any) -> Any:
    """The node, or what its reference points at."""
    while isinstance(node, dict) and "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


async def test_version_is_v2_and_may_be_left_out(house: House) -> None:
    assert (await house.get("/api/public/openapi", bare=True)).status == 200
    for query in ("version=v1", "version=", "version=v2&version=v2"):
        reply = await house.get(f"/api/public/openapi?{query}", bare=True)
        assert (reply.status, reply.json["error"]) == (400, "invalid_parameter")


async def test_the_seeds_routes_are_there_with_their_defaults(document: Any) -> None:
    for name, default in SEED.items():
        parameters = {each["name"]: each for each in document["paths"][f"{PREFIX}/{name}"]["get"]["parameters"]}
        assert ("limit" in parameters) == (default is not None)
        if default is not None:
            assert parameters["limit"]["schema"] == {
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "default": default,
            }
    assert {route.path.removeprefix(f"{PREFIX}/") for route in READS} > set(SEED)
    assert f"{PREFIX}/stream-info" in document["paths"]


async def test_web_pages_may_send_every_header_that_is_described(house: House, document: Any) -> None:
    schemes = document["components"]["securitySchemes"].values()
    described = {"Authorization", "Content-Type"} | {
        scheme["name"] for scheme in schemes if scheme.get("in") == "header"
    }
    for item in document["paths"].values():
        for operation in item.values():
            parameters = [resolved(document, each) for each in operation.get("parameters", [])]
            described |= {each["name"] for each in parameters if each["in"] == "header"}
    assert "Idempotency-Key" in described
    preflight = await house.get("stream-info", "OPTIONS", bare=True, headers={"Origin": "https://dashboard.example"})
    assert set(preflight.headers["Access-Control-Allow-Headers"].split(", ")) == described


async def test_paths_and_methods_are_the_routers(house: House, document: Any) -> None:
    elsewhere = {(PUSH_EVENTS.path, PUSH_EVENTS.method)}  # the ingest room serves it
    assert {(path, method.upper()) for path, item in document["paths"].items() for method in item} == elsewhere | {
        (route.path, route.method) for route in ROUTES
    }
    for path, item in document["paths"].items():
        if path == PUSH_EVENTS.path:
            continue
        allow = (await house.get(path, "OPTIONS", bare=True)).headers["Allow"].split(", ")
        assert {method.upper() for method in item} <= set(allow)


async def test_every_reference_leads_somewhere_and_every_component_is_used(document: Any) -> None:
    text = str(document)
    references = set(re.findall(r"'\$ref': '(#/[^']+)'", text))
    for reference in references:
        assert resolved(document, {"$ref": reference})
    components = {
        f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in document["components"][kind]
    }
    assert references == components
    used = {
        name for item in document["paths"].values() for op in item.values() for need in op["security"] for name in need
    }
    assert used == set(document["components"]["securitySchemes"])


async def test_every_code_is_documented_with_an_example(document: Any) -> None:
    documented: dict[str, int] = {}
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                for content in response["content"].values():
                    for code, example in content.get("examples", {}).items():
                        assert example["value"]["error"] == code
                        documented[code] = int(status)
    assert documented == {kind.code: kind.status for kind in PROBLEM_KINDS}


async def test_examples_fit_their_schemas(document: Any) -> None:
    count = 0
    for item in document["paths"].values():
        for operation in item.values():
            bodies = [*operation["responses"].values(), operation.get("requestBody", {"content": {}})]
            for content in (each for body in bodies for each in body["content"].values()):
                schema = {**content["schema"], "components": document["components"]}
                values = [each["value"] for each in content.get("examples", {}).values()]
                for value in [*values, *([content["example"]] if "example" in content else [])]:
                    jsonschema_rs.validate(schema, value)
                    count += 1
    assert count > 150


@pytest.mark.parametrize("route", READS, ids=lambda route: route.path)
async def test_what_is_served_fits_and_has_no_undocumented_key(house: House, document: Any, route: Any) -> None:
    from tests.api.test_answers import ROWS

    house.reads.rows |= ROWS
    given = [f"{one.name}={(one.choices or ('Ann',))[0]}" for one in route.parameters if one.required]
    reply = await house.get(f"{route.path}?{'&'.join(given)}")
    response = document["paths"][route.path]["get"]["responses"]["200"]
    schema = response["content"]["application/json"]["schema"]
    jsonschema_rs.validate({**schema, "components": document["components"]}, reply.json)
    fits(document, schema, reply.json)
    for name, header in response["headers"].items():
        if resolved(document, header).get("required"):
            assert name in reply.headers


def fits(document: Any, schema: Any, value: Any) -> None:
    """Every key of every object in the value is a property of its schema."""
    schema = resolved(document, {} if schema is True else schema)
    if "anyOf" in schema and value is not None:
        (schema,) = [resolved(document, each) for each in schema["anyOf"] if each != {"type": "null"}]
    if isinstance(value, dict):
        for key, inner in value.items():
            known = schema.get("properties", {})
            assert key in known or "additionalProperties" in schema, key
            fits(document, known.get(key, schema.get("additionalProperties")) or {}, inner)
    elif isinstance(value, list):
        for inner in value:
            fits(document, schema["items"], inner)
