//! The blob store, for commands that only read it: what they do not find is told with where they looked and how to look elsewhere.

use std::path::Path;

use activities::blobs::Blobs;

use crate::config::{BlobSettings, FILE_VARIABLE};
use crate::problem::Problem;
use crate::workers::open_blobs;

/// A blob store, and the configuration that names it.
pub(crate) struct Store<'a> {
    settings: &'a BlobSettings,
    file: &'a Path,
    /// Its content.
    pub blobs: Blobs,
}

impl<'a> Store<'a> {
    /// Opens it. A directory that is not there is not made: nothing could be read from it.
    ///
    /// # Errors
    /// It is not there, or cannot be used.
    pub(crate) async fn open(settings: &'a BlobSettings, file: &'a Path) -> Result<Self, Problem> {
        if settings.directory().is_some_and(|directory| !directory.is_dir()) {
            let problem = Problem::new(format!("there is no blob store at {}.", settings.place()));
            return Err(elsewhere(problem, file));
        }
        Ok(Self { settings, file, blobs: open_blobs(settings, file).await? })
    }

    /// Adds where was looked, and how to look elsewhere.
    pub(crate) fn looked(&self, problem: Problem) -> Problem {
        elsewhere(problem.advice(format!("Looked in the blob store {}.", self.settings.place())), self.file)
    }
}

fn elsewhere(problem: Problem, file: &Path) -> Problem {
    let named = file.display();
    let said = if file.exists() {
        format!("That is [blobs] url of {named}; the worker's own configuration says where its blobs are.")
    } else {
        format!("There is no {named} here, so that is the default; the worker's own says where its blobs are.")
    };
    problem.advice(said).advice(format!("Give that one: --config FILE, or {FILE_VARIABLE}=FILE."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_found_is_told_with_the_place_and_the_way_to_another() {
        let directory = std::env::temp_dir().join(format!("ticketwright-store-{}", std::process::id()));
        let settings = BlobSettings { url: directory.display().to_string() };
        let file = directory.join("ticketwright.toml");
        let problem = Store::open(&settings, &file).await.err().unwrap();
        assert!(problem.what().ends_with(&format!("no blob store at {}.", directory.display())), "{problem}");
        assert!(!directory.exists(), "looking makes nothing");

        std::fs::create_dir(&directory).unwrap();
        let store = Store::open(&settings, &file).await.unwrap();
        let told = store.looked(Problem::new("x cannot be read.")).to_string();
        for expected in [&directory.display().to_string(), "so that is the default", "--config FILE", FILE_VARIABLE] {
            assert!(told.contains(expected), "{told}");
        }
        std::fs::write(&file, "").unwrap();
        assert!(store.looked(Problem::new("x")).to_string().contains("[blobs] url of /"));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
