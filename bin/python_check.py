"""Refuses an interpreter that the product does not run on. Imported before everything else; any Python 3 can read it."""

import sys

if not (3, 11) <= sys.version_info[:2] < (3, 14):
    found = ".".join(str(part) for part in sys.version_info[:2])
    sys.stderr.write("AiSOC Admin needs Python 3.11, 3.12 or 3.13; this is {}. Start it with one of them: python3.12 {}\n".format(found, sys.argv[0]))  # noqa: UP032
    sys.exit(2)
