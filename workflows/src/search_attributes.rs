//! The search attributes by which people find tickets. Created at worker start where allowed.

use temporalio_common::SearchAttributeKey;

/// Jira key. Children carry it too, so that one query lists everything of a ticket.
pub const TICKET_KEY: SearchAttributeKey<String> = SearchAttributeKey::keyword("TicketKey");
/// Stage.
pub const STAGE: SearchAttributeKey<String> = SearchAttributeKey::keyword("Stage");
/// Repositories that the ticket changes.
pub const REPOSITORIES: SearchAttributeKey<Vec<String>> = SearchAttributeKey::keyword_list("Repositories");
/// Who asked for it.
pub const REQUESTED_BY: SearchAttributeKey<String> = SearchAttributeKey::keyword("RequestedBy");
/// Spent so far, in US dollars.
pub const COST_USD: SearchAttributeKey<f64> = SearchAttributeKey::float("CostUsd");
