"""The first lock: no query of a tenant-owned model forgets the tenant, on any database."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import FieldError
from django.db import IntegrityError, transaction
from django.db.models import Q

from tenants.models import Tenant, TenantOwned
from tenants.owned import TenantForgotten, TenantManager
from tests.tenants.notes import Note, table

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def _table(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), table():
        yield


@pytest.fixture
def acme() -> Tenant:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    Note.objects.for_tenant(tenant).create(text="of acme")
    return tenant


@pytest.fixture
def globex() -> Tenant:
    tenant = Tenant.objects.create(slug="globex", name="Globex")
    Note.objects.for_tenant(tenant).create(text="of globex")
    return tenant


FORGETFUL: dict[str, Callable[[Tenant], object]] = {
    "all": lambda _t: list(Note.objects.all()),
    "filter": lambda t: Note.objects.filter(tenant=t),
    "filter by the other's key": lambda _t: Note.objects.filter(text="of globex"),
    "exclude": lambda _t: Note.objects.exclude(pk=0),
    "get": lambda t: Note.objects.get(tenant=t),
    "first": lambda _t: Note.objects.first(),
    "count": lambda _t: Note.objects.count(),
    "exists": lambda _t: Note.objects.exists(),
    "values": lambda _t: Note.objects.values("text"),
    "aggregate": lambda _t: Note.objects.aggregate(),
    "in_bulk": lambda _t: Note.objects.in_bulk(),
    "iterator": lambda _t: list(Note.objects.iterator()),
    "raw-like order": lambda _t: Note.objects.order_by("pk"),
    "select_for_update": lambda _t: Note.objects.select_for_update(),
    "using": lambda _t: Note.objects.using("default"),
    "db_manager": lambda _t: Note.objects.db_manager("default").all(),
    "create": lambda t: Note.objects.create(tenant=t, text="x"),
    "get_or_create": lambda t: Note.objects.get_or_create(tenant=t, text="x"),
    "update_or_create": lambda t: Note.objects.update_or_create(tenant=t, text="x"),
    "bulk_create": lambda t: Note.objects.bulk_create([Note(tenant=t, text="x")]),
    "update": lambda _t: Note.objects.update(text="x"),
    "none": lambda _t: Note.objects.none(),
    "raw": lambda _t: list(Note.objects.raw("SELECT * FROM tenants_note")),
    "for no tenant": lambda _t: Note.objects.for_tenant(None),  # type: ignore[arg-type]
    "for an unsaved tenant": lambda _t: Note.objects.for_tenant(Tenant(slug="new", name="New")),
    "for a slug": lambda _t: Note.objects.for_tenant("acme"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("attempt", FORGETFUL.values(), ids=FORGETFUL.keys())
def test_forgetting_the_tenant_raises(attempt: Callable[[Tenant], object], acme: Tenant) -> None:
    with pytest.raises(TenantForgotten):
        attempt(acme)


def test_a_tenant_is_not_a_way_to_its_rows(acme: Tenant) -> None:
    assert not [name for name in dir(acme) if "note" in name]
    with pytest.raises(FieldError):
        Tenant.objects.filter(note__text="x")


WIDENING: dict[str, Callable[[Any], Any]] = {
    "all": lambda rows: rows.all(),
    "filter": lambda rows: rows.filter(Q(text="of globex") | Q(pk__gt=0)),
    "exclude": lambda rows: rows.exclude(text="nothing"),
    "by the other's tenant": lambda rows: rows.filter(tenant__slug="globex"),
    "order_by": lambda rows: rows.order_by("-pk"),
    "using": lambda rows: rows.using("default"),
}


@pytest.mark.parametrize("widen", WIDENING.values(), ids=WIDENING.keys())
def test_nothing_widens_the_rows_of_one_tenant(widen: Callable[[Any], Any], acme: Tenant, globex: Tenant) -> None:
    assert {note.text for note in widen(Note.objects.for_tenant(acme))} <= {"of acme"}


def test_what_is_made_through_a_tenants_rows_is_that_tenants(acme: Tenant, globex: Tenant) -> None:
    rows = Note.objects.for_tenant(acme)
    rows.filter(text="x").get_or_create(text="two")
    rows.update_or_create(text="three", defaults={"text": "four"})
    rows.create(text="five", tenant=acme)
    rows.bulk_create([Note(text="six", tenant=acme)])
    assert set(rows.values_list("text", flat=True)) == {"of acme", "two", "three", "four", "five", "six"} - {"three"}
    assert Note.objects.for_tenant(globex).count() == 1


TO_ANOTHER: dict[str, Callable[[Any, Tenant], object]] = {
    "create": lambda rows, other: rows.create(text="x", tenant=other),
    "create by key": lambda rows, other: rows.create(text="x", tenant_id=other.pk),
    "create for nobody": lambda rows, _other: rows.create(text="x", tenant=None),
    "get_or_create": lambda rows, other: rows.get_or_create(text="x", defaults={"tenant": other}),
    "update": lambda rows, other: rows.update(tenant=other),
    "update by key": lambda rows, other: rows.update(tenant_id=other.pk),
    "bulk_create": lambda rows, other: rows.bulk_create([Note(text="x", tenant=other)]),
    "update_or_create": lambda rows, other: rows.update_or_create(text="of acme", defaults={"tenant": other}),
    "save": lambda rows, other: _moved(rows, other).save(),
    "save of a row read without its tenant": lambda rows, other: _moved(rows.only("text"), other).save(),
    "save over its row": lambda rows, other: _over(other, rows.model(text="x", tenant_id=rows.get().tenant_id)).save(force_update=True),
    "save over some of its row": lambda rows, other: _over(other, rows.model(text="x", tenant_id=rows.get().tenant_id)).save(update_fields=["text"]),
    "bulk_create over its row": lambda rows, other: rows.bulk_create(
        [_over(other, rows.model(text="x", tenant_id=rows.get().tenant_id))], update_conflicts=True, update_fields=["text"], unique_fields=["id"]
    ),
    "raw": lambda rows, _other: rows.raw("UPDATE tenants_note SET text = 'x'"),
    "extra": lambda rows, _other: rows.extra(where=["1=1) OR (1=1"]),
    "bulk_update": lambda rows, other: rows.bulk_update([_moved(rows, other)], ["tenant"]),
}


def _moved(rows: Any, other: Tenant) -> Note:
    note: Note = rows.get()
    note.tenant = other
    return note


def _over(other: Tenant, note: Note) -> Note:
    """The note with the key of the other tenant's."""
    note.pk = Note.objects.for_tenant(other).get().pk
    return note


