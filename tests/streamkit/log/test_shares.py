"""Who gets which partitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamkit.log.shares import Share, share_out

claims_strategy = st.dictionaries(
    st.sampled_from("abcdefg"),
    st.builds(Share, st.integers(-1, 3), st.frozensets(st.integers(0, 12), max_size=6)),
    min_size=1,
)


def owned(epoch: int, *partitions: int) -> Share:
    return Share(epoch, frozenset(partitions))


@given(claims_strategy, st.integers(1, 12))
def test_every_partition_has_one_owner_and_shares_are_even(claims: dict[str, Share], partitions: int) -> None:
    shares = share_out(claims, partitions)
    assert shares.keys() == claims.keys()
    assert sorted(partition for share in shares.values() for partition in share) == list(range(partitions))
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(claims_strategy, st.integers(1, 12))
def test_what_is_shared_out_stays_as_it_is(claims: dict[str, Share], partitions: int) -> None:
    shares = share_out(claims, partitions)
    again = share_out({member: owned(4, *share) for member, share in shares.items()}, partitions)
    assert {member: sorted(share) for member, share in again.items()} == {
        member: sorted(share) for member, share in shares.items()
    }


def test_the_first_member_gets_all() -> None:
    assert share_out({"a": Share()}, 4) == {"a": [0, 1, 2, 3]}


def test_a_newcomer_gets_its_part_and_nothing_else_moves() -> None:
    shares = share_out({"a": owned(1, 0, 1), "b": owned(1, 2, 3), "c": Share()}, 4)
    assert shares == {"a": [0], "b": [2, 3], "c": [1]} or shares == {"a": [0, 1], "b": [2], "c": [3]}


def test_what_a_dead_one_owned_goes_to_the_others_and_nothing_else_moves() -> None:
    shares = share_out({"b": owned(2, 2, 3), "c": owned(2, 1)}, 4)
    assert {member: set(share) for member, share in shares.items()} == {"b": {2, 3}, "c": {0, 1}}


def test_one_that_slept_through_its_loss_claims_in_vain() -> None:
    shares = share_out({"sleeper": owned(5, 0, 1), "other": owned(6, 0, 1)}, 2)
    assert sorted(shares["other"])[0] in (0, 1)
    assert len(shares["sleeper"]) == 1
    assert share_out({"sleeper": owned(5, 0), "other": owned(6, 0)}, 1) == {"sleeper": [], "other": [0]}
