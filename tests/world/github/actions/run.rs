//! One run: its jobs in the order of their needs, in parallel where they can; checks and webhooks on the way.

use std::collections::{BTreeMap, HashMap};

use chrono::Utc;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::expression::Scope;
use super::job::{JobEnd, JobWork};
use super::workflow::{Combination, JobSpec, Workflow};
use crate::github::events::SharedHub;
use crate::github::hub::{Hub, Place};
use crate::github::state::{CheckRun, Job, Run};

/// Which jobs an attempt runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::github) enum Which {
    /// All.
    All,
    /// Those that did not succeed before, and those that need them.
    Failed,
    /// The job with this key (all its copies), and those that need it.
    Job(String),
}

/// One copy of a job, waiting.
#[derive(Debug, Clone)]
struct Planned {
    id: u64,
    spec: JobSpec,
    combination: Combination,
}

/// What is known of a job of the workflow file once all its copies have ended.
#[derive(Debug, Clone)]
struct Outcome {
    conclusion: &'static str,
    outputs: Value,
}

/// Makes jobs and checks, then lets the run go on in a task of its own.
pub(super) async fn spawn(hub: &SharedHub, place: &Place, run: Run, workflow: Workflow, which: Which) {
    hub.cancel_group(place, &run, &workflow);
    let (planned, kept) = plan(hub, place, &run, &workflow, which);
    for job in &planned {
        if let Some(check) = hub.check(place, job.id) {
            hub.announce_check(place, &check, "created", &run.actor);
        }
    }
    let (hub, place) = (hub.clone(), place.clone());
    tokio::spawn(async move {
        let conclusion = carry_out(&hub, &place, &run, &workflow, planned, kept).await;
        end(&hub, &place, run.id, conclusion).await;
    });
}

/// Creates the records of this attempt's jobs. Answers them with the results that earlier attempts left.
fn plan(
    hub: &SharedHub,
    place: &Place,
    run: &Run,
    workflow: &Workflow,
    which: Which,
) -> (Vec<Planned>, HashMap<String, Outcome>) {
    let earlier = hub.with(place, |repository| repository.jobs.clone()).unwrap_or_default();
    let earlier: Vec<&Job> = earlier.iter().filter(|job| job.run == run.id).collect();
    let good = |spec: &JobSpec| {
        let copies = spec.combinations.iter().map(|combination| title(spec, combination));
        let newest = |name: String| earlier.iter().rfind(|job| job.key == spec.key && job.name == name);
        copies.map(newest).all(|job| job.is_some_and(|job| job.conclusion.as_deref() == Some("success")))
    };
    let mut kept: HashMap<String, Outcome> = HashMap::new();
    if which != Which::All {
        let stays = |spec: &JobSpec| match &which {
            Which::Job(key) => spec.key != *key,
            _ => good(spec),
        };
        loop {
            let add = workflow.jobs.iter().find(|spec| {
                !kept.contains_key(&spec.key) && stays(spec) && spec.needs.iter().all(|need| kept.contains_key(need))
            });
            let Some(spec) = add else { break };
            let last = earlier.iter().rfind(|job| job.key == spec.key);
            let outputs = last.map_or(json!({}), |job| job.outputs.clone());
            let conclusion = if good(spec) { "success" } else { "failure" };
            kept.insert(spec.key.clone(), Outcome { conclusion, outputs });
        }
    }
    let mut planned = Vec::new();
    for spec in workflow.jobs.iter().filter(|spec| !kept.contains_key(&spec.key)) {
        for combination in &spec.combinations {
            let id = hub.next_id();
            let now = Utc::now();
            let name = title(spec, combination);
            let job = Job {
                id,
                run: run.id,
                attempt: run.attempt,
                key: spec.key.clone(),
                name: name.clone(),
                status: "queued",
                conclusion: None,
                labels: spec.labels.clone(),
                steps: Vec::new(),
                outputs: json!({}),
                log: String::new(),
                created: now,
                started: now,
                completed: None,
            };
            let check = CheckRun {
                id,
                suite: run.suite,
                name,
                head_sha: run.head_sha.clone(),
                status: "queued",
                conclusion: None,
                title: None,
                summary: None,
                details_url: hub.job_page(place, run.id, id),
                started: now,
                completed: None,
            };
            let _ = hub.with(place, |repository| {
                repository.jobs.push(job);
                repository.checks.push(check);
            });
            planned.push(Planned { id, spec: spec.clone(), combination: combination.clone() });
        }
    }
    (planned, kept)
}

/// Name of a copy with `matrix` filled in.
fn title(spec: &JobSpec, combination: &Combination) -> String {
    let matrix: Map<String, Value> = combination.iter().cloned().collect();
    let scope = Scope { contexts: json!({"matrix": matrix}), success: true, cancelled: false };
    let title = spec.title(combination);
    scope.fill(&title).unwrap_or(title)
}

