"""Manifests: YAML files as people have them → the values that the compiler takes. No cluster, no server."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import yaml

from ovnk.errors import InvalidObject
from ovnk.kube import decode, decode_cluster_policies, decode_policies, decode_pools, decode_services
from ovnk.kube.decode_cluster_policies import GROUP
from ovnk.kube.objects import KubeObject

# apiVersion and kind → the decoder. What is not here has no part in the network and is passed over.
DECODERS: dict[tuple[str, str], Callable[[bytes], KubeObject]] = {
    ("v1", "Namespace"): decode.namespace,
    ("v1", "Node"): decode.node,
    ("v1", "Pod"): decode.pod,
    ("v1", "Service"): decode_services.service,
    ("discovery.k8s.io/v1", "EndpointSlice"): decode_services.endpoint_slice,
    ("networking.k8s.io/v1", "NetworkPolicy"): decode_policies.network_policy,
    (f"{GROUP}/v1alpha2", "ClusterNetworkPolicy"): decode_cluster_policies.cluster_network_policy,
    (f"{GROUP}/v1beta1", "ClusterNetworkPolicy"): decode_cluster_policies.cluster_network_policy,
    (f"{GROUP}/v1alpha1", "AdminNetworkPolicy"): decode_cluster_policies.admin_network_policy,
    (f"{GROUP}/v1alpha1", "BaselineAdminNetworkPolicy"): decode_cluster_policies.baseline_admin_network_policy,
    ("ovnk.io/v1", "NodeNetwork"): decode.node_network,
    ("ovnk.io/v1", "AddressPool"): decode_pools.address_pool,
}


def load(text: str, source: str = "-") -> tuple[list[KubeObject], list[InvalidObject]]:
    """The objects of all documents in the text (Lists opened up), and those that cannot be used.

    Namespaced objects without a namespace are of "default"; a pod without a UID has its key for one, so that equal
    manifests give equal text. Raises InvalidObject when the text is not YAML or not Kubernetes objects at all.
    """
    values: list[KubeObject] = []
    invalid: list[InvalidObject] = []
    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise InvalidObject("manifest", source, "text", f"is not YAML: {error}") from error
    for number, document in enumerate(_opened(documents), 1):
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            raise InvalidObject(
                "manifest", source, f"document {number}", 'is not a Kubernetes object: it has no "kind"'
            )
        decoder = DECODERS.get((str(document.get("apiVersion")), document["kind"]))
        if decoder is None:
            continue
        try:
            values.append(decoder(msgspec.json.encode(_defaulted(document))))
        except InvalidObject as error:
            invalid.append(error)
    return values, invalid


def _opened(documents: Iterable[Any]) -> Iterable[Any]:
    for document in documents:
        if isinstance(document, dict) and str(document.get("kind", "")).endswith("List"):
            yield from _opened(document.get("items") or [])
        elif document is not None:
            yield document


def _defaulted(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return document
    defaults: dict[str, Any] = {}
    if document["kind"] == "Pod":
        defaults["namespace"] = metadata.get("namespace", "default")
        defaults["uid"] = metadata.get("uid", f"{defaults['namespace']}/{metadata.get('name')}")
    return {**document, "metadata": {**metadata, **defaults}}
