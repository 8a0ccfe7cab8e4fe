"""Rewrites the golden files from the present answers: `python -m tests.contract.make_golden`, then read the diff."""

import os

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aisoc_admin.settings")
    django.setup()
    from airgap.snapshot import airgap_snapshot
    from aisoc_admin import env
    from aisoc_admin.health import encode
    from llm.config import from_environment
    from llm.snapshot import llm_snapshot
    from tests.contract.test_status import AIRGAP, GOLDEN, LLM

    for name, variables in AIRGAP.items():
        (GOLDEN / f"{name}.json").write_bytes(encode(airgap_snapshot(env.read(variables).policy).as_dict()) + b"\n")
    for name, variables in LLM.items():
        values = env.read(variables)
        (GOLDEN / f"llm_{name}.json").write_bytes(encode(llm_snapshot(from_environment(values.llm_families), values.policy).as_dict()) + b"\n")


if __name__ == "__main__":
    main()
