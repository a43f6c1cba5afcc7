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
