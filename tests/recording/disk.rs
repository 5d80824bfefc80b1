//! A disk that fails.

use personascope::rng::stream;
use personascope::store::disk::{Disk, Out, Real};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What goes wrong, after how many operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The process ends there: nothing is done any more, a write is torn, and what was not synced may be lost.
    Crash,
    /// No write succeeds from there on.
    Full,
}

struct State {
    fault: Option<(usize, Fault)>,
    struck: bool,
    rng: ChaCha8Rng,
    /// Bytes written and not synced, by file.
    unsynced: BTreeMap<PathBuf, Vec<(u64, usize)>>,
}

/// The real disk until the fault strikes.
#[derive(Clone)]
pub struct Faulty(Arc<Mutex<State>>);

impl Faulty {
    pub fn new(fault: Option<(usize, Fault)>, seed: u64) -> Faulty {
        let rng = stream(seed, "faulty disk");
        Faulty(Arc::new(Mutex::new(State { fault, struck: false, rng, unsynced: BTreeMap::new() })))
    }

    pub fn struck(&self) -> bool {
        self.0.lock().unwrap().struck
    }

    /// One operation: whether it may go on. `torn` writes a part of what was to be written.
    fn operation(&self, torn: &mut dyn FnMut(f64)) -> io::Result<()> {
        let mut s = self.0.lock().unwrap();
        let Some((left, fault)) = &mut s.fault else { return Ok(()) };
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        let fault = *fault;
        let first = !std::mem::replace(&mut s.struck, true);
        if first && fault == Fault::Crash {
            torn(s.rng.random_range(0.0..1.0));
            // Any page that was not synced may be lost: zeros, as a file system leaves them.
            for (path, written) in std::mem::take(&mut s.unsynced) {
                for (at, n) in written {
                    if s.rng.random_ratio(1, 3)
                        && let Ok(mut file) = Real.open(&path)
                    {
                        file.write_at(&vec![0; n], at)?;
                    }
                }
            }
        }
        let kind = if fault == Fault::Full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        Err(io::Error::new(kind, format!("{fault:?}")))
    }
}

struct FaultyFile {
    disk: Faulty,
    path: PathBuf,
    file: Box<dyn Out>,
}

impl Out for FaultyFile {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let file = &mut self.file;
        self.disk.operation(&mut |share| {
            let _ = file.write_at(&bytes[..(share * bytes.len() as f64) as usize], at);
        })?;
        self.file.write_at(bytes, at)?;
        self.disk.0.lock().unwrap().unsynced.entry(self.path.clone()).or_default().push((at, bytes.len()));
        Ok(())
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.disk.operation(&mut |_| {})?;
        self.file.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.disk.operation(&mut |_| {})?;
        self.file.sync()?;
        self.disk.0.lock().unwrap().unsynced.remove(&self.path);
        Ok(())
    }
}

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Out>> {
        self.operation(&mut |_| {})?;
        Ok(Box::new(FaultyFile { disk: self.clone(), path: path.into(), file: Real.create(path)? }))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Out>> {
        self.operation(&mut |_| {})?;
        Ok(Box::new(FaultyFile { disk: self.clone(), path: path.into(), file: Real.open(path)? }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation(&mut |_| {})?;
        Real.rename(from, to)?;
        let mut s = self.0.lock().unwrap();
        if let Some(written) = s.unsynced.remove(from) {
            s.unsynced.insert(to.into(), written);
        }
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation(&mut |_| {})?;
        Real.remove(path)
    }
}
