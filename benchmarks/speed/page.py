"""The page of the measurements: one table, and what stands beside it."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.speed.comparison import Measured
from benchmarks.speed.gallery import CAPTIONS, IMAGES, Whole

PACKAGES = ("vialign", "torch", "open_clip_torch", "peft", "POT", "torchmetrics")
LIMIT = 60.0
"""Seconds that the whole gallery may take on two cores."""
MEMORY = 2e9
"""Bytes that it may take."""


def processor() -> str:
    """The processor's own name, without that of the machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.machine()


def ratio(value: tuple[float, float, float]) -> str:
    """A ratio with its interval, to three digits."""
    middle, low, high = (f"{part:.3g}" if part < 1000 else f"{part:,.0f}" for part in value)
    return f"{middle} [{low}, {high}]"


def verdict(row: Measured) -> str:
    """Whether the goal was reached: by CPU time, with the whole interval."""
    if row.goal is None:
        return ""
    middle, low, high = row.ratio
    if low >= row.goal:
        return f"{row.goal:g}: reached"
    return f"{row.goal:g}: {'missed' if high < row.goal else 'undecided'}"


def table(rows: Sequence[Measured]) -> str:
    """All comparisons as one Markdown table."""
    head = (
        "what",
        "instead",
        "ours, CPU s",
        "times faster, CPU",
        "times faster, clock",
        "goal",
        "differs by",
        "rounds",
    )
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in rows:
        cells = (row.what, row.rival, f"{row.ours:.3g}", ratio(row.ratio), ratio(row.wall), verdict(row))
        lines.append(f"| {' | '.join((*cells, f'{row.difference:.0e}', str(row.rounds)))} |")
    return "\n".join(lines)


def gallery_words(found: Whole) -> str:
    """What the whole gallery took, what that means for COCO's size where it was a smaller one, and its limit."""
    pairs = found.images * found.captions
    scale = IMAGES * CAPTIONS / pairs
    least = found.operations * IMAGES * CAPTIONS / found.peak_rate / 2
    threads = "one thread" if found.threads == 1 else f"{found.threads} threads"
    rows = [
        ("images, captions", f"{found.images:,}, {found.captions:,}"),
        ("CPU time; by the clock", f"{found.cpu:.1f} s; {found.wall:.1f} s with {threads}"),
        ("CPU time a pair", f"{found.cpu / pairs * 1e9:,.0f} ns"),
        ("most memory of the process", f"{found.peak / 1e6:,.0f} MB"),
        ("operations of matrix products a pair", f"{found.operations:,.0f}"),
        ("a large product of matrices on one core", f"{found.peak_rate / 1e9:.0f} billion operations a second"),
        ("share of that rate that the whole work reaches", f"{100 * found.share:.0f} %"),
        (f"{IMAGES:,} images and {CAPTIONS:,} captions on two free cores", f"{found.cpu * scale / 2:.0f} s"),
        ("the products alone would take there", f"{least:.0f} s"),
    ]
    lines = ["| what | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    reached = "reached" if found.cpu * scale / 2 <= LIMIT else "missed"
    kept = "kept" if found.peak < MEMORY else "broken"
    of_size = "" if scale == 1 else ", from a smaller gallery by the number of pairs,"
    words = f"The goal of {LIMIT:g} s on two cores{of_size} is **{reached}**; that of {MEMORY / 1e9:g} GB is **{kept}**"
    if scale != 1:
        words += " at this size, where the other benchmarks' memory counts too"
    return "\n".join([*lines, "", f"{words}."])


def page(rows: Sequence[Measured], gallery: Whole, loads: tuple[float, float], command: str) -> str:
    """The whole page."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    busy = (
        f"Other work ran beside it (load {loads[0]:.1f} at the beginning, {loads[1]:.1f} at the end), so times by the "
        "clock say little, and CPU times are longer than on a quiet machine."
        if max(loads) > 2
        else f"The machine was quiet (load {loads[0]:.1f} and {loads[1]:.1f})."
    )
    return f"""# Benchmarks of speed

Beside what a user would take instead. `make bench` measures everything anew and writes this page; what stands here was
written by `{command}`.

- **How to read it.** A ratio of 2 means that the other way takes twice as long. It is the ratio of the means over the
  faster half of the rounds, with its 95 % interval over rounds (`vialign.budget`). Both ways run in turns, in one
  process and in an order that is drawn.
- **CPU time** counts all threads and worker processes; *by the clock* is what passes meanwhile. torch has one thread.
- **The same result.** Before the clock starts both results are compared; the table says how far they differ. A goal is
  *reached* or *missed* where the whole interval of CPU time says so.
- **Where.** {processor()}, Python {platform.python_version()}. {versions}. {busy}
- Weights are random, pictures and captions are drawn: only times are measured.

{table(rows)}

- **Image features** are the work of the tower, whose matrix products are the physical limit of both ways. Ours ends the
  last block with the class token, whose output alone is read, and decodes the next files while the tower is at work. It
  stores the tokens of all patches, which the other way does not.
- **Text features** are faster by what is cut off: the other way reads all 77 places of the context.
- **LoRA** passes a gradient through both towers. The method never runs them: its features are stored once, at the price
  of one pass of the towers without a gradient.

## All pairs of a gallery
From stored prototypes and phrases to the ranks of every query, eight prototypes an image and five units a caption.

{gallery_words(gallery)}
"""
