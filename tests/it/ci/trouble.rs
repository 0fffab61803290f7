//! What CI is besides green and red: logs that are gone, runners that fail, scanners, people who cancel or push, and a model whose
//! fix asks for less.

use std::time::Duration;

use workflows::contract::status::{ParkReason, Stage};

use super::{killed_after_fix, restart};
use crate::scene::{KEY, REPOSITORY, STAGE, Scene, play};

impl Scene {
    /// Why a person was called.
    async fn called_for(&self) -> anyhow::Result<String> {
        let parked = self.red().await?.parked.unwrap_or_else(|| panic!("{KEY} is not parked"));
        assert_eq!(parked.reason, ParkReason::CiFailed);
        self.assert_called_once();
        Ok(parked.message)
    }

    /// Ana clicks View logs under the red message, and reads this.
    async fn logs_show(&self, text: &str) -> anyhow::Result<()> {
        let clicked = self.click_newest("ana", "view_logs", &[]).await?;
        anyhow::ensure!(clicked.status == 200, "{} {}", clicked.status, clicked.answer);
        self.whispered("U0ANA", text).await
    }

    fn assert_no_model(&self) {
        assert!(self.effects("bedrock", "turn.answered").iter().all(|turn| turn.target != "ci"), "no model was needed");
    }

    fn our_branch(&self) -> String {
        self.stack.world.github.pull_requests(REPOSITORY)[0].head_branch.clone()
    }

    fn our_head(&self) -> String {
        self.stack.world.github.pull_requests(REPOSITORY)[0].head_sha.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_gone_is_made_once_more_and_then_a_person_is_called() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, without_log(&scene).await).await;
}

async fn without_log(scene: &Scene) -> anyhow::Result<()> {
    scene.with_job("clock", "grep -rq 'min(self' shop || exit 0; exit 1").await?;
    scene.stack.world.github.forget_logs(REPOSITORY)?;
    scene.approved().await?;
    let why = scene.called_for().await?;
    assert!(why.contains("GitHub has deleted the log of clock"), "{why}");
    assert_eq!((scene.fixes(), scene.reruns()), (0, 1));
    scene.assert_no_model();
    // No log of the check: the run's own is shown.
    scene.logs_show("log entries").await?;
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_the_runner_is_waited_out_and_then_told() {
    let scene = Scene::start("[policy.ci]\npoll_seconds = 1\nnone_after_seconds = 30\n").await.unwrap();
    play(&scene, runner(&scene).await).await;
}

async fn runner(scene: &Scene) -> anyhow::Result<()> {
    let script = "grep -rq 'min(self' shop || exit 0
echo 'curl: (6) Could not resolve host: registry.example'
exit 6";
    scene.with_job("clock", script).await?;
    scene.approved().await?;
    let why = scene.called_for().await?;
    assert!(why.contains("(infrastructure)") && why.contains("Could not resolve host"), "{why}");
    assert_eq!((scene.fixes(), scene.reruns()), (0, 3), "a longer pause each time");
    scene.assert_no_model();
    scene.logs_show("curl: (6) Could not resolve host: registry.example").await?;
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_of_a_scanner_is_a_persons_at_once() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, scanned(&scene).await).await;
}

async fn scanned(scene: &Scene) -> anyhow::Result<()> {
    let script = "grep -rq 'min(self' shop || exit 0
echo 'shop/discounts.py:41 hard-coded password'
exit 1";
    scene.with_job("security-scan", script).await?;
    scene.approved().await?;
    let why = scene.called_for().await?;
    assert!(why.contains("(security)") && why.contains("reports a finding"), "{why}");
    assert_eq!((scene.fixes(), scene.reruns()), (0, 0));
    scene.assert_no_model();
    scene.logs_show("shop/discounts.py:41 hard-coded password").await?;
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_cancels_runs_once_more() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, cancelled(&scene).await).await;
}

