"""Rows walked in parts and in several processes say the same as rows walked one by one."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings

from airgap import chain, walk
from airgap.active import deployment_key
from airgap.walk import parts_of, usable, walk_all
from tests.airgap.trail import drained, event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "PART", 3)


def problems() -> list[tuple[int, str]]:
    key = deployment_key()
    return [(one.position, one.what) for one in chain.verify({key.fingerprint: key.public})]


def test_parts_cover_every_row_once_and_know_the_digest_before_them() -> None:
    drained(*(event(number) for number in range(8)))
    parts = parts_of(1, 8, chain.GENESIS)
    assert [(part.first, part.last) for part in parts] == [(1, 3), (4, 6), (7, 8)]
    assert all(found.problems == () for found in walk_all(parts))
    assert problems() == []


def test_several_processes_find_what_one_finds(tamper: Any) -> None:
    drained(*(event(number, count=number + 1) for number in range(8)))
    tamper("UPDATE airgap_egressevent SET host = 'innocent.example' WHERE position IN (2, 3, 8)")
    tamper("DELETE FROM airgap_egressevent WHERE position = 5")
    parts = parts_of(1, 8, chain.GENESIS)
    alone, together = walk_all(parts, 1), walk_all(parts, 2)
    assert alone == together
    assert [position for position, _what in problems()] == [2, 3, 5, 8]


def test_a_row_that_is_missing_at_the_edge_of_a_part_is_told(tamper: Any) -> None:
    drained(*(event(number) for number in range(8)))
    tamper("DELETE FROM airgap_egressevent WHERE position = 3")
    assert [(part.first, part.last) for part in parts_of(1, 8, chain.GENESIS)] == [(1, 6), (7, 8)]
    assert problems() == [(3, "Rows 3 to 3 are missing.")]


@pytest.mark.skipif("postgres" in settings.DATABASES["default"]["ENGINE"], reason="PostgreSQL does not store that.")
@pytest.mark.parametrize("column", ["minute", "count", "first_seen"])
def test_a_row_that_holds_what_no_row_holds_is_told(column: str, tamper: Any) -> None:
    drained(event(0), event(1), event(2))
    tamper(f"UPDATE airgap_egressevent SET {column} = 'rubbish' WHERE position = 2")
    assert [position for position, _what in problems()] == [2]


def test_other_threads_and_few_rows_are_walked_by_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable(100) == 1
    monkeypatch.setattr("airgap.walk.threading.active_count", lambda: 2)
    assert usable(10**6) == 1


def test_moments_of_any_century_fit() -> None:
    """Where the walk's own arithmetic would round them."""
    for year in (1901, 1999, 2038, 2107, 2300, 9998):
        drained(event(minute=datetime(year, 3, 1, 4, 5, tzinfo=UTC), first_seen=datetime(year, 3, 1, 4, 5, 6, 999_999, tzinfo=UTC)))
    assert problems() == []
