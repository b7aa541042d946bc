//! Prints the CustomResourceDefinition as YAML: `make crds` writes it to `crds/spinredisapps.yaml` and into the chart.
#![forbid(unsafe_code)]

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::io::stdout().write_all(spinredis_crds::crd::yaml()?.as_bytes())?;
    Ok(())
}
