//! The stand-in, used as the product and people use it: over HTTP and with git.

mod actions;
mod apps;
mod git;
mod pages;
mod pulls;
mod rest;
mod webhooks;

use std::time::Duration;

use serde_json::{Value, json};

use super::{GitHub, Permission};
use crate::{Credentials, World, WorldOptions};

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A world with one repository, `acme/shop-api`, and somebody who takes its webhooks.
struct Site {
    world: World,
    http: reqwest::Client,
    /// (event, body) in the order of arrival.
    inbox: tokio::sync::watch::Receiver<Vec<(String, Value)>>,
    _directory: tempfile::TempDir,
}

const CART: &str = "def total(price, discount):\n    return price - discount\n";

const CI: &str = "name: CI\non: [push, pull_request]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - name: Unit tests\n        run: |\n          echo \"testing $GITHUB_SHA\"\n          test \"$(cat verdict.txt)\" = green\n";

impl Site {
    /// Starts it. Actions are off until a test wants them.
    async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let source = directory.path().join("source");
        std::fs::create_dir_all(source.join("src"))?;
        std::fs::create_dir_all(source.join(".github/workflows"))?;
        std::fs::write(source.join("README.md"), "# Shop API\n\nPrices and discounts.\n")?;
        std::fs::write(source.join("src/cart.py"), CART)?;
        std::fs::write(source.join("verdict.txt"), "green\n")?;
        std::fs::write(source.join(".github/workflows/ci.yml"), CI)?;
        let options = WorldOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            directory: directory.path().join("world"),
            credentials: Credentials::random(),
        };
        let world = World::start(options).await?;
        world.github.add_repository("acme", "shop-api", "The shop's API", &source).await?;
        world.github.set_actions_enabled("acme/shop-api", false)?;
        world.github.add_user("ana", Permission::Admin);
        world.github.add_user("eve", Permission::Read);
        let (address, inbox) = ingress().await?;
        world.webhooks.set_target(address);
        Ok(Self { world, http: reqwest::Client::new(), inbox, _directory: directory })
    }

    fn github(&self) -> &GitHub {
        &self.world.github
    }

    fn url(&self, path: &str) -> String {
        format!("{}/github{path}", self.world.base_url)
    }

    /// A REST call with the bot's token, path below `/api/v3`.
    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        let url = if path.starts_with("http") { path.to_owned() } else { self.url(&format!("/api/v3{path}")) };
        self.http.request(method, url).header("user-agent", "tests").bearer_auth(&self.world.credentials.github_token)
    }

    /// Status and JSON of a call.
    async fn call(&self, method: &str, path: &str, body: Value) -> anyhow::Result<(u16, Value)> {
        let mut request = self.request(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(json!(text))))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.call("GET", path, Value::Null).await?;
        anyhow::ensure!(status == 200, "GET {path} answered {status}: {body}");
        Ok(body)
    }

    /// A branch off main with one changed file, and its pull request.
    async fn open_pull(&self, branch: &str, draft: bool) -> anyhow::Result<Value> {
        let main = self.main().await?;
        let (status, _) = self
            .call("POST", "/repos/acme/shop-api/git/refs", json!({"ref": format!("refs/heads/{branch}"), "sha": main}))
            .await?;
        anyhow::ensure!(status == 201, "branch: {status}");
        self.put(branch, "PLAN.md", "# Plan\n").await?;
        let body = json!({"title": "SHOP-1: Clamp", "head": branch, "base": "main", "body": "Why", "draft": draft});
        let (status, pull) = self.call("POST", "/repos/acme/shop-api/pulls", body).await?;
        anyhow::ensure!(status == 201, "pull: {status} {pull}");
        Ok(pull)
    }

    async fn put(&self, branch: &str, path: &str, text: &str) -> anyhow::Result<Value> {
        use base64::Engine as _;
        let content = base64::prelude::BASE64_STANDARD.encode(text);
        let url = format!("/repos/acme/shop-api/contents/{path}");
        let (found, there) = self.call("GET", &format!("{url}?ref={branch}"), Value::Null).await?;
        let mut body = json!({"message": format!("Write {path}"), "content": content, "branch": branch});
        if found == 200 {
            body["sha"] = there["sha"].clone();
        }
        let (status, answer) = self.call("PUT", &url, body).await?;
        anyhow::ensure!(status == 200 || status == 201, "contents: {status} {answer}");
        Ok(answer)
    }

    async fn main(&self) -> anyhow::Result<String> {
        let reference = self.get("/repos/acme/shop-api/git/ref/heads/main").await?;
        Ok(reference["object"]["sha"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for a webhook and answers its body.
    async fn webhook(&self, what: &str, fits: impl Fn(&str, &Value) -> bool) -> anyhow::Result<Value> {
        let mut inbox = self.inbox.clone();
        let found = tokio::time::timeout(PATIENCE, inbox.wait_for(|all| all.iter().any(|(e, b)| fits(e, b)))).await;
        let body = found.ok().and_then(Result::ok).and_then(|all| all.iter().find(|(e, b)| fits(e, b)).cloned());
        body.map(|(_, body)| body).ok_or_else(|| anyhow::anyhow!("no webhook: {what}; came: {:?}", self.events()))
    }

    /// `event action` of all webhooks so far.
    fn events(&self) -> Vec<String> {
        let name = |(event, body): &(String, Value)| format!("{event} {}", body["action"].as_str().unwrap_or_default());
        self.inbox.borrow().iter().map(|one| name(one).trim().to_owned()).collect()
    }

    /// Kinds and targets of the product's effects.
    fn effects(&self) -> Vec<String> {
        self.world.effects.all().iter().map(|effect| format!("{} {}", effect.kind, effect.target)).collect()
    }
}

type Inbox = tokio::sync::watch::Receiver<Vec<(String, Value)>>;

/// A server that takes every webhook.
async fn ingress() -> anyhow::Result<(String, Inbox)> {
    let (sender, inbox) = tokio::sync::watch::channel(Vec::new());
    let take = move |headers: axum::http::HeaderMap, body: axum::body::Bytes| {
        let sender = sender.clone();
        async move {
            let event = headers.get("x-github-event").and_then(|event| event.to_str().ok()).unwrap_or_default();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            sender.send_modify(|all: &mut Vec<(String, Value)>| all.push((event.to_owned(), body)));
            axum::http::StatusCode::ACCEPTED
        }
    };
    let app = axum::Router::new().route(super::events::INGRESS_PATH, axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok((address, inbox))
}
