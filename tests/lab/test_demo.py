"""`make demo` shows what its readers are promised: who reaches whom, a Service from everywhere, a policy by name."""

import secrets

import pytest

from tests.labs import ovnk

pytestmark = pytest.mark.system


def test_demo_shows_pods_a_service_and_a_policy() -> None:
    """Its exit code says that all of it was as it should be."""
    shown = ovnk("demo", f"--name=demo-{secrets.token_hex(4)}", "--nodes=2", timeout=90).stdout
    lines = shown.splitlines()
    assert "48 of 48 answered, each pod seeing the asker's own address: no NAT" in lines
    fronts = [line.split()[0] for line in lines if " 3 pods " in line]
    assert fronts == ["data/db-0", "node/n1", "outside", "outside"]
    assert any("allow-related by NP:data/shop-only:ingress:0" in line for line in lines)
    assert any("timed out" in line and "drop by NP:data/shop-only:ingress:isolated" in line for line in lines)
