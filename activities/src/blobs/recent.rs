//! Blobs that were read or written lately, in memory: they never change.

use bytes::Bytes;
use lru::LruCache;
use workflows::contract::ids::Digest;

/// Bytes that are kept.
const ROOM: usize = 64 << 20;
/// Longest blob that is kept.
const LONGEST: usize = 1 << 20;

/// The blobs used last.
#[derive(Debug)]
pub(super) struct Recent {
    blobs: LruCache<Digest, Bytes>,
    bytes: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { blobs: LruCache::unbounded(), bytes: 0 }
    }
}

impl Recent {
    pub(super) fn find(&mut self, digest: &Digest) -> Option<Bytes> {
        self.blobs.get(digest).cloned()
    }

    pub(super) fn keep(&mut self, digest: &Digest, bytes: &Bytes) {
        if bytes.len() > LONGEST {
            return;
        }
        // A copy: a slice would keep the whole of a bigger buffer.
        let copy = Bytes::copy_from_slice(bytes);
        self.bytes += bytes.len();
        if let Some(before) = self.blobs.put(digest.clone(), copy) {
            self.bytes -= before.len();
        }
        while self.bytes > ROOM {
            let Some((_, oldest)) = self.blobs.pop_lru() else { return };
            self.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_kept_and_what_was_used_last_stays() {
        let mut recent = Recent::default();
        let blob = |n: usize| Bytes::from(vec![u8::try_from(n % 251).unwrap(); LONGEST]);
        let name = |n: usize| Digest::of(n.to_string());
        for n in 0..64 {
            recent.keep(&name(n), &blob(n));
        }
        assert!(recent.find(&name(0)).is_some());
        recent.keep(&name(64), &blob(64));
        recent.keep(&name(64), &blob(64));
        assert!(recent.find(&name(0)).is_some(), "used just now");
        assert!(recent.find(&name(1)).is_none());
        assert_eq!(recent.bytes, ROOM);
        recent.keep(&name(99), &Bytes::from(vec![0; LONGEST + 1]));
        assert!(recent.find(&name(99)).is_none(), "too long to keep");
    }
}
