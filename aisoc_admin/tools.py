"""Puts the tools of every domain into the investigation's registry: the domains do not import each other, this layer knows both.

The imports wait for the first investigation: they take a third of a second, which no other process has to spend.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from llm.lookups import provide_lookup
from llm.tools import Finding, Tool, provide

if TYPE_CHECKING:
    from llm.alerts import Alert
    from threatintel.tools import IntelTool


def provide_tools() -> None:
    provide(_every_tool)
    provide_lookup(_known_bad)


def _known_bad(values: Iterable[str]) -> dict[str, str]:
    from threatintel.lookup import lookup
    from threatintel.observables import one_meaning
    from threatintel.queries import ACTIVE

    meant = {value: one_meaning(value) for value in values}  # hosts, links, mailboxes and digests; no names of files
    known = lookup({pair for pairs in meant.values() for pair in pairs})
    found = {}
    for value, pairs in meant.items():
        for pair in sorted(pairs):
            views = [view for view in known.get(pair, ()) if view.status == ACTIVE]
            if views:
                feeds = ", ".join(sorted({str(source["feed"]) for source in views[0].sources}))
                found[value] = f"{views[0].value} is an active indicator of {feeds}."
                break
    return found


def _every_tool() -> Iterator[Tool]:
    from llm.alert_tools import ALERT_TOOLS
    from threatintel.tools import TOOLS

    yield from ALERT_TOOLS
    yield from map(_adapted, TOOLS)


def _adapted(one: "IntelTool") -> Tool:
    def run(alert: "Alert") -> Iterator[Finding]:
        return (Finding(*told) for told in one.run(alert.as_dict()))

    return Tool(one.name, one.title, one.purpose, run)
