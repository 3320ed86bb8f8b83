"""Parts of the ledger page: is the record whole, who co-signed it, and who may sign what."""

from __future__ import annotations

from datetime import datetime

from placet.domain.digests import short
from placet.ledger.audit.report import MEANINGS
from placet.lineage.graph import Status
from placet.office import KeyInfo
from placet.report.fragments import badge, identifier, lines, table
from placet.report.ledger import LedgerPage, RootView
from placet.report.markup import Child, Html, el, join
from placet.report.text import moment, plural
from placet.report.witnesses import FOLDER, WitnessView

_FINDINGS_SHOWN = 12
_EXPIRES_SOON_DAYS = 60


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
                f"{plural(audit.records, 'record')}, {plural(len(audit.findings), 'finding')}: {said}. ",
                _when(page),
                class_="rest",
            ),
            class_=f"banner {status}",
        ),
    ]
    if audit.findings:
        parts += _findings(page)
    seen = Status.GOOD if audit.whole else Status.NEUTRAL
    cards = (
        ("Checked", lines((seen, text) for text in audit.checked)),
        ("Cannot be seen from here", lines((Status.NEUTRAL, text) for text in audit.blind)),
        ("Seen from outside", _outside(page)),
    )
    parts.append(
        el(
            "div",
            [el("section", el("h3", title), body, class_="card") for title, body in cards],
            class_="cards",
        )
    )
    parts.append(el("dl", join([el("dt", "Root of the log"), el("dd", audit.root, class_="id")])))
    return join(parts)


def _when(page: LedgerPage) -> str:
    if page.whole_at == page.audited_at:
        return f"Audited {moment(page.audited_at)}."
    new = page.audit.records - page.audit.start
    since = f"the {plural(new, 'record')} since {moment(page.audited_at)}"
    return f"All of it was audited {moment(page.whole_at)}, and {since}."


def _findings(page: LedgerPage) -> list[Child]:
    """Return the findings, each kind with what it means to people who do not write programs."""
    audit = page.audit
    parts: list[Child] = []
    for kind in dict.fromkeys(finding.id for finding in audit.findings):
        messages = [(Status.BAD, finding.message) for finding in audit.findings if finding.id == kind]
        more = len(messages) - _FINDINGS_SHOWN
        parts += [
            el("h3", kind),
            el("p", MEANINGS.get(kind, "")),
            lines(messages[:_FINDINGS_SHOWN]),
            el("p", f"and {plural(more, 'more finding')}: `placet audit` lists all") if more > 0 else None,
        ]
    return parts


def _outside(page: LedgerPage) -> Html:
    """Return who co-signed the log last, what no co-signature covers, and the last audit that was noted."""
    items: list[tuple[Status, Child]] = []
    seen = [item for item in page.witnesses if item.last is not None]
    if not page.witnesses:
        items.append(
            (
                Status.CAUTION,
                "No witness is named. Whoever runs this office could rewrite the log, sign it again with its own key, "
                "and nothing here would show it.",
            )
        )
    items += [_cosigned(item, page.size) for item in page.witnesses]
    if seen:
        covered = max(item.last.size for item in seen if item.last is not None)
        rest = page.size - covered
        open_ = (
            f"the {plural(rest, 'record')} since could, until the next co-signature"
            if rest > 0
            else "no record is newer"
        )
        items.append(
            (
                Status.NEUTRAL,
                f"Records 0 to {covered - 1} cannot be rewritten without this page showing it; {open_}.",
            )
        )
    elif page.witnesses:
        text = (
            f"No co-signed checkpoint lies in the office's folder {FOLDER}: ask the witness for its newest."
        )
        items.append((Status.CAUTION, text))
    items.append(_noted(page))
    return lines(items)


def _cosigned(item: WitnessView, size: int) -> tuple[Status, Child]:
    if item.last is None:
        return Status.CAUTION, f"{item.person} has co-signed nothing that lies here."
    since = size - item.last.size
    behind = "the newest record" if since == 0 else f"{plural(since, 'record')} ago"
    return (
        Status.GOOD if since == 0 else Status.NEUTRAL,
        [
            el("b", item.person),
            f" co-signed {plural(item.last.size, 'record')} as {item.last.name}, {moment(item.last.at)} ({behind})",
        ],
    )


def _noted(page: LedgerPage) -> tuple[Status, Child]:
    noted = page.noted
    if noted is None:
        return Status.NEUTRAL, "No `placet audit` was noted on this machine."
    what = "what was new of " if noted.partly else ""
    files = ", every stored file hashed" if noted.files else ", stored files left out"
    against = f", against {plural(noted.outside, 'checkpoint')} from elsewhere" if noted.outside else ""
    found = "whole" if not noted.findings else f"NOT whole, {plural(noted.findings, 'finding')}"
    status = Status.NEUTRAL if not noted.findings else Status.BAD
    return (
        status,
        f"Last `placet audit`, {moment(noted.at)}: {what}{plural(noted.records, 'record')}{files}{against}: {found}.",
    )


def trust_part(page: LedgerPage) -> Html:
    """Return the root of trust, then every grant: whose key, for what, and for which records."""
    return join([_root(page.root, page.audited_at), keys_table(page)])


def _root(root: RootView, now: datetime) -> Html:
    if root.expires <= now:
        mark = badge(Status.BAD, f"expired {root.expires:%Y-%m-%d}")
    elif root.days_left < _EXPIRES_SOON_DAYS:
        mark = badge(Status.CAUTION, f"good for {plural(root.days_left, 'day')} more")
    else:
        mark = badge(Status.GOOD, f"good until {root.expires:%Y-%m-%d}")
    return el(
        "dl",
        join([el("dt", "Root of trust"), el("dd", f"version {root.version} ", mark)]),
        join(
            [
                el("dt", "Changed only by"),
                el("dd", f"{root.threshold} of {len(root.holders)}: {', '.join(root.holders)}"),
            ]
        ),
        join(
            [
                el("dt", "Its pin"),
                el(
                    "dd",
                    el("span", root.pin, class_="id"),
                    el("div", "Compare it with the one you were given by another way.", class_="muted small"),
                ),
            ]
        ),
    )


def keys_table(page: LedgerPage) -> Html:
    """Return every grant: person, roles, for which records, and whether the key lies in this office."""
    held = [item for item in page.keys if item.valid_until is None]
    ended = [item for item in page.keys if item.valid_until is not None]
    rows = [_key_row(item) for item in (*held, *ended)]
    return table(("Person", "May sign as", "Holds for records", "Key file", "Key"), rows)


def _key_row(item: KeyInfo) -> Html:
    held = item.valid_until is None
    return el(
        "tr",
        el("th", item.person, scope="row"),
        el("td", ", ".join(item.roles)),
        el(
            "td",
            f"from {item.valid_from} on" if held else f"{item.valid_from} to {(item.valid_until or 0) - 1} ",
            None if held else badge(Status.NEUTRAL, "ended"),
            class_="tight",
        ),
        el("td", f"{item.file}, in this office" if item.file else "held elsewhere"),
        el(
            "td",
            el("span", short(item.key_id), class_="id", title=item.key_id)
            if item.key_id
            else identifier(None),
        ),
    )
