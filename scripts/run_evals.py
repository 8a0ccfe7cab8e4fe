#!/usr/bin/env python3
"""Scores the LLM that the resolver really resolves, beside the deterministic fallback, on the cases in evals/.

    scripts/run_evals.py [--json] [--baseline FILE] [--min-score X] [--suite NAME] [--limit N]

Exit 0 passed, 1 failed (worse than the fallback, below the floor, broken, or worse than the baseline), 3 no live LLM (the fallback is scored).
"""

import argparse
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PASSED, FAILED, NO_LLM = 0, 1, 3


def main(arguments: list[str] | None = None) -> int:
    from tqdm import tqdm

    from evals.run import FLOOR, Result, regressions, run_suite
    from evals.scoring import cases
    from evals.suites import SUITES
    from llm.resolver import resolve_llm_config

    parser = argparse.ArgumentParser(prog="run_evals.py", description="Scores the configured LLM beside the deterministic fallback.")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of a table")
    parser.add_argument("--baseline", type=Path, help="an earlier report in JSON; a suite that is worse than there fails")
    parser.add_argument("--min-score", type=float, default=FLOOR, help=f"the floor for each suite, 0 to 1 (default {FLOOR})")
    parser.add_argument("--suite", action="append", choices=[suite.name for suite in SUITES], help="this suite alone; may be given again")
    parser.add_argument("--limit", type=int, help="so many cases of each suite, those first that the model is asked about")
    asked = parser.parse_args(arguments)
    if not 0 <= asked.min_score <= 1:
        parser.error(f"--min-score {asked.min_score} is not from 0 to 1.")
    baseline = _baseline(parser, asked.baseline)
    suites = [suite for suite in SUITES if asked.suite is None or suite.name in asked.suite]
    resolved = resolve_llm_config(None)
    results: list[Result] = []
    total = sum(min(len(list(cases(suite.name))), asked.limit or sys.maxsize) for suite in suites)
    with tqdm(total=total, unit="case", disable=None, file=sys.stderr) as bar:
        for suite in suites:
            bar.set_description(suite.name)
            results.append(run_suite(suite, model=resolved.allowed, floor=asked.min_score, limit=asked.limit, step=bar.update))
    worse = regressions(results, baseline) if baseline else {}
    code = FAILED if worse or any(not one.passed for one in results) else PASSED if resolved.allowed else NO_LLM
    report = {
        "verdict": {PASSED: "passed", FAILED: "failed", NO_LLM: "no live LLM"}[code],
        "llm": {"live": resolved.allowed, "model": resolved.config.model or None, "host": resolved.config.host or None, "reason": resolved.reason},
        "min_score": asked.min_score,
        "suites": [one.as_dict() for one in results],
        "regressions": worse,
    }
    sys.stdout.write(f"{json.dumps(report, indent=2, ensure_ascii=False) if asked.json else _table(report)}\n")
    return code


def _baseline(parser: argparse.ArgumentParser, path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(one["name"], str) for one in found["suites"]):
            raise ValueError("no suites")
    except (OSError, ValueError, KeyError, TypeError):
        parser.error(f"--baseline {path} cannot be read as a report of --json.")
    return dict(found)


def _table(report: dict[str, Any]) -> str:
    rows = [("suite", "cases", "fallback", "held out", "live", "asked", "unusable", "verdict")]
    for one in report["suites"]:
        live = "-" if one["live"] is None else f"{one['live']:.3f}"
        held_out = "-" if one["held_out"] is None else f"{one['held_out']:.3f}"
        verdict = "not asked" if one["live"] is None else "; ".join(one["faults"]) or "passed"
        rows.append((one["name"], str(one["cases"]), f"{one['fallback']:.3f}", held_out, live, str(one["asked"]), str(one["broken"]), verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"worse than the baseline: {name} {figures}" for name, figures in report["regressions"].items()]
    for one in report["suites"]:
        lines += [f"{one['name']}: {count} x {reason}" for reason, count in one["why"].items()]
    llm = report["llm"]
    return "\n".join([*lines, "", f"{llm['model'] or 'no model'} at {llm['host'] or 'no host'}: {llm['reason']}", report["verdict"]])


if __name__ == "__main__":
    python = ROOT / ".venv" / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != (ROOT / ".venv").resolve() and find_spec("django") is None:
        os.execv(python, [str(python), *sys.argv])  # noqa: S606 - this script again, with the packages that bin/up has installed
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aisoc_admin.settings")
    import django

    django.setup()
    sys.exit(main())
