"""Renders the chart where there is no helm: a strict subset of Go templates, in which anything else is an error.

{{ .Values.a.b }} and .Release.Name, .Release.Revision; | quote, | nindent N; include "name" .; toYaml; range over a list; define; `-` trims.
What this accepts, Go's text/template with Helm's functions renders alike; what it does not know, it refuses.
"""

import re
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "aisoc-admin"
ACTION = re.compile(r"(\s*)\{\{(-?)\s(.*?)\s(-?)\}\}(\s*)", re.DOTALL)
Token = tuple[str, str]  # "text" or "action", and its text


class NotInTheSubset(Exception):
    """The chart uses something that this cannot vouch for."""


def tokens(source: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    for match in ACTION.finditer(source):
        before, trims_before, action, trims_after, after = match.groups()
        found.append(("text", source[at : match.start()] + ("" if trims_before else before)))
        found.append(("action", action))
        at = match.end() if trims_after else match.end() - len(after)
    rest = source[at:]
    text = "".join(part for kind, part in [*found, ("text", rest)] if kind == "text")
    if "{{" in text or "}}" in text.replace("}}}", "}"):
        raise NotInTheSubset(text)
    return [*found, ("text", rest)]


class Chart:
    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")) | (values or {})
        self.defined: dict[str, list[Token]] = {}
        self._run(tokens((CHART / "templates" / "_helpers.tpl").read_text(encoding="utf-8")), {})

    def render(self) -> dict[str, list[dict[str, Any]]]:
        """The documents of each template, by file name."""
        root = {"Values": self.values, "Release": {"Name": "soc", "Revision": 1}}
        found = {}
        for path in sorted((CHART / "templates").glob("*.yaml")):
            found[path.name] = [one for one in yaml.safe_load_all(self._run(tokens(path.read_text(encoding="utf-8")), root)) if one]
        return found

    def _run(self, parts: list[Token], dot: dict[str, Any]) -> str:
        out, at = "", 0
        while at < len(parts):
            kind, text = parts[at]
            at += 1
            if kind == "text":
                out += text
            elif match := re.fullmatch(r'define "([a-z.]+)"', text):
                body, at = _block(parts, at)
                self.defined[match[1]] = body
            elif match := re.fullmatch(r"range (\.[A-Za-z.]+)", text):
                body, at = _block(parts, at)
                out += "".join(self._run(body, item) for item in self._value(match[1], dot))
            else:
                out += self._expression(text, dot)
        return out

    def _expression(self, text: str, dot: dict[str, Any]) -> str:
        first, *filters = [part.strip() for part in text.split("|")]
        if match := re.fullmatch(r'include "([a-z.]+)" \.', first):
            value: Any = self._run(self.defined[match[1]], dot)
        elif match := re.fullmatch(r"toYaml (\.[A-Za-z.]+)", first):
            value = yaml.safe_dump(self._value(match[1], dot), default_flow_style=False).rstrip("\n")
        else:
            value = self._value(first, dot)
        for word in filters:
            if word == "quote":
                value = '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
            elif match := re.fullmatch(r"nindent ([0-9]+)", word):
                value = "\n" + "\n".join(" " * int(match[1]) + line if line else line for line in str(value).split("\n"))
            else:
                raise NotInTheSubset(text)
        return str(value)

    def _value(self, path: str, dot: dict[str, Any]) -> Any:
        if not re.fullmatch(r"(\.[A-Za-z]+)+", path):
            raise NotInTheSubset(path)
        value: Any = dot
        for name in path[1:].split("."):
            if not isinstance(value, dict) or name not in value:
                raise NotInTheSubset(f"{path} is not there.")
            value = value[name]
        return value


def _block(parts: list[Token], at: int) -> tuple[list[Token], int]:
    """The body up to the matching end, and where it goes on."""
    depth, begin = 1, at
    while at < len(parts):
        kind, text = parts[at]
        at += 1
        if kind == "action" and text.split()[0] in ("define", "range"):
            depth += 1
        elif kind == "action" and text == "end":
            depth -= 1
            if depth == 0:
                return parts[begin : at - 1], at
    raise NotInTheSubset("A block without an end.")
