"""Who owns which partitions: what an owner may do, and how a group shares them out, evenly and with few moves.

Pure; Kafka's group protocol carries the claims to the member that decides, and its decision back (kafka_group.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct


class Tenure(Protocol):
    """By what right a projector acts for the partitions whose files it has."""

    def epoch_of(self, partition: int) -> int | None:
        """The group generation in which the partition is owned; None: it is not, as far as is known here."""

    def holds(self, partition: int) -> bool:
        """Whether questions of the partition may be answered here now."""

    def holds_strictly(self, partition: int) -> bool:
        """Whether what is made of the partition here may be published for others now."""


class Sole(Struct, frozen=True):
    """The tenure of a projector that shares with nobody."""

    def epoch_of(self, partition: int) -> int | None:
        """No generation counts."""
        return 0

    def holds(self, partition: int) -> bool:
        """Always."""
        return True

    def holds_strictly(self, partition: int) -> bool:
        """Always."""
        return True


class Share(Struct, frozen=True):
    """What a member owns since group generation `epoch` (-1: it is no member). A member claims it when the group is
    shared out anew."""

    epoch: int = -1
    partitions: frozenset[int] = frozenset()


def share_out(claims: Mapping[str, Share], partitions: int) -> dict[str, list[int]]:
    """Each member's partitions of 0 … `partitions` - 1, by its id. No share is more than one larger than another.

    A partition that two members claim stays with the claim of the newer generation: the other one was not there when
    it was given away. The answer depends on the arguments alone.
    """
    kept = _undisputed(claims, partitions)
    smallest, larger_shares = divmod(partitions, len(claims))
    shares: dict[str, list[int]] = {}
    by_size = sorted(claims, key=lambda member: (-len(kept[member]), member))
    for number, member in enumerate(by_size):
        shares[member] = kept[member][: smallest + (number < larger_shares)]
    given = {partition for share in shares.values() for partition in share}
    for partition in range(partitions):
        if partition not in given:
            least = min(shares, key=lambda member: (len(shares[member]), member))
            shares[least].append(partition)
    return shares


def _undisputed(claims: Mapping[str, Share], partitions: int) -> dict[str, list[int]]:
    owners: dict[int, tuple[int, str]] = {}
    for member, claim in claims.items():
        for partition in claim.partitions:
            owners[partition] = max(owners.get(partition, (-1, "")), (claim.epoch, member))
    kept: dict[str, list[int]] = {member: [] for member in claims}
    for partition, (_, member) in sorted(owners.items()):
        if partition < partitions:
            kept[member].append(partition)
    return kept
