"""A real daemon with made-up people and simulated platforms, all on loopback, gone at the end."""

import json
import re
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from places import REVEIL, run

SERVER = """
[server]
listen = "127.0.0.1:{port}"
first_token = {{ file = "first-token" }}
rate_limit = {{ per_second = 1000, burst = 1000 }}

[scheduler]
poll_secs = 1
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class World:
    def __init__(self, customers=2_000):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name) / "demo"
        self.port, platforms = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.processes = []
        run(REVEIL, "demo", "--customers", customers, "--keep", self.folder)
        config = self.folder / "reveil.toml"
        text = re.sub(r"http://127\.0\.0\.1:\d+/", f"http://127.0.0.1:{platforms}/", config.read_text())
        # Before the destinations' tables would do as well; a schedule belongs into the audience's own.
        text = text.replace("[audience.dormant]", '[audience.dormant]\nschedule = { every = "6h" }')
        config.write_text(text + SERVER.format(port=self.port))
        self.token = f"rvl_{secrets.token_hex(6)}_{secrets.token_hex(32)}"
        (self.folder / "first-token").write_text(self.token + "\n")
        self.start("sandbox", "--port", platforms, "--dir", self.folder)
        self.start("--log", "info", "serve")

    def start(self, *arguments, program=REVEIL):
        log = open(self.folder / "log", "a")
        command = [str(part) for part in (program, *arguments)]
        self.processes.append(subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log))

    def wait_for(self, what, seconds=60):
        """Asks until there is an answer that is not false."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if answer := what():
                    return answer
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text()[-4000:])

    def call(self, path, body=None, base=None):
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"}
        request = urllib.request.Request((base or self.base) + path, content, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            error.msg = f"{path}: {error.read().decode()}"
            raise
        return json.loads(text) if "json" in answer.headers["content-type"] else text

    def sync(self):
        asked = self.call("/v1/audiences/dormant/sync", {"as_of": "2026-01-08T00:00:00Z"})
        ended = ("done", "pending", "partial", "failed", "cancelled")
        return self.wait_for(lambda: (run := self.call(f"/v1/runs/{asked['id']}"))["state"] in ended and run)

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(timeout=60)
        self.temporary.cleanup()
