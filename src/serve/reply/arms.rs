//! Arms as the worker takes them.

use super::ask::{Arm, Ask, Edit};
use crate::axes::Site;
use crate::error::Error;
use crate::model::generate::{Settings, Start};
use crate::model::sample::Sampling;
use crate::model::{Along, Intervention, Model, Positions, Rewrite};
use crate::serve::Problem;
use crate::serve::app::App;
use crate::steer::{Amount, Op, Strength};
use crate::text::{ChatOptions, Encoded};

/// An edit with everything found out.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Resolved {
    #[serde(flatten)]
    pub asked: Edit,
    #[serde(skip)]
    pub file: String,
    #[serde(skip)]
    pub site: Site,
    #[serde(skip)]
    pub op: Op,
    #[serde(skip)]
    pub on: String,
    /// In the unit of the operation.
    pub amount: f64,
}

/// What the worker is given.
pub struct Arms {
    pub encoded: Encoded,
    pub starts: Vec<Start>,
    pub edits: Vec<Intervention>,
    pub settings: Settings,
    pub resolved: Vec<Vec<Resolved>>,
}

impl Arms {
    /// Encodes the conversation and finds vectors, strengths and places.
    ///
    /// # Errors
    /// What the template refuses; vectors, adapters and sites that do not exist; strengths that an operation does not have.
    pub fn of(app: &App, ask: &Ask) -> Result<Arms, Problem> {
        let model: &Model = &app.model;
        ask.check(model.lm.dims().n_ctx)?;
        let sampling = Sampling::new(ask.temperature, ask.top_p)?;
        let options = ChatOptions { generation_header: true, reply_as: ask.reply_as.clone(), ..ChatOptions::default() };
        let encoded = model.text.chat_with(&ask.messages, &options)?;
        let (mut edits, mut starts, mut resolved) = (Vec::new(), Vec::new(), Vec::new());
        for arm in &ask.arms {
            let mut own = Vec::new();
            let mut told = Vec::new();
            for edit in &arm.edits {
                let (intervention, found) = resolve(app, edit, &encoded)?;
                own.push(edits.len());
                edits.push(intervention);
                told.push(found);
            }
            resolved.push(told);
            starts.push(Start {
                id: ask.item(),
                tokens: encoded.tokens.clone(),
                seed: ask.seed,
                adapter: adapter(model, arm)?,
                edits: own,
            });
        }
        let settings = Settings { max_new_tokens: ask.max_new_tokens, sampling, stops: model.stops.clone() };
        let dims = model.lm.dims();
        for s in &starts {
            crate::model::generate::fits(&s.id, &s.tokens, ask.max_new_tokens, dims.d_vocab, dims.n_ctx)?;
        }
        Ok(Arms { encoded, starts, edits, settings, resolved })
    }
}

/// The adapter of an arm.
fn adapter(model: &Model, arm: &Arm) -> Result<Option<usize>, Problem> {
    let Some(name) = &arm.adapter else { return Ok(None) };
    find_adapter(model, name).map(Some)
}

/// An adapter by its name.
///
/// # Errors
/// A name that none has.
pub fn find_adapter(model: &Model, name: &str) -> Result<usize, Problem> {
    model.adapters.iter().position(|a| a.name == name).ok_or_else(|| {
        let names: Vec<&str> = model.adapters.iter().map(|a| a.name.as_str()).collect();
        let hint = match names.is_empty() {
            true => "the server was started without adapters: give it --adapter NAME=DIR".into(),
            false => format!("there are {}", names.join(", ")),
        };
        Problem::refused(format!("there is no adapter `{name}`"), hint)
    })
}

fn resolve(app: &App, edit: &Edit, encoded: &Encoded) -> Result<(Intervention, Resolved), Problem> {
    let said = |what: String| Problem::refused(what, "choose one of the lists of the page");
    let site: Site = edit.site.parse().map_err(|e| said(format!("`{}` is no site: {e}", edit.site)))?;
    if !app.sites.contains(&site) {
        return Err(Error::Site { asked: site.to_string(), exist: app.sites_in_words() }.into());
    }
    let op: Op = edit.op.parse().map_err(|e| said(format!("`{}` is no operation: {e}", edit.op)))?;
    if op == Op::Patch {
        return Err(said("a patch needs rows of another run".into()));
    }
    let strength: Strength = edit.strength.parse().map_err(|e| Problem::refused(e, "0.5n, 4 or p25"))?;
    match (strength.amount, op) {
        (Amount::Norms(_), op) if op != Op::Shift => {
            return Err(Problem::refused(
                format!("{op} has no strength in norms"),
                "give a number, or p25 for pin and caps",
            ));
        }
        (Amount::Percentile(_), Op::Shift | Op::Scale) => {
            return Err(Problem::refused(
                format!("{op} has no strength in percentiles"),
                "give a number, or 0.5n for shift",
            ));
        }
        _ => {}
    }
    let place: crate::steer::Place = edit.on.parse().map_err(|e| said(format!("`{}` is no place: {e}", edit.on)))?;
    let vector = app.library.at(&edit.vector, site)?;
    let amount = app.calibration.amount(&app.worker, strength.amount, &edit.vector, &vector)?;
    let positions: Positions = place.of("the conversation", encoded)?;
    let along =
        Along::new(site, &vector.unit, Rewrite::Shift(0.0), Positions::All)?.and(op.rewrite(amount)?, positions)?;
    let found = Resolved {
        asked: edit.clone(),
        file: app.typed_vector(&edit.vector)?,
        site,
        op,
        on: place.to_string(),
        amount,
    };
    Ok((along.into(), found))
}
