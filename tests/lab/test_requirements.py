"""What is missing on the machine is said before anything is started, with the package that brings it."""

import dataclasses
from pathlib import Path

import pytest

from ovnk import cli
from ovnk.errors import ConfigError
from ovnk.lab import requirements
from ovnk.lab.plan import Datapath, Encapsulation, Family, Plan
from tests import program

LAB = Plan("test", ("n1",), Encapsulation.GENEVE, Family.IPV4, Datapath.SYSTEM)


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        requirements.shutil, "which", lambda name, path: None if name in ("nft", "ovn-northd") else name
    )
    monkeypatch.setattr(requirements, "FILES", {Path("/no/ovn-nb.ovsschema"): "ovn-common"})

    with pytest.raises(ConfigError) as raised:
        requirements.check(LAB)

    assert str(raised.value) == (
        "a lab needs ovn-northd, nft, /no/ovn-nb.ovsschema, not found on this machine; "
        "on Debian: apt install nftables ovn-central ovn-common"
    )


def test_a_tun_device_that_cannot_be_opened_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(requirements, "PROGRAMS", {})
    monkeypatch.setattr(requirements, "FILES", {})
    monkeypatch.setattr(requirements, "TUN", tmp_path / "tun")

    with pytest.raises(ConfigError, match=r'tun" cannot be opened \(No such file or directory\)'):
        requirements.check(dataclasses.replace(LAB, datapath=Datapath.NETDEV))


@pytest.mark.parametrize(("field", "flag"), [("api_state", "--state"), ("kube_bin", "--kube-bin")])
def test_a_path_that_the_lab_would_not_see_is_refused(monkeypatch: pytest.MonkeyPatch, field: str, flag: str) -> None:
    monkeypatch.setattr(requirements, "PROGRAMS", {})
    monkeypatch.setattr(requirements, "FILES", {})

    with pytest.raises(ConfigError, match=f'{flag} "/run/somewhere": a lab has a /run of its own'):
        requirements.check(dataclasses.replace(LAB, **{field: Path("/run/somewhere")}))


@pytest.mark.parametrize("command", cli.LAB_COMMANDS)
def test_packages_that_the_lab_alone_needs_are_named_with_the_extra_that_brings_them(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(cli, "LAB_PACKAGES", ("jsonpatch", "no_such_package"))

    ran = program.ovnk(command)

    message = f"ovnk: ovnk {command} needs no_such_package; pip install 'ovnk[lab]' brings what is missing\n"
    assert (ran.returncode, ran.stderr) == (2, message)