@pytest.mark.parametrize("attempt", TO_ANOTHER.values(), ids=TO_ANOTHER.keys())
def test_nothing_is_given_to_another_tenant_through_a_tenants_rows(attempt: Callable[[Any, Tenant], object], acme: Tenant, globex: Tenant) -> None:
    with pytest.raises(TenantForgotten), transaction.atomic():
        attempt(Note.objects.for_tenant(acme), globex)
    assert [note.text for note in Note.objects.for_tenant(globex)] == ["of globex"]


def test_a_new_row_is_never_written_over_another_tenants(acme: Tenant, globex: Tenant) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        _over(globex, Note(text="x", tenant=acme)).save()
    assert [note.text for note in Note.objects.for_tenant(globex)] == ["of globex"]


def test_a_row_is_saved_refreshed_and_deleted_as_anywhere(acme: Tenant) -> None:
    note = Note.objects.for_tenant(acme).get()
    note.text = "new"
    note.full_clean()
    note.save()
    note.refresh_from_db()
    part = Note.objects.for_tenant(acme).only("text").get()
    part.text = "newer"
    part.save()
    for made in (Note(text="a", tenant=acme), *Note.objects.for_tenant(acme).bulk_create([Note(text="b", tenant=acme)])):
        for text in ("c", "d"):
            made.text = text
            made.save()
        made.delete()
    note.delete()
    assert not Note.objects.for_tenant(acme).exists()


def test_every_tenants_rows_are_asked_for_by_name(acme: Tenant, globex: Tenant) -> None:
    assert Note.across_tenants.count() == 2


def test_every_tenant_owned_model_of_the_product_keeps_both_managers() -> None:
    for model in (Note, *(model for model in apps.get_models() if issubclass(model, TenantOwned))):
        assert type(model.objects) is TenantManager
        assert model._default_manager.name == "across_tenants"
