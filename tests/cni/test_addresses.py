"""A pod's wait for its allocation, and what is said when it does not come."""

import asyncio

import pytest

from cni.addresses import Allocations
from cni.protocol import TRY_AGAIN_LATER, CniError, Pod
from ovnk.contract import PodAllocation
from tests.cni import world

POD = Pod("shop", "web-0", "uid-0")


def run(scenario):
    async def main():
        return await scenario(Allocations("node-1"))

    return asyncio.run(main())


def test_known_allocation_is_given_at_once_with_its_subnets_prefix_and_gateway():
    async def scenario(allocations):
        allocations.update(world.spec(world.allocation(0)))
        return await allocations.wait(POD, 0)

    found = run(scenario)
    assert found.addresses == ("10.244.1.3/24", "fd00:10:244:1::3/64")
    assert found.gateways == ("10.244.1.1", "fd00:10:244:1::1")


def test_wait_ends_with_the_write_that_brings_the_allocation():
    async def scenario(allocations):
        waiting = [asyncio.create_task(allocations.wait(POD, 30)) for _ in range(3)]
        await asyncio.sleep(0)
        allocations.update(None)
        allocations.update(world.spec(world.allocation(1)))
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        allocations.update(world.spec(world.allocation(0), world.allocation(1)))
        return await asyncio.gather(*waiting)

    assert {found.addresses[0] for found in run(scenario)} == {"10.244.1.3/24"}


def test_namesake_with_another_uid_is_another_pod():
    async def scenario(allocations):
        allocations.update(world.spec(world.allocation(0, uid="uid-old")))
        await allocations.wait(POD, 0.01)

    with pytest.raises(CniError, match="uid-old") as caught:
        run(scenario)
    assert caught.value.code == TRY_AGAIN_LATER


def test_allocation_of_an_unknown_subnet_is_waited_for_and_explained():
    broken = PodAllocation("shop", "web-0", "uid-0", ("10.9.0.3",), "0a:58:00:00:00:01", "blue")

    async def scenario(allocations):
        allocations.update(world.spec(broken))
        await allocations.wait(POD, 0.01)

    with pytest.raises(CniError, match='no range of subnet "blue" holds'):
        run(scenario)


def test_cancelled_wait_is_forgotten():
    async def scenario(allocations):
        waiting = asyncio.create_task(allocations.wait(POD, 30))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return allocations._waiting

    assert run(scenario) == {}


def test_uids_are_unknown_without_a_node_network():
    """Unknown is not empty: with an empty list every port would be an orphan's."""

    async def scenario(allocations):
        before = allocations.uids
        allocations.update(world.spec(world.allocation(0)))
        known = allocations.uids
        allocations.update(None)
        return before, known, allocations.uids

    assert run(scenario) == (None, frozenset({"uid-0"}), None)
