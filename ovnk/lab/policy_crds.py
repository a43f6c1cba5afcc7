"""The lab's CustomResourceDefinitions of cluster-wide policies, so that they can be tried; a cluster brings its own.

The shapes of policy.networking.k8s.io v1alpha1 and v1alpha2 as their documentation has them. The rules that the API's
own definitions say in CEL are left out: the controller checks those, too (decode_cluster_policies.py).
"""

from typing import Any, Final

from ovnk.kube.decode_cluster_policies import GROUP, PRIORITY_MAX
from ovnk.kube.decode_policies import PORT_MAX, PROTOCOLS

Schema = dict[str, Any]


def _object(required: tuple[str, ...] = (), properties: Schema | None = None, **more: Any) -> Schema:
    return {
        "type": "object",
        **({"required": list(required)} if required else {}),
        "properties": properties or {},
    } | more


def _one_of(**properties: Schema) -> Schema:
    """An object of which just one property is set."""
    return _object((), properties, minProperties=1, maxProperties=1)


def _list(items: Schema, most: int, least: int = 1) -> Schema:
    return {"type": "array", "items": items, "maxItems": most} | ({"minItems": least} if least else {})


_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "integer", "format": "int32", "minimum": 1, "maximum": PORT_MAX}
_PRIORITY: Final[Schema] = {"type": "integer", "format": "int32", "minimum": 0, "maximum": PRIORITY_MAX}
_PROTOCOL: Final[Schema] = {"type": "string", "enum": list(PROTOCOLS), "default": "TCP"}
_SELECTOR: Final[Schema] = _object(
    (),
    {
        "matchLabels": {"type": "object", "additionalProperties": _TEXT},
        "matchExpressions": {
            "type": "array",
            "items": _object(
                ("key", "operator"),
                {"key": _TEXT, "operator": _TEXT, "values": {"type": "array", "items": _TEXT}},
            ),
        },
    },
)
_PODS: Final[Schema] = _object(
    ("namespaceSelector", "podSelector"), {"namespaceSelector": _SELECTOR, "podSelector": _SELECTOR}
)
_SOURCE: Final[Schema] = _one_of(namespaces=_SELECTOR, pods=_PODS)
_NETWORKS: Final[Schema] = _list({"type": "string", "maxLength": 43}, 25) | {"x-kubernetes-list-type": "set"}
_NAMES: Final[Schema] = _list(_TEXT, 25) | {"x-kubernetes-list-type": "set"}
_TARGET: Final[Schema] = _one_of(
    namespaces=_SELECTOR, pods=_PODS, nodes=_SELECTOR, networks=_NETWORKS, domainNames=_NAMES
)
_RANGE: Final[Schema] = _object(("start", "end"), {"start": _NUMBER, "end": _NUMBER})
_DESTINATION: Final[Schema] = _object((), {"destinationPort": _one_of(number=_NUMBER, range=_RANGE)}, minProperties=1)
# v1alpha2 calls them protocols, v1alpha1 ports.
_PROTOCOLS: Final[Schema] = _one_of(tcp=_DESTINATION, udp=_DESTINATION, sctp=_DESTINATION, destinationNamedPort=_TEXT)
_PORTS: Final[Schema] = _one_of(
    portNumber=_object(("port", "protocol"), {"port": _NUMBER, "protocol": _PROTOCOL}),
    portRange=_object(("start", "end"), {"start": _NUMBER, "end": _NUMBER, "protocol": _PROTOCOL}),
    namedPort=_TEXT,
)
_STATUS: Final[Schema] = _object(
    ("conditions",),
    {
        "conditions": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": _object(
                ("lastTransitionTime", "message", "reason", "status", "type"),
                dict.fromkeys(("type", "status", "reason", "message"), _TEXT)
                | {"lastTransitionTime": {"type": "string", "format": "date-time"}}
                | {"observedGeneration": {"type": "integer", "format": "int64", "minimum": 0}},
            ),
        }
    },
)


def _rules(actions: tuple[str, ...], side: str, ports: tuple[str, Schema], most: int) -> Schema:
    properties = {
        "name": {"type": "string", "maxLength": 100},
        "action": {"type": "string", "enum": list(actions)},
        side: _list(_SOURCE if side == "from" else _TARGET, most),
        ports[0]: _list(ports[1], most),
    }
    return _list(_object(("action", side), properties), most, least=0)


def _definition(
    kind: str, plural: str, short: str, version: str, actions: tuple[str, ...], places: dict[str, Schema]
) -> Schema:
    """`places` are the fields of the spec that say where the policy stands, all required."""
    newer = version == "v1alpha2"
    ports, most = (("protocols", _PROTOCOLS), 25) if newer else (("ports", _PORTS), 100)
    spec = _object(
        ("subject", *places),
        {
            **places,
            "subject": _SOURCE,
            "ingress": _rules(actions, "from", ports, most),
            "egress": _rules(actions, "to", ports, most),
        },
    )
    columns = [{"name": name.capitalize(), "type": "string", "jsonPath": f".spec.{name}"} for name in places]
    columns.append({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            # kube-apiserver demands it of groups under k8s.io.
            "annotations": {"api-approved.kubernetes.io": "unapproved, the shape of an API that the lab serves"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": _object(
                            ("metadata", "spec"),
                            {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}, "spec": spec}
                            | {"status": _STATUS},
                        )
                    },
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }


DEFINITIONS: Final = (
    _definition(
        "ClusterNetworkPolicy",
        "clusternetworkpolicies",
        "cnp",
        "v1alpha2",
        ("Accept", "Deny", "Pass"),
        {"tier": {"type": "string", "enum": ["Admin", "Baseline"]}, "priority": _PRIORITY},
    ),
    _definition(
        "AdminNetworkPolicy",
        "adminnetworkpolicies",
        "anp",
        "v1alpha1",
        ("Allow", "Deny", "Pass"),
        {"priority": _PRIORITY},
    ),
    _definition(
        "BaselineAdminNetworkPolicy",
        "baselineadminnetworkpolicies",
        "banp",
        "v1alpha1",
        ("Allow", "Deny"),
        {},
    ),
)
