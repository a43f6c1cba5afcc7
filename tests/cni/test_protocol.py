"""CNI requests parsed and results formatted, as the specification has them in each version."""

import asyncio
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni import framing, protocol
from cni.protocol import CniError

POD_ARGS = b"K8S_POD_UID=u1;IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_NAME=web-0"


def environment(command="ADD", **changes):
    values = {
        "CNI_COMMAND": command.encode(),
        "CNI_CONTAINERID": b"abc",
        "CNI_NETNS": b"/var/run/netns/cni-1",
        "CNI_IFNAME": b"eth0",
        "CNI_ARGS": POD_ARGS,
        "CNI_PATH": b"/opt/cni/bin",
    }
    values |= changes
    return {name: value for name, value in values.items() if value is not None}


def config(version="1.0.0", **more):
    return json.dumps({"cniVersion": version, "name": "ovnk", "type": "ovnk", **more}).encode()


def code_of(environment, stdin):
    with pytest.raises(CniError) as caught:
        protocol.parse(environment, stdin)
    return caught.value.code


@pytest.mark.parametrize("version", protocol.VERSIONS)
def test_add_is_parsed_in_every_version(version):
    request = protocol.parse(environment(), config(version))
    assert request.command == "ADD"
    assert request.version == version
    assert request.pod == protocol.Pod("shop", "web-0", "u1")


@given(st.permutations(POD_ARGS.split(b";")))
def test_cni_args_come_in_any_order(parts):
    assert protocol.parse(environment(CNI_ARGS=b";".join(parts)), config()).pod == protocol.Pod("shop", "web-0", "u1")


def test_unknown_args_need_ignore_unknown():
    args = POD_ARGS + b";FOO=bar"
    assert protocol.parse(environment(CNI_ARGS=args), config()).pod
    assert code_of(environment(CNI_ARGS=args.replace(b"IgnoreUnknown=1", b"IgnoreUnknown=0")), config()) == 4


