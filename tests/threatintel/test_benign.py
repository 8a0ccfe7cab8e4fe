"""The warning lists: MISP's matching, in one small file a version, whoever builds it first."""

import json
import multiprocessing
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pymispwarninglists import WarningLists

from tests.plugins.warning_lists import LISTS, written
from threatintel import benign
from threatintel.benign import BenignError, BenignLists, benign_lists, build, readable_regex

Small = Callable[[], list[Path]]
ORACLE = (
    "rfc1918",
    "rfc5735",
    "rfc3849",
    "google",
    "tranco10k",
    "cisco_top1000",
    "empty-hashes",
    "public-dns-v6",
    "url-shortener",
    "disposable-email",
)


@pytest.mark.parametrize(
    ("type", "value", "names"),
    [
        ("ipv4-addr", "10.200.3.4", ["rfc1918"]),
        ("ipv4-addr", "10.9.0.0/16", ["rfc1918"]),
        ("ipv4-addr", "0.0.0.0/0", []),
        ("ipv4-addr", "11.0.0.1", []),
        ("ipv6-addr", "fd12::1", ["rfc1918"]),
        ("ipv6-addr", "fe80::1", []),
        ("domain-name", "google.com", ["top"]),
        ("domain-name", "www.google.com", ["top"]),
        ("domain-name", "evilgoogle.com", []),
        ("domain-name", "google.com.evil.example", []),
        ("domain-name", "known.example", ["top"]),
        ("domain-name", "exact.example", ["whole"]),
        ("domain-name", "below.exact.example", []),
        ("url", "https://www.google.com:8443/x?y", ["top"]),
        ("url", "https://evil.example/google.com", []),
        ("file-hash:md5", "d41d8cd98f00b204e9800998ecf8427e", ["whole"]),
        ("email-addr", "abuse@evil.example", ["contact"]),
        ("email-addr", "x@mailinator.com", ["part"]),
        ("email-addr", "x@evil.co", []),
        ("domain-name", "mailinator.com", []),
        ("domain-name", "evil.example", []),
        ("user-agent", "5551234", []),
        ("stix-pattern", "[x:y = 'z']", []),
        ("file-name", "a" * 8000, []),
    ],
)
def test_lists_match_as_misp_has_them_match(type: str, value: str, names: list[str], small_lists: Small) -> None:
    assert benign_lists().naming(type, value) == names


def test_what_cannot_be_matched_is_counted(small_lists: Small) -> None:
    lists = benign_lists()
    assert (len(lists.lists), lists.entries) == (8, 7)
    assert lists.skipped == 6  # a text of three characters, two patterns, an entry of another kind, two networks


@pytest.mark.parametrize(
    ("pattern", "readable"),
    [
        ("/^(security|abuse)\\@.*\\..*$/i", True),
        ("/(00)?[0-9]{7}/g", True),
        ("/(a+)+$/", False),
        ("/(a|aa)*$/", False),
        ("/(a){1,99}b/", False),
        ("/a*a*a*b/", False),
        ("/(a)\\1/", False),
        ("/(?=a)b/", False),
        ("/[/", False),
        ("/a/e", False),
        ("a" * 501, False),
    ],
)
def test_a_pattern_that_could_take_for_ever_is_not_taken(pattern: str, readable: bool) -> None:
    read = readable_regex(pattern)
    assert (read is not None) is readable
    if read is not None:
        begun = time.perf_counter()
        re.compile(*read).search("@." * 256)
        assert time.perf_counter() - begun < 0.2


def test_the_file_holds_what_the_package_s_own_search_finds(tmp_path: Path) -> None:
    """The package's slow search is the oracle, for values of each kind and for what is near them."""
    files = [file for file in benign._lists_of_package() if file.parent.name in ORACLE]
    assert len(files) == len(ORACLE)
    build(files, tmp_path / "some.idx", "x")
    ours = BenignLists(tmp_path / "some.idx")
    theirs = WarningLists(slow_search=True, lists=[json.loads(file.read_text(encoding="utf-8")) for file in files])
    values = [
        *(("ipv4-addr", text) for text in ("10.0.0.1", "192.168.255.255", "198.51.100.7", "8.8.8.8", "192.0.2.1", "11.0.0.1", "255.255.255.255")),
        *(("ipv6-addr", text) for text in ("2001:db8::1", "2001:4860:4860::8888", "2620:fe::fe", "fe80::1")),
        *(("domain-name", text) for text in ("google.com", "mail.google.com", "xgoogle.com", "bit.ly", "evil.example", "ggpht.com")),
        *(("url", text) for text in ("https://bit.ly/abc", "https://www.google.com/", "https://evil.example/bit.ly")),
        ("file-hash:md5", "d41d8cd98f00b204e9800998ecf8427e"),
        ("file-hash:sha1", "0" * 40),
        ("email-addr", "x@mailinator.com"),
        ("email-addr", "x@evil.example"),
    ]
    found = 0
    for type, value in values:
        expected = sorted(
            one.name
            for one in theirs.search(value)
            if not hasattr(one, "matching_attributes") or set(one.matching_attributes) & benign.ATTRIBUTES[type]
        )
        assert ours.naming(type, value) == expected, value
        found += len(expected)
    assert found > 15


