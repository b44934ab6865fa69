//! Requests over iroh. Nothing here waits: what was asked for is found in a `Mailbox` later, under the number given.

use pyo3::prelude::*;

#[pymodule(submodule)]
pub mod iroh {
    use std::collections::HashMap;
    use std::future::Future;
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use fedimint_gateway_iroh::asking::{self, Failed};
    use fedimint_gateway_iroh::background::{self, Panicked};
    use fedimint_gateway_iroh::endpoint::{self, Discovery, NotBound, Relays};
    use fedimint_gateway_iroh::serving::{self, Limits};
    use fedimint_gateway_iroh::{NodeId, RelayUrl, SecretKey, Url, inflow, mailbox};
    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;

    use crate::NativeError;

    /// What a task left.
    enum Item {
        Connected(asking::Connection),
        Answered(Vec<u8>),
        Serving(endpoint::Endpoint),
        Asked(serving::Request),
        Closed,
        Failed { kind: &'static str, reason: String },
    }

    impl From<Failed> for Item {
        fn from(failed: Failed) -> Self {
            let kind = match failed {
                Failed::Lost(_) => "lost",
                Failed::TooLong => "too long",
                Failed::Empty => "empty",
            };
            Self::Failed {
                kind,
                reason: failed.to_string(),
            }
        }
    }

    impl From<NotBound> for Item {
        fn from(failed: NotBound) -> Self {
            Self::Failed {
                kind: "lost",
                reason: failed.to_string(),
            }
        }
    }

    impl From<Panicked> for Item {
        fn from(panicked: Panicked) -> Self {
            Self::Failed {
                kind: "broken",
                reason: panicked.to_string(),
            }
        }
    }

    /// Where outcomes are found. Its descriptor is readable while there are some.
    #[pyclass(frozen)]
    struct Mailbox(Arc<mailbox::Mailbox<Item>>);

    #[pymethods]
    impl Mailbox {
        /// Raises `NativeError` when no file descriptor is left.
        #[new]
        fn new() -> PyResult<Self> {
            let made = mailbox::Mailbox::new();
            made.map(|made| Self(Arc::new(made)))
                .map_err(|error| NativeError::new_err(error.to_string()))
        }

        /// The descriptor to wait for.
        fn fileno(&self) -> i32 {
            self.0.descriptor()
        }

        /// Everything that is there, with the numbers it was asked under.
        fn take(&self, py: Python<'_>) -> PyResult<Vec<(u64, Py<PyAny>)>> {
            let items = self.0.take();
            items
                .into_iter()
                .map(|(number, item)| Ok((number, to_python(py, item)?)))
                .collect()
        }
    }

    fn to_python(py: Python<'_>, item: Item) -> PyResult<Py<PyAny>> {
        Ok(match item {
            Item::Connected(connection) => Py::new(py, Connection(connection))?.into_any(),
            Item::Answered(answer) => PyBytes::new(py, &answer).unbind().into_any(),
            Item::Serving(endpoint) => Py::new(py, Server::from(endpoint))?.into_any(),
            Item::Asked(request) => Py::new(py, Request(Mutex::new(Some(request))))?.into_any(),
            Item::Closed => py.None(),
            Item::Failed { kind, reason } => Py::new(py, Failure { kind, reason })?.into_any(),
        })
    }

    /// Why there is no outcome: kind `lost`, `too long`, `empty`, or `broken` for a mistake of the native part.
    #[pyclass(frozen)]
    struct Failure {
        #[pyo3(get)]
        kind: &'static str,
        #[pyo3(get)]
        reason: String,
    }

    /// Something under way.
    #[pyclass(frozen)]
    struct Task(background::AbortHandle);

    #[pymethods]
    impl Task {
        /// Ends it. An outcome that was left before is found all the same.
        fn cancel(&self) {
            self.0.abort();
        }
    }

    fn start<T>(
        mailbox: &Arc<mailbox::Mailbox<Item>>,
        number: u64,
        work: impl Future<Output = T> + Send + 'static,
    ) -> PyResult<Task>
    where
        T: Into<Item> + Send + 'static,
    {
        let mailbox = mailbox.clone();
        let done = move |outcome: Result<T, Panicked>| {
            mailbox.post(number, outcome.map_or_else(Item::from, T::into));
        };
        background::start(work, done)
            .map(Task)
            .map_err(|error| NativeError::new_err(error.to_string()))
    }

