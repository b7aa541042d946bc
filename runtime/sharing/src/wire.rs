//! The text of the protocol: what the script publishes and answers, and what replicas tell it of themselves. Plain words and
//! numbers between spaces, one line for each thing, so that a person with `redis-cli` can read it.
//!
//! Whatever does not read is refused as a whole: a marker that is half understood would be worse than none.

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest, Sha1};

use crate::{
    Id,
    share::{Print, Subscriptions, mix},
};

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

/// Messages that are handled one after the other: those of one channel that came by one subscription. Where order does not count, each
/// message is a lane by itself. As a number that two lanes may share: then more counts as unfinished than is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub(crate) u32);

impl Lane {
    /// Of the messages that came by this subscription, on the channel with this key.
    pub fn of_channel(subscription: Print, channel: u64) -> Self {
        Self::of(subscription.bits() ^ channel)
    }

    /// Of the message at this place alone.
    pub fn of_one(place: Place) -> Self {
        Self::of(mix(place.epoch ^ place.class.rotate_left(32)) ^ place.position)
    }

    fn of(bits: u64) -> Self {
        Self((mix(bits) >> 32) as u32)
    }
}

/// What is not finished of some messages. Since what comes behind an unfinished message of its lane is mostly unfinished too, the first of
/// each lane says it all, however long a queue is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// The first of each lane: what comes behind it in the lane counts as unfinished.
    pub first: BTreeMap<Lane, Place>,
    /// From this one on nothing more is told, of any lane.
    pub from: Option<Place>,
}

impl Unfinished {
    /// Of these messages, which come in the order of their places: what fits into `most` lanes.
    pub fn of(messages: impl IntoIterator<Item = (Place, Lane)>, most: usize) -> Self {
        let mut told = Self::default();
        for (place, lane) in messages {
            if told.first.contains_key(&lane) {
                continue;
            }
            if told.first.len() == most {
                told.from = Some(place);
                break;
            }
            told.first.insert(lane, place);
        }
        told
    }

    /// Whether the message at this place may be among them.
    pub fn has(&self, place: Place, lane: Lane) -> bool {
        self.is_behind(place) || self.first.get(&lane).is_some_and(|first| *first <= place)
    }

    /// Whether nothing is told of this place but that it is behind all that is.
    fn is_behind(&self, place: Place) -> bool {
        self.from.is_some_and(|from| from <= place)
    }

    /// Whether something of an earlier epoch than this may be: of one lane, or of any.
    pub fn has_before(&self, epoch: u64, lane: Option<Lane>) -> bool {
        let is_before = |place: &Place| place.epoch < epoch;
        let named = match lane {
            Some(lane) => self.first.get(&lane).is_some_and(is_before),
            None => self.first.values().any(is_before),
        };
        named || self.from.as_ref().is_some_and(is_before)
    }

    /// The first of all.
    pub fn oldest(&self) -> Option<Place> {
        self.places().min()
    }

    /// The first of each lane.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.first.values().chain(&self.from).copied()
    }

    /// `<lane>.<epoch>.<class>.<position>,...+<epoch>.<class>.<position>`; `-` when there are none.
    fn text(&self) -> String {
        let words: Vec<String> = self.first.iter().map(|(lane, place)| format!("{:x}.{}", lane.0, place_text(*place))).collect();
        let first = if words.is_empty() { "-".to_owned() } else { words.join(",") };
        match self.from {
            Some(from) => format!("{first}+{}", place_text(from)),
            None => first,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, from) = text.split_once('+').map_or((text, None), |(first, from)| (first, Some(from)));
        let from = match from {
            Some(from) => Some(parse_place(from)?),
            None => None,
        };
        let one = |word: &str| {
            let (lane, place) = word.split_once('.')?;
            Some((Lane(u32::from_str_radix(lane, 16).ok()?), parse_place(place)?))
        };
        let first = if first == "-" { Some(BTreeMap::new()) } else { first.split(',').map(one).collect() };
        Some(Self { first: first?, from })
    }
}

