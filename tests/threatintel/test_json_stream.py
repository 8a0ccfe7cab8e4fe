"""The streaming reader agrees with the json module on every document, and needs little memory for a hostile one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatintel.feeds import json_stream
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


@pytest.mark.parametrize(
    ("inner", "reason"),
    [(b'"' + b"x" * 100_000 + b'"', "A text"), (b" " * 100_000 + b"1", "A text"), (b",".join([b'"' + b"x" * 900 + b'"'] * 200), "An element")],
    ids=["one text", "white space", "many texts"],
)
def test_the_bytes_of_a_text_and_of_an_element_are_bounded_whoever_reads(inner: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_TEXT", 50_000)
    monkeypatch.setattr(json_stream, "MAX_MEMBER", 120_000)
    document = b'{"response": [{"Event": {"info": [' + inner + b"]}}]}"
    pulled = 0

    def chunks() -> Any:
        nonlocal pulled
        for start in range(0, len(document), 1000):
            pulled += 1
            yield document[start : start + 1000]

    with pytest.raises(FeedError, match=f"{reason} of the JSON has more than"):
        list(read_members(chunks(), "response", max_events=5_000_000))
    assert pulled < len(document) // 1000


def test_many_elements_below_the_bound_are_read_whatever_the_size_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_MEMBER", 3000)
    element = b'{"a": "' + b"x" * 1500 + b'"}'
    document = b'{"response": [' + b",".join([element] * 50) + b"]}"
    assert len(list(read_members(iter([document[n : n + 500] for n in range(0, len(document), 500)]), "response"))) == 50
