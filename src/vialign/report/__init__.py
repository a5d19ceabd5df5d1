"""The report: figures, tables and one self-contained HTML page, drawn from the Parquet tables under `results/`."""
