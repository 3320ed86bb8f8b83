"""Parts of the ledger page: is the record whole, and who may sign what."""

from __future__ import annotations

from placet.lineage.graph import Status
from placet.report.fragments import badge, identifier, lines, table
from placet.report.ledger import LedgerPage
from placet.report.markup import Child, Html, el, join
from placet.report.text import plural

_FINDINGS_SHOWN = 12


def audit_part(page: LedgerPage) -> Html:
    """Return the head of the ledger and what the audit found, checked and could not see."""
    audit = page.audit
    status = Status.GOOD if audit.whole else Status.BAD
    word = "✓ WHOLE" if audit.whole else "✕ NOT WHOLE"
    said = "nothing edited, dropped or re-ordered that can be seen from here" if audit.whole else "see below"
    parts: list[Child] = [
        el("h1", "Ledger"),
        el("p", page.origin, class_="muted small"),
        el(
            "div",
            el("span", word, class_=f"word {status}"),
            el(
                "span",
                f"{plural(audit.records, 'record')}, {plural(len(audit.findings), 'finding')}: {said}.",
                class_="rest",
            ),
            class_=f"banner {status}",
        ),
    ]
    if audit.findings:
        shown = [(Status.BAD, f"{finding.id}: {finding.message}") for finding in audit.findings]
        more = len(shown) - _FINDINGS_SHOWN
        parts.append(lines(shown[:_FINDINGS_SHOWN]))
        parts.append(
            el("p", f"and {plural(more, 'more finding')}: `placet audit` lists all") if more > 0 else None
        )
    seen = Status.GOOD if audit.whole else Status.NEUTRAL
    cards = (
        ("Checked just now", seen, audit.checked),
        ("Cannot be seen from here", Status.NEUTRAL, audit.blind),
    )
    parts.append(
        el(
            "div",
            [
                el("section", el("h3", title), lines((sign, text) for text in texts), class_="card")
                for title, sign, texts in cards
            ],
            class_="cards",
        )
    )
    parts.append(
        el(
            "dl",
            join([el("dt", "Root of the log"), el("dd", audit.root, class_="id")]),
            join([el("dt", "Pin of the trust root"), el("dd", page.root_pin, class_="id")]),
        )
    )
    return join(parts)


def keys_table(page: LedgerPage) -> Html:
    """Return every grant: person, roles, for which ledger indices, and whether the key lies in this office."""
    rows = [
        el(
            "tr",
            el("th", item.person, scope="row"),
            el("td", ", ".join(item.roles)),
            el(
                "td",
                f"from {item.valid_from}"
                + (f" until before {item.valid_until}" if item.valid_until is not None else ""),
                class_="tight",
            ),
            el("td", badge(Status.NEUTRAL, item.file) if item.file else "elsewhere"),
            el("td", identifier(item.key_id)),
        )
        for item in page.keys
    ]
    return table(("Person", "May sign as", "Ledger indices", "Key file", "Key"), rows)
