"""Every key that is set here exists: the binary reads what is deployed."""

import os
import re
import subprocess
import tempfile
import tomllib
import unittest
from pathlib import Path

from places import DEPLOY, REVEIL
from test_helm import REPLICAS, SINGLE, environment

# Nobody listens there: the binary gets as far as the warehouse, once the configuration is read.
NOWHERE = "postgresql://reader@127.0.0.1:1/shop"
USAGE, TRY_LATER = 2, 75
PLAIN = """
[warehouse]
driver = "postgresql"
uri = "${WAREHOUSE_URI}"
[warehouse.customers]
table = "customers"
id = "customer_id"
emails = ["email"]
consent_ads = "ads_consent"
[warehouse.events]
table = "orders"
customer_id = "customer_id"
at = "ordered_at"
[audience.dormant]
label = "Dormant"
inactive = { purchase_recency = { days = 180 } }
destinations = ["meta"]
[destination.meta]
connector = "meta"
account = "act_1"
credentials = { env = "META_TOKEN" }
"""
SECRETS = {"WAREHOUSE_URI": NOWHERE, "META_TOKEN": "token", "POSTGRES_PASSWORD": "password"}


def read(text, more=()):
    """The exit code and what the binary says of a configuration, with more of it in the environment."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reveil.toml"
        path.write_text(text)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REVEIL")}
        given = {**kept, **SECRETS, **dict(more), "REVEIL_CONFIG": str(path)}
        done = subprocess.run([REVEIL, "segment", "sql"], capture_output=True, text=True, env=given)
        return done.returncode, done.stdout + done.stderr


def flat(table, prefix="REVEIL"):
    """A table as environment variables."""
    for key, value in table.items():
        name = f"{prefix}__{key.upper()}"
        if isinstance(value, dict):
            yield from flat(value, name)
        else:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


class Keys(unittest.TestCase):
    def accepted(self, text, more=()):
        code, said = read(text, more)
        self.assertEqual(code, TRY_LATER, said)

    def test_a_key_that_does_not_exist_would_be_seen(self):
        self.accepted(PLAIN)
        for text, more in ((PLAIN + "\n[server]\nlisten_to = 1\n", {}), (PLAIN, {"REVEIL__SERVER__LISTEN_TO": "1"})):
            code, said = read(text, more)
            self.assertEqual(code, USAGE, said)
            self.assertIn("listen_to", said)

    def test_compose(self):
        text = (DEPLOY / "compose" / "reveil.toml").read_text()
        self.accepted(text)
        named = set(re.findall(r"\$\{(\w+)\}|env = \"(\w+)\"", text.split("\n\n", 1)[1]))
        drawn = (DEPLOY / "compose" / "make-secrets").read_text()
        for name in {first or second for first, second in named}:
            self.assertRegex(drawn, rf"(?m)^{name}=")

    def test_helm(self):
        values = {
            "replicas": {**REPLICAS, "ledger": {"store": "file:///srv/reveil/ledger"}},
            "single": SINGLE,
        }
        secrets = {"REVEIL__STATE__URL": "postgres://reveil@127.0.0.1:1/reveil", "REVEIL_MASTER_KEY": "00" * 32, "REVEIL_FIRST_TOKEN": "rvl_"}
        for name, value in values.items():
            with self.subTest(name):
                entries = environment(value).values()
                more = {entry["name"]: entry.get("value", secrets.get(entry["name"])) for entry in entries}
                self.assertNotIn(None, more.values())
                self.accepted(PLAIN, more)

    def test_readmes(self):
        seen = 0
        for readme in DEPLOY.glob("*/README.md"):
            for block in re.findall(r"```toml\n(.*?)```", readme.read_text(), re.S):
                seen += 1
                with self.subTest(readme.parent.name):
                    # Another place for the same secret takes the place of the plain one.
                    plain = PLAIN.replace('credentials = { env = "META_TOKEN" }', "") if "credentials" in block else PLAIN
                    self.accepted(plain, flat(tomllib.loads(block)))
        self.assertGreater(seen, 0)
