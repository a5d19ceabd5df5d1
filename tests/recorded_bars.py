"""The progress bars that something draws, without drawing them."""

import io

from tqdm import tqdm


def recorded_bars(monkeypatch):
    """Every bar that is made from here on, in order; each knows its `desc`, its `total` and how far it came, `n`."""
    made = []

    class Recorded(tqdm):
        def __init__(self, *given, **settings):
            super().__init__(*given, **{**settings, "file": io.StringIO()})
            made.append(self)

    monkeypatch.setattr("vialign.progress.tqdm", Recorded)
    return made
