//! `analyze map`: the shape of persona space, from role vectors that are given.

mod labels;

use super::output::OutputArgs;
use crate::analysis::map::alignment::{Alignment, align, alignment_table, role_alignment_table};
use crate::analysis::map::{MapOptions, RoleVectors, Scaling, Shape, correlate, correlation_table, map_tables, shape};
use crate::axes::{Pick, Site};
use crate::cli::WorkArgs;
use crate::cli::progress::Bar;
use crate::cli::rows::Rows;
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::experiment::Parts;
use crate::experiment::pages::map as pages;
use crate::unit::parallel;
use labels::Labels;
use serde_json::json;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = r#"Examples:
  personascope analyze map --in roles.npz --labels roles.csv --out map
  personascope analyze map --in roles.npz --labels roles.csv --zscore --site resid_post.20 --out map
  personascope analyze map --in base.npz --labels roles.csv --against tuned.npz --out map

roles.npz holds an array [row, d_model] for each site, named by it (resid_post.20); safetensors and stores are read too. A line
of roles.csv for each row: role, is_default (0/1). Rows with the same role are averaged; the rows of the default are averaged
and have no part in the components; without any the assistant axis is left empty with the reason. A column `kind` may say
`trait`: that row is a direction (a difference of means), which is only compared with the roles. Other columns with numbers
are correlated with the map.

