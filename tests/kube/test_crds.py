"""The CRDs on disk are those of the code, and keep the rules that a real kube-apiserver makes for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from ovnk import contract
from ovnk.kube import crds

DEPLOY = Path(__file__).parents[2] / "deploy"

# apiextensions.k8s.io/v1 JSONSchemaProps, less what structural schemas forbid.
KEYWORDS = {"type", "description", "properties", "required", "items", "additionalProperties", "nullable", "default"} | {
    *("pattern", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
}


def parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for part in schema.get("properties", {}).values():
        yield from parts(part)
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from parts(schema[keyword])


@pytest.mark.parametrize("definition", crds.DEFINITIONS, ids=lambda definition: definition.kind)
def test_file_is_current(definition: crds.Definition) -> None:
    assert crds.file(definition).read_text() == crds.text(definition), "run: python -m ovnk.kube.crds"


@pytest.mark.parametrize("definition", crds.DEFINITIONS, ids=lambda definition: definition.kind)
def test_schema_is_structural(definition: crds.Definition) -> None:
    manifest = crds.manifest(definition)
    (version,) = manifest["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]
    assert root["properties"]["metadata"] == {"type": "object"}, "nothing may be said of metadata here"
    for part in parts(root):
        assert set(part) <= KEYWORDS
        assert part["type"] in {"object", "array", "string", "integer", "number", "boolean"}
        assert (part["type"] == "array") == ("items" in part)
        assert set(part.get("required", ())) <= set(part.get("properties", ()))
        assert not ("properties" in part and "additionalProperties" in part)
    assert manifest["metadata"]["name"] == f"{manifest['spec']['names']['plural']}.{manifest['spec']['group']}"
    assert all(column["jsonPath"].startswith(".") for column in version["additionalPrinterColumns"])


def test_limits_nullables_and_scalar_defaults_are_kept_and_others_left_out() -> None:
    spec = crds.structural(contract.NodeNetworkSpec)
    pod = spec["properties"]["pods"]["items"]
    assert pod["properties"]["ips"] == {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}
    assert pod["properties"]["subnet"]["default"] == contract.DEFAULT_SUBNET
    assert pod["properties"]["mac"]["pattern"].startswith("^")
    assert pod["required"] == ["namespace", "name", "uid", "ips", "mac"]
    assert spec["properties"]["mtuBytes"] == {"type": "integer", "minimum": 576, "maximum": 65535, "nullable": True}
    assert "default" not in spec["properties"]["pods"]
    assert "`mtuBytes`" in spec["description"]


class Union(Struct):
    value: int | str


class Exclusive(Struct):
    value: Annotated[int, Meta(gt=3)]


class Anything(Struct):
    value: Any


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Union, "Union.value: one type or null"),
        (Exclusive, '"exclusiveMinimum"'),
        (Anything, "Anything.value: has no type"),
    ],
)
def test_type_that_no_structural_schema_can_say_is_an_error_here(kind: type, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        crds.structural(kind)
