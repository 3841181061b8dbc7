"""The form of a `reveil` connection, stated once: Airflow 3 reads it in the provider's info, Airflow 2 in the hook."""

from __future__ import annotations

from typing import Any

HIDDEN_FIELDS = ["login", "port", "schema", "extra"]
RELABELING = {"host": "URL", "password": "Token"}
PLACEHOLDERS = {
    "host": "https://reveil.example.com",
    "password": "rvl_… as `reveil token create` printed it",
    "verify_ssl": "true",
    "ca_bundle": "/etc/ssl/certs/internal-ca.pem",
    "timeout_secs": "30",
    "retries": "4",
}
CONN_FIELDS: dict[str, dict[str, Any]] = {
    "verify_ssl": {
        "label": "Verify TLS certificate",
        "description": "Switch off only for a daemon on this machine.",
        "schema": {"type": ["boolean", "null"], "default": True},
    },
    "ca_bundle": {
        "label": "CA bundle",
        "description": "File with the certificates to trust instead of the machine's own.",
        "schema": {"type": ["string", "null"]},
    },
    "timeout_secs": {
        "label": "Time-out of one request (seconds)",
        "schema": {"type": ["integer", "null"], "default": 30, "minimum": 1},
    },
    "retries": {
        "label": "Retries of one request",
        "description": "After a 429, a 5xx or a broken connection; Retry-After is honoured.",
        "schema": {"type": ["integer", "null"], "default": 4, "minimum": 0},
    },
}


def form_widgets() -> dict[str, Any]:
    """The same fields as form widgets. Only Airflow 2's web server asks, and only there the packages are installed."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import NumberRange, Optional

    def text(name: str, kind: Any) -> Any:
        schema = CONN_FIELDS[name]["schema"]
        rules = [Optional(), *([NumberRange(min=schema["minimum"])] if "minimum" in schema else [])]
        label = lazy_gettext(CONN_FIELDS[name]["label"])
        return kind(label, widget=BS3TextFieldWidget(), validators=rules, default=schema.get("default"))

    return {
        "verify_ssl": BooleanField(lazy_gettext(CONN_FIELDS["verify_ssl"]["label"]), default=True),
        "ca_bundle": text("ca_bundle", StringField),
        "timeout_secs": text("timeout_secs", IntegerField),
        "retries": text("retries", IntegerField),
    }
