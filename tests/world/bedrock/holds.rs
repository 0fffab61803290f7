//! Places in answers at which a request stops until a test lets it go on, so that a worker can be killed exactly there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

/// How far a hold is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No request came there yet.
    Ahead,
    /// The first one stands there.
    Held,
    /// It may go on.
    Released,
}

/// The holds of one script. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Holds {
    places: Arc<Mutex<HashMap<String, watch::Sender<State>>>>,
}

impl Holds {
    /// Holds with these names, none reached.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let places = names.map(|name| (name.to_owned(), watch::Sender::new(State::Ahead))).collect();
        Self { places: Arc::new(Mutex::new(places)) }
    }

    fn place(&self, name: &str) -> Option<watch::Sender<State>> {
        self.places.lock().expect("no holder of this lock panics").get(name).cloned()
    }

    /// Stops here when nobody did before, until released. Whoever comes later, the same request again after a kill, passes.
    pub(super) async fn pass(&self, name: &str) {
        let Some(place) = self.place(name) else { return };
        let is_first = place.send_if_modified(|state| {
            let is_first = *state == State::Ahead;
            if is_first {
                *state = State::Held;
            }
            is_first
        });
        if is_first {
            // The sender is ours, so this ends with the release only.
            let _ = place.subscribe().wait_for(|state| *state == State::Released).await;
        }
    }

    /// Waits until a request stands at the hold.
    pub(super) async fn held(&self, name: &str, limit: Duration) -> anyhow::Result<()> {
        let place = self.place(name).with_context(|| format!("no turn of the script has a hold {name:?}"))?;
        let mut state = place.subscribe();
        let reached = tokio::time::timeout(limit, state.wait_for(|state| *state != State::Ahead)).await;
        reached.ok().with_context(|| format!("waited {limit:?}, and no request came to the hold {name:?}"))??;
        Ok(())
    }

    /// Lets the request go on; one that is not there yet will not stop.
    pub(super) fn release(&self, name: &str) -> anyhow::Result<()> {
        let place = self.place(name).with_context(|| format!("no turn of the script has a hold {name:?}"))?;
        place.send_replace(State::Released);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn the_first_request_stops_until_it_is_released_and_later_ones_pass() {
        let holds = Holds::new(["kill here"].into_iter());
        let first = tokio::spawn({
            let holds = holds.clone();
            async move { holds.pass("kill here").await }
        });
        holds.held("kill here", LIMIT).await.expect("reached");
        holds.pass("kill here").await;
        assert!(!first.is_finished());
        holds.release("kill here").expect("known");
        tokio::time::timeout(LIMIT, first).await.expect("released").expect("passed");
    }

    #[tokio::test]
    async fn a_hold_that_is_not_in_the_script_or_not_reached_is_an_error() {
        let holds = Holds::new(["a"].into_iter());
        assert!(holds.held("b", LIMIT).await.expect_err("unknown").to_string().contains("no turn"));
        assert!(holds.release("b").is_err());
        let error = holds.held("a", Duration::from_millis(1)).await.expect_err("not reached");
        assert!(error.to_string().contains("no request came to the hold \"a\""), "{error}");
    }

    #[tokio::test]
    async fn a_hold_released_ahead_stops_nobody() {
        let holds = Holds::new(["a"].into_iter());
        holds.release("a").expect("known");
        tokio::time::timeout(LIMIT, holds.pass("a")).await.expect("passes");
    }
}
