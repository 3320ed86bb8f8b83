"""The samples of an adapter beside the base's, with filter and search."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from placet.domain.errors import Error
from placet.domain.text import printable
from placet.office import Office
from placet.report.fragments import badge
from placet.report.markup import el
from placet.report.records import FLIP_STATUS, answer
from placet.report.samples import Flip, Sample, SampleTable, load_samples
from placet.report.view import SuiteFigures
from streamlit_app.components.page import plain_option, show, show_error

_FILTERS = ("Flipped against the base", *(str(flip) for flip in Flip if flip is not Flip.ALONE), "All")
_SHOWN_IN_FULL = 5


@st.cache_data(show_spinner="Reading samples …", max_entries=32)
def _table(blobs: tuple[str, ...], _office: Office, _figures: SuiteFigures) -> SampleTable:
    # Keyed by the blobs' digests: the same digests are the same rows, so nothing can be out of date.
    return load_samples(_office, _figures)


def samples_explorer(office: Office, figures: tuple[SuiteFigures, ...]) -> None:
    """Draw one suite's samples, those that flipped against the base first."""
    if not figures:
        st.info("Nothing was measured yet.")
        return
    left, middle, right = st.columns([2, 3, 2])
    row = left.selectbox(
        "Suite", figures, format_func=lambda item: plain_option(f"{item.suite} · {item.metric}")
    )
    which = middle.segmented_control("Show", _FILTERS, default=_FILTERS[0]) or _FILTERS[0]
    wanted = right.text_input("Search in prompts and answers").strip().lower()
    blobs = (row.adapter.blob, row.base.blob if row.base else "")
    try:
        table = _table(blobs, office, row)
    except Error as error:  # the rest of the page does not rest on the samples
        show_error(error)
        return
    counts = table.counts()
    kept = [item for item in table.samples if _fits(item, which) and wanted in _words(item)]
    said = ", ".join(f"{counts[flip]} {flip}" for flip in Flip if counts[flip])
    show(
        el(
            "p",
            f"{len(kept)} of {len(table.samples)} samples shown. Against the base: {said}.",
            class_="small",
        )
    )
    if not kept:
        st.info("No sample fits.")
        return
    for item in kept[:_SHOWN_IN_FULL]:
        _card(item)
    if len(kept) > _SHOWN_IN_FULL:
        st.dataframe(_frame(kept), hide_index=True, height=420)


def _card(item: Sample) -> None:
    """Draw one sample in full: prompt, and what base and adapter made of it."""
    sides = (("Base", item.base_answer, item.base_value), ("Adapter", item.answer, item.value))
    show(
        el(
            "div",
            el(
                "p",
                badge(FLIP_STATUS[item.flip], str(item.flip)),
                f" {item.id} · wanted: ",
                el("b", item.target),
            ),
            el(
                "div",
                el("div", el("h3", "Prompt"), el("div", item.prompt, class_="quote")),
                [el("div", el("h3", name), answer(text, value)) for name, text, value in sides],
                class_="cards",
            ),
            class_="card",
        )
    )


def _fits(item: Sample, which: str) -> bool:
    if which == _FILTERS[0]:
        return item.flip in {Flip.LOST, Flip.GAINED, Flip.ALONE}
    return which in {"All", str(item.flip)}


def _words(item: Sample) -> str:
    return f"{item.id} {item.prompt} {item.target} {item.answer} {item.base_answer}".lower()


def _frame(kept: list[Sample]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "against base": [str(item.flip) for item in kept],
            "sample": [printable(item.id) for item in kept],
            "prompt": [printable(item.prompt) for item in kept],
            "wanted": [printable(item.target) for item in kept],
            "base": [printable(item.base_answer or "") for item in kept],
            "adapter": [printable(item.answer) for item in kept],
            "base counts": [item.base_value for item in kept],
            "adapter counts": [item.value for item in kept],
        }
    )
