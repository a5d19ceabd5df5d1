"""`python -m vialign.cli ...` is `vialign ...`."""

from vialign.cli.app import app

if __name__ == "__main__":
    app()
