//! REST: runs, jobs and logs of GitHub Actions. <https://docs.github.com/en/rest/actions>

use chrono::{Duration, Utc};
use serde_json::{Value, json};

use super::actions;
use super::events::SharedHub;
use super::hub::{Hub, Place};
use super::reply::{Answer, Call, Failure, Reply};
use super::state::{Job, Run};

/// Links to logs live about a minute.
const LINK_LIFE: Duration = Duration::seconds(60);

fn run_of(hub: &Hub, place: &Place, id: &str) -> Result<Run, Failure> {
    let id = id.parse().map_err(|_| Failure::not_found())?;
    hub.run(place, id).ok_or_else(Failure::not_found)
}

fn job_of(hub: &Hub, place: &Place, id: &str) -> Result<(Run, Job), Failure> {
    let found = hub.with(place, |repository| {
        let job = repository.jobs.iter().find(|job| job.id.to_string() == id)?.clone();
        let run = repository.runs.iter().find(|run| run.id == job.run)?.clone();
        Some((run, job))
    })?;
    found.ok_or_else(Failure::not_found)
}

/// `GET /repos/{owner}/{repo}/actions/runs` with `head_sha`, `branch`, `event`, `status`, newest first.
pub(super) async fn runs(hub: &Hub, call: &Call, place: &Place) -> Answer {
    let mut runs = hub.with(place, |repository| repository.runs.clone())?;
    runs.retain(|run| call.query("head_sha").is_none_or(|sha| run.head_sha == sha));
    runs.retain(|run| call.query("branch").is_none_or(|branch| run.head_branch == branch));
    runs.retain(|run| call.query("event").is_none_or(|event| run.event == event));
    runs.retain(|run| call.query("check_suite_id").is_none_or(|suite| run.suite.to_string() == suite));
    let is = |run: &Run, status: &str| run.status == status || run.conclusion.as_deref() == Some(status);
    runs.retain(|run| call.query("status").is_none_or(|status| is(run, status)));
    runs.reverse();
    let total = runs.len();
    let (page, link) = call.paged(runs, &hub.base);
    let mut views = Vec::new();
    for run in &page {
        views.push(hub.run_view(place, run).await);
    }
    Ok(Reply::ok(json!({"total_count": total, "workflow_runs": views})).link(link))
}

/// `GET /repos/{owner}/{repo}/actions/runs/{id}`.
pub(super) async fn run(hub: &Hub, place: &Place, id: &str) -> Answer {
    let run = run_of(hub, place, id)?;
    Ok(Reply::ok(hub.run_view(place, &run).await))
}

/// `GET /repos/{owner}/{repo}/actions/runs/{id}/jobs`; `filter=latest` unless told `all`.
pub(super) fn jobs(hub: &Hub, call: &Call, place: &Place, id: &str) -> Answer {
    let run = run_of(hub, place, id)?;
    let mut jobs = hub.with(place, |repository| repository.jobs.clone())?;
    jobs.retain(|job| job.run == run.id);
    if call.query("filter") != Some("all") {
        let all = jobs.clone();
        jobs.retain(|job| !all.iter().any(|other| other.id > job.id && other.key == job.key && other.name == job.name));
    }
    let total = jobs.len();
    let (page, link) = call.paged(jobs, &hub.base);
    let views: Vec<Value> = page.iter().map(|job| hub.job_view(place, &run, job)).collect();
    Ok(Reply::ok(json!({"total_count": total, "jobs": views})).link(link))
}

/// `GET /repos/{owner}/{repo}/actions/jobs/{id}`.
pub(super) fn job(hub: &Hub, place: &Place, id: &str) -> Answer {
    let (run, job) = job_of(hub, place, id)?;
    Ok(Reply::ok(hub.job_view(place, &run, &job)))
}

