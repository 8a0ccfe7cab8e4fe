"""manage.py create_token USER --role ROLE [--tenant SLUG] [--days N]: prints a new API token once, alone on the last line."""

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import slugs
from tenants.accounts import issue_token
from tenants.roles import TENANT_ROLES, Role

MAX_DAYS = 3650
NEEDS_TENANT = " or ".join(sorted(TENANT_ROLES))


class Command(BaseCommand):
    help = "Print a new API token once. Send it as the header 'Authorization: Token …'. Only its digest is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="User name; made, without a password, if there is none.")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument("--tenant", help=f"Slug, for {NEEDS_TENANT}; made if there is none.")
        parser.add_argument("--days", type=int, default=90, help=f"Days until it expires, 1 to {MAX_DAYS} (90).")

    def handle(self, *, user: str, role: str, days: int, tenant: str | None = None, **_options: object) -> None:
        if not 1 <= days <= MAX_DAYS:
            raise CommandError(f"--days {days} is not in 1 to {MAX_DAYS}.", returncode=2)
        if role in TENANT_ROLES and tenant is None:
            raise CommandError(f"--role {role} acts for one tenant: add --tenant SLUG.", returncode=2)
        if role not in TENANT_ROLES and tenant is not None:
            raise CommandError(f"--role {role} is bound to no tenant: leave --tenant out, or take {NEEDS_TENANT}.", returncode=2)
        if tenant is not None and not slugs.is_slug(tenant):
            raise CommandError(f"--tenant {tenant!r} is no slug: use {slugs.IN_WORDS}.", returncode=2)
        model = get_user_model()
        try:
            model(username=user).clean_fields(exclude=[field.name for field in model._meta.fields if field.name != model.USERNAME_FIELD])
        except ValidationError as error:
            raise CommandError(f"The user name {user!r} cannot be used: {' '.join(error.messages)}", returncode=2) from None
        self.stdout.write(issue_token(user, Role(role), days, tenant or ""))
