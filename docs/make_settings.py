"""Prints docs/settings.md from the table in aisoc_admin/env.py: `python docs/make_settings.py > docs/settings.md`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aisoc_admin.env import known_variables

HEAD = """# Settings

Every variable is read once, at start, by `aisoc_admin/env.py`. Text that does not parse stops the process with exit status 2
and one line that names the variable and a right value. So does an unknown name that begins with `AISOC_`. Blank means unset.
A variable marked *secret* is also read from the file that `NAME_FILE` names. Lists are comma lists. Change a value, then
restart.

| variable | default | example | meaning |
|---|---|---|---|
"""


def default_of(value: object) -> str:
    if value in ("", (), None):
        return "unset"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"`{value}`"


def settings_page() -> str:
    rows = []
    for spec in known_variables():
        meaning = spec["help"] + (" *secret*" if spec["secret"] else "")
        rows.append(f"| `{spec['name']}` | {default_of(spec['default'])} | `{spec['example']}` | {meaning} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(settings_page())
