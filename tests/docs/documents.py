"""Markdown as data: which sections, tables, code blocks and links does a document have?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_CELL_END = re.compile(r"(?<!\\)\|")


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    text: str


@dataclass(frozen=True)
class Document:
    """One file; `name` is its path in the repository."""

    name: str
    text: str

    @classmethod
    def read(cls, name: str) -> Document:
        return cls(name, (ROOT / name).read_text("utf-8"))

    @property
    def prose(self) -> str:
        """All but the blocks of code."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str | None = None) -> list[Block]:
        found = [Block(match[1], match[2]) for match in _FENCE.finditer(self.text)]
        return [block for block in found if language in (None, block.language)]

    def headings(self) -> list[str]:
        return [match[2] for match in _HEADING.finditer(self.prose)]

    def section(self, title: str) -> Document:
        """What stands below a heading, up to the next one of any level."""
        bare = _FENCE.sub(lambda block: re.sub(r"(?m)^#", " ", block[0]), self.text)
        found = list(_HEADING.finditer(bare))
        for index, match in enumerate(found):
            if match[2] == title:
                end = found[index + 1].start() if index + 1 < len(found) else len(bare)
                return Document(f"{self.name}, {title}", self.text[match.end() : end])
        raise AssertionError(f"{self.name} has no section {title!r}")

    def rows(self) -> list[list[str]]:
        """The cells of all its tables, without their heads."""
        return [row for table in self.tables() for row in table]

    def tables(self) -> Iterator[list[list[str]]]:
        rows: list[list[str]] = []
        for line in [*self.prose.splitlines(), ""]:
            if line.startswith("|"):
                rows.append([cell.strip() for cell in _CELL_END.split(line)[1:-1]])
            elif rows:
                yield rows[2:]
                rows = []

    def links(self) -> list[str]:
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    def anchors(self) -> set[str]:
        """The fragments that a link may name."""
        kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in self.headings())
        return {title.replace(" ", "-") for title in kept}


def codes(cell: str) -> list[str]:
    """What stands in backticks, with the pipes that a table has to escape."""
    return [text.replace("\\|", "|") for text in re.findall(r"`([^`]+)`", cell)]


def all_documents() -> list[Document]:
    """Every Markdown file of the project."""
    patterns = ("*.md", "docs/*.md", "bench/*.md", "examples/*/*.md")
    paths = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    return [Document.read(str(path.relative_to(ROOT))) for path in paths]
