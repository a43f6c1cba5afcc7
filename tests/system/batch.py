"""Many questions at once: one process a place asks every target a few times, all targets beside each other."""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.labs import Lab
from tests.system.services import Heard
from tests.system.workloads import PYTHON

# (address, port, "TCP" or "UDP")
Target = tuple[str, int, str]

# Arguments: how often. Reads [[address, port, protocol], …]; writes a list of answers, or of {"error"}, for each.
# Who answers with an error, or not at all, is asked once. A datagram that gets lost is sent again, and so that a lost
# ICMP error is none (a kernel sends few a second, icmp_ratelimit) the question is put again when all is quiet.
_PROBE = r"""
import concurrent.futures, http.client, json, socket, sys

def tcp(address, port):
    connection = http.client.HTTPConnection(address, port, timeout=3)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()

def udp(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(1)
        endpoint.connect((address, port))
        for left in (2, 1, 0):
            try:
                endpoint.send(b"who are you")
                return json.loads(endpoint.recv(65536))
            except TimeoutError:
                if not left:
                    raise

def asked(target):
    address, port, protocol = target
    heard = []
    for _ in range(int(sys.argv[1])):
        try:
            heard.append({"TCP": tcp, "UDP": udp}[protocol](address, port))
        except (OSError, http.client.HTTPException, ValueError) as error:
            heard.append({"error": f"{type(error).__name__}: {error}"})
            break
    return heard

with concurrent.futures.ThreadPoolExecutor(24) as several:
    targets = json.load(sys.stdin)
    heard = dict(zip(map(tuple, targets), several.map(asked, targets)))
    silent = [one for one, some in heard.items() if one[2] == "UDP" and "Timeout" in some[-1].get("error", "")]
    heard.update(zip(silent, several.map(asked, silent)))
    print(json.dumps([heard[tuple(one)] for one in targets]))
"""


def ask(
    lab: Lab, places: Iterable[str], targets: Sequence[Target], times: int
) -> Mapping[tuple[str, Target], list[Heard]]:
    """What each place heard of each target."""
    question = json.dumps(targets)

    def asked(place: str) -> list[tuple[tuple[str, Target], list[Heard]]]:
        done = lab.exec(place, PYTHON, "-c", _PROBE, str(times), input=question, timeout=120)
        assert done.returncode == 0, f"the probe in {place} failed: {done.stderr}"
        answers = [
            [Heard(one.get("pod", ""), one.get("clientAddress", ""), one.get("error", "")) for one in some]
            for some in json.loads(done.stdout)
        ]
        return [((place, target), heard) for target, heard in zip(targets, answers, strict=True)]

    with ThreadPoolExecutor(3) as several:
        return dict(pair for pairs in several.map(asked, places) for pair in pairs)
