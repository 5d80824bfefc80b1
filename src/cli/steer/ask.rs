//! What was asked for: edits with their strengths, vectors read, units resolved.

use super::SteerArgs;
use crate::axes::Site;
use crate::cli::out::say;
use crate::cli::progress::Bar;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::steer::{Amount, Arm, Donors, Measured, Op, Place, Prompted, Strength, measure};
use crate::unit::Tally;
use crate::vectors::Vector;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The edits as they were written.
pub struct Asked {
    edits: Vec<Edit>,
}

struct Edit {
    file: PathBuf,
    site: Site,
    op: Op,
    place: Place,
    strengths: Vec<Strength>,
}

/// A vector, or rows, at the place where they will be used.
pub struct Found {
    unit: Vec<f32>,
    donors: Option<Donors>,
    about: Value,
}

impl Asked {
    /// Checks what belongs together.
    pub fn of(args: &SteerArgs) -> Result<Asked> {
        let n = args.vectors.len();
        let counts = [
            ("--site", args.sites.len()),
            ("--op", args.ops.len()),
            ("--strength", args.strengths.len()),
            ("--on", args.places.len()),
        ];
        if let Some((name, k)) = counts.iter().find(|(_, k)| *k != n && *k != 1) {
            let what = format!("{n} --vector and {k} {name}");
            return Err(Error::refused(what, format!("give {name} once for all edits, or once for each")));
        }
        fn at<T: Clone>(list: &[T], i: usize) -> T {
            list[i.min(list.len() - 1)].clone()
        }
        let mut edits = Vec::new();
        for i in 0..n {
            let (op, written): (Op, String) = (at(&args.ops, i), at(&args.strengths, i));
            let strengths = Strength::list(&written).map_err(|e| Error::refused(format!("--strength {e}"), UNITS))?;
            for s in &strengths {
                let fits = match s.amount {
                    Amount::Plain(_) => true,
                    Amount::Norms(_) => op == Op::Shift,
                    Amount::Percentile(_) => op == Op::Pin || op.is_cap(),
                };
                if !fits {
                    return Err(Error::refused(format!("--strength {s} for {op}"), UNITS));
                }
            }
            edits.push(Edit {
                file: at(&args.vectors, i),
                site: at(&args.sites, i),
                op,
                place: at(&args.places, i),
                strengths,
            });
        }
        let most = edits.iter().map(|e| e.strengths.len()).max().unwrap_or(0);
        if let Some(e) = edits.iter().find(|e| e.strengths.len() != most && e.strengths.len() != 1) {
            let what = format!("{} strengths for {} and {most} for another edit", e.strengths.len(), e.file.display());
            return Err(Error::refused(what, "lists advance together: give each edit as many strengths, or one"));
        }
        Ok(Asked { edits })
    }

    /// How the strengths are written in results: once where all edits have the same, else joined by `+`.
    pub fn strengths(&self) -> Vec<String> {
        let most = self.edits.iter().map(|e| e.strengths.len()).max().unwrap_or(0);
        let at = |e: &Edit, s: usize| e.strengths[s.min(e.strengths.len() - 1)].to_string();
        let one = |s: usize| {
            let all: Vec<String> = self.edits.iter().map(|e| at(e, s)).collect();
            if all.iter().all(|w| *w == all[0]) { all[0].clone() } else { all.join("+") }
        };
        (0..most).map(one).collect()
    }

    /// Reads vectors and rows.
    pub fn arms(&self, model: &Model) -> Result<Vec<Found>> {
        self.edits.iter().map(|e| e.read(model)).collect()
    }

    /// What strengths in units other than activations need, over the given prompts.
    pub fn measure(&self, model: &Model, found: &[Found], prompts: &[Prompted], threads: usize) -> Result<Measured> {
        let norms = |e: &&Edit| e.strengths.iter().any(|s| matches!(s.amount, Amount::Norms(_)));
        let sites: Vec<Site> = self.edits.iter().filter(norms).map(|e| e.site).collect();
        let directions: Vec<(Site, &[f32])> = self
            .edits
            .iter()
            .zip(found)
            .filter(|(e, _)| e.op != Op::Patch)
            .map(|(e, f)| (e.site, &f.unit[..]))
            .collect();
        let percentile =
            |e: &Edit| e.op.is_cap() || e.strengths.iter().any(|s| matches!(s.amount, Amount::Percentile(_)));
        if sites.is_empty() && !self.edits.iter().any(percentile) {
            return Ok(Measured::default());
        }
        let mut bar = Bar::new("measure");
        let measured = measure(model, prompts, &sites, &directions, threads, &mut |t: &Tally| bar.step(t));
        bar.end();
        measured
    }

