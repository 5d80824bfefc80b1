//! The page: a model that is talked to, pushed and watched in a browser, with the results of runs beside it.
//!
//! What a page asks is answered by modules that know nothing of HTTP, `http` carries it. One worker has the model.

pub mod app;
pub mod asks;
pub mod calibration;
pub mod cards;
pub mod http;
pub mod library;
pub mod marks;
pub mod problem;
pub mod reply;
pub mod runs;
pub mod space;
pub mod worker;

pub use app::{App, Setup};
pub use asks::Asks;
pub use problem::Problem;
pub use worker::Worker;
