//! GitHub Actions: red and green runs of real commands.

use serde_json::{Value, json};

use super::{PATIENCE, Site};

impl Site {
    fn actions_on(&self) -> anyhow::Result<()> {
        self.github().set_actions_enabled("acme/shop-api", true)
    }

    async fn conclusions(&self, sha: &str) -> anyhow::Result<Vec<String>> {
        let checks = self.github().wait_for_checks("acme/shop-api", sha, PATIENCE).await?;
        let mut all: Vec<String> = checks
            .iter()
            .map(|check| format!("{} {} {}", check.event, check.name, check.conclusion.as_deref().unwrap_or("none")))
            .collect();
        all.sort();
        Ok(all)
    }

    async fn push(&self, path: &str, content: &str) -> anyhow::Result<String> {
        self.github().push_commit("acme/shop-api", "b1", path, content, "ana").await
    }
}

#[tokio::test]
async fn red_then_green_with_logs_and_webhooks() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.actions_on()?;
    let red = site.push("verdict.txt", "red\n").await?;
    assert_eq!(site.conclusions(&red).await?, ["push test failure"]);
    let done =
        site.webhook("run completed", |event, body| event == "workflow_run" && body["action"] == "completed").await?;
    assert_eq!(
        (&done["workflow_run"]["conclusion"], &done["workflow_run"]["head_branch"]),
        (&json!("failure"), &json!("b1"))
    );
    let order = [
        "create",
        "push",
        "workflow_run requested",
        "check_run created",
        "workflow_run in_progress",
        "check_run completed",
        "check_suite completed",
        "workflow_run completed",
    ];
    assert_eq!(site.events(), order);

    let checks = site.get(&format!("/repos/acme/shop-api/commits/{red}/check-runs")).await?;
    let check = &checks["check_runs"][0];
    assert_eq!((&check["app"]["slug"], &check["conclusion"]), (&json!("github-actions"), &json!("failure")));
    assert_eq!(check["output"]["summary"], "Step \"Unit tests\" failed: Process completed with exit code 1.");
    let runs = site.get(&format!("/repos/acme/shop-api/actions/runs?head_sha={red}")).await?;
    let run = runs["workflow_runs"][0]["id"].as_u64().unwrap_or_default();
    let jobs = site.get(&format!("/repos/acme/shop-api/actions/runs/{run}/jobs")).await?;
    let job = &jobs["jobs"][0];
    let step = job["steps"].as_array().into_iter().flatten().find(|step| step["conclusion"] == "failure");
    assert_eq!(step.map(|step| step["name"].clone()), Some(json!("Unit tests")));
    assert_eq!(job["id"], check["id"]);

    let no_redirects = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let logs = site.url(&format!("/api/v3/repos/acme/shop-api/actions/jobs/{}/logs", job["id"]));
    let token = &site.world.credentials.github_token;
    let redirect = no_redirects.get(logs).header("user-agent", "x").bearer_auth(token).send().await?;
    assert_eq!(redirect.status(), 302);
    let log = site.http.get(redirect.headers()["location"].to_str()?).send().await?.text().await?;
    for part in [
        &format!("Z testing {red}\n"),
        "##[group]Run actions/checkout@v4",
        "Z ##[error]Process completed with exit code 1.",
    ] {
        assert!(log.contains(part), "{part} is not in {log}");
    }

    let green = site.push("verdict.txt", "green\n").await?;
    assert_eq!(site.conclusions(&green).await?, ["push test success"]);
    Ok(())
}

#[tokio::test]
async fn a_draft_pull_request_runs_beside_its_push() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.actions_on()?;
    let pull = site.open_pull("b1", true).await?;
    let head = pull["head"]["sha"].as_str().unwrap_or_default();
    site.webhook("both runs", |event, body| {
        event == "workflow_run" && body["action"] == "requested" && body["workflow_run"]["event"] == "pull_request"
    })
    .await?;
    assert_eq!(site.conclusions(head).await?, ["pull_request test success", "push test success"]);
    let suite = site
        .webhook("suite of the pull request", |event, body| {
            let pulls = &body["check_suite"]["pull_requests"];
            event == "check_suite" && pulls[0]["number"] == 1
        })
        .await?;
    assert_eq!(
        (&suite["check_suite"]["conclusion"], &suite["check_suite"]["head_sha"]),
        (&json!("success"), &json!(head))
    );
    Ok(())
}

