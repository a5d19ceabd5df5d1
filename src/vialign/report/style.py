"""The one look of every figure: the Okabe-Ito palette, which colour-blind readers can tell apart, and thin furniture.

Colours leave matplotlib as fixed hexadecimal values and become CSS variables in the page, so that one drawing serves
the light scheme, the dark scheme and paper.
"""

PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#7f7f7f", "#8c6d31", "#6b7d00", "#4b3f9e"),
)
"""Okabe-Ito without black and yellow, which vanish on one of the two backgrounds, and four darker tones."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
DASHES = (
    *("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 3))),
    *((0, (8, 2, 2, 2)), (0, (2, 4))),
)

INK = "#010101"
MUTED = "#020202"
GRID = "#030303"

VARIABLES = {
    INK: "var(--ink, #1b1f24)",
    MUTED: "var(--muted, #57606a)",
    GRID: "var(--grid, #d0d7de)",
    **{colour: f"var(--series-{place}, {colour})" for place, colour in enumerate(PALETTE, start=1)},
}
"""Fixed colour in the drawing -> CSS variable in the page, with a value for a reader that knows no variables."""

WIDTH = 4.0
"""Inches; 384 CSS pixels, still legible when a phone shrinks the drawing to its own width."""

RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vialign",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
