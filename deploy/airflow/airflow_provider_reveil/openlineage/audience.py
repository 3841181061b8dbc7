"""Lineage of a sync: from the segment, through the audience, to what each platform holds.

Without Airflow's OpenLineage provider nobody calls this, and the operators work the same.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_reveil.runs import Run

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_reveil.hooks.settings import ConnectionSettings

log = logging.getLogger(__name__)


def planned(audience: str, host: str) -> OperatorLineage:
    """Before the run: what will be read and written."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    namespace = _namespace(host)
    return OperatorLineage(
        inputs=[Dataset(namespace=namespace, name=_segment_name(audience))],
        outputs=[Dataset(namespace=namespace, name=_audience_name(audience))],
    )


def done(run: Run, settings: ConnectionSettings) -> OperatorLineage:
    """After it: each destination as an output of its own, with what was sent, and where the run can be looked at."""
    from airflow.providers.common.compat.openlineage.facet import Dataset, ExternalQueryRunFacet
    from airflow.providers.openlineage.extractors import OperatorLineage

    namespace, audience = _namespace(settings.host), str(run.get("audience"))
    outputs = [Dataset(namespace=namespace, name=_audience_name(audience), facets={"documentation": _says(run)})]
    outputs += [_destination(one, namespace, audience) for one in run.destinations]
    return OperatorLineage(
        inputs=[Dataset(namespace=namespace, name=_segment_name(audience))],
        outputs=outputs,
        run_facets={"externalQuery": ExternalQueryRunFacet(externalQueryId=run.id, source=run.page(settings.base_url))},
    )


def parent(task_instance: Any) -> str | None:
    """The task's own run as `namespace/job/run id`, for Réveil's run to name as parent; None without OpenLineage."""
    try:
        from airflow.providers.openlineage.plugins.macros import lineage_parent_id

        return lineage_parent_id(task_instance)
    except ImportError:
        return None
    except Exception as fault:
        # The provider reads more and more of the task instance; lineage must not stop a sync.
        log.info("No OpenLineage parent for this run (%s)", type(fault).__name__)
        return None


def _destination(one: dict[str, Any], namespace: str, audience: str) -> Any:
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet

    counts = one.get("counts") or {}
    return OutputDataset(
        namespace=namespace,
        name=f"{_audience_name(audience)}/destination/{one['destination']}",
        outputFacets={"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=counts.get("add"))},
    )


def _says(run: Run) -> Any:
    from airflow.providers.common.compat.openlineage.facet import DocumentationDatasetFacet

    return DocumentationDatasetFacet(description=run.summary())


def _namespace(host: str) -> str:
    return f"reveil://{host}"


def _audience_name(audience: str) -> str:
    return f"audience/{audience}"


def _segment_name(audience: str) -> str:
    return f"segment/{audience}"
