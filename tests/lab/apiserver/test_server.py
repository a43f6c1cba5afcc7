"""The server over HTTP: shapes of answers, refusals as Status objects, and what no input may do to it."""

import base64
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from tests.lab.apiserver.running import TOKEN, Running, api_server

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with api_server("--bookmark-interval", "0.2") as running:
        yield running


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"app": name}}, "data": data}


def get(server: Running, path: str, accept: str) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept}
    answer = urllib3.request("GET", server.url + path, headers=headers)
    return json.loads(answer.data)


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reason"),
    [
        ("GET", "/nothing", None, 404, "NotFound"),
        ("GET", "/api/v2/pods", None, 404, "NotFound"),
        ("GET", "/apis/none.example.com/v1/things", None, 404, "NotFound"),
        ("GET", "/apis/none.example.com", None, 404, "NotFound"),
        ("GET", f"{PODS}/absent", None, 404, "NotFound"),
        ("GET", f"{PODS}/absent/log", None, 404, "NotFound"),
        ("GET", "/api/v1/pods/web", None, 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/nodes", None, 404, "NotFound"),
        ("GET", "/api/v1/pods?labelSelector=a in b", None, 400, "BadRequest"),
        ("GET", "/api/v1/pods?fieldSelector=spec.x=1", None, 400, "BadRequest"),
        ("GET", "/api/v1/pods?limit=-1", None, 400, "BadRequest"),
        ("GET", "/api/v1/pods?resourceVersion=x", None, 400, "BadRequest"),
        ("GET", "/api/v1/pods?watch=1&resourceVersion=x", None, 400, "BadRequest"),
        ("POST", "/api/v1/pods", {}, 405, "MethodNotAllowed"),
        ("PUT", PODS, {}, 405, "MethodNotAllowed"),
        ("PATCH", PODS, {}, 405, "MethodNotAllowed"),
        ("OPTIONS", PODS, None, 405, "MethodNotAllowed"),
        ("POST", f"{PODS}/web", {}, 405, "MethodNotAllowed"),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", None, 405, "MethodNotAllowed"),
        ("POST", PODS, b"", 400, "BadRequest"),
        ("POST", PODS, b"{", 400, "BadRequest"),
        ("POST", PODS, b"\xff\xfe", 400, "BadRequest"),
        ("POST", PODS, b"[]", 400, "BadRequest"),
        ("POST", PODS, b'"x"', 400, "BadRequest"),
        ("POST", PODS, b"null", 400, "BadRequest"),
        ("POST", PODS, {"metadata": []}, 400, "BadRequest"),
        ("POST", PODS, {"metadata": {"name": 5}}, 400, "BadRequest"),
        ("POST", PODS, {"metadata": {"name": "x"}, "spec": {"containers": {}}}, 400, "BadRequest"),
        ("POST", PODS, {"metadata": {"name": "x"}, "spec": {"priority": 2**40}}, 400, "BadRequest"),
        ("POST", PODS, {"metadata": {"name": "x"}}, 422, "Invalid"),
        ("POST", PODS, b"[" * 100_000, 400, "BadRequest"),
        ("POST", f"{MAPS}?dryRun=Some", config_map("x"), 400, "BadRequest"),
        ("POST", f"{MAPS}?fieldValidation=Loud", config_map("x"), 400, "BadRequest"),
        ("DELETE", f"{MAPS}/absent", None, 404, "NotFound"),
        ("DELETE", f"{MAPS}/absent", [], 400, "BadRequest"),
        ("DELETE", f"{MAPS}/absent?propagationPolicy=Upwards", None, 400, "BadRequest"),
        ("PUT", f"{MAPS}/absent", config_map("absent"), 404, "NotFound"),
        ("DELETE", f"{MAPS}/absent", {"preconditions": 5}, 400, "BadRequest"),
        ("DELETE", f"{MAPS}/absent", {"gracePeriodSeconds": "x"}, 400, "BadRequest"),
        ("DELETE", f"{MAPS}/absent?gracePeriodSeconds=x", None, 400, "BadRequest"),
        ("POST", f"{PODS}/absent/binding", {"target": 5}, 400, "BadRequest"),
        ("POST", f"{PODS}/absent/binding", [], 400, "BadRequest"),
        ("POST", f"{PODS}/absent/eviction", {"deleteOptions": []}, 400, "BadRequest"),
        ("GET", f"{PODS}/absent/binding", None, 404, "NotFound"),
        ("PUT", "/api/v1/namespaces/default/finalize", {"spec": 5}, 400, "BadRequest"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": []}, 400, "BadRequest"),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", 5, 400, "BadRequest"),
    ],
)
def test_a_request_that_cannot_be_served_gets_a_status_with_the_reason(
    server: Running, method: str, path: str, body: Any, code: int, reason: str
) -> None:
    answer = server.request(method, path.replace(" ", "%20"), body)
    assert (answer.code, answer.body["kind"], answer.body["status"]) == (code, "Status", "Failure"), answer
    assert (answer.body["code"], answer.body["reason"]) == (code, reason)
    assert answer.body["message"]


