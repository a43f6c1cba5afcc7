"""Golden folders: cluster.yaml is what a user has, northbound.txt what `ovnk compile` makes of it.

Flags stand in cluster.yaml in a line "# ovnk: …". What is told on standard error stands at the end of northbound.txt.
`pytest --update-golden` writes them anew; read the difference.
"""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program import ovnk

FOLDERS = sorted(path.parent for path in (Path(__file__).parent / "golden").glob("*/cluster.yaml"))


def compiled(file, flags=()):
    return ovnk("compile", str(file), *flags)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_golden(folder, request):
    manifest = folder / "cluster.yaml"
    flags = [
        word
        for line in manifest.read_text().splitlines()
        if line.startswith("# ovnk: ")
        for word in shlex.split(line.removeprefix("# ovnk: "))
    ]
    run = compiled(manifest, flags)
    told = "".join(f"# told: {line}\n" for line in run.stderr.splitlines())
    text = run.stdout + ("\n" + told if told else "")
    assert run.returncode == (1 if told else 0)
    golden = folder / "northbound.txt"
    if request.config.getoption("--update-golden"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_what_is_no_manifest_is_named_by_the_program_as_people_run_it(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("kind: [")
    program = [sys.executable, "-m", "ovnk", "compile", str(file)]
    run = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 2
    assert f"manifest {file}: text is not YAML" in run.stderr
    assert "Traceback" not in run.stderr


def test_an_invalid_object_is_named_and_the_rest_compiled(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Node\nmetadata: {name: good}\n---\n"
        "apiVersion: v1\nkind: Node\nmetadata: {name: bad}\nspec: {podCIDRs: [10.244.300.0/24]}\n"
    )
    run = compiled(file)
    assert run.returncode == 1
    assert "Node bad: spec.podCIDRs[0] cannot be used: '10.244.300.0/24'" in run.stderr
    assert 'Logical_Switch "good"' in run.stdout


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--cluster-cidr", "10.0.0.1/8"], 'cluster_cidr "10.0.0.1/8" is not a network'),
        (["--cluster-cidr", "10.96.0.0/12"], 'cluster_cidr "10.96.0.0/12" overlaps service_cidr "10.96.0.0/16"'),
        (["--cluster-cidr", "10.0.0.0/16,10.1.0.0/16"], "more than one network of a family"),
        (["--node-prefix-v4", "8"], 'node_prefix_v4 is 8, but a node\'s part of cluster_cidr "10.244.0.0/16"'),
        (["--config", "/nonexistent.toml"], "/nonexistent.toml: cannot be read"),
    ],
)
def test_wrong_settings_are_named(flags, says):
    run = compiled(FOLDERS[0] / "cluster.yaml", flags)
    assert run.returncode == 2
    assert says in run.stderr