    /// The bound of what one other side may send, over all its connections.
    #[pyclass(frozen)]
    struct Inflow(Arc<inflow::Inflow>);

    #[pymethods]
    impl Inflow {
        /// So many bytes at once, and so many a second.
        #[new]
        fn new(burst_bytes: u32, bytes_per_s: u32) -> Self {
            Self(Arc::new(inflow::Inflow::new(burst_bytes, bytes_per_s)))
        }
    }

    /// Asks other nodes, through one endpoint that is made with the first dial.
    #[pyclass(frozen)]
    struct Dialer {
        mailbox: Arc<mailbox::Mailbox<Item>>,
        dialer: Arc<asking::Dialer>,
    }

    #[pymethods]
    impl Dialer {
        /// `pkarr` is the URL of an own pkarr server; `addresses` are `ip:port` by node id, for those that need no
        /// discovery. Raises `ValueError` for what is none of these.
        #[new]
        #[pyo3(signature = (mailbox, *, pkarr, resolves_pkarr, uses_n0, addresses))]
        fn new(
            mailbox: &Mailbox,
            pkarr: Option<&str>,
            resolves_pkarr: bool,
            uses_n0: bool,
            addresses: HashMap<String, String>,
        ) -> PyResult<Self> {
            let discovery = Discovery {
                pkarr: pkarr.map(url).transpose()?,
                resolves_pkarr,
                publishes_pkarr: false,
                uses_n0,
            };
            let addresses = addresses
                .into_iter()
                .map(|(node, address)| Ok((node_id(&node)?, socket_address(&address)?)))
                .collect::<PyResult<_>>()?;
            Ok(Self {
                mailbox: mailbox.0.clone(),
                dialer: Arc::new(asking::Dialer::new(discovery, addresses)),
            })
        }

        /// Leaves a `Connection`. Raises `ValueError` for what is no node id.
        fn dial(&self, number: u64, node: &str, protocol: Vec<u8>) -> PyResult<Task> {
            let node = node_id(node)?;
            let dialer = self.dialer.clone();
            start(&self.mailbox, number, async move {
                let dialled = dialer.dial(node, &protocol).await;
                dialled.map_or_else(Item::from, Item::Connected)
            })
        }

        /// Leaves the bytes of the answer.
        fn ask(
            &self,
            number: u64,
            connection: &Connection,
            request: Vec<u8>,
            max_answer_bytes: usize,
            inflow: &Inflow,
        ) -> PyResult<Task> {
            let connection = connection.0.clone();
            let inflow = inflow.0.clone();
            start(&self.mailbox, number, async move {
                let answer = asking::ask(&connection, &request, max_answer_bytes, &inflow).await;
                answer.map_or_else(Item::from, Item::Answered)
            })
        }

        /// Ends all connections, and leaves None when the other sides could hear of it.
        fn close(&self, number: u64) -> PyResult<Task> {
            let dialer = self.dialer.clone();
            start(&self.mailbox, number, async move {
                dialer.close().await;
                Item::Closed
            })
        }
    }

    /// An open connection.
    #[pyclass(frozen)]
    struct Connection(asking::Connection);

    #[pymethods]
    impl Connection {
        /// Why it is over; None while it is not.
        fn end(&self) -> Option<String> {
            asking::end_of(&self.0)
        }

        /// Ends it, and every request of it. Codes are of the protocol.
        fn close(&self, code: u32, reason: &[u8]) {
            self.0.close(code.into(), reason);
        }
    }

