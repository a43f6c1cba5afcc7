"""Bodies as typed Go clients send them, which leave out less than their JSON does."""

from ovnk.lab.apiserver import protobuf


def test_an_empty_selector_is_not_the_same_as_none() -> None:
    peer = field(1, b"")
    spec = field(1, b"") + field(2, field(2, peer))
    policy = field(1, field(1, b"web")) + field(2, spec)

    assert protobuf.decode(envelope("networking.k8s.io/v1", "NetworkPolicy", policy)) == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web"},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]},
    }


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    """A message as Kubernetes wraps it (runtime.Unknown)."""
    return b"k8s\x00" + field(1, field(1, api_version.encode()) + field(2, kind.encode())) + field(2, message)


def field(number: int, content: bytes) -> bytes:
    """A field of wire type 2, shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content