@pytest.mark.parametrize("media_type", ["application/cbor", "application/apply-patch+cbor", "image/png"])
def test_a_media_type_that_is_not_read_is_named(server: Running, media_type: str) -> None:
    assert server.request("POST", MAPS, b"x", media_type).code == 415
    assert server.request("PATCH", f"{MAPS}/x", b"x", media_type).body["reason"] == "UnsupportedMediaType"


def test_the_token_is_asked_for_but_where_anybody_may_look(server: Running) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        answer = urllib3.request("GET", server.url + "/api/v1/pods", headers=headers)
        assert (answer.status, json.loads(answer.data)["reason"]) == (401, "Unauthorized")
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert urllib3.request("GET", server.url + path).status == 200


def test_a_huge_body_is_refused_and_the_server_goes_on(server: Running) -> None:
    answer = server.request("POST", MAPS, b'{"metadata":{"name":"x"},"data":{"a":"' + b"x" * 4_000_000 + b'"}}')
    assert (answer.code, answer.body["reason"]) == (413, "RequestEntityTooLarge")
    assert server.request("GET", "/api/v1/namespaces/default").code == 200


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"\x00" * 100,
        b"GET /api/v1/po",
        b"POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET /api/v1/pods HTTP/9.9\r\n\r\n",
        b"POST /api/v1/pods HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_half_a_request_harms_nobody(server: Running, half: bytes) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as broken:
        broken.sendall(half)
    assert server.request("GET", "/api/v1/namespaces/default").code == 200


