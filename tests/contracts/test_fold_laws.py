"""The laws of the fold, over every read model: real fold, real DuckDB file, random logs, an independent oracle.

0. the answers are the oracle's; 1. any split of the log into batches gives the same tables; 2. delivering anything
twice changes nothing; 3. rebuild equals live; 4. no clock, no random, no sequence inside a fold; 5. the order of the
log decides only which copy of a duplicate stands and ties in `received_at`.

`LAW_EXAMPLES=5000` hunts with fresh random logs, `LAW_SEEDS=200` with longer ones; without them the same few examples
run every time.
"""

from __future__ import annotations

import json
import os
import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.event import SCHEMA_VERSION, Event, encode_event
from schemas.kinds import ChatMessage
from schemas.read_models import QUERIES, READ_MODELS
from tests.contracts.expected_answers import EXPECTED, IN_LOG_ORDER, PRICED, Choose, Parameters, question
from tests.harness import Folded, fold
from tests.oracle import Oracle
from tests.strategies import USERS, logs, seeded_log

HUNT = "LAW_EXAMPLES" in os.environ or "LAW_SEEDS" in os.environ


def laws(examples: int) -> settings:
    """So many examples, always the same ones; while hunting, LAW_EXAMPLES new ones."""
    return settings(
        max_examples=int(os.environ.get("LAW_EXAMPLES", examples)),
        deadline=None,
        derandomize=not HUNT,
        print_blob=HUNT,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


STRETCHES = (1, 2, 7, 1000)
"""Positions between two settlings here: far fewer than the product's, so that short logs have many, or none."""
Ask = tuple[int, str, Parameters]
"""A question: of which broadcaster, which query, with what."""


def _asks(oracle: Oracle, choose: Choose) -> list[Ask]:
    """Every named query for every broadcaster, with parameters that sit on the boundaries."""
    return [
        (user_id, name, question(name, query.parameters, oracle.numbers(user_id), choose))
        for user_id in USERS
        for name, query in sorted(QUERIES.items())
    ]


def _drawn(data: st.DataObject) -> Choose:
    """By a seed: a hundred choices of their own would cost more than the laws."""
    return random.Random(data.draw(st.integers(0, 2**32))).choice


def _answer(folded: Folded, user_id: int, name: str, ask: Parameters) -> list[tuple[Any, ...]]:
    rows = [msgspec.structs.astuple(row) for row in folded.ask(user_id, name, **ask)]
    if name in ("stream_status", "active_totals"):  # rows of platforms of which there is nothing to tell may be there
        return sorted(row for row in rows if any(row[1:]))
    if name == "wheel_now":  # so may a wheel that was never configured nor spun
        return [row for row in rows if row != (None, [], None)]
    if name == "giveaway_now":  # settings are JSON text
        return [(*row[:3], json.loads(row[3]), *row[4:]) for row in rows]
    return rows


def check(folded: Folded, oracle: Oracle, asks: Sequence[Ask]) -> None:
    """Every answer equals the oracle's."""
    for user_id, name, ask in asks:
        expected = EXPECTED[name](oracle.numbers(user_id), ask)
        assert _answer(folded, user_id, name, ask) == expected, f"{name} of {user_id} with {ask}"


# ---------------------------------------------------------------------- making logs and files


@contextmanager
def _settling(every: int) -> Iterator[None]:
    """Inside, files are folded and asked with so many positions to a stretch."""
    with mock.patch("projector.fold.SETTLED_EVERY", every):
        yield


@contextmanager
def _files() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="laws-") as folder:
        yield Path(folder)


def _as_version_1(event: Event) -> Event | bytes:
    """The record as version 1 would have written it, where there was anything else to write."""
    if not isinstance(event.data, ChatMessage) or event.data.by_broadcaster:  # which it did not tell
        return event
    record = json.loads(encode_event(event))
    record["data"].pop("first_word", None)
    return json.dumps({**record, "schema_version": 1}, ensure_ascii=False).encode()


