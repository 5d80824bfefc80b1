//! The hash of a checkpoint's files.

use super::opening::{Loading, Stage, Watch};
use super::source::Bytes;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Files up to this size enter the hash as they are; larger ones as the hashes of blocks of this size, which can be
/// made side by side.
const BLOCK: usize = 64 << 20;
/// Bytes that are hashed before their memory is given back.
const AT_ONCE: usize = 4 << 20;

/// Adds the contents of files to a hash. It does not depend on the number of threads.
pub(super) fn add(hash: &mut Sha256, files: &[(String, Bytes)], watch: &mut Watch<'_>) {
    add_in_blocks(hash, files, BLOCK, watch);
}

fn add_in_blocks(hash: &mut Sha256, files: &[(String, Bytes)], block: usize, watch: &mut Watch<'_>) {
    let total = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let mut before = 0;
    for (_, bytes) in files {
        let mut tell = |done: u64| watch(Loading { stage: Stage::Hash, done: before + done, total });
        if bytes.len() <= block {
            read(hash, bytes, bytes, &mut tell);
        } else {
            hash.update(format!("{} bytes in blocks of {block}\n", bytes.len()));
            blocks(bytes, block, &mut tell).iter().for_each(|one| hash.update(one));
        }
        before += bytes.len() as u64;
    }
}

fn read(hash: &mut Sha256, file: &Bytes, part: &[u8], tell: &mut dyn FnMut(u64)) {
    let mut done = 0;
    for piece in part.chunks(AT_ONCE) {
        hash.update(piece);
        file.release(piece);
        done += piece.len() as u64;
        tell(done);
    }
}

/// The hash of each block, in order; made by as many threads as there are cores, this one among them.
fn blocks(file: &Bytes, block: usize, tell: &mut dyn FnMut(u64)) -> Vec<[u8; 32]> {
    let parts: Vec<&[u8]> = file.chunks(block).collect();
    let hashes = Mutex::new(vec![[0; 32]; parts.len()]);
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = |tell: &mut dyn FnMut(u64)| {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(i) else { return };
            let mut hash = Sha256::new();
            let mut last = 0;
            read(&mut hash, file, part, &mut |so_far| {
                let step = so_far - std::mem::replace(&mut last, so_far);
                tell(done.fetch_add(step, Ordering::Relaxed) + step);
            });
            hashes.lock().unwrap_or_else(PoisonError::into_inner)[i] = hash.finalize().into();
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(parts.len());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| work(&mut |_| ()));
        }
        work(tell);
    });
    hashes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(files: &[&'static [u8]], block: usize) -> (String, Vec<u64>) {
        let files: Vec<(String, Bytes)> = files.iter().map(|f| (String::new(), Bytes::Static(f))).collect();
        let (mut hash, mut told) = (Sha256::new(), Vec::new());
        add_in_blocks(&mut hash, &files, block, &mut |at| {
            assert_eq!((at.stage, at.total), (Stage::Hash, 13));
            told.push(at.done);
        });
        (format!("{:x}", hash.finalize()), told)
    }

    #[test]
    fn small_files_enter_the_hash_as_they_are() {
        let (found, told) = hash(&[b"abcdefgh", b"ijklm"], 8);
        assert_eq!(found, format!("{:x}", Sha256::digest(b"abcdefghijklm")));
        assert_eq!(told, [8, 13]);
    }

    #[test]
    fn large_files_enter_it_as_the_hashes_of_their_blocks_in_order() {
        let expected = Sha256::new()
            .chain_update("8 bytes in blocks of 3\n")
            .chain_update(Sha256::digest(b"abc"))
            .chain_update(Sha256::digest(b"def"))
            .chain_update(Sha256::digest(b"gh"))
            .chain_update("5 bytes in blocks of 3\n")
            .chain_update(Sha256::digest(b"ijk"))
            .chain_update(Sha256::digest(b"lm"));
        for _ in 0..20 {
            assert_eq!(hash(&[b"abcdefgh", b"ijklm"], 3).0, format!("{:x}", expected.clone().finalize()));
        }
    }
}
