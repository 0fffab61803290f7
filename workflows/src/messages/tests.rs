//! Every template renders for a full and for an empty ticket, and the texts keep their shape.

use serde_json::json;

use super::*;
use crate::contract::plan::{PlannedTask, PlannedTest, RemovedTest, TestKind};
use crate::contract::status::ParkReason;
use crate::contract::workspace::{Evidence, GoneTests, ProvenTest, SuiteCount};

fn plan() -> Plan {
    Plan {
        title: "Clamp discounts at the line price".into(),
        summary: "Totals go negative when a discount exceeds the price. I clamp it per line.".into(),
        scope_in: vec!["pricing".into()],
        scope_out: vec!["coupons".into()],
        depends_on: vec![],
        architecture: "One function in `shop/pricing.py`.".into(),
        tests: vec![PlannedTest {
            description: "a larger discount | gives zero".into(),
            file: "tests/test_pricing.py".into(),
            assertions: vec!["total == 0".into()],
            kind: TestKind::EndToEnd,
        }],
        tasks: vec![PlannedTask {
            id: "t1".into(),
            title: "Clamp the discount".into(),
            repository: "acme/shop-api".parse().unwrap(),
            description: "Clamp it.".into(),
            files: vec!["shop/pricing.py".into()],
            depends_on: vec![],
            without_tests: String::new(),
            removed_tests: Vec::new(),
            tests: vec!["larger discount".into()],
            test_command: String::new(),
            hours: 1.5,
        }],
        cross_repository_steps: vec![],
        error_handling: String::new(),
        scalability: String::new(),
        security: String::new(),
        risk: "Invoices use it too.".into(),
        rollback: "Revert one commit.".into(),
    }
}

fn view() -> TicketView {
    let digest = crate::contract::ids::Digest::of("log");
    let sha: crate::contract::ids::CommitSha = "81c0d1e2".repeat(5).parse().unwrap();
    let proof = Proof {
        command: "python3 -m unittest".into(),
        base: sha.clone(),
        new_tests: vec![ProvenTest { id: "tests.test_pricing.Larger".into(), red: "AssertionError: -500 != 0".into() }],
        all_new: 1,
        marks: Vec::new(),
        suite: SuiteCount { passed: 43, failed: 0, skipped: 0 },
        evidence: Evidence::default(),
        without_tests: None,
        removed: Vec::new(),
        log: digest,
        kept: None,
    };
    TicketView {
        key: "SHOP-1".into(),
        url: "http://jira/browse/SHOP-1".into(),
        summary: "Cart total is <wrong>".into(),
        requested_by: "Bo".into(),
        stage: Stage::AwaitingApproval,
        doing: "waiting for you".into(),
        parked: Some(Parked { reason: ParkReason::PlanExpired, message: "Nobody answered.".into() }),
        plan: Some(plan()),
        plan_version: 1,
        plan_hash: "4f2a91c7".into(),
        hours: "1.5".into(),
        estimate: "$0.400".into(),
        approved_by: "Ana (Slack)".into(),
        tasks: vec![TaskView {
            id: "t1".into(),
            title: "Clamp the discount".into(),
            repository: "acme/shop-api".into(),
            done: true,
            proof: Some(proof),
            pushed: Some(Pushed { sha, files: 2, insertions: 14, deletions: 3 }),
            result: None,
        }],
        set_up: vec![SetUpView { repository: "shop-api".into(), notes: vec!["Set-up failed: npm ci <E404>".into()] }],
        pull_requests: vec![PullRequestView {
            repository: "acme/shop-api".into(),
            number: 1,
            url: "http://github/acme/shop-api/pull/1".into(),
            plan_url: "http://github/acme/shop-api/blob/x/PLAN.md".into(),
            base: "main".into(),
            ci: "CI green (lint, test)".into(),
        }],
        spent: "$0.118".into(),
        cap: "$12.00".into(),
        commands: vec!["temporal workflow signal -w ticket-SHOP-1 --name retry".into()],
        slack_channel: "#ai-agents".into(),
        ..TicketView::default()
    }
}

