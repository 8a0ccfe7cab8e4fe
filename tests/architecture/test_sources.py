"""Rules on the sources that no linter here holds."""

import re
import subprocess

from tests.conftest import ROOT

PRODUCT = ("aisoc_admin", "airgap", "tenants", "llm", "threatintel", "actions", "console", "templates")


def sources(*suffixes: str) -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for app in PRODUCT
        for path in (ROOT / app).rglob("*")
        if path.suffix in suffixes and "migrations" not in path.parts
    ]


def test_the_environment_has_one_reader() -> None:
    """Entry points set DJANGO_SETTINGS_MODULE; everything else is read in env.py."""
    for name, source in sources(".py"):
        for line in source.splitlines():
            if re.search(r"os\.(environ|getenv)", line) and name != "aisoc_admin/env.py":
                assert "DJANGO_SETTINGS_MODULE" in line or name in (
                    "airgap/guard.py",
                    "aisoc_admin/supervise.py",
                    "aisoc_admin/supervisor.py",
                    "aisoc_admin/prepare.py",
                ), f"{name}: {line}"


def test_the_library_flags_for_private_addresses_are_not_used() -> None:
    for name, source in sources(".py"):
        assert not re.search(r"\.is_(private|global|reserved)\b", source), name


def test_pages_and_styles_name_no_other_host() -> None:
    for name, source in sources(".html", ".css", ".js", ".svg"):
        found = re.findall(r"(?:src|href|action)\s*=\s*[\"']?(?:https?:)?//[^\"'\s>]+|url\([\"']?(?:https?:)?//|@import", source)
        assert found == [], name


def test_no_module_has_a_name_that_says_nothing() -> None:
    for name, _source in sources(".py"):
        assert name.rsplit("/", 1)[-1] not in {"utils.py", "helpers.py", "common.py", "base.py", "misc.py"}, name


def test_no_secret_and_no_machine_path_is_in_the_tree() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in files:
        if name.endswith((".png", ".txt", ".ico")) or name == "tests/architecture/test_sources.py":
            continue
        source = (ROOT / name).read_text(encoding="utf-8")
        assert str(ROOT) not in source, name
        assert "BEGIN " + "PRIVATE KEY" not in source, name
