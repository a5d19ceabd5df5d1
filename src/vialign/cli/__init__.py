"""The command line, one module a tool."""