/// `GET /repos/{owner}/{repo}/actions/jobs/{id}/logs`: 302 to a link that lives a minute and needs no credentials.
pub(super) fn logs(hub: &Hub, place: &Place, id: &str) -> Answer {
    let (_, job) = job_of(hub, place, id)?;
    if job.status != "completed" {
        return Err(Failure::not_found());
    }
    if hub.with(place, |repository| repository.forgets_logs || repository.expired_logs.contains(&job.id))? {
        return Err(Failure::new(410, "The logs for this run have expired and are no longer available."));
    }
    let secret = uuid::Uuid::new_v4().simple().to_string();
    hub.state().log_links.insert(secret.clone(), (place.full.clone(), job.id, Utc::now() + LINK_LIFE));
    let mut reply = Reply::empty(302);
    reply.headers.push(("location", hub.api(&format!("/_logs/{secret}"))));
    Ok(reply)
}

/// The log behind such a link.
pub(super) fn log_by_link(hub: &Hub, secret: &str) -> Answer {
    let expired = || Failure::new(403, "This link is unknown or has expired.");
    let (full, job, until) = hub.state().log_links.get(secret).cloned().ok_or_else(expired)?;
    if until < Utc::now() {
        return Err(expired());
    }
    let state = hub.state();
    let repository = state.repository(&full).ok_or_else(Failure::not_found)?;
    let job = repository.jobs.iter().find(|other| other.id == job).ok_or_else(Failure::not_found)?;
    Ok(Reply::raw("text/plain; charset=utf-8", job.log.clone().into_bytes()))
}

/// `POST /repos/{owner}/{repo}/actions/runs/{id}/rerun` and `.../rerun-failed-jobs`.
pub(super) async fn rerun(hub: &SharedHub, call: &Call, place: &Place, id: &str, only_failed: bool) -> Answer {
    let run = run_of(hub, place, id)?;
    if run.status != "completed" {
        return Err(Failure::new(403, "This workflow is already running"));
    }
    if only_failed && run.conclusion.as_deref() == Some("success") {
        return Err(Failure::new(403, "This workflow run cannot be retried: it has no failed jobs"));
    }
    let which = if only_failed { actions::Which::Failed } else { actions::Which::All };
    let again = actions::again(hub, place, run.id, which).await;
    let again = again.ok_or_else(|| {
        Failure::new(403, "Unable to retry this workflow run because it was created without a valid workflow file")
    })?;
    let detail = json!({
        "run": again.id, "attempt": again.attempt, "head_sha": again.head_sha, "only_failed": only_failed,
        "by": call.actor.login(), "name": again.name,
    });
    hub.effect("run.rerun", place.at(&again.head_branch), detail);
    Ok(Reply::created(json!({})))
}

/// `POST /repos/{owner}/{repo}/actions/jobs/{id}/rerun`.
pub(super) async fn rerun_job(hub: &SharedHub, call: &Call, place: &Place, id: &str) -> Answer {
    let (run, job) = job_of(hub, place, id)?;
    let running = || Failure::new(403, "The workflow run containing this job is already running");
    if run.status != "completed" {
        return Err(running());
    }
    let again = actions::again(hub, place, run.id, actions::Which::Job(job.key.clone())).await.ok_or_else(running)?;
    let detail = json!({
        "run": again.id, "attempt": again.attempt, "head_sha": again.head_sha, "job": job.name,
        "by": call.actor.login(), "name": again.name,
    });
    hub.effect("job.rerun", place.at(&again.head_branch), detail);
    Ok(Reply::created(json!({})))
}

/// `POST /repos/{owner}/{repo}/actions/runs/{id}/cancel`.
pub(super) fn cancel(hub: &Hub, call: &Call, place: &Place, id: &str) -> Answer {
    let run = run_of(hub, place, id)?;
    if run.status == "completed" {
        return Err(Failure::new(409, "Cannot cancel a workflow run that is completed."));
    }
    run.stop.cancel();
    hub.effect("run.cancelled", place.at(&run.head_branch), json!({"run": run.id, "by": call.actor.login()}));
    Ok(Reply::with(202, json!({})))
}
