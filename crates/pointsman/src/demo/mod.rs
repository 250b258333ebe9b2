//! `pointsman demo`.

use anyhow::Result;

use crate::cli::DemoArguments;

pub(crate) fn demo(_: &DemoArguments) -> Result<()> {
    anyhow::bail!("not yet")
}
