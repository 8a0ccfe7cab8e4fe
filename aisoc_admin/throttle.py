"""Login throttling: an authentication backend that counts an attempt before any password is looked at.

Counting first leaves no gap between looking and counting in which many attempts could be made at once. The counts are in
the database, so that all processes of all hosts share them; an address has at most two limits to exceed and no row of them
lives longer than the window.
"""

from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import structlog
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from aisoc_admin.models import LoginAttempts

WINDOW = timedelta(minutes=15)
OF_ONE_NAME = 5  # attempts in a window, of one name from one address
OF_ONE_ADDRESS = 50  # of all names from one address
THROTTLED = "throttled"  # the code of the error

log = structlog.stdlib.get_logger("login")


class Throttle:
    """First in AUTHENTICATION_BACKENDS. It lets nobody in and knows no user; beyond a limit it ends the attempt."""

    def authenticate(self, request: HttpRequest | None, username: str | None = None, **_credentials: Any) -> None:
        """Raises ValidationError, which login forms show as it stands. Without a request there is nobody to throttle."""
        if request is None or username is None:
            return
        address = _grouped(request.META.get("REMOTE_ADDR", ""))
        for limit, key in ((OF_ONE_ADDRESS, _key(address)), (OF_ONE_NAME, _key(address, username))):
            attempts = _count(key)
            if attempts.count > limit:
                left = attempts.since + WINDOW - timezone.now()
                log.warning("login.throttled", address=address, attempts=attempts.count, limit=limit)
                raise ValidationError(f"Too many attempts to sign in. Try again in {max(1, round(left.total_seconds() / 60))} min.", code=THROTTLED)


def _count(key: str) -> LoginAttempts:
    """One more attempt under `key`; a new window begins when the last one is over."""
    now = timezone.now()
    forget_old()
    with transaction.atomic():
        with connection.cursor() as cursor:
            table = connection.ops.quote_name(LoginAttempts._meta.db_table)
            moment = connection.ops.adapt_datetimefield_value(now)
            cursor.execute(
                f"INSERT INTO {table} (key, count, since) VALUES (%s, 1, %s) ON CONFLICT (key) DO UPDATE SET count = {table}.count + 1",  # noqa: S608
                [key, moment],
            )
        return LoginAttempts.objects.get(key=key)


def forget_old() -> None:
    LoginAttempts.objects.filter(since__lt=timezone.now() - WINDOW).delete()


def _forget(sender: object, request: HttpRequest | None = None, user: Any = None, **_: Any) -> None:
    """A login that went well was no guess."""
    if request is None:
        return
    address = _grouped(request.META.get("REMOTE_ADDR", ""))
    LoginAttempts.objects.filter(key=_key(address, user.get_username())).delete()
    LoginAttempts.objects.filter(key=_key(address), count__gt=0).update(count=F("count") - 1)


def _grouped(address: str) -> str:
    """An IPv6 host has a whole /64 to itself."""
    try:
        return str(ip_network(f"{address}/64", strict=False)) if ip_address(address).version == 6 else address
    except ValueError:
        return "unknown"


def _key(*parts: str) -> str:
    return salted_hmac("aisoc_admin.throttle", "\0".join(parts), algorithm="sha256").hexdigest()


user_logged_in.connect(_forget, dispatch_uid="aisoc_admin.throttle")
