//! REST: files, refs, objects, search, access, planned trouble.

use serde_json::{Value, json};

use super::{CART, Site};

#[tokio::test]
async fn credentials_and_user_agent_are_required() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let user = site.request("GET", "/user").send().await?;
    assert_eq!(user.status(), 200);
    assert_eq!(user.headers()["x-ratelimit-limit"], "5000");
    assert_eq!(user.headers()["x-ratelimit-resource"], "core");
    assert_eq!(user.json::<Value>().await?["login"], "ticketwright");
    let wrong =
        site.http.get(site.url("/api/v3/user")).header("user-agent", "x").bearer_auth("ghp_wrong").send().await?;
    assert_eq!(wrong.status(), 401);
    assert_eq!(wrong.json::<Value>().await?["message"], "Bad credentials");
    let silent =
        site.http.get(site.url("/api/v3/user")).bearer_auth(&site.world.credentials.github_token).send().await?;
    assert_eq!(silent.status(), 403);
    Ok(())
}

#[tokio::test]
async fn unknown_routes_are_loud() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let (status, body) = site.call("POST", "/repos/acme/shop-api/forks", json!({"a": 1})).await?;
    assert_eq!(status, 501);
    assert_eq!(body["message"], "the stand-in of GitHub does not know POST /api/v3/repos/acme/shop-api/forks");
    assert_eq!(site.world.effects.unexpected()[0].target, "POST /api/v3/repos/acme/shop-api/forks");
    assert_eq!(site.call("GET", "/repos/acme/nothing", Value::Null).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn files_are_read_and_written_with_shas() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let url = "/repos/acme/shop-api/contents/src/cart.py";
    let file = site.get(url).await?;
    assert_eq!(
        (&file["type"], &file["encoding"], &file["path"]),
        (&json!("file"), &json!("base64"), &json!("src/cart.py"))
    );
    let raw = site.request("GET", url).header("accept", "application/vnd.github.raw+json").send().await?;
    assert_eq!(raw.text().await?, CART);
    let root = site.get("/repos/acme/shop-api/contents/").await?;
    let names: Vec<&str> = root.as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str()).collect();
    assert_eq!(names, [".github", "README.md", "src", "verdict.txt"]);
    assert_eq!(site.get("/repos/acme/shop-api/readme").await?["name"], "README.md");

    let body = |sha: Option<&str>| json!({"message": "Change", "content": "eA==", "sha": sha, "branch": "main"});
    assert_eq!(site.call("PUT", url, body(None)).await?.0, 422, "sha is missing");
    assert_eq!(site.call("PUT", url, body(Some("0123456789012345678901234567890123456789"))).await?.0, 409, "stale");
    let (status, changed) = site.call("PUT", url, body(file["sha"].as_str())).await?;
    assert_eq!(status, 200);
    assert_eq!(site.github().file("acme/shop-api", "main", "src/cart.py").await.as_deref(), Some("x"));
    let (status, new) = site.call("PUT", "/repos/acme/shop-api/contents/a%20dir/b%23c.txt", body(None)).await?;
    assert_eq!((status, &new["content"]["path"]), (201, &json!("a dir/b#c.txt")));
    assert_eq!(new["commit"]["parents"][0]["sha"], changed["commit"]["sha"]);
    let gone = json!({"message": "Remove", "sha": new["content"]["sha"], "branch": "main"});
    assert_eq!(site.call("DELETE", "/repos/acme/shop-api/contents/a%20dir/b%23c.txt", gone).await?.0, 200);
    assert_eq!(site.call("GET", "/repos/acme/shop-api/contents/a%20dir/b%23c.txt", Value::Null).await?.0, 404);

    let written = site.world.effects.of("github", "file.written");
    assert_eq!(written.len(), 3);
    assert_eq!((written[0].target.as_str(), &written[0].detail["content"]), ("acme/shop-api@main", &json!("x")));
    Ok(())
}

#[tokio::test]
async fn refs_follow_githubs_rules() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let main = site.main().await?;
    let refs = "/repos/acme/shop-api/git/refs";
    let branch = json!({"ref": "refs/heads/agent/SHOP-1/clamp-1", "sha": main});
    assert_eq!(site.call("POST", refs, branch.clone()).await?.0, 201);
    let (status, twice) = site.call("POST", refs, branch).await?;
    assert_eq!((status, &twice["message"]), (422, &json!("Reference already exists")));

    let put = site.put("agent/SHOP-1/clamp-1", "a.txt", "a").await?;
    let tip = put["commit"]["sha"].clone();
    let one = format!("{refs}/heads/agent/SHOP-1/clamp-1");
    let (status, refused) = site.call("PATCH", &one, json!({"sha": main})).await?;
    assert_eq!((status, &refused["message"]), (422, &json!("Update is not a fast forward")));
    assert_eq!(site.call("PATCH", &one, json!({"sha": main, "force": true})).await?.0, 200);
    assert_eq!(site.call("PATCH", &one, json!({"sha": tip})).await?.0, 200);
    assert_eq!(site.get("/repos/acme/shop-api/branches/agent/SHOP-1/clamp-1").await?["commit"]["sha"], tip);
    assert_eq!(site.get("/repos/acme/shop-api/commits/agent%2FSHOP-1%2Fclamp-1").await?["sha"], tip);

    assert_eq!(site.call("DELETE", &one, Value::Null).await?.0, 204);
    assert_eq!(site.call("DELETE", &one, Value::Null).await?.0, 422);
    let target = "acme/shop-api@agent/SHOP-1/clamp-1";
    let kinds = ["branch.created", "commit.pushed", "file.written", "commit.pushed", "commit.pushed", "branch.deleted"];
    assert_eq!(site.effects(), kinds.map(|kind| format!("{kind} {target}")));
    assert_eq!(site.world.effects.of("github", "commit.pushed")[1].detail["forced"], true);
    Ok(())
}

