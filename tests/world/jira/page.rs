//! Pages to look at: the board and one issue.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use minijinja::{Environment, Value as Shown, context};

use super::state::{Issue, State as Memory, TRANSITIONS};
use super::{Jira, adf};

pub(super) fn router(jira: &Jira) -> Router {
    Router::new().route("/", get(board)).route("/browse/{key}", get(browse)).with_state(jira.clone())
}

/// The templates, compiled in: name and text.
const TEMPLATES: [(&str, &str); 3] = [
    ("frame.html", include_str!("frame.html")),
    ("board.html", include_str!("board.html")),
    ("browse.html", include_str!("browse.html")),
];

fn render(template: &str, title: &str, page: Shown) -> Response {
    let rendered = || -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        for (name, text) in TEMPLATES {
            environment.add_template(name, text)?;
        }
        let base = page.get_attr("base")?;
        let content = Shown::from_safe_string(environment.get_template(template)?.render(page)?);
        environment.get_template("frame.html")?.render(context! { title, content, base })
    };
    match rendered() {
        Ok(page) => Html(page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

fn name(state: &Memory, account_id: &str) -> String {
    state.users.iter().find(|user| user.account_id == account_id).map_or_else(String::new, |user| user.name.clone())
}

fn card(state: &Memory, issue: &Issue) -> Shown {
    context! {
        key => issue.key, summary => issue.summary, labels => issue.labels, priority => issue.priority,
        status => issue.status, kind => issue.issue_type, reporter => name(state, &issue.reporter),
        comments => issue.comments.len(),
    }
}

async fn board(State(jira): State<Jira>) -> Response {
    let state = jira.lock();
    let columns: Vec<Shown> = TRANSITIONS
        .iter()
        .map(|(_, status)| {
            let cards: Vec<Shown> = state
                .issues
                .values()
                .filter(|issue| issue.status == *status)
                .map(|issue| card(&state, issue))
                .collect();
            context! { status, cards }
        })
        .collect();
    render("board.html", "Board", context! { columns, base => state.base_url })
}

async fn browse(State(jira): State<Jira>, Path(key): Path<String>) -> Response {
    let mut state = jira.lock();
    let Some(issue) = state.find(&key).cloned() else {
        return (StatusCode::NOT_FOUND, Html(format!("<p>There is no issue {}.</p>", crate::escape::html(&key))))
            .into_response();
    };
    let comments: Vec<Shown> = issue
        .comments
        .iter()
        .map(|comment| {
            context! {
                author => name(&state, &comment.author), bot => comment.author == super::state::BOT,
                at => comment.created.format("%H:%M:%S").to_string(), id => comment.id,
                edited => comment.updated > comment.created,
                body => Shown::from_safe_string(adf::to_html(&comment.body)),
            }
        })
        .collect();
    let history: Vec<Shown> = issue
        .history
        .iter()
        .flat_map(|change| {
            let (who, at) = (name(&state, &change.author), change.at.format("%H:%M:%S").to_string());
            change.items.iter().filter(|item| item["field"] != "description").map(move |item| {
                context! {
                    who, at, field => item["field"].as_str(), from => item["fromString"].as_str(),
                    to => item["toString"].as_str(),
                }
            })
        })
        .collect();
    let links: Vec<Shown> =
        issue.remote_links.iter().map(|link| context! { url => link.url, title => link.title }).collect();
    let page = context! {
        base => state.base_url, issue => card(&state, &issue), comments, history, links,
        description => Shown::from_safe_string(adf::to_html(&issue.description)),
    };
    render("browse.html", &format!("{} {}", issue.key, issue.summary), page)
}
