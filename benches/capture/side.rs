//! A side of the comparison: a process, its arms, and how long they took.

use crate::job::Job;
use crate::machine::others_while;
use crate::peer::{Done, Peer};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Arms that took at most this much longer than the fastest of their kind are timed in rounds.
const NEAR: f64 = 1.15;
/// Others' share of the machine that spoils a run.
const DISTURBED: f64 = 0.05;

/// How sides are started.
pub struct Sides {
    pub python: Option<OsString>,
    job: PathBuf,
    /// Others are waited for until then.
    until: Instant,
}

impl Sides {
    pub fn new(folder: &Path, job: &Job, patience: Duration) -> Done<Sides> {
        let file = folder.join("job.json");
        std::fs::write(&file, serde_json::to_vec(job)?)?;
        Ok(Sides { python: std::env::var_os("PERSONASCOPE_PEER_PYTHON"), job: file, until: Instant::now() + patience })
    }

    fn command(&self, kind: &str) -> Done<Command> {
        if kind == "personascope" {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--side").arg(&self.job);
            return Ok(command);
        }
        let mut command = Command::new(self.python.as_ref().ok_or("no Python is named")?);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_capture.py");
        command.arg(script).arg(&self.job).arg(kind);
        Ok(command)
    }

    /// The peak in kB of a fresh process that runs this arm once, and what it had before.
    pub fn memory(&self, arm: &Arm) -> Done<[u64; 2]> {
        let mut side = Side::start(self, &arm.kind)?;
        side.peer.ask(&format!("run {}", arm.name))?;
        Ok([side.peer.ask("peak")?.parse()?, side.loaded])
    }
}

#[derive(Clone)]
pub struct Arm {
    pub kind: String,
    pub name: String,
    pub seconds: Vec<f64>,
    /// The share of the machine that others took in the run that they disturbed most.
    pub others: f64,
    pub in_rounds: bool,
}

impl Arm {
    pub fn forget(&mut self) {
        (self.seconds, self.others) = (vec![], 0.0);
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    pub fn best(&self) -> f64 {
        self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// A process and what it can run.
pub struct Side {
    pub peer: Peer,
    pub arms: Vec<Arm>,
    /// kB resident before the first arm.
    pub loaded: u64,
    until: Instant,
}

impl Side {
    pub fn start(sides: &Sides, kind: &str) -> Done<Side> {
        let (peer, ready) = Peer::start(&mut sides.command(kind)?)?;
        let ready: Value = serde_json::from_str(&ready)?;
        let names = ready["arms"].as_array().ok_or("no arms")?.iter().filter_map(Value::as_str);
        let arm =
            |name: &str| Arm { kind: kind.into(), name: name.into(), seconds: vec![], others: 0.0, in_rounds: true };
        let loaded = ready["loaded"].as_u64().ok_or("no memory is told")?;
        Ok(Side { peer, arms: names.map(arm).collect(), loaded, until: sides.until })
    }

    pub fn time(&mut self, arm: usize) -> Done<()> {
        let line = format!("run {}", self.arms[arm].name);
        let (mut kept, mut least) = (0.0, f64::INFINITY);
        while least > DISTURBED {
            let process = self.peer.child.id();
            while Instant::now() < self.until && others_while(process, || sleep(Duration::from_secs(2))).1 > DISTURBED {
            }
            let (answer, others) = others_while(process, || self.peer.ask(&line));
            let seconds: f64 = answer?.parse()?;
            if others < least {
                (kept, least) = (seconds, others);
            }
            if Instant::now() >= self.until {
                break;
            }
        }
        let arm = &mut self.arms[arm];
        arm.seconds.push(kept);
        arm.others = arm.others.max(least);
        Ok(())
    }

    /// The means of the latest run, and how many layers they have.
    pub fn written(&mut self, folder: &Path) -> Done<(Vec<f32>, usize)> {
        let file = folder.join("means.f32");
        let layers = self.peer.ask(&format!("write {}", file.display()))?.parse()?;
        let bytes = std::fs::read(&file)?;
        Ok((bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(), layers))
    }

    /// Times every arm that is in the rounds once.
    pub fn round(&mut self) -> Done<()> {
        (0..self.arms.len())
            .filter(|i| self.arms[*i].in_rounds)
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|i| self.time(i))
    }

    /// Published ways are compared as they are; of everything else what could be the best.
    pub fn keep_the_fastest(&mut self) {
        let fastest = self.arms.iter().map(Arm::best).fold(f64::INFINITY, f64::min);
        for arm in &mut self.arms {
            arm.in_rounds = arm.kind == "published" || arm.best() <= NEAR * fastest;
            if arm.in_rounds {
                arm.forget();
            }
        }
    }
}
