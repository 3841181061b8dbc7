"""Starts `reveil sandbox` and `reveil serve` on a small shop, and looks at what became of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from postgres import free_port

CUSTOMERS = 3000
ADDED_CONFIG = """
[audience.silent]
label = "Silent 60 days"
inactive = { no_event_days = { kinds = ["order"], days = 60 } }
destinations = ["meta"]

[scheduler]
status_poll = "1s"
"""


class Daemon:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.binary = os.environ["REVEIL_BIN"]
        self.processes: list[subprocess.Popen[bytes]] = []
        self.url = ""
        self.token = self.admin_token = ""
        self.control = ""

    def start(self) -> None:
        self._reveil("demo", "--customers", str(CUSTOMERS), "--keep", str(self.folder))
        self._start_sandbox()
        self._configure()
        self._start_serve()

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # What tests look at and steer

    def runs(self, audience: str | None = None) -> list[dict[str, Any]]:
        query = f"&audience={audience}" if audience else ""
        return self._get(f"/v1/runs?limit=200{query}")["items"]

    def run(self, run_id: str) -> dict[str, Any]:
        return self._get(f"/v1/runs/{run_id}")

    def stall(self) -> None:
        """From now on the platforms take no members: a run goes on trying."""
        self._faults(
            "POST", {"set": "meta.users:retry-after=2,google.members:retry-after=2,meta.sessions:retry-after=2"}
        )

    def refuse_rows(self) -> None:
        """From now on the platforms take requests and refuse a third of the members in them."""
        self._faults("POST", {"set": "partial=0.3"})

    def decide_late(self) -> None:
        """From now on Google takes an hour to decide on an upload."""
        self._faults("POST", {"set": "google.members:slow=3600"})

    def unstall(self) -> None:
        self._faults("DELETE", None)

    def start_run(self, audience: str, **options: Any) -> str:
        """A run that nobody's task asked for."""
        return self._ask("POST", f"/v1/audiences/{audience}/sync", options)["id"]

    def pass_hours(self) -> None:
        """At the platforms, whose clock is their own."""
        self._control("POST", "time", {"advance": "2h"})

    def members(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.control}/control", timeout=10) as answer:
            return json.load(answer)

    # How it is started

    def _reveil(self, *arguments: str) -> str:
        config = ("--config", str(self.folder / "reveil.toml")) if self.folder.exists() else ()
        done = subprocess.run(
            [self.binary, *config, *arguments], env=self._environment(), check=True, capture_output=True, text=True
        )
        return done.stdout

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        secrets = self.folder / ".env"
        if secrets.exists():
            pairs = (line.split("=", 1) for line in secrets.read_text().splitlines() if "=" in line)
            environment.update({name: value.strip("\"'") for name, value in pairs})
        return environment

    def _spawn(self, name: str, *arguments: str) -> Path:
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [self.binary, *arguments],
                env=self._environment(),
                cwd=self.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return log

    def _start_sandbox(self) -> None:
        log = self._spawn("sandbox", "sandbox", "--dir", str(self.folder), "--port", "0")
        self.control = _wait_for(log, r"(http://127\.0\.0\.1:\d+)/control")

    def _configure(self) -> None:
        path = self.folder / "reveil.toml"
        text = re.sub(r"http://127\.0\.0\.1:\d+", self.control, path.read_text())
        path.write_text(text + ADDED_CONFIG)

    def _start_serve(self) -> None:
        self.token = self._token("airflow", "operator")
        self.admin_token = self._token("privacy", "admin")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        log = self._spawn("serve", "serve", "--log", "info", "--set", f"server.listen=127.0.0.1:{port}")
        until = time.monotonic() + 60
        while not self._is_ready():
            assert time.monotonic() < until, f"the daemon is not ready:\n{log.read_text(errors='replace')}"
            time.sleep(0.1)

    def _token(self, name: str, role: str) -> str:
        found = re.search(r"rvl_\S+", self._reveil("token", "create", name, "--role", role))
        assert found, "reveil token create shows a token"
        return found.group()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        return json.loads(_send(method, f"{self.url}{path}", body, headers))

    def _faults(self, method: str, body: Any) -> None:
        self._control(method, "faults", body)

    def _control(self, method: str, path: str, body: Any) -> None:
        _send(method, f"{self.control}/control/{path}", body, {})


def _send(method: str, url: str, body: Any, headers: dict[str, str]) -> bytes:
    told = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, method=method, data=told, headers={**headers, "Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def _wait_for(log: Path, pattern: str, secs: float = 30) -> str:
    until = time.monotonic() + secs
    while time.monotonic() < until:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found.group(1)
        time.sleep(0.1)
    raise AssertionError(f"{log} never said {pattern}:\n{log.read_text(errors='replace')}")
