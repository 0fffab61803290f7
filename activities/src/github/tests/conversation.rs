//! Rights, reactions, and comments that are written once.

use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::github::{FindReply, PullRequestRef, React, WriteReply};
use workflows::contract::ids::{EffectKey, Generation, RepositoryName};

use super::github;
use crate::capture::Reply;

const LIST: &str = "GET /repos/acme/shop/issues/7/comments?per_page=100&page=1";
const WRITE: &str = "POST /repos/acme/shop/issues/7/comments";

fn repository() -> RepositoryName {
    "acme/shop".parse().unwrap()
}

fn key() -> EffectKey {
    EffectKey::new("pr-acme.shop-7", &Generation::of_event("github-comment-77"), "reply", 1)
}

fn reply() -> WriteReply {
    let pull_request = PullRequestRef { repository: repository(), number: 7 };
    WriteReply { pull_request, effect: key(), body: "Done.".into() }
}

fn comment(id: u64, by: &str, body: &str) -> Value {
    json!({"id": id, "html_url": format!("https://git/c/{id}"), "body": body, "user": {"login": by}})
}

fn marked(id: u64, by: &str) -> Value {
    comment(id, by, &format!("Done.\n\n<!-- ticketwright: {} -->", key().digest()))
}

#[tokio::test]
async fn write_access_is_what_the_repository_says_of_the_person() {
    for (status, permission, may) in
        [(200, "admin", true), (200, "write", true), (200, "read", false), (200, "none", false), (404, "", false)]
    {
        let (_, client) = github(move |line, call| match line {
            "GET /repos/acme/shop/collaborators/ana/permission" => {
                Reply::status(status, json!({"permission": permission}))
            }
            _ => Reply::unplanned(call),
        })
        .await;
        assert_eq!(client.may_push(&repository(), "ana").await.unwrap(), may, "{permission}");
    }
    let (server, client) = github(|_, call| Reply::unplanned(call)).await;
    let foreign = client.may_push(&"else/shop".parse().unwrap(), "ana").await.unwrap_err();
    assert_eq!((foreign.kind, server.calls().len()), (FailureKind::Invalid, 0));
}

#[tokio::test]
async fn a_reaction_that_is_there_is_fine() {
    for status in [200, 201] {
        let (server, client) = github(move |_, _| Reply::status(status, json!({"id": 1, "content": "eyes"}))).await;
        client.react(&React { repository: repository(), comment: 77, content: "eyes".into() }).await.unwrap();
        let sent = &server.calls()[0];
        assert_eq!(sent.line, "POST /api/v3/repos/acme/shop/issues/comments/77/reactions");
        assert_eq!(sent.json, json!({"content": "eyes"}));
    }
}

#[tokio::test]
async fn a_comment_is_written_once_and_found_again() {
    let (server, client) = github(|line, call| match line {
        LIST => Reply::ok(json!([comment(1, "ana", "@agent go on")])),
        WRITE => Reply::status(201, comment(9, "ticketwright", "")),
        _ => Reply::unplanned(call),
    })
    .await;
    assert_eq!(client.write_reply(&reply()).await.unwrap(), "https://git/c/9");
    let sent = server.calls()[1].json["body"].as_str().unwrap().to_owned();
    assert_eq!(sent, format!("Done.\n\n<!-- ticketwright: {} -->", key().digest()));

    let (server, client) = github(|line, call| match line {
        LIST => Reply::ok(json!([marked(8, "ticketwright")])),
        "GET /user" => Reply::ok(json!({"login": "ticketwright"})),
        _ => Reply::unplanned(call),
    })
    .await;
    assert_eq!(client.write_reply(&reply()).await.unwrap(), "https://git/c/8");
    let address = FindReply { pull_request: reply().pull_request, effect: key() };
    assert_eq!(client.find_reply(&address).await.unwrap().as_deref(), Some("https://git/c/8"));
    assert!(server.calls().iter().all(|call| call.line.starts_with("GET ")), "nothing was written");
}

#[tokio::test]
async fn a_marker_under_another_name_counts_for_nothing() {
    let (_, client) = github(|line, call| match line {
        LIST => Reply::ok(json!([marked(8, "mallory")])),
        "GET /user" => Reply::ok(json!({"login": "ticketwright"})),
        WRITE => Reply::status(201, comment(9, "ticketwright", "")),
        _ => Reply::unplanned(call),
    })
    .await;
    let address = FindReply { pull_request: reply().pull_request, effect: key() };
    assert_eq!(client.find_reply(&address).await.unwrap(), None);
    assert_eq!(client.write_reply(&reply()).await.unwrap(), "https://git/c/9");
}

#[tokio::test]
async fn of_two_attempts_side_by_side_the_younger_comment_goes() {
    let mut looks = 0;
    let (server, client) = github(move |line, call| match line {
        LIST => {
            looks += 1;
            Reply::ok(if looks == 1 {
                json!([])
            } else {
                json!([marked(8, "ticketwright"), marked(9, "ticketwright")])
            })
        }
        "GET /user" => Reply::ok(json!({"login": "ticketwright"})),
        WRITE => Reply::status(201, marked(9, "ticketwright")),
        "DELETE /repos/acme/shop/issues/comments/9" => Reply::status(204, json!(null)),
        _ => Reply::unplanned(call),
    })
    .await;
    assert_eq!(client.write_reply(&reply()).await.unwrap(), "https://git/c/8");
    assert!(server.calls().iter().any(|call| call.line.starts_with("DELETE ")));
}
