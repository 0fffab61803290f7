//! Temporal: reachable, namespace, retention, search attributes.

use super::Finding;
use crate::temporal::{self, Address};

const SERVICE: &str = "Temporal";

/// Days for which closed runs must be kept: a late webhook is known as a duplicate only as long as its run is.
const RETENTION_DAYS: i64 = 90;

pub(super) async fn look() -> Finding {
    let address = match Address::from_environment() {
        Ok(address) => address,
        Err(problem) => return of(&problem),
    };
    let client = match address.connect().await {
        Ok(client) => client,
        Err(error) => return of(&address.unreachable(&error)),
    };
    let described = match temporal::describe_namespace(&client).await {
        Ok(described) => described,
        Err(problem) => return of(&problem),
    };
    let namespace = address.namespace();
    let retention = described.config.and_then(|config| config.workflow_execution_retention_ttl);
    let days = retention.map_or(0, |ttl| ttl.seconds / (24 * 3600));
    let found =
        Finding::good(SERVICE, format!("{}, namespace {namespace}, keeps closed runs {days} d", address.target()));
    let found = with_retention(found, namespace, days);
    match temporal::missing_search_attributes(&client).await {
        Ok(missing) if missing.is_empty() => found,
        Ok(missing) => {
            let line = temporal::create_line(namespace, &missing);
            found.lacks(
                format!("search attributes {}", missing.join(", ")),
                format!("ticketwright run creates them where it may; else: {line}"),
            )
        }
        Err(status) => {
            let all = temporal::SEARCH_ATTRIBUTES.map(|(name, ..)| name);
            found
                .note(format!(
                    "search attributes could not be looked at ({}); make sure that these exist:",
                    temporal::said(&status)
                ))
                .note(format!("  {}", temporal::create_line(namespace, &all)))
        }
    }
}

fn with_retention(found: Finding, namespace: &str, days: i64) -> Finding {
    if days >= RETENTION_DAYS {
        return found;
    }
    found.lacks(
        format!("closed runs must be kept {RETENTION_DAYS} days, so that a late webhook is known as a duplicate"),
        format!("temporal operator namespace update --namespace {namespace} --retention {RETENTION_DAYS}d"),
    )
}

fn of(problem: &crate::problem::Problem) -> Finding {
    problem
        .lines()
        .iter()
        .fold(Finding::bad(SERVICE, problem.what()), |finding, line| finding.note(format!("  {line}")))
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    #[test]
    fn a_short_retention_is_named_with_the_command_that_mends_it() {
        let good = Finding::good(SERVICE, "x");
        assert_eq!(with_retention(good.clone(), "default", 90), good);
        let short = with_retention(good, "default", 1);
        assert_eq!(short.mark, Mark::Bad);
        assert!(short.notes[1].ends_with("temporal operator namespace update --namespace default --retention 90d"));
    }
}
