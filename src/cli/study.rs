//! `demo`, `run` and `check`: experiments from probe files.

use super::adapters::AdapterArgs;
use super::chatting::warn;
use super::out::say;
use super::progress::Bar;
use super::{ComputingArgs, WorkArgs, read_text};
use crate::error::{Error, Result};
use crate::experiment::{self, Context, Exports, Findings, Plan, SHIPPED, Set, Spec};
use crate::model::{Model, Opening};
use crate::store::{FolderShelf, create_dir, write_atomic};
use crate::unit::Tally;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  personascope demo                  into ./personascope-demo
  personascope demo --out results    the same, elsewhere; run again, it takes from there what is done

Then open DIR/report.html.")]
pub struct DemoArgs {
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "personascope-demo")]
    out: PathBuf,
    #[command(flatten)]
    computing: ComputingArgs,
    #[command(flatten)]
    work: WorkArgs,
}

/// What is changed of a probe file for one run.
#[derive(clap::Args, Clone)]
pub struct SetArgs {
    /// Another model than that of the file
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Another value of a key of the file, as TOML: settings.samples=1, settings.data[0].file='"a.jsonl"'; may be given
    /// several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl SetArgs {
    /// Reads a probe file with the changes.
    pub fn read(&self, path: &Path) -> Result<Spec> {
        let mut sets = self.sets.iter().map(|s| Set::parse(s)).collect::<Result<Vec<Set>>>()?;
        sets.extend(self.model.as_deref().map(Set::model));
        Spec::parse_with(&path.display().to_string(), &read_text(path)?, &sets)
    }

