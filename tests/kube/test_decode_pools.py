"""AddressPools as the API has them: ranges of any spelling in, or what is wrong with which field."""

import ipaddress
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnk.errors import InvalidObject
from ovnk.kube.decode_pools import address_pool
from ovnk.kube.pool_objects import AddressPool


def pool(*addresses: Any, **spec: Any) -> AddressPool:
    metadata = {"name": "public", "uid": "u-1"}
    return address_pool(json.dumps({"metadata": metadata, "spec": {"addresses": addresses, **spec}}).encode())


def number(text: str) -> int:
    return int(ipaddress.ip_address(text))


def test_every_address_of_every_spelling_is_in() -> None:
    found = pool("192.0.2.8/31", "192.0.2.10-192.0.2.12", "2001:db8::/127", "192.0.2.1", "192.0.2.11")
    assert found.ranges == (
        (4, number("192.0.2.1"), number("192.0.2.1")),
        (4, number("192.0.2.8"), number("192.0.2.12")),
        (6, number("2001:db8::"), number("2001:db8::1")),
    )
    assert (found.auto_assign, found.services, found.namespaces) == (True, (), ())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"addresses": ["192.0.2.0/33"]}, 'spec.addresses[0] "192.0.2.0/33" is neither a CIDR'),
        ({"addresses": ["192.0.2.1/24"]}, 'spec.addresses[0] "192.0.2.1/24" is neither a CIDR'),
        ({"addresses": ["192.0.2.1", "web"]}, 'spec.addresses[1] "web" is neither a CIDR'),
        ({"addresses": ["192.0.2.9-192.0.2.1"]}, 'spec.addresses[0] "192.0.2.9-192.0.2.1" does not run'),
        ({"addresses": ["192.0.2.9-2001:db8::"]}, 'spec.addresses[0] "192.0.2.9-2001:db8::" does not run'),
        ({"addresses": []}, "spec.addresses cannot be used"),
        ({"serviceSelector": {"matchLabels": {"a b": ""}}}, 'spec.serviceSelector.matchLabels has the key "a b"'),
        (
            {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
            'spec.namespaceSelector.matchExpressions[0] has the operator "Like"',
        ),
    ],
)
def test_a_pool_that_cannot_be_used_says_where_and_why(spec: Any, says: str) -> None:
    with pytest.raises(InvalidObject) as raised:
        pool(**{"addresses": ["192.0.2.1"], **spec}) if "addresses" not in spec else pool(*spec["addresses"])
    assert f"AddressPool public: {says}" in str(raised.value)


scalars = st.none() | st.booleans() | st.integers() | st.sampled_from(["", "192.0.2.1", "192.0.2.1-", "fe80::1%a", "/"])
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(["matchLabels", "key"]), scalars)


@given(st.dictionaries(st.sampled_from(["addresses", "autoAssign", "serviceSelector"]), anything))
def test_anything_gives_a_value_or_invalid_object(spec: dict[str, Any]) -> None:
    try:
        hash(address_pool(json.dumps({"metadata": {"name": "public"}, "spec": spec}).encode()))
    except InvalidObject as error:
        said = (error.field, error.why)
        assert all(said)
