"""manage.py create_token USER --role ROLE [--days N]: prints a new API token once, alone on the last line."""

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.accounts import issue_token
from tenants.roles import Role

MAX_DAYS = 3650


class Command(BaseCommand):
    help = "Print a new API token once. Send it as the header 'Authorization: Token …'. Only its digest is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="User name; made, without a password, if there is none.")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument("--days", type=int, default=90, help=f"Days until it expires, 1 to {MAX_DAYS} (90).")

    def handle(self, *, user: str, role: str, days: int, **_options: object) -> None:
        if not 1 <= days <= MAX_DAYS:
            raise CommandError(f"--days {days} is not in 1 to {MAX_DAYS}.")
        model = get_user_model()
        try:
            model(username=user).clean_fields(exclude=[field.name for field in model._meta.fields if field.name != model.USERNAME_FIELD])
        except ValidationError as error:
            raise CommandError(f"The user name {user!r} cannot be used: {' '.join(error.messages)}") from None
        self.stdout.write(issue_token(user, Role(role), days))
