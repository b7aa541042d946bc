//! The text of the protocol: what the script publishes and answers, and what replicas tell it of themselves. Plain words and
//! numbers between spaces, one line for each thing, so that a person with `redis-cli` can read it.
//!
//! Whatever does not read is refused as a whole: a marker that is half understood would be worse than none.

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest, Sha1};

use crate::{Id, share::Subscriptions};

/// A message of the group, told from all others: where it came in the one order.
///
/// Positions are counted from the marker of the epoch, for each [class](crate::epoch::Class) of subscriptions by itself: replicas with
/// other subscriptions see other messages, but those of a class all who have it see alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The epoch it was received in.
    pub epoch: u64,
    /// The sets of subscriptions that it is in, one bit for each.
    pub class: u64,
    /// Which of its class since the marker: 1, 2, 3 …
    pub position: u64,
}

/// Positions by class.
pub type Positions = BTreeMap<u64, u64>;

/// The last marker seen by one that has left: what comes later is none of its business. As text, `*`.
pub const SEEN_ALL: u64 = u64::MAX;

/// Of a class in an epoch: everything that is owned up to a position is finished, but for a few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The position.
    pub up_to: u64,
    /// Those that are not, in their order.
    pub except: Vec<u64>,
}

/// Messages that were taken over and are not finished. All others are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replays {
    /// The first of them, in the order of their places.
    pub unfinished: BTreeSet<Place>,
    /// From this one on nothing more is told.
    pub from: Option<Place>,
}

impl Replays {
    /// The oldest epoch of which one is not finished.
    pub fn oldest(&self) -> Option<u64> {
        self.unfinished.first().or(self.from.as_ref()).map(|place| place.epoch)
    }

    fn has_finished(&self, place: Place) -> bool {
        !self.unfinished.contains(&place) && self.from.is_none_or(|from| place < from)
    }

    fn text(&self) -> String {
        let from = self.from.map_or_else(String::new, |from| format!("+{}", place_text(from)));
        format!("{}{from}", places_text(&self.unfinished))
    }

    fn parse(text: &str) -> Option<Self> {
        let (unfinished, from) = text.split_once('+').map_or((text, None), |(unfinished, from)| (unfinished, Some(from)));
        let from = match from {
            Some(from) => Some(parse_place(from)?),
            None => None,
        };
        Some(Self { unfinished: parse_places(unfinished)?, from })
    }
}

/// What a replica tells of itself with each beat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything it owned in earlier epochs is finished.
    pub epoch: u64,
    /// Of that epoch everything it owned is finished up to these positions.
    pub finished: Positions,
    /// What is finished behind messages that are not, by epoch and class: one slow message must not make all later ones be done twice when
    /// its replica dies.
    pub beyond: BTreeMap<(u64, u64), Done>,
    /// What it has not finished of what it took over from others.
    pub replays: Replays,
    /// The last marker it has seen, or [`SEEN_ALL`].
    pub seen_epoch: u64,
    /// Messages it has received since.
    pub seen: Positions,
}

impl Report {
    /// Whether everything that was published before `epoch`, and that this replica owned or has taken over, is finished.
    pub fn is_settled_before(&self, epoch: u64) -> bool {
        self.epoch >= epoch && self.replays.oldest().is_none_or(|oldest| oldest >= epoch)
    }

    /// Whether the message at this place, which this replica took over at the marker of `at`, is finished.
    pub fn has_replayed(&self, place: Place, at: u64) -> bool {
        self.seen_epoch >= at && self.replays.has_finished(place)
    }

    /// Whether this replica, as the owner of the message at this place, has finished it.
    pub fn has_finished(&self, place: Place) -> bool {
        self.is_in_first_part(place) || self.done(place).is_some_and(|done| done.except.binary_search(&place.position).is_err())
    }

    /// Whether the report says anything of the message at this place: whether it is finished or not.
    pub(crate) fn reaches(&self, place: Place) -> bool {
        self.is_in_first_part(place) || self.done(place).is_some()
    }

    fn is_in_first_part(&self, place: Place) -> bool {
        place.epoch < self.epoch || (place.epoch == self.epoch && position(&self.finished, place.class) >= place.position)
    }

    fn done(&self, place: Place) -> Option<&Done> {
        self.beyond.get(&(place.epoch, place.class)).filter(|done| place.position <= done.up_to)
    }

    /// Whether this replica has received the message at this place.
    pub fn has_seen(&self, place: Place) -> bool {
        place.epoch < self.seen_epoch || (place.epoch == self.seen_epoch && position(&self.seen, place.class) >= place.position)
    }