Written: variance.csv (components; shuffled coordinates as null), axis.csv (projection <h, a/(|a|+1e-8)> of every role on
a = mean(default) - mean(roles), and its rank), place.csv (the default on the axis and on each component, cosine of axis and
PC1, agreement of the axis with itself over random halves), dimension.csv, loadings.csv, neighbours.csv, density.csv,
correlations.csv, map.svg; directions.safetensors has the axis, as a unit vector with its length. With --against:
alignment.csv and role_alignment.csv."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct MapArgs {
    /// Role vectors: an .npz or .safetensors with an array [row, d_model] per site, or a store
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// CSV with a line for each row: role, is_default
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// Each dimension in units of its deviation over roles
    #[arg(long)]
    zscore: bool,
    /// Centred vectors to length 1 before components are taken
    #[arg(long)]
    l2: bool,
    /// Role vectors of another model, or after a fine-tune, to compare with
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Labels of those [default: the same as of --in]
    #[arg(long, value_name = "FILE", requires = "against")]
    against_labels: Option<PathBuf>,
    /// Sites: a list of those that are there [default: all]
    #[arg(long, value_name = "SITES")]
    sites: Option<String>,
    /// The site that is drawn [default: the middle one]
    #[arg(long)]
    site: Option<Site>,
    /// What a row is a mean of, for the file of directions
    #[arg(long, default_value = "mean_response")]
    pick: Pick,
    /// Components with coordinates
    #[arg(long, value_name = "N", default_value_t = 10)]
    components: usize,
    /// Neighbours of each role
    #[arg(long, value_name = "K", default_value_t = 5)]
    neighbours: usize,
    /// Resamples of roles
    #[arg(long, value_name = "N", default_value_t = 1000)]
    bootstrap: usize,
    /// Shuffles of a null
    #[arg(long, value_name = "N", default_value_t = 500)]
    permutations: usize,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn map(args: MapArgs) -> Result<bool> {
    if args.components < 2 {
        return Err(Error::refused("--components is below 2", "a map has two at least"));
    }
    let options = MapOptions {
        scaling: Scaling { zscore: args.zscore, l2: args.l2 },
        components: args.components,
        bootstrap: args.bootstrap,
        permutations: args.permutations,
        seed: args.output.seed,
        ..MapOptions::default()
    };
    let here = Given::open(&args.input, &args.labels, args.sites.as_deref())?;
    let there = match &args.against {
        None => None,
        Some(path) => Some(Given::open(path, args.against_labels.as_ref().unwrap_or(&args.labels), None)?),
    };
    let pairs = there.as_ref().map_or(Ok(vec![]), |there| pairs(&here, there))?;
    let bar = Bar::of("sites", (here.rows.sites.len() + pairs.len()) as u64);
    let mut found = Parts { warnings: here.warnings(), ..Parts::default() };
    let threads = args.work.threads();
    let of_site = parallel(&here.rows.sites, threads, |site| {
        let found = here.shape(*site, &options);
        bar.forward(1);
        found
    })?;
    let alignments = match &there {
        None => vec![],
        Some(there) => {
            found.warnings.extend(there.warnings());
            parallel(&pairs, threads, |(a, b)| {
                let own = here.rows.sites.iter().position(|s| s == a).and_then(|i| of_site[i].as_ref());
                let other = there.shape(*b, &options)?;
                bar.forward(1);
                own.zip(other.as_ref()).map(|(own, other)| align(own, other, &options)).transpose()
            })?
        }
    };
    bar.end();
    let shapes: Vec<&Shape> = of_site.iter().flatten().collect();
    for (site, _) in here.rows.sites.iter().zip(&of_site).filter(|(_, s)| s.is_none()) {
        found.warnings.push(format!("at {site} all roles are the same: it is left out of the map"));
    }
    let drawn = drawn(&here.rows.sites, &shapes, args.site)?;
    tables(&shapes, &drawn, &here, &args, &options, &mut found);
    let alignments: Vec<Alignment> = alignments.into_iter().flatten().collect();
    if there.is_some() {
        found.tables.extend([alignment_table(&alignments), role_alignment_table(&alignments)]);
    }
    directions(&shapes, &here, args.pick, &mut found)?;
    draw(&drawn, &mut found)?;
    let record = json!({
        "input": here.rows.describe(),
        "scaling": options.scaling.name(),
        "components": options.components,
        "neighbours": args.neighbours,
        "bootstrap": options.bootstrap,
        "permutations": options.permutations,
        "halves": options.halves,
        "null_draws": options.null_draws,
        "drawn": drawn,
    });
    let inputs: Vec<&Path> =
        [Some(&args.input), Some(&args.labels), args.against.as_ref(), args.against_labels.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
            .collect();
    let question = "What is the shape of persona space, and where in it is the default?";
    args.output.finish("map", question, &inputs, found, record)
}

/// Rows with their labels.
struct Given {
    rows: Rows,
    labels: Labels,
}

impl Given {
    fn open(path: &Path, labels: &Path, sites: Option<&str>) -> Result<Given> {
        let rows = Rows::open(path, sites)?;
        let labels = Labels::read(labels, rows.count)?;
        Ok(Given { rows, labels })
    }

    fn warnings(&self) -> Vec<String> {
        self.rows.warnings.iter().chain(&self.labels.warnings).cloned().collect()
    }

    /// The map of a site; `None` where all roles are the same there, as at the embedding of one last token.
    fn shape(&self, site: Site, options: &MapOptions) -> Result<Option<Shape>> {
        let all: Vec<usize> = (0..self.rows.count).collect();
        let values = self.rows.load(site, &all)?;
        let vectors = RoleVectors::of(&site.to_string(), values.view(), &self.labels.members)?;
        if vectors.is_flat() { Ok(None) } else { shape(&vectors, options).map(Some) }
    }
}

/// Sites of the same name; with a single site on either side, these two.
fn pairs(here: &Given, there: &Given) -> Result<Vec<(Site, Site)>> {
    let (a, b) = (&here.rows.sites, &there.rows.sites);
    let common: Vec<(Site, Site)> = a.iter().filter(|s| b.contains(s)).map(|s| (*s, *s)).collect();
    match (common.is_empty(), a.as_slice(), b.as_slice()) {
        (false, ..) => Ok(common),
        (true, [a], [b]) => Ok(vec![(*a, *b)]),
        _ => {
            let names = |sites: &[Site]| sites.iter().map(Site::to_string).collect::<Vec<_>>().join(", ");
            Err(Error::refused(
                "--in and --against have no site in common",
                format!("they have {} and {}; give each a single site to compare these", names(a), names(b)),
            ))
        }
    }
}

/// The site whose map is drawn: the one asked for, or the middle one of those where roles differ.
fn drawn(sites: &[Site], shapes: &[&Shape], asked: Option<Site>) -> Result<String> {
    let here: Vec<&str> = shapes.iter().map(|s| s.site.as_str()).collect();
    let Some(middle) = here.get(here.len() / 2) else {
        let names = sites.iter().map(Site::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::refused(format!("all roles are the same at {names}"), "there is nothing to map"));
    };
    match asked.map(|s| s.to_string()) {
        None => Ok(middle.to_string()),
        Some(site) if here.contains(&site.as_str()) => Ok(site),
        Some(site) => Err(Error::refused(
            format!("{site} is not among the sites that are mapped"),
            format!("sites are {}", here.join(", ")),
        )),
    }
}

fn tables(shapes: &[&Shape], drawn: &str, here: &Given, args: &MapArgs, options: &MapOptions, found: &mut Parts) {
    found.tables = map_tables(shapes, args.neighbours, drawn);
    let covariates = &here.labels.covariates;
    if !covariates.is_empty() {
        let all: Vec<_> = shapes.iter().map(|s| correlate(s, covariates, options)).collect();
        let of: Vec<_> = shapes.iter().zip(&all).map(|(s, c)| (*s, c.as_slice())).collect();
        found.tables.push(correlation_table(&of));
    }
}

/// The assistant axis of every site.
fn directions(shapes: &[&Shape], here: &Given, pick: Pick, found: &mut Parts) -> Result<()> {
    let pick = here.rows.pick().unwrap_or(pick);
    for s in shapes {
        let Some(d) = &s.default else { continue };
        let origin = format!("mean({}) - mean of {} roles", d.name, s.roles.len());
        match Direction::new(s.site.parse()?, pick, &d.axis, "like the default", "like a role", &origin) {
            Ok(axis) => found.vectors.push(axis),
            Err(_) => found.warnings.push(format!("at {} the default is the mean of the roles: no axis", s.site)),
        }
    }
    Ok(())
}

fn draw(drawn: &str, found: &mut Parts) -> Result<()> {
    let Some(tables) = pages::Tables::among(&found.tables) else { return Ok(()) };
    let words = pages::Words { points: "role vectors", group: &|_| None, more: "" };
    let page = pages::page("map", drawn, tables, &words)?;
    let summary = pages::summary(drawn, tables);
    found.summary.extend(summary);
    match page {
        Some(page) => found.pages.push((page, pages::Tables::NAMES.to_vec())),
        None => found.warnings.push(format!("the roles lie on a line at {drawn}: no map is drawn")),
    }
    Ok(())
}
