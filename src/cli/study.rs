//! placeholder until the experiments land
use crate::error::{Error, Result};
#[derive(clap::Args)]
pub struct DemoArgs {}
#[derive(clap::Args)]
pub struct RunArgs {}
#[derive(clap::Args)]
pub struct CheckArgs {}
pub fn demo(_: DemoArgs) -> Result<bool> {
    Err(Error::refused("not yet", ""))
}
pub fn run(_: RunArgs) -> Result<bool> {
    Err(Error::refused("not yet", ""))
}
pub fn check(_: CheckArgs) -> Result<bool> {
    Err(Error::refused("not yet", ""))
}
