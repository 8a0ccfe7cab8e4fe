"""Removes logins that are over: expired sessions and counted attempts. Both are refused by their age anyway; this keeps the tables small."""

from django.contrib.sessions.models import Session
from django.utils import timezone

from aisoc_admin import throttle


def remove_expired() -> None:
    """One round; any process may run it at any time."""
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
    throttle.forget_old()
