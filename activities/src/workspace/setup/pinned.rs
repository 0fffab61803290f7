//! The programs that a set-up takes from their registry where the sandbox lacks them, each in the version that was tried with it.
//! The image brings the same ones.

/// uv, from PyPI.
pub(super) const UV: &str = "0.13.9";
/// Poetry, from PyPI.
pub(super) const POETRY: &str = "2.2.1";
/// Lets Poetry ask an index of which only the simple interface is there, as mirrors have it (PEP 503, PEP 691).
pub(super) const POETRY_MIRROR: &str = "0.6.5";
/// pytest, for repositories that list packages but not what runs their tests.
pub(super) const PYTEST: &str = "9.0.2";
/// Maven's plugin that fetches what it is told.
pub(super) const MAVEN_DEPENDENCY: &str = "3.8.1";
/// Yarn 1, from npm. It was the last of its line.
pub(super) const YARN: &str = "1.22.22";
/// pnpm by the generation of its lock files. A version reads its own, and writes them without changing their format.
const PNPM: [(u32, &str); 3] = [(5, "7.33.7"), (6, "8.15.9"), (u32::MAX, "9.15.9")];
/// Yarn from 2 on, by the `version` under `__metadata` up to which it writes lock files.
const BERRY: [(u32, &str); 5] = [(5, "2.4.2"), (7, "3.8.7"), (8, "4.12.0"), (9, "4.14.1"), (u32::MAX, "4.18.1")];

/// pnpm for lock files of this generation.
pub(super) fn pnpm(generation: u32) -> &'static str {
    first(&PNPM, generation)
}

/// Yarn 2 or later for lock files of this generation.
pub(super) fn berry(generation: u32) -> &'static str {
    first(&BERRY, generation)
}

fn first(versions: &[(u32, &'static str)], generation: u32) -> &'static str {
    versions.iter().find(|(newest, _)| generation <= *newest).map_or("", |(_, version)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The image's, so that a repository is set up by one version wherever it is.
    const DOCKERFILE: &str = include_str!("../../../../Dockerfile");

    #[test]
    fn the_image_has_the_same_versions() {
        let from_npm = [("pnpm", pnpm(9)), ("yarn", YARN)].map(|(name, version)| format!("{name}@{version}"));
        let from_pypi = [("uv", UV), ("poetry", POETRY), ("poetry-plugin-pypi-mirror", POETRY_MIRROR)]
            .map(|(name, version)| format!("{name}=={version}"));
        for wanted in from_npm.into_iter().chain(from_pypi) {
            assert!(DOCKERFILE.split_whitespace().any(|word| word == wanted), "{wanted}");
        }
    }

    #[test]
    fn each_generation_of_lock_files_has_a_version() {
        assert_eq!(
            [0, 4, 6, 8, 9, 10, 11].map(berry),
            ["2.4.2", "2.4.2", "3.8.7", "4.12.0", "4.14.1", "4.18.1", "4.18.1"]
        );
        assert_eq!([5, 6, 9].map(pnpm), ["7.33.7", "8.15.9", "9.15.9"]);
    }
}
