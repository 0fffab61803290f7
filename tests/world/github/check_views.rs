//! Statuses, checks, suites, runs and jobs as GitHub's JSON.

use serde_json::{Value, json};

use super::hub::{Hub, Place};
use super::state::{CheckRun, Job, Run, Status, Suite, node_id};
use super::views::time;

/// The app that GitHub Actions reports as; any other CI is an app of its own.
pub(super) const ACTIONS: &str = "github-actions";

impl Hub {
    fn check_app(&self, slug: &str) -> Value {
        let id = if slug == ACTIONS { 15_368 } else { 20_000 + slug.len() as u64 };
        json!({
            "id": id,
            "slug": slug,
            "client_id": format!("Iv1.{id}"),
            "node_id": node_id("A", id),
            "owner": self.user("github"),
            "name": if slug == ACTIONS { "GitHub Actions" } else { slug },
            "description": "",
            "external_url": format!("{}/apps/{slug}", self.base),
            "html_url": format!("{}/apps/{slug}", self.base),
            "created_at": "2018-07-30T09:30:17Z",
            "updated_at": "2018-07-30T09:30:17Z",
            "permissions": {"checks": "write", "metadata": "read", "statuses": "write"},
            "events": ["check_run", "check_suite"],
        })
    }

    /// Open pull requests with this head, in the short form that checks carry.
    fn pulls_of(&self, place: &Place, sha: &str) -> Value {
        let api = self.api(&format!("/repos/{}", place.full));
        let id = self.with(place, |repository| repository.id).unwrap_or_default();
        let repository = json!({"id": id, "url": api, "name": place.name});
        let pulls = self.open_pulls(place, |pull| pull.head_sha == sha);
        let view = pulls.iter().map(|pull| {
            json!({
                "url": format!("{api}/pulls/{}", pull.number),
                "id": pull.id,
                "number": pull.number,
                "head": {"ref": pull.head_branch, "sha": pull.head_sha, "repo": repository},
                "base": {"ref": pull.base_branch, "sha": pull.base_sha, "repo": repository},
            })
        });
        view.collect()
    }

    pub(super) fn check_view(&self, place: &Place, check: &CheckRun) -> Value {
        let api = self.api(&format!("/repos/{}/check-runs/{}", place.full, check.id));
        let suite = self
            .with(place, |repository| repository.suites.iter().find(|suite| suite.id == check.suite).cloned())
            .ok()
            .flatten();
        let app = suite.as_ref().map_or(ACTIONS, |suite| &suite.app).to_owned();
        json!({
            "id": check.id,
            "name": check.name,
            "node_id": node_id("CR", check.id),
            "head_sha": check.head_sha,
            "external_id": "",
            "url": api,
            "html_url": check.details_url,
            "details_url": check.details_url,
            "status": check.status,
            "conclusion": check.conclusion,
            "started_at": time(check.started),
            "completed_at": check.completed.map(time),
            "output": {
                "title": check.title,
                "summary": check.summary,
                "text": null,
                "annotations_count": 0,
                "annotations_url": format!("{api}/annotations"),
            },
            "check_suite": {
                "id": check.suite,
                "head_branch": suite.as_ref().map(|suite| &suite.head_branch),
                "head_sha": check.head_sha,
                "status": suite.as_ref().map(|suite| suite.status),
                "conclusion": suite.as_ref().and_then(|suite| suite.conclusion.clone()),
                "pull_requests": self.pulls_of(place, &check.head_sha),
                "app": self.check_app(&app),
            },
            "app": self.check_app(&app),
            "pull_requests": self.pulls_of(place, &check.head_sha),
        })
    }

    pub(super) async fn suite_view(&self, place: &Place, suite: &Suite) -> Value {
        let api = self.api(&format!("/repos/{}/check-suites/{}", place.full, suite.id));
        let count = self.with(place, |r| r.checks.iter().filter(|check| check.suite == suite.id).count()).unwrap_or(0);
        json!({
            "id": suite.id,
            "node_id": node_id("CS", suite.id),
            "head_branch": suite.head_branch,
            "head_sha": suite.head_sha,
            "status": suite.status,
            "conclusion": suite.conclusion,
            "url": api,
            "before": suite.before,
            "after": suite.head_sha,
            "pull_requests": self.pulls_of(place, &suite.head_sha),
            "app": self.check_app(&suite.app),
            "created_at": time(suite.created),
            "updated_at": time(suite.updated),
            "rerequestable": true,
            "runs_rerequestable": false,
            "latest_check_runs_count": count,
            "check_runs_url": format!("{api}/check-runs"),
            "head_commit": self.head_commit(place, &suite.head_sha).await,
        })
    }

    /// The short form of a commit in events and runs.
    pub(super) async fn head_commit(&self, place: &Place, sha: &str) -> Value {
        let Ok(commit) = place.git.commit(sha).await else { return Value::Null };
        json!({
            "id": commit.sha,
            "tree_id": commit.tree,
            "message": commit.message,
            "timestamp": super::git_objects::iso(commit.committer.at),
            "author": {"name": commit.author.name, "email": commit.author.email},
            "committer": {"name": commit.committer.name, "email": commit.committer.email},
        })
    }

