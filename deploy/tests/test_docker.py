"""The image, as far as it can be known without an engine, and the compose file."""

import json
import re
import tempfile
import unittest
from pathlib import Path

import yaml
from compose_spec import PyCompose

from places import DEPLOY, REVEIL, ROOT, beside_python, run

DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())


class Image(unittest.TestCase):
    def test_the_linter_finds_nothing(self):
        run(beside_python("hadolint"), "--failure-threshold", "style", DEPLOY / "docker" / "Dockerfile")

    def test_the_binary_wants_only_what_distroless_cc_has(self):
        has = {"linux-vdso.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1"}
        wants = {line.split()[0].rsplit("/", 1)[-1] for line in run("ldd", REVEIL).splitlines()}
        self.assertLessEqual({name for name in wants if not name.startswith("ld-linux")}, has)

    def test_the_features_of_the_image_exist(self):
        features = re.search(r"^ARG FEATURES=(.*)$", DOCKERFILE, re.M).group(1).split(",")
        metadata = json.loads(run("cargo", "metadata", "--no-deps", "--offline", "--format-version", "1", cwd=ROOT))
        package = next(package for package in metadata["packages"] if package["name"] == "reveil")
        self.assertLessEqual(set(features), set(package["features"]))

    def test_the_toolchain_is_new_enough(self):
        image = re.search(r"^ARG RUST_IMAGE=rust:([0-9.]+)-", DOCKERFILE, re.M).group(1)
        wanted = re.search(r'^rust-version = "([0-9.]+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
        self.assertGreaterEqual([int(part) for part in image.split(".")], [int(part) for part in wanted.split(".")])

    def test_the_commands_of_the_image_exist(self):
        for command in ("health", "serve"):
            self.assertIn(f'"{command}"', DOCKERFILE)
            run(REVEIL, command, "--help")

    def test_the_dependency_layer_has_every_manifest_and_target(self):
        with tempfile.TemporaryDirectory() as folder:
            run(DEPLOY / "docker" / "manifests.sh", folder)
            where = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]

            def shape(text, root):
                packages = json.loads(text)["packages"]
                return sorted(
                    (Path(target["src_path"]).relative_to(root).as_posix(), target["kind"])
                    for package in packages
                    for target in package["targets"]
                )

            stubs = Path(folder).resolve()
            self.assertEqual(shape(run(*where, cwd=stubs), stubs), shape(run(*where, cwd=ROOT), ROOT))
            self.assertEqual((stubs / "Cargo.lock").read_bytes(), (ROOT / "Cargo.lock").read_bytes())


class Compose(unittest.TestCase):
    def test_follows_the_specification(self):
        # The checker wants merges and variables resolved, as the engine sees them.
        resolved = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", yaml.safe_dump(COMPOSE, sort_keys=False))
        services = PyCompose.from_yaml(resolved).service_names()
        self.assertLessEqual({"reveil", "postgres", "sandbox", "demo"}, set(services))

    def test_no_secret_stands_in_the_environment(self):
        for name, service in COMPOSE["services"].items():
            for key, value in (service.get("environment") or {}).items():
                secret = re.search("PASSWORD|TOKEN|SECRET|KEY", key) and not key.endswith("_FILE")
                self.assertFalse(secret, f"{name}: {key}={value}")

    def test_our_services_are_hardened(self):
        for name in ("reveil", "demo", "sandbox"):
            service = COMPOSE["services"][name]
            self.assertTrue(service["read_only"], name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertIn("no-new-privileges:true", service["security_opt"], name)

    def test_nothing_is_published_beyond_this_machine(self):
        for name, service in COMPOSE["services"].items():
            for port in service.get("ports", []):
                self.assertEqual(port["host_ip"], "127.0.0.1", name)

    def test_secrets_are_drawn_once_and_private(self):
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "make-secrets"
            script.write_bytes((DEPLOY / "compose" / "make-secrets").read_bytes())
            script.chmod(0o755)
            run(script)
            wanted = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
            first = {path.name: path.read_bytes() for path in (Path(folder) / "secrets").iterdir()}
            self.assertEqual(set(first), wanted)
            for path in (Path(folder) / "secrets").iterdir():
                self.assertEqual(path.stat().st_mode & 0o077, 0, path.name)
            run(script)
            self.assertEqual({path.name: path.read_bytes() for path in (Path(folder) / "secrets").iterdir()}, first)
