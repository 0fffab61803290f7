//! How an answer goes out: frame by frame, with the pauses, holds and troubles of the script.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;

use super::holds::Holds;
use super::script::{Fault, Hold, Moment};
use super::stream::{self, Answer};

const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

/// One thing that happens while an answer goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes go out.
    Send(Bytes),
    /// The first request that comes here stops.
    Hold(String),
    /// Everything is out.
    Done,
    /// The connection breaks.
    Cut,
    /// Nothing more happens.
    Silence,
}

/// The steps of an answer. The error says why the script's trouble cannot come to this answer.
pub(super) fn steps(answer: &Answer, hold: Option<&Hold>, fault: Option<&Fault>) -> Result<Vec<Step>, String> {
    let mut frames = answer.frames();
    let steps = match fault {
        Some(Fault::Cut { cut_after_bytes, .. }) => vec![Step::Send(first(&frames, *cut_after_bytes)?), Step::Cut],
        Some(Fault::Silent { silent_after_bytes, .. }) => {
            vec![Step::Send(first(&frames, *silent_after_bytes)?), Step::Silence]
        }
        Some(Fault::MidStream { mid_stream, .. }) => {
            frames.truncate(2);
            frames.push(stream::exception(mid_stream, "scripted trouble"));
            frames.into_iter().map(Step::Send).collect()
        }
        Some(Fault::Garbled { garbled, .. }) => {
            frames.insert(1, stream::garbled(*garbled));
            frames.into_iter().map(Step::Send).collect()
        }
        Some(Fault::Error { .. }) | None => {
            let half = frames.len() / 2;
            let mut steps: Vec<Step> = frames.into_iter().map(Step::Send).collect();
            steps.push(Step::Done);
            let stop = |hold: &Hold| Step::Hold(hold.name.clone());
            match hold {
                Some(hold) if hold.at == Moment::Middle => steps.insert(half, stop(hold)),
                Some(hold) if hold.at == Moment::End => steps.push(stop(hold)),
                _ => {}
            }
            steps
        }
    };
    Ok(steps)
}

/// The beginning of the reply. A length beyond its end would be no trouble at all.
fn first(frames: &[Bytes], length: usize) -> Result<Bytes, String> {
    let mut all = frames.concat();
    if length > all.len() {
        return Err(format!("the trouble comes after {length} bytes, but the reply has only {}", all.len()));
    }
    all.truncate(length);
    Ok(all.into())
}

/// An answer on its way.
pub(super) struct Delivery {
    pub steps: Vec<Step>,
    /// Until the first frame.
    pub delay: Duration,
    /// Between two frames.
    pub pace: Duration,
    pub holds: Holds,
}

impl Delivery {
    /// The response; `done` is called when everything is out.
    pub(super) fn response(self, done: impl Fn() + Send + Sync + 'static) -> Response {
        let Self { steps, delay, pace, holds } = self;
        let state = (steps.into_iter().enumerate(), holds, std::sync::Arc::new(done));
        let frames = futures::stream::unfold(state, move |(mut steps, holds, done)| async move {
            let (at, step) = steps.next()?;
            let sent = match step {
                Step::Send(bytes) => {
                    tokio::time::sleep(if at == 0 { delay } else { pace }).await;
                    // Each frame on its own: a cut must not swallow what was sent before it.
                    tokio::task::yield_now().await;
                    Some(Ok(bytes))
                }
                Step::Hold(name) => {
                    holds.pass(&name).await;
                    None
                }
                Step::Done => {
                    done();
                    None
                }
                Step::Cut => Some(Err(std::io::Error::other("stream cut on purpose"))),
                Step::Silence => std::future::pending().await,
            };
            Some((sent, (steps, holds, done)))
        });
        let frames = frames.filter_map(|sent: Option<std::io::Result<Bytes>>| async { sent });
        let mut response = Response::new(Body::from_stream(frames));
        response.headers_mut().insert("content-type", HeaderValue::from_static(EVENT_STREAM));
        response
    }
}
