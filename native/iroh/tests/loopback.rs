//! One node asks another one on this machine, friendly and hostile.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use fedimint_gateway_iroh::asking::{Connection, Dialer, Failed, ask};
use fedimint_gateway_iroh::endpoint::{Discovery, Endpoint, Relays, bound_address, serving};
use fedimint_gateway_iroh::inflow::Inflow;
use fedimint_gateway_iroh::serving::{Limits, Request, start};
use fedimint_gateway_iroh::{SecretKey, background};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const PROTOCOL: &[u8] = b"TEST";
const LIMITS: Limits = Limits {
    connections: 2,
    requests: 3,
    request_bytes: 1_000,
    arrival: Duration::from_secs(10),
    idle: Duration::from_secs(300),
};

struct World {
    endpoint: Endpoint,
    requests: UnboundedReceiver<Request>,
}

impl World {
    async fn new() -> Self {
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let secret = SecretKey::from_bytes(&[7; 32]);
        let nobody = Discovery::default();
        let endpoint = serving(secret, listen, PROTOCOL, Relays::None, &nobody, 3)
            .await
            .unwrap();
        let (sender, requests) = unbounded_channel();
        start(endpoint.clone(), LIMITS, move |request| {
            let _ = sender.send(request);
        });
        Self { endpoint, requests }
    }

    async fn dialled(&self) -> (Dialer, Connection) {
        let node = self.endpoint.node_id();
        let addresses = HashMap::from([(node, bound_address(&self.endpoint))]);
        let dialer = Dialer::new(Discovery::default(), addresses);
        let connection = dialer.dial(node, PROTOCOL).await.unwrap();
        (dialer, connection)
    }

    async fn next(&mut self) -> Request {
        self.requests.recv().await.unwrap()
    }
}

fn run(test: impl Future<Output = ()>) {
    background::runtime().unwrap().block_on(test);
}

async fn asked(connection: &Connection, request: &[u8], max: usize) -> Result<Vec<u8>, Failed> {
    ask(connection, request, max, &Inflow::new(1_000_000, 1_000_000)).await
}

#[test]
fn an_answer_is_what_was_answered_and_no_longer_than_allowed() {
    run(async {
        let mut world = World::new().await;
        let (_dialer, connection) = world.dialled().await;
        for (size, max, fits) in [
            (1, 1, true),
            (5, 5, true),
            (6, 5, false),
            (100_000, 99_999, false),
        ] {
            let (answer, ()) = tokio::join!(asked(&connection, b"hello", max), async {
                let request = world.next().await;
                assert_eq!(request.body, b"hello");
                request.answer(vec![1; size]);
            });
            match answer {
                Ok(bytes) => assert!(fits && bytes == vec![1; size]),
                Err(failed) => assert!(!fits && matches!(failed, Failed::TooLong), "{failed:?}"),
            }
        }
    });
}

#[test]
fn nothing_and_no_answer_are_told_apart() {
    run(async {
        let mut world = World::new().await;
        let (_dialer, connection) = world.dialled().await;
        let (answer, ()) = tokio::join!(asked(&connection, b"a", 9), async {
            world.next().await.answer(Vec::new());
        });
        assert!(matches!(answer, Err(Failed::Empty)), "{answer:?}");
        let (answer, ()) = tokio::join!(asked(&connection, b"b", 9), async {
            drop(world.next().await);
        });
        assert!(matches!(answer, Err(Failed::Lost(_))), "{answer:?}");
    });
}

#[test]
fn a_request_that_is_too_long_is_not_handed_on() {
    run(async {
        let mut world = World::new().await;
        let (_dialer, connection) = world.dialled().await;
        let answer = asked(&connection, &[0; 1_001], 9).await;
        assert!(
            matches!(answer, Err(Failed::Lost(_) | Failed::Empty)),
            "{answer:?}"
        );
        assert!(world.requests.try_recv().is_err());
        let (answer, ()) = tokio::join!(asked(&connection, &[0; 1_000], 9), async {
            world.next().await.answer(vec![1]);
        });
        assert_eq!(answer.unwrap(), [1]);
    });
}

#[test]
fn who_leaves_is_seen_to_have_left() {
    run(async {
        let mut world = World::new().await;
        let (_dialer, connection) = world.dialled().await;
        let asking = tokio::spawn(async move { asked(&connection, b"a", 9).await });
        let request = world.next().await;
        assert!(!request.is_abandoned());
        asking.abort();
        while !request.is_abandoned() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn one_connection_too_many_takes_the_place_of_an_idle_one() {
    run(async {
        let mut world = World::new().await;
        let (_one, waiting) = world.dialled().await;
        let asking = {
            let waiting = waiting.clone();
            tokio::spawn(async move { asked(&waiting, b"a", 9).await })
        };
        let request = world.next().await;
        let (_two, idle) = world.dialled().await;
        let (_three, third) = world.dialled().await;
        idle.closed().await;
        assert!(third.close_reason().is_none());
        request.answer(vec![1]);
        assert_eq!(asking.await.unwrap().unwrap(), [1]);
    });
}

#[test]
fn another_protocol_is_refused() {
    run(async {
        let world = World::new().await;
        let (dialer, _connection) = world.dialled().await;
        let refused = dialer.dial(world.endpoint.node_id(), b"OTHER").await;
        assert!(matches!(refused, Err(Failed::Lost(_))));
    });
}
