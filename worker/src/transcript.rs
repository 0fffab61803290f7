//! `ticketwright transcript`: what an agent and its model said to each other.

use std::path::Path;
use std::time::Duration;

use ingress::execution;
use workflows::contract::ids::Digest;
use workflows::contract::status::AgentProgress;

use crate::config::BlobSettings;
use crate::problem::Problem;
use crate::store::Store;
use crate::temporal::Address;
use crate::workers::told;

/// Longest wait for a worker's answer.
const ANSWER: Duration = Duration::from_secs(35);

/// The conversation of an agent's run, by its workflow id, or the one that ends in a digest.
///
/// # Errors
/// There is no such run, it has not spoken yet, no worker answers, or a part of the conversation is gone.
pub(crate) async fn of(settings: &BlobSettings, file: &Path, run: &str) -> Result<String, Problem> {
    let head = match run.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) => head_of(run).await?,
    };
    let store = Store::open(settings, file).await?;
    activities::model::conversation(&store.blobs, &head).await.map_err(|error| {
        store.looked(Problem::new(format!("the conversation {head} cannot be read.")).advice(told(&error)))
    })
}

async fn head_of(run: &str) -> Result<Digest, Problem> {
    let address = Address::from_environment()?;
    let client = address.connect().await.map_err(|error| address.unreachable(&error))?;
    let asked = execution::query::<AgentProgress>(&client, run, "progress", None);
    let progress = match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(progress)) => progress,
        Ok(Err(error)) => {
            return Err(Problem::new(format!("{run} is no run of an agent that can be asked."))
                .advice(format!("{} says: {error}", address.named()))
                .advice(
                    "Agents' runs are children of a ticket's: temporal workflow list --query 'WorkflowType=\"agent\"'",
                )
                .advice("A worker must be running to answer: ticketwright run"));
        }
        Err(_) => {
            return Err(Problem::new(format!("no worker answered for {run} within {} s.", ANSWER.as_secs()))
                .advice("Start one: ticketwright run"));
        }
    };
    progress.head.ok_or_else(|| Problem::new(format!("{run} has not heard from its model yet.")))
}
