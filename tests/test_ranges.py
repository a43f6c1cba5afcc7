"""No two nodes' ranges overlap, whoever proposed them."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from ovnk.ranges import Ranges


def test_nodes_get_one_range_after_the_other():
    ranges = Ranges("10.244.0.0/16", 24)
    assert [ranges.take(name) for name in "abc"] == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]


def test_a_range_given_back_is_found_again_when_the_others_are_used_up():
    ranges = Ranges("10.244.0.0/23", 24)
    first = ranges.take("a")
    ranges.take("b")
    assert ranges.take("c") is None
    ranges.release(first, "a")
    assert ranges.take("c") == first


def test_overlaps_and_strangers_are_refused_with_the_reason():
    ranges = Ranges("10.244.0.0/16", 24)
    assert ranges.claim("10.244.4.0/22", "a") is None
    assert ranges.claim("10.244.5.0/24", "b") == 'overlaps "10.244.4.0/22" of node "a"'
    assert ranges.claim("10.244.0.0/16", "b") == 'overlaps "10.244.4.0/22" of node "a"'
    assert ranges.claim("10.245.0.0/24", "b") == 'is not within the cluster\'s network "10.244.0.0/16"'
    assert ranges.claim("fd00::/64", "b") == 'is not within the cluster\'s network "10.244.0.0/16"'
    assert ranges.claim("10.244.9.0/31", "b") == "is too small for a router, a management port and a pod"
    assert ranges.claim("10.244.4.0/22", "a") is None


def test_the_range_around_an_address_is_the_one_that_would_be_cut():
    ranges = Ranges("10.244.0.0/16", 24)
    assert ranges.around("10.244.7.9") == "10.244.7.0/24"
    assert ranges.around("10.1.7.9") is None
    assert ranges.around("fd00::9") is None


claims = st.tuples(st.sampled_from("abcd"), st.integers(0, 15), st.sampled_from([26, 27, 28]), st.booleans())


@given(st.lists(st.tuples(st.sampled_from(["take", "claim", "release"]), claims), max_size=40))
def test_any_walk_leaves_ranges_apart(walk):
    ranges, held = Ranges("10.0.0.0/24", 27), {}
    for move, (name, block, prefix, _) in walk:
        if move == "release" and name in held:
            ranges.release(held.pop(name), name)
        elif name not in held:
            wanted = str(ip_network(f"10.0.0.{block * 16}/{prefix}", strict=False))
            cidr = ranges.take(name) if move == "take" else wanted if ranges.claim(wanted, name) is None else None
            if cidr:
                held[name] = cidr
        parsed = [ip_network(cidr) for cidr in held.values()]
        assert not any(a.overlaps(b) for i, a in enumerate(parsed) for b in parsed[i + 1 :])
