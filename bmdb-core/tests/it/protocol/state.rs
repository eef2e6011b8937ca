//! State of the protocol: committed rows, and requests that are half-way through.

/// A worker and its session: each worker has one session, and starts no other.
pub(super) type WorkerId = usize;
/// One of two work items of one machine, which share a lane.
pub(super) type ItemId = usize;
/// The index of a request.
pub(super) type Slot = usize;

/// The most claims of a run.
pub(super) const FENCES: usize = 3;
/// The most requests under way at once.
pub(super) const SLOTS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) sessions: [Session; 2],
    pub(super) items: [Item; 2],
    /// How each attempt ended, by its fence.
    pub(super) attempts: [Option<Outcome>; FENCES],
    /// How many fences have been drawn.
    pub(super) drawn: usize,
    pub(super) requests: [Option<Request>; SLOTS],
    pub(super) workers: [Worker; 2],
    pub(super) janitor: Janitor,
    pub(super) violation: Option<Violation>,
}

/// A row of `sessions` as it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) row: Row,
    /// Whether a heartbeat has checked the deadline and not committed yet; it has locked the row.
    pub(super) heartbeat_open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Row {
    /// Its deadline is ahead.
    Live,
    /// Its deadline has passed.
    Passed,
    Deleted,
}

/// A row of `work_item` as it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Item {
    pub(super) claim: Option<Claim>,
    pub(super) backing_off: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    pub(super) session: WorkerId,
    pub(super) fence: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Finished,
    Failed,
    Canceled,
    Expired,
}

/// A request of a worker. It runs in its own server process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) of: WorkerId,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Claim,
    /// A finish with its tags, or a failure.
    End {
        item: ItemId,
        fence: usize,
        outcome: Outcome,
    },
    /// A transaction that writes tags.
    Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Sent,
    /// A claim's snapshot has shown that this item is free.
    Seen(ItemId),
    /// The fence check has passed.
    Fenced(Option<ItemId>),
    /// All is written, and the rows are locked; `Some` if an item is changed.
    Written(Option<ItemId>),
}

/// The knowledge of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) work: Option<(ItemId, usize)>,
    /// The request whose answer it awaits.
    pub(super) awaits: Option<Slot>,
    /// Whether it has to look up the outcome of an end.
    pub(super) in_doubt: bool,
    pub(super) sweep: Sweep,
    /// Whether it knows that its session is over.
    pub(super) is_over: bool,
    pub(super) claims_left: usize,
    pub(super) writes_left: usize,
    pub(super) losses_left: usize,
}

/// The search for claims whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sweep {
    None,
    /// The claim may still run there.
    After(Slot),
    /// The claim's server process has ended.
    Ready,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Janitor {
    Idle,
    /// A snapshot has shown that this session has expired, and its claimed items.
    Found {
        session: WorkerId,
        items: [bool; 2],
    },
    /// The session's row is locked.
    Locked {
        session: WorkerId,
        items: [bool; 2],
    },
    /// These items are to be freed, and their attempts recorded.
    Read {
        session: WorkerId,
        items: [bool; 2],
    },
}

/// A violation of the invariants, found at the commit that causes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Violation {
    ClaimedTwice,
    TwoInLane,
    ClaimedInBackoff,
    WroteWithoutSession,
    EndedAnotherClaim,
    EndedTwice,
    DeletedLiveSession,
    FreedUnrecorded,
}

impl State {
    pub(super) fn new(first: Worker, second: Worker) -> Self {
        let live = Session {
            row: Row::Live,
            heartbeat_open: false,
        };
        Self {
            sessions: [live; 2],
            items: [Item::default(); 2],
            attempts: [None; FENCES],
            drawn: 0,
            requests: [None; SLOTS],
            workers: [first, second],
            janitor: Janitor::Idle,
            violation: None,
        }
    }

    /// Keeps the first violation, because later ones may be its consequences.
    pub(super) fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    pub(super) fn record(&mut self, fence: usize, outcome: Outcome) {
        if self.attempts[fence].replace(outcome).is_some() {
            self.violate(Violation::EndedTwice);
        }
    }

    /// Whether the janitor, or a request other than the one in `but`, has locked an item's row.
    pub(super) fn item_is_locked(&self, item: ItemId, but: Option<Slot>) -> bool {
        let by_request = self.requests.iter().enumerate().any(|(slot, request)| {
            Some(slot) != but && matches!(request, Some(r) if r.phase == Phase::Written(Some(item)))
        });
        by_request || matches!(self.janitor, Janitor::Read { items, .. } if items[item])
    }

    /// Whether the janitor has locked a session's row.
    pub(super) fn janitor_locks_session(&self, session: WorkerId) -> bool {
        matches!(self.janitor,
            Janitor::Locked { session: locked, .. } | Janitor::Read { session: locked, .. }
            if locked == session)
    }

    pub(super) fn claimed_by(&self, session: WorkerId) -> [bool; 2] {
        self.items
            .map(|item| item.claim.is_some_and(|claim| claim.session == session))
    }
}

impl Worker {
    pub(super) fn new(claims: usize, writes: usize, losses: usize) -> Self {
        Self {
            work: None,
            awaits: None,
            in_doubt: false,
            sweep: Sweep::None,
            is_over: false,
            claims_left: claims,
            writes_left: writes,
            losses_left: losses,
        }
    }
}
