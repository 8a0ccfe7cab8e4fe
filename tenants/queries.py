"""Reads of tenants."""

from tenants.models import Tenant
from tenants.slugs import is_slug


def tenant_of_slug(slug: str) -> Tenant | None:
    """By slug alone, never by name or number. Text that is no slug asks no database."""
    return Tenant.objects.filter(slug=slug).first() if is_slug(slug) else None
