//! Interventions: what is rewritten, where, and how.

mod along;
mod patch;
mod positions;
mod rewrite;

pub use along::{Along, Line};
pub use patch::{Donor, Patch};
pub use positions::Positions;
pub use rewrite::Rewrite;

use super::pass::{Edit, How};
use super::rows::Example;
use crate::axes::Site;

/// Any intervention that a plan of work can hold.
#[derive(Clone, Debug)]
pub enum Intervention {
    Along(Along),
    Patch(Patch),
}

impl Intervention {
    /// The site it rewrites.
    pub fn site(&self) -> Site {
        match self {
            Intervention::Along(a) => a.site(),
            Intervention::Patch(p) => p.site(),
        }
    }

    /// A digest of everything that decides its effect, for the address of a unit of work.
    pub fn digest(&self) -> &str {
        match self {
            Intervention::Along(a) => a.digest(),
            Intervention::Patch(p) => p.digest(),
        }
    }

    fn edit(&self) -> &dyn Edit {
        match self {
            Intervention::Along(a) => a,
            Intervention::Patch(p) => p,
        }
    }
}

impl From<Along> for Intervention {
    fn from(along: Along) -> Intervention {
        Intervention::Along(along)
    }
}

impl From<Patch> for Intervention {
    fn from(patch: Patch) -> Intervention {
        Intervention::Patch(patch)
    }
}

impl Edit for Intervention {
    fn wants(&self, site: Site) -> bool {
        self.edit().wants(site)
    }

    fn covers(&self, example: &Example, pos: usize) -> bool {
        self.edit().covers(example, pos)
    }

    fn first(&self, prompt_len: usize) -> usize {
        self.edit().first(prompt_len)
    }

    fn how(&self) -> How<'_> {
        self.edit().how()
    }
}
