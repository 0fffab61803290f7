//! Red CI becomes green where it may, and is a person's where it may not. Every scenario changes what the sample repository's CI
//! asks for, and lets the sample ticket run into it.

mod trouble;

use workflows::contract::status::{ParkReason, Stage, TicketStatus};
use world::bedrock::Script;
use world::effects::Effect;

use crate::scene::{KEY, REPOSITORY, STAGE, Scene, play};

/// Swaps the arguments of `min`; with `--check` it only says what it would do, as black does.
pub(crate) const TIDY: &str = "import pathlib, sys
red = 0
for path in sorted(pathlib.Path('shop').glob('*.py')):
    text = path.read_text()
    tidy = text.replace('min(self.cents, price)', 'min(price, self.cents)')
    if tidy != text:
        red += 1
        print(f'would reformat {path}')
        if '--check' not in sys.argv:
            path.write_text(tidy)
if '--check' in sys.argv and red:
    print(f'{red} file would be reformatted.')
    sys.exit(1)
";

/// A promise that only CI checks: what refuses an amount also says so in its description.
const CONTRACT: &str = "import unittest

from shop.discounts import Fixed


class Documented(unittest.TestCase):
    def test_refusals_are_documented(self):
        try:
            Fixed(-1)
        except ValueError:
            self.assertIn('never negative', Fixed.__doc__, 'see shop/discounts.py')
";

impl Scene {
    /// Bo changes a file of the default branch before anything begins.
    pub(crate) async fn prepared(&self, path: &str, content: &str) -> anyhow::Result<()> {
        self.stack.world.github.push_commit(REPOSITORY, "main", path, content, "bo").await.map(|_| ())
    }

    /// CI with one more job, made of these steps. It runs once per push.
    pub(crate) async fn with_job(&self, name: &str, script: &str) -> anyhow::Result<()> {
        let script = script.replace('\n', "\n          ");
        let ci = format!(
            "name: ci\non: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: python3 -m unittest discover -s tests -t . -v\n  {name}:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: |\n          {script}\n"
        );
        self.prepared(".github/workflows/ci.yml", &ci).await
    }

    /// What the model says, with these conversations after the usual ones.
    pub(crate) fn also_says(&self, more: &str) -> anyhow::Result<()> {
        let directory = world::samples::directory().join("scripts");
        let usual = std::fs::read_to_string(directory.join("SHOP-1.yaml"))?;
        self.stack.world.bedrock.set_script(Script::parse(&format!("{usual}\n{more}"), &directory)?);
        Ok(())
    }

    pub(crate) async fn approved(&self) -> anyhow::Result<()> {
        self.label();
        self.stage(Stage::AwaitingApproval).await?;
        self.click("ana", "approve").await
    }

    /// Commits that were put on our branch to make CI green.
    pub(crate) fn fixes(&self) -> usize {
        let pushed = self.effects("github", "commit.pushed");
        pushed.iter().filter(|effect| effect.detail.to_string().contains("Make CI green")).count()
    }

    pub(crate) fn reruns(&self) -> usize {
        self.effects("github", "job.rerun").len()
    }

    pub(crate) async fn red(&self) -> anyhow::Result<TicketStatus> {
        let parked = self.stage(Stage::Parked).await?;
        assert_eq!(parked.parked.as_ref().map(|parked| parked.reason), Some(ParkReason::CiFailed), "{parked:?}");
        self.said("is parked: ci failed").await?;
        Ok(parked)
    }

