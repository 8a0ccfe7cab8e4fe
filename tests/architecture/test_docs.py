"""The docs say what the code does: settings, events, dependencies and rule words."""

import re
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from airgap import events, verify_report
from airgap.policy import Rule
from tests.conftest import ROOT


@pytest.mark.parametrize(("name", "verdict"), [("healthy", "OK"), ("broken", "FAILING")])
def test_the_example_reports_verify_and_read_as_their_markdown(name: str, verdict: str) -> None:
    examples = ROOT / "docs" / "examples"
    key = verify_report.read_public_key((examples / "key.pem").read_bytes())
    found = verify_report.verify((examples / f"{name}.json").read_bytes(), public_key=key, max_age=None)
    assert found.report["verdict"] == verdict
    assert (examples / f"{name}.md").read_text(encoding="utf-8") == verify_report.as_markdown(found.report)


def test_the_settings_page_is_the_table_in_env() -> None:
    spec = spec_from_file_location("make_settings", ROOT / "docs" / "make_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == module.settings_page(), "run docs/make_settings.py"


def test_each_dependency_is_argued() -> None:
    argued = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name = re.split(r"[\[~=<> ]", line, maxsplit=1)[0].lower()
            assert name.split("-")[0] in argued, name


def test_every_requirement_is_pinned_with_a_hash() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-uv.txt", "requirements-model.txt", "requirements-faults.txt"):
        blocks = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / name).read_text(encoding="utf-8").strip())
        for block in blocks:
            if block.startswith("#"):
                continue
            assert "==" in block.splitlines()[0], block
            assert "--hash=sha256:" in block, block


def test_the_dev_lock_pins_the_core_as_the_core_lock_does() -> None:
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))

    core, dev = pins("requirements.txt"), pins("requirements-dev.txt")
    assert core.items() <= dev.items()


def test_every_event_and_rule_word_is_documented() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    for name, value in vars(events).items():
        if name.startswith("AIRGAP_"):
            assert f"`{value}`" in page, value
    for rule in Rule:
        assert f"`{rule.value}`" in page, rule


def test_log_events_named_in_the_code_are_documented() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    for app in ("airgap", "threatintel", "actions", "aisoc_admin", "tenants", "llm"):
        for path in (ROOT / app).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            for word in re.findall(r"log\.(?:info|warning|error|exception)\(\s*\"([a-z_.]+)\"", source) + re.findall(
                r"^[A-Z_]+ = \"([a-z]+\.[a-z_]+)\"$", source, re.M
            ):
                assert f"`{word}`" in page, f"{word} in {path.relative_to(ROOT)}"
