"""A real daemon says that it is well, and a real Prometheus reads every figure that rules and dashboard ask for."""

import re
import subprocess
import unittest
import urllib.parse

import yaml

from places import REVEIL, ROOT, run
from test_prometheus import RULES, dashboard_expressions
from world import World, free_port

# Figures of circumstances that the simulated platforms and one good run do not have.
RARE = {"reveil_credential_expiry_timestamp_seconds"}
SUFFIXES = {"counter": [""], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}


def expressions():
    rules = yaml.safe_load(RULES.read_text())["groups"]
    return [rule["expr"] for group in rules for rule in group["rules"]] + list(dashboard_expressions())


def names():
    return {name for text in expressions() for name in re.findall(r"\breveil_\w+", text)}


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.addClassCleanup(cls.world.close)
        cls.world.wait_for(lambda: cls.world.call("/readyz"))
        cls.run_of_it = cls.world.sync()

    def test_it_says_that_it_is_well(self):
        self.assertIn("ready", run(REVEIL, "health", cwd=self.world.folder))
        self.assertIn("alive", run(REVEIL, "health", "--live", cwd=self.world.folder))
        elsewhere = ["--set", f"server.listen=127.0.0.1:{free_port()}", "health"]
        with self.assertRaisesRegex(AssertionError, "cannot be reached"):
            run(REVEIL, *elsewhere, cwd=self.world.folder)

    def test_the_first_token_is_in_the_list_and_the_audit_log(self):
        self.assertEqual(self.world.call("/v1/me")["role"], "admin")
        entries = self.world.call("/v1/audit?action=create_token")["items"]
        self.assertEqual([entry["subject"] for entry in entries], ["first"])

    def test_the_daemon_has_every_figure(self):
        families = dict(re.findall(r"^# TYPE (\S+) (\S+)", self.world.call("/metrics"), re.M))
        has = {name + suffix for name, kind in families.items() for suffix in SUFFIXES[kind]}
        self.assertEqual(names() - has - RARE, set())
        registered = (ROOT / "src" / "telemetry" / "metrics.rs").read_text()
        for name in RARE:
            self.assertIn(f'"{name.removeprefix("reveil_").removesuffix("_seconds")}"', registered)

    def test_promtool_has_nothing_to_say_about_them(self):
        text = self.world.call("/metrics")
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""), text)

    def test_prometheus_reads_them_and_evaluates_everything(self):
        self.assertIn(self.run_of_it["state"], ("done", "pending"), self.run_of_it)
        folder, port = self.world.folder, free_port()
        base = f"http://127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {
                    "job_name": "reveil",
                    "authorization": {"credentials_file": str(folder / "first-token")},
                    "static_configs": [{"targets": [f"127.0.0.1:{self.world.port}"]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        run("promtool", "check", "config", folder / "prometheus.yml")
        self.world.start(
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=prometheus",
            f"--web.listen-address=127.0.0.1:{port}",
            program="prometheus",
        )

        def query(text):
            return self.world.call("/api/v1/query?" + urllib.parse.urlencode({"query": text}), base=base)["data"]["result"]

        self.world.wait_for(lambda: query('up{job="reveil"} == 1'))
        groups = self.world.wait_for(
            lambda: all(
                rule["health"] == "ok"
                for group in self.world.call("/api/v1/rules", base=base)["data"]["groups"]
                for rule in group["rules"]
            )
        )
        self.assertTrue(groups)
        for name in names() - RARE:
            self.assertTrue(self.world.wait_for(lambda: query(name), seconds=5), name)
        for text in expressions():
            query(text)
        firing = query('ALERTS{alertname=~"Reveil.*", alertstate="firing"}')
        self.assertEqual(firing, [], "nothing is wrong, and something is said to be")

    def test_labels_are_those_that_are_grouped_by(self):
        text = self.world.call("/metrics")
        for expression in expressions():
            for labels, name in re.findall(r"by \(([^)]*)\) \(\w*\(?(reveil_\w+)", expression):
                if name in RARE:
                    continue
                sample = re.search(rf"^{name}\{{(.*)\}} ", text, re.M)
                self.assertIsNotNone(sample, name)
                has = set(re.findall(r'(\w+)="', sample.group(1))) | {"instance"}
                self.assertLessEqual(set(re.split(r",\s*", labels)), has, expression)
