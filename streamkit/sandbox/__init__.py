"""Kick and Twitch as their documentation describes them, small and on this machine: for `sandbox`, `demo` and tests.

`cast.py` is who streams there, `grants.py` the tokens, `kick*.py` and `twitch*.py` the two platforms over HTTP. All of it
lives in memory. What may not live here: misbehaviour that a test scripts (that is `tests/fakes/`).
"""
