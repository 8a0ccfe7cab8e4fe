"""bin/gates.py: what bin/test hands to pytest, and how it counts."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def gates() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gates", ROOT / "bin" / "gates.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gates"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_nothing_of_the_callers_configuration_reaches_the_tests(gates: ModuleType) -> None:
    source = {
        "AISOC_AIRGAPPED": "1",
        "AISOC_ANYTHING": "1",
        "AISOC_DATA_DIR": "/precious",
        "AISOC_TEST_REQUIRE": "browser",
        "CELERY_BROKER_URL": "redis://elsewhere",
        "DATABASE_URL": "postgres://elsewhere/production",
        "HOME": "/home/somebody",
        "LLM_API_KEY_FILE": "/key",
        "PATH": "/bin",
        "PGHOST": "elsewhere",
        "https_proxy": "http://proxy",
    }
    assert gates.scrubbed(source, "/tmp/data") == {
        "AISOC_DATA_DIR": "/tmp/data",
        "AISOC_TEST_REQUIRE": "browser",
        "HOME": "/home/somebody",
        "PATH": "/bin",
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["-m", "django_db and not any_database"]),
        (["tests/llm", "-x"], ["tests/llm", "-x", "-m", "django_db and not any_database"]),
        (["-m", "browser", "-x"], ["-x", "-m", "(browser) and django_db and not any_database"]),
    ],
)
def test_the_second_run_is_of_the_database_tests_among_those_asked_for(gates: ModuleType, given: list[str], expected: list[str]) -> None:
    assert gates.marked_django_db(given) == expected


def test_an_error_counts_as_failed_and_the_rest_adds_up(gates: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite tests="10" failures="1" errors="2" skipped="3"/></testsuites>')
    assert str(gates.read_tally(report) + gates.Tally(passed=1)) == "5 passed, 3 failed, 3 skipped"
    assert gates.read_tally(tmp_path / "none") == gates.Tally()