async fn cancelled(scene: &Scene) -> anyhow::Result<()> {
    let script = "grep -rq 'min(self' shop || exit 0
test \"$GITHUB_RUN_ATTEMPT\" -gt 1 || sleep 60";
    scene.with_job("slow", script).await?;
    scene.approved().await?;
    scene.stage(Stage::WatchingCi).await?;
    let github = &scene.stack.world.github;
    let head = scene.our_head();
    let begun = |name: &str, status: &str| {
        let all = github.checks(REPOSITORY, &head);
        all.iter().any(|check| check.name == name && check.status == status)
    };
    let began = std::time::Instant::now();
    while !(begun("test", "completed") && begun("slow", "in_progress")) {
        anyhow::ensure!(began.elapsed() < STAGE, "{:?}", github.checks(REPOSITORY, &head));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    github.cancel_runs(REPOSITORY, &head)?;
    scene.ready().await?;
    assert_eq!((scene.fixes(), scene.reruns()), (0, 1));
    scene.assert_no_model();
    scene.assert_once();
    Ok(())
}

/// Waits for ever on our change, and is quick once a person has added to it.
const WAITS: &str = "grep -rq 'min(self' shop || exit 0
test -e good.txt && exit 0
sleep 100";

/// Bo pushes to our branch while its checks run: the checks of Bo's commit count.
async fn pushed_into(scene: &mut Scene, heard: bool) -> anyhow::Result<()> {
    scene.with_job("slow", WAITS).await?;
    scene.approved().await?;
    scene.stage(Stage::WatchingCi).await?;
    if !heard {
        scene.stack.kill_ingress();
    }
    let github = &scene.stack.world.github;
    let sha = github.push_commit(REPOSITORY, &scene.our_branch(), "good.txt", "", "bo").await?;
    let ready = scene.ready().await?;
    assert!(ready.stage == Stage::ReadyForReview && scene.our_head() == sha);
    let log = scene.observer.log(KEY).await?;
    assert!(log.iter().any(|entry| entry.text.contains(&format!("a person pushed {}", &sha[..8]))), "{log:#?}");
    assert_eq!((scene.fixes(), scene.reruns()), (0, 0));
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_push_counts_as_soon_as_github_tells() {
    // No poll would find it in time.
    let mut scene = Scene::start("[policy.ci]\npoll_seconds = 3600\nnone_after_seconds = 3600\n").await.unwrap();
    let done = pushed_into(&mut scene, true).await;
    play(&scene, done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_push_that_nobody_tells_of_is_found_by_the_poll() {
    let mut scene = Scene::start("").await.unwrap();
    let done = pushed_into(&mut scene, false).await;
    play(&scene, done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_that_is_closed_meanwhile_ends_its_ticket() {
    let scene = Scene::start("[policy.ci]\npoll_seconds = 3600\nnone_after_seconds = 3600\n").await.unwrap();
    play(&scene, closed_meanwhile(&scene).await).await;
}

async fn closed_meanwhile(scene: &Scene) -> anyhow::Result<()> {
    scene.with_job("slow", WAITS).await?;
    scene.approved().await?;
    scene.stage(Stage::WatchingCi).await?;
    let github = &scene.stack.world.github;
    let number = github.pull_requests(REPOSITORY)[0].number;
    github.close_pull_request(REPOSITORY, number, "bo").await?;
    scene.closed("Completed").await?;
    assert!(scene.jira_status() != "In Review", "what is closed is not presented");
    scene.assert_once();
    Ok(())
}

/// A type that is not imported: nothing that the tests see.
const TYPES: &str = "grep -rq 'min(self' shop || exit 0
grep -q 'import annotations' shop/discounts.py && exit 0
echo 'shop/discounts.py:41: error: Name \"Cents\" is not defined  [name-defined]'
exit 1";

#[tokio::test(flavor = "multi_thread")]
async fn the_ci_agents_fix_is_pushed_once_and_may_not_ask_less_of_the_tests() {
    let mut scene = Scene::start("").await.unwrap();
    let done = agent_fix(&mut scene).await;
    play(&scene, done).await;
}

async fn agent_fix(scene: &mut Scene) -> anyhow::Result<()> {
    scene.with_job("types", TYPES).await?;
    scene.also_says(
        r#"
  - agent: ci
    match: "attempt 1"
    turns:
      - say: Without that test nobody needs the name.
        calls:
          - tool: edit_file
            input:
              path: tests/test_discounts.py
              old: |2
                    def test_refuses_less_than_nothing(self):
              new: |2
                    @unittest.skip("types")
                    def test_refuses_less_than_nothing(self):
      - calls:
          - tool: submit_answer
            input:
              kind: type
              root_cause: Cents is not defined in shop/discounts.py.
              caused_by_this_branch: true
              fixed: true
              change: Skips the test.
  - agent: ci
    match: "Your last change was refused.*switches a test off"
    turns:
      - calls:
          - tool: edit_file
            input:
              path: shop/discounts.py
              old: "from dataclasses import dataclass"
              new: |-
                from __future__ import annotations

                from dataclasses import dataclass
        delay_ms: 1500
      - delay_ms: 1500
        calls:
          - tool: submit_answer
            input:
              kind: type
              root_cause: Cents is not defined in shop/discounts.py.
              caused_by_this_branch: true
              fixed: true
              change: Annotations of shop/discounts.py are evaluated late.
"#,
    )?;
    scene.approved().await?;
    let effects = scene.stack.world.effects.clone();
    effects.wait_for("the ci agent", STAGE, |e| e.kind == "turn.answered" && e.target == "ci").await?;
    restart(scene)?;
    killed_after_fix(scene).await?;
    scene.ready().await?;
    assert_eq!((scene.fixes(), scene.reruns()), (1, 0));
    let github = &scene.stack.world.github;
    let tests = github.file(REPOSITORY, &scene.our_branch(), "tests/test_discounts.py").await.unwrap_or_default();
    assert!(tests.contains("test_refuses_less_than_nothing") && !tests.contains("skip"), "{tests}");
    let body = &github.pull_requests(REPOSITORY)[0].body;
    assert!(body.contains("Annotations of shop/discounts.py are evaluated late"), "{body}");
    assert!(scene.stack.world.bedrock.unused_turns().is_empty(), "{:?}", scene.stack.world.bedrock.unused_turns());
    scene.assert_once();
    Ok(())
}
