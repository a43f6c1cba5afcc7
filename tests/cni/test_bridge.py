"""Pods' ports in memory: batches, refusals, waits, names. The database is a stand-in (a real one: test_verbs.py)."""

import asyncio
from dataclasses import replace

import pytest

from cni import attachment
from cni.attachment import Addresses
from cni.bridge import Bridge
from cni.protocol import INTERNAL, TRY_AGAIN_LATER, CniError, Pod
from cni.vswitch import Interface
from ovnk.errors import CommitError


def port(number, container=None):
    addresses = Addresses("0a:58:0a:f4:01:05", ("10.244.1.5/24",), ("10.244.1.1",))
    pod = Pod("shop", f"web-{number}", f"u{number}")
    return attachment.make(container or f"c{number}", "eth0", "/run/netns/x", pod, addresses, 1442, 0)


class Database:
    """Takes transactions as VSwitch does; refuses those with a port of `bad`."""

    api = None

    def __init__(self, *bad):
        self.bad = set(bad)
        self.transactions = []
        self.rows = {}

    def get(self, name):
        return self.rows.get(name)

    async def commit(self, command):
        changes = command._changes
        self.transactions.append([change.add.interface_id for change in changes if change.add])
        await asyncio.sleep(0)
        if any(change.add and change.add.interface_id in self.bad for change in changes):
            raise CommitError("constraint violation")


def run(scenario, *bad):
    async def main():
        database = Database(*bad)
        return await scenario(Bridge(database, "br-int"), database)

    return asyncio.run(main())


def there(one, error="", **external_ids):
    return Interface(one.host_interface, one.host_interface, one.external_ids() | external_ids, error)


def test_what_comes_while_a_transaction_is_under_way_is_the_next_one():
    async def scenario(bridge, database):
        await asyncio.gather(*(bridge.add(port(number)) for number in range(100)))
        return [len(transaction) for transaction in database.transactions]

    assert run(scenario) == [64, 36]


def test_one_bad_port_does_not_fail_the_others():
    async def scenario(bridge, _):
        return await asyncio.gather(*(bridge.add(port(number)) for number in range(5)), return_exceptions=True)

    outcomes = run(scenario, "shop/web-3")
    assert [isinstance(outcome, CommitError) for outcome in outcomes] == [False, False, False, True, False]


def test_a_bug_fails_those_it_meets_and_the_queue_goes_on():
    async def scenario(bridge, database):
        commit, database.commit = database.commit, None
        with pytest.raises(TypeError):
            await bridge.add(port(0))
        database.commit = commit
        return await bridge.add(port(1))

    assert run(scenario) == []


def test_cancelled_add_goes_only_after_its_outcome():
    async def scenario(bridge, database):
        adding = asyncio.create_task(bridge.add(port(0)))
        await asyncio.sleep(0)
        adding.cancel()
        await asyncio.wait([adding])
        return adding.cancelled(), database.transactions

    assert run(scenario) == (True, [["shop/web-0"]])


def test_ports_are_found_by_sandbox_and_forgotten_with_their_row():
    async def scenario(bridge, _):
        one = port(0)
        bridge.changed(one.host_interface, there(one))
        found = bridge.find("c0", "eth0")
        bridge.changed(one.host_interface, None)
        return found == one, bridge.find("c0", "eth0"), dict(bridge.attachments)

    assert run(scenario) == (True, None, {})


def test_name_that_a_stranger_has_is_not_taken(monkeypatch):
    """40 bits may meet; the port of another sandbox is nobody's to replace."""
    monkeypatch.setattr(attachment, "host_interface", lambda container, ifname, attempt=0: f"ovnkp{attempt}")

    async def scenario(bridge, _):
        stranger = replace(port(0), host_interface="ovnkp0")
        bridge.changed("ovnkp0", there(stranger))
        return bridge.free_name("c0", "eth0"), bridge.free_name("c1", "eth0")

    assert run(scenario) == (0, 1)


def test_ports_of_the_same_logical_port_are_replaced():
    async def scenario(bridge, _):
        old = port(0, container="old")
        bridge.changed(old.host_interface, there(old))
        return await bridge.add(port(0)), old.host_interface

    replaced, old = run(scenario)
    assert replaced == [old]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (there(port(0), **{"ovn-installed": "true"}), None),
        (there(port(0), error="could not open network device"), INTERNAL),
        (None, TRY_AGAIN_LATER),
    ],
)
def test_wait_for_flows_ends_with_what_the_row_says(row, code):
    async def scenario(bridge, database):
        one = port(0)
        database.rows[one.host_interface] = there(one)
        waiting = asyncio.create_task(bridge.installed(one.host_interface, 30))
        await asyncio.sleep(0)
        assert not waiting.done()
        bridge.changed(one.host_interface, row)
        await waiting

    if code is None:
        run(scenario)
    else:
        with pytest.raises(CniError) as caught:
            run(scenario)
        assert caught.value.code == code


def test_flows_that_are_there_are_not_waited_for():
    async def scenario(bridge, database):
        one = port(0)
        database.rows[one.host_interface] = there(one, **{"ovn-installed": "true"})
        await bridge.installed(one.host_interface, 0.001)

    run(scenario)


def test_a_port_that_somebody_takes_off_is_lost_until_it_is_back():
    async def scenario(bridge, _):
        first = port(1)
        bridge.changed(first.host_interface, there(first))
        bridge.changed(first.host_interface, None)
        lost = dict(bridge.lost)
        bridge.changed(first.host_interface, there(first))
        return lost, bridge.lost

    assert run(scenario) == ({port(1).host_interface: port(1)}, {})


@pytest.mark.parametrize("replaced", [False, True])
def test_a_port_that_we_take_off_or_replace_is_not_lost(replaced):
    async def scenario(bridge, _):
        old, new = port(1), port(1, container="another")
        bridge.changed(old.host_interface, there(old))
        leaving = asyncio.create_task(bridge.add(new) if replaced else bridge.remove([old.host_interface]))
        await asyncio.sleep(0)
        bridge.changed(old.host_interface, None)
        await leaving
        return bridge.lost

    assert run(scenario) == {}


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lost_port_that_is_deleted_or_replaced_is_no_longer_lost(replaced):
    async def scenario(bridge, _):
        old, new = port(1), port(1, container="another")
        bridge.changed(old.host_interface, there(old))
        bridge.changed(old.host_interface, None)
        await (bridge.add(new) if replaced else bridge.remove([old.host_interface]))
        return bridge.lost

    assert run(scenario) == {}


def test_a_port_that_was_to_be_put_back_and_was_refused_stays_lost():
    async def scenario(bridge, database):
        old = port(1)
        bridge.changed(old.host_interface, there(old))
        bridge.changed(old.host_interface, None)
        database.bad.add(old.interface_id)
        with pytest.raises(CommitError):
            await bridge.add(old)
        return list(bridge.lost)

    assert run(scenario) == [port(1).host_interface]
