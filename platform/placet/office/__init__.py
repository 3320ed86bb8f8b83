"""An office: the folder where ledger, blobs, trust root, keys and settings live together.

Opening an office checks its trust root against the pin in its settings. Every record goes through
:meth:`Office.record`: signed, checked for its role at the index it gets, appended, durable when it returns.

Layout of the folder::

    office.json        name, the log's origin, the pin of the trust root's first version
    trust/N.root.json  the trust root, version N
    keys/NAME.pem      encrypted private keys (only those that work here), NAME.pem.pub beside each;
                       NAME.uri instead for one that a token or a key service holds
    ledger.duckdb      the log
    blobs/             adapters' files, per-sample results, by digest
    bases/             base models ready to load
    work/              what can be made again: answers of interrupted runs, staging
    releases/          bundles, by channel
"""

from placet.office.creation import create_office
from placet.office.grants import KeyInfo
from placet.office.moving import migrate_ledger
from placet.office.office import (
    DEFAULT_HOME,
    EVALUATOR_KEY,
    FILES_KEY,
    HOME_VARIABLE,
    LOG_KEY,
    ROOT_KEY,
    SERVICE_ROLES,
    Clock,
    Office,
    Settings,
    default_home,
    utc_now,
)
from placet.office.root_changes import install_root, propose_root
from placet.office.trust_desk import TrustDesk

__all__ = [
    "DEFAULT_HOME",
    "EVALUATOR_KEY",
    "FILES_KEY",
    "HOME_VARIABLE",
    "LOG_KEY",
    "ROOT_KEY",
    "SERVICE_ROLES",
    "Clock",
    "KeyInfo",
    "Office",
    "Settings",
    "TrustDesk",
    "create_office",
    "default_home",
    "install_root",
    "migrate_ledger",
    "propose_root",
    "utc_now",
]
