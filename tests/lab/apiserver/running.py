"""A running API server for tests: its own process on loopback, with a kubeconfig file."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import urllib3

from ovnk.lab.apiserver import kubeconfig
from ovnk.lab.apiserver.credentials import serving_certificate

TOKEN = "lab-token"
KUBECTL = Path(sys.executable).with_name("kubectl")


@dataclass
class Answer:
    code: int
    body: Any


@dataclass
class Running:
    """One server. `kill` and `start` may be used to restart it on the same state file."""

    folder: Path
    flags: list[str]
    tls: bool
    process: subprocess.Popen[str] | None = None
    url: str = ""

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def start(self, listen: str = "127.0.0.1:0") -> None:
        command = [sys.executable, "-m", "ovnk.lab.apiserver", "--listen", listen, "--token", TOKEN, *self.flags]
        ca = None
        if self.tls:
            made = serving_certificate(["127.0.0.1", "localhost"])
            (self.folder / "tls.crt").write_bytes(made.certificate)
            (self.folder / "tls.key").write_bytes(made.key)
            ca = made.ca
            command += ["--tls-cert", str(self.folder / "tls.crt"), "--tls-key", str(self.folder / "tls.key")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the API server did not start"
        self.kubeconfig.write_text(json.dumps(kubeconfig(self.url, TOKEN, ca)))

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(timeout=10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **query: Any
    ) -> Answer:
        """One request with the token; a dict or list body is sent as JSON."""
        content = body if isinstance(body, bytes | None) else orjson.dumps(body)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        if content is not None:
            headers["Content-Type"] = content_type
        fields = "&".join(f"{key}={value}" for key, value in query.items())
        target = f"{self.url}{path}" + (f"?{fields}" if fields else "")
        answer = _POOL.request(method, target, body=content, headers=headers, retries=False)
        return Answer(answer.status, orjson.loads(answer.data))

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end; `check` makes a failure one of the test's."""
        done = subprocess.run(
            [KUBECTL, *arguments],
            env={**self._environment(), **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    @contextlib.contextmanager
    def kubectl_running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A kubectl that goes on (get --watch), ended on leaving."""
        command = [KUBECTL, *arguments]
        with subprocess.Popen(command, env=self._environment(), stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder)}


_POOL = urllib3.PoolManager(maxsize=8)


@contextlib.contextmanager
def api_server(*flags: str, tls: bool = False) -> Iterator[Running]:
    """`with api_server() as server:`; the flags are those of `python -m ovnk.lab.apiserver`."""
    with tempfile.TemporaryDirectory() as folder:
        server = Running(Path(folder), list(flags), tls)
        server.start()
        try:
            yield server
        finally:
            if server.process is not None:
                server.kill(signal.SIGTERM)
