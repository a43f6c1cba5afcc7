"""AddressPool: external addresses for Services of type LoadBalancer, where no cloud gives them any.

AddressPoolSpec is what users write, and deploy/crds is generated from it; AddressPool is what the compiler sees.
"""

from typing import Annotated

from msgspec import Meta, Struct

from ovnk.kube.label_selectors import LabelSelector
from ovnk.kube.objects import Key
from ovnk.kube.policy_objects import Selector

KIND = "AddressPool"
PLURAL = "addresspools"

# The spec.loadBalancerClass of Services that want an address of a pool and of nobody else.
POOL_CLASS = "ovnk.io/pool"
# The condition on a Service that says what it has of a pool. Where it is, the addresses in the status are ours.
SERVICE_CONDITION = "ovnk.io/AddressAssigned"
# The condition on an AddressPool: whether addresses are free.
POOL_CONDITION = "Available"


class AddressPoolSpec(Struct, frozen=True, rename="camel"):
    """Addresses for Services of type LoadBalancer without a loadBalancerClass, or with the class ovnk.io/pool."""

    addresses: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...],
        Meta(min_length=1, description="CIDRs, ranges FIRST-LAST and single addresses, of any family."),
    ]
    auto_assign: Annotated[
        bool, Meta(description="Whether Services that do not ask for one of these addresses may get it.")
    ] = True
    service_selector: Annotated[
        LabelSelector | None, Meta(description="Which Services, by their labels; all where absent.")
    ] = None
    namespace_selector: Annotated[
        LabelSelector | None, Meta(description="Services of which namespaces, by their labels; all where absent.")
    ] = None


class PoolCondition(Struct, frozen=True, rename="camel"):
    """One condition (meta/v1 Condition)."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    observed_generation: int | None = None


class AddressPoolStatus(Struct, frozen=True):
    """What the controller says of the pool: the condition Available, with how many addresses are assigned."""

    conditions: tuple[PoolCondition, ...] = ()


# (IP version, first address, last address), the addresses as numbers.
AddressRange = tuple[int, int, int]


class AddressPool(Struct, frozen=True, gc=False):
    """An AddressPool. `ranges` are sorted, and none touches another; the empty selectors select everything."""

    name: str
    ranges: tuple[AddressRange, ...]
    uid: str = ""
    auto_assign: bool = True
    services: Selector = ()
    namespaces: Selector = ()

    @property
    def key(self) -> Key:
        """The pool's name."""
        return self.name


class PoolUse(Struct, frozen=True):
    """How many of a pool's addresses are assigned: (IP version, so many, of so many) for each family it has."""

    pool: Key
    counts: tuple[tuple[int, int, int], ...]
