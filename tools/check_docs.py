"""Check that the documentation is true where a machine can tell.

Every relative link and picture leads to a file (and, with a #fragment, to a heading); every command of the
command line is described in docs/reference/cli.md, options included, and has an example in its help; no
committed file names a machine's own folders or a package registry's host; the layers that the architecture page
draws are the ones that the import contract holds.

Exit status: 0 nothing found, 1 something found.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CLI_PAGE = "docs/reference/cli.md"
ARCHITECTURE_PAGE = "docs/explanation/architecture.md"

_FENCE = re.compile(r"^(?P<mark>`{3,}|~{3,}).*?^(?P=mark)[^\n]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HTML_LINK = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=\"([^\"\s]+)\"", re.IGNORECASE)
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)", re.MULTILINE)
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$", re.MULTILINE)
_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)

# A bracket in each pattern keeps this file from finding itself.
_FORBIDDEN = (
    (re.compile(r"(?<![\w.~-])/[w]ork/"), "a path of one machine"),
    (re.compile(r"(?<![\w.~-])/[t]mp/lab\b"), "a path of one machine"),
    (re.compile(r"(?<![\w.~-])/[r]oot/"), "a path of one machine"),
    (re.compile(r"(?<![\w.~-])/[o]pt/(?:wheels|pypi)"), "a path of one machine"),
    (re.compile(r"\b(?:py[p]i\.org|files\.python[h]osted\.org|registry\.np[m]js\.org)"), "a registry's host"),
)
_BINARY = {".png", ".jpg", ".gif", ".ico", ".woff2", ".parquet", ".safetensors", ".whl", ".duckdb"}


def committed_files() -> list[Path]:
    """Return the files git knows or would add, sorted; outside a checkout, every file that is not hidden."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths: Iterable[Path] = (ROOT / name for name in listed.stdout.split("\0") if name)
    else:
        paths = (
            path
            for path in ROOT.rglob("*")
            if not any(p.startswith(".") for p in path.relative_to(ROOT).parts)
        )
    return sorted({path for path in paths if path.is_file() and not path.is_symlink()})


def check_links() -> Iterator[str]:
    """Every relative link, picture and #fragment in a Markdown file leads somewhere in this repository."""
    for page in committed_files():
        if page.suffix != ".md":
            continue
        text = _without_code(page.read_text(encoding="utf-8"))
        for pattern in (_LINK, _HTML_LINK, _REFERENCE):
            for match in pattern.finditer(text):
                problem = _dead_link(page, match.group(1))
                if problem:
                    yield f"{_name(page)}: {problem}"


def check_commands() -> Iterator[str]:
    """Every command is described in the reference page with its options, and its help has an example."""
    if importlib.util.find_spec("placet") is None or importlib.util.find_spec("placet.cli") is None:
        yield "placet.cli cannot be imported: run this with .venv/bin/python"
        return
    page = ROOT / CLI_PAGE
    if not page.is_file():
        yield f"{CLI_PAGE} is missing"
        return
    sections = _sections(page.read_text(encoding="utf-8"))
    commands = dict(_commands())
    for name, command in commands.items():
        help_text = str(command.help or "") + str(getattr(command, "epilog", "") or "")
        if "example" not in help_text.lower():
            yield f"`{name} --help` has no Example"
        if name not in sections:
            yield f"{CLI_PAGE}: no heading for `{name}`"
            continue
        for option in _options(command):
            if not re.search(re.escape(option) + r"(?![\w-])", sections[name]):
                yield f"{CLI_PAGE}: `{name}` has {option}, which its section does not mention"
    for name in sections:
        if (
            name not in commands
            and not any(other.startswith(name + " ") for other in commands)
            and name != "placet"
        ):
            yield f"{CLI_PAGE}: there is no command `{name}`"


def check_words() -> Iterator[str]:
    """No committed text names a folder of one machine or the host of a package registry."""
    for path in committed_files():
        if path.suffix in _BINARY:
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, start=1):
            for pattern, what in _FORBIDDEN:
                if match := pattern.search(line):
                    yield f"{_name(path)}:{number}: {match.group(0)!r} is {what}"


def check_layers() -> Iterator[str]:
    """The layers drawn in the architecture page are the ones that the import contract holds."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    folder = ROOT / "platform" / "placet"
    enforced = [
        {name for name in re.findall(r"\w+", layer) if any(folder.glob(f"{name}*")) and name != "__main__"}
        for layer in layers
    ]
    page = (ROOT / ARCHITECTURE_PAGE).read_text(encoding="utf-8")
    fences = [block.group(0) for block in _FENCE.finditer(page)]
    drawn_block = next(
        (block for block in fences if "domain" in block.split() and "attest" in block.split()), ""
    )
    drawn = [set(line.split()) - {"streamlit_app"} for line in drawn_block.splitlines()[1:-1]]
    if drawn != [layer for layer in enforced if layer]:
        yield f"{ARCHITECTURE_PAGE}: the layers drawn are not those of pyproject.toml: {layers}"


# Another check (say, that every finding's id has its page) is one more generator in this tuple.
CHECKS: tuple[Callable[[], Iterator[str]], ...] = (check_links, check_commands, check_words, check_layers)


def main() -> int:
    """Run every check, print what they find, and return the exit status."""
    found = [problem for check in CHECKS for problem in check()]
    for problem in found:
        print(problem)
    print(f"docs: {len(found)} problem(s)" if found else "docs: nothing to mend")
    return 1 if found else 0


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _without_code(text: str) -> str:
    return _CODE.sub("", _FENCE.sub("", text))


def _dead_link(page: Path, target: str) -> str | None:
    if _SCHEME.match(target) or target.startswith("//"):
        return None
    raw, _, fragment = target.partition("#")
    file = (page.parent / raw).resolve() if raw else page
    if raw.startswith("/"):
        return f"{target} is absolute: link relatively"
    if not file.is_relative_to(ROOT):
        return f"{target} leads out of the repository"
    if not file.exists():
        return f"{target} does not exist"
    if fragment and file.suffix == ".md" and fragment not in _anchors(file.read_text(encoding="utf-8")):
        return f"{target}: no such heading"
    return None


def _anchors(text: str) -> set[str]:
    """Return the fragments GitHub gives to the headings of `text`."""
    found = set(_ANCHOR.findall(text))
    for _, heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (candidate := slug if number == 0 else f"{slug}-{number}") in found:
            number += 1
        found.add(candidate)
    return found


def _sections(text: str) -> dict[str, str]:
    """Return the text under each heading that names a command, without its sub-headings' commands."""
    text = _FENCE.sub(lambda fence: fence.group(0).replace("\n#", "\n "), text)
    sections: dict[str, str] = {}
    matches = [match for match in _HEADING.finditer(text) if "placet" in match.group(2)]
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        named = re.search(r"placet(?: [a-z][a-z0-9-]*)*", match.group(2))
        if named:
            sections[named.group(0)] = text[match.end() : following.start() if following else len(text)]
    return sections


def _commands() -> Iterator[tuple[str, Any]]:
    """Give every visible command of the Typer app with its full name, groups themselves left out."""
    import typer.main

    import placet.cli

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
            return
        for child_name, child in children.items():
            if not child.hidden:
                yield from walk(f"{name} {child_name}", child)

    yield from walk("placet", typer.main.get_command(placet.cli.app))


def _options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
            continue
        yield from (option for option in parameter.opts if option.startswith("--"))


if __name__ == "__main__":
    sys.exit(main())
