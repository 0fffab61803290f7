//! The commands that work beside the demo, in another terminal: they need its Temporal and its worker's configuration.

use world::stack::Stack;

use crate::screen::Screen;

/// Shows lines to copy, one for each of these arguments of `ticketwright`.
pub(crate) fn show(stack: &Stack, screen: &Screen, title: &str, arguments: &[String]) -> anyhow::Result<()> {
    screen.line(&format!("  {title}"));
    for arguments in arguments {
        screen.line(&format!("    {} {arguments}", stack.line_beside()?));
    }
    Ok(())
}

/// What there is to read of a ticket.
pub(crate) fn of_ticket(key: &str) -> Vec<String> {
    vec![format!("transcript ticket-{key}/planning/1"), format!("proof {key}")]
}
