//! Starts bubblewrap from one thread that lives as long as the sandbox.
//!
//! `--die-with-parent` follows the thread that called fork, not the process: a sandbox started from a pool thread would be
//! killed when that thread retires.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use super::tree;

/// The thread, addressed by its queue. It ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub(super) struct Launcher {
    queue: mpsc::Sender<Order>,
}

struct Order {
    command: Command,
    started: oneshot::Sender<io::Result<Started>>,
}

/// A started bubblewrap on its way to whoever ordered it. If they are gone, before or after it was sent, it ends, and the
/// command with it.
#[derive(Debug)]
struct Started(Option<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(unwanted) = self.0.take() {
            tree::end(unwanted);
        }
    }
}

impl Launcher {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let (queue, orders) = mpsc::channel::<Order>();
        thread::Builder::new().name("sandbox-launcher".into()).spawn(move || {
            for Order { mut command, started } in orders {
                let child = command.spawn();
                // Pipes and memory files that belong to the child close here.
                drop(command);
                let _ = started.send(child.map(|child| Started(Some(child))));
            }
        })?;
        Ok(Self { queue })
    }

    /// Starts `command` on the thread.
    pub(super) async fn launch(&self, command: Command) -> io::Result<Child> {
        let (started, child) = oneshot::channel();
        let gone = || io::Error::other("the sandbox launcher has ended");
        self.queue.send(Order { command, started }).map_err(|_| gone())?;
        let mut child = child.await.map_err(|_| gone())??;
        child.0.take().ok_or_else(gone)
    }
}
