"""Intake: adapter bytes become a subject named by content, or findings that refuse them."""

from __future__ import annotations

from placet.intake.base import BaseProfile, describe_base, verify_base_files
from placet.intake.examine import examine
from placet.intake.findings import BY_ID, KINDS, FindingKind
from placet.intake.identity import weights_id_of
from placet.intake.limits import LIMITS, Limits
from placet.intake.materialise import materialise

__all__ = [
    "BY_ID",
    "KINDS",
    "LIMITS",
    "BaseProfile",
    "FindingKind",
    "Limits",
    "describe_base",
    "examine",
    "materialise",
    "verify_base_files",
    "weights_id_of",
]
