"""The tools that need nothing but the alert: its explanation, and what ATT&CK says of its techniques."""

from collections.abc import Iterator
from typing import Final

from llm.alerts import Alert
from llm.attack import techniques_of
from llm.evidence import evidence_of
from llm.ocsf import classify
from llm.tables import versions
from llm.tools import Finding, Tool


def _explained(alert: Alert) -> Iterator[Finding]:
    classified = classify(alert)
    ocsf = classified.ocsf
    source = f"OCSF {versions()['ocsf']}"
    yield Finding("OCSF class", f"{ocsf.uid} {ocsf.name}", source, f"The alert is classed as {ocsf.name} ({ocsf.category}). {classified.why}")
    for one in evidence_of(alert):
        note = f", {one.annotation}" if one.annotation else ""
        yield Finding(one.label, one.value, "the alert", f"{one.label}: {one.value}{note}.")


def _technique_data(alert: Alert) -> Iterator[Finding]:
    source = f"ATT&CK {versions()['attack']}"
    found = techniques_of(alert)
    for one in found:
        technique = one.technique
        says = f"It shows {technique.id} {technique.name} ({', '.join(technique.tactics)}), found by its {one.how.value}."
        yield Finding("Technique", f"{technique.id} {technique.name}", source, says)
        yield Finding("What it is", technique.description, source)
    if not found:
        yield Finding("Technique", "none", source, "No technique is named in the alert or recognised in it.")


EXPLAIN = Tool("explain", "Explain the alert", "its class, and who, where and what the event itself names", _explained)
TECHNIQUES = Tool("technique_data", "Technique data", "the ATT&CK techniques of the alert with their tactics and descriptions", _technique_data)
ALERT_TOOLS: Final = (EXPLAIN, TECHNIQUES)
