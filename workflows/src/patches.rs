//! Names of changes to the order of a workflow's commands that shipped histories do not have. A run that began before such a
//! change replays without it. A name is never reused.

/// A remark is passed on to agents at work. 2026-11: remarks used to wait for the next agent. Goes when no run that is older is
/// kept any more.
pub const STEER_AGENTS: &str = "steer-agents";
/// A person extends the budget of a ticket. 2026-11: the signal `extend_budget` used to be dropped, and may stand in older
/// histories. Goes when no run that is older is kept any more.
pub const EXTEND_BUDGET: &str = "extend-budget";
