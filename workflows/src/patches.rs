//! Names of changes to the order of a workflow's commands that shipped histories do not have. A run that began before such a
//! change replays without it. A name is never reused.

/// A remark is passed on to agents at work. 2026-11: remarks used to wait for the next agent. Goes when no run that is older is
/// kept any more.
pub const STEER_AGENTS: &str = "steer-agents";
/// A person extends the budget of a ticket, and the message that asks for it loses its buttons. 2026-11: the signal
/// `extend_budget` was unknown, and older histories may hold one that had no effect: it is looked at before anything is noted.
/// Goes when no run that is older is kept any more.
pub const EXTEND_BUDGET: &str = "extend-budget";
/// An agent begins without money and asks for it, when there is none to begin with; a watch of checks always does. 2026-11: the
/// step used to stop before it sent an agent, and a watch held its share from its start. Goes when no run that is older is
/// kept any more.
pub const ASK_LATER: &str = "ask-later";
/// A repository is surveyed before an agent works in it. 2026-11: agents used to look for its conventions themselves. Goes when
/// no run that is older is kept any more.
pub const SURVEY: &str = "survey";
/// The repositories of a plan are set up before people are asked to approve it, and what fails is in the message. 2026-11: only
/// the agents were told, after the approval. Goes when no run that is older is kept any more.
pub const SET_UP_BEFORE_APPROVAL: &str = "set-up-before-approval";
