//! What a page may ask, in one place: the model with its worker, vectors, results and persona space.

use super::Problem;
use super::calibration::{Band, Calibration};
use super::cards::{self, CardInfo};
use super::library::{Library, Save, VectorInfo};
use super::marks::{self, Marks};
use super::reply::{self, Ask, Measure, Measured, Stream};
use super::runs::{RunInfo, Runs, TableAsk, TablePage};
use super::space::{self, PathAsk, PathPage, Progress, RolePage, Space, SpacePage};
use super::worker::Worker;
use crate::axes::{Point, Site};
use crate::error::Result;
use crate::model::Model;
use crate::text::Message;
use crate::vectors::Vector;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Results are looked for here, and vectors saved.
    pub folder: PathBuf,
    pub vectors: Vec<PathBuf>,
    pub cards: Vec<PathBuf>,
    /// Prompts of roles for persona space.
    pub roles: Option<PathBuf>,
    pub threads: usize,
    pub typed: Typed,
}

/// The options that name the model, as they were typed, for command lines; each with a blank before it.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    /// Of the base, or of all there is where an adapter is merged.
    pub model: String,
    /// Of each adapter, in the order of the model's.
    pub adapters: Vec<String>,
}

impl Typed {
    /// The options for a base, or for it through one of the adapters.
    pub fn options(&self, adapter: Option<usize>) -> String {
        let own = adapter.and_then(|a| self.adapters.get(a)).map_or("", String::as_str);
        format!("{}{own}", self.model)
    }
}

/// A server without its HTTP.
pub struct App {
    pub model: Arc<Model>,
    pub worker: Worker,
    pub library: Library,
    pub runs: Runs,
    pub space: Space,
    pub calibration: Calibration,
    pub cards: Vec<CardInfo>,
    /// What may be asked of anybody.
    pub questions: Vec<String>,
    /// Sites that are read and steered.
    pub sites: Vec<Site>,
    pub typed: Typed,
    /// What is being made ready.
    stage: Mutex<Option<(String, usize, usize)>>,
}

/// The id of a vector, and its unit vectors by site.
pub type Group = (String, Arc<Vec<Vector>>);

impl App {
    /// Opens what lies beside the model, and begins to measure the default assistant and persona space.
    ///
    /// # Errors
    /// Cards or roles that cannot be read.
    pub fn open(model: Model, setup: Setup) -> Result<Arc<App>> {
        let model = Arc::new(model);
        let dims = model.lm.dims();
        let mut sites = vec![Site::new(Point::ResidPre, 0)];
        sites.extend((0..dims.n_layers).map(|l| Site::new(Point::ResidPost, l)));
        sites.retain(|s| model.lm.has(*s));
        let (library, _) = Library::open(&model, &setup.vectors, &setup.folder);
        let runs = Runs::open(&setup.folder, &model.hash);
        let cards = cards::all(&model, &setup.cards)?;
        let questions = cards::questions(&model);
        let space = Space::new(&model, &cards, &questions, setup.roles.as_deref())?;
        let worker = Worker::start(model.clone(), setup.threads);
        let (calibration, typed, stage) = (Calibration::default(), setup.typed, Mutex::default());
        let app = App { model, worker, library, runs, space, calibration, cards, questions, sites, typed, stage };
        let app = Arc::new(app);
        let ready = app.clone();
        std::thread::spawn(move || ready.prepare());
        Ok(app)
    }

    /// In the background: the default assistant first, for every colour needs it.
    fn prepare(&self) {
        self.at(Some(("measuring the default assistant".into(), 0, 0)));
        // What fails here is told to whoever asks for it.
        let _ = self.calibration.prepare(&self.worker, &cards::plain(&self.model), &self.sites);
        let tell = |stage: &str, done: usize, of: usize| {
            self.at(Some((format!("persona space: {stage}"), done, of)));
        };
        let share = |vectors| self.library.put(space::SOURCE, vectors);
        let _ = self.space.compute(&self.worker, &self.sites, &tell, &share);
        self.at(None);
    }

    fn at(&self, stage: Option<(String, usize, usize)>) {
        *self.stage.lock().unwrap_or_else(|e| e.into_inner()) = stage;
    }

    /// Where things can be read and steered, in words.
    pub fn sites_in_words(&self) -> String {
        Site::describe_all(self.model.lm.dims().n_layers, &[Point::ResidPre, Point::ResidPost])
    }

