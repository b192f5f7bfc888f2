"""A patch as files, hunks and lines for a template; what cannot be read as a patch stays text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.html import escape
from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk as ParsedHunk
from unidiff.patch import PatchedFile, PatchSet

from .code import code_lines
from .safe import SPANS, cleaned
from .text import clipped, short_lines, visible

SHOWN = 1_000_000  # characters of a patch
COLLAPSED = 400  # lines of a file above which it is shown closed
MARKED = 4_000  # lines of a whole patch up to which words are marked
DRAWN = 20_000  # lines of a whole patch that are drawn at all
MOST_FILES = 500
RAW = 200_000
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Line:
    kind: str  # ctx, add, del, hunk
    old: int | None
    new: int | None
    html: str

    @property
    def sign(self) -> str:
        return {"add": "+", "del": MINUS}.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class FileChange:
    """`lines` is empty for a binary file, and for one that is left out because the patch is too long."""

    path: str
    was: str
    what: str  # new file, deleted, renamed, binary or nothing
    added: int
    removed: int
    lines: tuple[Line, ...]
    left_out: bool = False

    @property
    def is_open(self) -> bool:
        return len(self.lines) <= COLLAPSED


@dataclass(frozen=True, slots=True)
class Diff:
    """`raw` is set where the patch could not be read; `cut` where it was longer than is shown."""

    files: tuple[FileChange, ...] = ()
    raw: str = ""
    cut: bool = False

    @property
    def added(self) -> int:
        return sum(file.added for file in self.files)

    @property
    def removed(self) -> int:
        return sum(file.removed for file in self.files)


def parse_diff(patch: str | bytes) -> Diff:
    """Everything about a patch that its page shows."""
    text = patch.decode("utf-8", "replace") if isinstance(patch, bytes) else patch
    text = text.encode("utf-8", "replace").decode()
    cut = len(text) > SHOWN
    whole = text[:SHOWN].rpartition("\ndiff --git ")[0] + "\n" if cut else text  # a file is shown whole or not at all
    try:
        # unidiff counts lines as the patch does: by LF alone, so that a form feed in a source file is no end of line
        parsed = PatchSet(_lf_lines(whole))
        if text.strip() and not parsed:
            raise ValueError("no file in it")
        return Diff(tuple(_files(parsed)), cut=cut or len(parsed) > MOST_FILES)
    except (UnidiffParseError, ValueError, IndexError, TypeError):
        return Diff(raw=short_lines(visible(clipped(text, RAW))), cut=cut or len(text) > RAW)


def _lf_lines(text: str) -> Iterator[str]:
    return (f"{line}\n" for line in text.split("\n")) if text else iter(())


def _files(parsed: PatchSet) -> Iterator[FileChange]:
    total = sum(len(hunk) for file in parsed for hunk in file)
    drawn = 0
    for file in list(parsed)[:MOST_FILES]:
        size = sum(len(hunk) for hunk in file)
        drawn += size
        fits = drawn <= DRAWN
        lines = tuple(_lines(file, mark=total <= MARKED)) if fits else ()
        yield FileChange(_path(file.path), _was(file), _what(file), file.added, file.removed, lines, not fits)


def _path(path: str) -> str:
    return visible(path)[:500]


def _was(file: PatchedFile) -> str:
    return _path(file.source_file.removeprefix("a/")) if file.is_rename else ""


def _what(file: PatchedFile) -> str:
    facts = (
        (file.is_binary_file, "binary"),
        (file.is_added_file, "new file"),
        (file.is_removed_file, "deleted"),
        (file.is_rename, "renamed"),
    )
    return next((word for fact, word in facts if fact), "")


def _lines(file: PatchedFile, *, mark: bool) -> Iterator[Line]:
    for hunk in file:
        place = f"@@ {MINUS}{hunk.source_start},{hunk.source_length} +{hunk.target_start},{hunk.target_length} @@"
        yield Line("hunk", None, None, cleaned(escape(visible(f"{place} {hunk.section_header}".strip())), SPANS))
        yield from _hunk(hunk, file.path if mark else "")


def _hunk(hunk: ParsedHunk, filename: str) -> Iterator[Line]:
    """Each side is marked as one text, so that a string over several lines keeps its colour."""
    said = [(line, line.value.removesuffix("\n").removesuffix("\r")) for line in hunk]
    old = iter(code_lines("\n".join(_flat(text) for line, text in said if not line.is_added), filename))
    new = iter(code_lines("\n".join(_flat(text) for line, text in said if not line.is_removed), filename))
    for line, text in said:
        if line.line_type == "\\":
            next(old, ""), next(new, "")
            yield Line("hunk", None, None, cleaned(escape(visible(f"\\ {text.strip()}")), SPANS))
        elif line.is_added:
            yield Line("add", None, line.target_line_no, next(new, ""))
        elif line.is_removed:
            yield Line("del", line.source_line_no, None, next(old, ""))
        else:
            next(old, "")
            yield Line("ctx", line.source_line_no, line.target_line_no, next(new, ""))


def _flat(text: str) -> str:
    return short_lines(visible(text)).replace("\n", "\u2424")
