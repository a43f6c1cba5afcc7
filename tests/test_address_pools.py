"""External addresses of pools: whose they are, for how long, and what is said where none can be given."""

import itertools
from ipaddress import ip_address

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ovnk.allocation import Network
from ovnk.compiler import Compiler
from ovnk.kube.objects import Put, Remove
from ovnk.kube.pool_objects import AddressPool
from ovnk.kube.service_objects import PoolAnswer, Service
from tests.builders import cluster, namespace, node, pool, service


class World:
    """Services and pools before a compiler that leads; what it wants in a status is written at once, as a rule."""

    def __init__(self):
        self.services, self.pools, self.told = {}, {}, []
        self.writing = True
        self.lead()

    def lead(self):
        """A controller that has just begun, before the same cluster."""
        self.compiler = Compiler(cluster(), (Network("10.244.0.0/16", 24),))
        for value in [*self.services.values(), *self.pools.values()]:
            self.compiler.apply(Put(value))
        self.writes = []
        self.told += self.compiler.lead([])
        self.settle()

    def settle(self):
        while True:
            self.told += self.compiler.settle()[1]
            answers = self.compiler.take_answers()
            self.use = {**getattr(self, "use", {}), **{use.pool: use.counts for use in answers.pools}}
            self.writes += answers.statuses
            if not self.writing or not answers.statuses:
                return
            for status in answers.statuses:
                self.put(status.key, load_balancer_ips=status.addresses, pool_answer=status.answer)

    def put(self, key, **changes):
        self.services[key] = msgspec.structs.replace(self.services[key], **changes)
        self.compiler.apply(Put(self.services[key]))

    def add(self, *values):
        for value in values:
            kinds = {Service: self.services, AddressPool: self.pools}
            kinds.get(type(value), {})[value.key] = value
            self.compiler.apply(Put(value))
        self.settle()

    def change(self, key, **changes):
        self.put(key, **changes)
        self.settle()

    def remove(self, kind, key):
        {Service: self.services, AddressPool: self.pools}[kind].pop(key)
        self.compiler.apply(Remove(kind, key))
        self.settle()

    def ips(self, key="shop/web"):
        return self.services[key].load_balancer_ips

    def reason(self, key="shop/web"):
        answer = self.services[key].pool_answer
        return answer and answer.reason

    def events(self):
        """Reasons of what was told of Services since it was last asked."""
        told, self.told = self.told, []
        return [(one.key, one.reason) for one in told if one.kind == "Service"]


AGES = itertools.count()


def balanced(name="web", *ips, **given):
    given = {"families": (4,), "created": f"{next(AGES):09}"} | given
    return service(name, *ips, type="LoadBalancer", **given)


@pytest.fixture
def world():
    return World()


def test_without_a_pool_nothing_is_written(world):
    world.add(balanced(), balanced("given", load_balancer_ips=("198.51.100.7",)))
    assert not world.writes
    assert not world.events()


def test_a_service_gets_an_address_of_each_of_its_families(world):
    world.add(pool("public", "192.0.2.0/30", "2001:db8::10-2001:db8::11"), balanced(families=(6, 4)))
    assert world.ips() == ("2001:db8::10", "192.0.2.0")
    assert world.services["shop/web"].pool_answer.message == (
        '"2001:db8::10" of AddressPool "public", "192.0.2.0" of AddressPool "public"'
    )
    assert world.use == {"public": ((4, 1, 4), (6, 1, 2))}
    assert not world.events(), "no news is good news"


@pytest.mark.parametrize(
    "given", [{"type": "NodePort"}, {"load_balancer_class": "example.org/other"}, {"cluster_ips": ()}]
)
def test_other_services_get_none(world, given):
    world.add(pool("public", "192.0.2.0/30"), msgspec.structs.replace(balanced(), **given))
    assert not world.writes


def test_the_class_of_pools_is_served(world):
    world.add(pool("public", "192.0.2.0/30"), balanced(load_balancer_class="ovnk.io/pool"))
    assert world.ips() == ("192.0.2.0",)


@pytest.mark.parametrize("change", [{"type": "ClusterIP"}, {"type": "ExternalName", "cluster_ips": ()}])
def test_who_is_no_load_balancer_any_more_gives_its_address_back(world, change):
    world.add(pool("public", "192.0.2.1"), balanced(), balanced("next"))
    assert world.reason("shop/next") == "PoolExhausted"
    world.change("shop/web", **change)
    assert (world.ips(), world.reason()) == ((), None)
    assert world.ips("shop/next") == ("192.0.2.1",)


def test_addresses_of_somebody_else_stay(world):
    elsewhere = balanced("far", load_balancer_ips=("198.51.100.7",))
    by_name = balanced("name", balanced_elsewhere=True)
    world.add(pool("public", "192.0.2.0/30"), elsewhere, by_name)
    assert not world.writes


def test_an_address_of_ours_stays_ours_whatever_others_write_beside_it(world):
    world.add(pool("public", "192.0.2.1"), balanced(), balanced("next"))
    world.change("shop/web", balanced_elsewhere=True)
    assert (world.ips(), world.ips("shop/next")) == (("192.0.2.1",), ())


