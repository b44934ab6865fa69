//! Requests to another node: an endpoint of one's own, connections by node id, a stream for each request.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;

pub use iroh::endpoint::Connection;
use iroh::endpoint::VarInt;
use iroh::{Endpoint, NodeAddr, NodeId};
use tokio::sync::OnceCell;

use crate::endpoint::{Discovery, NotBound, asking};
use crate::inflow::Inflow;

/// Read at once, and counted at once.
const CHUNK_BYTES: usize = 16 * 1024;
const TOO_LONG: u32 = 2;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// No connection, or it was lost before the answer; the request may still have arrived.
    Lost(String),
    /// The answer was longer than allowed, and not read further.
    TooLong,
    /// The stream ended without a byte, which is what fedimintd does with a request that it cannot read.
    Empty,
}

impl fmt::Display for Failed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Lost(reason) => reason,
            Self::TooLong => "the answer is too long",
            Self::Empty => "the answer is empty",
        })
    }
}

fn lost(error: impl fmt::Display) -> Failed {
    Failed::Lost(error.to_string())
}

/// Dials node ids. Its endpoint is made with the first dial, and remembers the addresses of every node.
pub struct Dialer {
    discovery: Discovery,
    addresses: HashMap<NodeId, SocketAddr>,
    endpoint: OnceCell<Endpoint>,
}

impl Dialer {
    /// `addresses` are those of nodes that need no discovery.
    #[must_use]
    pub fn new(discovery: Discovery, addresses: HashMap<NodeId, SocketAddr>) -> Self {
        Self {
            discovery,
            addresses,
            endpoint: OnceCell::new(),
        }
    }

    /// A connection for requests of `protocol`. Gives up after some ten seconds by itself.
    ///
    /// # Errors
    ///
    /// `Lost` when the node was not found, does not answer or does not speak the protocol.
    pub async fn dial(&self, node: NodeId, protocol: &[u8]) -> Result<Connection, Failed> {
        let endpoint = self
            .endpoint
            .get_or_try_init(|| asking(&self.discovery))
            .await
            .map_err(|NotBound(reason)| Failed::Lost(reason))?;
        let known = self.addresses.get(&node).copied();
        let address = NodeAddr::new(node).with_direct_addresses(known);
        let connection = endpoint.connect(address, protocol).await;
        connection.map_err(|error| lost(format!("{error:#}")))
    }

    /// Ends all connections, and waits until the other sides could hear of it.
    pub async fn close(&self) {
        if let Some(endpoint) = self.endpoint.get() {
            endpoint.close().await;
        }
    }
}

/// The answer to `request`, of one byte at least and `max_answer_bytes` at most, read no faster than `inflow` lets it.
///
/// # Errors
///
/// See `Failed`.
pub async fn ask(
    connection: &Connection,
    request: &[u8],
    max_answer_bytes: usize,
    inflow: &Inflow,
) -> Result<Vec<u8>, Failed> {
    let (mut sending, mut receiving) = connection.open_bi().await.map_err(lost)?;
    sending.write_all(request).await.map_err(lost)?;
    sending.finish().map_err(lost)?;
    let mut answer = Vec::new();
    while let Some(chunk) = receiving
        .read_chunk(CHUNK_BYTES, true)
        .await
        .map_err(lost)?
    {
        if chunk.bytes.len() > max_answer_bytes - answer.len() {
            // Only fails where the stream has ended.
            let _ = receiving.stop(VarInt::from_u32(TOO_LONG));
            return Err(Failed::TooLong);
        }
        answer.extend_from_slice(&chunk.bytes);
        inflow.pass(chunk.bytes.len()).await;
    }
    if answer.is_empty() {
        return Err(Failed::Empty);
    }
    Ok(answer)
}

/// Why the connection is over, None while it is not.
#[must_use]
pub fn end_of(connection: &Connection) -> Option<String> {
    connection.close_reason().map(|reason| reason.to_string())
}
