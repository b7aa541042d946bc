//! What `group.lua` does, in Rust: the server of the simulation. `tests/script/main.rs` runs the same calls through this and through the
//! real script, so that neither drifts from the other.

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest, Sha1};

/// A call of the script, as its `ARGV` has it.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: String,
    pub id: String,
    pub signing_key: String,
    pub expiry: i64,
    pub set: String,
    pub report: String,
    pub birth: String,
    pub epoch: u64,
    pub set_text: String,
    pub known: String,
}

/// A replica as the hash knows it.
#[derive(Clone, Debug)]
pub struct Record {
    pub beat: i64,
    pub state: &'static str,
    pub set: String,
    pub expiry: i64,
    pub report: String,
}

/// The hash of a group.
#[derive(Clone, Debug, Default)]
pub struct Hash {
    pub birth: String,
    pub last: Option<i64>,
    pub epoch: u64,
    pub list: Vec<(String, String)>,
    pub records: BTreeMap<String, Record>,
    pub sets: BTreeMap<String, String>,
    /// What each has in hand of the messages that are tried after a crash.
    pub trying: BTreeMap<String, String>,
    /// Who was told to be dead, and when.
    pub dead: BTreeMap<String, i64>,
}

/// What one call says and does.
#[derive(Debug)]
pub struct Outcome {
    pub reply: String,
    pub published: Option<String>,
}

/// A server's one group.
#[derive(Clone, Debug, Default)]
pub struct ScriptModel {
    pub hash: Option<Hash>,
}

impl ScriptModel {
    /// What a replica writes itself before it begins such a message. In a group that is forgotten it does not last.
    pub fn tell_trials(&mut self, id: &str, trying: &str) {
        if let Some(hash) = &mut self.hash {
            hash.trying.insert(id.to_owned(), trying.to_owned());
        }
    }

    /// Runs the script at this time, in milliseconds, on the server of this run id.
    pub fn call(&mut self, now: i64, run: &str, call: &Call) -> Outcome {
        if self.hash.as_ref().is_none_or(|hash| hash.birth.split('-').next() != Some(run)) {
            let epoch = u64::try_from(now).unwrap_or_default();
            self.hash = Some(Hash { birth: format!("{run}-{now}000"), epoch, ..Hash::default() });
        }
        let hash = self.hash.get_or_insert_default();
        let mut stillness = now - hash.last.unwrap_or(now);
        if (0..=call.expiry / 2).contains(&stillness) {
            stillness = 0;
        }
        hash.records.values_mut().for_each(|record| record.beat += stillness);
        hash.dead.retain(|_, at| (0..=call.expiry * 20).contains(&(now - *at)));
        let mut last = hash.epoch.max(call.epoch);
        let mut departed = Vec::new();
        let was_known = hash.records.get(&call.id).is_some_and(|record| record.state != "lost");
        let status = Self::operate(hash, now, call, &mut departed);
        let returned = call.operation == "return" && !was_known && status == "known";
        for (id, record) in std::mem::take(&mut hash.records) {
            if now - record.beat > record.expiry {
                let trying = hash.trying.get(&id).map_or("-", String::as_str);
                departed.push(format!("departed {id} died {} {trying}", record.report));
                hash.dead.insert(id, now);
            } else {
                hash.records.insert(id, record);
            }
        }
        let records = &hash.records;
        hash.trying.retain(|id, _| records.contains_key(id));
        let members = hash.records.iter().filter(|(_, record)| record.state == "in");
        let list: Vec<(String, String)> = members.map(|(id, record)| (id.clone(), record.set.clone())).collect();
        let published = (list != hash.list || !departed.is_empty() || returned).then(|| {
            last += 1;
            let mut used: BTreeSet<&String> = hash.records.values().map(|record| &record.set).collect();
            used.extend(hash.list.iter().map(|(_, set)| set));
            let mut lines = vec![format!("epoch {last}")];
            lines.extend(list.iter().map(|(id, set)| format!("member {id} {set}")));
            lines.extend(hash.list.iter().map(|(id, set)| format!("before {id} {set}")));
            if returned {
                lines.push(format!("before {} {}", call.id, call.set));
                used.insert(&call.set);
            }
            lines.append(&mut departed);
            if used.len() > 1 {
                let told = hash.sets.iter().filter(|(set, _)| used.contains(set));
                lines.extend(told.map(|(set, text)| format!("set {set} {text}")));
            }
            let used: BTreeSet<String> = used.into_iter().cloned().collect();
            hash.sets.retain(|set, _| used.contains(set));
            let body = lines.join("\n") + "\n";
            format!("{}\n{body}", sha1(&format!("{}{body}", call.signing_key)))
        });
        hash.list = list;
        (hash.epoch, hash.last) = (last, Some(now));
        let mut reply = format!("{status} {} {last}\n", hash.birth);
        for (id, record) in &hash.records {
            reply += &format!("{id} {} {} {}\n", record.state, now - record.beat, record.report);
        }
        Outcome { reply, published }
    }

    fn operate(hash: &mut Hash, now: i64, call: &Call, departed: &mut Vec<String>) -> &'static str {
        let fresh = |state| Record { beat: now, state, set: call.set.clone(), expiry: call.expiry, report: call.report.clone() };
        let operation = call.operation.as_str();
        let known = hash.records.get(&call.id).map(|record| record.state);
        let mut mine = match known {
            Some(state) if state != "lost" => hash.records.remove(&call.id).unwrap_or_else(|| fresh(state)),
            _ if hash.dead.contains_key(&call.id) => return "unknown",
            _ => {
                let mine = match operation {
                    "join" => fresh("in"),
                    _ if call.birth != hash.birth => return "reborn",
                    "return" => fresh("out"),
                    _ if known.is_some() => return "reborn",
                    _ => return "unknown",
                };
                let words: Vec<&str> = call.known.split_whitespace().collect();
                for other in words.chunks_exact(2).filter(|other| !hash.dead.contains_key(other[0])) {
                    let lost = Record { report: other[1].to_owned(), ..fresh("lost") };
                    hash.records.entry(other[0].to_owned()).or_insert(lost);
                }
                mine
            }
        };
        if matches!(operation, "final" | "gave") {
            departed.push(format!("departed {} {operation} {}", call.id, call.report));
            return "known";
        }
        if operation == "join" && !call.set_text.is_empty() {
            hash.sets.entry(call.set.clone()).or_insert_with(|| call.set_text.clone());
        }
        if operation == "cut" && mine.state != "cut" {
            mine.state = "cut";
            departed.push(format!("departed {} cut {}", call.id, call.report));
        } else if operation == "leave" && mine.state == "in" {
            mine.state = "out";
        }
        (mine.beat, mine.expiry, mine.report) = (now, call.expiry, call.report.clone());
        hash.records.insert(call.id.clone(), mine);
        "known"
    }
}

fn sha1(text: &str) -> String {
    Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
