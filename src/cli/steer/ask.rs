//! What was asked for: edits with their strengths, vectors read, units resolved.

use super::SteerArgs;
use crate::axes::Site;
use crate::cli::chatting::warn;
use crate::cli::out::say;
use crate::cli::progress::Bar;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::steer::{Amount, Arm, Donors, Measured, Op, Place, Prompted, Strength, measure};
use crate::unit::Tally;
use crate::vectors::{self, Format, Producer, ReadOptions, Vector};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a file of vectors is, where its content does not tell.
#[derive(clap::Args)]
pub struct Written {
    /// Format of the vector files, where their content does not tell; `personascope convert --help` lists them
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,
    /// Who wrote a control vector for llama.cpp: repeng or cvector-generator
    #[arg(long)]
    producer: Option<Producer>,
}

/// The edits as they were written.
pub struct Asked {
    edits: Vec<Edit>,
    /// How the only strength of an experiment is written.
    experiment: Option<String>,
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
        if let (Some(file), Some(id)) = (&args.caps, &args.experiment) {
            return Asked::caps(file, id, args);
        }
        let n = args.vectors.len();
        let lacking = [args.sites.is_empty(), args.ops.is_empty(), args.strengths.is_empty()];
        if n == 0 || lacking.contains(&true) {
            let what = "an edit is a --vector with its --site, --op and --strength";
            return Err(Error::refused(what, "give all four, or --caps with --experiment"));
        }
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
            strengths.iter().try_for_each(|s| fits(op, s))?;
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
        Ok(Asked { edits, experiment: None })
    }

    /// All caps of one experiment of a capping config, each at its own layer.
    fn caps(file: &Path, id: &str, args: &SteerArgs) -> Result<Asked> {
        let read = vectors::read(file, args.written.from, ReadOptions::default())?;
        let all = read.caps();
        let mut edits = Vec::new();
        for cap in all.iter().filter(|c| c.experiment == id) {
            let vector = read.vectors.iter().find(|v| v.key() == cap.vector);
            let vector =
                vector.ok_or_else(|| Error::refused(format!("no vector `{}`", cap.vector), "make it again"))?;
            let name = if vector.name.is_empty() { String::new() } else { format!("#{}", vector.name) };
            edits.push(Edit {
                file: PathBuf::from(format!("{}{name}", file.display())),
                site: vector.site,
                op: Op::CapCeiling,
                place: args.places[0].clone(),
                strengths: Strength::list(&cap.ceiling.to_string()).map_err(|e| Error::refused(e, UNITS))?,
            });
        }
        if edits.is_empty() {
            let mut ids: Vec<&str> = all.iter().map(|c| c.experiment.as_str()).collect();
            ids.dedup();
            let what = format!("{} has no experiment `{id}` that caps anything", file.display());
            return Err(Error::refused(what, format!("it has {}", ids.join(", "))));
        }
        Ok(Asked { edits, experiment: Some(id.into()) })
    }

    /// How the strengths are written in results: once where all edits have the same, else joined by `+`.
    pub fn strengths(&self) -> Vec<String> {
        if let Some(id) = &self.experiment {
            return vec![id.clone()];
        }
        let most = self.edits.iter().map(|e| e.strengths.len()).max().unwrap_or(0);
        let at = |e: &Edit, s: usize| e.strengths[s.min(e.strengths.len() - 1)].to_string();
        let one = |s: usize| {
            let all: Vec<String> = self.edits.iter().map(|e| at(e, s)).collect();
            if all.iter().all(|w| *w == all[0]) { all[0].clone() } else { all.join("+") }
        };
        (0..most).map(one).collect()
    }

    /// Reads vectors and rows.
    pub fn arms(&self, written: &Written, model: &Model) -> Result<Vec<Found>> {
        self.edits.iter().map(|e| e.read(written, model)).collect()
    }

    /// What strengths in units other than activations need, over the given prompts.
    /// With `calibrated`, the share of tokens that caps touch too.
    pub fn measure(
        &self,
        model: &Model,
        found: &[Found],
        (prompts, calibrated): (&[Prompted], bool),
        threads: usize,
    ) -> Result<Measured> {
        let norms = |e: &&Edit| e.strengths.iter().any(|s| matches!(s.amount, Amount::Norms(_)));
        let sites: Vec<Site> = self.edits.iter().filter(norms).map(|e| e.site).collect();
        let directions: Vec<(Site, &[f32])> = self
            .edits
            .iter()
            .zip(found)
            .filter(|(e, _)| e.op != Op::Patch)
            .map(|(e, f)| (e.site, &f.unit[..]))
            .collect();
        let looked_at = |e: &Edit| {
            (calibrated && e.op.is_cap()) || e.strengths.iter().any(|s| matches!(s.amount, Amount::Percentile(_)))
        };
        if sites.is_empty() && !self.edits.iter().any(looked_at) {
            return Ok(Measured::default());
        }
        with_bar(model, prompts, &sites, &directions, threads)
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
                amounts.push(amount(s, measured, direction, e.site));
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
    fn read(&self, written: &Written, model: &Model) -> Result<Found> {
        has(model, self.site)?;
        if self.op == Op::Patch {
            let donors = Some(Donors::open(&self.file, self.site)?);
            return Ok(Found { unit: vec![], donors, about: json!({ "rows": self.file.display().to_string() }) });
        }
        let vector = read_vector(&self.file, self.site, written, model)?;
        check(&Vector { site: self.site, ..vector.clone() }, &self.file, model)?;
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

/// The vectors of a file that are searched, at the sites of a list or at their own.
///
/// # Errors
/// A site without a vector, two vectors at one site, a width that is not the model's.
pub fn read_vectors(file: &Path, sites: Option<&str>, written: &Written, model: &Model) -> Result<Vec<Vector>> {
    let dims = model.lm.dims();
    let (path, name) = named(file);
    let all = vectors_of(&path, written, model)?.vectors;
    let mut found: Vec<Vector> = all.iter().filter(|v| name.as_ref().is_none_or(|n| v.name == *n)).cloned().collect();
    if let Some(list) = sites {
        let wanted = Site::parse_list(list, dims.n_layers, model.lm.points())?;
        match &found[..] {
            // One vector may be tried anywhere.
            [one] => found = wanted.iter().map(|site| Vector { site: *site, ..one.clone() }).collect(),
            _ => found.retain(|v| wanted.contains(&v.site)),
        }
    }
    found.sort_by_key(|v| v.site);
    let twice = found.windows(2).find(|w| w[0].site == w[1].site).map(|w| w[0].site);
    if found.is_empty() || twice.is_some() {
        let what = match twice {
            Some(site) => format!("{} has several vectors at {site}", path.display()),
            None => format!("{} has no vector that was asked for", path.display()),
        };
        let keys: Vec<String> = all.iter().take(12).map(Vector::key).collect();
        return Err(Error::refused(what, format!("it has {}; choose with FILE#NAME and --sites", keys.join(", "))));
    }
    for v in &found {
        check(v, file, model)?;
    }
    Ok(found)
}

/// Refuses a site that the model does not have and a width that is not its own.
fn check(vector: &Vector, file: &Path, model: &Model) -> Result<()> {
    let dims = model.lm.dims();
    has(model, vector.site)?;
    if vector.unit.len() == dims.d_model {
        return Ok(());
    }
    let (n, key) = (vector.unit.len(), vector.key());
    let what = format!("`{key}` of {} has {n} values, and d_model is {}", file.display(), dims.d_model);
    Err(Error::refused(what, "it was made on another model: take one of this model"))
}

fn has(model: &Model, site: Site) -> Result<()> {
    if model.lm.has(site) && site != Site::Logits {
        return Ok(());
    }
    let exist = Site::describe_all(model.lm.dims().n_layers, model.lm.points());
    Err(Error::Site { asked: site.to_string(), exist })
}

/// Of each vector its strengths as amounts, measured on the prompts where they need it.
pub fn measured_amounts(
    model: &Model,
    op: Op,
    strengths: &[Strength],
    vectors: &[(Site, Vec<f32>)],
    prompts: &[Prompted],
    threads: usize,
) -> Result<Vec<Vec<f64>>> {
    strengths.iter().try_for_each(|s| fits(op, s))?;
    let plain = strengths.iter().all(|s| matches!(s.amount, Amount::Plain(_)));
    let measured = if plain {
        Measured::default()
    } else {
        let sites: Vec<Site> = vectors.iter().map(|v| v.0).collect();
        let directions: Vec<(Site, &[f32])> = vectors.iter().map(|(s, u)| (*s, &u[..])).collect();
        with_bar(model, prompts, &sites, &directions, threads)?
    };
    let of =
        |(v, (site, _)): (usize, &(Site, Vec<f32>))| strengths.iter().map(|s| amount(s, &measured, v, *site)).collect();
    Ok(vectors.iter().enumerate().map(of).collect())
}

/// [`measure`] behind a bar.
fn with_bar(
    model: &Model,
    prompts: &[Prompted],
    sites: &[Site],
    directions: &[(Site, &[f32])],
    threads: usize,
) -> Result<Measured> {
    let mut bar = Bar::new("measure");
    let measured = measure(model, prompts, sites, directions, threads, &mut |t: &Tally| bar.step(t));
    bar.end();
    measured
}

/// A strength in the unit of its operation.
fn amount(strength: &Strength, measured: &Measured, direction: usize, site: Site) -> f64 {
    match strength.amount {
        Amount::Plain(v) => v,
        Amount::Norms(n) => n * measured.norms.get(&site).copied().unwrap_or_default(),
        Amount::Percentile(p) => measured.percentile(direction, p).unwrap_or_default(),
    }
}

/// Refuses a strength whose unit an operation does not have.
fn fits(op: Op, strength: &Strength) -> Result<()> {
    let fits = match strength.amount {
        Amount::Plain(_) => true,
        Amount::Norms(_) => op == Op::Shift,
        Amount::Percentile(_) => op == Op::Pin || op.is_cap(),
    };
    if fits { Ok(()) } else { Err(Error::refused(format!("--strength {strength} for {op}"), UNITS)) }
}

/// `FILE#NAME` in its parts; a file that is there by its whole name is that file.
fn named(file: &Path) -> (PathBuf, Option<String>) {
    match file.to_str().and_then(|f| f.rsplit_once('#')).filter(|_| !file.exists()) {
        Some((path, name)) => (PathBuf::from(path), Some(name.to_string())),
        None => (file.to_path_buf(), None),
    }
}

/// The vectors of a file of any format, with what is to be said of it.
fn vectors_of(path: &Path, written: &Written, model: &Model) -> Result<vectors::File> {
    let n_layers = Some(model.lm.dims().n_layers);
    let file =
        vectors::read(path, written.from, ReadOptions { producer: written.producer, n_layers, post_norm: false })?;
    warn(file.warnings.iter());
    Ok(file)
}

/// The vector of a file for a site: the one that is at the site; else the only one there is.
fn read_vector(file: &Path, site: Site, written: &Written, model: &Model) -> Result<Vector> {
    let (path, name) = named(file);
    let file = vectors_of(&path, written, model)?;
    let any = |v: &&Vector| name.as_ref().is_none_or(|n| v.name == *n);
    let found: Vec<&Vector> = file.vectors.iter().filter(any).collect();
    match &found[..] {
        [one] => Ok((*one).clone()),
        _ => file.at(Some(site), name.as_deref()).cloned().map_err(|e| {
            let hint = format!("{}; choose one with FILE#NAME and --site", e.hint());
            Error::refused(format!("{}: {e}", path.display()), hint)
        }),
    }
}
