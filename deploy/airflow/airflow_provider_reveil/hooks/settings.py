"""A `reveil` connection as values."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from airflow_provider_reveil import __version__
from airflow_provider_reveil.hooks.retry import RetryPolicy

USER_AGENT = f"airflow-provider-reveil/{__version__}"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class ConnectionSettings:
    """Where the daemon is and how to speak to it."""

    base_url: str
    token: str = field(repr=False)
    verify: bool | str = True
    timeout_secs: float = 30
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    @classmethod
    def from_connection(cls, connection: Any) -> ConnectionSettings:
        """From an Airflow connection, in the form's shape or in that of a connection URI.

        # Raises
        ValueError, naming the field to mend.
        """
        extra = connection.extra_dejson or {}
        if not connection.password:
            raise ValueError(f"connection {connection.conn_id!r} has no token: put it in the field Token (password)")
        verify = _flag(extra.get("verify_ssl"), default=True)
        return cls(
            base_url=_base_url(connection),
            token=connection.password,
            verify=(extra.get("ca_bundle") or True) if verify else False,
            timeout_secs=_number(extra, "timeout_secs", 30),
            retry=RetryPolicy(retries=int(_number(extra, "retries", RetryPolicy.retries))),
        )

    @property
    def host(self) -> str:
        """Host and port: the authority of this daemon's assets and data sets."""
        return urlsplit(self.base_url).netloc

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, application/problem+json",
            "User-Agent": USER_AGENT,
        }

    @property
    def clear_text(self) -> bool:
        """Whether the token would cross a network unencrypted."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "http" and parts.hostname not in LOOPBACK

    def url(self, path: str) -> str:
        """The address of a path, or of a link that the daemon gave."""
        return path if "://" in path else f"{self.base_url}{path}"

    def ssl_context(self) -> ssl.SSLContext | bool:
        """The same trust for the asynchronous client."""
        if isinstance(self.verify, str):
            return ssl.create_default_context(cafile=self.verify)
        return self.verify


def _base_url(connection: Any) -> str:
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        raise ValueError(f"connection {connection.conn_id!r} has no URL: put https://… in the field URL (host)")
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"connection {connection.conn_id!r}: the URL must look like https://reveil.example.com")
    if "@" in parts.netloc:
        raise ValueError(f"connection {connection.conn_id!r}: the token belongs in the field Token, not in the URL")
    netloc = parts.netloc if parts.port or not connection.port else f"{parts.netloc}:{connection.port}"
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def _flag(value: Any, *, default: bool) -> bool:
    if value is None or value == "":
        return default
    return value if isinstance(value, bool) else str(value).strip().lower() not in ("false", "0", "no", "off")


def _number(extra: dict[str, Any], key: str, default: float) -> float:
    value = extra.get(key)
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"extra field {key} must be a number") from None
    if number < 0:
        raise ValueError(f"extra field {key} must not be negative")
    return number