    /// As one word.
    pub fn text(&self) -> String {
        let seen_epoch = if self.seen_epoch == SEEN_ALL { "*".to_owned() } else { self.seen_epoch.to_string() };
        let (finished, seen, beyond) = (positions_text(&self.finished), positions_text(&self.seen), beyond_text(&self.beyond));
        format!("{}:{finished}:{seen_epoch}:{seen}:{beyond}:{}", self.epoch, self.replays.text())
    }

    /// Reads [`text`](Self::text).
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut next = || parts.next();
        let (epoch, finished, seen_epoch, seen, beyond, replays) = (next()?, next()?, next()?, next()?, next()?, next()?);
        Some(Self {
            epoch: epoch.parse().ok()?,
            finished: parse_positions(finished)?,
            replays: Replays::parse(replays)?,
            seen_epoch: if seen_epoch == "*" { SEEN_ALL } else { seen_epoch.parse().ok()? },
            seen: parse_positions(seen)?,
            beyond: parse_beyond(beyond)?,
        })
    }
}

fn position(positions: &Positions, class: u64) -> u64 {
    positions.get(&class).copied().unwrap_or_default()
}

fn positions_text(positions: &Positions) -> String {
    let words: Vec<String> = positions.iter().map(|(class, position)| format!("{class:x}={position}")).collect();
    words.join(",")
}

fn parse_positions(text: &str) -> Option<Positions> {
    let one = |word: &str| {
        let (class, position) = word.split_once('=')?;
        Some((u64::from_str_radix(class, 16).ok()?, position.parse().ok()?))
    };
    text.split(',').filter(|word| !word.is_empty()).map(one).collect()
}

/// `<epoch>.<class>=<up to>-<except>-<except>,...`
fn beyond_text(beyond: &BTreeMap<(u64, u64), Done>) -> String {
    let word = |((epoch, class), done): (&(u64, u64), &Done)| {
        let except: String = done.except.iter().map(|position| format!("-{position}")).collect();
        format!("{epoch}.{class:x}={}{except}", done.up_to)
    };
    beyond.iter().map(word).collect::<Vec<_>>().join(",")
}

fn parse_beyond(text: &str) -> Option<BTreeMap<(u64, u64), Done>> {
    let one = |word: &str| {
        let (of, done) = word.split_once('=')?;
        let (epoch, class) = of.split_once('.')?;
        let mut positions = done.split('-').map(|position| position.parse().ok());
        let up_to = positions.next()??;
        let except = positions.collect::<Option<Vec<u64>>>()?;
        Some(((epoch.parse().ok()?, u64::from_str_radix(class, 16).ok()?), Done { up_to, except }))
    };
    text.split(',').filter(|word| !word.is_empty()).map(one).collect()
}

/// Places as one word; `-` when there are none.
pub(crate) fn places_text(places: &BTreeSet<Place>) -> String {
    let words: Vec<String> = places.iter().copied().map(place_text).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

fn place_text(place: Place) -> String {
    format!("{}.{:x}.{}", place.epoch, place.class, place.position)
}

fn parse_places(text: &str) -> Option<BTreeSet<Place>> {
    if text == "-" { Some(BTreeSet::new()) } else { text.split(',').map(parse_place).collect() }
}

fn parse_place(text: &str) -> Option<Place> {
    let mut parts = text.split('.');
    let (epoch, class, position) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Place { epoch: epoch.parse().ok()?, class: u64::from_str_radix(class, 16).ok()?, position: position.parse().ok()? })
}

/// A member as a marker names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: Id,
    /// The name of what it subscribes to.
    pub set: String,
}

/// How a member's stay ended, or began to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It did not beat for too long: others do what it has not finished.
    Died,
    /// It lost its place in the one order and goes on with what it had received; others do what it had not.
    Cut,
    /// It has finished everything it owned.
    Final,
    /// It stops and hands over what it has not finished.
    Gave,
}

impl Departure {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "died" => Self::Died,
            "cut" => Self::Cut,
            "final" => Self::Final,
            "gave" => Self::Gave,
            _ => return None,
        })
    }
}

/// A member that departed, with its last report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Its id.
    pub id: Id,
    /// How.
    pub how: Departure,
    /// What it had told of itself.
    pub report: Report,
    /// Of one that died: which of the messages that are tried after a crash it had in hand.
    pub trying: BTreeSet<Place>,
}

