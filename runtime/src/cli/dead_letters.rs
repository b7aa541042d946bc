//! The arguments of `spinredis dead-letters`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

/// `spinredis dead-letters`.
#[derive(Args, Debug)]
pub struct DeadLettersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DeadLettersCommand,
}

/// What to do with dead letters.
#[derive(Subcommand, Debug)]
pub enum DeadLettersCommand {
    /// Show which messages failed, the newest first.
    List(ListArgs),
    /// Show one message with its payload.
    Show(ShowArgs),
    /// Have messages handled again, by the component that failed; nothing is published.
    Redrive(RedriveArgs),
    /// Remove messages for good.
    Purge(PurgeArgs),
}

/// Whose dead letters. In a pod of the app no argument is needed.
#[derive(Args, Debug)]
pub struct WhoseArgs {
    /// The app's manifest; ConfigMaps and Secrets in the same file are used for its references. In a pod its own.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Only those of this component.
    #[arg(short, long, value_name = "ID")]
    pub component: Option<String>,
    /// Use another Redis than the manifest names: redis://HOST:PORT. A password goes to --ref, never here.
    #[arg(long, value_name = "URL")]
    pub address: Option<String>,
    /// Folder of referenced Secrets and ConfigMap keys: KIND/NAME/KEY.
    #[arg(long, value_name = "DIR")]
    pub refs: Option<PathBuf>,
    /// A referenced value, from a file or an environment variable: KIND/NAME/KEY=@FILE or KIND/NAME/KEY=env:VAR; may be repeated.
    // Read as text here and parsed by the command: an error of the parser would repeat what may be a secret.
    #[arg(long = "ref", value_name = "REF")]
    pub references: Vec<String>,
}

/// `spinredis dead-letters list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Whose.
    #[command(flatten)]
    pub whose: WhoseArgs,
    /// How many to show.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub limit: usize,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `spinredis dead-letters show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Whose.
    #[command(flatten)]
    pub whose: WhoseArgs,
    /// The message, as `list` calls it.
    #[arg(value_name = "ID", value_parser = entry_id)]
    pub id: String,
    /// Write the bytes of the payload to stdout and nothing else.
    #[arg(long)]
    pub raw: bool,
}

/// `spinredis dead-letters redrive`.
#[derive(Args, Debug)]
pub struct RedriveArgs {
    /// Whose.
    #[command(flatten)]
    pub whose: WhoseArgs,
    /// Which.
    #[command(flatten)]
    pub which: RedriveWhich,
    /// Only say what would be done.
    #[arg(long)]
    pub dry_run: bool,
}

/// Which messages to have handled again.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct RedriveWhich {
    /// Messages, as `list` calls them.
    #[arg(value_name = "ID", value_parser = entry_id)]
    pub ids: Vec<String>,
    /// All there are now.
    #[arg(long)]
    pub all: bool,
}

/// `spinredis dead-letters purge`.
#[derive(Args, Debug)]
pub struct PurgeArgs {
    /// Whose.
    #[command(flatten)]
    pub whose: WhoseArgs,
    /// Which.
    #[command(flatten)]
    pub which: PurgeWhich,
    /// Only say what would be done.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Yes, remove them.
    #[arg(long)]
    pub yes: bool,
}

/// Which messages to remove.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct PurgeWhich {
    /// Messages, as `list` calls them.
    #[arg(value_name = "ID", value_parser = entry_id)]
    pub ids: Vec<String>,
    /// All there are now.
    #[arg(long)]
    pub all: bool,
    /// Those that failed longer ago than this: 12h, 7d.
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub older_than: Option<Duration>,
}

/// The id of a stream's entry: two numbers.
fn entry_id(text: &str) -> Result<String, String> {
    match text.split_once('-').map(|(ms, number)| (ms.parse::<u64>(), number.parse::<u64>())) {
        Some((Ok(ms), Ok(number))) => Ok(format!("{ms}-{number}")),
        _ => Err("write it as `spinredis dead-letters list` does, for example 1700000000000-0".to_owned()),
    }
}

/// A duration as everywhere, or whole days.
fn age(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').map(str::parse::<u16>) {
        Some(Ok(days)) => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        _ => spinredis_crds::duration::parse(text).map_err(|error| format!("{error}; or whole days, such as 7d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_duration_or_whole_days() {
        assert_eq!(age("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(age("1h30m"), Ok(Duration::from_secs(5_400)));
        assert!(["", "d", "1w", "-1d", "1.5d"].into_iter().all(|text| age(text).is_err()));
    }

    #[test]
    fn an_id_is_two_numbers() {
        assert_eq!(entry_id("1700000000000-0"), Ok("1700000000000-0".to_owned()));
        assert!(["", "1", "-", "1-", "+", "1-0-0", "$"].into_iter().all(|text| entry_id(text).is_err()));
    }
}
