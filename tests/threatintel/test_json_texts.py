"""Elements with their text: the json module's values, whatever the chunks, and bounds that a hostile file meets early."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.threatintel.test_json_stream import values
from threatintel.feeds import json_texts
from threatintel.feeds.json_texts import MAX_DEPTH, MAX_ELEMENT, read_texts
from threatintel.specs import FeedError


def chunks(text: bytes, size: int = 7) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@given(
    st.dictionaries(st.text(max_size=8).filter(lambda key: key != "objects"), values, max_size=4),
    st.lists(values, max_size=6),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_elements_are_what_the_json_module_reads(rest: dict[str, Any], objects: list[Any], size: int, indent: int | None, ascii_only: bool) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_texts, "_AT_LEAST", size)
        text = json.dumps({**rest, "objects": objects, "z": [1]}, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass")
        try:
            text.decode()
        except UnicodeDecodeError:
            with pytest.raises(FeedError):
                list(read_texts(chunks(text, size), "objects"))
            return
        got = list(read_texts(chunks(text, size), "objects"))
    assert [value for value, _ in got] == objects
    assert [json.loads(written) for _, written in got] == objects


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"nul", b"1", b'{"objects": [1, 2', b'{"objects": [1 2]}', b'{"objects": [1,]}', b'{"objects": [1],}', b'{"objects": [1]} x',
        b'{"objects" [1]}', b"{objects: [1]}", b'{1: [1]}', b'{"objects": [01]}', b'{"objects": [NaN]}', b'{"objects": ["\xff"]}', b'{"objects": [{]}',
        b'{"a": 1 "objects": []}', b'{"objects": [' + b"9" * 100_000 + b"]}",
    ],
)  # fmt: skip
def test_broken_json_is_a_reason_of_one_line(text: bytes) -> None:
    with pytest.raises(FeedError) as caught:
        list(read_texts(chunks(text), "objects"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).isascii()


def test_what_came_before_the_break_is_given_first() -> None:
    reading = read_texts(chunks(b'{"objects": [{"a": 1}, {"b": 2'), "objects")
    assert next(reading) == ({"a": 1}, '{"a": 1}')
    with pytest.raises(FeedError, match="ends early"):
        next(reading)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"objects":['])
def test_nesting_is_bounded(opening: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(FeedError):
        list(read_texts([b'{"objects": [' + opening * 60_000], "objects"))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60_000_000


def test_an_element_of_thirty_two_levels_is_read_and_one_of_more_is_not() -> None:
    def document(depth: int) -> bytes:
        return b'{"objects": [' + b"[" * (depth - 2) + b'"[[[ \\" {{{"' + b"]" * (depth - 2) + b"]}"

    assert len(list(read_texts([document(MAX_DEPTH)], "objects"))) == 1
    with pytest.raises(FeedError, match="nested more than"):
        list(read_texts([document(MAX_DEPTH + 1)], "objects"))


@pytest.mark.parametrize("start", [b'{"objects": ["', b'{"other": "', b'{"'])
def test_an_element_that_never_ends_is_given_up_with_little_memory(start: bytes) -> None:
    def endless() -> Any:
        yield start
        while True:
            yield b"x" * 65536

    tracemalloc.start()
    with pytest.raises(FeedError, match=str(MAX_ELEMENT)):
        list(read_texts(endless(), "objects"))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * MAX_ELEMENT