fn issue() -> Value {
    json!({
        "id": "4711", "short_id": "SHOP-API-4K", "title": "ZeroDivisionError: division by zero", "culprit": "shop.pricing in total",
        "level": "error", "unresolved": true, "project": "shop-api", "platform": "python", "events_24h": 12, "events": 40, "users": 3,
        "first_seen": 1_795_330_157, "last_seen": 1_795_330_157, "url": "http://sentry/4711", "fingerprint": "abc",
    })
}

fn event() -> Value {
    json!({
        "id": "e", "at": 0, "message": "division by zero", "environment": "production", "release": "1.2", "tags": [], "request": "",
        "frames": [{"path": "shop/pricing.py", "function": "total", "line": 7, "in_app": true, "text": "return a / b ```"}],
    })
}

fn analysis() -> Value {
    json!({
        "summary": "Empty carts divide by zero.", "root_cause": "total() divides by the number of lines.", "confidence": 0.9,
        "frames": ["shop/pricing.py:7 total"], "fixability": "likely", "proposed_test": "an empty cart", "repository": "acme/shop-api",
    })
}

fn extra() -> Value {
    json!({
        "tasks": view().tasks, "base": "main", "ci": "green", "ci_notes": ["ran ruff check --fix ."], "look_here": [], "not_done": [], "plan_text": "...",
        "repositories": ["shop-api"], "decision": "approved", "by": "Ana", "at": 0, "comment": "", "left_behind": "", "new_tests": 1,
        "suite": {"passed": 43, "skipped": 0}, "tests": [{"id": "tests.A", "red": "assert 1 == 2"}], "without_tests": ["It is a text."], "proofs": [], "title": "Clamp", "log": "== python3 -m unittest on base", "proof": view().tasks[0].proof, "issue": issue(), "event": event(), "analysis": analysis(), "ticket": "SHOP-9",
        "ticket_url": "http://jira/browse/SHOP-9", "why": "It is back.", "how": "It stayed gone.", "doing": "at work", "spent": "$0.10", "notes": ["approve without a name"],
        "extension": {"by": "Ana (Slack)", "usd": "$5.00", "at": 1_795_330_157},
        "over": "", "funded": "", "lacked": null,
    })
}

fn in_view(template: Template, view: &TicketView, extra: Value) -> Result<String, minijinja::Error> {
    try_render(template, minijinja::context! { t => view, ..minijinja::Value::from_serialize(extra) })
}

#[test]
fn every_template_renders() {
    for template in Template::ALL {
        let text = in_view(*template, &view(), extra()).unwrap_or_else(|error| panic!("{template:?}: {error:#}"));
        assert!(!text.is_empty(), "{template:?}");
        assert!(!text.contains("\n\n\n"), "{template:?} has a hole:\n{text}");
    }
}

#[test]
fn a_ticket_without_money_says_what_is_done_and_what_is_left() {
    let mut view = TicketView {
        parked: Some(Parked { reason: ParkReason::Budget, message: "$11.98 of $12.00 are spent.".into() }),
        rest: "$4.00".into(),
        ..view()
    };
    let open =
        |title: &str| TaskView { title: title.into(), done: false, proof: None, pushed: None, ..view.tasks[0].clone() };
    let left = [open("export <endpoint>"), open("docs")];
    view.tasks.extend(left);
    let text = in_view(Template::SlackParked, &view, extra()).unwrap();
    assert!(
        text.starts_with(
            "*SHOP-1 is parked: what is left of the budget does not cover the next call.* Done: 1 of 3 tasks. \
             Left: export &lt;endpoint&gt;, docs (est. $4.00). $11.98 of $12.00 are spent."
        ),
        "{text}"
    );
    let comment = in_view(Template::JiraParked, &view, extra()).unwrap();
    assert!(
        comment.starts_with("> [!warning] **Parked: what is left of the budget does not cover the next call**"),
        "{comment}"
    );
    view.tasks.clear();
    let early = in_view(Template::SlackParked, &view, extra()).unwrap();
    assert!(early.contains("the next call.* $11.98 of"), "{early}");
    let blocks = slack::out_of_money(&text, "SHOP-1", crate::contract::money::MicroUsd::dollars(12));
    let value = r#"{"cap_micro_usd":12000000,"ticket":"SHOP-1","usd":5}"#;
    assert_eq!(blocks[1]["elements"][0]["value"], value);
    assert_eq!(blocks[1]["elements"][1]["confirm"]["title"]["text"], "Cancel SHOP-1?");
    assert!(in_view(Template::SlackExtended, &view, extra()).unwrap().starts_with("▶ $5.00 more by Ana (Slack), "));
    assert!(
        in_view(Template::SlackExtended, &view, json!({"over": "", "extension": null}))
            .unwrap()
            .starts_with("▶ There is")
    );
    let over = in_view(Template::SlackExtended, &view, json!({"over": "cancelled"})).unwrap();
    assert_eq!(over.trim(), "■ SHOP-1 is over (cancelled); no money is needed any more");
}

