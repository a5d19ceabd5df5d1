"""What `snakemake --report` shows: every file has a caption that exists, and a category."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_reported_file_has_its_caption_and_category_and_no_caption_is_left_over():
    used = set()
    for rules in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for block in re.findall(r"\breport\(\n(.*?)\n\s+\),", rules.read_text(encoding="utf-8"), re.S):
            caption = re.search(r'caption="([^"]+)"', block)
            assert caption and re.search(r'category="\w+"', block), (rules.name, block)
            path = (rules.parent / caption.group(1)).resolve()
            assert len(path.read_text(encoding="utf-8").split()) > 15
            used.add(path)
    assert used == {path.resolve() for path in (ROOT / "workflow/report").glob("*.rst")} and len(used) >= 3
