//! File locks and permissions of the workspaces' directory.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use workflows::contract::failure::FailureKind;

use crate::failure::ServiceError;

/// Waits for the lock of `path`; dropping the file gives it back. A lock ends with its process, however that ends.
pub(super) async fn wait(path: PathBuf) -> Result<File, ServiceError> {
    wait_for(path, File::lock).await
}

/// Waits for a share of the lock of `path`, which only an owner of the whole lock keeps from us.
pub(super) async fn share(path: PathBuf) -> Result<File, ServiceError> {
    wait_for(path, File::lock_shared).await
}

async fn wait_for(path: PathBuf, lock: fn(&File) -> io::Result<()>) -> Result<File, ServiceError> {
    let locked = tokio::task::spawn_blocking(move || {
        loop {
            let file = open(&path)?;
            lock(&file)?;
            if is_still(&file, &path) {
                return io::Result::Ok(file);
            }
        }
    });
    locked.await.map_err(io::Error::other).and_then(|locked| locked).map_err(|error| {
        ServiceError::new(FailureKind::Unavailable, "a lock of the workspaces' directory cannot be taken".to_owned())
            .caused_by(error)
    })
}

/// The lock of `path`, if nobody holds it.
pub(super) fn try_now(path: &Path) -> Option<File> {
    let file = open(path).ok()?;
    file.try_lock().ok()?;
    is_still(&file, path).then_some(file)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether `path` still names the locked file: its last owner may have removed it while we waited.
fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(held), Ok(found)) => (held.dev(), held.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// Lets other users pass through `directory` and read what they may below it, as the sandbox's user must.
pub(super) fn open_to_others(directory: &Path) -> io::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o711))
}
