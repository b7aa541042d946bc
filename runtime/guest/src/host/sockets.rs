//! `wasi:sockets`: outbound TCP and UDP to allowed hosts; listening is nobody's business here.

use std::{net::SocketAddr, sync::Arc};

use wasmtime_wasi::{WasiCtxBuilder, sockets::SocketAddrUse};

use super::network::Network;

/// Allows what the network allows. A component that may reach no host asks no name server either: names carry data too.
pub fn allow(wasi: &mut WasiCtxBuilder, network: &Arc<Network>) {
    wasi.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(!network.is_closed());
    let network = network.clone();
    wasi.socket_addr_check(move |address, usage| {
        let network = network.clone();
        Box::pin(async move {
            match usage {
                // A socket is bound to any address and any port by the system before it connects or sends.
                SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => address.ip().is_unspecified() && address.port() == 0,
                SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => false,
                SocketAddrUse::TcpConnect => ask(network, "tcp", address).await,
                SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => ask(network, "udp", address).await,
            }
        })
    });
}

/// Asks on a task of its own: the check must be `Sync`, and a name lookup is not.
async fn ask(network: Arc<Network>, scheme: &'static str, address: SocketAddr) -> bool {
    tokio::spawn(async move { network.allows_socket(&[scheme], address).await }).await.unwrap_or(false)
}
