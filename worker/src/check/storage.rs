//! Where the worker keeps things: the blob store, and the directory of its workspaces.

use std::path::Path;
use std::{fs, io};

use activities::blobs::Blobs;

use super::Finding;
use crate::config::Config;

const BLOBS: &str = "Blobs";
const WORKSPACE: &str = "Workspace";

pub(super) async fn look_at_blobs(config: &Config) -> Finding {
    let url = &config.blobs.url;
    let tried = match Blobs::open(url) {
        Ok(blobs) => blobs.probe().await,
        Err(error) => Err(error),
    };
    match tried {
        Ok(()) => Finding::good(BLOBS, url),
        Err(error) => Finding::bad(BLOBS, format!("{url} cannot be used"))
            .note(format!("✗ {}", super::told(&error)))
            .note("  Set url in [blobs] of ticketwright.toml; for S3 also check the AWS_* variables and the role."),
    }
}

pub(super) fn look_at_workspace(config: &Config) -> Finding {
    of_workspace(&config.workspace.directory)
}

fn of_workspace(directory: &Path) -> Finding {
    match try_to_write(directory) {
        Ok(()) => Finding::good(WORKSPACE, directory.display().to_string()),
        Err(error) => Finding::bad(WORKSPACE, format!("{} cannot be written to: {error}", directory.display()))
            .note("  Give it to the user that runs the worker, or set directory in [workspace] of ticketwright.toml.")
            .note("  Or run ticketwright run --no-sandbox-queue here, and another worker where it works."),
    }
}

/// Makes and removes a file there. A directory that is still missing is made by the worker, so then its nearest parent counts.
fn try_to_write(directory: &Path) -> io::Result<()> {
    let directory = std::path::absolute(directory)?;
    let there = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&directory);
    let file = there.join(format!(".ticketwright-check-{}", std::process::id()));
    fs::write(&file, "")?;
    fs::remove_file(file)
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    /// A directory of this process that goes with the value.
    struct Temporary(std::path::PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("ticketwright-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_workspace_is_tried_where_it_is_or_will_be_and_nothing_stays() {
        let directory = Temporary::new("workspace");
        assert_eq!(of_workspace(&directory.0).mark, Mark::Good);
        assert_eq!(of_workspace(&directory.0.join("still/missing")).mark, Mark::Good);
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
        let file = directory.0.join("file");
        fs::write(&file, "").unwrap();
        let bad = of_workspace(&file);
        assert_eq!(bad.mark, Mark::Bad);
        assert!(bad.notes[0].contains("[workspace]"), "{bad:?}");
    }
}