    /// What the model is, and what there is to choose from.
    pub fn about(&self) -> Value {
        let (model, dims) = (&self.model, self.model.lm.dims());
        let vectors = self.library.list();
        // What most questions are about; until it is computed, whatever is there.
        let first = vectors.iter().find(|v| v.id == space::AXIS).or(vectors.first());
        let mut warnings = [self.library.warnings(), self.runs.warnings(), model.warnings.clone()].concat();
        warnings.extend(model.text.system_note());
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "model": { "name": model.name, "hash": model.hash, "d_model": dims.d_model, "n_layers": dims.n_layers,
                "n_ctx": dims.n_ctx, "template": model.text.has_template() },
            "sites": self.sites,
            "adapters": model.adapters.iter().map(|a| &a.name).collect::<Vec<_>>(),
            "questions": self.questions,
            "speakers": cards::speakers(model),
            "cards": self.cards,
            "defaults": { "temperature": 1, "top_p": 1, "max_new_tokens": 64.min(dims.n_ctx / 2),
                "vector": first.map(|v| &v.id), "site": first.map(|v| v.site) },
            "limits": { "max_new_tokens": dims.n_ctx, "arms": reply::ask::ARMS, "read": reply::ask::READ,
                "messages": reply::ask::MESSAGES },
            "warnings": warnings,
        })
    }

    /// What is under way.
    pub fn status(&self) -> Value {
        let (active, queued) = self.worker.busy();
        let stage = self.stage.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let (stage, done, of) = stage.map_or((None, 0, 0), |(s, d, o)| (Some(s), d, o));
        json!({ "active": active, "queued": queued, "stage": stage, "done": done, "of": of })
    }

    /// Groups of vectors by their ids.
    ///
    /// # Errors
    /// An id that none has.
    pub fn groups(&self, ids: &[String]) -> Result<Vec<Group>, Problem> {
        ids.iter().map(|id| Ok((id.clone(), self.library.group(id)?))).collect()
    }

    /// A vector as the command line takes it; one that no file has as it will be when it is saved.
    ///
    /// # Errors
    /// An unknown vector.
    pub fn typed_vector(&self, id: &str) -> Result<String, Problem> {
        self.library.info(id)?;
        Ok(self.library.file(id))
    }

    pub fn vectors(&self) -> Vec<VectorInfo> {
        self.library.list()
    }

    /// The default assistant on a vector; nothing while it is measured. May take a pass.
    ///
    /// # Errors
    /// An unknown vector; a default assistant that could not be measured.
    pub fn default_band(&self, id: &str) -> Result<Option<Arc<Band>>, Problem> {
        let group = self.library.group(id)?;
        self.calibration.band(&self.worker, id, &group)
    }

    /// Begins to answer; may wait for a band.
    ///
    /// # Errors
    /// As [`reply::reply`].
    pub fn reply(self: &Arc<Self>, ask: Ask) -> Result<Stream, Problem> {
        reply::reply(self, &ask)
    }

    /// Reads a conversation; takes a pass.
    ///
    /// # Errors
    /// As [`Measure::take`].
    pub fn measure(&self, ask: Measure) -> Result<Measured, Problem> {
        ask.take(self)
    }

    /// A card from its text.
    ///
    /// # Errors
    /// Text that is none.
    pub fn card(&self, toml: &str) -> Result<CardInfo, Problem> {
        cards::parse("the card", toml)
    }

    /// A conversation as `capture --prompts` reads it.
    ///
    /// # Errors
    /// What is no conversation.
    pub fn export(&self, id: &str, messages: &[Message]) -> Result<String, Problem> {
        reply::ask::check_messages(messages)?;
        if id.is_empty() || id.len() > 200 {
            return Err(Problem::refused("the conversation has no name", "name it with 1 to 200 characters"));
        }
        Ok(format!("{}\n", json!({ "id": id, "messages": messages })))
    }

    /// Persona space at a site, or how far it is.
    ///
    /// # Errors
    /// A site that it was not computed at; why there is none.
    pub fn space(&self, site: Option<&str>) -> Result<Result<SpacePage, Progress>, Problem> {
        self.space.page(site)
    }

    /// A role, through an adapter or none.
    ///
    /// # Errors
    /// A role that is not there.
    pub fn role(&self, name: &str, adapter: Option<&str>) -> Result<RolePage, Problem> {
        self.space.role(name, adapter)
    }

    /// A conversation as a path through persona space; takes a pass.
    ///
    /// # Errors
    /// As [`Space::path`].
    pub fn path(&self, ask: &PathAsk) -> Result<PathPage, Problem> {
        reply::ask::check_messages(&ask.messages)?;
        self.space.path(&self.worker, ask)
    }

    /// Saves a vector.
    ///
    /// # Errors
    /// As [`Library::save`].
    pub fn save(&self, ask: &Save) -> Result<VectorInfo, Problem> {
        self.library.save(ask, &self.space)
    }

    /// What the last comparison of fine-tunes said.
    ///
    /// # Errors
    /// Tables that cannot be read.
    pub fn marks(&self) -> Result<Marks, Problem> {
        marks::marks(&self.runs, &self.model.hash, &self.model.adapters)
    }

    pub fn runs(&self) -> Vec<RunInfo> {
        self.runs.list()
    }

    /// A page of a table.
    ///
    /// # Errors
    /// As [`Runs::table`].
    pub fn table(&self, run: &str, table: &str, ask: &TableAsk) -> Result<TablePage, Problem> {
        self.runs.table(run, table, ask)
    }

    /// A file that may be downloaded, and its media type.
    ///
    /// # Errors
    /// As [`Runs::file`].
    pub fn file(&self, run: &str, name: &str) -> Result<(PathBuf, &'static str), Problem> {
        self.runs.file(run, name)
    }

    /// The file of a figure.
    ///
    /// # Errors
    /// As [`Runs::figure`].
    pub fn figure(&self, run: &str, name: &str) -> Result<PathBuf, Problem> {
        self.runs.figure(run, name)
    }

    /// Looks for results and vectors anew: how many runs and vectors there are.
    pub fn rescan(&self) -> Value {
        let runs = self.runs.rescan();
        json!({ "runs": runs, "vectors": self.library.rescan() })
    }

    /// Ends all work at once.
    pub fn stop(&self) {
        self.worker.stop();
    }
}
