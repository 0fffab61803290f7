//! The blob store: everything too big for a Temporal history, under the digest of its bytes. A local directory by
//! default, an S3 bucket by URL.

use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::Digest;

use crate::failure::ServiceError;
use packing::{packed, unpacked};
use recent::Recent;

/// Longest try of the whole store: its client itself tries again for minutes.
const PROBE: Duration = Duration::from_secs(30);

/// Write-once store. A clone shares the connection.
///
/// Blobs live under `sha256/`, the small index of named values under `named/`. Both spread over 256 folders, so that a
/// local directory stays readable with millions of entries.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Where it is, when that is a directory.
    directory: Option<PathBuf>,
    /// What was read or written lately.
    recent: Option<Arc<Mutex<Recent>>>,
}

impl Blobs {
    /// Opens the store at `url`: `s3://bucket/prefix`, `file:///absolute/path`, or a plain path. A local directory is made
    /// if it is missing. Region, endpoint and credentials of S3 come from the usual `AWS_*` variables, a web identity or
    /// the instance.
    ///
    /// # Errors
    /// [`FailureKind::Invalid`]: the URL names no store we know, or the directory cannot be made.
    pub fn open(url: &str) -> Result<Self, ServiceError> {
        let invalid = |why: String| ServiceError::new(FailureKind::Invalid, why);
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(invalid(format!("blob store {url:?} names no bucket: write s3://bucket/prefix")));
            }
            let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build().map_err(|error| {
                invalid(format!("blob store {url:?} cannot be opened: check the AWS_* variables")).caused_by(error)
            })?;
            let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|error| {
                invalid(format!("blob store {url:?} has a prefix that S3 cannot hold")).caused_by(error)
            })?;
            return Ok(Self { store: Arc::new(store), prefix, directory: None, recent: None });
        }
        let directory = match url.split_once("://") {
            None => FilePath::new(url),
            Some(("file", path)) if path.starts_with('/') => FilePath::new(path),
            Some(_) => {
                return Err(invalid(format!(
                    "blob store {url:?} is not known: write s3://bucket/prefix, file:///path or a path"
                )));
            }
        };
        let unusable = |error: anyhow::Error| {
            invalid(format!("blob store {} cannot be used: make it a directory we may write to", directory.display()))
                .caused_by(error)
        };
        std::fs::create_dir_all(directory).map_err(|error| unusable(error.into()))?;
        // The history refers to a blob as soon as `put` returned, so it must be on the disk by then.
        let store =
            LocalFileSystem::new_with_prefix(directory).map_err(|error| unusable(error.into()))?.with_fsync(true);
        let directory = Some(directory.to_owned());
        Ok(Self { store: Arc::new(store), prefix: Path::default(), directory, recent: None })
    }

    /// Whether the store can be used, found out without leaving anything in it: opening one sends nothing. A bucket is asked for
    /// a value that cannot be there and for its list, because a missing bucket answers the first like an empty one; in a
    /// directory a file is made and removed.
    ///
    /// # Errors
    /// [`FailureKind::Invalid`]: it does not exist, or we may not use it. [`FailureKind::Unavailable`]: it does not answer.
    pub async fn probe(&self) -> Result<(), ServiceError> {
        let silent = |_| ServiceError::new(FailureKind::Unavailable, format!("the blob store is silent for {PROBE:?}"));
        tokio::time::timeout(PROBE, self.tried()).await.map_err(silent)?
    }

    async fn tried(&self) -> Result<(), ServiceError> {
        let invalid = |why: String| ServiceError::new(FailureKind::Invalid, why);
        if let Some(directory) = &self.directory {
            let file = directory.join(format!(".probe-{}", std::process::id()));
            std::fs::write(&file, "").and_then(|()| std::fs::remove_file(&file)).map_err(|error| {
                invalid(format!("the blob store {} must be a directory we may write to", directory.display()))
                    .caused_by(error)
            })?;
        }
        let refused =
            || invalid("the blob store refuses us: we need s3:GetObject, s3:PutObject and s3:ListBucket".into());
        // No value has this name: the others are digests of longer texts.
        match self.store.get(&self.location("named", &Digest::of("probe"))).await {
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error @ (Error::PermissionDenied { .. } | Error::Unauthenticated { .. })) => {
                return Err(refused().caused_by(error));
            }
            Err(error) => {
                let why = "the blob store does not answer as it should";
                return Err(ServiceError::new(FailureKind::Unavailable, why).caused_by(error));
            }
        }
        let listed = self.store.list_with_delimiter(Some(&self.prefix)).await.map(drop);
        listed.map_err(|error| {
            invalid("the blob store cannot be listed: it must exist, and we need s3:ListBucket".into()).caused_by(error)
        })
    }

    /// Stores `bytes` and returns their digest. Storing the same bytes again changes nothing.
    ///
    /// # Errors
    /// The store does not answer, or refuses us.
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<Digest, ServiceError> {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.create("sha256", &digest, packed(&bytes)).await?;
        self.keep(&digest, &bytes);
        Ok(digest)
    }

    /// The bytes with this digest.
    ///
    /// # Errors
    /// [`FailureKind::NotFound`]: no such blob. [`FailureKind::Invalid`]: its bytes were altered.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, ServiceError> {
        if let Some(bytes) = self.recent().and_then(|mut recent| recent.find(digest)) {
            return Ok(bytes);
        }
        let stored = self.read("sha256", digest).await?.ok_or_else(|| {
            ServiceError::new(
                FailureKind::NotFound,
                format!("blob {digest} is not in the store: were its files moved or cleaned up?"),
            )
        })?;
        // Its own digest says whether a blob was stored packed.
        let unpacked = if Digest::of(&stored) == *digest { Some(stored) } else { unpacked(&stored) };
        let Some(bytes) = unpacked.filter(|bytes| Digest::of(bytes) == *digest) else {
            return Err(ServiceError::new(
                FailureKind::Invalid,
                format!("blob {digest} was altered: its bytes have another digest. Restore it from a backup"),
            ));
        };
        self.keep(digest, &bytes);
        Ok(bytes)
    }

    /// The same store, which keeps in memory what it reads and writes from now on, up to 64 MB of it: a conversation is read
    /// again in every turn.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { recent: Some(Arc::default()), ..self }
    }

    fn recent(&self) -> Option<MutexGuard<'_, Recent>> {
        Some(self.recent.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, digest: &Digest, bytes: &Bytes) {
        if let Some(mut recent) = self.recent() {
            recent.keep(digest, bytes);
        }
    }

    /// Stores `bytes` under a key that is not their digest. The first value stays; a later one is dropped.
    ///
    /// # Errors
    /// The store does not answer, or refuses us.
    pub async fn put_named(&self, key: &Digest, bytes: impl Into<Bytes>) -> Result<(), ServiceError> {
        self.create("named", key, packed(&bytes.into())).await
    }

    /// The value that was first stored under `key`.
    ///
    /// # Errors
    /// The store does not answer, or refuses us.
    pub async fn get_named(&self, key: &Digest) -> Result<Option<Bytes>, ServiceError> {
        let stored = self.read("named", key).await?;
        // Values of before this store packed them are JSON, which does not unpack.
        Ok(stored.map(|stored| unpacked(&stored).unwrap_or(stored)))
    }

    async fn create(&self, kind: &str, name: &Digest, bytes: Bytes) -> Result<(), ServiceError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.location(kind, name), PutPayload::from_bytes(bytes), options).await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(failed("written", name, error)),
        }
    }

    async fn read(&self, kind: &str, name: &Digest) -> Result<Option<Bytes>, ServiceError> {
        let found = match self.store.get(&self.location(kind, name)).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed("read", name, error)),
        };
        found.bytes().await.map(Some).map_err(|error| failed("read", name, error))
    }

    fn location(&self, kind: &str, name: &Digest) -> Path {
        let folder = name.as_str().get(..2).unwrap_or_default();
        self.prefix.clone().join(kind).join(folder).join(name.as_str())
    }
}

fn failed(done: &str, name: &Digest, error: Error) -> ServiceError {
    let kind = match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => FailureKind::Unauthorized,
        _ => FailureKind::Unavailable,
    };
    ServiceError::new(kind, format!("blob {name} could not be {done}: check the blob store")).caused_by(error)
}

mod packing;
mod recent;
#[cfg(test)]
mod tests;
