//! A page to look at: the issues, and one issue with its newest event.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use minijinja::{Environment, Value as Shown, context};

use super::state::{Issue, State as Memory};
use super::{ORGANISATION, Sentry};

pub(super) fn router(sentry: &Sentry) -> Router {
    Router::new()
        .route("/", get(list))
        .route(&format!("/organizations/{ORGANISATION}/issues/{{id}}/"), get(show))
        .with_state(sentry.clone())
}

fn render(title: &str, page: Shown) -> Response {
    let rendered = || -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        environment.add_template("page.html", include_str!("page.html"))?;
        environment.get_template("page.html")?.render(context! { title, organisation => ORGANISATION, ..page })
    };
    match rendered() {
        Ok(page) => Html(page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

fn row(state: &Memory, issue: &Issue) -> Shown {
    context! {
        id => issue.id, short_id => issue.short_id, title => issue.title(), culprit => issue.culprit(), level => issue.level,
        status => issue.status.as_str(), events => issue.total(), users => issue.users, project => issue.project,
        last_seen => issue.last_seen.format("%H:%M:%S").to_string(), release => issue.release,
        environment => issue.environment,
        url => format!("{}/organizations/{ORGANISATION}/issues/{}/", state.base_url, issue.id),
    }
}

async fn list(State(sentry): State<Sentry>) -> Response {
    let state = sentry.lock();
    let mut issues: Vec<&Issue> = state.issues.values().collect();
    issues.sort_by_key(|issue| std::cmp::Reverse(issue.last_seen));
    let issues: Vec<Shown> = issues.into_iter().map(|issue| row(&state, issue)).collect();
    render("Issues", context! { base => state.base_url, issues })
}

async fn show(State(sentry): State<Sentry>, Path(id): Path<String>) -> Response {
    let state = sentry.lock();
    let Some(issue) = state.find(&id) else {
        return (StatusCode::NOT_FOUND, Html("<p>There is no such issue.</p>")).into_response();
    };
    let frames: Vec<Shown> = issue
        .frames
        .iter()
        .rev()
        .map(|frame| {
            context! {
                file => frame.file, function => frame.function, line => frame.line, text => frame.text,
                in_app => frame.in_app,
            }
        })
        .collect();
    let links: Vec<Shown> =
        issue.links.iter().map(|link| context! { url => link.url, name => link.identifier }).collect();
    let page = context! { base => state.base_url, issue => row(&state, issue), frames, links };
    render(&issue.short_id, page)
}
