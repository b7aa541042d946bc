//! wasi:http and wasi:sockets, both 0.3.0.

use http_body_util::BodyExt;
use protocol::{Answer, Call, failure, text};
use serde_json::{Value, json};
use spin_sdk::{
    http::Response,
    wasip3::{
        http::types::ErrorCode,
        sockets::{
            ip_name_lookup::resolve_addresses,
            types::{IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, TcpSocket},
        },
    },
};

pub async fn answer(call: &Call) -> Answer {
    match call.name() {
        "http.get" => whole(spin_sdk::http::get(call.text(0)).await).await.map_err(failure),
        "http.post" => whole(spin_sdk::http::post(call.text(0), call.text(1).to_owned()).await).await.map_err(failure),
        "tcp.connect" => connect(call.text(0), port(call)).await,
        "dns.lookup" => {
            resolve_addresses(call.text(0).to_owned()).await.map(|found| found.into_iter().map(shown).collect()).map_err(failure)
        }
        _ => call.unknown(),
    }
}

fn port(call: &Call) -> u16 {
    u16::try_from(call.number(1)).unwrap_or_else(|_| panic!("a port is at most 65535"))
}

async fn whole(response: Result<Response, ErrorCode>) -> Result<Value, ErrorCode> {
    let response = response?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(json!({"status": status, "body": text(body)}))
}

fn shown(address: IpAddress) -> Value {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => std::net::Ipv4Addr::new(a, b, c, d).to_string().into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h).to_string().into(),
    }
}

/// Connects to the first address of a host.
async fn connect(host: &str, port: u16) -> Answer {
    let found = resolve_addresses(host.to_owned()).await.map_err(failure)?;
    let (family, address) = match found.into_iter().next().expect("a lookup that succeeds has an address") {
        IpAddress::Ipv4(address) => (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })),
        IpAddress::Ipv6(address) => {
            let address = Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 };
            (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(address))
        }
    };
    let socket = TcpSocket::create(family).map_err(failure)?;
    socket.connect(address).await.map(|()| Value::Null).map_err(failure)
}
