//! Doing a task: what the agent is told of the repository, its review of its own change, and the commit that comes of it.

use std::path::Path;

use serde_json::{Value, json};
use workflows::contract::status::{ParkReason, Stage};
use world::bedrock::{Call, Script, Turn};
use world::samples;

use crate::scene::{KEY, REPOSITORY, STAGE, Scene, play};

/// Number of the first execution agent's conversation in the sample script.
const FIRST_TASK: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_the_conventions_and_mends_what_it_sees_in_its_own_change() {
    let scene = Scene::start("[policy.conventions]\ncommit = \"[{task}] {title} ({key})\"\n").await.unwrap();
    play(&scene, review(&scene).await).await;
}

async fn review(scene: &Scene) -> anyhow::Result<()> {
    scene.stack.world.bedrock.set_script(reviewed()?);
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "approve").await?;
    scene.ready().await?;

    let requests = scene.stack.world.bedrock.requests();
    let briefs = requests.iter().filter(|request| request.metadata["agent"] == "execution");
    let briefs: Vec<String> = briefs.map(|request| request.body["messages"][0].to_string()).collect();
    let told = |text: &str| briefs.iter().all(|brief| brief.contains(text));
    assert!(!briefs.is_empty() && told("Money is integer cents"), "AGENTS.md did not reach the agent");
    assert!(told("tests: python3 -m unittest"), "the test command did not reach the agent");

    let pr = &scene.stack.world.github.pull_requests(REPOSITORY)[0];
    let discounts = scene.stack.world.github.file(REPOSITORY, &pr.head_branch, "shop/discounts.py").await;
    let discounts = discounts.unwrap_or_default();
    assert!(discounts.contains("at most the price of its line"), "what the review mended was not pushed:\n{discounts}");
    let commits = scene.stack.world.github.commit_messages(REPOSITORY, &pr.head_branch).await;
    let subjects: Vec<&str> = commits.iter().filter_map(|message| message.lines().next()).collect();
    assert!(subjects.contains(&"[t1] Clamp a fixed discount at the line price (SHOP-1)"), "{subjects:?}");
    assert!(commits.iter().any(|message| message.ends_with("Ticket: SHOP-1\nTask: t2")), "{commits:?}");
    let output = tokio::task::block_in_place(|| scene.stack.ticketwright(&["proof", KEY]))?;
    let proofs = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(proofs.contains("# Clamp a fixed discount at the line price (acme/shop-api)"), "{proofs}");
    assert!(proofs.contains("test_fixed_discount_stops_at_the_price_of_the_line"), "{proofs}");
    scene.assert_once();
    Ok(())
}

/// The sample script; the first agent finds something to mend in its own change.
fn reviewed() -> anyhow::Result<Script> {
    let mut script = samples::script(KEY)?;
    let turns = &mut script.conversations[FIRST_TASK].turns;
    let answer = turns.last().map(|turn| turn.calls.clone()).unwrap_or_default();
    let edit =
        json!({"path": "shop/discounts.py", "old": "at most the price.", "new": "at most the price of its line."});
    turns.push(Turn {
        say: Some("The docstring does not say whose price.".into()),
        // The whole change, tests included, and what to do with it.
        expect: Some(serde_json::from_value(json!(
            r"return min\(self.cents, price\).*test_fixed_discount_stops.*review your change once"
        ))?),
        calls: vec![Call { tool: "edit_file".into(), input: edit, ..Call::default() }],
        ..Turn::default()
    });
    turns.push(Turn { calls: answer, ..Turn::default() });
    Ok(script)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_task_stops_what_depends_on_it_and_nothing_is_lost() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, exhausted(&scene).await).await;
}

