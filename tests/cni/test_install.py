"""What is put where the container runtime looks."""

import json
import os

import pytest

from cni import install
from ovnk.errors import ConfigError


def test_plugin_is_executable_with_an_interpreter_that_exists(tmp_path):
    path = install.install_plugin(tmp_path / "opt" / "bin", tmp_path / "cni.sock")
    first = path.read_text().splitlines()[0]
    assert path.stat().st_mode & 0o777 == 0o755
    assert first.startswith("#!/")
    assert first.endswith(" -ISE")
    assert os.access(first[2:].split()[0], os.X_OK)


def test_conflist_is_one_that_containerd_takes(tmp_path):
    path = install.install_conflist(tmp_path / "net.d", "1.0.0")
    conflist = json.loads(path.read_text())
    assert (path.name, conflist["cniVersion"], conflist["name"]) == ("10-ovnk.conflist", "1.0.0", "ovnk")
    assert conflist["plugins"][0]["type"] == "ovnk"
    assert conflist["plugins"][0]["capabilities"] == {"portMappings": True}


def test_no_half_written_file_has_a_configurations_name(tmp_path, monkeypatch):
    """A runtime reads all that ends in .conf, .conflist or .json, at any moment."""
    names = []

    def fsync(_):
        names.extend(file.name for file in tmp_path.iterdir())

    monkeypatch.setattr(os, "fsync", fsync)
    install.install_conflist(tmp_path, "1.0.0")
    assert len(names) == 1
    assert not names[0].endswith((".conf", ".conflist", ".json"))


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = install.install_conflist(tmp_path, "1.0.0")
    before = path.read_bytes()

    def fsync(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        install.install_conflist(tmp_path, "1.1.0")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_same_content_is_not_written_again(tmp_path):
    path = install.install_conflist(tmp_path, "1.0.0")
    before = path.stat()
    assert install.install_conflist(tmp_path, "1.0.0").stat().st_ino == before.st_ino
    path.chmod(0o600)
    assert install.install_conflist(tmp_path, "1.0.0").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("path", ["relative.sock", "/" + "a" * 110])
def test_socket_path_that_cannot_be_used_names_its_flag(path):
    with pytest.raises(ConfigError, match="--cni-socket"):
        install.check_socket(install.Path(path))


def test_version_that_we_do_not_speak_names_its_flag():
    with pytest.raises(ConfigError, match="--cni-version"):
        install.check_version("0.2.0")
