"""The unit: systemd's own checker, and how exposed it finds the service."""

import re
import tempfile
import unittest
from pathlib import Path

from places import DEPLOY, REVEIL, run

UNIT = (DEPLOY / "systemd" / "reveil.service").read_text()


class Unit(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.unit = Path(folder.name) / "reveil.service"
        # The checker looks whether the program is there.
        self.unit.write_text(UNIT.replace("/usr/local/bin/reveil", str(REVEIL)))

    def test_the_checker_finds_nothing(self):
        self.assertEqual(run("systemd-analyze", "verify", "--man=no", self.unit).strip(), "")

    def test_the_service_is_hardly_exposed(self):
        run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", self.unit)

    def test_the_readme_tells_the_exposure(self):
        said = run("systemd-analyze", "security", "--offline=true", "--no-pager", self.unit)
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said).group(1)
        self.assertIn(f"gives {level}:", (DEPLOY / "systemd" / "README.md").read_text())

    def test_the_user_can_be_made(self):
        with tempfile.TemporaryDirectory() as root:
            (Path(root) / "etc").mkdir()
            run("systemd-sysusers", f"--root={root}", DEPLOY / "systemd" / "reveil.sysusers")
            self.assertIn("reveil:", (Path(root) / "etc" / "passwd").read_text())
