//! Blobs are write-once, verified on reading, and whole or absent after a kill in the middle of a write.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

/// Environment variable that turns [`writer_until_killed`] into the victim of the kill test.
const VICTIM: &str = "BLOBS_TEST_VICTIM_DIRECTORY";

fn open(directory: &tempfile::TempDir) -> Blobs {
    Blobs::open(directory.path().to_str().unwrap()).unwrap()
}

fn file_of(directory: &tempfile::TempDir, digest: &Digest) -> PathBuf {
    directory.path().join("sha256").join(&digest.as_str()[..2]).join(digest.as_str())
}

#[tokio::test]
async fn a_blob_comes_back_and_is_stored_once() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = open(&directory);
    let first = blobs.put("hello").await.unwrap();
    assert_eq!(first, Digest::of("hello"));
    assert_eq!(blobs.clone().put(b"hello".to_vec()).await.unwrap(), first);
    assert_eq!(blobs.get(&first).await.unwrap(), "hello");
    assert_eq!(open(&directory).get(&first).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_missing_and_an_altered_blob_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = open(&directory);
    let digest = blobs.put("hello").await.unwrap();
    std::fs::write(file_of(&directory, &digest), "hellO").unwrap();
    let altered = blobs.get(&digest).await.unwrap_err();
    assert_eq!(altered.kind, FailureKind::Invalid);
    assert!(altered.message.contains(digest.as_str()), "{altered}");
    let absent = Digest::of("never stored");
    let missing = blobs.get(&absent).await.unwrap_err();
    assert_eq!(missing.kind, FailureKind::NotFound);
    assert!(missing.message.contains(absent.as_str()), "{missing}");
}

#[tokio::test]
async fn text_is_stored_packed_and_what_was_stored_before_is_read_too() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = open(&directory).remembering();
    let text = "let total = price * quantity;\n".repeat(100);
    let digest = blobs.put(text.clone()).await.unwrap();
    let stored = std::fs::read(file_of(&directory, &digest)).unwrap();
    assert!(stored.len() * 5 < text.len(), "{}", stored.len());
    std::fs::remove_file(file_of(&directory, &digest)).unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), text, "from memory");
    std::fs::write(file_of(&directory, &digest), &text).unwrap();
    assert_eq!(open(&directory).get(&digest).await.unwrap(), text);
    std::fs::write(file_of(&directory, &digest), &stored[..stored.len() - 1]).unwrap();
    assert_eq!(open(&directory).get(&digest).await.unwrap_err().kind, FailureKind::Invalid);
}

#[tokio::test]
async fn the_first_named_value_stays() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = open(&directory);
    let key = Digest::of("turn 1");
    assert_eq!(blobs.get_named(&key).await.unwrap(), None);
    blobs.put_named(&key, "first").await.unwrap();
    blobs.put_named(&key, "second").await.unwrap();
    assert_eq!(blobs.get_named(&key).await.unwrap().unwrap(), "first");
    assert_eq!(blobs.get(&key).await.unwrap_err().kind, FailureKind::NotFound);
}

#[test]
fn a_url_that_names_no_store_is_refused_with_what_to_write() {
    for bad in ["s3://", "gs://bucket", "file://relative"] {
        let error = Blobs::open(bad).unwrap_err();
        assert_eq!(error.kind, FailureKind::Invalid);
        assert!(error.message.contains("s3://bucket/prefix"), "{error}");
    }
    assert!(Blobs::open("s3://bucket/team/blobs/").is_ok());
}

#[tokio::test]
async fn a_directory_is_tried_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = open(&directory);
    blobs.probe().await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    std::fs::remove_dir(directory.path()).unwrap();
    let gone = blobs.probe().await.unwrap_err();
    assert_eq!(gone.kind, FailureKind::Invalid);
    assert!(gone.message.contains(directory.path().to_str().unwrap()), "{gone}");
}

#[tokio::test]
async fn a_bucket_that_is_missing_or_closed_is_found_before_it_is_needed() {
    use axum::http::{StatusCode, Uri};

    const EMPTY: &str = "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
    // What S3 answers for a key that is not there, and for the list of the bucket.
    for (read, listed, expected) in [
        (StatusCode::NOT_FOUND, StatusCode::OK, None),
        (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND, Some("it must exist")),
        (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN, Some("refuses us: we need s3:GetObject")),
    ] {
        let answer = async move |uri: Uri| match uri.query() {
            Some(query) if query.contains("list-type") => (listed, EMPTY),
            _ => (read, ""),
        };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        let store = AmazonS3Builder::new()
            .with_endpoint(url)
            .with_allow_http(true)
            .with_bucket_name("acme")
            .with_skip_signature(true)
            .build()
            .unwrap();
        let blobs = Blobs { store: Arc::new(store), prefix: Path::from("team"), directory: None, recent: None };
        let error = blobs.probe().await.err();
        assert_eq!(error.is_some(), expected.is_some(), "{read} {listed}: {error:?}");
        if let (Some(error), Some(expected)) = (error, expected) {
            assert_eq!(error.kind, FailureKind::Invalid);
            assert!(error.message.contains(expected), "{error}");
        }
    }
}

/// Not a test of its own: the process that the kill test starts and kills.
#[tokio::test]
async fn writer_until_killed() {
    let Ok(directory) = std::env::var(VICTIM) else { return };
    let blobs = Blobs::open(&directory).unwrap();
    for n in 0u64.. {
        blobs.put(large(n)).await.unwrap();
    }
}

fn large(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(512 * 1024)
}

#[tokio::test]
async fn kill_in_the_middle_of_a_write_leaves_no_half_blob() {
    let directory = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "blobs::tests::writer_until_killed", "--nocapture"])
        .env(VICTIM, directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // A staging file with content means a write is under way, so the kill lands inside it or just behind it.
    let staging =
        |path: &std::path::Path| path.to_string_lossy().contains('#') && path.metadata().is_ok_and(|m| m.len() > 0);
    while !walk(directory.path()).iter().any(|path| staging(path)) {
        assert!(victim.try_wait().unwrap().is_none(), "the writer ended by itself");
        tokio::task::yield_now().await;
    }
    victim.kill().unwrap();
    victim.wait().unwrap();

    let blobs = open(&directory);
    for path in walk(directory.path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Ok(digest) = name.parse::<Digest>() {
            blobs.get(&digest).await.expect("what has a digest's name is whole");
        }
    }
    for n in 0..8 {
        let digest = blobs.put(large(n)).await.unwrap();
        assert_eq!(blobs.get(&digest).await.unwrap(), large(n), "a write after the kill works");
    }
}

fn walk(directory: &std::path::Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .flat_map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { vec![entry.path()] })
        .collect()
}