    /// The options again, for a command line.
    pub fn as_typed(&self) -> String {
        let model = self.model.iter().map(|m| format!(" --model {m}"));
        model.chain(self.sets.iter().map(|s| format!(" --set '{s}'"))).collect()
    }
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  personascope run probes/steering.toml --out mine     mine/notebooks-data/steering, mine/figures/steering*
  personascope run probes/*.toml                       into ./notebooks-data and ./figures
  personascope run probes/drift.toml --adapter warm=adapters/warm --out warm     the model with a LoRA adapter
  personascope run probes/drift.toml --random-weights 1 --out null               a model that was never trained
  personascope run probes/drift.toml --set settings.conversations=4 --out small   another value of a key of the file

Interrupted, the same command goes on where it was: finished units are kept in DIR/.personascope.")]
pub struct RunArgs {
    /// Probe files
    #[arg(value_name = "PROBE.toml", required = true)]
    probes: Vec<PathBuf>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Figures as SVG alone, without PDF and PNG
    #[arg(long)]
    svg_only: bool,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    adapters: AdapterArgs,
    #[command(flatten)]
    computing: ComputingArgs,
    #[command(flatten)]
    work: WorkArgs,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  personascope check probes/drift.toml                 the resolved plan as JSON, with predicted rows and bytes

Nothing is run and nothing is written.")]
pub struct CheckArgs {
    /// A probe file
    #[arg(value_name = "PROBE.toml")]
    probe: PathBuf,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    adapters: AdapterArgs,
    #[command(flatten)]
    computing: ComputingArgs,
}

pub fn check(args: CheckArgs) -> Result<bool> {
    args.adapters.at_most_one()?;
    let spec = args.set.read(&args.probe)?;
    let model = args.adapters.load(&spec.model, args.computing.opening()?)?;
    let plan = Plan::resolve(spec, &model)?;
    let mut described = plan.describe();
    let notes = experiment::before(&plan);
    if !notes.is_empty() {
        described["notes"] = notes.into();
    }
    args.adapters.chat.describe(&model.text, &mut described);
    say!("{}", serde_json::to_string_pretty(&described).unwrap_or_default());
    Ok(true)
}

pub fn run(args: RunArgs) -> Result<bool> {
    args.adapters.at_most_one()?;
    // All files are read before the first is run: a mistake in the last one costs nothing.
    let specs = args.probes.iter().map(|path| args.set.read(path)).collect::<Result<Vec<Spec>>>()?;
    let running = Running {
        out: &args.out,
        layout: Layout::Folders,
        exports: if args.svg_only { Exports::SVG } else { Exports::ALL },
        adapters: &args.adapters,
        opening: args.computing.opening()?,
        work: args.work,
    };
    study(specs, &running)?;
    Ok(true)
}

pub fn demo(args: DemoArgs) -> Result<bool> {
    let specs = SHIPPED.iter().map(|(stem, text)| Spec::parse(&format!("{stem}.toml"), text)).collect::<Result<_>>()?;
    let running = Running {
        out: &args.out,
        layout: Layout::Folders,
        exports: Exports::SVG,
        adapters: &AdapterArgs::default(),
        opening: args.computing.opening()?,
        work: args.work,
    };
    let found = study(specs, &running)?;
    let report = args.out.join("report.html");
    let again = |stem: &str| format!("personascope run probes/{stem}.toml --out DIR");
    let page = experiment::report("personascope: the shipped probes", &found, &again);
    write_atomic(&report, page.as_bytes(), true)?;
    say!("\n{}", report.display());
    Ok(true)
}

/// Where tables and figures of a run go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `notebooks-data/STEM/` and `figures/`.
    Folders,
    /// All into the folder itself.
    Flat,
}

/// How specs are run.
pub struct Running<'a> {
    pub out: &'a Path,
    pub layout: Layout,
    pub exports: Exports,
    pub adapters: &'a AdapterArgs,
    pub opening: Opening,
    pub work: WorkArgs,
}

/// Runs specs in order into one folder and prints what each found.
pub fn study(specs: Vec<Spec>, running: &Running<'_>) -> Result<Vec<Findings>> {
    let Running { out, layout, exports, adapters, opening, work } = *running;
    let mut stems: Vec<&str> = specs.iter().map(|s| s.stem.as_str()).collect();
    stems.sort_unstable();
    if let Some(pair) = stems.windows(2).find(|w| w[0] == w[1]) {
        let what = format!("two probe files have the stem `{}` and would write to one folder", pair[0]);
        return Err(Error::refused(what, "rename one of them, or run them with different --out"));
    }
    let mut model: Option<(String, Model)> = None;
    let mut all = Vec::with_capacity(specs.len());
    for spec in specs {
        let model = match &mut model {
            Some((name, model)) if *name == spec.model => &*model,
            held => &held.insert((spec.model.clone(), adapters.load(&spec.model, opening)?)).1,
        };
        let plan = Plan::resolve(spec, model)?;
        experiment::before(&plan).iter().for_each(|line| eprintln!("{line}"));
        // Personas are asked for in system turns.
        let mut extra = serde_json::json!({});
        adapters.chat.describe(&model.text, &mut extra);
        if let Some(note) = warn(model.text.system_note().iter()).pop() {
            extra["system_turn"] = note.into();
        }
        create_dir(out)?;
        let kept = out.join(".personascope");
        let shelf = FolderShelf::open(&kept)?;
        let mut bar = Bar::new("");
        let mut progress = |stage: &str, tally: &Tally| {
            bar.stage(stage);
            bar.step(tally)
        };
        let mut ctx = Context {
            shelf: &shelf,
            tunes: Some(&kept.join("finetunes")),
            threads: work.threads(),
            progress: &mut progress,
        };
        let found = experiment::run(&plan, model, &mut ctx)?;
        bar.end();
        match layout {
            Layout::Folders => {
                experiment::write(&found, &out.join("notebooks-data"), &out.join("figures"), exports, &extra)?
            }
            Layout::Flat => experiment::write_to(&found, out, out, exports, &extra)?,
        };
        print_summary(&found);
        all.push(found);
    }
    Ok(all)
}

fn print_summary(found: &Findings) {
    let Tally { rows_computed, rows_resumed, .. } = found.tally;
    say!("{}: {}", found.stem, found.question.trim());
    found.summary.iter().for_each(|line| say!("  {line}"));
    found.warnings.iter().for_each(|line| eprintln!("  warning: {line}"));
    eprintln!("  ({rows_computed} rows computed, {rows_resumed} resumed)");
}
