//! The commands of one consumer of one group of a stream: what the reader of redriven entries asks of Redis.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{Pipeline, Value, cmd, pipe};

use super::{
    link::{Link, LinkError},
    place::Place,
    reply::{self, NotEntries, Record},
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum GroupError {
    /// Redis cannot be reached, or refuses.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Redis answers with something else.
    #[error(transparent)]
    NotEntries(#[from] NotEntries),
}

/// A pod among the pods of a component.
pub(super) struct Group {
    link: Arc<Link>,
    /// Key of the stream.
    pub(super) stream: String,
    name: String,
    consumer: String,
}

impl Group {
    /// The group of the component whose place this is, as this consumer.
    pub(super) fn new(place: &Place, consumer: &str) -> Self {
        Self {
            link: place.link.clone(),
            stream: place.redrive_stream(),
            name: format!("{}/{}", place.app, place.component),
            consumer: consumer.to_owned(),
        }
    }

    /// Makes the group, and the stream, unless they are there. It begins with the oldest entry.
    pub(super) async fn create(&self) -> Result<(), LinkError> {
        let mut command = cmd("XGROUP");
        command.arg("CREATE").arg(&self.stream).arg(&self.name).arg("0").arg("MKSTREAM");
        match self.link.query::<Value>(&command).await {
            Err(LinkError::Redis(error)) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => other.map(drop),
        }
    }

    /// Acknowledges entries: those that are settled, which it deletes, and those that are passed over, which stay for others.
    /// In one transaction: an entry that was only deleted would stay pending in older versions of Redis.
    pub(super) async fn acknowledge(&self, settled: &[String], passed_over: &[String]) -> Result<(), LinkError> {
        let mut commands: Pipeline = pipe();
        commands.atomic();
        for ids in [settled, passed_over].into_iter().filter(|ids| !ids.is_empty()) {
            commands.cmd("XACK").arg(&self.stream).arg(&self.name).arg(ids);
        }
        if !settled.is_empty() {
            commands.cmd("XDEL").arg(&self.stream).arg(settled);
        }
        if commands.is_empty() {
            return Ok(());
        }
        for answer in self.link.each(&mut commands).await? {
            answer?;
        }
        Ok(())
    }

    /// Sets the time back for which nobody has spoken of these entries.
    pub(super) async fn refresh(&self, ids: impl ExactSizeIterator<Item = &String>) -> Result<(), LinkError> {
        if ids.len() == 0 {
            return Ok(());
        }
        let mut command = cmd("XCLAIM");
        command.arg(&self.stream).arg(&self.name).arg(&self.consumer).arg(0);
        for id in ids {
            command.arg(id);
        }
        self.link.query::<Value>(command.arg("JUSTID")).await.map(drop)
    }

    /// The next entries after one that was given to this consumer before; after `>` those that nobody was given.
    pub(super) async fn read(&self, after: &str, count: usize) -> Result<Vec<Record>, GroupError> {
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.name).arg(&self.consumer).arg("COUNT").arg(count);
        command.arg("STREAMS").arg(&self.stream).arg(after);
        Ok(reply::read(self.link.query(&command).await?)?)
    }

    /// How often each of these entries of this consumer was handed out, from the first to the last of them in the stream's order.
    pub(super) async fn deliveries(&self, first: &str, last: &str, count: usize) -> Result<HashMap<String, u64>, GroupError> {
        let mut command = cmd("XPENDING");
        command.arg(&self.stream).arg(&self.name).arg(first).arg(last).arg(count).arg(&self.consumer);
        Ok(reply::deliveries(self.link.query(&command).await?)?)
    }

    /// Takes over entries that nobody has spoken of for so long, and says where to go on; none when Redis is older than 6.2 and
    /// cannot do that.
    pub(super) async fn claim(&self, idle: Duration, from: &str, count: usize) -> Result<Option<(String, Vec<Record>)>, GroupError> {
        let mut command = cmd("XAUTOCLAIM");
        command.arg(&self.stream).arg(&self.name).arg(&self.consumer).arg(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        command.arg(from).arg("COUNT").arg(count);
        match self.link.query(&command).await {
            Err(LinkError::Redis(error)) if error.to_string().contains("unknown command") => Ok(None),
            other => Ok(Some(reply::claimed(other?)?)),
        }
    }

    /// Takes this consumer off the group unless entries are still pending for it: those would be forgotten with it.
    pub(super) async fn leave(&self) {
        let mut pending = cmd("XPENDING");
        pending.arg(&self.stream).arg(&self.name).arg("-").arg("+").arg(1).arg(&self.consumer);
        if let Ok(Value::Array(entries)) = self.link.query(&pending).await
            && entries.is_empty()
        {
            let mut delete = cmd("XGROUP");
            delete.arg("DELCONSUMER").arg(&self.stream).arg(&self.name).arg(&self.consumer);
            // Only tidiness: a consumer without entries harms nobody.
            let _ = self.link.query::<Value>(&delete).await;
        }
    }
}
