//! A redis-server of the test's own, and the script called on it as a replica calls it.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use redis::{Client, Connection, PubSub, RedisError};
use spinredis_sharing::{
    script::{Call, Operation, Place, TEXT},
    share::{Print, Subscriptions},
    wire::{Marker, Reply, Report},
};

pub const EXPIRY: Duration = Duration::from_millis(600);

/// Ended when it is dropped.
pub struct Server {
    process: Child,
    pub port: u16,
    pub connection: Connection,
    pub place: Place,
    pub expiry: Duration,
}

impl Server {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", &port.to_string()]);
        let process = command.current_dir(std::env::temp_dir()).stdout(Stdio::null()).spawn().expect("redis-server is installed");
        let client = Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        let connection = eventually(|| client.get_connection().ok());
        let place = Place::of("default", "shop", "signing key".to_owned(), 0);
        Self { process, port, connection, place, expiry: EXPIRY }
    }

    pub fn client(&self, login: &str) -> Connection {
        Client::open(format!("redis://{login}127.0.0.1:{}", self.port)).unwrap().get_connection().unwrap()
    }

    /// Subscribed to the control channel.
    pub fn subscriber(&self) -> Connection {
        self.client("")
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([format!("-{name}"), self.process.id().to_string()]).status().unwrap().success());
    }

    pub fn run(&mut self, arguments: &[&str]) {
        let mut command = redis::cmd(arguments[0]);
        command.arg(&arguments[1..]).query::<redis::Value>(&mut self.connection).unwrap();
    }

    pub fn get(&mut self, arguments: &[&str]) -> String {
        redis::cmd(arguments[0]).arg(&arguments[1..]).query(&mut self.connection).unwrap()
    }

    pub fn hash_has(&mut self, field: &str) -> bool {
        let key = self.place.key.clone();
        redis::cmd("HEXISTS").arg(key).arg(field).query(&mut self.connection).unwrap()
    }

    pub fn get_all(&mut self, arguments: &[&str]) -> Vec<String> {
        redis::cmd(arguments[0]).arg(&arguments[1..]).query(&mut self.connection).unwrap()
    }

    pub fn call(&mut self, replica: &Replica, operation: Operation) -> Reply {
        let text = self.text(replica, operation, "");
        Reply::parse(&text).unwrap_or_else(|| panic!("no reply: {text}"))
    }

    pub fn text(&mut self, replica: &Replica, operation: Operation, known: &str) -> String {
        let arguments = replica.arguments(&self.place, self.expiry, operation, known);
        evaluate(&mut self.connection, &self.place, &arguments).unwrap()
    }

    pub fn hash(&mut self, field: &str) -> String {
        let key = self.place.key.clone();
        self.get(&["HGET", &key, field])
    }
}

/// Calls the script as `EVAL` does.
pub fn evaluate(connection: &mut Connection, place: &Place, arguments: &[String]) -> Result<String, RedisError> {
    redis::cmd("EVAL").arg(TEXT).arg(1).arg(&place.key).arg(arguments).query(connection)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal("CONT");
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A replica, as the script knows it.
#[derive(Clone)]
pub struct Replica {
    pub id: String,
    pub set: Subscriptions,
    pub report: Report,
    pub birth: String,
    pub epoch: u64,
}

impl Replica {
    pub fn new(id: &str, channel: &str) -> Self {
        let set = Subscriptions::new([(Print::of(channel, false), false)]);
        Self { id: id.to_owned(), set, report: Report::default(), birth: String::new(), epoch: 0 }
    }

    pub fn arguments(&self, place: &Place, expiry: Duration, operation: Operation, known: &str) -> [String; 11] {
        let (set, set_text) = (self.set.name(), self.set.text());
        let (id, report, birth) = (&self.id, &self.report, &self.birth);
        Call { operation, id, expiry, set: &set, set_text: &set_text, report, birth, epoch: self.epoch, known }.arguments(place)
    }
}

/// The markers that were published since it was last asked.
pub struct Markers<'a> {
    subscription: PubSub<'a>,
    place: Place,
}

impl<'a> Markers<'a> {
    pub fn of(connection: &'a mut Connection, place: &Place) -> Self {
        let mut subscription = connection.as_pubsub();
        subscription.subscribe(&place.channel).unwrap();
        subscription.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { subscription, place: place.clone() }
    }

    pub fn text(&mut self) -> Vec<u8> {
        self.subscription.get_message().expect("a marker within ten seconds").get_payload().unwrap()
    }

    /// One that is there already, or comes within a moment.
    pub fn now(&mut self) -> Option<Vec<u8>> {
        self.subscription.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let text = self.subscription.get_message().ok().map(|message| message.get_payload_bytes().to_vec());
        self.subscription.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        text
    }

    pub fn next(&mut self) -> Marker {
        let text = self.text();
        Marker::parse(&text, &self.place.signing_key).unwrap()
    }
}

/// Waits for what comes to be.
pub fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "it did not come to be within twenty seconds");
        thread::sleep(Duration::from_millis(10));
    }
}
