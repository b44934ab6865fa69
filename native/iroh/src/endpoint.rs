//! Endpoints with the settings of Fedimint 0.13 (`fedimint-connectors` src/iroh.rs, `fedimint-core` src/net/iroh.rs).

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

pub use iroh::Endpoint;
use iroh::discovery::dns::DnsDiscovery;
use iroh::discovery::pkarr::{PkarrPublisher, PkarrResolver};
use iroh::endpoint::{Builder, TransportConfig, VarInt};
use iroh::{RelayMap, RelayMode, RelayUrl, SecretKey};
use url::Url;

const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Of one stream and of one connection, what may wait to be read; no more is kept for the other side.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Where addresses of node ids are looked up, and whether ours is published.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// A pkarr server of one's own, asked first.
    pub pkarr: Option<Url>,
    /// Whether pkarr servers are asked: the own one, and that of n0.
    pub resolves_pkarr: bool,
    /// Whether our address is told to the own pkarr server.
    pub publishes_pkarr: bool,
    /// Whether n0's DNS is asked, and told the address of an endpoint that is served.
    pub uses_n0: bool,
}

/// Relays at which an endpoint that is served can be met.
#[derive(Clone, Debug)]
pub enum Relays {
    None,
    Some(Vec<RelayUrl>),
}

/// No endpoint could be made.
#[derive(Debug)]
pub struct NotBound(pub String);

impl fmt::Display for NotBound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// An endpoint that asks others, and that nobody can find.
///
/// It registers with no relay; those in the addresses of others are dialled all the same.
///
/// # Errors
///
/// When no socket can be bound.
pub async fn asking(discovery: &Discovery) -> Result<Endpoint, NotBound> {
    let mut builder = Endpoint::builder().relay_mode(RelayMode::Disabled);
    if discovery.resolves_pkarr {
        if let Some(own) = discovery.pkarr.clone() {
            builder = builder.add_discovery(|_| Some(PkarrResolver::new(own)));
        }
        builder = builder.add_discovery(|_| Some(PkarrResolver::n0_dns()));
    }
    if discovery.uses_n0 {
        builder = builder.add_discovery(|_| Some(DnsDiscovery::n0_dns()));
    }
    bound(builder.transport_config(transport(0))).await
}

/// An endpoint that answers others, at most `streams` requests of one connection at once.
///
/// # Errors
///
/// When the address cannot be bound. (iroh itself would take another port.)
pub async fn serving(
    secret: SecretKey,
    listen: SocketAddr,
    protocol: &[u8],
    relays: Relays,
    discovery: &Discovery,
    streams: u32,
) -> Result<Endpoint, NotBound> {
    let mut builder = Endpoint::builder();
    if let Some(own) = discovery.pkarr.clone() {
        if discovery.publishes_pkarr {
            let own = own.clone();
            builder =
                builder.add_discovery(|secret| Some(PkarrPublisher::new(secret.clone(), own)));
        }
        if discovery.resolves_pkarr {
            builder = builder.add_discovery(|_| Some(PkarrResolver::new(own)));
        }
    }
    if discovery.uses_n0 {
        builder = builder.discovery_n0();
        if discovery.resolves_pkarr {
            builder = builder.add_discovery(|_| Some(PkarrResolver::n0_dns()));
        }
    }
    let builder = builder
        .relay_mode(match relays {
            Relays::None => RelayMode::Disabled,
            // With the default ports for STUN and for the discovery of addresses over QUIC.
            Relays::Some(urls) => RelayMode::Custom(urls.into_iter().collect::<RelayMap>()),
        })
        .secret_key(secret)
        .alpns(vec![protocol.to_vec()])
        .transport_config(transport(streams));
    let endpoint = bound(match listen {
        SocketAddr::V4(address) => builder.bind_addr_v4(address),
        SocketAddr::V6(address) => builder.bind_addr_v6(address),
    })
    .await?;
    let (v4, v6) = endpoint.bound_sockets();
    let taken = if listen.is_ipv4() { Some(v4) } else { v6 };
    if listen.port() != 0 && taken.is_none_or(|address| address.port() != listen.port()) {
        endpoint.close().await;
        return Err(NotBound(format!("cannot listen on {listen}: it is in use")));
    }
    Ok(endpoint)
}

async fn bound(builder: Builder) -> Result<Endpoint, NotBound> {
    let endpoint = Box::pin(builder.bind()).await;
    endpoint.map_err(|error| NotBound(format!("{error:#}")))
}

/// Given a config of ours, iroh sets no keep-alive itself.
fn transport(streams: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("five seconds fit")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    config
}

/// Where an endpoint listens.
#[must_use]
pub fn bound_address(endpoint: &Endpoint) -> SocketAddr {
    endpoint.bound_sockets().0
}