async fn carry_out(
    hub: &SharedHub,
    place: &Place,
    run: &Run,
    workflow: &Workflow,
    planned: Vec<Planned>,
    kept: HashMap<String, Outcome>,
) -> &'static str {
    let mut results = kept;
    let mut waiting: Vec<JobSpec> = Vec::new();
    for spec in &workflow.jobs {
        if planned.iter().any(|job| job.spec.key == spec.key) {
            waiting.push(spec.clone());
        }
    }
    let mut running = tokio::task::JoinSet::new();
    loop {
        let ready = waiting.iter().position(|spec| spec.needs.iter().all(|need| results.contains_key(need)));
        if let Some(at) = ready {
            let spec = waiting.remove(at);
            let copies: Vec<Planned> = planned.iter().filter(|job| job.spec.key == spec.key).cloned().collect();
            let needs: BTreeMap<&String, &Outcome> =
                spec.needs.iter().filter_map(|n| results.get_key_value(n)).collect();
            let wanted = is_wanted(run, &spec, &needs);
            let needs: Map<String, Value> = needs
                .into_iter()
                .map(|(key, result)| (key.clone(), json!({"result": result.conclusion, "outputs": result.outputs})))
                .collect();
            if wanted {
                let group =
                    Group { hub: hub.clone(), place: place.clone(), run: run.clone(), workflow: workflow.clone() };
                running.spawn(group.run(spec, copies, Value::Object(needs)));
            } else {
                let conclusion = if run.stop.is_cancelled() { "cancelled" } else { "skipped" };
                for job in copies {
                    let end = JobEnd { conclusion, summary: "This job did not run.".into(), outputs: json!({}) };
                    hub.end_job(place, run, job.id, &end).await;
                }
                results.insert(spec.key, Outcome { conclusion, outputs: json!({}) });
            }
            continue;
        }
        match running.join_next().await {
            Some(Ok((key, result))) => {
                results.insert(key, result);
            }
            Some(Err(error)) => {
                tracing::error!(%error, "a job's task ended unexpectedly");
                return "failure";
            }
            None => break,
        }
    }
    let any = |conclusion: &str| results.values().any(|result| result.conclusion == conclusion);
    match () {
        () if any("failure") => "failure",
        () if any("cancelled") => "cancelled",
        () if any("success") => "success",
        () => "skipped",
    }
}

/// Whether a job runs, by its `if` and by the results of what it needs.
fn is_wanted(run: &Run, spec: &JobSpec, needs: &BTreeMap<&String, &Outcome>) -> bool {
    let contexts = json!({
        "github": {"event_name": run.event, "ref": format!("refs/heads/{}", run.head_branch), "ref_name": run.head_branch,
            "head_ref": run.head_branch, "base_ref": run.base_branch, "sha": run.head_sha, "actor": run.actor},
        "needs": needs.iter().map(|(key, result)| ((*key).clone(), json!({"result": result.conclusion, "outputs": result.outputs}))).collect::<Map<_, _>>(),
        "vars": {}, "inputs": {},
    });
    let success = needs.values().all(|result| result.conclusion == "success");
    let scope = Scope { contexts, success, cancelled: run.stop.is_cancelled() };
    // An `if` that cannot be read lets the job start; its first line then says what is wrong.
    scope.holds(spec.condition.as_deref()).unwrap_or(success)
}

/// All copies of one job.
struct Group {
    hub: SharedHub,
    place: Place,
    run: Run,
    workflow: Workflow,
}

impl Group {
    async fn run(self, spec: JobSpec, copies: Vec<Planned>, needs: Value) -> (String, Outcome) {
        // With fail-fast the first failure cancels the other copies.
        let together = self.run.stop.child_token();
        let one = |job: Planned| {
            let stop = if spec.fail_fast { together.clone() } else { together.child_token() };
            self.one(job, needs.clone(), stop, together.clone())
        };
        let ends: Vec<JobEnd> = futures::future::join_all(copies.into_iter().map(one)).await;
        let any = |conclusion: &str| ends.iter().any(|end| end.conclusion == conclusion);
        let conclusion = match () {
            () if any("failure") && !spec.continue_on_error => "failure",
            () if any("cancelled") && !any("failure") => "cancelled",
            () => "success",
        };
        let outputs = ends.into_iter().next_back().map_or(json!({}), |end| end.outputs);
        (spec.key, Outcome { conclusion, outputs })
    }

