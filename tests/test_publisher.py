"""NodeNetworks are written only where they differ from what is on record, and edits by others are undone."""

import pytest

from ovnk.contract import Management
from ovnk.incremental.desired import Delta
from ovnk.kube.objects import NodeNetwork
from ovnk.publisher import Publisher
from ovnk.translate.values import NodeEntry, PodEntry
from tests.builders import allocation, pod, subnets


def entry(node="node-1"):
    return NodeEntry(
        node=node,
        uid="uid",
        subnets=subnets(node).ranges,
        management=Management(("10.244.1.2/24",), "0a:58:0a:f4:01:02"),
        cluster_cidrs=("10.244.0.0/16",),
        service_cidrs=(),
        mtu_bytes=None,
    )


def added(*entries):
    return Delta(added=frozenset(entries))


def removed(*entries):
    return Delta(removed=frozenset(entries))


WEB, DB = PodEntry("node-1", allocation(pod("web-0"))), PodEntry("node-1", allocation(pod("db-0"), "10.244.1.4"))


class Desk:
    """A publisher and what it has handed out; `deliver` answers as the API server would."""

    def __init__(self):
        self.writes, self.version = [], 0
        self.publisher = Publisher(self.writes.append)

    def apply(self, delta):
        self.publisher.apply(delta)
        self.publisher.flush()

    def deliver(self):
        write = self.writes.pop()
        self.writes.clear()
        self.version += 1
        self.publisher.written(write, "" if write.spec is None else str(self.version))
        return write

    def record(self, version="x", pods=()):
        spec = self.publisher.spec("node-1")
        return NodeNetwork("node-1", type(spec)(subnets=spec.subnets, pods=tuple(pods)), resource_version=version)


def test_many_pods_of_a_node_are_one_write_with_pods_by_name():
    desk = Desk()
    desk.apply(added(entry(), WEB, DB))
    (write,) = desk.writes
    assert [one.name for one in write.spec.pods] == ["db-0", "web-0"]
    assert (write.node, write.resource_version, write.node_uid) == ("node-1", "", "uid")


def test_the_next_write_is_based_on_the_last():
    desk = Desk()
    desk.apply(added(entry(), WEB))
    desk.deliver()
    desk.apply(removed(WEB))
    assert desk.writes[0].resource_version == "1"
    assert desk.writes[0].spec.pods == ()


def test_a_start_over_an_unchanged_record_writes_nothing():
    desk = Desk()
    desk.apply(added(entry(), WEB))
    record = NodeNetwork("node-1", desk.deliver().spec, resource_version="7")
    fresh = Desk()
    fresh.publisher.begin([entry(), WEB], [record])
    assert fresh.publisher.flush() == 0
    fresh.publisher.begin([entry()], [record, NodeNetwork("gone", record.spec, resource_version="8")])
    fresh.publisher.flush()
    assert [(write.node, write.spec is None, write.resource_version) for write in fresh.writes] == [
        ("gone", True, "8"),
        ("node-1", False, "7"),
    ]


def test_a_node_that_goes_takes_its_node_network_along():
    desk = Desk()
    desk.apply(added(entry(), WEB))
    desk.deliver()
    desk.apply(removed(entry(), WEB))
    assert desk.deliver().spec is None
    assert desk.publisher.observe("node-1", None) is None
    assert desk.publisher.flush() == 0


def test_our_own_writes_seen_in_the_watch_are_no_news():
    desk = Desk()
    desk.apply(added(entry(), WEB))
    assert desk.publisher.observe("node-1", desk.record("early")) is None
    first = desk.deliver()
    desk.apply(added(DB))
    desk.deliver()
    assert desk.publisher.observe("node-1", NodeNetwork("node-1", first.spec, resource_version="1")) is None
    assert desk.publisher.flush() == 0


@pytest.mark.parametrize("gone", [True, False])
def test_an_edit_by_somebody_else_is_undone_and_told(gone):
    desk = Desk()
    desk.apply(added(entry(), WEB))
    wanted = desk.deliver().spec
    notice = desk.publisher.observe("node-1", None if gone else desk.record())
    assert notice.reason == "Restored"
    assert notice.message.startswith("was deleted" if gone else "was changed")
    desk.publisher.flush()
    assert desk.writes[0].spec == wanted
    assert desk.writes[0].resource_version == ("" if gone else "x")


def test_a_node_network_of_nobodys_node_is_taken_away():
    desk = Desk()
    desk.apply(added(entry(), WEB))
    stray = NodeNetwork("stray", desk.deliver().spec, resource_version="9")
    assert desk.publisher.observe("stray", stray).message.startswith("is of no node that has one")
    desk.publisher.flush()
    assert (desk.writes[0].node, desk.writes[0].spec) == ("stray", None)