#[tokio::test]
async fn needs_matrix_environment_and_outputs_work() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.actions_on()?;
    let workflow = "on: push\nenv: {WHO: world}\njobs:\n  first:\n    runs-on: ubuntu-latest\n    outputs: {word: '${{ steps.say.outputs.word }}'}\n    strategy: {fail-fast: false, matrix: {n: [1, 2]}}\n    steps:\n      - id: say\n        run: |\n          echo \"word=hello $WHO ${{ matrix.n }}\" >> \"$GITHUB_OUTPUT\"\n          echo LATER=yes >> \"$GITHUB_ENV\"\n      - run: test \"$LATER\" = yes && test ${{ matrix.n }} -le 2\n  second:\n    needs: first\n    runs-on: ubuntu-latest\n    steps:\n      - run: test '${{ needs.first.outputs.word }}' = 'hello world 2'\n      - if: failure()\n        run: exit 3\n  never:\n    needs: broken\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n  broken:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: somebody/action@v1\n  alone:\n    if: github.ref == 'refs/heads/main'\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n  shut:\n    runs-on: ubuntu-latest\n    steps:\n      - run: '! touch /usr/x && ! bash -c \"echo > /dev/tcp/127.0.0.1/PORT\" && ! env | grep -q TOKEN'\n";
    let address = site.world.base_url.trim_start_matches("http://");
    assert!(tokio::net::TcpStream::connect(address).await.is_ok(), "from outside the sandbox the world is reachable");
    let workflow = workflow.replace("PORT", address.rsplit(':').next().unwrap_or_default());
    let head = site.push(".github/workflows/ci.yml", &workflow).await?;
    let expected = [
        "push alone skipped",
        "push broken failure",
        "push first (1) success",
        "push first (2) success",
        "push never skipped",
        "push second success",
        "push shut success",
    ];
    assert_eq!(site.conclusions(&head).await?, expected);
    let checks = site.github().checks("acme/shop-api", &head);
    let broken = checks.iter().find(|check| check.name == "broken").map(|check| check.log.clone()).unwrap_or_default();
    assert!(broken.contains("##[error]Unable to resolve action `somebody/action@v1`"), "{broken}");
    Ok(())
}

#[tokio::test]
async fn failed_jobs_are_run_again() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.actions_on()?;
    let workflow = "on: push\njobs:\n  good: {runs-on: x, steps: [{run: 'true'}]}\n  flaky: {runs-on: x, steps: [{run: 'test $GITHUB_RUN_ATTEMPT -gt 1'}]}\n";
    let head = site.push(".github/workflows/ci.yml", workflow).await?;
    assert_eq!(site.conclusions(&head).await?, ["push flaky failure", "push good success"]);
    let runs = site.get("/repos/acme/shop-api/actions/runs").await?;
    let id = runs["workflow_runs"][0]["id"].clone();
    let (status, _) =
        site.call("POST", &format!("/repos/acme/shop-api/actions/runs/{id}/rerun-failed-jobs"), Value::Null).await?;
    assert_eq!(status, 201);
    assert_eq!(site.conclusions(&head).await?, ["push flaky success", "push good success"]);
    let run = site.get(&format!("/repos/acme/shop-api/actions/runs/{id}")).await?;
    assert_eq!((&run["run_attempt"], &run["conclusion"]), (&json!(2), &json!("success")));
    let all = site.get(&format!("/repos/acme/shop-api/actions/runs/{id}/jobs?filter=all")).await?;
    assert_eq!(all["total_count"], 3);
    assert_eq!(site.world.effects.of("github", "run.rerun")[0].target, "acme/shop-api@b1");
    let (status, _) =
        site.call("POST", &format!("/repos/acme/shop-api/actions/runs/{id}/rerun-failed-jobs"), Value::Null).await?;
    assert_eq!(status, 403, "nothing failed");
    site.webhook("second attempt", |event, body| {
        event == "workflow_run" && body["action"] == "completed" && body["workflow_run"]["run_attempt"] == 2
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn one_job_is_run_again_with_those_that_need_it_and_old_logs_are_gone() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.actions_on()?;
    let workflow = "on: push\njobs:\n  bad: {runs-on: x, steps: [{run: 'false'}]}\n  flaky: {runs-on: x, steps: [{run: 'test $GITHUB_RUN_ATTEMPT -gt 1'}]}\n  after: {needs: flaky, runs-on: x, steps: [{run: 'true'}]}\n";
    let head = site.push(".github/workflows/ci.yml", workflow).await?;
    assert_eq!(site.conclusions(&head).await?, ["push after skipped", "push bad failure", "push flaky failure"]);
    let runs = site.get("/repos/acme/shop-api/actions/runs").await?;
    let jobs = site.get(&format!("/repos/acme/shop-api/actions/runs/{}/jobs", runs["workflow_runs"][0]["id"])).await?;
    let all = jobs["jobs"].as_array().cloned().unwrap_or_default();
    let id = |name: &str| all.iter().find(|job| job["name"] == name).map(|job| job["id"].clone()).unwrap_or_default();
    let (bad, flaky) = (id("bad"), id("flaky"));
    site.github().expire_logs("acme/shop-api")?;
    let logs = format!("/repos/acme/shop-api/actions/jobs/{bad}/logs");
    assert_eq!(site.call("GET", &logs, Value::Null).await?.0, 410);
    let again = format!("/repos/acme/shop-api/actions/jobs/{flaky}/rerun");
    assert_eq!(site.call("POST", &again, Value::Null).await?.0, 201);
    assert_eq!(site.conclusions(&head).await?, ["push after success", "push bad failure", "push flaky success"]);
    assert_eq!(site.world.effects.of("github", "job.rerun")[0].detail["job"], "flaky");
    let route = format!("/repos/acme/shop-api/actions/runs/{}/jobs?filter=all", runs["workflow_runs"][0]["id"]);
    let jobs = site.get(&route).await?;
    assert_eq!(jobs["total_count"], 5, "the bad job was not run again");
    Ok(())
}

#[tokio::test]
async fn a_second_attempt_knows_the_outputs_of_the_first() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.actions_on()?;
    let workflow = "on: push\njobs:\n  build:\n    runs-on: x\n    outputs: {word: '${{ steps.say.outputs.word }}'}\n    steps: [{id: say, run: 'echo word=kept >> $GITHUB_OUTPUT'}]\n  test:\n    needs: build\n    runs-on: x\n    steps: [{run: 'test $GITHUB_RUN_ATTEMPT -gt 1 && test \"${{ needs.build.outputs.word }}\" = kept'}]\n";
    let head = site.push(".github/workflows/ci.yml", workflow).await?;
    assert_eq!(site.conclusions(&head).await?, ["push build success", "push test failure"]);
    let runs = site.get("/repos/acme/shop-api/actions/runs").await?;
    let again = format!("/repos/acme/shop-api/actions/runs/{}/rerun-failed-jobs", runs["workflow_runs"][0]["id"]);
    assert_eq!(site.call("POST", &again, Value::Null).await?.0, 201);
    assert_eq!(site.conclusions(&head).await?, ["push build success", "push test success"]);
    Ok(())
}