#[test]
fn the_end_says_who_added_money_and_what_was_lacking() {
    let ends = |stage: Stage, lacked: Option<&str>| {
        let view = TicketView { stage, ..view() };
        let mut extra = extra();
        extra["funded"] = json!("$5.00 more by Ana (Slack)");
        extra["lacked"] = json!(lacked);
        [Template::SlackEnd, Template::JiraEnd].map(|template| in_view(template, &view, extra.clone()).unwrap())
    };
    for text in ends(Stage::Merged, None) {
        assert!(text.contains("$0.118 of $12.00 ($5.00 more by Ana (Slack))"), "{text}");
    }
    for text in ends(Stage::Abandoned, Some("$0.150")) {
        assert!(text.contains("added the $0.150 that"), "{text}");
        assert!(text.contains("It cost $0.118 of $12.00"), "{text}");
    }
    for text in ends(Stage::Abandoned, None) {
        assert!(text.contains("obody came back"), "{text}");
    }
}

#[test]
fn every_end_has_its_words() {
    for stage in [Stage::Merged, Stage::Closed, Stage::Rejected, Stage::Cancelled, Stage::Abandoned] {
        for template in [Template::JiraEnd, Template::SlackEnd] {
            let view = TicketView { stage, ..view() };
            assert!(!in_view(template, &view, extra()).unwrap().is_empty());
        }
    }
}

#[test]
fn details_render_before_anything_is_known() {
    let empty = TicketView { key: "SHOP-1".into(), ..TicketView::default() };
    assert!(in_view(Template::Details, &empty, json!({"notes": []})).unwrap().starts_with("**SHOP-1 · discovering**"));
}

#[test]
fn a_date_reads_without_slack_too() {
    assert!(slack::date(1_795_330_157).ends_with("|2026-11-22 06:49 UTC>"), "{}", slack::date(1_795_330_157));
    assert!(slack::date(951_782_400).ends_with("|2000-02-29 00:00 UTC>"));
}

#[test]
fn slack_texts_cannot_be_broken_by_a_ticket() {
    let text = in_view(Template::SlackApproval, &view(), extra()).unwrap();
    assert!(text.contains("Cart total is &lt;wrong&gt;"), "{text}");
}

#[test]
fn the_pull_request_names_each_proof() {
    let text = in_view(Template::PullRequest, &view(), extra()).unwrap();
    assert!(
        text.contains("- `tests.test_pricing.Larger`: red at `81c0d1e2` (`AssertionError: -500 != 0`), green here"),
        "{text}"
    );
    assert!(text.contains("- [x] Clamp the discount (81c0d1e2)"), "{text}");
}

#[test]
fn a_task_without_a_test_says_why_wherever_a_person_decides() {
    let mut view = view();
    let reason = "A text has no behaviour.";
    view.plan.as_mut().unwrap().tasks[0].without_tests = reason.into();
    view.plan.as_mut().unwrap().tasks[0].tests.clear();
    let proof = view.tasks[0].proof.as_mut().unwrap();
    proof.new_tests.clear();
    proof.without_tests = Some(reason.into());
    for template in [Template::Plan, Template::SlackApproval, Template::JiraPlan] {
        let text = in_view(template, &view, extra()).unwrap();
        assert!(text.contains("No test") && text.contains(reason), "{template:?}:\n{text}");
        assert!(!text.contains("\n\n\n"), "{template:?} has a hole:\n{text}");
    }
    let mut extra = extra();
    extra["tasks"] = json!(view.tasks);
    let text = in_view(Template::PullRequest, &view, extra).unwrap();
    assert!(text.contains("no test, because A text has no behaviour."), "{text}");
}