    async fn one(&self, job: Planned, needs: Value, stop: CancellationToken, together: CancellationToken) -> JobEnd {
        let permit = tokio::select! {
            permit = self.hub.runners.clone().acquire_owned() => permit.ok(),
            () = stop.cancelled() => None,
        };
        let fail_fast = job.spec.fail_fast;
        let end = if permit.is_some() && !stop.is_cancelled() {
            self.hub.begin_job(&self.place, &self.run, job.id).await;
            let work = JobWork {
                hub: self.hub.clone(),
                place: self.place.clone(),
                run: self.run.clone(),
                id: job.id,
                spec: job.spec,
                combination: job.combination,
                env: self.workflow.env.clone(),
                defaults: self.workflow.defaults.clone(),
                needs,
                stop,
            };
            work.run().await
        } else {
            JobEnd { conclusion: "cancelled", summary: "Cancelled before it began.".into(), outputs: json!({}) }
        };
        if end.conclusion == "failure" && fail_fast {
            together.cancel();
        }
        self.hub.end_job(&self.place, &self.run, job.id, &end).await;
        end
    }
}

/// Closes a run and its suite and tells everybody.
pub(super) async fn end(hub: &SharedHub, place: &Place, id: u64, conclusion: &str) {
    let ended = hub.with(place, |repository| {
        let run = repository.runs.iter_mut().find(|run| run.id == id)?;
        (run.status, run.conclusion, run.updated) = ("completed", Some(conclusion.to_owned()), Utc::now());
        let run = run.clone();
        let suite = repository.suites.iter_mut().find(|suite| suite.id == run.suite)?;
        (suite.status, suite.conclusion, suite.updated) = ("completed", Some(conclusion.to_owned()), Utc::now());
        Some((run, suite.clone()))
    });
    if let Ok(Some((run, suite))) = ended {
        hub.announce_suite(place, &suite, "completed", &run.actor).await;
        hub.announce_run(place, &run, "completed").await;
    }
    hub.runs_finished.send_modify(|count| *count += 1);
}

impl Hub {
    fn check(&self, place: &Place, id: u64) -> Option<CheckRun> {
        self.with(place, |repository| repository.checks.iter().find(|check| check.id == id).cloned()).ok().flatten()
    }

    /// `concurrency` with `cancel-in-progress`: a newer run ends those of its group.
    fn cancel_group(&self, place: &Place, run: &Run, workflow: &Workflow) {
        let Some((group, true)) = &workflow.concurrency else { return };
        let reference = match run.pull {
            Some(number) => format!("refs/pull/{number}/merge"),
            None => format!("refs/heads/{}", run.head_branch),
        };
        let github = json!({
            "workflow": run.name, "ref": reference, "head_ref": run.pull.map(|_| &run.head_branch),
            "ref_name": run.head_branch, "run_id": run.id, "event_name": run.event, "sha": run.head_sha,
        });
        let scope =
            Scope { contexts: json!({"github": github, "vars": {}, "inputs": {}}), success: true, cancelled: false };
        let Ok(group) = scope.fill(group) else { return };
        let _ = self.with(place, |repository| {
            for other in repository.runs.iter_mut().filter(|other| other.status != "completed") {
                if other.id == run.id {
                    other.group = Some(group.clone());
                } else if other.group.as_ref() == Some(&group) {
                    other.stop.cancel();
                }
            }
        });
    }

    async fn begin_job(&self, place: &Place, run: &Run, id: u64) {
        let now = Utc::now();
        let first = self.with(place, |repository| {
            if let Some(job) = repository.jobs.iter_mut().find(|job| job.id == id) {
                (job.status, job.started) = ("in_progress", now);
            }
            if let Some(check) = repository.checks.iter_mut().find(|check| check.id == id) {
                (check.status, check.started) = ("in_progress", now);
            }
            if let Some(suite) = repository.suites.iter_mut().find(|suite| suite.id == run.suite) {
                (suite.status, suite.updated) = ("in_progress", now);
            }
            let run = repository.runs.iter_mut().find(|other| other.id == run.id && other.status == "queued")?;
            (run.status, run.updated) = ("in_progress", now);
            Some(run.clone())
        });
        if let Ok(Some(run)) = first {
            self.announce_run(place, &run, "in_progress").await;
        }
    }

    async fn end_job(&self, place: &Place, run: &Run, id: u64, end: &JobEnd) {
        let now = Utc::now();
        let check = self.with(place, |repository| {
            let job = repository.jobs.iter_mut().find(|job| job.id == id)?;
            (job.status, job.conclusion, job.completed) = ("completed", Some(end.conclusion.to_owned()), Some(now));
            job.outputs = end.outputs.clone();
            let name = job.name.clone();
            let check = repository.checks.iter_mut().find(|check| check.id == id)?;
            (check.status, check.conclusion, check.completed) =
                ("completed", Some(end.conclusion.to_owned()), Some(now));
            check.title = Some(format!("{name}: {}", end.conclusion));
            check.summary = Some(end.summary.clone());
            Some(check.clone())
        });
        if let Ok(Some(check)) = check {
            self.announce_check(place, &check, "completed", &run.actor);
        }
    }
}
