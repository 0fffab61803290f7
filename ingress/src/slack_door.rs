//! Slack's three routes: buttons, commands, mentions. Slack waits 3 s for each; what people read goes to the one who asked.

use axum::extract::State;
use serde_json::{Value, json};
use url::Url;
use workflows::contract::ids::TicketKey;
use workflows::contract::trigger::{Commanded, Trigger, Word};
use workflows::messages::slack::section;

use crate::app::{App, FromSlack, SLACK_DEADLINE, Signed};
use crate::dispatch::Outcome;
use crate::reply::Reply;
use crate::temporal::TemporalError;
use crate::webhook::slack::{self, Click, Interaction};
use crate::webhook::slack_command::{self, Asked};
use crate::webhook::slack_event::{self, Event};
use crate::webhook::{Meaning, Unreadable};
use crate::{slack_answer, slack_cost, slack_text, tasks};

/// Tickets in a list.
const LISTED: i32 = 30;
/// Log entries behind a button.
const BEHIND_BUTTON: usize = 15;

/// A button.
pub(crate) async fn interaction(State(app): State<App>, delivery: Signed<FromSlack>) -> Reply {
    match slack::read(&delivery.body) {
        Ok(Interaction::Click(click)) => clicked(app, click, &delivery.id).await,
        Ok(Interaction::Logs { ticket, job, response_url }) => {
            // Beside the answer to Slack, which has only what is left of its 3 s.
            tokio::spawn(async move {
                let text = in_time(logs_behind(&app, &ticket, job)).await;
                tell(&app, response_url, text).await;
            });
            Reply::Clicked
        }
        Ok(Interaction::Incomplete { response_url }) => {
            let text =
                "Write what should be different into the field above the buttons, then click Request changes again.";
            tokio::spawn(async move { tell(&app, response_url, text.to_owned()).await });
            Reply::Clicked
        }
        Ok(Interaction::Ignored(why)) => Reply::Ignored(why),
        Err(Unreadable(reason)) => Reply::Unreadable(reason),
    }
}

async fn clicked(app: App, click: Click, delivery: &str) -> Reply {
    let Click { commanded, response_url, confirmed } = click;
    let (ticket, word) = (commanded.ticket.clone(), commanded.word.clone());
    let result = app.dispatch(Trigger::Commanded(commanded), delivery, SLACK_DEADLINE).await;
    let text = slack_answer::text(&ticket, &word, &result, app.label());
    let text = text.or_else(|| confirmed.then(|| slack_text::taken(&ticket, &word)));
    if let Some(text) = text {
        tokio::spawn(async move { tell(&app, response_url, text).await });
    }
    match result {
        Ok(_) => Reply::Clicked,
        // Slack marks the button with a warning, and the person has the text above.
        Err(_) => Reply::Unavailable,
    }
}

async fn tell(app: &App, response_url: Option<Url>, text: String) {
    if let Some(url) = response_url {
        slack_answer::post(app.http().clone(), url, text).await;
    }
}

/// A mention.
pub(crate) async fn event(State(app): State<App>, delivery: Signed<FromSlack>) -> Reply {
    let meaning = match slack_event::read(&delivery.body) {
        Ok(Event::Challenge(challenge)) => return Reply::Challenge(challenge),
        Ok(Event::Meaning(meaning)) => Ok(meaning),
        Err(unreadable) => Err(unreadable),
    };
    if let Ok(Meaning::Trigger(Trigger::Mentioned(mention))) = &meaning {
        tracing::info!(person = mention.by.id, event = mention.event.id, "mentioned");
    }
    app.handle(meaning, &delivery.id, SLACK_DEADLINE).await
}

/// A slash command.
pub(crate) async fn command(State(app): State<App>, delivery: Signed<FromSlack>) -> Reply {
    let asked = match slack_command::read(&delivery.body) {
        Ok(Asked::Nothing) => return Reply::Ignored("ssl_check".into()),
        Ok(asked) => asked,
        Err(Unreadable(reason)) => return Reply::Unreadable(reason),
    };
    Reply::Told(shown(&in_time(Box::pin(answer(&app, asked, &delivery.id))).await))
}

/// A message for the one who asked.
fn shown(text: &str) -> Value {
    json!({"response_type": "ephemeral", "text": text, "blocks": [section(text)]})
}

