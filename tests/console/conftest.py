"""The fixtures of the pages."""

from tests.airgap.fleet import deployment  # noqa: F401
from tests.console.fixtures import (  # noqa: F401
    agreeing,
    auditor,
    database_away,
    guarded,
    healthy,
    heard,
    indicators,
    operator,
    quick_passwords,
    ran,
    reader,
    sealed,
    text,
)