def test_an_address_that_others_have_is_not_given(world):
    world.add(
        pool("public", "192.0.2.0-192.0.2.3"),
        node("n1", addresses=("192.0.2.0",)),
        service("outward", external_ips=("192.0.2.1",)),
        balanced("far", load_balancer_ips=("192.0.2.2",), load_balancer_class="example.org/other"),
        balanced(),
    )
    assert world.ips() == ("192.0.2.3",)
    world.add(balanced("next"))
    assert world.ips("shop/next") == ()
    world.add(node("n1", addresses=("192.0.2.99",)))
    assert world.ips("shop/next") == ("192.0.2.0",)
    assert world.events() == [("shop/next", "PoolExhausted"), ("shop/next", "Assigned")]


def test_the_clusters_own_networks_are_not_given(world):
    world.add(pool("odd", "10.96.255.255-10.97.0.0", "10.244.0.0/16"), balanced())
    assert world.ips() == ("10.97.0.0",)
    assert [(one.key, one.reason) for one in world.told] == [("odd", "PoolOverlapsCluster")] * 2


def test_who_waits_gets_what_is_freed_the_oldest_first(world):
    world.add(pool("public", "192.0.2.1"), balanced("a"), balanced("b"), balanced("c"))
    assert [world.ips(f"shop/{name}") for name in "abc"] == [("192.0.2.1",), (), ()]
    assert world.events() == [("shop/b", "PoolExhausted"), ("shop/c", "PoolExhausted")]
    world.remove(Service, "shop/a")
    assert [world.ips(f"shop/{name}") for name in "bc"] == [("192.0.2.1",), ()]
    assert world.events() == [("shop/b", "Assigned")]
    world.add(pool("public", "192.0.2.1-192.0.2.2"))
    assert world.ips("shop/c") == ("192.0.2.2",)


def test_an_address_that_was_given_back_is_the_last_to_be_given_again(world):
    world.add(pool("public", "192.0.2.0/30"))
    for number in range(4):
        world.add(balanced(f"s{number}"))
        assert world.ips(f"shop/s{number}") == (f"192.0.2.{number}",)
        world.remove(Service, f"shop/s{number}")
    world.add(balanced())
    assert world.ips() == ("192.0.2.0",)


def test_a_running_service_keeps_its_address_whatever_becomes_of_the_pool(world):
    world.add(pool("public", "192.0.2.0/30"), balanced())
    world.add(pool("public", "192.0.2.2/31"))
    assert (world.ips(), world.reason()) == (("192.0.2.0",), "OutsidePools")
    world.add(pool("public", "192.0.2.0/30"))
    assert (world.ips(), world.reason()) == (("192.0.2.0",), "Assigned")
    world.remove(AddressPool, "public")
    world.lead()
    assert (world.ips(), world.reason()) == (("192.0.2.0",), "OutsidePools")
    assert world.events() == [("shop/web", reason) for reason in ("OutsidePools", "Assigned", "OutsidePools")]


def test_an_address_is_given_once_though_pools_overlap(world):
    world.add(pool("a", "192.0.2.0/31"), pool("b", "192.0.2.0/31"), balanced("x"), balanced("y"), balanced("z"))
    assert [world.ips(f"shop/{name}") for name in "xyz"] == [("192.0.2.0",), ("192.0.2.1",), ()]
    assert world.use == {"a": ((4, 2, 2),), "b": ((4, 2, 2),)}
    assert {(one.kind, one.key) for one in world.told if one.reason == "PoolsOverlap"} == {
        ("AddressPool", "a"),
        ("AddressPool", "b"),
    }


def test_an_address_may_be_asked_for(world):
    world.add(pool("kept", "192.0.2.8/29", autoAssign=False), balanced("auto"))
    assert world.reason("shop/auto") == "NoPool"
    world.add(balanced(requested_ips=("192.0.2.9",)), balanced("late", requested_ips=("192.0.2.9",)))
    assert world.ips() == ("192.0.2.9",)
    assert world.reason("shop/late") == "RequestTaken"
    world.change("shop/web", requested_ips=("192.0.2.10",))
    assert (world.ips(), world.ips("shop/late")) == (("192.0.2.10",), ("192.0.2.9",))


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ("198.51.100.1", "RequestOutsidePools"),
        ("192.0.2.1", "RequestTaken"),
        ("2001:db8::1", "RequestInvalid"),
        ("the second", "RequestInvalid"),
    ],
)
def test_who_asks_for_what_cannot_be_had_keeps_what_it_has(world, wish, reason):
    world.add(pool("public", "192.0.2.0/30"), balanced(), balanced("other"))
    world.change("shop/web", requested_ips=(wish,))
    assert (world.ips(), world.reason()) == (("192.0.2.0",), reason)
    world.change("shop/web", requested_ips=())
    assert (world.ips(), world.reason()) == (("192.0.2.0",), "Assigned")


