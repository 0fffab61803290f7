//! `make bench-ingress`: from a signed webhook at the ingress to its workflow in Temporal's listing, on a dev server.
//!
//! Sends 200 webhooks of distinct tickets, four at a time, and prints median, p99 and maximum of two times: until the 202,
//! and until `temporal workflow list` shows the run.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use serde_json::json;
use world::stack::{Observer, Stack, StackOptions, TemporalOptions, TemporalServer};
use world::webhook::hmac_sha256_hex;

const WEBHOOKS: usize = 200;
const AT_ONCE: usize = 4;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = tempfile::tempdir()?;
    let options = TemporalOptions { directory: directory.path().join("temporal"), port: 0, ui_port: 0 };
    let temporal = TemporalServer::start(options).await?;
    let options = StackOptions {
        directory: directory.path().join("stack"),
        world: ([127, 0, 0, 1], 0).into(),
        namespace: "default".to_owned(),
        policy: String::new(),
        real_bedrock: false,
    };
    let mut stack = Stack::prepare(options, &temporal).await?;
    stack.start_ingress().await?;
    let observer = Observer::connect(&temporal.address, "default").await?;
    let http = reqwest::Client::new();
    let one = async |n: usize| -> anyhow::Result<(Duration, Duration)> {
        let key = format!("BENCH-{}", n + 1);
        let body = json!({
            "timestamp": chrono::Utc::now().timestamp_millis(), "webhookEvent": "jira:issue_created",
            "issue": {"key": key, "fields": {"summary": "bench", "labels": ["AI"]}},
        })
        .to_string();
        let signature =
            format!("sha256={}", hmac_sha256_hex(&stack.world.credentials.jira_webhook_secret, body.as_bytes()));
        let url = format!("{}/webhooks/jira", stack.ingress_url);
        let began = Instant::now();
        let answer = http.post(url).header("x-hub-signature", signature).body(body).send().await?;
        anyhow::ensure!(answer.status().as_u16() == 202, "answered {}", answer.status());
        let accepted = began.elapsed();
        while observer.runs(&format!("WorkflowId = 'ticket-{key}'")).await?.is_empty() {
            anyhow::ensure!(began.elapsed() < Duration::from_secs(10), "{key} is not listed after 10 s");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok((accepted, began.elapsed()))
    };
    // Connections and caches of a fresh server are not what is measured.
    one(WEBHOOKS).await?;
    let times: Vec<_> = futures::stream::iter(0..WEBHOOKS).map(&one).buffer_unordered(AT_ONCE).collect().await;
    let times = times.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    report("accepted", times.iter().map(|(accepted, _)| *accepted).collect())?;
    report("listed", times.iter().map(|(_, listed)| *listed).collect())
}

fn report(what: &str, mut times: Vec<Duration>) -> anyhow::Result<()> {
    use std::io::Write as _;
    times.sort();
    let at =
        |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1)).copied().context("no times");
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let (median, p99, worst) = (ms(at(50)?), ms(at(99)?), ms(at(100)?));
    writeln!(
        std::io::stdout(),
        "{what:<9} median {median:6.1} ms   p99 {p99:6.1} ms   max {worst:6.1} ms   (n = {})",
        times.len()
    )?;
    Ok(())
}