    /// Serves one protocol to all who ask, and leaves each `Request` under `number`, after the `Server`.
    ///
    /// `relays` None is none at all. Raises `ValueError` for what is no address, key or URL.
    #[pyfunction]
    #[pyo3(signature = (
        mailbox, number, *, secret, listen, protocol, relays, pkarr, resolves_pkarr, publishes_pkarr, uses_n0,
        max_connections, max_requests, max_request_bytes, arrival_s, idle_s,
    ))]
    #[expect(clippy::too_many_arguments, reason = "each has its name at the caller")]
    fn serve(
        mailbox: &Mailbox,
        number: u64,
        secret: [u8; 32],
        listen: &str,
        protocol: Vec<u8>,
        relays: Option<Vec<String>>,
        pkarr: Option<&str>,
        resolves_pkarr: bool,
        publishes_pkarr: bool,
        uses_n0: bool,
        max_connections: usize,
        max_requests: u32,
        max_request_bytes: usize,
        arrival_s: u32,
        idle_s: u32,
    ) -> PyResult<Task> {
        let listen = socket_address(listen)?;
        let discovery = Discovery {
            pkarr: pkarr.map(url).transpose()?,
            resolves_pkarr,
            publishes_pkarr,
            uses_n0,
        };
        let relays = match relays {
            None => Relays::None,
            Some(urls) => Relays::Some(
                urls.iter()
                    .map(|one| relay_url(one))
                    .collect::<PyResult<_>>()?,
            ),
        };
        let limits = Limits {
            connections: max_connections,
            requests: max_requests as usize,
            request_bytes: max_request_bytes,
            arrival: Duration::from_secs(arrival_s.into()),
            idle: Duration::from_secs(idle_s.into()),
        };
        let (secret, handed_on) = (SecretKey::from_bytes(&secret), mailbox.0.clone());
        start(&mailbox.0, number, async move {
            let bound =
                endpoint::serving(secret, listen, &protocol, relays, &discovery, max_requests);
            match bound.await {
                Err(failed) => Item::from(failed),
                Ok(endpoint) => {
                    serving::start(endpoint.clone(), limits, move |request| {
                        handed_on.post(number, Item::Asked(request));
                    });
                    Item::Serving(endpoint)
                }
            }
        })
    }

    /// What `serve` has made.
    #[pyclass(frozen)]
    struct Server {
        node_id: String,
        address: String,
        /// None once it is closed, so that its port is free.
        endpoint: Mutex<Option<endpoint::Endpoint>>,
    }

    impl From<endpoint::Endpoint> for Server {
        fn from(endpoint: endpoint::Endpoint) -> Self {
            Self {
                node_id: endpoint.node_id().to_string(),
                address: endpoint::bound_address(&endpoint).to_string(),
                endpoint: Mutex::new(Some(endpoint)),
            }
        }
    }

    #[pymethods]
    impl Server {
        /// By which it is dialled, as hex.
        fn node_id(&self) -> &str {
            &self.node_id
        }

        /// Where it listens, as `ip:port`.
        fn address(&self) -> &str {
            &self.address
        }

        /// Ends all its connections, and leaves None when the other sides could hear of it.
        fn close(&self, mailbox: &Mailbox, number: u64) -> PyResult<Task> {
            let mut endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
            let endpoint = endpoint.take();
            start(&mailbox.0, number, async move {
                if let Some(endpoint) = endpoint {
                    endpoint.close().await;
                }
                Item::Closed
            })
        }
    }

    /// Somebody's request. Without an answer, and forgotten, it ends with an error for them.
    #[pyclass(frozen)]
    struct Request(Mutex<Option<serving::Request>>);

    impl Request {
        fn with<T>(&self, look: impl FnOnce(&serving::Request) -> T) -> Option<T> {
            let request = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            request.as_ref().map(look)
        }
    }

    #[pymethods]
    impl Request {
        /// Its bytes, none once it is answered.
        fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
            let body = self.with(|request| PyBytes::new(py, &request.body));
            body.unwrap_or_else(|| PyBytes::new(py, &[]))
        }

        /// Answers it, once.
        fn answer(&self, body: Vec<u8>) {
            let mut request = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(request) = request.take() {
                request.answer(body);
            }
        }

        /// Whether nobody waits for the answer any more.
        fn is_abandoned(&self) -> bool {
            self.with(serving::Request::is_abandoned).unwrap_or(true)
        }
    }

    /// The node id of a secret key, as hex.
    #[pyfunction]
    fn node_id_of(secret: [u8; 32]) -> String {
        SecretKey::from_bytes(&secret).public().to_string()
    }

    fn node_id(text: &str) -> PyResult<NodeId> {
        text.parse()
            .map_err(|_| PyValueError::new_err("a node id is the 64 hex digits of a public key"))
    }

    fn socket_address(text: &str) -> PyResult<SocketAddr> {
        text.parse().map_err(|_| {
            PyValueError::new_err("an address is an IP address and a port: 127.0.0.1:8178")
        })
    }

    fn url(text: &str) -> PyResult<Url> {
        text.parse()
            .map_err(|_| PyValueError::new_err("this is no URL; https://dns.example is one"))
    }

    fn relay_url(text: &str) -> PyResult<RelayUrl> {
        url(text).map(RelayUrl::from)
    }
}
