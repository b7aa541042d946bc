//! The proxy's connections: what carries bytes from one side to the other, in the way that is set.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, broadcast},
    time::sleep,
};

use super::{Foreign, Shared, Way};
use crate::resp::commands;

/// Accepts for as long as the proxy is there.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(connection(client, shared.clone()));
    }
}

/// One connection, from its begin to its end or its cut. Dropping the sockets closes both sides.
async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let foreign = shared.foreign.subscribe();
    shared.open.fetch_add(1, Ordering::Relaxed);
    let target = *shared.target.lock().unwrap();
    let run = async {
        wait_while_stalled(&shared).await;
        // A server that is not there refuses; here the client sees the connection close.
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
        server.set_nodelay(true).unwrap();
        client.set_nodelay(true).unwrap();
        let (from_server, to_server) = server.into_split();
        let (from_client, to_client) = client.into_split();
        let to_client = Mutex::new(to_client);
        tokio::select! {
            () = down(from_server, &to_client, &shared) => {}
            () = up(from_client, to_server, &to_client, &shared) => {}
            () = inject(&to_client, foreign, &shared) => {}
        }
    };
    tokio::select! {
        () = run => {}
        _ = cuts.changed() => {}
    }
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

async fn wait_while_stalled(shared: &Shared) {
    // The sender lives in `shared`, so there is always an answer.
    let _ = shared.way.subscribe().wait_for(|way| *way != Way::Stalled).await;
}

/// From server to client.
async fn down(mut server: OwnedReadHalf, client: &Mutex<OwnedWriteHalf>, shared: &Shared) {
    let mut way = shared.way.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        wait_while_stalled(shared).await;
        way.mark_unchanged();
        let length = tokio::select! {
            read = server.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => length,
            },
            _ = way.changed() => continue,
        };
        // What was read when the way was stalled in between waits too.
        wait_while_stalled(shared).await;
        let now = *way.borrow_and_update();
        let mut client = client.lock().await;
        let sent = match now {
            Way::Trickle(bytes, rest) => trickle(&mut client, &buffer[..length], bytes, rest).await,
            Way::CutAfter(left) if left <= length => {
                let _ = client.write_all(&buffer[..left]).await;
                shared.way.send_replace(Way::Open);
                return;
            }
            Way::CutAfter(left) => {
                shared.way.send_replace(Way::CutAfter(left - length));
                client.write_all(&buffer[..length]).await
            }
            Way::Open | Way::Stalled => client.write_all(&buffer[..length]).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn trickle(client: &mut OwnedWriteHalf, bytes: &[u8], burst: usize, rest: Duration) -> io::Result<()> {
    for (n, byte) in bytes.iter().enumerate() {
        client.write_all(&[*byte]).await?;
        if n % burst == 0 {
            sleep(rest).await;
        }
    }
    Ok(())
}

/// From client to server.
async fn up(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, answer_to: &Mutex<OwnedWriteHalf>, shared: &Shared) {
    let mut held = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(length @ 1..) = client.read(&mut buffer).await else { return };
        wait_while_stalled(shared).await;
        held.extend_from_slice(&buffer[..length]);
        let answers = shared.answers.lock().unwrap().clone();
        let mut forwarded = Vec::new();
        match answers {
            None => forwarded.append(&mut held),
            Some(answers) => {
                for (raw, command) in commands(&mut held) {
                    match answers(&command) {
                        Some(answer) if answer_to.lock().await.write_all(&answer).await.is_err() => return,
                        Some(_) => {}
                        None => forwarded.extend(raw),
                    }
                }
            }
        }
        if server.write_all(&forwarded).await.is_err() {
            return;
        }
    }
}

/// Foreign bytes to the client.
async fn inject(client: &Mutex<OwnedWriteHalf>, mut foreign: broadcast::Receiver<Arc<Foreign>>, shared: &Shared) {
    while let Ok(foreign) = foreign.recv().await {
        let counted = Counted(&shared.injected);
        let mut client = client.lock().await;
        let fill = [b'x'; 64 << 10];
        let mut left = foreign.fill;
        let mut sent = client.write_all(&foreign.head).await;
        while left > 0 && sent.is_ok() {
            let length = left.min(fill.len() as u64) as usize;
            sent = client.write_all(&fill[..length]).await;
            left -= length as u64;
        }
        if sent.is_ok() {
            let _ = client.write_all(&foreign.tail).await;
        }
        drop(counted);
    }
}

/// Counts when it is dropped: also when the connection ends meanwhile.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
