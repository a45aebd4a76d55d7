"""Every metric, declared once, with its unit, and the one way to write a structured log line.

Labels hold known words only (never ids, never payload text, never a credential). Log lines are JSON objects on
stderr: `at`, `level`, `event`, then the fields given.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

DELIVERIES = Counter(
    "streamkit_deliveries",
    "Deliveries by outcome: event, spooled, ignored, parked, dropped, duplicate, challenge, refused, unavailable",
    ("platform", "outcome"),
    registry=REGISTRY,
)
DELIVERIES_REFUSED = Counter(
    "streamkit_deliveries_refused", "Deliveries answered 4xx, by reason", ("platform", "reason"), registry=REGISTRY
)
DELIVERY_SECONDS = Histogram(
    "streamkit_delivery_seconds",
    "From the complete request to the answer of a delivery",
    ("platform",),
    buckets=_LATENCY_S,
    registry=REGISTRY,
)
EVENTS_APPENDED = Counter("streamkit_events_appended", "Events on the log, by type", ("type",), registry=REGISTRY)
DEAD_LETTERS_PARKED = Counter(
    "streamkit_dead_letters_parked", "Dead letters appended, by reason", ("reason",), registry=REGISTRY
)
DEAD_LETTERS_DROPPED = Counter(
    "streamkit_dead_letters_dropped", "Deliveries beyond the parking limits, by reason", ("reason",), registry=REGISTRY
)
DEAD_LETTERS_OPEN = Gauge(
    "streamkit_dead_letters_open",
    "Dead letters neither redriven nor dropped, by reason",
    ("reason",),
    registry=REGISTRY,
)
SPOOL_EVENTS = Gauge("streamkit_spool_events", "Events in the spool of this process", registry=REGISTRY)
SPOOL_BYTES = Gauge("streamkit_spool_bytes", "Bytes in the spool of this process", registry=REGISTRY)
SPOOL_OLDEST_SECONDS = Gauge(
    "streamkit_spool_oldest_seconds", "Age of the oldest event in the spool, 0 when it is empty", registry=REGISTRY
)
FOLDED_EVENTS = Counter(
    "streamkit_folded_events", "Events folded, duplicates included", ("partition",), registry=REGISTRY
)
FOLDED_DUPLICATES = Counter(
    "streamkit_folded_duplicates", "Events the fold dropped as already seen", ("partition",), registry=REGISTRY
)
FOLD_SECONDS = Histogram(
    "streamkit_fold_seconds", "One batch, one transaction", ("partition",), buckets=_LATENCY_S, registry=REGISTRY
)
FOLD_POSITION = Gauge("streamkit_fold_position", "Next position to fold", ("partition",), registry=REGISTRY)
GENERATION = Gauge(
    "streamkit_generation", "The generation that answers for a partition owned here", ("partition",), registry=REGISTRY
)
FOLD_LAG_EVENTS = Gauge("streamkit_fold_lag_events", "Log end less fold position", ("partition",), registry=REGISTRY)
FOLD_LAG_SECONDS = Gauge(
    "streamkit_fold_lag_seconds",
    "Age of the oldest event not folded, 0 when all are",
    ("partition",),
    registry=REGISTRY,
)
FOLD_MODEL_SECONDS = Counter(
    "streamkit_fold_model_seconds", "Time spent settling, by read model", ("model",), registry=REGISTRY
)
READ_MODEL_BYTES = Gauge(
    "streamkit_read_model_bytes", "The DuckDB file that answers, with its WAL", ("partition",), registry=REGISTRY
)
SNAPSHOT_MADE_AT = Gauge(
    "streamkit_snapshot_made_at",
    "When the newest snapshot was made, in Unix seconds",
    ("partition",),
    registry=REGISTRY,
)
FOLD_FAILED = Counter("streamkit_fold_failed", "Events parked by the fold", ("partition",), registry=REGISTRY)
API_REQUESTS = Counter(
    "streamkit_api_requests", "API answers, by route and status", ("route", "status"), registry=REGISTRY
)
API_SECONDS = Histogram(
    "streamkit_api_seconds", "Time to answer an API request", ("route",), buckets=_LATENCY_S, registry=REGISTRY
)
API_CACHE = Counter("streamkit_api_cache", "Answers by cache result: hit, miss, stale", ("result",), registry=REGISTRY)
READ_SECONDS = Histogram(
    "streamkit_read_seconds", "Read-model queries of one response", buckets=_LATENCY_S, registry=REGISTRY
)
SOFT_STATE_UP = Gauge(
    "streamkit_soft_state_up", "1 while Redis (or the in-process stand-in) answers", registry=REGISTRY
)
PLATFORM_CALLS = Counter(
    "streamkit_platform_calls",
    "Calls to the platforms by outcome: ok, refused (4xx), failed (5xx), away, timeout",
    ("host", "outcome"),
    registry=REGISTRY,
)
PLATFORM_SECONDS = Histogram(
    "streamkit_platform_seconds", "One call to a platform, answered", ("host",), buckets=_LATENCY_S, registry=REGISTRY
)
PLATFORM_BREAKER_OPEN = Gauge(
    "streamkit_platform_breaker_open", "1 while calls to the host are held back", ("host",), registry=REGISTRY
)
SUBSCRIPTIONS_CHANGED = Counter(
    "streamkit_subscriptions_changed",
    "Event subscriptions made and deleted at the platforms: created, deleted",
    ("platform", "change"),
    registry=REGISTRY,
)
POLLS_FAILED = Counter(
    "streamkit_polls_failed",
    "Looks at channels or lists of subscribers that the platform or the log did not let come to their end",
    ("platform",),
    registry=REGISTRY,
)
SUBSCRIPTIONS_REFUSED = Gauge(
    "streamkit_subscriptions_refused",
    "Event subscriptions that the platform refused in the last pass of this process",
    ("platform",),
    registry=REGISTRY,
)
EVENTSUB_LISTENING = Gauge(
    "streamkit_eventsub_listening",
    "Twitch websocket sessions of this process that have subscriptions",
    registry=REGISTRY,
)
EVENTSUB_ENDED = Counter(
    "streamkit_eventsub_ended",
    "Twitch websocket connections that ended, by close code (none: no close frame, or never opened)",
    ("code",),
    registry=REGISTRY,
)
EVENTSUB_UNREADABLE = Counter(
    "streamkit_eventsub_unreadable", "Frames of Twitch's websocket that are no messages", registry=REGISTRY
)
CONNECTIONS = Gauge(
    "streamkit_connections",
    "Connections by tokens, by state: connected, needs_reconnect",
    ("platform", "state"),
    registry=REGISTRY,
)
DIRECTORY_POSITION = Gauge("streamkit_directory_position", "Next control-log position to apply", registry=REGISTRY)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


_logger = logging.getLogger("streamkit")


def configure_logs(level: str = "INFO") -> None:
    """Send JSON lines to stderr, once per process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def info(event: str, **fields: Any) -> None:
    """Something happened that an operator may want to know. Fields are ids, counts and names, never payload."""
    _logger.info(event, extra={"fields": fields})


def warn(event: str, **fields: Any) -> None:
    """Something is degraded but goes on."""
    _logger.warning(event, extra={"fields": fields})


def error(event: str, *, exc_info: bool = False, **fields: Any) -> None:
    """Something failed and needs a look; `exc_info` adds the trace to the log (never to an answer)."""
    _logger.error(event, extra={"fields": fields}, exc_info=exc_info)