def test_nested_too_deeply_is_the_clients_fault(server: Running) -> None:
    deep = b'{"metadata":{"name":"deep"},"spec":' + b'{"a":' * 600 + b"1" + b"}" * 600 + b"}"
    open_kind = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": open_kind}}
    names = {"plural": "deeps", "kind": "Deep"}
    spec = {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert server.request("POST", path, {"metadata": {"name": "deeps.example.com"}, "spec": spec}).code == 201
    assert server.request("POST", "/apis/example.com/v1/deeps", deep).code == 400
    assert server.request("GET", "/apis/example.com/v1/deeps").body["items"] == []


def test_yaml_is_read_and_its_dates_stay_text(server: Running) -> None:
    text = b"metadata: {name: from-yaml, annotations: {day: 2026-01-01}}\ndata: {a: b}\n"
    answer = server.request("POST", MAPS, text, "application/yaml")
    assert answer.body["metadata"]["annotations"] == {"day": "2026-01-01"}
    assert server.request("POST", MAPS, b"a: [", "application/yaml").code == 400


def test_a_list_can_be_a_table_or_metadata_alone(server: Running) -> None:
    server.request("POST", MAPS, config_map("shown", a="b", c="d"))
    path = f"{MAPS}?fieldSelector=metadata.name=shown"
    table = get(server, path, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    (row,) = table["rows"]
    assert row["cells"][:2] == ["shown", 2]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    whole = get(server, path + "&includeObject=Object", "application/json;as=Table;v=v1;g=meta.k8s.io")
    assert whole["rows"][0]["object"]["data"] == {"a": "b", "c": "d"}
    partial = get(server, path, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json")
    assert partial["kind"] == "PartialObjectMetadataList"
    assert set(partial["items"][0]) == {"kind", "apiVersion", "metadata"}
    assert get(server, path, "application/vnd.kubernetes.protobuf")["reason"] == "NotAcceptable"
    assert get(server, path, "application/vnd.kubernetes.protobuf,application/json")["kind"] == "ConfigMapList"


def test_unknown_fields_come_back_as_warnings(server: Running) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    body = json.dumps({**config_map("warned"), "extra": 1})
    answer = urllib3.request("POST", server.url + MAPS, headers=headers, body=body)
    assert answer.headers["Warning"] == '299 - "unknown field \\"extra\\""'


def test_all_of_a_selection_is_deleted_at_once(server: Running) -> None:
    for name in ("many-1", "many-2"):
        server.request("POST", MAPS, {"metadata": {"name": name, "labels": {"group": "many"}}})
    answer = server.request("DELETE", f"{MAPS}?labelSelector=group=many")
    assert [one["metadata"]["name"] for one in answer.body["items"]] == ["many-1", "many-2"]
    assert server.request("GET", f"{MAPS}?labelSelector=group=many").body["items"] == []


def test_a_pod_is_bound_and_evicted_and_a_budget_can_forbid_it(server: Running) -> None:
    pod = {
        "metadata": {"name": "bound", "labels": {"app": "bound"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    assert server.request("POST", PODS, pod).code == 201
    assert server.request("POST", f"{PODS}/bound/binding", {"target": {}}).code == 422
    assert server.request("POST", f"{PODS}/bound/binding", {"target": {"kind": "Node", "name": "n1"}}).code == 201
    assert server.request("POST", f"{PODS}/bound/binding", {"target": {"name": "n2"}}).body["reason"] == "Conflict"
    assert server.request("GET", f"{PODS}/bound").body["spec"]["nodeName"] == "n1"
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    budget = {"metadata": {"name": "b"}, "spec": {"selector": {"matchLabels": {"app": "bound"}}, "minAvailable": 1}}
    assert server.request("POST", budgets, budget).code == 201
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "bound"}}
    assert server.request("POST", f"{PODS}/bound/eviction", eviction).body["reason"] == "TooManyRequests"
    server.request("DELETE", f"{budgets}/b")
    assert server.request("POST", f"{PODS}/bound/eviction", eviction).code == 201
    assert server.request("GET", f"{PODS}/bound").body["metadata"]["deletionGracePeriodSeconds"] == 30
    answer = server.request("DELETE", f"{PODS}/bound", {"gracePeriodSeconds": 0})
    assert answer.body["kind"] == "Pod"
    assert server.request("GET", f"{PODS}/bound").code == 404


def test_a_scale_is_read_put_and_patched(server: Running) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    assert server.request("POST", path, body).code == 201
    scale = server.request("GET", f"{path}/d/scale").body
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 1},
        {"replicas": 0, "selector": "a=b"},
    )
    scale["spec"]["replicas"] = 4
    assert server.request("PUT", f"{path}/d/scale", scale).body["spec"]["replicas"] == 4
    assert server.request("PUT", f"{path}/d/scale", scale).body["reason"] == "Conflict"
    merge = "application/merge-patch+json"
    assert server.request("PATCH", f"{path}/d/scale", {"spec": {"replicas": 2}}, merge).code == 200
    assert server.request("PATCH", f"{path}/d/scale", {"spec": {"replicas": -2}}, merge).code == 422
    assert server.request("PATCH", f"{path}/d/scale", {"spec": {"replicas": "two"}}, merge).code == 400
    removal = [{"op": "remove", "path": "/spec/none"}]
    assert server.request("PATCH", f"{path}/d/scale", removal, "application/json-patch+json").code == 422
    assert server.request("PUT", f"{path}/d/scale", {"metadata": []}).code == 400
    assert server.request("GET", f"{path}/d").body["spec"]["replicas"] == 2


def events(server: Running, query: str, count: int) -> list[dict[str, Any]]:
    """The first events of a watch."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = urllib3.request(
        "GET", f"{server.url}{MAPS}?watch=1&timeoutSeconds=10&{query}", headers=headers, preload_content=False
    )
    found = []
    for line in answer:
        found.append(json.loads(line))
        if len(found) == count:
            break
    answer.close()
    return found


def test_a_watch_streams_over_http_with_bookmarks_and_as_a_table(server: Running) -> None:
    version = server.request("POST", MAPS, config_map("w1")).body["metadata"]["resourceVersion"]
    server.request("POST", MAPS, config_map("w2"))
    server.request("DELETE", f"{MAPS}/w2")
    seen = events(server, f"resourceVersion={version}&allowWatchBookmarks=true", 3)
    assert [one["type"] for one in seen] == ["ADDED", "DELETED", "BOOKMARK"]
    listed = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    first, bookmark = events(server, f"{listed}&fieldSelector=metadata.name=w1", 2)
    assert first["object"]["metadata"]["name"] == "w1"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_watch_ends_by_itself_at_its_timeout(server: Running) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = urllib3.request("GET", f"{server.url}{MAPS}?watch=1&timeoutSeconds=1&resourceVersion=1", headers=headers)
    assert answer.status == 200


def test_discovery_is_served_plain_and_aggregated(server: Running) -> None:
    assert server.request("GET", "/api").body["versions"] == ["v1"]
    groups = {one["name"] for one in server.request("GET", "/apis").body["groups"]}
    assert {"apps", "discovery.k8s.io", "networking.k8s.io", "apiextensions.k8s.io"} <= groups
    resources = server.request("GET", "/apis/apps/v1").body["resources"]
    assert {"deployments", "deployments/status", "deployments/scale"} <= {one["name"] for one in resources}
    aggregated = get(
        server, "/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    )
    assert aggregated["kind"] == "APIGroupDiscoveryList"
    apps = next(one for one in aggregated["items"] if one["metadata"]["name"] == "apps")
    assert {one["resource"] for one in apps["versions"][0]["resources"]} >= {"deployments", "daemonsets"}


def test_openapi_documents_refer_only_to_what_they_hold(server: Running) -> None:
    for path, entry in server.request("GET", "/openapi/v3").body["paths"].items():
        document = server.request("GET", entry["serverRelativeURL"]).body
        text = json.dumps(document)
        wanted = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
        assert wanted <= set(document["components"]["schemas"]), path


def test_a_wrong_certificate_authority_is_not_trusted_and_the_right_one_is() -> None:
    with api_server(tls=True) as server:
        with pytest.raises(urllib3.exceptions.MaxRetryError):
            urllib3.request("GET", server.url + "/version", retries=0, timeout=5)
        config = json.loads(server.kubeconfig.read_text())
        authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
        context = ssl.create_default_context(cadata=ssl.PEM_cert_to_DER_cert(base64.b64decode(authority).decode()))
        with urllib3.PoolManager(ssl_context=context) as pool:
            assert pool.request("GET", server.url + "/version").status == 200


def test_a_killed_server_comes_back_with_everything_it_had_answered(tmp_path: Any) -> None:
    state = tmp_path / "state"
    with api_server("--state", str(state)) as server:
        port = server.url.rsplit(":", 1)[1]
        for number in range(50):
            assert server.request("POST", MAPS, config_map(f"kept-{number:02}")).code == 201
        before = server.request("GET", MAPS).body
        server.kill()
        with state.open("ab") as file:
            file.write(b'{"type":"ADDED","group":"","plural":"configmaps","object":{"metadata":{"na')
        server.start(f"127.0.0.1:{port}")
        after = server.request("GET", MAPS).body
        assert after["items"] == before["items"]
        version = before["items"][10]["metadata"]["resourceVersion"]
        resumed = events(server, f"resourceVersion={version}", 39)
        assert [one["object"]["metadata"]["name"] for one in resumed] == [
            f"kept-{number:02}" for number in range(11, 50)
        ]
        assert server.request("POST", MAPS, config_map("more")).code == 201


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--listen", "nowhere"), '--listen "nowhere" is not address:port'),
        (("--service-cidr", "10.0.0.1/8"), 'service CIDR "10.0.0.1/8" is not a network'),
        (("--service-cidr", "10.0.0.0/16,10.1.0.0/16"), "must be one a family"),
        (("--state", "/proc/none/state"), "/proc/none/state"),
    ],
)
def test_a_flag_that_cannot_be_used_is_named_and_ends_the_program(flags: tuple[str, ...], message: str) -> None:
    command = [sys.executable, "-m", "ovnk.lab.apiserver", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
