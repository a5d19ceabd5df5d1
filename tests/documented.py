"""The commands that pages and messages name: found in blocks and in spans of code, taken apart by their own parsers."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`|<code>(.+?)</code>")
COMMAND = re.compile(r"(?:\w+=\S+ )*(?:snakemake|make|vialign|pytest|python) .*")
SHELL = ("", "sh", "bash", "console")


@dataclass(frozen=True)
class Told:
    """One command, where it stands, and the files of YAML that the same page shows before it."""

    place: str
    line: str
    shown: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> list[str]:
        """Program and arguments: without the variables set before it, a redirection behind it, and a remark."""
        found = shlex.split(self.line.partition(" > ")[0], comments=True)
        return found[next(place for place, word in enumerate(found) if "=" not in word) :]

    @property
    def program(self) -> str:
        """Its first word."""
        return self.words[0]


def told_in_page(text: str, place: str) -> list[Told]:
    """Commands of a page in Markdown: whole lines of its shell blocks, and code spans that are a whole command."""
    told, shown, last = [], [], ""
    for language, block in BLOCK.findall(text):
        if language == "yaml":
            last = block
        if language in SHELL:
            lines = [line.strip() for line in block.replace("\\\n", " ").splitlines()]
            found = [line for line in lines if COMMAND.fullmatch(line)]
            # The file that a block of commands names is the one that stands above it.
            shown += [(name, last) for line in found for name in re.findall(r"(?<=\s)[\w-]+\.yaml\b", line) if last]
            told += [Told(place, line, tuple(shown)) for line in found]
    return told + told_in_code(BLOCK.sub("", text), place)


def told_in_code(text: str, place: str) -> list[Told]:
    """Commands in the code spans of a text, such as a comment or a message; one with gaps to fill in is left out."""
    spans = (" ".join((tick or code).split()) for tick, code in SPAN.findall(text))
    return [Told(place, span) for span in spans if COMMAND.fullmatch(span) and "{" not in span.partition("'")[0]]


def told_commands(tree: Path) -> list[Told]:
    """Every command that the README, the pages, the code's own texts and the workflow's comments name."""
    pages = [
        tree / "README.md",
        tree / "CONTRIBUTING.md",
        tree / "config/README.md",
        *sorted((tree / "docs").rglob("*.md")),
    ]
    code = [tree / "Snakefile", *sorted((tree / "src").rglob("*.py")), *sorted((tree / "workflow").rglob("*.smk"))]
    code += [*sorted((tree / "configs").glob("*.yaml")), *sorted((tree / "profiles").rglob("*.yaml"))]
    code += [*sorted((tree / "benchmarks").glob("*.py"))]
    told = []
    for read, files in ((told_in_page, pages), (told_in_code, code)):
        for file in files:
            told += read(file.read_text(encoding="utf-8"), file.relative_to(tree).as_posix())
    return told