#[tokio::test]
async fn a_workflow_that_cannot_begin_leaves_no_check_open() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.actions_on()?;
    let workflow = "on: push\njobs:\n  a: {needs: b, runs-on: x, steps: [{run: 'true'}]}\n  b: {needs: a, runs-on: x, steps: [{run: 'true'}]}\n";
    let head = site.push(".github/workflows/ci.yml", workflow).await?;
    let ended = site.webhook("run completed", |event, body| event == "workflow_run" && body["action"] == "completed");
    assert_eq!(ended.await?["workflow_run"]["conclusion"], "startup_failure");
    assert!(site.github().checks("acme/shop-api", &head).is_empty());
    Ok(())
}

#[tokio::test]
async fn the_first_push_of_a_branch_counts_its_own_files() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let workflow = |path: &str| {
        format!("on: {{push: {{paths: ['{path}']}}}}\njobs:\n  test: {{runs-on: x, steps: [{{run: 'true'}}]}}\n")
    };
    let github = site.github();
    github.push_commit("acme/shop-api", "main", ".github/workflows/ci.yml", &workflow("docs/**"), "ana").await?;
    github.push_commit("acme/shop-api", "main", ".github/workflows/two.yml", &workflow("src/**"), "ana").await?;
    site.actions_on()?;
    let head = site.push("src/new.py", "x = 1\n").await?;
    assert_eq!(site.conclusions(&head).await?, ["push test success"]);
    let runs = site.get("/repos/acme/shop-api/actions/runs").await?;
    assert_eq!(
        (&runs["total_count"], &runs["workflow_runs"][0]["path"]),
        (&json!(1), &json!(".github/workflows/two.yml"))
    );
    Ok(())
}

#[tokio::test]
async fn people_cancel_and_other_services_report() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.actions_on()?;
    let workflow = "on: push\njobs:\n  long: {runs-on: x, steps: [{run: 'echo begun; exec sleep 300'}]}\n";
    let head = site.push(".github/workflows/ci.yml", workflow).await?;
    site.webhook("begun", |event, body| event == "workflow_run" && body["action"] == "in_progress").await?;
    site.github().cancel_runs("acme/shop-api", &head)?;
    assert_eq!(site.conclusions(&head).await?, ["push long cancelled"]);
    site.github().report_check("acme/shop-api", &head, "other-ci", "security", "failure", "CVE-1").await?;
    assert_eq!(site.conclusions(&head).await?, ["other-ci security failure", "push long cancelled"]);
    let body = json!({"state": "pending", "context": "proof"});
    assert_eq!(site.call("POST", &format!("/repos/acme/shop-api/statuses/{head}"), body).await?.0, 201);
    let status = site.get(&format!("/repos/acme/shop-api/commits/{head}/status")).await?;
    assert_eq!((&status["state"], &status["total_count"]), (&json!("pending"), &json!(1)));
    Ok(())
}
