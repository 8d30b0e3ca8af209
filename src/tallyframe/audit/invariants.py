"""All invariants, in the order in which they are checked and shown."""

from tallyframe.audit.base import Invariant
from tallyframe.audit.erased import DeletedIsErased
from tallyframe.audit.files import FilesHaveBytes
from tallyframe.audit.live import LeasesEnd, NobodyIsOverdue, NobodyIsStranded, OneAtATime
from tallyframe.audit.money import (
    AdjustmentsAreLogged,
    BalancesAreSums,
    ChainsHold,
    DebitedOnce,
    EntriesHaveTheirCause,
    GuardsAreInPlace,
    RefundedOnce,
    RefundsMatchDebits,
)
from tallyframe.audit.receipts import FailureHasAReason, ProjectsShowTheirLatest, ShownMediaExist, SuccessHasAResult
from tallyframe.audit.steps import Doubts, NoOrderIsForgotten, StepsAreBoughtOnce
from tallyframe.audit.uploads import UploadsWithoutRow
from tallyframe.audit.webhooks import WebhooksAreApplied

INVARIANTS: tuple[Invariant, ...] = (
    BalancesAreSums(),
    ChainsHold(),
    DebitedOnce(),
    RefundedOnce(),
    RefundsMatchDebits(),
    EntriesHaveTheirCause(),
    AdjustmentsAreLogged(),
    GuardsAreInPlace(),
    NobodyIsStranded(),
    LeasesEnd(),
    NobodyIsOverdue(),
    OneAtATime(),
    SuccessHasAResult(),
    FailureHasAReason(),
    ProjectsShowTheirLatest(),
    ShownMediaExist(),
    NoOrderIsForgotten(),
    StepsAreBoughtOnce(),
    DeletedIsErased(),
    WebhooksAreApplied(),
    FilesHaveBytes(),
    Doubts(),
    UploadsWithoutRow(),
)