    /// Exactly one message calls a person, and it has the buttons.
    pub(crate) fn assert_called_once(&self) {
        let messages = self.stack.world.slack.messages("#ai-agents");
        let calls: Vec<_> = messages.iter().filter(|message| message.text.contains("is parked")).collect();
        assert_eq!(calls.len(), 1, "{calls:?}");
        let buttons: Vec<String> = calls[0].buttons().iter().map(|button| button.action_id.clone()).collect();
        assert_eq!(buttons, ["view_pr", "view_logs", "retry"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn red_formatting_is_mended_by_the_repositorys_own_formatter() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, formatting(&scene).await).await;
}

async fn untidy(scene: &Scene, format: &str) -> anyhow::Result<()> {
    scene.prepared("tidy.py", TIDY).await?;
    let settings = format!("test = \"python3 -m unittest discover -s tests -t . -v\"\nformat = \"{format}\"\n");
    scene.prepared("ticketwright.toml", &settings).await?;
    scene.with_job("style", "python3 tidy.py --check").await
}

async fn formatting(scene: &Scene) -> anyhow::Result<()> {
    untidy(scene, "python3 tidy.py").await?;
    scene.approved().await?;
    scene.ready().await?;
    assert_eq!((scene.fixes(), scene.reruns()), (1, 0));
    let pr = &scene.stack.world.github.pull_requests(REPOSITORY)[0];
    assert!(pr.body.contains("ran python3 tidy.py"), "the fix is not said in:\n{}", pr.body);
    let mended = scene.stack.world.github.file(REPOSITORY, &pr.head_branch, "shop/discounts.py").await;
    assert!(mended.is_some_and(|text| text.contains("min(price, self.cents)")));
    assert!(scene.effects("bedrock", "turn.answered").iter().all(|turn| turn.target != "ci"), "no model was needed");
    assert!(scene.stack.world.bedrock.unused_turns().is_empty());
    scene.assert_once();
    // Nothing of the ticket's reads remarks any more.
    scene.signal_by_cli("steer", Some(r#"{"by":"you","text":"mind the docs"}"#)).await?;
    scene.said("is ready for review, comment @agent").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_while_it_makes_ci_green_pushes_once() {
    let mut scene = Scene::start("").await.unwrap();
    let done = killed_while_fixing(&mut scene).await;
    play(&scene, done).await;
}

async fn killed_while_fixing(scene: &mut Scene) -> anyhow::Result<()> {
    // Long enough to be killed in.
    untidy(scene, "sleep 3; python3 tidy.py").await?;
    scene.approved().await?;
    scene.stage(Stage::FixingCi).await?;
    restart(scene)?;
    // Pushed, and not recorded yet.
    killed_after_fix(scene).await?;
    scene.ready().await?;
    assert_eq!(scene.fixes(), 1);
    scene.assert_once();
    Ok(())
}

fn restart(scene: &mut Scene) -> anyhow::Result<()> {
    scene.stack.kill_worker();
    scene.stack.start_worker()
}

/// The worker dies as soon as GitHub has the commit that makes CI green.
async fn killed_after_fix(scene: &mut Scene) -> anyhow::Result<()> {
    let fix = |e: &Effect| e.kind == "commit.pushed" && e.detail.to_string().contains("Make CI green");
    let effects = scene.stack.world.effects.clone();
    effects.wait_for("a fix", STAGE, fix).await?;
    restart(scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_our_own_change_broke_is_done_again_under_its_tests() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, done_again(&scene).await).await;
}

async fn done_again(scene: &Scene) -> anyhow::Result<()> {
    scene.prepared("contract/__init__.py", "").await?;
    scene.prepared("contract/test_documented.py", CONTRACT).await?;
    scene.with_job("contract", "python3 -m unittest discover -s contract -t . -v").await?;
    scene.also_says(
        r#"
  - agent: execution
    match: "never negative"
    turns:
      - say: CI wants the refusal described where it is made.
        calls:
          - tool: edit_file
            input:
              path: shop/discounts.py
              old: "at most the price."
              new: "at most the price, never negative."
          - {tool: run_tests, input: {}}
      - expect: OK
        calls:
          - {tool: submit_answer, input_file: SHOP-1/task-2.yaml}
"#,
    )?;
    scene.approved().await?;
    scene.ready().await?;
    assert_eq!((scene.fixes(), scene.reruns()), (0, 1), "chance is ruled out once, and nothing is patched");
    let log = scene.observer.log(KEY).await?;
    assert!(log.iter().any(|entry| entry.text.contains("is done again under its tests")), "{log:#?}");
    let pr = &scene.stack.world.github.pull_requests(REPOSITORY)[0];
    assert!(pr.body.contains("test_refuses_less_than_nothing"), "the first proof's tests are kept:\n{}", pr.body);
    assert!(scene.stack.world.bedrock.unused_turns().is_empty(), "{:?}", scene.stack.world.bedrock.unused_turns());
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logic_failure_that_is_not_ours_is_a_persons() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, not_ours(&scene).await).await;
}

/// Red as soon as our change is there, and in code that it does not touch. By content and not by branch: a branch begins on the
/// default branch's commit, and what its CI says there counts for that commit.
const CLOCK: &str = "grep -rq 'min(self' shop || exit 0
echo 'File \"vendor/clock.py\", line 3, in today'
echo 'AssertionError: 2026 != 2025'
exit 1";

async fn not_ours(scene: &Scene) -> anyhow::Result<()> {
    scene.with_job("clock", CLOCK).await?;
    scene.also_says(
        r#"
  - agent: ci
    match: "vendor/clock"
    turns:
      - calls:
          - {tool: list_files, input: {}}
      - expect: shop/discounts
        calls:
          - tool: submit_answer
            input:
              kind: logic
              root_cause: vendor/clock.py compares with a year that has passed.
              caused_by_this_branch: false
              fixed: false
"#,
    )?;
    scene.approved().await?;
    let parked = scene.red().await?;
    let why = parked.parked.map(|parked| parked.message).unwrap_or_default();
    assert!(why.contains("clock") && why.contains("a year that has passed"), "{why}");
    assert!(why.contains("not from this change"), "{why}");
    assert_eq!((scene.fixes(), scene.reruns()), (0, 1));
    scene.assert_called_once();
    assert!(scene.stack.world.bedrock.unused_turns().is_empty());
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flaky_job_is_run_again_and_costs_nothing() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, flaky(&scene).await).await;
}

async fn flaky(scene: &Scene) -> anyhow::Result<()> {
    let script = "grep -rq 'min(self' shop || exit 0
test \"$GITHUB_RUN_ATTEMPT\" -gt 1 && exit 0
echo 'FAILED tests/test_clock.py::test_fast - AssertionError: took 2 s'
exit 1";
    scene.with_job("clock", script).await?;
    scene.approved().await?;
    scene.ready().await?;
    assert_eq!((scene.fixes(), scene.reruns()), (0, 1));
    let pr = &scene.stack.world.github.pull_requests(REPOSITORY)[0];
    assert!(pr.body.contains("clock was red, and green when run again"), "{}", pr.body);
    assert!(scene.effects("bedrock", "turn.answered").iter().all(|turn| turn.target != "ci"));
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn red_after_three_attempts_calls_a_person_once_and_a_retry_begins_anew() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, never_green(&scene).await).await;
}

async fn never_green(scene: &Scene) -> anyhow::Result<()> {
    let settings = "test = \"python3 -m unittest discover -s tests -t . -v\"\nformat = \"echo again >> tidied.txt\"\n";
    scene.prepared("ticketwright.toml", settings).await?;
    let script = "grep -rq 'min(self' shop || exit 0
test -e good.txt && exit 0
echo 'would reformat shop/cart.py'
exit 1";
    scene.with_job("style", script).await?;
    scene.approved().await?;
    let parked = scene.red().await?;
    let why = parked.parked.map(|parked| parked.message).unwrap_or_default();
    assert!(why.contains("after 3 attempts"), "{why}");
    assert_eq!(scene.fixes(), 3, "three attempts, the fourth red calls a person");
    scene.assert_called_once();
    let github = &scene.stack.world.github;
    let branch = github.pull_requests(REPOSITORY)[0].head_branch.clone();
    github.push_commit(REPOSITORY, &branch, "good.txt", "", "bo").await?;
    scene.signal_by_cli("retry", Some(r#"{"by":"you"}"#)).await?;
    scene.ready().await?;
    assert_eq!(scene.fixes(), 3);
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_webhooks_the_poll_finds_the_red_check() {
    let mut scene = Scene::start("").await.unwrap();
    let done = deaf(&mut scene).await;
    play(&scene, done).await;
}

async fn deaf(scene: &mut Scene) -> anyhow::Result<()> {
    untidy(scene, "python3 tidy.py").await?;
    scene.approved().await?;
    scene.observer.wait_for_stage(KEY, Stage::Executing, STAGE).await?;
    scene.stack.kill_ingress();
    scene.ready().await?;
    assert_eq!(scene.fixes(), 1);
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_red_on_the_base_too_costs_no_attempt() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, red_base(&scene).await).await;
}

async fn red_base(scene: &Scene) -> anyhow::Result<()> {
    scene.with_job("style", "echo 'would reformat shop/cart.py'; exit 1").await?;
    scene.approved().await?;
    let parked = scene.red().await?;
    let why = parked.parked.map(|parked| parked.message).unwrap_or_default();
    assert!(why.contains("is red on main too") && !why.contains("attempt"), "{why}");
    assert_eq!((scene.fixes(), scene.reruns()), (0, 0));
    scene.assert_called_once();
    scene.assert_once();
    Ok(())
}
