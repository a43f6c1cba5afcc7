"""A pool never gives one address twice, and what was given back last is given again last."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from ovnk.pool import Pool


def test_the_first_three_and_the_broadcast_address_are_not_for_pods():
    pool = Pool("10.0.0.0/29")
    assert [pool.take(name) for name in "abcde"] == ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", None]
    assert pool.size == 4


def test_ipv6_has_no_broadcast_address():
    pool = Pool("fd00::/125")
    assert [pool.take(name) for name in "abcdef"] == [f"fd00::{n}" for n in range(3, 8)] + [None]


def test_an_address_given_back_is_the_last_to_be_given_again():
    pool = Pool("10.0.0.0/29")
    first = pool.take("a")
    pool.release(first, "a")
    assert [pool.take(name) for name in "bcde"] == ["10.0.0.4", "10.0.0.5", "10.0.0.6", first]


def test_only_its_holder_gives_an_address_back():
    pool = Pool("10.0.0.0/29")
    address = pool.take("a")
    pool.release(address, "b")
    assert pool.holder(address) == "a"
    assert not pool.claim(address, "b")
    assert pool.claim(address, "a")


def test_addresses_outside_or_reserved_cannot_be_claimed():
    pool = Pool("10.0.0.0/29")
    for address in ("10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.7", "10.0.0.8", "9.255.255.255", "fd00::5"):
        assert not pool.claim(address, "a")


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=60))
def test_no_two_holders_have_one_address(moves):
    pool, held = Pool("10.0.0.0/29"), {}
    for holder, wants in moves:
        if wants and holder not in held:
            address = pool.take(holder)
            assert (address is None) == (len(held) == pool.size)
            if address:
                assert address not in held.values()
                assert ip_address(address) in ip_network(pool.cidr)
                held[holder] = address
        elif not wants and holder in held:
            pool.release(held.pop(holder), holder)
        assert len(pool) == len(held)
