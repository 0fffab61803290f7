//! Files that a change without a test may touch: documents and settings, never code and never what decides about tests.

use super::repository::{self, is_test};
use super::setup::plan;
use super::support;

/// How the names of documents and settings end.
const ENDINGS: [&str; 33] = [
    "md",
    "mdx",
    "rst",
    "adoc",
    "asciidoc",
    "txt",
    "toml",
    "yaml",
    "yml",
    "json",
    "jsonc",
    "json5",
    "ini",
    "cfg",
    "conf",
    "properties",
    "env",
    "example",
    "sample",
    "lock",
    "sum",
    "mod",
    "csv",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "webp",
    "ico",
    "pdf",
    "po",
    "pot",
];

/// Names without an ending, or with one that says nothing.
const NAMES: [&str; 21] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "NOTICE",
    "README",
    "CHANGELOG",
    "CHANGES",
    "HISTORY",
    "AUTHORS",
    "CONTRIBUTORS",
    "CODEOWNERS",
    "VERSION",
    ".gitignore",
    ".gitattributes",
    ".dockerignore",
    ".editorconfig",
    ".mailmap",
    ".nvmrc",
    ".python-version",
    ".tool-versions",
    ".prettierignore",
];

/// Names of what is code although its ending is that of a document or setting.
const CODE: [&str; 3] = ["CMakeLists.txt", "meson_options.txt", "noxfile.py"];

/// Files that say what is installed, built or started.
const INSTALLED: [&str; 12] = [
    "package.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "Cargo.toml",
    "Cargo.lock",
    "go.mod",
    "go.sum",
    "pyproject.toml",
    "poetry.lock",
    "uv.lock",
    "docker-compose.yml",
    "compose.yaml",
];

/// Folders of what CI runs.
const CI_FOLDERS: [&str; 11] = [
    ".github/workflows/",
    ".github/actions/",
    ".gitea/workflows/",
    ".forgejo/workflows/",
    ".gitlab/",
    ".circleci/",
    ".buildkite/",
    ".woodpecker/",
    ".teamcity/",
    ".azure-pipelines/",
    ".semaphore/",
];

/// Files of what CI runs.
const CI_FILES: [&str; 15] = [
    ".gitlab-ci.yml",
    "bitbucket-pipelines.yml",
    "Jenkinsfile",
    ".travis.yml",
    ".drone.yml",
    ".drone.star",
    ".woodpecker.yml",
    "appveyor.yml",
    ".appveyor.yml",
    "buildspec.yml",
    "cloudbuild.yaml",
    "cloudbuild.yml",
    "codefresh.yml",
    ".cirrus.yml",
    ".pre-commit-config.yaml",
];

/// Documents and settings. Their effect on a program is seen by running it, if at all.
pub(super) fn is_plain(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    !CODE.contains(&name)
        && (NAMES.contains(&name)
            || name.starts_with(".env")
            || ENDINGS.contains(&ending.as_str())
            || in_documents(path, &ending))
}

/// Documents, which no program reads.
pub(super) fn is_text(path: &str) -> bool {
    [".md", ".mdx", ".rst", ".adoc"].iter().any(|ending| path.ends_with(ending))
}

/// Below a folder of documents, but for programs there.
fn in_documents(path: &str, ending: &str) -> bool {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    let documents = folders.split('/').any(|folder| matches!(folder, "docs" | "doc" | "documentation" | "man"));
    documents && matches!(ending, "" | "html" | "css" | "tex" | "drawio" | "mmd" | "puml" | "dot")
}

/// What this change may not touch without a test, as a clause; `None`: it may.
pub(super) fn forbidden(path: &str) -> Option<&'static str> {
    if path == repository::FILE {
        Some("decides how changes are tested")
    } else if support::is_support(path) {
        Some("is a setting of the tests")
    } else if is_test(path) {
        Some("belongs to the tests")
    } else if plan::is_program(path) && !path.ends_with(".versions.toml") {
        Some("may start programs")
    } else if !is_plain(path) {
        Some("is code")
    } else {
        None
    }
}

/// Names of settings that say which programs a tool, an editor or a git hook starts.
const STARTING: [&str; 20] = [
    "gradle-wrapper.properties",
    "maven-wrapper.properties",
    "gradle.properties",
    ".yarnrc.yml",
    ".yarnrc",
    ".npmrc",
    ".pnpmfile.cjs",
    "pip.conf",
    "uv.toml",
    "lefthook.yml",
    "lefthook.yaml",
    ".lefthook.yml",
    "devcontainer.json",
    ".devcontainer.json",
    "nx.json",
    "turbo.json",
    "renovate.json",
    "package.json5",
    "pom.xml",
    "mise.toml",
];

