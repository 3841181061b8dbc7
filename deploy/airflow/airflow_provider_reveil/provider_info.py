"""What Airflow reads at start-up, without importing a hook or an operator."""

from __future__ import annotations

from typing import Any

from airflow_provider_reveil import __version__
from airflow_provider_reveil.connection_form import CONN_FIELDS, HIDDEN_FIELDS, PLACEHOLDERS, RELABELING

MODULE = "airflow_provider_reveil"
NAME = "Réveil"


def get_provider_info() -> dict[str, Any]:
    """The provider, in the form of Airflow's `provider_info.schema.json`."""
    asset_uris = [
        {
            "schemes": ["reveil"],
            "handler": f"{MODULE}.assets.audience.sanitize_uri",
            "factory": f"{MODULE}.assets.audience.create_asset",
            "to_openlineage_converter": f"{MODULE}.assets.audience.convert_asset_to_openlineage",
        }
    ]
    return {
        "package-name": "airflow-provider-reveil",
        "name": NAME,
        "description": "Keeps ad audiences equal to an inactive segment and reads what the platforms made of it.",
        "versions": [__version__],
        "integrations": [{"integration-name": NAME, "tags": ["service"]}],
        "hooks": [
            {"integration-name": NAME, "python-modules": [f"{MODULE}.hooks.reveil", f"{MODULE}.hooks.reveil_async"]}
        ],
        "operators": [
            {
                "integration-name": NAME,
                "python-modules": [
                    f"{MODULE}.operators.sync_audience",
                    f"{MODULE}.operators.project_roi",
                    f"{MODULE}.operators.forget",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": NAME,
                "python-modules": [f"{MODULE}.sensors.run", f"{MODULE}.sensors.match_rate"],
            }
        ],
        "triggers": [
            {
                "integration-name": NAME,
                "python-modules": [f"{MODULE}.triggers.run", f"{MODULE}.triggers.match_rate"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "reveil",
                "hook-class-name": f"{MODULE}.hooks.reveil.ReveilHook",
                "hook-name": NAME,
                "conn-fields": CONN_FIELDS,
                "ui-field-behaviour": {
                    "hidden-fields": HIDDEN_FIELDS,
                    "relabeling": RELABELING,
                    "placeholders": PLACEHOLDERS,
                },
            }
        ],
        "extra-links": [f"{MODULE}.links.run_page.ReveilRunLink"],
        # Airflow 2 reads the first name, Airflow 3 the second.
        "dataset-uris": asset_uris,
        "asset-uris": asset_uris,
    }
