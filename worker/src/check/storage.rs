//! Where the worker keeps things: the blob store, and the directory of its workspaces.

use std::path::Path;
use std::{fs, io};

use activities::blobs::Blobs;

use super::{Finding, passage};
use crate::config::BlobSettings;

const BLOBS: &str = "Blobs";
const WORKSPACE: &str = "Workspace";

pub(super) async fn look_at_blobs(settings: &BlobSettings) -> Finding {
    let url = settings.place();
    let tried = match Blobs::open(&settings.url) {
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

pub(super) fn look_at_workspace(directory: &Path) -> Finding {
    of_workspace(directory, passage::others_run())
}

/// `others_run`: commands run as other users than the worker.
fn of_workspace(directory: &Path, others_run: bool) -> Finding {
    let closed = if others_run { passage::closed_above(directory) } else { Vec::new() };
    let named = directory.display().to_string();
    match try_to_write(directory) {
        Ok(()) if !closed.is_empty() => {
            let what = format!("[workspace] directory = {named}");
            passage::tell(Finding::good(WORKSPACE, named), &what, &closed)
        }
        Ok(()) => Finding::good(WORKSPACE, named),
        Err(error) => Finding::bad(WORKSPACE, format!("{named} cannot be written to: {error}"))
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
    use std::os::unix::fs::PermissionsExt as _;

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
        assert_eq!(of_workspace(&directory.0, false).mark, Mark::Good);
        assert_eq!(of_workspace(&directory.0.join("still/missing"), false).mark, Mark::Good);
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
        let file = directory.0.join("file");
        fs::write(&file, "").unwrap();
        let bad = of_workspace(&file, false);
        assert_eq!(bad.mark, Mark::Bad);
        assert!(bad.notes[0].contains("[workspace]"), "{bad:?}");
    }

    #[test]
    fn a_workspace_below_a_closed_directory_does_not_do_for_a_worker_that_is_root() {
        let directory = Temporary::new("closed");
        fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o700)).unwrap();
        let below = directory.0.join("workspaces");
        assert_eq!(of_workspace(&below, false).mark, Mark::Good);
        let bad = of_workspace(&below, true);
        assert_eq!(bad.mark, Mark::Bad);
        let line = format!("chmod o+x {}", directory.0.canonicalize().unwrap().display());
        assert!(bad.notes.iter().any(|note| note.contains(&line)), "{bad:?}");
    }
}
