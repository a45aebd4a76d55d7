"""The logs that several processes share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["sqlite", "kafka"])
def log_url(request: pytest.FixtureRequest) -> str:
    """Its address; Kafka's fixture is asked for only where it is used."""
    if request.param == "sqlite":
        return "sqlite:"
    url: str = request.getfixturevalue("kafka_log_url")
    return url
