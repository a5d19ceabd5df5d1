"""The report: figures, tables and one self-contained HTML page, drawn from the Parquet tables under `results/`."""

from vialign.report.build import build_report

__all__ = ["build_report"]
