"""The lab that tests share which leave it as it was; those that break things have their own."""

import secrets
from collections.abc import Iterator

import pytest

from tests.labs import Lab, running_lab
from tests.system import workloads


@pytest.fixture(scope="session")
def dual_stack() -> Iterator[Lab]:
    """Three nodes, both families, Geneve."""
    with running_lab(3, ["--ip-family=dual"]) as lab:
        yield lab


@pytest.fixture
def space(dual_stack: Lab) -> Iterator[str]:
    """A namespace of the test's own in the shared lab; all that is in it goes at the end."""
    name = f"t-{secrets.token_hex(3)}"
    dual_stack.apply(workloads.namespace(name))
    yield name
    dual_stack.delete("namespace", name)


@pytest.fixture(scope="session")
def zoned() -> Iterator[Lab]:
    """Three nodes in two zones (n1 in "a", the others in "b"), both families, for Services; OVS may be restarted."""
    with running_lab(3, ["--ip-family=dual"]) as lab:
        for node in lab.nodes:
            zone = "a" if node == lab.nodes[0] else "b"
            lab.kubectl("label", "node", node, f"topology.kubernetes.io/zone={zone}")
        yield lab