    /// The arms of the sweep, with every strength in the unit of its operation, and what is to be told of them.
    ///
    /// # Errors
    /// With `calibrated`, a cap that touches no token or all of them.
    pub fn resolve(&self, found: Vec<Found>, measured: &Measured, calibrated: bool) -> Result<(Vec<Arm>, Value)> {
        let most = self.edits.iter().map(|e| e.strengths.len()).max().unwrap_or(0);
        let (mut arms, mut told, mut direction) = (Vec::new(), Vec::new(), 0);
        for (e, f) in self.edits.iter().zip(found) {
            let mut amounts = Vec::with_capacity(most);
            for s in (0..most).map(|s| &e.strengths[s.min(e.strengths.len() - 1)]) {
                amounts.push(match s.amount {
                    Amount::Plain(v) => v,
                    Amount::Norms(n) => n * measured.norms.get(&e.site).copied().unwrap_or_default(),
                    Amount::Percentile(p) => measured.percentile(direction, p).unwrap_or_default(),
                });
            }
            let mut shares = Vec::new();
            if e.op.is_cap() {
                for (s, threshold) in e.strengths.iter().zip(&amounts) {
                    let Some(share) = measured.share(direction, e.op == Op::CapFloor, *threshold) else { continue };
                    let percent = 100.0 * share.touched as f64 / share.tokens.max(1) as f64;
                    say!(
                        "{} at {}: {s} is {threshold:.4}, touches {percent:.2} % of {} tokens",
                        e.op,
                        e.site,
                        share.tokens
                    );
                    shares.push(json!({ "strength": s.to_string(), "threshold": threshold, "touched": share.touched, "tokens": share.tokens }));
                    if calibrated && (share.touched == 0 || share.touched == share.tokens) {
                        let what = format!(
                            "{} at {} with {s} ({threshold:.4}) touches {percent:.0} % of tokens",
                            e.op, e.site
                        );
                        let hint =
                            "a cap that touches none or all is none: choose another threshold, or the other side";
                        return Err(Error::refused(what, hint));
                    }
                }
            }
            told.push(json!({
                "vector": f.about,
                "site": e.site,
                "op": e.op.name(),
                "on": e.place.to_string(),
                "strengths": e.strengths.iter().map(Strength::to_string).collect::<Vec<_>>(),
                "amounts": amounts,
                "mean_norm": measured.norms.get(&e.site),
                "touched": shares,
            }));
            direction += usize::from(e.op != Op::Patch);
            arms.push(Arm { site: e.site, op: e.op, unit: f.unit, donors: f.donors, place: e.place.clone(), amounts });
        }
        Ok((arms, json!({ "edits": told, "measured_on_tokens": measured.tokens })))
    }
}

const UNITS: &str =
    "a number for any operation, 0.5n for shift, p25 for pin and caps; a scale is a factor, a patch a share";

impl Edit {
    fn read(&self, model: &Model) -> Result<Found> {
        let dims = model.lm.dims();
        if !model.lm.has(self.site) || self.site == Site::Logits {
            let exist = Site::describe_all(dims.n_layers, model.lm.points());
            return Err(Error::Site { asked: self.site.to_string(), exist });
        }
        if self.op == Op::Patch {
            let donors = Some(Donors::open(&self.file, self.site)?);
            return Ok(Found { unit: vec![], donors, about: json!({ "rows": self.file.display().to_string() }) });
        }
        let vector = read_vector(&self.file, self.site)?;
        if vector.unit.len() != dims.d_model {
            let (found, expected) = (vec![vector.unit.len()], vec![dims.d_model]);
            let place = self.file.display().to_string();
            return Err(Error::Shape { place, name: vector.key(), found, expected });
        }
        if vector.site != self.site {
            eprintln!("warning: {} was made at {} and is applied at {}", self.file.display(), vector.site, self.site);
        }
        let about = json!({
            "file": self.file.display().to_string(),
            "key": vector.key(),
            "raw_norm": vector.raw_norm,
            "about": vector.about,
        });
        Ok(Found { unit: vector.unit, donors: None, about })
    }
}

/// The vector of a file for a site: the one that is at the site; else the only one there is.
fn read_vector(file: &Path, site: Site) -> Result<Vector> {
    let (path, name) = match file.to_str().and_then(|f| f.rsplit_once('#')).filter(|_| !file.exists()) {
        Some((path, name)) => (PathBuf::from(path), Some(name.to_string())),
        None => (file.to_path_buf(), None),
    };
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let place = path.display().to_string();
    let vectors = crate::vectors::decode(&place, &bytes)?
        .ok_or_else(|| Error::format(place.clone(), "not a vector file of personascope", "convert it first"))?;
    let named = |v: &&Vector| name.as_ref().is_none_or(|n| v.name == *n);
    let here: Vec<&Vector> = vectors.iter().filter(named).filter(|v| v.site == site).collect();
    let any: Vec<&Vector> = vectors.iter().filter(named).collect();
    match (&here[..], &any[..]) {
        ([one], _) | ([], [one]) => Ok((*one).clone()),
        (several, _) => {
            let keys: Vec<String> = vectors.iter().take(12).map(Vector::key).collect();
            let what = format!("{place} has {} vectors for {site}", several.len());
            Err(Error::refused(what, format!("it has {}; choose one with FILE#NAME and --site", keys.join(", "))))
        }
    }
}
