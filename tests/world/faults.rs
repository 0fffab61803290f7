//! Planned trouble: calls that a stand-in is told to refuse, and calls whose effect happens but whose reply is lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::response::Response;

/// Calls to refuse or to cut, in the order they were planned. `F` is the stand-in's own kind of refusal.
/// Cloning shares the list.
#[derive(Debug)]
pub struct Faults<F> {
    planned: Arc<Mutex<VecDeque<Planned<F>>>>,
}

#[derive(Debug)]
struct Planned<F> {
    call: String,
    what: What<F>,
}

#[derive(Debug)]
enum What<F> {
    Refuse(F),
    LoseReply,
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self { planned: Arc::default() }
    }
}

impl<F> Clone for Faults<F> {
    fn clone(&self) -> Self {
        Self { planned: self.planned.clone() }
    }
}

impl<F> Faults<F> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Planned<F>>> {
        self.planned.lock().expect("no holder of this lock panics")
    }

    /// The next call whose name contains `call` is refused with `failure`, before anything happens.
    pub fn refuse(&self, call: impl Into<String>, failure: F) {
        self.lock().push_back(Planned { call: call.into(), what: What::Refuse(failure) });
    }

    /// The next call whose name contains `call` has its effect, and then the client's connection is cut.
    pub fn lose_reply(&self, call: impl Into<String>) {
        self.lock().push_back(Planned { call: call.into(), what: What::LoseReply });
    }

    /// The refusal planned for this call, used up by asking.
    pub fn take_refusal(&self, call: &str) -> Option<F> {
        let mut planned = self.lock();
        let at = planned.iter().position(|p| matches!(p.what, What::Refuse(_)) && call.contains(&p.call))?;
        match planned.remove(at)?.what {
            What::Refuse(failure) => Some(failure),
            What::LoseReply => None,
        }
    }

    /// Whether the reply of this call is to be lost; used up by asking.
    pub fn take_lost_reply(&self, call: &str) -> bool {
        let mut planned = self.lock();
        let at = planned.iter().position(|p| matches!(p.what, What::LoseReply) && call.contains(&p.call));
        at.and_then(|at| planned.remove(at)).is_some()
    }

    /// Planned trouble that no call has met yet.
    pub fn unmet(&self) -> Vec<String> {
        self.lock().iter().map(|p| p.call.clone()).collect()
    }
}

/// A reply that never arrives: its body errs at once, so the server closes the connection instead of answering.
pub fn cut_connection() -> Response {
    let lost = futures::stream::once(async { Err::<bytes::Bytes, _>(std::io::Error::other("reply lost on purpose")) });
    Response::new(Body::from_stream(lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_only_the_call_it_names_and_only_once() {
        let faults = Faults::default();
        faults.refuse("chat.postMessage", 429);
        faults.lose_reply("chat.update");
        assert_eq!(faults.take_refusal("POST /chat.update"), None);
        assert_eq!(faults.take_refusal("POST /chat.postMessage"), Some(429));
        assert_eq!(faults.take_refusal("POST /chat.postMessage"), None);
        assert_eq!(faults.unmet(), ["chat.update"]);
        assert!(faults.take_lost_reply("POST /chat.update"));
        assert!(!faults.take_lost_reply("POST /chat.update"));
    }

    #[tokio::test]
    async fn a_lost_reply_is_an_error_for_the_client() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free port");
        let url = format!("http://{}/", listener.local_addr().expect("address"));
        let app = axum::Router::new().route("/", axum::routing::get(|| async { cut_connection() }));
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let answer = reqwest::get(&url).await;
        assert!(answer.is_err(), "{answer:?}");
        server.abort();
    }
}
