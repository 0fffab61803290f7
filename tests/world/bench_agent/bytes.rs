//! Bytes kept per byte of transcript: Temporal's history as the server counts it, over all runs of the conversation, and the
//! files of the blob store. The transcript is the messages the model sees in its last turn, each once.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use serde_json::Value;
use temporalio_client::{Client, WorkflowDescribeOptions, WorkflowExecutionInfo, WorkflowListOptions};

use crate::chain;
use crate::corpus::{self, Kind};
use crate::rig::Rig;
use crate::stand_in::StandIn;
use crate::table::{Report, median, ratio};

/// The most that may be kept for a byte of transcript.
const BAR: f64 = 1.3;
/// The most by which a long conversation may keep more for a byte than one of 100 turns.
const GROWTH: f64 = 1.1;
/// Longer conversations are held once: their bytes are counted, and differ by a few bytes.
const REPEATED_UP_TO: u32 = 100;

/// What a conversation left.
#[derive(Debug, Clone, Copy)]
struct Kept {
    transcript: u64,
    history: u64,
    blobs: u64,
    seconds: u64,
}

impl Kept {
    fn ratio(&self) -> f64 {
        ratio(self.history + self.blobs, self.transcript)
    }
}

pub(crate) async fn measure(rig: &Rig, rounds: u32, turns: &[u32], report: &mut Report) -> anyhow::Result<()> {
    let observer = rig.namespace("bench-bytes").await?;
    let client = observer.client();
    report.line("Bytes kept per byte of transcript, turns of 4 KB")?;
    report.line("  text     turns  transcript    history      blobs   history/t  blobs/t    ratio")?;
    let mut ratios = Vec::new();
    for &count in turns {
        let rounds = if count <= REPEATED_UP_TO { rounds } else { 1 };
        let mut all = Vec::new();
        for _ in 0..rounds {
            all.push(converse(rig, client, Kind::Sources, count).await?);
        }
        ratios.push((count, tell("sources", count, &all, report)?));
    }
    let random = converse(rig, client, Kind::Random, 100).await?;
    tell("random", 100, &[random], report)?;
    for (count, ratio) in &ratios {
        report.bar(&format!("kept per byte of transcript, {count} turns"), *ratio, BAR)?;
    }
    let at = |wanted: u32| ratios.iter().find(|(count, _)| *count == wanted).map(|(_, ratio)| *ratio);
    if let (Some(hundred), Some((longest, ratio))) = (at(100), ratios.last().filter(|(count, _)| *count > 100)) {
        report.bar(&format!("growth from 100 to {longest} turns"), ratio / hundred, GROWTH)?;
    }
    Ok(())
}

/// A line of the table; returns the median ratio.
fn tell(text: &str, count: u32, all: &[Kept], report: &Report) -> anyhow::Result<f64> {
    let middle = median(all.iter().map(Kept::ratio).collect());
    let nearest = all.iter().min_by(|a, b| (a.ratio() - middle).abs().total_cmp(&(b.ratio() - middle).abs()));
    let Kept { transcript, history, blobs, seconds } = *nearest.context("at least one round")?;
    let n = all.len();
    report.line(&format!(
        "  {text:<8} {count:>5} {transcript:>11} {history:>10} {blobs:>10} {:>11.3} {:>8.3} {middle:>8.3}   ({n} x {seconds} s)",
        ratio(history, transcript),
        ratio(blobs, transcript),
    ))?;
    Ok(middle)
}

/// Holds one conversation in a blob store of its own.
async fn converse(rig: &Rig, client: &Client, kind: Kind, count: u32) -> anyhow::Result<Kept> {
    let began = Instant::now();
    let turns = corpus::turns(kind, count)?;
    let blobs = tempfile::tempdir_in(rig.directory.path())?;
    let stand_in = StandIn::start().await?;
    let serving = rig.serve(client, chain::workers(&stand_in.url, blobs.path(), &turns).await?)?;
    let name = format!("c{}", uuid::Uuid::new_v4().simple());
    let runs = chain::hold(client, &stand_in, &name, &turns).await?;
    serving.stop().await?;
    let last = stand_in.last_request().context("the model was asked")?;
    let assistant = last["messages"].as_array().into_iter().flatten().filter(|message| message["role"] == "assistant");
    let seen = assistant.count() + 1;
    anyhow::ensure!(seen == usize::try_from(count)?, "the last request is that of turn {seen}");
    Ok(Kept {
        transcript: transcript(&last["messages"]),
        history: history(client, &name, runs).await?,
        blobs: size(blobs.path())?,
        seconds: began.elapsed().as_secs(),
    })
}

/// Bytes of messages without their cache points, as compact JSON.
fn transcript(messages: &Value) -> u64 {
    let mut messages = messages.clone();
    for message in messages.as_array_mut().into_iter().flatten() {
        if let Some(content) = message["content"].as_array_mut() {
            content.retain(|block| block.get("cachePoint").is_none());
        }
    }
    messages.to_string().len() as u64
}

/// History bytes of all runs of a conversation, those that continued as new included.
async fn history(client: &Client, name: &str, ids: usize) -> anyhow::Result<u64> {
    let began = Instant::now();
    let namespace = client.options().namespace.clone();
    loop {
        // The listing follows a moment later.
        let query = format!("WorkflowId STARTS_WITH '{name}-'");
        let mut found = client.list_workflows(query, WorkflowListOptions::builder().build());
        let (mut runs, mut ended) = (Vec::new(), 0);
        while let Some(run) = found.next().await {
            let run = run?;
            ended += usize::from(format!("{:?}", run.status()) == "Completed");
            runs.push((run.id().to_owned(), run.run_id().to_owned()));
        }
        if ended == ids {
            let mut bytes = 0;
            for (id, run) in runs {
                let run = WorkflowExecutionInfo::builder().namespace(&namespace).workflow_id(id).run_id(run).build();
                let described = run.bind_untyped(client.clone()).describe(WorkflowDescribeOptions::default()).await?;
                let info = described.raw().workflow_execution_info.as_ref().context("a description has its run")?;
                bytes += u64::try_from(info.history_size_bytes)?;
            }
            return Ok(bytes);
        }
        anyhow::ensure!(began.elapsed() < Duration::from_secs(30), "{ended} of {ids} runs are listed as completed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cache_points_are_no_part_of_the_transcript() {
        let bare = json!([{"role": "user", "content": [{"text": "a"}]}]);
        let pointed = json!([{"role": "user", "content": [{"text": "a"}, {"cachePoint": {"type": "default"}}]}]);
        assert_eq!(transcript(&pointed), transcript(&bare));
        assert_eq!(transcript(&bare), bare.to_string().len() as u64);
    }

    #[test]
    fn files_are_counted_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("ab")).unwrap();
        std::fs::write(folder.path().join("ab/c"), "12345").unwrap();
        std::fs::write(folder.path().join("d"), "123").unwrap();
        assert_eq!(size(folder.path()).unwrap(), 8);
    }
}