async fn exhausted(scene: &Scene) -> anyhow::Result<()> {
    let world = &scene.stack.world;
    world.bedrock.set_script(Script::parse(&three_repositories().to_string(), Path::new("."))?);
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    scene.said("*No test* for Tell people where the warehouse is: A text has no").await?;
    scene.click("ana", "approve").await?;

    // Three attempts, each told what was wrong with the last one, and then a person. The task behind it was not begun, the
    // one beside it is done.
    let parked = scene.observer.wait_for_stage(KEY, Stage::Parked, STAGE).await?;
    let why = parked.parked.unwrap();
    assert_eq!(why.reason, ParkReason::TaskFailed);
    assert!(why.message.contains("\"Refuse three decimals\", was not proven in 3 attempts"), "{}", why.message);
    assert_eq!((parked.tasks_done, parked.tasks), (1, 3));
    let runs = scene.observer.runs("WorkflowType = 'agent'").await?;
    let of = |repository: &str| runs.iter().filter(|run| run.id.contains(&format!("/execution/{repository}/"))).count();
    assert_eq!((of("acme.shop-api"), of("acme.shop-web"), of("acme.warehouse")), (3, 0, 1), "{runs:?}");

    // The work of the last attempt is where the next one begins.
    scene.signal_by_cli("retry", Some(r#"{"by":"you"}"#)).await?;
    let ready = scene.ready().await?;
    assert_eq!((ready.tasks_done, ready.tasks), (3, 3));
    let pull_request = |repository: &str| world.github.pull_requests(repository).pop().unwrap();
    let docs = pull_request("acme/warehouse");
    assert!(docs.body.contains("Tell people where the warehouse is: no test, because A text has no"), "{}", docs.body);
    let code = pull_request(REPOSITORY);
    assert!(code.body.contains("test_three_decimals"), "{}", code.body);
    let web = pull_request("acme/shop-web");
    assert!(web.body.contains("a hundredth of a cent") && web.body.contains("red at `"), "{}", web.body);
    assert!(world.bedrock.unused_turns().is_empty(), "{:?}", world.bedrock.unused_turns());
    assert!(world.effects.unexpected().is_empty(), "{:?}", world.effects.unexpected());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_no_agent_can_mend_ends_the_attempts() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, unmendable(&scene).await).await;
}

/// The suite that people have approved cannot be read, and no change of an agent's alters that.
async fn unmendable(scene: &Scene) -> anyhow::Result<()> {
    let world = &scene.stack.world;
    world.github.push_commit(REPOSITORY, "main", "ticketwright.toml", "test = \"make check\"\n", "bo").await?;
    let ranked = [json!({"repository": REPOSITORY, "score": 0.9, "reason": "The ticket names it."})];
    let plan = json!({
        "title": "Money says what it refuses", "summary": "s", "scope_in": ["money"], "architecture": "a", "risk": "r", "rollback": "revert",
        "tests": [{"description": "d", "file": "tests/test_money.py", "kind": "unit"}],
        "tasks": [{"id": "t1", "title": "Refuse three decimals", "repository": REPOSITORY, "description": "d",
                   "files": ["shop/money.py"], "tests": ["three decimals"], "hours": 1}],
    });
    let call = |tool: &str, input: Value| json!({"tool": tool, "input": input});
    let execution = json!({"agent": "execution", "turns": [
        {"calls": [call("write_file", json!({"path": "tests/test_decimals.py", "content": "import unittest\n"}))]},
        {"calls": [call("submit_answer", json!({"summary": "Tried."}))]},
    ]});
    let script = json!({"conversations": [
        {"agent": "discovery", "turns": [{"calls": [call("submit_answer", json!({"repositories": ranked, "complexity": "low", "approach": "a"}))]}]},
        {"agent": "planning", "turns": [{"calls": [call("submit_answer", plan)]}]},
        execution,
    ]});
    world.bedrock.set_script(Script::parse(&script.to_string(), Path::new("."))?);
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "approve").await?;

    let parked = scene.observer.wait_for_stage(KEY, Stage::Parked, STAGE).await?;
    let why = parked.parked.unwrap();
    assert_eq!(why.reason, ParkReason::TaskFailed);
    let said = "\"Refuse three decimals\", cannot be proven, whatever the agent changes. This ticket keeps the rules and limits \
                it began with: once what follows is mended, cancel it and label it again. `make check` does not tell me";
    assert!(why.message.contains(said), "{}", why.message);
    let runs = scene.observer.runs("WorkflowType = 'agent'").await?;
    assert_eq!(runs.iter().filter(|run| run.id.contains("/execution/")).count(), 1, "{runs:?}");
    assert!(world.bedrock.unused_turns().is_empty(), "{:?}", world.bedrock.unused_turns());
    Ok(())
}

