"""Any bytes are a row and the same bytes again, and JSON stays JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.transfer.portable import join, split
from tests.unreadable import UNREADABLE


@given(st.binary())
def test_any_bytes_survive(value: bytes) -> None:
    assert join(*split(value)) == value


@pytest.mark.parametrize("value", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_nothing_can_read_survives(value: bytes) -> None:
    assert join(*split(value)) == value


_documents = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))  # fmt: skip


@given(_documents, st.booleans(), st.sampled_from([None, 2]))
def test_json_stands_as_itself(document: object, escaped: bool, indent: int | None) -> None:
    value = json.dumps(document, ensure_ascii=escaped, indent=indent).encode(errors="surrogatepass")
    told, base64 = split(value)
    assert join(told, base64) == value
    if told is not None:
        assert json.loads(told) == document
        assert b"\n" not in told
    if base64 is not None:  # pretty, or with half a character of UTF-16
        assert b"\n" in value or told is None


@pytest.mark.parametrize(
    "value", [b"1],[2", b'{"a":1}x', b'{"a":1,}', b"NaN", b'"\\ud800"', b'"\xed\xa0\x80"', b"\xef\xbb\xbf{}", b""]
)
def test_what_is_no_json_is_told_in_base64_alone(value: bytes) -> None:
    told, base64 = split(value)
    assert told is None
    assert base64 is not None


@pytest.mark.parametrize("value", [b"1e999", b'{"a":1,"a":2}', b"null", b'"\xe2\x80\xa8"', b"1.0", b'{"a" : 1}'])
def test_json_is_not_written_anew(value: bytes) -> None:
    assert split(value) == (value, None)


def test_json_with_line_breaks_is_told_without_and_whole_beside() -> None:
    told, base64 = split(b' {"a":\r\n [1]} ')
    assert told == b'{"a":[1]}'
    assert join(told, base64) == b' {"a":\r\n [1]} '


@pytest.mark.parametrize(("value", "base64"), [(None, None), (b"1", "*"), (None, "YQ")])
def test_a_row_that_says_nothing_is_refused(value: bytes | None, base64: str | None) -> None:
    with pytest.raises(ValueError, match="base64"):
        join(value, base64)
