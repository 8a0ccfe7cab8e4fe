"""The fixtures of the audit."""

from tests.airgap.fleet import deployment  # noqa: F401
from tests.airgap.trail import tamper  # noqa: F401
