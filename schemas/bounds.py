"""Bounds that what is taken in and what is folded share: a codec that let more through would have it acknowledged first
and refused by the fold afterwards.
"""

from __future__ import annotations

MAX_QUANTITY = 1 << 40
"""Kicks, bits, gifts and coins of one event: far above any real one, and sums of them stay within 64 bits."""

MAX_MONTHS = 1200
"""Of a subscription: an expiry further ahead is no date any more."""

MAX_PRICE = 1_000_000
"""Coins that a loyalty rule can bring for one of anything."""
