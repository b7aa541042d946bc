//! Variables: Spin's interface in all its versions, and `wasi:config`.

mod spin_1;
mod spin_2;
mod spin_3;
mod wasi_config;

use spinredis_crds::template;

use super::HostView;

pub use wasi_config::add_drafts_to_linker;

/// Why a variable has no value; the union of what the interfaces can say.
#[derive(Debug, thiserror::Error)]
enum VariableError {
    /// Not a name that a variable can have.
    #[error("{0:?} is not a name of a variable: it has lower-case letters, digits and single underscores")]
    InvalidName(String),
    /// No such variable.
    #[error("the component has no variable {0:?}")]
    Undefined(String),
    /// The values cannot be read.
    #[error("{0}")]
    Provider(String),
}

impl HostView<'_> {
    /// The value of a variable.
    fn variable(&self, name: &str) -> Result<String, VariableError> {
        if !template::is_name(name) {
            return Err(VariableError::InvalidName(name.to_owned()));
        }
        let settings = self.host.settings().map_err(|error| VariableError::Provider(error.to_string()))?;
        settings.variables.get(name).cloned().ok_or_else(|| VariableError::Undefined(name.to_owned()))
    }
}
