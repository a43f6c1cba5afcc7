"""One node a module: its Open vSwitch takes longest to start, and tests use sandboxes of their own; or a fresh one."""

import pytest

from tests.cni import world


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A node with an agent that has allocations for 32 pods, and a stand-in for ovn-controller."""
    made = world.World(tmp_path_factory.mktemp("node"))
    try:
        made.flows()
        made.start_agent(world.spec(*(world.allocation(number) for number in range(32))))
        yield made
    finally:
        made.close()


@pytest.fixture
def fresh(tmp_path):
    """A node without an agent."""
    made = world.World(tmp_path)
    try:
        yield made
    finally:
        made.close()
