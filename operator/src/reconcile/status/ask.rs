//! Asks pods that run without being ready why, at `GET /status` of their health port. At most three pods of an app, one
//! second and 4 KiB each: an answer is a help, and its absence no error.

use std::{net::IpAddr, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::ResourceExt;
use spinredis_crds::report::ServeStatus;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Answers, compute::is_of_template, diagnose::is_running_unready};
use crate::names::HEALTH_PORT;

const MOST_PODS: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(1);
/// 4 KiB of answer, and as much of headers.
const MOST_BYTES: u64 = 8 << 10;

/// What was asked and answered.
pub struct Asked {
    /// Whether any pod runs without being ready.
    pub has_unready_runtime: bool,
    /// The answers, by the name of the pod.
    pub answers: Answers,
}

/// Asks the running, unready pods of the newest template, the newest first.
pub async fn unready(pods: &[Pod], deployment: Option<&Deployment>) -> Asked {
    let unready: Vec<&Pod> = pods.iter().filter(|pod| is_of_template(pod, deployment) && is_running_unready(pod)).collect();
    let asked = unready.iter().take(MOST_PODS).filter_map(|pod| Some((pod.name_any(), address(pod)?)));
    let answers = join_all(asked.map(|(name, address)| async move { Some((name, ask(address).await?)) })).await;
    Asked { has_unready_runtime: !unready.is_empty(), answers: answers.into_iter().flatten().collect() }
}

fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

async fn ask(address: IpAddr) -> Option<ServeStatus> {
    let body = tokio::time::timeout(TIMEOUT, get(address, HEALTH_PORT, "/status")).await.ok()?.ok()?;
    serde_json::from_slice(&body).ok()
}

/// The body of an answer to a plain HTTP/1.0 request, whatever its status code.
async fn get(address: IpAddr, port: u16, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((address, port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).await?;
    let body_at = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
    Ok(answer.split_off(body_at))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_body_of_an_answer_is_read_without_its_headers_and_never_more_than_the_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for body in [b"{}".to_vec(), vec![b'x'; 1 << 20]] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 512];
                let _ = stream.read(&mut request).await.unwrap();
                stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\r\n").await.unwrap();
                drop(stream.write_all(&body).await);
            }
        });
        assert_eq!(get(address.ip(), address.port(), "/status").await.unwrap(), b"{}");
        assert!(get(address.ip(), address.port(), "/status").await.unwrap().len() <= MOST_BYTES as usize);
    }
}
