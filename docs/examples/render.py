"""Runs an example script cell by cell and writes it as a Markdown page with what every cell printed.

`python docs/examples/render.py docs/examples/verify_signal.py` writes docs/examples/verify_signal.md. A cell begins
with `# %%`; one that begins with `# %% [markdown]` holds comments, which become the text of the page. The script runs
in a folder of its own, which is thrown away.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path

CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


def render(script: Path) -> str:
    """The page of a script, which runs in the current folder."""
    source = script.read_text(encoding="utf-8")
    parts = [f"<!-- made by `make examples` from {script.name}; edit that instead -->\n"]
    scope: dict[str, object] = {"__name__": "__main__"}
    _, *cells = CELL.split(source)
    for kind, text in zip(cells[::2], cells[1::2], strict=True):
        if kind:
            parts.append(re.sub(r"^# ?", "", text.strip(), flags=re.MULTILINE) + "\n")
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text, script.name, "exec"), scope)
        parts.append(f"```python\n{text.strip()}\n```\n")
        if printed.getvalue().strip():
            parts.append(f"```text\n{printed.getvalue().rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    script = Path(sys.argv[1]).resolve()
    output = Path(sys.argv[2] if len(sys.argv) > 2 else script.with_suffix(".md")).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        page = render(script)
    output.write_text(page, encoding="utf-8")
