"""An audience as an Airflow asset (a dataset, on Airflow 2), so that other DAGs can start when it was refreshed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airflow.providers.common.compat.sdk import Asset

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset

SCHEME = "reveil"


def audience_uri(audience: str, host: str) -> str:
    """`reveil://host/audience/key`."""
    return f"{SCHEME}://{host}/audience/{quote(audience, safe='')}"


def audience_asset(audience: str, host: str = "reveil_default", *, extra: dict[str, Any] | None = None) -> Any:
    """The asset of an audience.

    :param audience: the audience's key.
    :param host: which Réveil it is on. The operators say the connection's id here unless told otherwise, because a
        DAG file must not look up connections; say the same in the DAG that waits.
    """
    return Asset(uri=audience_uri(audience, host), extra=extra)


def create_asset(*, host: str, audience: str, extra: dict[str, Any] | None = None) -> Any:
    """Airflow's factory for `reveil://` URIs."""
    return audience_asset(audience, host, extra=extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Airflow's check of a `reveil://` URI."""
    kind, _, key = uri.path.lstrip("/").partition("/")
    if not uri.netloc or kind != "audience" or not key or "/" in key:
        raise ValueError("a reveil asset's URI must look like reveil://host/audience/key")
    return uri


def convert_asset_to_openlineage(asset: Any, lineage_context: Any) -> OpenLineageDataset:
    """The same audience as the operators' own lineage names it."""
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset

    parts = urlsplit(asset.uri)
    return OpenLineageDataset(namespace=f"{SCHEME}://{parts.netloc}", name=unquote(parts.path).strip("/"))


def describe_event(outlet_events: Any, asset: Any, facts: Mapping[str, Any]) -> None:
    """Puts what the run did beside the asset's event, where a DAG that it starts can read it."""
    outlet_events[asset].extra.update(facts)