/// From its place in the order on, these are the members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// Counts up with each marker.
    pub epoch: u64,
    /// The members from here on, in one order for all.
    pub members: Vec<Named>,
    /// The members up to here.
    pub before: Vec<Named>,
    /// Who is no longer one of those that beat, or no longer receives.
    pub departed: Vec<Departed>,
    /// What the sets hold that members have; empty when all have the same.
    pub sets: BTreeMap<String, Subscriptions>,
}

/// Why a message on the control channel is not a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMarker {
    /// It is not signed with the group's key: a stranger's.
    #[error("it is not signed by this group")]
    Forged,
    /// It does not read.
    #[error("it is signed and does not read: another version of spinredis may have written it")]
    Malformed,
}

impl Marker {
    /// Reads a message of the control channel: 40 digits, the SHA-1 of the group's key and all that follows the line; then the
    /// marker. The script can compute SHA-1 (`redis.sha1hex`) and no better.
    pub fn parse(message: &[u8], key: &str) -> Result<Self, NoMarker> {
        let (signature, body) = message.split_at_checked(41).ok_or(NoMarker::Forged)?;
        let digest = Sha1::new().chain_update(key).chain_update(body).finalize();
        let signed = signature[40] == b'\n' && signature[..40].iter().zip(hex(&digest).bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0;
        if !signed {
            return Err(NoMarker::Forged);
        }
        std::str::from_utf8(body).ok().and_then(Self::body).ok_or(NoMarker::Malformed)
    }

    fn body(text: &str) -> Option<Self> {
        let mut marker = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let mut next = || words.next();
            match next()? {
                "epoch" => marker.epoch = next()?.parse().ok()?,
                "member" => marker.members.push(Named { id: next()?.into(), set: next()?.to_owned() }),
                "before" => marker.before.push(Named { id: next()?.into(), set: next()?.to_owned() }),
                "departed" => marker.departed.push(Departed {
                    id: next()?.into(),
                    how: Departure::parse(next()?)?,
                    // A report that does not read says that nothing was finished.
                    report: next().and_then(Report::parse).unwrap_or_default(),
                    trying: next().and_then(parse_places).unwrap_or_default(),
                }),
                "set" => {
                    marker.sets.insert(next()?.to_owned(), Subscriptions::parse(next()?)?);
                }
                // A later version may say more.
                _ => {}
            }
        }
        (marker.epoch > 0).then_some(marker)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a group knows a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    #[default]
    Known,
    /// It was removed, and what it had not finished is done by others.
    Unknown,
    /// The group has forgotten everything that was before.
    Reborn,
}

/// What the script answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Whether the group knows the one who asked.
    pub standing: Standing,
    /// The server's run id and when the group's state there began: another one after a restart, a failover or a FLUSHALL.
    pub birth: String,
    /// The epoch of the last marker.
    pub epoch: u64,
    /// All who beat, the one who asked included.
    pub records: Vec<Record>,
}

/// One replica as Redis knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: Id,
    /// Whether it owns new messages; one that leaves or was cut only finishes old ones.
    pub is_member: bool,
    /// Whether its connection has lost its place in the order.
    pub is_cut: bool,
    /// Milliseconds since its last beat.
    pub silent_ms: u64,
    /// What it last told.
    pub report: Report,
}

