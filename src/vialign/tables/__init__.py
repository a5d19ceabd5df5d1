"""Every table of the project, declared once, one module a stage: columns, types, units, ranges and meaning."""
