//! A trigger's address as a SpinRedisApp may hold it: without user and password, and without variables.

use spinredis_crds::address::RedisAddress;

use super::{
    Refusal,
    model::App,
    read::Text,
    templates::{self, is_template},
};

/// Key of the Secret that an address goes to.
pub(super) const KEY: &str = "redis-address";

/// Where an app's messages come from. Two triggers belong to one app when these are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// Written into the manifest; the template it was made from, if any.
    Plain { address: String, template: Option<String> },
    /// To be put into a Secret. `identity` is what the manifest says and is never shown: it may hold a password.
    Secret { identity: String, why: &'static str },
}

/// Reads an address, or says why it cannot be used.
pub(super) fn read(app: &App, text: &Text, refusals: &mut Vec<Refusal>) -> Option<Address> {
    let mut refuse = |message: String| refusals.push(Refusal::new(text.line, message));
    let mut address = text.value.clone();
    let mut template = None;
    if is_template(&text.value) {
        if let Err(wrong) = templates::names(&text.value) {
            refuse(format!("the address {wrong}"));
            return None;
        }
        let plain_default = |name: &str| {
            let variable = app.variables.iter().find(|variable| variable.name.value == name && !variable.secret)?;
            variable.default.clone().filter(|default| !is_template(default))
        };
        match templates::resolve(&text.value, plain_default) {
            Ok(resolved) => (address, template) = (resolved, Some(text.value.clone())),
            Err(name) if app.variables.iter().any(|variable| variable.name.value == name) => {
                let why = "The Spin manifest makes the address of variables without a value: put the finished address into the Secret.";
                return Some(Address::Secret { identity: text.value.clone(), why });
            }
            Err(name) => {
                refuse(format!("the address names the variable `{name}`, which [variables] does not have: add it there"));
                return None;
            }
        }
    }
    match RedisAddress::parse(&address) {
        Ok(parsed) if parsed.username.is_some() || parsed.password.is_some() || address.contains('@') => {
            let why = "The Spin manifest has a user or password in the address. It is not repeated here: put that address into the Secret.";
            Some(Address::Secret { identity: address, why })
        }
        Ok(_) => Some(Address::Plain { address: address.trim().to_owned(), template }),
        Err(error) => {
            refuse(error.to_string());
            None
        }
    }
}