impl Reply {
    /// Reads an answer; `None` when it is none of the script's.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut words = lines.next()?.split(' ');
        let mut reply = Self {
            standing: match words.next()? {
                "known" => Standing::Known,
                "unknown" => Standing::Unknown,
                "reborn" => Standing::Reborn,
                _ => return None,
            },
            birth: words.next()?.to_owned(),
            epoch: words.next()?.parse().ok()?,
            records: Vec::new(),
        };
        for line in lines {
            let mut words = line.split(' ');
            let (id, state) = (words.next()?, words.next()?);
            reply.records.push(Record {
                id: id.into(),
                is_member: state == "in",
                is_cut: state == "cut",
                silent_ms: words.next()?.parse().ok()?,
                report: words.next().and_then(Report::parse).unwrap_or_default(),
            });
        }
        Some(reply)
    }

    /// The server's run id: another one after a restart or a failover.
    pub fn run(&self) -> &str {
        self.birth.split('-').next().unwrap_or_default()
    }

    /// What a replica last told.
    pub fn report(&self, id: &str) -> Option<&Report> {
        self.records.iter().find(|record| &*record.id == id).map(|record| &record.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(body: &str, key: &str) -> Vec<u8> {
        let digest = Sha1::new().chain_update(key).chain_update(body).finalize();
        format!("{}\n{body}", hex(&digest)).into_bytes()
    }

    #[test]
    fn a_report_is_read_back_and_knows_what_it_says() {
        let beyond = [((7, 0x1f), Done { up_to: 9, except: vec![3, 5] }), ((8, 3), Done { up_to: 4, except: vec![] })].into();
        let (finished, seen) = ([(1, 20), (3, 4)].into(), [(1, 2)].into());
        let at = |epoch, class, position| Place { epoch, class, position };
        let replays = Replays { unfinished: [at(6, 1, 4)].into(), from: Some(at(6, 1, 9)) };
        let report = Report { epoch: 7, finished, beyond, replays, seen_epoch: 8, seen };
        assert_eq!(report.text(), "7:1=20,3=4:8:1=2:7.1f=9-3-5,8.3=4:6.1.4+6.1.9");
        assert_eq!(Report::parse(&report.text()), Some(report.clone()));
        assert_eq!(Report::parse(&Report::default().text()), Some(Report::default()));
        let left = Report { seen_epoch: SEEN_ALL, ..Report::default() };
        assert_eq!((left.text().as_str(), Report::parse(&left.text())), ("0::*:::-", Some(left.clone())));
        assert!(report.has_finished(at(6, 9, 100)) && report.has_finished(at(7, 3, 4)) && !report.has_finished(at(7, 3, 5)));
        assert!(report.has_finished(at(7, 0x1f, 4)) && !report.has_finished(at(7, 0x1f, 5)) && !report.has_finished(at(7, 0x1f, 10)));
        assert!(report.has_finished(at(8, 3, 4)) && !report.has_finished(at(8, 3, 5)) && !report.has_finished(at(8, 1, 1)));
        assert!(report.reaches(at(7, 0x1f, 5)) && !report.reaches(at(7, 0x1f, 10)));
        assert!(!report.has_finished(at(7, 2, 1)) && report.has_seen(at(8, 1, 2)) && !report.has_seen(at(8, 1, 3)));
        assert!(report.is_settled_before(6) && !report.is_settled_before(7) && !report.is_settled_before(8));
        let replayed = |position, at_marker| report.has_replayed(at(6, 1, position), at_marker);
        assert_eq!([replayed(3, 8), replayed(4, 8), replayed(5, 8), replayed(9, 8), replayed(5, 9)], [true, false, true, false, false]);
        for wrong in ["", "1", "a::1:::-", "1:1:1:::-", "1::1", "1::1:::", "1::1::1:-", "1::1::1.1=2-x:-", "1::1:::-+1"] {
            assert_eq!(Report::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_marker_is_read_when_it_is_signed_with_the_key_of_the_group() {
        let body =
            "epoch 3\nmember a s1\nbefore a s1\nbefore b s1\ndeparted b died 2:1=5:2:1=9::- 2.1.6,2.1f.8\nlater words of no meaning\n";
        let marker = Marker::parse(&signed(body, "key"), "key").unwrap();
        assert_eq!((marker.epoch, marker.members.len(), marker.before.len()), (3, 1, 2));
        assert_eq!((marker.departed[0].how, marker.departed[0].report.epoch), (Departure::Died, 2));
        let places = [Place { epoch: 2, class: 1, position: 6 }, Place { epoch: 2, class: 0x1f, position: 8 }];
        assert_eq!((&marker.departed[0].trying, places_text(&marker.departed[0].trying)), (&places.into(), "2.1.6,2.1f.8".to_owned()));
        assert_eq!(Marker::parse(&signed(body, "key"), "other"), Err(NoMarker::Forged));
        assert_eq!(Marker::parse(b"hello", "key"), Err(NoMarker::Forged));
        for wrong in ["", "epoch x", "epoch 1\nmember a", "epoch 1\ndeparted a eaten -", "epoch 1\nset s 12"] {
            assert_eq!(Marker::parse(&signed(wrong, "key"), "key"), Err(NoMarker::Malformed), "{wrong}");
        }
    }

    #[test]
    fn an_answer_names_everyone_with_what_it_told() {
        let reply = Reply::parse("known run-17 4\na in 0 4::4:::-\nb out 12 3:1=2:3:1=2::-\n").unwrap();
        assert!(reply.standing == Standing::Known && reply.run() == "run" && reply.epoch == 4 && reply.records[0].is_member);
        assert_eq!((reply.records[1].is_member, reply.records[1].silent_ms, reply.report("b").unwrap().epoch), (false, 12, 3));
        assert_eq!(Reply::parse("+OK"), None);
    }
}
