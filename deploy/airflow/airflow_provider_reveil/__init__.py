"""Airflow's side of Réveil: everything here speaks to a Réveil daemon over its HTTP API, and to nothing else."""

__version__ = "0.1.0"