@pytest.mark.parametrize("key", ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID"])
def test_add_without_the_pods_identity_names_what_lacks(key):
    args = b";".join(part for part in POD_ARGS.split(b";") if not part.startswith(key.encode() + b"="))
    with pytest.raises(CniError, match=key) as caught:
        protocol.parse(environment(CNI_ARGS=args), config())
    assert caught.value.code == 4


def test_del_needs_neither_netns_nor_args_nor_prev_result():
    request = protocol.parse(environment("DEL", CNI_NETNS=None, CNI_ARGS=None), config())
    assert (request.container_id, request.netns) == ("abc", "")
    assert protocol.parse(environment("DEL", CNI_NETNS=b""), config()).netns == ""


def test_del_does_not_look_at_prev_result():
    assert protocol.parse(environment("DEL"), config(prevResult={"ips": "nonsense"}))


@pytest.mark.parametrize("name", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
def test_add_without_a_needed_variable_names_it(name):
    with pytest.raises(CniError, match=name) as caught:
        protocol.parse(environment(**{name: None}), config())
    assert caught.value.code == 4


@pytest.mark.parametrize("bad", ["-abc", "_abc", "a/b", "../x", "a b", "a\n", "é"])
def test_container_id_has_the_specifications_letters(bad):
    assert code_of(environment(CNI_CONTAINERID=bad.encode()), config()) == 4


@pytest.mark.parametrize("bad", ["a" * 16, ".", "..", "a/b", "a:b", "a b", "a\tb", "é" * 8])
def test_interface_name_is_one_that_linux_takes(bad):
    assert code_of(environment(CNI_IFNAME=bad.encode()), config()) == 4


def test_interface_name_of_fifteen_bytes_is_taken():
    assert protocol.parse(environment(CNI_IFNAME=b"a" * 15), config()).ifname == "a" * 15


@pytest.mark.parametrize("version", ["", "0.1.0", "0.3.0", "2.0.0", "1.0"])
def test_other_versions_are_refused_with_code_1(version):
    assert code_of(environment(), config(version)) == 1


@pytest.mark.parametrize(
    ("command", "version"), [("CHECK", "0.3.1"), ("STATUS", "1.0.0"), ("GC", "1.0.0"), ("GC", "0.4.0")]
)
def test_a_command_younger_than_the_version_is_refused_with_code_1(command, version):
    assert code_of(environment(command), config(version)) == 1


@pytest.mark.parametrize("stdin", [b"", b"{", b"\xff", b'"text', b'{"a":' + b"[" * 100_000])
def test_text_that_is_not_json_has_code_6(stdin):
    assert code_of(environment(), stdin) == 6


def test_json_of_the_wrong_shape_has_code_7():
    assert code_of(environment(), b"[]") == 7
    assert code_of(environment(), b'{"cniVersion": 1}') == 7


def test_check_needs_prev_result():
    assert code_of(environment("CHECK"), config()) == 7
    assert code_of(environment("CHECK"), config(prevResult=[1])) == 7
    result = protocol.Result("ovnkp1", "eth0", "/n", "0a:58:0a:f4:01:05", 1400, ("10.244.1.5/24",), ("10.244.1.1",))
    previous = protocol.parse(environment("CHECK"), config(prevResult=json.loads(result.encode("1.0.0")))).previous
    assert previous.ips[0].address == "10.244.1.5/24"
    assert previous.interfaces[1].sandbox == "/n"


def test_gc_without_a_list_is_an_error_and_null_is_an_empty_list():
    """Absent, read as empty, would take every pod off the network; null is what an empty Go slice becomes."""
    assert code_of(environment("GC"), config("1.1.0")) == 7
    empty = protocol.parse(environment("GC"), config("1.1.0", **{"cni.dev/valid-attachments": None}))
    assert empty.valid == ()


@pytest.mark.parametrize("key", ["cni.dev/valid-attachments", "cni.dev/attachments"])
def test_gc_reads_both_names_of_the_list(key):
    stdin = config("1.1.0", **{key: [{"containerID": "abc", "ifname": "eth0"}]})
    request = protocol.parse({"CNI_COMMAND": b"GC", "CNI_PATH": b"/opt/cni/bin"}, stdin)
    assert request.valid == (protocol.Attached("abc", "eth0"),)


def test_command_that_does_not_exist_has_code_4():
    assert code_of(environment("UPDATE"), config()) == 4
    assert code_of({}, config()) == 4


def test_error_is_answered_in_the_version_asked_for():
    error = CniError(11, "later", "soon")
    assert json.loads(error.encode("0.4.0")) == {"cniVersion": "0.4.0", "code": 11, "msg": "later", "details": "soon"}
    assert json.loads(error.encode("9"))["cniVersion"] == "1.1.0"


DUAL = protocol.Result(
    "ovnkp1",
    "eth0",
    "/var/run/netns/cni-1",
    "0a:58:0a:f4:01:05",
    1342,
    ("10.244.1.5/24", "fd00:10:244:1::5/64"),
    ("10.244.1.1", "fd00:10:244:1::1"),
)


@pytest.mark.parametrize("version", protocol.VERSIONS)
def test_r18_result_has_the_specifications_form(version):
    """CNI 0.3.1 and 0.4.0 say each address's family; 1.1.0 brought the interface's MTU."""
    result = json.loads(DUAL.encode(version))
    assert result["cniVersion"] == version
    family = version.startswith("0.")
    assert [ip.get("version") for ip in result["ips"]] == (["4", "6"] if family else [None, None])
    assert {"name": "eth0", "mac": "0a:58:0a:f4:01:05", "sandbox": "/var/run/netns/cni-1"}.items() <= result[
        "interfaces"
    ][1].items()
    assert ("mtu" in result["interfaces"][1]) == (version == "1.1.0")
    assert all(result["interfaces"][ip["interface"]]["sandbox"] for ip in result["ips"])
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}, {"dst": "::/0", "gw": "fd00:10:244:1::1"}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
CONFIG_KEYS = st.sampled_from(
    ["cniVersion", "name", "type", "prevResult", "cni.dev/valid-attachments", "cni.dev/attachments", "runtimeConfig"]
)
VARIABLE_NAMES = st.sampled_from(["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"])


@given(
    st.dictionaries(
        VARIABLE_NAMES,
        st.binary(max_size=40) | st.sampled_from([*(c.encode() for c in protocol.COMMANDS), b"abc", POD_ARGS]),
    ),
    st.binary(max_size=60)
    | st.dictionaries(CONFIG_KEYS, JSON | st.sampled_from(protocol.VERSIONS)).map(lambda d: json.dumps(d).encode()),
)
def test_parse_raises_nothing_but_cni_errors(environment, stdin):
    answer = b'{"code": 0}'
    try:
        protocol.parse(environment, stdin)
    except CniError as error:
        answer = error.encode(protocol.requested_version(stdin))
    assert json.loads(answer)["code"] in (0, 1, 4, 6, 7)


@given(
    st.dictionaries(VARIABLE_NAMES, st.binary(max_size=30).filter(lambda value: b"\0" not in value)),
    st.binary(max_size=200),
    st.lists(st.integers(1, 40)),
)
def test_request_survives_any_split_of_the_stream(environment, stdin, sizes):
    async def read():
        reader = asyncio.StreamReader()
        stream = framing.encode_request(environment, stdin)
        for size in sizes:
            reader.feed_data(stream[:size])
            stream = stream[size:]
            await asyncio.sleep(0)
        reader.feed_data(stream)
        return await framing.read_request(reader)

    assert asyncio.run(read()) == (environment, stdin)


@given(st.binary(max_size=64))
def test_framing_raises_only_what_it_says(stream):
    async def read():
        reader = asyncio.StreamReader()
        reader.feed_data(stream)
        reader.feed_eof()
        return await framing.read_request(reader)

    with contextlib.suppress(framing.FramingError, asyncio.IncompleteReadError):
        asyncio.run(read())
