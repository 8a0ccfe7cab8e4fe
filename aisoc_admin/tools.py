"""Puts the tools of every domain into the investigation's registry: the domains do not import each other, this layer knows both.

The imports wait for the first investigation: they take a third of a second, which no other process has to spend.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llm.tools import Finding, Tool, provide

if TYPE_CHECKING:
    from llm.alerts import Alert
    from threatintel.tools import IntelTool


def provide_tools() -> None:
    provide(_every_tool)


def _every_tool() -> Iterator[Tool]:
    from llm.alert_tools import ALERT_TOOLS
    from threatintel.tools import TOOLS

    yield from ALERT_TOOLS
    yield from map(_adapted, TOOLS)


def _adapted(one: "IntelTool") -> Tool:
    def run(alert: "Alert") -> Iterator[Finding]:
        return (Finding(*told) for told in one.run(alert.as_dict()))

    return Tool(one.name, one.title, one.purpose, run)
