//! Requests of other nodes: each is handed on whole, and waits for its answer. All that others can make us keep is
//! bounded: connections, requests of each, bytes of a request, and the time in which it arrives and its answer leaves.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{Incoming, RecvStream, SendStream, VarInt};
use iroh::{Endpoint, NodeId};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::background::caught;
use crate::guests::{Guests, Place};

/// What others may take of us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections: usize,
    /// At once, of one connection.
    pub requests: usize,
    pub request_bytes: usize,
    /// For a handshake, and for a request to arrive.
    pub arrival: Duration,
    /// Without a request, after which a connection is closed.
    pub idle: Duration,
}

/// One request. Dropped without an answer, its stream ends with an error.
pub struct Request {
    pub body: Vec<u8>,
    pub node: NodeId,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Request {
    /// Sends the answer. Does nothing where nobody waits for it any more.
    pub fn answer(self, body: Vec<u8>) {
        let _ = self.answer.send(body);
    }

    /// Whether the asking side has left, or its connection is over.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }
}

/// Serves in the background, inside of the runtime, until the endpoint is closed.
pub fn start<H>(endpoint: Endpoint, limits: Limits, hand_on: H)
where
    H: Fn(Request) + Clone + Send + Sync + 'static,
{
    tokio::spawn(serve(endpoint, limits, hand_on));
}

/// Accepts connections and hands every request to `hand_on`, until the endpoint is closed.
async fn serve<H>(endpoint: Endpoint, limits: Limits, hand_on: H)
where
    H: Fn(Request) + Clone + Send + Sync + 'static,
{
    let guests = Guests::new(limits.connections);
    while let Some(incoming) = endpoint.accept().await {
        let Some(place) = guests.enter() else {
            incoming.refuse();
            continue;
        };
        let (number, hand_on) = (place.number(), hand_on.clone());
        let task = tokio::spawn(async move {
            // A panic ends this connection alone.
            let _ = caught(serve_connection(incoming, limits, hand_on, Arc::new(place))).await;
        });
        Place::served_by(&guests, number, task.abort_handle());
    }
}

async fn serve_connection<H>(
    incoming: Incoming,
    limits: Limits,
    hand_on: H,
    place: Arc<Place>,
) -> Option<()>
where
    H: Fn(Request) + Clone + Send + Sync + 'static,
{
    let connecting = incoming.accept().ok()?;
    let connection = timeout(limits.arrival, connecting).await.ok()?.ok()?;
    place.connected(connection.clone());
    let node = connection.remote_node_id().ok()?;
    let at_once = Arc::new(Semaphore::new(limits.requests));
    loop {
        let permit = at_once.clone().acquire_owned().await.ok()?;
        let (sending, receiving) = match timeout(limits.idle, connection.accept_bi()).await {
            Ok(streams) => streams.ok()?,
            Err(_) if at_once.available_permits() + 1 < limits.requests => continue,
            Err(_) => {
                connection.close(VarInt::from_u32(0), b"idle");
                return None;
            }
        };
        let (hand_on, place) = (hand_on.clone(), place.clone());
        tokio::spawn(async move {
            let served = serve_stream(sending, receiving, limits, node, hand_on, &place);
            let _ = caught(served).await;
            drop(permit);
        });
    }
}

async fn serve_stream<H>(
    mut sending: SendStream,
    mut receiving: RecvStream,
    limits: Limits,
    node: NodeId,
    hand_on: H,
    place: &Arc<Place>,
) -> Option<()>
where
    H: Fn(Request),
{
    let arriving = receiving.read_to_end(limits.request_bytes);
    let body = timeout(limits.arrival, arriving).await.ok()?.ok()?;
    // From here on, as bytes that dribble in are nobody's request.
    let _asking = place.asks();
    let (answer, answered) = oneshot::channel();
    hand_on(Request { body, node, answer });
    let body = tokio::select! {
        body = answered => body.ok(),
        _ = sending.stopped() => return None,
    };
    let Some(body) = body else {
        // Dropped alone, the stream would end as one that was answered with nothing.
        let _ = sending.reset(VarInt::from_u32(1));
        return None;
    };
    // Place and turn are kept until the other side has everything, or had the time for it.
    timeout(limits.arrival, async {
        sending.write_all(&body).await.ok()?;
        sending.finish().ok()?;
        sending.stopped().await.ok()
    })
    .await
    .ok()?
    .map(drop)
}