#[test]
fn a_set_up_that_fails_is_told_wherever_a_person_decides() {
    for template in [Template::SlackApproval, Template::JiraPlan, Template::Details] {
        let text = in_view(template, &view(), extra()).unwrap();
        assert!(text.contains("ests may not run") && text.contains("Set-up failed: npm ci"), "{template:?}:\n{text}");
        assert!(!text.contains("\n\n\n"), "{template:?} has a hole:\n{text}");
    }
    let slack = in_view(Template::SlackApproval, &view(), extra()).unwrap();
    assert!(slack.contains("• Set-up failed: npm ci &lt;E404&gt;\nRisk: "), "{slack}");
    let later = TicketView { stage: Stage::Executing, ..view() };
    assert!(!in_view(Template::Details, &later, extra()).unwrap().contains("Set-up failed"));
}

#[test]
fn a_person_sees_all_of_what_is_to_be_approved() {
    let lines: Vec<String> = (0..30).map(|n| format!("Deletes {n} {}", "x".repeat(850))).collect();
    let blocks = slack::approval(&lines.join("\n"), "foot", "SHOP-1", "hash");
    assert!(blocks.len() < 50, "Slack takes no more");
    let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"]["text"].as_str()).collect();
    assert!(texts.iter().all(|text| text.chars().count() <= 3000));
    assert_eq!(texts.concat(), lines.join("\n"));
}

#[test]
fn tests_that_go_stand_out_wherever_a_person_decides() {
    let mut view = view();
    let named = |file: &str, test: &str| RemovedTest {
        file: file.into(),
        test: test.into(),
        reason: "Coupons are no longer sold.".into(),
    };
    let removed = [named("tests/test_coupon.py", ""), named("tests/test_cart.py", "test_with_coupon")];
    view.plan.as_mut().unwrap().tasks[0].removed_tests = removed.to_vec();
    for template in [Template::Plan, Template::SlackApproval, Template::JiraPlan] {
        let text = in_view(template, &view, extra()).unwrap();
        let plain = text.replace('`', "");
        for part in
            ["Deletes all tests of tests/test_coupon.py*", "Deletes the test test_with_coupon of tests/test_cart.py*"]
        {
            assert!(plain.contains(part), "{template:?}: {part}\n{text}");
        }
        assert!(plain.contains("*: Coupons are no longer sold.") && !text.contains("\n\n\n"), "{template:?}:\n{text}");
    }
    let [file, test] = removed;
    let gone = [GoneTests { named: file, count: 3 }, GoneTests { named: test, count: 1 }];
    view.tasks[0].proof.as_mut().unwrap().removed = gone.to_vec();
    let mut extra = extra();
    extra["tasks"] = json!(view.tasks);
    extra["proof"] = json!(view.tasks[0].proof);
    extra["proofs"] = json!([view.tasks[0].proof]);
    for template in [Template::PullRequest, Template::Proof, Template::JiraReady] {
        let text = in_view(template, &view, extra.clone()).unwrap();
        for part in [
            "tests/test_coupon.py with 3 tests: Coupons are no longer sold.",
            "test_with_coupon of tests/test_cart.py (1 test): Coupons are no longer sold.",
        ] {
            assert!(text.replace('\\', "").contains(part), "{template:?}: {part}\n{text}");
        }
        assert!(!text.contains("\n\n\n"), "{template:?} has a hole:\n{text}");
    }
}

#[test]
fn a_pull_request_says_what_else_was_checked_and_what_to_look_at() {
    let mut view = view();
    view.tasks[0].proof.as_mut().unwrap().evidence = Evidence {
        canaries: true,
        flipped: 2,
        undone: 1,
        unnoticed: vec!["shop/`x`.py:7".into()],
        base_settings: true,
        look_at: vec!["tests/test_pricing.py reads a file, see @acme/all".into()],
    };
    let mut extra = extra();
    extra["tasks"] = json!(view.tasks);
    let text = in_view(Template::PullRequest, &view, extra).unwrap();
    for part in [
        "not by the model, and besides:\n- 2 literals in the assertions were changed, and the tests went red\n- 1 part",
        "- `shop/'x'.py:7`",
        "Look at these before you trust the tests:",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("@acme") && !text.contains("\n\n\n"), "{text}");
}
