//! The calls as they go over the wire, look before write, and the meaning of errors, against a small capture server.

mod connection;
mod conversation;
mod jobs;
mod reading;
mod writing;

use serde_json::{Value, json};

use super::{GitHubAuth, GitHubClient, Settings};
use crate::capture::{Call, Capture, Reply};

const HEAD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn settings(url: &str) -> Settings {
    Settings {
        api_url: format!("{url}/api/v3/"),
        web_url: "https://git.acme.example/".into(),
        organisation: "acme".into(),
    }
}

/// A GitHub Enterprise Server whose answers a test writes down, by request line without `/api/v3`.
async fn github(mut answer: impl FnMut(&str, &Call) -> Reply + Send + 'static) -> (Capture, GitHubClient) {
    let server = Capture::start(move |call| {
        let line = call.line.replacen("/api/v3", "", 1);
        answer(&line, call)
    })
    .await;
    let client = GitHubClient::new(settings(&server.url), GitHubAuth::Token("t0ken".to_owned().into())).unwrap();
    (server, client)
}

fn pull_request(number: u64, state: &str) -> Value {
    json!({
        "number": number, "node_id": format!("PR_{number}"), "html_url": format!("https://git.acme.example/acme/shop/pull/{number}"),
        "title": "SHOP-1: Clamp", "body": "Why\r\nand how", "state": if state == "merged" { "closed" } else { state }, "draft": state == "open",
        "merged_at": if state == "merged" { json!("2026-11-21T06:00:00Z") } else { Value::Null },
        "head": {"ref": "agent/SHOP-1/clamp-1", "sha": HEAD},
    })
}
