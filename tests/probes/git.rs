//! The `.git` that commands see is for looking at.

use crate::probe::Probe;
use crate::weaken::Weakness::Git;

pub(crate) const PROBES: &[Probe] = &[
    Probe::new(
        "a hook",
        r#"must_fail sh -c 'mkdir -p .git/hooks && echo x > .git/hooks/pre-commit'; echo held"#,
        &[Git],
    ),
    Probe::new("a setting", r#"must_fail git config core.fsmonitor /tmp/x; echo held"#, &[Git]),
    Probe::new("a setting by hand", r#"must_fail sh -c 'echo "[alias] x = !x" >> .git/config'; echo held"#, &[Git]),
    Probe::new(
        "another repository's objects",
        r#"must_fail sh -c 'mkdir -p .git/objects/info && echo / > .git/objects/info/alternates'; echo held"#,
        &[Git],
    ),
    Probe::new("another head", r#"must_fail git symbolic-ref HEAD refs/heads/other; echo held"#, &[Git]),
    Probe::new(
        "a commit",
        r#"must_fail git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x; echo held"#,
        &[Git],
    ),
    Probe::new("a lock that stays", r#"must_fail sh -c ': > .git/index.lock'; echo held"#, &[Git]),
    Probe::new(
        "a work tree elsewhere",
        r#"must_fail git worktree add -q --orphan -b x ../../tmp/elsewhere; must_fail sh -c ': > .git/commondir'; echo held"#,
        &[Git],
    ),
    Probe::new("another .git in its place", r#"must_fail mv .git away; echo held"#, &[]),
    Probe::new("no .git at all", r#"rm -rf .git 2>/dev/null; [ -e .git/HEAD ] || leak "removed"; echo held"#, &[Git]),
];