def test_the_real_lists_answer_a_hundred_values_in_milliseconds(tmp_path: Path) -> None:
    build(benign._lists_of_package(), tmp_path / "all.idx", "x")
    lists = BenignLists(tmp_path / "all.idx")
    assert lists.entries > 2_000_000
    assert (tmp_path / "all.idx").stat().st_size < 30_000_000
    assert "List of RFC 1918 CIDR blocks" in lists.naming("ipv4-addr", "10.0.0.1")
    assert "List of known IPv4 public DNS resolvers" in lists.naming("ipv4-addr", "8.8.8.8")
    values = [("domain-name", f"a{number}.b.evil.example") for number in range(34)]
    values += [("ipv4-addr", f"203.0.114.{number}") for number in range(33)] + [("email-addr", f"u{number}@evil.example") for number in range(33)]
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        assert not any(lists.naming(*value) for value in values)
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.05


def test_the_file_is_built_once_and_names_the_package_s_version(small_lists: Small, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    real = benign.build
    monkeypatch.setattr(benign, "build", lambda files, target, release: (built.append(release), real(files, target, release)))
    with ThreadPoolExecutor(8) as pool:
        held = list(pool.map(lambda _: benign_lists(), range(16)))
    assert len(built) == 1
    assert {one.version for one in held} == {benign.version(benign.PACKAGE)}
    assert [path.name for path in settings.DATA_DIR.glob("benign-*")] == [f"benign-{held[0].version}-{benign.FORMAT}.idx"]


def test_a_new_version_of_the_package_has_its_own_file_and_the_old_one_goes(
    small_lists: Small,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = benign_lists()
    monkeypatch.setattr(benign, "version", lambda _package: "99.0")
    assert (old.version, benign_lists().version) != (old.version, old.version)
    assert [path.name for path in settings.DATA_DIR.glob("benign-*")] == [f"benign-99.0-{benign.FORMAT}.idx"]
    assert old.naming("ipv4-addr", "10.0.0.1") == ["rfc1918"], "who has the old file open still reads it"


def _build_in_process(folder: str, lists: str, done: Any) -> None:
    from pathlib import Path as Folder

    benign._lists_of_package = lambda: sorted(Folder(lists).glob("*/list.json"))
    path = Folder(folder) / "benign-1-1.idx"
    benign._build_once(path)
    done.put(BenignLists(path).naming("ipv4-addr", "10.0.0.1"))


def test_processes_that_begin_together_all_read_a_whole_file(tmp_path: Path) -> None:
    written(tmp_path / "lists", LISTS)
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    processes = [context.Process(target=_build_in_process, args=(str(tmp_path / "data"), str(tmp_path / "lists"), done)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [done.get(timeout=20) for _ in processes] == [["rfc1918"]] * 4
    for process in processes:
        process.join(20)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["benign-1-1.idx", "benign.lock"]


@pytest.mark.parametrize("content", [b"", b"rubbish" * 10, b"AISOCBEN" + (10**9).to_bytes(8, "little"), "cut"])
def test_a_damaged_file_is_made_anew(content: bytes | str, small_lists: Small) -> None:
    benign_lists()
    path = benign._path()
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-8] if content == "cut" else content)
    benign._open.clear()
    assert benign_lists().naming("ipv4-addr", "10.0.0.1") == ["rfc1918"]


def test_a_data_directory_that_takes_no_file_is_a_reason(small_lists: Small, settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings.DATA_DIR = tmp_path / "file" / "data"
    with pytest.raises(BenignError, match="cannot be read"):
        benign_lists()