def test_a_pool_serves_whom_its_selectors_select(world):
    world.add(
        pool("team", "192.0.2.0/30", namespaceSelector={"matchLabels": {"team": "a"}}),
        pool("web", "198.51.100.0/30", serviceSelector={"matchExpressions": [{"key": "web", "operator": "Exists"}]}),
        namespace("shop", team="b"),
        balanced("plain"),
        balanced("labelled", labels=(("web", ""),)),
    )
    assert world.ips("shop/plain") == ()
    assert world.ips("shop/labelled") == ("198.51.100.0",)
    world.add(namespace("shop", team="a"))
    assert world.ips("shop/plain") == ("192.0.2.0",)


def test_a_dual_stack_service_is_content_with_the_family_that_there_is(world):
    world.add(pool("public", "192.0.2.0/30"), balanced(families=(4, 6)))
    assert (world.ips(), world.reason()) == (("192.0.2.0",), "Assigned")


def test_what_is_taken_out_of_a_status_by_hand_is_put_back(world):
    world.add(pool("public", "192.0.2.0/30"), balanced())
    world.change("shop/web", load_balancer_ips=())
    assert world.ips() == ("192.0.2.0",)


def test_of_two_services_with_one_address_the_older_keeps_it(world):
    has = {"load_balancer_ips": ("192.0.2.0",), "pool_answer": PoolAnswer(True, "Assigned", "as it was")}
    world.add(pool("public", "192.0.2.0/30"), balanced("old", **has), balanced("new", **has))
    world.lead()
    assert (world.ips("shop/old"), world.ips("shop/new")) == (("192.0.2.0",), ("192.0.2.1",))


NAMES = st.sampled_from("abcdef")
ADDRESSES = st.sampled_from([f"192.0.2.{n}" for n in range(6)] + [f"2001:db8::{n}" for n in range(3)])
RANGES = st.lists(ADDRESSES | st.sampled_from(["192.0.2.0/30", "2001:db8::/127"]), min_size=1, max_size=3)


class Pools(RuleBasedStateMachine):
    """Services and pools come, change and go; statuses are written at once or late; controllers begin anew."""

    def __init__(self):
        super().__init__()
        self.world = World()

    @rule(name=NAMES, families=st.sampled_from([(4,), (6,), (4, 6)]), wishes=st.lists(ADDRESSES, max_size=2))
    def a_service(self, name, families, wishes):
        old = self.world.services.get(f"shop/{name}")
        kept = {"load_balancer_ips": old.load_balancer_ips, "pool_answer": old.pool_answer} if old else {}
        self.world.add(balanced(name, created=name, families=families, requested_ips=tuple(wishes), **kept))

    @rule(name=NAMES)
    def no_balancer(self, name):
        if f"shop/{name}" in self.world.services:
            self.world.change(f"shop/{name}", type="ClusterIP")

    @rule(name=NAMES)
    def no_service(self, name):
        if f"shop/{name}" in self.world.services:
            self.world.remove(Service, f"shop/{name}")

    @rule(name=st.sampled_from(["p", "q"]), ranges=RANGES, auto=st.booleans())
    def a_pool(self, name, ranges, auto):
        self.world.add(pool(name, *ranges, autoAssign=auto))

    @rule(name=st.sampled_from(["p", "q"]))
    def no_pool(self, name):
        if name in self.world.pools:
            self.world.remove(AddressPool, name)

    @rule(writing=st.booleans())
    def the_api_server(self, writing):
        self.world.writing = writing
        if writing:
            for status in self.world.writes:
                if status.key in self.world.services:
                    self.world.put(status.key, load_balancer_ips=status.addresses, pool_answer=status.answer)
            self.world.settle()

    @rule()
    def another_controller(self):
        """Over a cluster in which all was written, it has nothing to write."""
        self.the_api_server(True)
        before = {key: (one.load_balancer_ips, one.pool_answer) for key, one in self.world.services.items()}
        self.world.lead()
        assert not self.world.writes
        assert {key: (one.load_balancer_ips, one.pool_answer) for key, one in self.world.services.items()} == before

    @invariant()
    def no_address_is_given_twice(self):
        given = [ip for one in self.world.services.values() for ip in one.load_balancer_ips]
        if self.world.writing:
            assert len(given) == len(set(given)), given

    @invariant()
    def nobody_waits_for_what_is_free(self):
        if not self.world.writing:
            return
        given = {ip for one in self.world.services.values() for ip in one.load_balancer_ips}
        for one in self.world.services.values():
            if one.type != "LoadBalancer":
                assert (one.load_balancer_ips, one.pool_answer) == ((), None)
            elif one.pool_answer is not None and one.pool_answer.reason == "PoolExhausted":
                have = {4 if "." in ip else 6 for ip in one.load_balancer_ips}
                for offered in self.world.pools.values():
                    for version, first, last in offered.ranges if offered.auto_assign else ():
                        if version in one.families and version not in have and not one.requested_ips:
                            assert last - first < 8
                            free = set(range(first, last + 1)) - {int(ip_address(ip)) for ip in given}
                            assert not free


TestPools = Pools.TestCase
TestPools.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
