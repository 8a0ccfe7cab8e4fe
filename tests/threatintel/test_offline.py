"""Files carried in by hand: what their pages may take of memory, and names that are no text."""

import gzip
import io
import json
import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.plugins.kev import catalogue, row
from tests.plugins.taxii_server import stix_indicator
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
    with pytest.raises(CommandError, match=r"^x\?\.json: No such file"):
        call_command("import_feed", "kev", str(tmp_path / os.fsdecode(b"x\xff.json")))
