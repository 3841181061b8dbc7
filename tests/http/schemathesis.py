"""Schemathesis against a real daemon with the simulated platforms: python schemathesis.py <reveil> <seconds>.

Makes a small shop, serves it, and lets Schemathesis look for anything that differs from the OpenAPI document, with every
check it has. Ends with its exit code.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def start(log: pathlib.Path, pattern: str, *command: str) -> tuple[subprocess.Popen, str]:
    """A process, and what the pattern finds in its output."""
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    for _ in range(600):
        found = re.search(pattern, log.read_text())
        if found:
            return process, found.group(1)
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    raise SystemExit(f"{command[0]} does not come up:\n{log.read_text()}")


def main() -> int:
    reveil, seconds = os.path.abspath(sys.argv[1]), sys.argv[2]
    # Nothing of whoever runs the tests decides.
    for name in [name for name in os.environ if name.startswith("REVEIL")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shop, config = folder / "shop", folder / "shop" / "reveil.toml"
        made = subprocess.run(
            [reveil, "demo", "--customers", "400", "--keep", str(shop)], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise SystemExit(made.stdout + made.stderr)
        sandbox, port = start(
            folder / "sandbox.log", r"http://127\.0\.0\.1:(\d+)", reveil, "sandbox", "--port", "0", "--dir", str(shop)
        )
        text = re.sub(r"http://127\.0\.0\.1:\d+/", f"http://127.0.0.1:{port}/", config.read_text())
        config.write_text(
            text + '\n[server]\nlisten = "127.0.0.1:0"\nrate_limit = { per_second = 100000, burst = 100000 }\n'
        )
        create = [reveil, "--config", str(config), "token", "create", "--role", "admin", "schemathesis"]
        token = subprocess.run(create, capture_output=True, text=True, check=True).stdout.strip()
        daemon, address = start(
            folder / "daemon.log", r"addr=(\S+)", reveil, "--config", str(config), "--log", "info", "serve"
        )
        try:
            run = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
            run += [f"http://{address}/v1/openapi.json", "--header", f"Authorization: Bearer {token}"]
            run += ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "6", "--max-time", seconds]
            run += ["--request-timeout", "30", "--continue-on-failure", "--no-shrink"]
            code = subprocess.run(run, check=False, cwd=folder).returncode
            if daemon.poll() is not None:
                raise SystemExit("the daemon ended:\n" + (folder / "daemon.log").read_text()[-4000:])
            if "panicked" in (folder / "daemon.log").read_text():
                raise SystemExit("a request panicked:\n" + (folder / "daemon.log").read_text()[-4000:])
            return code
        finally:
            for process in (daemon, sandbox):
                process.terminate()
                process.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(main())
