//! What a page is told when something cannot be done.

use crate::error::Error;

/// A refusal, or a failure, with the status that HTTP has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub what: String,
    /// What to do next.
    pub hint: String,
}

impl Problem {
    /// A request that is none: a path out of its folder, a name that cannot be one.
    pub fn bad(what: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { status: 400, what: what.into(), hint: hint.into() }
    }

    /// Something that is well said and cannot be done.
    pub fn refused(what: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { status: 422, what: what.into(), hint: hint.into() }
    }

    /// Something that is not there.
    pub fn missing(what: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { status: 404, what: what.into(), hint: hint.into() }
    }
}

impl From<Error> for Problem {
    fn from(e: Error) -> Problem {
        let status = if matches!(e, Error::Io { .. } | Error::Tensor(_)) { 500 } else { 422 };
        Problem { status, what: e.to_string(), hint: e.hint() }
    }
}
