//! Checks of Actions jobs, their logs behind a redirect, running them again, and the files of a pull request.

use serde_json::json;
use workflows::contract::failure::FailureKind;
use workflows::contract::github::{JobLog, JobRef, PullRequestRef, ReadChecks};

use super::{HEAD, github};
use crate::capture::Reply;

fn job() -> JobRef {
    JobRef { repository: "acme/shop".parse().unwrap(), job: 7 }
}

#[tokio::test]
async fn an_actions_check_knows_its_job_and_what_was_said() {
    let (_, client) = github(|line, call| match line.split('?').next().unwrap_or_default() {
        line if line.ends_with("/check-runs") => Reply::ok(json!({"check_runs": [
            {"id": 7, "name": "test", "status": "completed", "conclusion": "failure", "html_url": "https://x/7",
             "app": {"slug": "github-actions"}, "output": {"title": "test: failure", "summary": "Step\n\"Run x\" failed"}},
            {"id": 8, "name": "scan", "status": "completed", "conclusion": "failure", "app": {"slug": "scanner"}},
        ]})),
        line if line.ends_with("/status") => {
            Reply::ok(json!({"statuses": [{"context": "old", "state": "failure", "description": "2 tests fail"}]}))
        }
        line if line.ends_with("/check-suites") => Reply::ok(json!({"check_suites": []})),
        _ => Reply::unplanned(call),
    })
    .await;
    let commit = ReadChecks { repository: "acme/shop".parse().unwrap(), sha: HEAD.parse().unwrap(), head_of: None };
    let checks = client.checks(&commit).await.unwrap().checks;
    let seen: Vec<_> = checks.iter().map(|c| (c.name.as_str(), c.job, c.summary.as_str())).collect();
    assert_eq!(
        seen,
        [("old", None, "2 tests fail"), ("scan", None, ""), ("test", Some(7), "test: failure: Step \"Run x\" failed")]
    );
}

#[tokio::test]
async fn a_log_comes_by_a_link_and_is_read_in_parts() {
    let (server, client) = github(|line, call| match line {
        "GET /repos/acme/shop/actions/jobs/7" => Reply::ok(json!({"steps": [
            {"name": "Set up job", "conclusion": "success"},
            {"name": "Run pytest", "conclusion": "failure", "started_at": "2026-11-21T12:00:02Z", "completed_at": "2026-11-21T12:00:03Z"},
        ]})),
        "GET /repos/acme/shop/actions/jobs/7/logs" => Reply::empty(302).header("location", "/api/v3/link"),
        "GET /link" => {
            let line = |n: usize| format!("2026-11-21T12:00:02.0000000Z line {n}\r\n");
            Reply::text((1..=20_000).map(line).collect::<String>())
        }
        _ => Reply::unplanned(call),
    })
    .await;
    let log = client.job_log(&job()).await.unwrap();
    let JobLog::Step { step, tail } = log else { panic!("{log:?}") };
    assert_eq!(step, "Run pytest");
    assert!(tail.len() <= 16 * 1024 && tail.ends_with("line 19999\nline 20000"), "{tail}");
    let end = client.log_part(&job(), None).await.unwrap().unwrap();
    assert!(end.starts_with("[lines 19701 to 20000 of 20000]\n 19701  line 19701\n"), "{end}");
    let middle = client.log_part(&job(), Some(5)).await.unwrap().unwrap();
    assert!(middle.starts_with("[lines 5 to 304 of 20000]\n     5  line 5\n"), "{middle}");
    let behind = client.log_part(&job(), Some(20_001)).await.unwrap().unwrap();
    assert!(behind.contains("has 20000 lines"), "{behind}");
    assert!(server.lines().iter().all(|line| line.starts_with("GET ")));
}

/// A log as a storage may have it: 50 MB long, or packed.
async fn of_log(body: Vec<u8>) -> Result<JobLog, crate::failure::ServiceError> {
    let mut body = Some(body);
    let (_, client) = github(move |line, call| match line {
        "GET /repos/acme/shop/actions/jobs/7" => Reply::ok(json!({"steps": [
            {"name": "Run pytest", "conclusion": "failure", "started_at": null, "completed_at": null},
        ]})),
        "GET /repos/acme/shop/actions/jobs/7/logs" => Reply::empty(302).header("location", "/api/v3/link"),
        "GET /link" => Reply::text(body.take().unwrap_or_default()),
        _ => Reply::unplanned(call),
    })
    .await;
    client.job_log(&job()).await
}