/// Whether a setting says which programs are started.
fn starts_programs(path: &str, name: &str) -> bool {
    let folder = path.rsplit('/').nth(1).unwrap_or_default();
    let composed = ["compose", "docker-compose"]
        .iter()
        .any(|start| name.strip_prefix(start).is_some_and(|rest| rest.starts_with('.')))
        && [".yml", ".yaml"].iter().any(|end| name.ends_with(end));
    STARTING.contains(&name)
        || name.starts_with(".lintstagedrc")
        || name.starts_with(".huskyrc")
        || matches!(folder, ".vscode" | ".husky" | ".idea" | ".mvn" | ".devcontainer")
        || composed
}

/// What a person should know about a document or setting that changed.
pub(super) fn to_look_at(path: &str) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let checks = CI_FOLDERS.iter().any(|folder| path.starts_with(folder) || path.contains(&format!("/{folder}")))
        || CI_FILES
            .iter()
            .any(|file| name == *file || name.strip_prefix(file).is_some_and(|rest| rest.starts_with('.')))
        || name.starts_with("azure-pipelines")
        || name.ends_with(".gitlab-ci.yml");
    let installed = INSTALLED.contains(&name)
        || name.starts_with("requirements") && name.ends_with(".txt")
        || name.ends_with(".versions.toml");
    if checks {
        Some(format!("{path} changes what CI runs"))
    } else if support::shapes_tests(path) {
        Some(format!("{path} may change how tests are built and run"))
    } else if starts_programs(path, name) {
        Some(format!("{path} may start programs"))
    } else if installed {
        Some(format!("{path} may change what is installed, built or started"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_settings_need_no_test() {
        for path in [
            "README.md",
            "docs/how/to.rst",
            "docs/style.css",
            "config/app.yaml",
            "package.json",
            ".env.example",
            "LICENSE",
            "assets/logo.png",
            ".github/workflows/ci.yml",
        ] {
            assert_eq!(forbidden(path), None, "{path}");
        }
        for (path, why) in [
            ("shop/pricing.py", "is code"),
            ("docs/conf.py", "is code"),
            ("docs/site.js", "is code"),
            ("Makefile", "is code"),
            ("Dockerfile", "is code"),
            ("src/index.html", "is code"),
            ("tests/data.json", "belongs to the tests"),
            ("pytest.ini", "is a setting of the tests"),
            ("jest.config.json", "is a setting of the tests"),
            ("ticketwright.toml", "decides how changes are tested"),
        ] {
            assert_eq!(forbidden(path), Some(why), "{path}");
        }
        assert_eq!(forbidden("CMakeLists.txt"), Some("is code"));
        for path in ["gradle.properties", "a/.yarnrc.yml", "uv.toml"] {
            assert_eq!(forbidden(path), Some("may start programs"), "{path}");
        }
        for path in [
            "gradle/wrapper/gradle-wrapper.properties",
            "lefthook.yml",
            ".lintstagedrc.json",
            ".devcontainer/devcontainer.json",
            ".vscode/tasks.json",
            "nx.json",
            "renovate.json",
            "compose.yml",
            "docker-compose.dev.yml",
        ] {
            assert!(to_look_at(path).is_some_and(|it| it.ends_with("may start programs")), "{path}");
            assert_eq!(forbidden(path), None, "{path}");
        }
        assert!(forbidden("gradle/libs.versions.toml").is_none() && to_look_at("gradle/libs.versions.toml").is_some());
        assert!(to_look_at("config/compose.txt").is_none());
        assert_eq!(forbidden(".cargo/config.toml"), Some("is a setting of the tests"));
        assert!(to_look_at("requirements-dev.txt").is_some() && to_look_at("a/Jenkinsfile").is_some());
        for path in [
            ".github/workflows/ci.yml",
            "a/.github/actions/x/action.yml",
            "ci/Jenkinsfile.release",
            "azure-pipelines-nightly.yml",
            ".gitlab/deploy.yml",
            "ci/deploy.gitlab-ci.yml",
            ".drone.yml",
            ".pre-commit-config.yaml",
        ] {
            assert!(to_look_at(path).is_some_and(|it| it.ends_with("changes what CI runs")), "{path}");
        }
        assert!(to_look_at("README.md").is_none() && to_look_at("docs/Jenkinsfiles.md").is_none());
    }
}