/// The answer, or what a person can do when Temporal is too slow for Slack.
async fn in_time(answer: impl Future<Output = Result<String, TemporalError>>) -> String {
    match tokio::time::timeout(SLACK_DEADLINE, answer).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a question from Slack has no answer");
            "Temporal does not answer. Nothing was done; ask again in a minute.".to_owned()
        }
        Err(_) => {
            "Temporal takes too long to answer. If you gave a command, look with `/agent status` whether it counted."
                .to_owned()
        }
    }
}

async fn answer(app: &App, asked: Asked, delivery: &str) -> Result<String, TemporalError> {
    let now = chrono::Utc::now().timestamp();
    let client = app.dispatcher().temporal().client();
    match asked {
        Asked::Help | Asked::Nothing => Ok(slack_text::HELP.to_owned()),
        Asked::Usage(fault) => Ok(slack_text::usage(&fault)),
        Asked::List(stage) => Ok(slack_text::list(&tasks::list(client?, stage, LISTED).await?, stage, now)),
        Asked::Logs { ticket, last } => logs(app, &ticket, last).await,
        Asked::Status(typed) => {
            let known = match typed.parse::<TicketKey>() {
                Ok(ticket) => tasks::ticket_state(client?, &ticket).await?.map(|state| (ticket, state)),
                Err(_) => None,
            };
            match known {
                Some((ticket, state)) => Ok(slack_text::status(&ticket, &state, now)),
                None => unknown(app, &typed).await,
            }
        }
        Asked::Cost(typed) => cost(app, &typed).await,
        Asked::Say { ticket, word } => say(app, &ticket, word, delivery).await,
    }
}

async fn say(app: &App, typed: &str, word: Word, delivery: &str) -> Result<String, TemporalError> {
    let Ok(ticket) = typed.parse::<TicketKey>() else { return unknown(app, typed).await };
    let commanded = Commanded { ticket: ticket.clone(), word: word.clone() };
    let result = app.dispatch(Trigger::Commanded(commanded), delivery, SLACK_DEADLINE).await;
    if let Ok(Outcome::NoRun(_)) = &result {
        return unknown(app, typed).await;
    }
    let text = slack_answer::text(&ticket, &word, &result, app.label());
    Ok(text.unwrap_or_else(|| slack_text::taken(&ticket, &word)))
}

async fn cost(app: &App, typed: &str) -> Result<String, TemporalError> {
    let client = app.dispatcher().temporal().client()?;
    let Ok(ticket) = typed.parse::<TicketKey>() else { return unknown(app, typed).await };
    let (state, report) = tokio::join!(tasks::ticket_state(client, &ticket), tasks::cost(client, &ticket));
    match (state?, report) {
        (None, _) => unknown(app, typed).await,
        (Some(_), Some(report)) => Ok(slack_cost::table(&ticket, &report)),
        (Some(state), None) => Ok(slack_text::status(&ticket, &state, chrono::Utc::now().timestamp())),
    }
}

/// What a button shows: a red check's last words, or the run's log where the run knows none of that job.
async fn logs_behind(app: &App, ticket: &TicketKey, job: Option<u64>) -> Result<String, TemporalError> {
    if let Some(job) = job
        && let Some(log) = tasks::check_log(app.dispatcher().temporal().client()?, ticket, job).await
    {
        return Ok(slack_text::check_log(ticket, &log));
    }
    logs(app, ticket.as_str(), BEHIND_BUTTON).await
}

async fn logs(app: &App, typed: &str, last: usize) -> Result<String, TemporalError> {
    let client = app.dispatcher().temporal().client()?;
    let Ok(ticket) = typed.parse::<TicketKey>() else { return unknown(app, typed).await };
    let (state, entries) = tokio::join!(tasks::ticket_state(client, &ticket), tasks::log(client, &ticket, last));
    match (state?, entries) {
        (None, _) => unknown(app, typed).await,
        (Some(state), Some(entries)) => Ok(slack_text::log(&ticket, &entries, state.status.as_ref())),
        (Some(state), None) => Ok(slack_text::status(&ticket, &state, chrono::Utc::now().timestamp())),
    }
}

async fn unknown(app: &App, typed: &str) -> Result<String, TemporalError> {
    let near = tasks::nearest(app.dispatcher().temporal().client()?, typed).await?;
    Ok(slack_text::unknown(typed, &near, app.label()))
}