/// What a replica tells of itself with each beat: what it has received, and what of that it has not finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The last marker it has seen, or [`SEEN_ALL`].
    pub seen_epoch: u64,
    /// Messages it has received since.
    pub seen: Positions,
    /// What it has not finished of what it owned from the beginning.
    pub own: Unfinished,
    /// What it has not finished of what it took over from others.
    pub replays: Unfinished,
}

impl Report {
    /// Whether nothing that was published before `epoch` is unfinished of what this replica had received or taken over: of one lane, or of
    /// all.
    pub fn is_finished_before(&self, epoch: u64, lane: Option<Lane>) -> bool {
        !self.own.has_before(epoch, lane) && !self.replays.has_before(epoch, lane)
    }

    /// The same of all that it owns, what it has not received yet included.
    pub fn is_settled_before(&self, epoch: u64, lane: Option<Lane>) -> bool {
        self.seen_epoch >= epoch && self.is_finished_before(epoch, lane)
    }

    /// Whether the message at this place, which this replica took over at the marker of `at`, is finished.
    pub fn has_replayed(&self, place: Place, lane: Lane, at: u64) -> bool {
        self.seen_epoch >= at && !self.replays.has(place, lane)
    }

    /// Whether this replica, as the owner of the message at this place, has finished it.
    pub fn has_finished(&self, place: Place, lane: Lane) -> bool {
        self.has_seen(place) && !self.own.has(place, lane)
    }

    /// Whether the report says anything of the message at this place: whether it is finished or not.
    pub(crate) fn reaches(&self, place: Place) -> bool {
        self.has_seen(place) && !self.own.is_behind(place)
    }

    /// Whether this replica has received the message at this place.
    pub fn has_seen(&self, place: Place) -> bool {
        place.epoch < self.seen_epoch || (place.epoch == self.seen_epoch && position(&self.seen, place.class) >= place.position)
    }

    /// As one word.
    pub fn text(&self) -> String {
        let seen_epoch = if self.seen_epoch == SEEN_ALL { "*".to_owned() } else { self.seen_epoch.to_string() };
        format!("{seen_epoch}:{}:{}:{}", positions_text(&self.seen), self.own.text(), self.replays.text())
    }

