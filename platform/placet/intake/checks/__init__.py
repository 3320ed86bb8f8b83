"""The checks of intake, in the order they run. A check is added here, and nowhere else."""

from __future__ import annotations

from placet.intake.checks.config import BaseCheck, ConfigCheck
from placet.intake.checks.files import FilesCheck
from placet.intake.checks.fit import FitCheck
from placet.intake.checks.prompts import TemplateCheck, TokenizerCheck
from placet.intake.checks.weights import FormatCheck, ValuesCheck
from placet.intake.context import Check

CHECKS: tuple[Check, ...] = (
    FilesCheck(),
    ConfigCheck(),
    BaseCheck(),
    FormatCheck(),
    ValuesCheck(),
    FitCheck(),
    TemplateCheck(),
    TokenizerCheck(),
)
