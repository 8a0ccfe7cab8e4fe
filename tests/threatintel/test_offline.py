"""Files carried in by hand: what their pages may take of memory, and names that are no text."""

import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.plugins.kev import catalogue, row
from tests.plugins.taxii_server import stix_id, stix_indicator
from threatintel import offline
from threatintel.feeds import json_stream
from threatintel.models import FeedRun, IndicatorSource
from threatintel.offline import carried, pages_of
from threatintel.specs import FeedError


def test_a_page_of_large_objects_ends_before_its_number_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "PAGE_TEXT", 50_000)
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps({"type": "bundle", "objects": [stix_indicator(n, description="x" * 20_000) for n in range(9)]}))
    with carried(path) as file:
        assert [len(list(page.records)) for page in pages_of("stix", file)] == [3, 3, 3]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("packed", [False, True])
def test_a_marking_that_a_file_defines_behind_its_first_page_marks_that_page_too(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "PAGE", 10)
    red = {"type": "marking-definition", "id": stix_id("marking-definition", "red"), "definition_type": "tlp", "definition": {"tlp": "red"}}
    marked = [stix_indicator(n, description="x" * 50_000, object_marking_refs=[red["id"]]) for n in range(25)]
    content = json.dumps({"type": "bundle", "objects": [*marked, red]}).encode()
    path = tmp_path / "bundle.json"
    path.write_bytes(gzip.compress(content) if packed else content)
    call_command("import_feed", "stix", str(path), stdout=io.StringIO())
    assert list(IndicatorSource.objects.values_list("tlp", flat=True)) == ["red"] * 25
    assert (FeedRun.objects.get().added, FeedRun.objects.get().skips) == (25, {})


@pytest.mark.parametrize(("late", "times"), [(False, 1), (True, 2)])
def test_only_a_file_that_defines_a_marking_late_is_read_twice(late: bool, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = 0
    real = offline.read_texts

    def counted(*args: Any) -> Any:
        nonlocal readings
        readings += 1
        return real(*args)

    monkeypatch.setattr(offline, "read_texts", counted)
    red = {"type": "marking-definition", "id": stix_id("marking-definition", "red"), "name": "TLP:RED"}
    rest = [stix_indicator(n, description="x" * 50_000) for n in range(40)]
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps({"type": "bundle", "objects": [*rest, red] if late else [red, *rest]}))
    with carried(path) as file:
        assert sum(len(list(page.records)) for page in pages_of("stix", file)) == 40
    assert readings == times


@pytest.mark.parametrize("kind", ["misp", "otx", "kev"])
def test_a_small_file_that_unpacks_to_one_endless_text_is_given_up(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_TEXT", 1_000_000)
    items = {"misp": "response", "otx": "results", "kev": "vulnerabilities"}[kind]
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(f'{{"{items}": [{{"info": "'.encode() + b"x" * 30_000_000))
    assert path.stat().st_size < 100_000
    with carried(path) as file, pytest.raises(FeedError, match="A text of the JSON has more than"):
        list(pages_of(kind, file))


@pytest.mark.django_db(transaction=True)
def test_a_file_whose_name_is_no_text_is_imported_and_named_in_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"k\xff\x1b[2Jv.json")
    path.write_bytes(catalogue([row(0)]))
    call_command("import_feed", "kev", str(path), stdout=io.StringIO())
    assert IndicatorSource.objects.count() == 1
    assert FeedRun.objects.get().source.startswith("k??[2Jv.json ")
    with pytest.raises(CommandError, match=r"/x\?\.json: No such file"):
        call_command("import_feed", "kev", str(tmp_path / os.fsdecode(b"x\xff.json")))


STIX = json.dumps({"type": "bundle", "id": "bundle--1", "objects": []}).encode()
MISP = json.dumps({"response": [{"Event": {"info": "x"}}]}).encode()
OTX = json.dumps({"results": [{"id": "1", "indicators": [], "pulse_source": "web"}]}).encode()


@pytest.mark.parametrize(
    ("kind", "content", "hint"),
    [
        ("kev", STIX, "It looks like a file of kind stix: choose that."),
        ("kev", MISP, "kind misp"),
        ("stix", catalogue([row(0)]), "kind kev"),
        ("misp", gzip.compress(STIX, mtime=0), "kind stix"),
        ("misp", catalogue([row(0)]), "kind kev"),
        ("stix", OTX, "kind otx"),
        ("otx", MISP, "kind misp"),
        ("stix", b"\x7fELF\x02\x01", "It does not begin as JSON does"),
        ("kev", b"<html>", "It does not begin as JSON does"),
        ("misp", b"", "It does not begin as JSON does"),
    ],
)
def test_a_file_of_another_kind_is_told_with_the_kind_that_it_looks_like(kind: str, content: bytes, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "carried"
    path.write_bytes(content)
    with carried(path) as file, pytest.raises(FeedError) as raised:
        list(pages_of(kind, file))
    assert hint in str(raised.value)


def test_a_broken_file_of_the_right_kind_gets_no_other_kind(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes(catalogue([row(0)])[:-5])
    with carried(path) as file, pytest.raises(FeedError, match=r"^The JSON is not whole: [^.]*\.$"):
        list(pages_of("kev", file))