    /// Reads [`text`](Self::text).
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut next = || parts.next();
        let (seen_epoch, seen, own, replays) = (next()?, next()?, next()?, next()?);
        Some(Self {
            seen_epoch: if seen_epoch == "*" { SEEN_ALL } else { seen_epoch.parse().ok()? },
            seen: parse_positions(seen)?,
            own: Unfinished::parse(own)?,
            replays: Unfinished::parse(replays)?,
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

    fn at(epoch: u64, class: u64, position: u64) -> Place {
        Place { epoch, class, position }
    }

    #[test]
    fn a_report_is_read_back_and_knows_what_it_says() {
        let lane = Lane;
        let own = Unfinished { first: [(lane(0xa), at(7, 0x1f, 3)), (lane(2), at(7, 0x1f, 5))].into(), from: Some(at(8, 3, 4)) };
        let replays = Unfinished { first: [(lane(0xa), at(6, 1, 4))].into(), from: Some(at(6, 1, 9)) };
        let report = Report { seen_epoch: 8, seen: [(1, 2), (3, 9)].into(), own, replays };
        assert_eq!(report.text(), "8:1=2,3=9:2.7.1f.5,a.7.1f.3+8.3.4:a.6.1.4+6.1.9");
        assert_eq!(Report::parse(&report.text()), Some(report.clone()));
        assert_eq!(Report::parse(&Report::default().text()), Some(Report::default()));
        let left = Report { seen_epoch: SEEN_ALL, ..Report::default() };
        assert_eq!((left.text().as_str(), Report::parse(&left.text())), ("*::-:-", Some(left.clone())));
        let finished = |epoch, class, position, of| report.has_finished(at(epoch, class, position), lane(of));
        // Each lane up to its first, all of them up to where nothing more is told, and nothing that was not received.
        assert_eq!([finished(7, 0x1f, 2, 0xa), finished(7, 0x1f, 3, 0xa), finished(7, 0x1f, 100, 0xa)], [true, false, false]);
        assert_eq!([finished(7, 0x1f, 4, 2), finished(7, 0x1f, 5, 2), finished(7, 0x1f, 100, 3)], [true, false, true]);
        assert_eq!([finished(8, 3, 3, 3), finished(8, 3, 4, 3), finished(8, 1, 2, 3), finished(8, 1, 3, 3)], [true, false, true, false]);
        assert!(report.reaches(at(7, 0x1f, 5)) && !report.reaches(at(8, 3, 4)) && !report.reaches(at(8, 1, 3)));
        assert!(report.has_seen(at(8, 1, 2)) && !report.has_seen(at(8, 1, 3)));
        let settled = |epoch, of: Option<u32>| report.is_settled_before(epoch, of.map(lane));
        assert_eq!([settled(6, None), settled(7, None), settled(6, Some(0xa)), settled(7, Some(0xa))], [true, false, true, false]);
        // Behind what is told anything may be unfinished.
        assert!(!settled(7, Some(3)) && !settled(9, Some(3)));
        let replayed = |position, of, at_marker| report.has_replayed(at(6, 1, position), lane(of), at_marker);
        assert_eq!([replayed(3, 0xa, 8), replayed(4, 0xa, 8), replayed(5, 0xa, 8), replayed(5, 1, 8)], [true, false, false, true]);
        assert_eq!([replayed(9, 1, 8), replayed(5, 1, 9)], [false, false]);
        for wrong in ["", "1", "a::-:-", "1:1:-:-", "1::-", "1:::-", "1::1.1.1:-", "1::1.1.1.x:-", "1::-:-+1"] {
            assert_eq!(Report::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_unfinished_message_of_one_channel_says_nothing_of_another() {
        let report = Report { seen_epoch: 9, own: Unfinished::of([(at(5, 1, 1), Lane(1))], 4), ..Report::default() };
        let settled = |lane| report.is_settled_before(9, Some(Lane(lane)));
        assert!(!settled(1) && settled(2) && !report.is_settled_before(9, None));
        assert!(!report.is_settled_before(10, Some(Lane(2))), "it has not received all of that yet");
    }

    #[test]
    fn however_long_a_queue_is_its_lane_is_named_once_and_of_too_many_lanes_the_first_are() {
        let queue = (1..=1_000).map(|position| (at(1, 1, position), Lane(7)));
        assert_eq!(Unfinished::of(queue, 2), Unfinished { first: [(Lane(7), at(1, 1, 1))].into(), from: None });
        let lanes = (1..=4_u32).map(|lane| (at(1, 1, lane.into()), Lane(lane)));
        assert_eq!(Unfinished::of(lanes, 2).from, Some(at(1, 1, 3)));
        assert_ne!(Lane::of_one(at(1, 1, 1)), Lane::of_one(at(2, 1, 1)));
        let (a, b) = (Print::of("a", false), Print::of("a", true));
        assert!(Lane::of_channel(a, 9) != Lane::of_channel(b, 9) && Lane::of_channel(a, 9) != Lane::of_channel(a, 8));
    }

    #[test]
    fn a_marker_is_read_when_it_is_signed_with_the_key_of_the_group() {
        let body = "epoch 3\nmember a s1\nbefore a s1\nbefore b s1\ndeparted b died 2:1=9:-:- 2.1.6,2.1f.8\nlater words of no meaning\n";
        let marker = Marker::parse(&signed(body, "key"), "key").unwrap();
        assert_eq!((marker.epoch, marker.members.len(), marker.before.len()), (3, 1, 2));
        assert_eq!((marker.departed[0].how, marker.departed[0].report.seen_epoch), (Departure::Died, 2));
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
        let reply = Reply::parse("known run-17 4\na in 0 4::-:-\nb out 12 3:1=2:-:-\n").unwrap();
        assert!(reply.standing == Standing::Known && reply.run() == "run" && reply.epoch == 4 && reply.records[0].is_member);
        assert_eq!((reply.records[1].is_member, reply.records[1].silent_ms, reply.report("b").unwrap().seen_epoch), (false, 12, 3));
        assert_eq!(Reply::parse("+OK"), None);
    }
}
