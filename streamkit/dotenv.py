"""The `.env` file: KEY=VALUE lines, quotes, comments. Pure: text in, names and mistakes out.

Only names that begin with `STREAMKIT_` are looked at: the file may serve other programs in the same folder.
"""

from __future__ import annotations

import re

from msgspec import Struct

_ENTRY = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>STREAMKIT_\w*)[ \t]*=[ \t]*
        (?:'(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<bare>[^'"\r\n][^\r\n]*|))
        (?P<rest>[^\r\n]*)\r?$""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)
_LOOKS_MEANT = re.compile(r"[ \t]*(?:export[ \t]+)?STREAMKIT_")
_BARE_COMMENT = re.compile(r"(?:^|[ \t])#.*$")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class DotEnv(Struct, frozen=True):
    """What the file says: `values` by name (the last line of a name wins), `mistakes` as sentences with their line."""

    values: dict[str, str]
    mistakes: list[str]


def parse_dotenv(text: str) -> DotEnv:
    """Read `NAME=value`, `NAME='as it is'` and `NAME="with \\n escapes"`; quoted values may span lines."""
    values: dict[str, str] = {}
    mistakes: list[str] = []
    at, line = 0, 1
    while at < len(text):
        entry = _ENTRY.match(text, at)
        end_of_line = text.find("\n", at)
        end = len(text) if end_of_line < 0 else end_of_line
        if entry is None or not _is_comment(entry["rest"]):
            if _LOOKS_MEANT.match(text, at):
                mistakes.append(f"line {line} of .env must read NAME=value, with both quotes where there are any")
        else:
            end = entry.end()
            values[entry["name"]] = _value(entry)
        line += text.count("\n", at, end) + 1
        at = end + 1
    return DotEnv(values, mistakes)


def _is_comment(rest: str) -> bool:
    return not rest.strip() or rest.lstrip().startswith("#")


def _value(entry: re.Match[str]) -> str:
    if entry["single"] is not None:
        return entry["single"]
    if entry["double"] is not None:
        return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), entry["double"])
    return _BARE_COMMENT.sub("", entry["bare"]).strip()
