"""What a test needs and a machine may lack: the test is skipped by name, or fails where AISOC_TEST_REQUIRE names it (peers, browser, netns, registry)."""

import os
from typing import NoReturn

import pytest


def is_required(what: str) -> bool:
    return what in os.environ.get("AISOC_TEST_REQUIRE", "").split(",")


def lacking(what: str, why: str) -> NoReturn:
    """Ends the test. why: the sentence that says what is not there."""
    if is_required(what):
        pytest.fail(f"AISOC_TEST_REQUIRE names {what}, but: {why}")
    pytest.skip(why)
