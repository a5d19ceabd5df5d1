"""Draws the pipeline from its rules: `python docs/tools/draw_map.py` writes docs/images/map.svg.

A stage is a file of rules. Its rules, their files and what they read are taken from its text, so the picture needs no
run and no Graphviz, and it is the same on every machine. A helper that an input calls counts as if it stood there.
"""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
RULE = re.compile(
    r"^(?:(?:rule|checkpoint)|use rule \w+ as) (\w+)(?: with)?:\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL
)
INCLUDED = re.compile(r'^include: "(workflow/rules/\w+\.smk)"', re.MULTILINE)
HELPER = re.compile(r"^def (\w+)\(.*?\n(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
PURPOSE = re.compile(r"^# Stage \w+: (.*?\.)(?=\s|$)", re.MULTILINE | re.DOTALL)
FILE = re.compile(r'"\{RESULTS\}/([^"]+)"')
NAMED = re.compile(r"(?:rules|checkpoints)\.(\w+)")
GAP = re.compile(r"\{\{?[^{}]*\}?\}")

WIDTH, GUTTER, MARGIN, LINE = 400, 52, 10, 15
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.stage { font-weight: 700; font-size: 14px } .rule { fill: #0b6e69 } .file { fill: #59636e }
rect { fill: #f6f8fa; stroke: #8c959f } path { fill: none; stroke: #0b6e69; stroke-width: 1.5 } circle { fill: #0b6e69 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .rule { fill: #5ac8bf } .file { fill: #9da7b3 }
rect { fill: #161b22; stroke: #6e7681 } path { stroke: #5ac8bf } circle { fill: #5ac8bf } }
"""


@dataclass
class Stage:
    """One file of rules."""

    name: str
    purpose: str
    rules: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    after: set[str] = field(default_factory=set)
    """Stages whose files its rules read."""


def blocks(body: str) -> dict[str, str]:
    """The directives of a rule and what stands in them."""
    found = re.findall(r"^    (\w+):(.*?)(?=^    \w+:|\Z)", body, re.MULTILINE | re.DOTALL)
    return {name: text for name, text in found if name in ("input", "output")}


def same(path: str) -> str:
    """A path with every part that is filled in later as `*`."""
    return GAP.sub("*", path)


def read_stages(root: Path) -> list[Stage]:
    """The stages of a checkout in the order in which one needs the other, else as the Snakefile includes them."""
    included = INCLUDED.findall((root / "Snakefile").read_text(encoding="utf-8"))
    texts = {Path(path).stem: (root / path).read_text(encoding="utf-8") for path in included}
    helpers = {found[1]: found[0] for text in texts.values() for found in HELPER.finditer(text)}
    reads: dict[str, str] = {}
    stages, maker, files = {}, {}, {}
    for name, text in texts.items():
        rules = {rule: blocks(body) for rule, body in RULE.findall(text)}
        making = {rule: parts for rule, parts in rules.items() if "output" in parts}
        if not making:
            continue
        purpose = PURPOSE.search(text)
        if purpose is None:
            raise ValueError(f"{name}.smk: no line `# Stage {name}: what it is for.`")
        stage = stages[name] = Stage(name, " ".join(purpose[1].replace("\n#", " ").split()).rstrip("."))
        reads[name] = " ".join(with_helpers(parts.get("input", ""), helpers) for parts in making.values())
        for rule, parts in making.items():
            maker[rule] = name
            stage.rules.append(rule)
            written = [same(path) for path in FILE.findall(parts["output"])]
            stage.files += [path for path in written if path not in stage.files]
            files |= dict.fromkeys(written, name)
    for name, stage in stages.items():
        stage.after = {maker[rule] for rule in NAMED.findall(reads[name]) if rule in maker}
        stage.after |= {made for path in FILE.findall(reads[name]) if (made := makes(same(path), files))}
        stage.after.discard(name)
    return in_order(stages)


def with_helpers(text: str, helpers: dict[str, str]) -> str:
    """An input with the text of every helper that it names, and of those that these name."""
    known: set[str] = set()
    while more := {name for name in helpers if name not in known and re.search(rf"\b{name}\b", text)}:
        known |= more
        text += "".join(helpers[name] for name in sorted(more))
    return text


def makes(wanted: str, files: dict[str, str]) -> str | None:
    """The stage that writes a path; parts that are filled in later fit anything, on either side."""

    def fits(made: str) -> bool:
        pairs = list(zip(made.split("/"), wanted.split("/"), strict=False))
        return made.count("/") == wanted.count("/") and all("*" in one + other or one == other for one, other in pairs)

    exact = files.get(wanted)
    return exact or next((stage for made, stage in files.items() if fits(made)), None)


def in_order(stages: dict[str, Stage]) -> list[Stage]:
    """What needs nothing first; of stages that read each other's files, the one that most others wait for."""
    left, done = dict(stages), []
    while left:
        free = [name for name, stage in left.items() if not stage.after & set(left)]
        # A circle: first goes the stage that most of the others wait for, of those that wait for the fewest; what it
        # reads of later ones is drawn upwards.
        awaited = {name: sum(name in stage.after for stage in left.values()) for name in left}
        waits = {name: len(stage.after & set(left)) for name, stage in left.items()}
        name = free[0] if free else min(left, key=lambda name: (waits[name], -awaited[name]))
        done.append(left.pop(name))
    return done


def needed(stages: list[Stage]) -> list[tuple[int, int]]:
    """Pairs of places to join: what a stage reads, without what follows from the others."""
    place = {stage.name: number for number, stage in enumerate(stages)}
    before: list[set[int]] = []
    pairs = []
    for number, stage in enumerate(stages):
        direct = {place[name] for name in stage.after if place[name] < number}
        implied = set().union(*(before[other] for other in direct))
        before.append(direct | implied)
        pairs += [(other, number) for other in sorted(direct - implied)]
        pairs += [(place[name], number) for name in sorted(stage.after) if place[name] > number]
    return pairs


def listed(files: list[str]) -> str:
    """Paths of a stage, the folder that several share said once."""
    folders: dict[str, dict[str, None]] = {}
    for path in files:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, {})[re.sub(r"\.parquet$", "", name)] = None
    return "; ".join(f"{folder}/ {', '.join(names)}" for folder, names in folders.items())


def draw(stages: list[Stage]) -> str:
    """The picture: one box a stage from top to bottom, and lines beside them from what is read to what reads it."""
    parts, middles, top = [], [], MARGIN
    for stage in stages:
        lines = [("stage", stage.name)]
        for kind, text, width in (
            ("", stage.purpose.replace("`", ""), 50),
            ("rule", ", ".join(stage.rules), 48),
            ("file", listed(stage.files), 48),
        ):
            lines += [(kind, line) for line in wrap(text, width, break_long_words=False, break_on_hyphens=False)]
        height = LINE * len(lines) + 12
        parts.append(f'<rect x="{GUTTER}" y="{top}" width="{WIDTH - GUTTER - 4}" height="{height}" rx="5"/>')
        for number, (kind, line) in enumerate(lines):
            parts.append(
                f'<text x="{GUTTER + 8}" y="{top + 17 + LINE * number}" class="{kind}">{escape(line)}</text>'.replace(
                    ' class=""', ""
                )
            )
        middles.append(top + 14)
        top += height + 9
    pairs = needed(stages)
    lanes = lanes_of(pairs)
    for (start, end), lane in zip(pairs, lanes, strict=True):
        x, first, last = GUTTER - 9 - 6 * lane, middles[start] + 4, middles[end] - 3
        parts.append(f'<path d="M{GUTTER} {first}H{x}V{last}H{GUTTER - 3}"/><circle cx="{GUTTER}" cy="{last}" r="3"/>')
    names = ", ".join(stage.name for stage in stages)
    size = f'viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        f"<title>Stages of the pipeline from top to bottom: {names}</title><style>{STYLE}</style>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def lanes_of(pairs: list[tuple[int, int]]) -> list[int]:
    """A lane beside the boxes for every line, so that no two lie on each other; short ones lie near."""
    taken: list[list[tuple[int, int]]] = []
    lane_of = {}
    for pair in sorted(pairs, key=lambda pair: (abs(pair[1] - pair[0]), pair)):
        low, high = sorted(pair)
        lane = next(
            (lane for lane, used in enumerate(taken) if all(high <= a or low >= b for a, b in used)), len(taken)
        )
        taken += [[]] if lane == len(taken) else []
        taken[lane].append((low, high))
        lane_of[pair] = lane
    return [lane_of[pair] for pair in pairs]


if __name__ == "__main__":
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/images/map.svg"
    output.write_text(draw(read_stages(ROOT)), encoding="utf-8")
