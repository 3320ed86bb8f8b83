"""The form of a suite's `suite.yaml`. Unknown fields are errors; `docs/reference/suites.md` describes each."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from placet.domain.digests import parse_digest
from placet.domain.records import Sha256, Stage

_PINNED = BeforeValidator(
    lambda v: parse_digest(v if ":" in v else f"sha256:{v}") if isinstance(v, str) else v
)
Pin = Annotated[Sha256, _PINNED]
"""A SHA-256, with or without ``sha256:`` before it."""


class SuiteKind(StrEnum):
    """What a suite asks of a model."""

    MULTIPLE_CHOICE = "multiple_choice"
    GENERATION = "generation"
    EXPOSURE = "exposure"


_PLACES = 6
_MOST = 1e9


def _bound(value: float) -> float:
    if not math.isfinite(value) or abs(value) > _MOST or round(value, _PLACES) != value:
        raise ValueError(f"a bound has at most {_PLACES} decimal places and lies within 1,000,000,000 of 0")
    return value


Bound = Annotated[float, Field(strict=True), AfterValidator(_bound)]
"""An end of a metric's range, as a record can keep it."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataFunction(_Strict):
    """A function of the suite's own data code: ``function(source: bytes | None, **arguments) -> list[dict]``."""

    file: str = "data.py"
    function: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)


class PackagePin(_Strict):
    """One file of a wheel, pinned by digest."""

    name: str
    version: str
    member: str
    sha256: Pin
    wheel: str | None = Field(default=None, description="the wheel's file name, for people")
    wheel_sha256: Pin | None = None
    wheel_bytes: int | None = None


class SuiteData(_Strict):
    """Where documents come from: made by a generator, or out of a package's file by `rows`."""

    generator: DataFunction | None = None
    package: PackagePin | None = None
    rows: DataFunction | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        made, packed = self.generator is not None, self.package is not None
        if made == packed or packed != (self.rows is not None):
            raise ValueError("give either a generator, or a package with rows")
        return self

    @property
    def function(self) -> DataFunction:
        """The function that gives the documents."""
        function = self.generator or self.rows
        if function is None:
            raise RuntimeError("validation lets no such data through")
        return function


class SuiteManifest(_Strict):
    """A suite: an lm-eval task over pinned or generated documents, and how it is scored."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    version: Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)] = Field(
        min_length=1
    )
    title: str = Field(min_length=1)
    description: str = ""
    stage: Stage
    kind: SuiteKind
    task: str = "task.yaml"
    chat_template: bool = False
    metric: str = Field(min_length=1)
    higher_is_better: bool | None = None
    range: tuple[Bound, Bound] | None = Field(
        default=None, description="the least and the greatest value that the metric can have for a document"
    )
    largest_groups: dict[str, Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]] = Field(
        default_factory=dict, description="column → most documents that one of its values can have"
    )
    data: SuiteData
    scorer: str | None = None

    @model_validator(mode="after")
    def _scored(self) -> Self:
        if self.kind is SuiteKind.EXPOSURE and self.scorer is None:
            raise ValueError("an exposure suite needs a scorer")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError("range: the least value comes first, and the greatest is above it")
        return self