#[tokio::test]
async fn objects_make_a_commit() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let main = site.main().await?;
    let git = "/repos/acme/shop-api/git";
    let (_, blob) =
        site.call("POST", &format!("{git}/blobs"), json!({"content": "aGk=", "encoding": "base64"})).await?;
    let tree = json!({"base_tree": main, "tree": [
        {"path": "hi.txt", "mode": "100644", "type": "blob", "sha": blob["sha"]},
        {"path": "run.sh", "mode": "100755", "type": "blob", "content": "true\n"},
        {"path": "verdict.txt", "mode": "100644", "type": "blob", "sha": null},
    ]});
    let (status, tree) = site.call("POST", &format!("{git}/trees"), tree).await?;
    assert_eq!(status, 201, "{tree}");
    let author = json!({"name": "Bot", "email": "bot@acme.example", "date": "2026-01-02T03:04:05Z"});
    let body = json!({"message": "Add", "tree": tree["sha"], "parents": [main], "author": author});
    let (status, commit) = site.call("POST", &format!("{git}/commits"), body.clone()).await?;
    assert_eq!((status, &commit["author"]["date"]), (201, &json!("2026-01-02T03:04:05Z")));
    let (_, again) = site.call("POST", &format!("{git}/commits"), body).await?;
    assert_eq!(again["sha"], commit["sha"], "same content, same hash");
    let sha = commit["sha"].as_str().unwrap_or_default();
    let all = site.get(&format!("{git}/trees/{sha}?recursive=1")).await?;
    let paths: Vec<&str> =
        all["tree"].as_array().into_iter().flatten().filter_map(|entry| entry["path"].as_str()).collect();
    assert_eq!(
        paths,
        [
            ".github",
            ".github/workflows",
            ".github/workflows/ci.yml",
            "README.md",
            "hi.txt",
            "run.sh",
            "src",
            "src/cart.py"
        ]
    );
    let compared = site.get(&format!("/repos/acme/shop-api/compare/main...{sha}")).await?;
    assert_eq!((&compared["status"], &compared["ahead_by"]), (&json!("ahead"), &json!(1)));
    assert_eq!(compared["files"][2]["status"], "removed");
    Ok(())
}

#[tokio::test]
async fn search_finds_code_and_repositories() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let request = site.request("GET", "/search/code?q=discount+total+org:acme");
    let found: Value = request.header("accept", "application/vnd.github.text-match+json").send().await?.json().await?;
    assert_eq!((&found["total_count"], &found["items"][0]["path"]), (&json!(1), &json!("src/cart.py")));
    let piece = &found["items"][0]["text_matches"][0];
    assert_eq!(piece["fragment"], CART.trim_end());
    assert_eq!(piece["matches"][0], json!({"text": "discount", "indices": [17, 25]}));
    assert_eq!(site.get("/search/code?q=discount+language:rust").await?["total_count"], 0);
    assert_eq!(site.get("/search/code?q=filename:cart.py+repo:acme/shop-api").await?["total_count"], 1);
    assert_eq!(site.call("GET", "/search/code?q=x+repo:acme/none", Value::Null).await?.0, 422);
    let repositories = site.get("/search/repositories?q=shop+org:acme").await?;
    assert_eq!(repositories["items"][0]["full_name"], "acme/shop-api");
    assert_eq!(site.get("/orgs/acme/repos").await?.as_array().map(Vec::len), Some(1));
    assert_eq!(site.get("/repos/acme/shop-api/languages").await?, json!({"Python": CART.len()}));
    Ok(())
}

#[tokio::test]
async fn permissions_are_those_that_were_given() -> anyhow::Result<()> {
    let site = Site::start().await?;
    for (login, permission) in [("ana", "admin"), ("eve", "read"), ("ticketwright", "write")] {
        let url = format!("/repos/acme/shop-api/collaborators/{login}/permission");
        assert_eq!(site.get(&url).await?["permission"], permission, "{login}");
    }
    let url = "/repos/acme/shop-api/collaborators/nobody/permission";
    assert_eq!(site.call("GET", url, Value::Null).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn planned_trouble_comes_once() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.github().fail_next("GET /repos/acme/shop-api", 429, &[("retry-after", "7")]);
    let refused = site.request("GET", "/repos/acme/shop-api").send().await?;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"7".parse()?));
    assert_eq!(site.request("GET", "/repos/acme/shop-api").send().await?.status(), 200);

    let main = site.main().await?;
    site.github().drop_reply_after_effect("POST /repos/acme/shop-api/git/refs");
    let branch = json!({"ref": "refs/heads/x", "sha": main});
    let lost = site.call("POST", "/repos/acme/shop-api/git/refs", branch.clone()).await;
    assert!(lost.is_err(), "the reply is lost: {lost:?}");
    assert_eq!(site.github().branches("acme/shop-api").await, ["main", "x"], "but it was done");
    assert_eq!(site.call("POST", "/repos/acme/shop-api/git/refs", branch).await?.0, 422);
    Ok(())
}
