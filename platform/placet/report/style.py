"""The style sheet of report and app: one file, with colours for light and dark."""

from __future__ import annotations

from enum import StrEnum
from importlib import resources

from placet.report.markup import Html

_LIGHT = {
    "ink": "#16202c",
    "muted": "#5b6573",
    "line": "#dde3ea",
    "paper": "#ffffff",
    "soft": "#f5f7f9",
    "accent": "#23569b",
    "good": "#1a7347",
    "good-soft": "#eef8f2",
    "caution": "#855700",
    "caution-soft": "#fdf6e0",
    "bad": "#b01e2e",
    "bad-soft": "#fdf0f1",
}
_DARK = {
    "ink": "#e6eaf0",
    "muted": "#9ea8b5",
    "line": "#2f3844",
    "paper": "#0e1117",
    "soft": "#171c24",
    "accent": "#84b4f4",
    "good": "#62cc94",
    "good-soft": "#10261b",
    "caution": "#e3b655",
    "caution-soft": "#292110",
    "bad": "#ff8a93",
    "bad-soft": "#311619",
}
_FONT = 'svg { font-family: system-ui, "Segoe UI", Roboto, Arial, "DejaVu Sans", sans-serif; }'


class Theme(StrEnum):
    """Which colours: light, dark, or what the reader's system asks for."""

    LIGHT = "light"
    DARK = "dark"
    AUTO = "auto"


def style_sheet(theme: Theme = Theme.AUTO) -> Html:
    """Return the style sheet, to stand in a ``<style>`` element. Paper is always light."""
    rules = _file("style.css") + _file("pictures.css")
    light, dark = _variables(_LIGHT), _variables(_DARK)
    if theme is Theme.DARK:
        return Html(f"{dark}\n{rules}")
    if theme is Theme.LIGHT:
        return Html(f"{light}\n{rules}")
    screen = f"@media screen and (prefers-color-scheme: dark) {{ {dark} }}"
    return Html(f"{light}\n{screen}\n{rules}")


def picture_style(theme: Theme) -> Html:
    """Return the style sheet of a picture that stands by itself, to stand inside its ``<svg>``."""
    colours = _DARK if theme is Theme.DARK else _LIGHT
    return Html(f"{_variables(colours)}\n{_FONT}\n{_file('pictures.css')}")


def _file(name: str) -> str:
    return (resources.files("placet.report") / name).read_text(encoding="utf-8")


def _variables(colours: dict[str, str]) -> str:
    return ":root { " + " ".join(f"--{name}: {value};" for name, value in colours.items()) + " }"
