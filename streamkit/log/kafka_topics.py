"""How our topics are set up in Kafka, what they begin with, and what is said when it is otherwise. No client here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from schemas.control import LogCreated, decode_control
from schemas.errors import UNREADABLE, LogMisconfigured, LogUnavailable
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, VAULT

NEW_EVENTS_PARTITIONS = 4
MAX_MESSAGE_BYTES = 4 << 20
"""Of a whole batch, as the broker counts it."""


_MADE, _THERE_ALREADY = 0, 36


def topic_settings(topic: str, dead_letter_max_bytes: int) -> dict[str, str]:
    """The topic's own configuration: events and control for ever, the vault compacted, dead letters to their limit."""
    settings = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    if topic == VAULT:
        return settings | {"cleanup.policy": "compact"}
    settings |= {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    if topic == DEAD_LETTERS:  # the broker drops whole segments only
        segment_bytes = min(1 << 30, max(MAX_MESSAGE_BYTES, dead_letter_max_bytes // 8))
        settings |= {"retention.bytes": str(dead_letter_max_bytes), "segment.bytes": str(segment_bytes)}
    return settings


def check_created(errors: Iterable[tuple[str, int, str | None]]) -> None:
    """`errors` are (topic, Kafka's error code, message) of an attempt to make topics. Raises LogUnavailable."""
    for topic, code, message in errors:
        if code not in (_MADE, _THERE_ALREADY):  # another process may have been quicker
            raise LogUnavailable(f"Kafka does not make the topic {topic}: {message or f'error {code}'}.")


def check_settings(topic: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Refuse a topic that keeps its records otherwise, or takes smaller batches. Raises LogMisconfigured."""
    for name, value in wanted.items():
        if name == "segment.bytes":
            continue
        fits = int(found[name]) >= int(value) if name == "max.message.bytes" else found[name] == value
        if not fits:
            raise LogMisconfigured(
                f"Kafka's topic {topic} has {name}={found[name]} and needs {value}: run kafka-configs.sh --alter "
                f"--entity-type topics --entity-name {topic} --add-config {name}={value}."
            )


def check_partitions(topic: str, found: int, wanted: int) -> None:
    """Refuse a topic with another number of partitions than asked for. Raises LogMisconfigured."""
    if found == wanted:
        return
    cure = f"set STREAMKIT_PARTITIONS to {found} or leave it out" if topic == EVENTS else "make the topic anew"
    raise LogMisconfigured(
        f"Kafka's topic {topic} has {found} partition(s) and {wanted} are asked for: a log keeps the number it was "
        f"made with, so {cure}."
    )


def log_id_in(values: Sequence[bytes], bootstrap: str) -> str:
    """The log's id, from the control topic's first record. Raises LogMisconfigured when it is something else."""
    with suppress(*UNREADABLE, IndexError):
        event = decode_control(values[0])
        if isinstance(event, LogCreated):
            return event.log_id
    raise LogMisconfigured(
        f"The first record of topic {CONTROL} at {bootstrap} does not name a StreamKit log: "
        "delete the streamkit topics if they hold nothing you need, or use another cluster."
    )