/// A change in three repositories: one whose first three attempts are refused, one behind it, and a text beside them.
fn three_repositories() -> Value {
    let repositories = [REPOSITORY, "acme/shop-web", "acme/warehouse"];
    let ranked = repositories.map(|name| json!({"repository": name, "score": 0.9, "reason": "The ticket names it."}));
    let task = |id: &str, title: &str, repository: &str, files: Value, more: Value| {
        let mut task = json!({"id": id, "title": title, "repository": repository, "description": title, "files": files,
                              "tests": [], "hours": 1});
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        task
    };
    let tasks = [
        task("t1", "Refuse three decimals", REPOSITORY, json!(["shop/money.py"]), json!({"tests": ["three decimals"]})),
        task(
            "t2",
            "Show hundredths",
            "acme/shop-web",
            json!(["src/format.js"]),
            json!({"tests": ["hundredths"], "depends_on": ["t1"]}),
        ),
        task(
            "t3",
            "Tell people where the warehouse is",
            "acme/warehouse",
            json!(["README.md"]),
            json!({"without_tests": "A text has no behaviour."}),
        ),
    ];
    let plan = json!({
        "title": "Money says what it refuses", "summary": "s", "scope_in": ["money"], "architecture": "a", "risk": "r", "rollback": "revert",
        "tests": [{"description": "d", "file": "tests/test_money.py", "kind": "unit"}], "tasks": tasks,
    });
    let call = |tool: &str, input: Value| json!({"tool": tool, "input": input});
    let answer = |summary: &str| json!({"calls": [call("submit_answer", json!({"summary": summary}))]});
    let write = |path: &str, content: &str| call("write_file", json!({"path": path, "content": content}));
    let edit = |path: &str, old: &str, new: &str| call("edit_file", json!({"path": path, "old": old, "new": new}));
    let execution = |words: &str, turns: Value| json!({"agent": "execution", "match": words, "turns": turns});
    // Green without any change: no proof, three times.
    let test = |body: &str| {
        format!(
            "import unittest\n\nfrom shop.money import cents\n\n\nclass Decimals(unittest.TestCase):\n    \
             def test_three_decimals(self):\n        {body}\n"
        )
    };
    let idle = test("self.assertEqual(cents(\"1.00\"), 100)");
    let red = test("with self.assertRaisesRegex(ValueError, \"at most two\"):\n            cents(\"1.001\")");
    let path = "tests/test_decimals.py";
    let wrong = |attempt: u32| {
        let words = if attempt == 1 {
            "t1: Refuse".to_owned()
        } else {
            format!("t1: Refuse.*attempt {attempt}.*passes on the base")
        };
        execution(&words, json!([{"calls": [write(path, &format!("{idle}# {attempt}\n"))]}, answer("Tried.")]))
    };
    json!({"conversations": [
        {"agent": "discovery", "turns": [{"calls": [call("submit_answer", json!({"repositories": ranked, "complexity": "low", "approach": "a"}))]}]},
        {"agent": "planning", "turns": [{"calls": [call("submit_answer", plan)]}]},
        wrong(2), wrong(3),
        // After the retry its first attempt is told why the last one failed, and finds that one's files.
        execution("t1: Refuse.*attempt 1.*passes on the base", json!([
            {"calls": [call("read_file", json!({"path": path}))]},
            {"expect": "# 3", "calls": [
                write(path, &red),
                edit("shop/money.py", "has more than two decimals", "has more decimals than at most two"),
            ]},
            answer("The message says how many decimals there may be."),
        ])),
        wrong(1),
        execution("t2: Show hundredths", json!([
            {"calls": [
                edit("src/format.js", "export function money(cents) {\n", "export function money(cents) {\n  if (!Number.isInteger(cents)) throw new RangeError(`${cents} is not whole`);\n"),
                edit("tests/format.test.js", "test(\"a discount has", "test(\"a hundredth of a cent is refused\", () => {\n  assert.throws(() => money(1.01), /1.01 is not whole/);\n});\n\ntest(\"a discount has"),
            ]},
            answer("Parts of cents are refused."),
        ])),
        execution("t3: Tell people", json!([
            {"calls": [edit("README.md", "Counts stock", "It is in Hall 3. Counts stock")]},
            answer("The README says where it is."),
        ])),
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_that_fails_is_in_the_plan_that_a_person_approves() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, failing_set_up(&scene).await).await;
}

async fn failing_set_up(scene: &Scene) -> anyhow::Result<()> {
    let settings = "setup = \"echo the mirror is gone; exit 7\"\n";
    scene.stack.world.github.push_commit(REPOSITORY, "main", "ticketwright.toml", settings, "bo").await?;
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    scene.said("*Tests may not run* in shop-api until this is mended").await?;
    scene.said("the mirror is gone").await?;
    // Jira is told after Slack.
    let told = async || {
        let issue = scene.stack.world.jira.issue(KEY).map(|issue| format!("{issue:?}"));
        Ok(issue.is_some_and(|issue| issue.contains("Tests may not run in shop-api")))
    };
    scene.eventually("Jira has the plan with what failed", told).await
}
