"""The folder of a lab tells a lab that lives from what is left of one."""

import os
import subprocess
from pathlib import Path

import pytest

from ovnk.errors import ConfigError
from ovnk.lab import state
from ovnk.lab.state import State


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "-a", "a-", "a" * 25, "a/b", ".."])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a lab"):
        state.named(name)


@pytest.mark.parametrize("name", ["a", "a-b", "test-0a1b2c3d", "a" * 24])
def test_sockets_fit_into_a_socket_address(name: str) -> None:
    assert len(str(state.named(name).northbound_socket)) < 108


def test_a_lab_lives_while_its_first_process_does(tmp_path: Path) -> None:
    lab = State(tmp_path)
    assert lab.first_process is None, "nothing is written yet"
    process = subprocess.Popen(["sleep", "60"])

    lab.write_first_process(process.pid)
    assert lab.first_process == process.pid

    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert lab.first_process is None, "a zombie is dead"
    process.wait()
    assert lab.first_process is None


def test_another_process_with_the_same_number_is_not_the_lab(tmp_path: Path) -> None:
    lab = State(tmp_path)

    lab.process_file.write_text(f"{os.getpid()} 1\n")

    assert lab.first_process is None


@pytest.mark.parametrize("text", ["", "12", "x y", "1 2 3"])
def test_a_file_that_says_nothing_is_no_lab(tmp_path: Path, text: str) -> None:
    lab = State(tmp_path)
    lab.process_file.write_text(text)

    assert lab.first_process is None
