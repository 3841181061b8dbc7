"""Rules and dashboard: their form, what the alerts do over time, and whether the daemon has the metrics they ask for."""

import json
import tempfile
import unittest
from pathlib import Path

import yaml

from places import DEPLOY, run

RULES = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "reveil.json").read_text())


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_expressions():
    variables = {"$audience": ".*", "$__rate_interval": "5m"}
    texts = [target["expr"] for panel in panels() for target in panel["targets"]]
    texts += [note["expr"] for note in DASHBOARD["annotations"]["list"]]
    for text in texts:
        for name, value in variables.items():
            text = text.replace(name, value)
        yield text


class Rules(unittest.TestCase):
    def test_promtool_checks_them(self):
        run("promtool", "check", "rules", RULES)

    def test_alerts_fire_and_end_when_they_should(self):
        run("promtool", "test", "rules", "rules_test.yaml", cwd=RULES.parent)

    def test_each_alert_is_tried_listed_and_says_what_to_do(self):
        tried = (RULES.parent / "rules_test.yaml").read_text()
        listed = (RULES.parent / "README.md").read_text()
        for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
            self.assertLessEqual({"summary", "description", "runbook"}, set(rule["annotations"]), rule["alert"])
            self.assertIn(f'alertname="{rule["alert"]}"', tried)
            self.assertIn(f"| {rule['alert']} |", listed)


class Dashboard(unittest.TestCase):
    def test_expressions_are_promql(self):
        rules = [{"record": f"dashboard:{i}", "expr": text} for i, text in enumerate(dashboard_expressions())]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "dashboard.yaml"
            path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
            run("promtool", "check", "rules", path)

    def test_panels_have_their_own_place_and_explain_themselves(self):
        taken = set()
        for panel in DASHBOARD["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, f"{panel['title']} covers another panel")
            taken |= cells
        for panel in panels():
            self.assertTrue(panel["description"], panel["title"])
        identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
        self.assertEqual(len(identifiers), len(set(identifiers)))