#[tokio::test]
async fn a_huge_or_packed_log_is_read_by_its_end() {
    let line = format!("2026-11-21T12:00:02.0000000Z {}\n", "downloading ".repeat(40));
    let end = "2026-11-21T12:00:03.0000000Z FAILED tests/test_a.py::test_b\n";
    let huge = line.repeat(50 * 1024 * 1024 / line.len() + 1) + end;
    assert!(huge.len() > 50 * 1024 * 1024);
    let JobLog::Step { tail, .. } = of_log(huge.into_bytes()).await.unwrap() else { panic!("it is there") };
    assert!(tail.len() <= 16 * 1024 && tail.ends_with("FAILED tests/test_a.py::test_b"));

    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, format!("{}{end}", line.repeat(9)).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let JobLog::Step { tail, .. } = of_log(packed.clone()).await.unwrap() else { panic!("it is there") };
    assert!(tail.ends_with("FAILED tests/test_a.py::test_b"), "{tail}");
    let cut = of_log(packed[..packed.len() / 2].to_vec()).await.unwrap_err();
    assert_eq!(cut.kind, FailureKind::Unavailable);
}

#[tokio::test]
async fn an_archive_is_no_log() {
    let mut archive = b"PK\x03\x04".to_vec();
    archive.extend_from_slice(&[0x14, 0, 8, 0, b'\n', 0xff, b'\n', 0x99]);
    assert_eq!(of_log(archive).await.unwrap(), JobLog::Expired);
    // A text may begin with the same letters.
    let JobLog::Step { tail, .. } = of_log(b"PKG built".to_vec()).await.unwrap() else { panic!("it is there") };
    assert_eq!(tail, "PKG built");
    let JobLog::Step { tail, .. } = of_log(b"PK".to_vec()).await.unwrap() else { panic!("it is there") };
    assert_eq!(tail, "PK");
}

#[tokio::test]
async fn a_deleted_log_is_said_to_be() {
    for status in [404, 410] {
        let (_, client) = github(move |line, call| match line {
            "GET /repos/acme/shop/actions/jobs/7" => Reply::ok(json!({"steps": []})),
            "GET /repos/acme/shop/actions/jobs/7/logs" => Reply::status(status, json!({"message": "Gone"})),
            _ => Reply::unplanned(call),
        })
        .await;
        assert_eq!(client.job_log(&job()).await.unwrap(), JobLog::Expired);
        assert_eq!(client.log_part(&job(), None).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_job_that_runs_already_is_left_alone() {
    for (reply, good) in [
        (Reply::status(201, json!({})), true),
        (Reply::status(403, json!({"message": "The workflow run containing this job is already running"})), true),
        (Reply::status(403, json!({"message": "Resource not accessible by integration"})), false),
    ] {
        let mut reply = Some(reply);
        let (server, client) = github(move |_, call| reply.take().unwrap_or_else(|| Reply::unplanned(call))).await;
        let done = client.rerun_job(&job()).await;
        assert_eq!(done.as_ref().map_err(|error| error.kind).err(), (!good).then_some(FailureKind::Unauthorized));
        assert_eq!(server.lines(), ["POST /api/v3/repos/acme/shop/actions/jobs/7/rerun"]);
    }
    let (server, client) = github(|_, call| Reply::unplanned(call)).await;
    let foreign = JobRef { repository: "evil/shop".parse().unwrap(), job: 7 };
    assert!(client.rerun_job(&foreign).await.is_err() && client.job_log(&foreign).await.is_err());
    assert!(server.lines().is_empty(), "other organisations are never asked");
}

#[tokio::test]
async fn the_files_of_a_pull_request_are_listed() {
    let (_, client) = github(|line, call| match line {
        "GET /repos/acme/shop/pulls/3/files?per_page=100&page=1" => {
            Reply::ok(json!([{"filename": "shop/a.py", "status": "modified"}, {"filename": "b c.py"}]))
        }
        _ => Reply::unplanned(call),
    })
    .await;
    let address = PullRequestRef { repository: "acme/shop".parse().unwrap(), number: 3 };
    assert_eq!(client.changed_files(&address).await.unwrap(), ["shop/a.py", "b c.py"]);
}
