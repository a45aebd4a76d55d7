"""The fake platforms for tests: `platforms` (tests/conftest.py) starts both on loopback; see `tests/fakes/platforms.py`."""
