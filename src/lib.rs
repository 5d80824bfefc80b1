//! personascope: a workbench for the space of personas inside a language model.
//!
//! Modules are declared in reading order; a module uses those before it, never those after it.

pub mod error;

pub mod axes;
pub mod rng;
pub mod shell;
pub mod table;

pub mod csv;

pub mod acts;
pub mod direction;
pub mod moments;

pub mod shipped;
pub mod text;

pub mod persona;

pub mod world;

pub mod model;

pub mod capture;
pub mod unit;

pub mod store;

pub mod vectors;

pub mod score;

pub mod record;

pub mod analysis;

pub mod figures;

pub mod steer;

pub mod talk;

pub mod train;

pub mod experiment;

#[cfg(feature = "serve")]
pub mod serve;

pub mod cli;
