//! Blobs are stored packed where that makes them smaller: transcripts and tool output are text.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// Shorter ones are not worth it.
const SHORTEST: usize = 128;
/// Longer ones are bundles of git, which are packed already.
const LONGEST: usize = 1 << 20;

/// `bytes`, or their zlib stream (RFC 1950) when that is smaller.
pub(super) fn packed(bytes: &Bytes) -> Bytes {
    if bytes.len() < SHORTEST || bytes.len() > LONGEST {
        return bytes.clone();
    }
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::default());
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(stream) if stream.len() < bytes.len() => stream.into(),
        _ => bytes.clone(),
    }
}

/// What a zlib stream holds; `None`: it is none, or it is broken.
pub(super) fn unpacked(stored: &Bytes) -> Option<Bytes> {
    let mut bytes = Vec::new();
    // Nothing longer was ever packed: a stream that claims more is not ours.
    ZlibDecoder::new(stored.as_ref()).take(LONGEST as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_packed_and_comes_back() {
        let text = Bytes::from("fn main() { println!(\"hello\"); }\n".repeat(100));
        let stored = packed(&text);
        assert!(stored.len() * 10 < text.len(), "{}", stored.len());
        assert_eq!(unpacked(&stored), Some(text));
    }

    #[test]
    fn what_packing_does_not_shorten_stays_as_it_is() {
        let short = Bytes::from("{\"path\":\"a.rs\"}");
        assert_eq!(packed(&short), short);
        let once = packed(&Bytes::from((0..4000u32).map(|n| n.to_string()).collect::<String>()));
        assert!(packed(&once).len() <= once.len());
        assert_eq!(unpacked(&short), None);
        assert_eq!(unpacked(&once.slice(..once.len() / 2)), None, "a cut stream is no blob");
    }
}