    pub(super) async fn run_view(&self, place: &Place, run: &Run) -> Value {
        let api = self.api(&format!("/repos/{}", place.full));
        let url = format!("{api}/actions/runs/{}", run.id);
        let title = self.head_commit(place, &run.head_sha).await;
        let first_line = title["message"].as_str().and_then(|message| message.lines().next()).unwrap_or_default();
        let repository = self.repository(place).unwrap_or_default();
        json!({
            "id": run.id,
            "name": run.name,
            "node_id": node_id("WFR", run.id),
            "head_branch": run.head_branch,
            "head_sha": run.head_sha,
            "path": run.path,
            "display_title": first_line,
            "run_number": run.number,
            "event": run.event,
            "status": run.status,
            "conclusion": run.conclusion,
            "workflow_id": run.workflow_id,
            "check_suite_id": run.suite,
            "check_suite_node_id": node_id("CS", run.suite),
            "url": url,
            "html_url": format!("{}/{}/actions/runs/{}", self.base, place.full, run.id),
            "pull_requests": self.pulls_of(place, &run.head_sha),
            "created_at": time(run.created),
            "updated_at": time(run.updated),
            "actor": self.user(&run.actor),
            "triggering_actor": self.user(&run.actor),
            "run_attempt": run.attempt,
            "run_started_at": time(run.created),
            "referenced_workflows": [],
            "jobs_url": format!("{url}/jobs"),
            "logs_url": format!("{url}/logs"),
            "check_suite_url": format!("{api}/check-suites/{}", run.suite),
            "artifacts_url": format!("{url}/artifacts"),
            "cancel_url": format!("{url}/cancel"),
            "rerun_url": format!("{url}/rerun"),
            "previous_attempt_url": null,
            "workflow_url": format!("{api}/actions/workflows/{}", run.workflow_id),
            "head_commit": title,
            "repository": repository,
            "head_repository": repository,
        })
    }

    pub(super) fn job_view(&self, place: &Place, run: &Run, job: &Job) -> Value {
        let api = self.api(&format!("/repos/{}", place.full));
        json!({
            "id": job.id,
            "run_id": run.id,
            "workflow_name": run.name,
            "head_branch": run.head_branch,
            "run_url": format!("{api}/actions/runs/{}", run.id),
            "run_attempt": job.attempt,
            "node_id": node_id("CR", job.id),
            "head_sha": run.head_sha,
            "url": format!("{api}/actions/jobs/{}", job.id),
            "html_url": self.job_page(place, run.id, job.id),
            "status": job.status,
            "conclusion": job.conclusion,
            "created_at": time(job.created),
            "started_at": time(job.started),
            "completed_at": job.completed.map(time),
            "name": job.name,
            "steps": job.steps,
            "check_run_url": format!("{api}/check-runs/{}", job.id),
            "labels": job.labels,
            "runner_id": 1,
            "runner_name": "world-runner",
            "runner_group_id": 1,
            "runner_group_name": "Default",
        })
    }

    /// Web page of a job.
    pub(super) fn job_page(&self, place: &Place, run: u64, job: u64) -> String {
        format!("{}/{}/actions/runs/{run}/job/{job}", self.base, place.full)
    }

    pub(super) fn status_view(&self, place: &Place, status: &Status) -> Value {
        json!({
            "id": status.id,
            "node_id": node_id("SC", status.id),
            "url": self.api(&format!("/repos/{}/statuses/{}", place.full, status.sha)),
            "avatar_url": null,
            "state": status.state,
            "description": status.description,
            "target_url": status.target_url,
            "context": status.context,
            "creator": self.user(&status.creator),
            "created_at": time(status.created),
            "updated_at": time(status.created),
        })
    }

    /// Newest status of each context on a commit.
    pub(super) fn latest_statuses(&self, place: &Place, sha: &str) -> Vec<Status> {
        let all = self.with(place, |repository| repository.statuses.clone()).unwrap_or_default();
        let of: Vec<Status> = all.into_iter().filter(|status| status.sha == sha).collect();
        let newest = |one: &Status| !of.iter().any(|other| other.id > one.id && other.context == one.context);
        of.iter().filter(|status| newest(status)).cloned().collect()
    }

    /// Statuses and checks of a commit in one word: `none`, `pending`, `failure` or `success`.
    pub(super) fn combined_state(&self, place: &Place, sha: &str) -> &'static str {
        let checks = self.with(place, |repository| repository.checks_of(sha, true)).unwrap_or_default();
        let mut words: Vec<String> = self.latest_statuses(place, sha).into_iter().map(|status| status.state).collect();
        words.extend(checks.into_iter().map(|check| check.conclusion.unwrap_or_else(|| "pending".into())));
        let good = ["success", "neutral", "skipped"];
        match () {
            () if words.is_empty() => "none",
            () if words.iter().any(|word| word == "pending") => "pending",
            () if words.iter().all(|word| good.contains(&word.as_str())) => "success",
            () => "failure",
        }
    }
}
