"""The streaming reader agrees with the json module on every document, and needs little memory for a hostile one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatintel.feeds.json_stream import MAX_DEPTH, read_members
from threatintel.specs import FeedError

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=20)


def read(document: Any) -> list[tuple[str, Any]]:
    text = json.dumps(document).encode()
    return list(read_members(iter([text[start : start + 7] for start in range(0, len(text), 7)]), "objects"))


@given(st.dictionaries(st.text(max_size=8).filter(lambda key: key != "objects"), values, max_size=4), st.lists(values, max_size=6))
def test_scalars_and_elements_are_what_the_json_module_reads(rest: dict[str, Any], objects: list[Any]) -> None:
    document = {**rest, "objects": objects, "z": 1}
    expected = [(key, value) for key, value in {**rest, "z": 1}.items() if not isinstance(value, dict | list)]
    got = read(document)
    assert [pair for pair in got if pair[0] != "objects"] == expected
    assert [value for key, value in got if key == "objects"] == objects


def test_an_object_in_place_of_the_array_is_passed_over() -> None:
    assert read({"objects": {"a": {"b": 1}}}) == []
    assert read({"x": {"objects": [1, {"a": 2}]}}) == []


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"objects":['])
def test_nesting_is_bounded_before_memory_is_spent(opening: bytes) -> None:
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(FeedError, match=f"more than {MAX_DEPTH} deep"):
        list(read_members(iter([b'{"objects": [' + opening * 60_000]), "objects"))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60_000_000


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"a": 1} {"b": 2}', b'{"a": 01}', b'{"a": "\xff"}', b'{"a": 1', b"nul", b'{"a": ' + b"9" * 100_000 + b"}"]
)
def test_broken_json_is_a_reason_of_one_line(text: bytes) -> None:
    with pytest.raises(FeedError) as caught:
        list(read_members(iter([text]), "objects"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).isascii()
