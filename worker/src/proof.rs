//! `ticketwright proof`: what the harness proved of a ticket's tasks, with the output of every run.

use std::path::Path;
use std::time::Duration;

use ingress::execution;
use serde_json::json;
use workflows::contract::ids::{Digest, TicketKey};
use workflows::contract::status::TaskProof;
use workflows::contract::workspace::Proof;
use workflows::messages::{self, Template};

use crate::config::BlobSettings;
use crate::problem::Problem;
use crate::store::Store;
use crate::temporal::Address;
use crate::workers::told;

/// Longest wait for a worker's answer.
const ANSWER: Duration = Duration::from_secs(35);

/// The proofs of a ticket, by its key, or the one that is kept under a digest, as Markdown.
///
/// # Errors
/// There is no such ticket or proof, nothing is proven yet, no worker answers, or the output of a run is gone.
pub(crate) async fn of(settings: &BlobSettings, file: &Path, what: &str) -> Result<String, Problem> {
    if let Ok(digest) = what.parse::<Digest>() {
        let store = Store::open(settings, file).await?;
        let kept = store.blobs.get(&digest).await.map_err(|error| gone(&store, &digest, &told(&error)))?;
        let proof: Proof = serde_json::from_slice(&kept).map_err(|error| {
            Problem::new(format!("{digest} is no proof ({error})."))
                .advice("The digest of a proof is in the text of its pull request: ticketwright proof DIGEST")
        })?;
        return text(&store, &format!("Proof {digest}"), &proof).await;
    }
    let key: TicketKey = what.parse().map_err(|fault| {
        Problem::new(format!("{what:?} is neither a ticket nor the digest of a proof: {fault}."))
            .advice("For example: ticketwright proof PROJ-123")
    })?;
    let proofs = proofs_of(&key).await?;
    if proofs.is_empty() {
        return Err(Problem::new(format!("nothing of {key} is proven yet."))
            .advice("A proof is made when a task of the approved plan is done. Where the ticket stands:")
            .advice(format!("temporal workflow query -w ticket-{key} --type status")));
    }
    let store = Store::open(settings, file).await?;
    let mut all = Vec::new();
    for TaskProof { task, repository, proof } in proofs {
        all.push(text(&store, &format!("{task} ({repository})"), &proof).await?);
    }
    Ok(all.join("\n\n"))
}

async fn text(store: &Store<'_>, title: &str, proof: &Proof) -> Result<String, Problem> {
    let log = store.blobs.get(&proof.log).await.map_err(|error| gone(store, &proof.log, &told(&error)))?;
    let log = String::from_utf8_lossy(&log);
    Ok(messages::render_text(Template::Proof, json!({ "title": title, "proof": proof, "log": log })) + "\n")
}

fn gone(store: &Store<'_>, digest: &Digest, why: &str) -> Problem {
    store.looked(Problem::new(format!("{digest} cannot be read.")).advice(why.to_owned()))
}

async fn proofs_of(key: &TicketKey) -> Result<Vec<TaskProof>, Problem> {
    let address = Address::from_environment()?;
    let client = address.connect().await.map_err(|error| address.unreachable(&error))?;
    let run = format!("ticket-{key}");
    let asked = execution::query::<Vec<TaskProof>>(&client, &run, "proofs", None);
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(proofs)) => Ok(proofs),
        Ok(Err(error)) => Err(Problem::new(format!("{run} cannot be asked for its proofs."))
            .advice(format!("{} says: {error}", address.named()))
            .advice("A worker must be running to answer: ticketwright run")
            .advice("Of a ticket that Temporal has forgotten: ticketwright proof DIGEST, as in the pull request")),
        Err(_) => Err(Problem::new(format!("no worker answered for {run} within {} s.", ANSWER.as_secs()))
            .advice("Start one: ticketwright run")),
    }
}