def _splits(size: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, max(1, size // 2)), max_size=8)


# ---------------------------------------------------------------------- the laws


def test_every_named_query_has_its_oracle() -> None:
    assert set(EXPECTED) >= set(QUERIES)


@given(log=logs(), data=st.data())
@laws(60)
def test_law_0_the_answers_are_the_oracles(log: list[Event], data: st.DataObject) -> None:
    oracle = Oracle(log)
    batches, every = data.draw(_splits(len(log))), data.draw(st.sampled_from(STRETCHES))
    with _settling(every), _files() as folder, fold(log, path=folder / "a.duckdb", batches=batches) as folded:
        check(folded, oracle, _asks(oracle, _drawn(data)))


@pytest.mark.parametrize("seed", range(int(os.environ.get("LAW_SEEDS", "2"))))
def test_laws_0_to_3_on_a_longer_log(seed: int) -> None:
    """A few thousand events, so that duplicates lie many batches apart and rankings have ties to break."""
    rng = random.Random(seed)
    log = seeded_log(seed, rng.choice((40, 400, 3000)) if HUNT else 1500)
    oracle = Oracle(log)
    sizes = [rng.randint(1, 1 + len(log) // 4) for _ in range(6)]
    every = rng.choice((1, 3, 40)) if HUNT else (2, 40)[seed % 2]  # 2: every level of stretches taken together is met
    with _settling(every), _files() as folder, fold(log, path=folder / "a.duckdb", batches=sizes) as split:
        with fold(log, path=folder / "b.duckdb") as whole:
            assert split.digest() == whole.digest()
        for _ in range(4):
            check(split, oracle, _asks(oracle, rng.choice))
        before = [_answer(split, user_id, "coins_leaderboard", {"limit": 100}) for user_id in USERS]
        split.more(log[::-1], batches=sizes)
        assert before == [_answer(split, user_id, "coins_leaderboard", {"limit": 100}) for user_id in USERS]


@given(log=logs(), data=st.data())
@laws(30)
def test_law_1_any_split_gives_the_same_tables(log: list[Event], data: st.DataObject) -> None:
    batches, every = data.draw(_splits(len(log))), data.draw(st.sampled_from(STRETCHES))
    with _settling(every), _files() as folder, fold(log, path=folder / "a.duckdb") as whole:
        with fold(log, path=folder / "b.duckdb", batches=batches) as split:
            assert split.digest() == whole.digest()
        made = {name for model in READ_MODELS for name in re.findall(r"CREATE TABLE (\w+)", model.tables)}
        assert whole.digest().keys() >= made != set()


@given(log=logs(), data=st.data())
@laws(20)
def test_law_2_delivering_anything_twice_changes_nothing(log: list[Event], data: st.DataObject) -> None:
    """No table changes while the position stays in its stretch; past it, a settling only moves what was there."""
    batches = data.draw(_splits(len(log)))
    again = [event for event in log if data.draw(st.booleans())]
    with _settling(1000), _files() as folder, fold(log, path=folder / "a.duckdb", batches=batches) as folded:
        once = folded.digest()
        assert folded.more(again, batches=batches).digest() == once
        assert folded.more(log).digest() == once
    oracle = Oracle(log)
    asks, every = _asks(oracle, _drawn(data)), data.draw(st.sampled_from(STRETCHES))
    with _settling(every), _files() as folder, fold(log, path=folder / "a.duckdb", batches=batches) as folded:
        for _ in range(2):
            check(folded.more(again, batches=batches), oracle, asks)
    # and within a batch, each beside its copy
    doubled = [copy for event in log for copy in (event, event)]
    with _settling(every), _files() as folder, fold(doubled, path=folder / "a.duckdb", batches=batches) as folded:
        check(folded, Oracle(doubled), asks)


@given(log=logs(), data=st.data())
@laws(20)
def test_law_3_rebuild_equals_live(log: list[Event], data: st.DataObject) -> None:
    """Live: small batches, restarts between, some records of an older version. Rebuilt: from the log at once."""
    cut = data.draw(st.integers(0, len(log)))
    records = [_as_version_1(event) if data.draw(st.booleans()) else event for event in log]
    with _settling(data.draw(st.sampled_from(STRETCHES))), _files() as folder:
        for part in (records[:cut], records[cut:]):
            with Folded(folder / "live.duckdb") as live:
                live.more(part, batches=data.draw(_splits(len(part))))
                served = live.digest()
        with fold(log, path=folder / "rebuilt.duckdb") as rebuilt:
            assert rebuilt.digest() == served


CLOCKS = (
    r"now\s*\(|\btoday\s*\(|current_(?:date|time|timestamp)|localtime|get_current|transaction_timestamp|\bage\s*\("
    r"|random|\buuid|gen_random|nextval|currval|sequence|tablesample|using\s+sample|rowid|any_value|\bfirst\s*\("
    r"|row_number\s*\(\s*\)\s*over\s*\(\s*\)"
)


@pytest.mark.parametrize("model", READ_MODELS, ids=lambda model: model.name)
def test_law_4_no_clock_no_random_no_sequence_inside_a_fold(model: Any) -> None:
    for statement in (model.tables, *(part.sql for part in model.fold), *model.settle):
        found = re.search(CLOCKS, statement, re.IGNORECASE)
        assert found is None, f"{model.name}: {found}"


def _shuffled(log: list[Event], rng: random.Random, *, keep_rules: bool) -> list[Event]:
    """In another order; with `keep_rules` every event stays between the same settings of rules."""
    stretches: list[list[Event]] = [[]]
    for event in log:
        if keep_rules and event.type == "loyalty.rules_set":
            stretches += [[event], []]
        else:
            stretches[-1].append(event)
    for stretch in stretches:
        rng.shuffle(stretch)
    return [event for stretch in stretches for event in stretch]


@given(log=logs(duplicates=False), data=st.data())
@laws(25)
def test_law_5_the_order_of_the_log_decides_prices_and_ties_in_received_at_only(
    log: list[Event], data: st.DataObject
) -> None:
    keep_rules = data.draw(st.booleans())
    shuffled = _shuffled(log, random.Random(data.draw(st.integers(0, 2**32))), keep_rules=keep_rules)
    priced_alike = keep_rules or all(event.type != "loyalty.rules_set" for event in log)
    oracle, other = Oracle(log), Oracle(shuffled)
    asks = _asks(oracle, _drawn(data))
    batches = data.draw(_splits(len(log)))
    with (
        _settling(data.draw(st.sampled_from(STRETCHES))),
        _files() as folder,
        fold(log, path=folder / "a.duckdb", batches=batches) as straight,
        fold(shuffled, path=folder / "b.duckdb", batches=batches) as crooked,
    ):
        check(crooked, other, asks)
        for user_id, name, ask in asks:
            if name in PRICED and not priced_alike:
                continue
            if name in IN_LOG_ORDER:
                ask = {**ask, "limit": 100} | ({"before": None} if "before" in ask else {})
            answers = [_answer(folded, user_id, name, ask) for folded in (straight, crooked)]
            if name in IN_LOG_ORDER:  # all of them, without their places in the log
                answers = [sorted((row[:-1] for row in rows), key=repr) for rows in answers]
            assert answers[0] == answers[1], f"{name} of {user_id} with {ask}"


def test_versions_of_records_are_what_the_laws_think() -> None:
    assert SCHEMA_VERSION == 2, "teach _as_version_1 the newer versions"
