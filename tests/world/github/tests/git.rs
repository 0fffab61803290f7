//! A real git against the stand-in.

use std::path::Path;

use super::Site;
use crate::github::git::{finish, git_command};

async fn git(dir: &Path, args: &[&str]) -> anyhow::Result<String> {
    let mut command = git_command();
    command.current_dir(dir).args(["-c", "user.name=Bot", "-c", "user.email=bot@acme.example"]).args(args);
    Ok(String::from_utf8(finish(command, None).await?)?.trim().to_owned())
}

impl Site {
    fn remote(&self, token: &str) -> String {
        self.url("/acme/shop-api.git").replace("http://", &format!("http://x-access-token:{token}@"))
    }

    fn own_remote(&self) -> String {
        self.remote(&self.world.credentials.github_token)
    }
}

#[tokio::test]
async fn clone_and_push_with_a_token() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let home = tempfile::tempdir()?;
    let refused = git(home.path(), &["clone", "-q", &site.remote("wrong"), "no"]).await;
    assert!(refused.is_err(), "a wrong token clones nothing");
    git(home.path(), &["clone", "-q", &site.own_remote(), "shop"]).await?;
    let shop = home.path().join("shop");
    git(&shop, &["checkout", "-q", "-b", "agent/SHOP-2/x-1"]).await?;
    std::fs::write(shop.join("new.txt"), "new\n")?;
    git(&shop, &["add", "."]).await?;
    git(&shop, &["commit", "-q", "-m", "Add new.txt"]).await?;
    git(&shop, &["push", "-q", "origin", "HEAD"]).await?;
    let head = git(&shop, &["rev-parse", "HEAD"]).await?;

    // All that follows from a push is there when the push returns.
    let target = "acme/shop-api@agent/SHOP-2/x-1";
    assert_eq!(site.effects(), [format!("branch.created {target}"), format!("commit.pushed {target}")]);
    let detail = &site.world.effects.of("github", "commit.pushed")[0].detail;
    assert_eq!((&detail["after"], &detail["commits"][0]["message"]), (&head.clone().into(), &"Add new.txt".into()));
    assert_eq!(detail["files"][0]["path"], "new.txt");
    let push = site.webhook("push", |event, _| event == "push").await?;
    assert_eq!((&push["ref"], &push["after"]), (&"refs/heads/agent/SHOP-2/x-1".into(), &head.into()));
    assert_eq!(site.events()[..2], ["create", "push"]);
    Ok(())
}

#[tokio::test]
async fn a_push_moves_its_pull_request() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.open_pull("b1", true).await?;
    let home = tempfile::tempdir()?;
    git(home.path(), &["clone", "-q", "-b", "b1", "--depth=1", &site.own_remote(), "shop"]).await?;
    let shop = home.path().join("shop");
    // More than git sends in one piece without chunks.
    let big: String = (0..400_000_u32).map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761))).collect();
    std::fs::write(shop.join("big.txt"), big)?;
    git(&shop, &["add", "."]).await?;
    git(&shop, &["commit", "-q", "-m", "Add big.txt"]).await?;
    git(&shop, &["push", "-q", "origin", "b1"]).await?;
    let head = git(&shop, &["rev-parse", "HEAD"]).await?;
    assert_eq!(site.github().pull_requests("acme/shop-api")[0].head_sha, head);
    let moved = site.webhook("synchronize", |_, body| body["action"] == "synchronize").await?;
    assert_eq!((&moved["after"], &moved["pull_request"]["head"]["sha"]), (&head.clone().into(), &head.into()));
    Ok(())
}

#[tokio::test]
async fn a_lost_reply_leaves_the_push_done() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let home = tempfile::tempdir()?;
    git(home.path(), &["clone", "-q", &site.own_remote(), "shop"]).await?;
    let shop = home.path().join("shop");
    git(&shop, &["checkout", "-q", "-b", "b1"]).await?;
    site.github().drop_reply_after_effect("POST /acme/shop-api.git/git-receive-pack");
    assert!(git(&shop, &["push", "-q", "origin", "b1"]).await.is_err(), "git learns nothing");
    assert_eq!(site.github().branches("acme/shop-api").await, ["b1", "main"]);
    git(&shop, &["push", "-q", "origin", "b1"]).await?;
    assert_eq!(site.effects(), ["branch.created acme/shop-api@b1"], "the second push changes nothing");
    Ok(())
}

#[tokio::test]
async fn a_person_pushes_and_a_repository_is_imported() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let sha = site.github().push_commit("acme/shop-api", "b1", "src/cart.py", "x = 1\n", "ana").await?;
    assert_eq!(site.get("/repos/acme/shop-api/commits/b1").await?["author"]["login"], "ana");
    assert!(site.effects().is_empty(), "a person's push is not an effect");
    let home = tempfile::tempdir()?;
    git(home.path(), &["clone", "-q", &site.own_remote(), "copy"]).await?;
    git(&home.path().join("copy"), &["checkout", "-q", "b1"]).await?;
    site.github().add_repository("acme", "copy", "", &home.path().join("copy")).await?;
    assert_eq!(site.get("/repos/acme/copy").await?["default_branch"], "b1");
    assert_eq!(site.get("/repos/acme/copy/git/ref/heads/b1").await?["object"]["sha"], sha);
    Ok(())
}
