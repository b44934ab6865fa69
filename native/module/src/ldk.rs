//! The Lightning node inside. Every call blocks its thread, without Python's lock.

use pyo3::prelude::*;

pyo3::create_exception!(
    fedimint_gateway_native,
    LdkError,
    pyo3::exceptions::PyException,
    "The node refused or failed; the arguments are the name of its error and its words."
);

#[pymodule(submodule)]
pub mod ldk {
    use std::time::Duration;

    use fedimint_gateway_ldk::background;
    use fedimint_gateway_ldk::channels::Channel as LdkChannel;
    use fedimint_gateway_ldk::events::Event as LdkEvent;
    use fedimint_gateway_ldk::node::{
        Chain, ChannelOrder, Description, Failed, Node as LdkNode, Settings,
    };
    use fedimint_gateway_ldk::payments::Payment as LdkPayment;
    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;

    use crate::NativeError;
    #[pymodule_export]
    use crate::ldk::LdkError;

    /// What the node tells. `kind` says which of the others are there.
    #[pyclass(frozen, get_all)]
    #[derive(Default)]
    struct Event {
        kind: &'static str,
        payment_hash: Option<[u8; 32]>,
        preimage: Option<[u8; 32]>,
        amount_msat: Option<u64>,
        fee_msat: Option<u64>,
        deadline_height: Option<u32>,
        user_channel_id: Option<[u8; 16]>,
        funding_txid: Option<String>,
        reason: Option<String>,
    }

    impl From<LdkEvent> for Event {
        fn from(event: LdkEvent) -> Self {
            let none = Self::default();
            match event {
                LdkEvent::Claimable {
                    payment_hash,
                    amount_msat,
                    deadline_height,
                } => Self {
                    kind: "claimable",
                    payment_hash: Some(payment_hash),
                    amount_msat: Some(amount_msat),
                    deadline_height,
                    ..none
                },
                LdkEvent::Received { payment_hash } => Self {
                    kind: "received",
                    payment_hash: Some(payment_hash),
                    ..none
                },
                LdkEvent::Paid {
                    payment_hash,
                    preimage,
                    fee_msat,
                } => Self {
                    kind: "paid",
                    payment_hash: Some(payment_hash),
                    preimage,
                    fee_msat,
                    ..none
                },
                LdkEvent::Failed {
                    payment_hash,
                    reason,
                } => Self {
                    kind: "failed",
                    payment_hash,
                    reason: Some(reason),
                    ..none
                },
                LdkEvent::ChannelPending {
                    user_channel_id,
                    funding_txid,
                } => Self {
                    kind: "channel pending",
                    user_channel_id: Some(user_channel_id),
                    funding_txid: Some(funding_txid),
                    ..none
                },
                LdkEvent::ChannelClosed {
                    user_channel_id,
                    reason,
                } => Self {
                    kind: "channel closed",
                    user_channel_id: Some(user_channel_id),
                    reason: Some(reason),
                    ..none
                },
                LdkEvent::Other => Self {
                    kind: "other",
                    ..none
                },
            }
        }
    }

    /// A record of a payment; `status` is Pending, Succeeded or Failed.
    #[pyclass(frozen, get_all)]
    struct Payment {
        id: [u8; 32],
        kind: &'static str,
        payment_hash: Option<[u8; 32]>,
        preimage: Option<[u8; 32]>,
        txid: Option<String>,
        amount_msat: Option<u64>,
        fee_msat: Option<u64>,
        is_outbound: bool,
        status: &'static str,
        updated_unix_s: u64,
    }

    impl From<LdkPayment> for Payment {
        fn from(payment: LdkPayment) -> Self {
            Self {
                id: payment.id,
                kind: payment.kind,
                payment_hash: payment.payment_hash,
                preimage: payment.preimage,
                txid: payment.txid,
                amount_msat: payment.amount_msat,
                fee_msat: payment.fee_msat,
                is_outbound: payment.is_outbound,
                status: payment.status,
                updated_unix_s: payment.updated_unix_s,
            }
        }
    }

    /// A channel; amounts are what can be spent above the reserves.
    #[pyclass(frozen, get_all)]
    struct Channel {
        user_channel_id: [u8; 16],
        public_key: String,
        alias: Option<String>,
        address: Option<String>,
        funding_out_point: Option<String>,
        capacity_sat: u64,
        outbound_msat: u64,
        inbound_msat: u64,
        our_reserve_sat: u64,
        their_reserve_sat: u64,
        is_usable: bool,
        is_ready: bool,
        is_ours: bool,
        base_fee_msat: u32,
        parts_per_million: u32,
    }

    impl From<LdkChannel> for Channel {
        fn from(channel: LdkChannel) -> Self {
            Self {
                user_channel_id: channel.user_channel_id,
                public_key: channel.public_key,
                alias: channel.alias,
                address: channel.address,
                funding_out_point: channel.funding_out_point,
                capacity_sat: channel.capacity_sat,
                outbound_msat: channel.outbound_msat,
                inbound_msat: channel.inbound_msat,
                our_reserve_sat: channel.our_reserve_sat,
                their_reserve_sat: channel.their_reserve_sat,
                is_usable: channel.is_usable,
                is_ready: channel.is_ready,
                is_ours: channel.is_ours,
                base_fee_msat: channel.base_fee_msat,
                parts_per_million: channel.parts_per_million,
            }
        }
    }

    /// How far the node follows the chain; times are those of the last success, None before the first ever.
    #[pyclass(frozen, get_all)]
    struct Status {
        is_running: bool,
        block_height: u32,
        lightning_unix_s: Option<u64>,
        onchain_unix_s: Option<u64>,
    }

    /// Why the node can no longer be relied on, None while it can: a thread of it has panicked.
    #[pyfunction]
    fn broken() -> Option<String> {
        background::broken()
    }

    /// The node over a folder. It is the caller's to see that nobody else has opened it.
    #[pyclass(frozen)]
    struct Node(LdkNode);

    impl Node {
        /// Without Python's lock; a panic is a `NativeError`.
        fn ask<T: Send>(
            &self,
            py: Python<'_>,
            question: impl FnOnce(&LdkNode) -> Result<T, Failed> + Send,
        ) -> PyResult<T> {
            outcome(py, || question(&self.0))
        }
    }

    fn outcome<T: Send>(
        py: Python<'_>,
        work: impl FnOnce() -> Result<T, Failed> + Send,
    ) -> PyResult<T> {
        match py.detach(|| background::caught(work)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Failed { name, text })) => Err(LdkError::new_err((name, text))),
            Err(panicked) => Err(NativeError::new_err(panicked.to_string())),
        }
    }

    #[pymethods]
    impl Node {
        /// Opens the folder and starts nothing. One of `bitcoind` (host, port, user, password) and `esplora` (URL).
        #[new]
        #[pyo3(signature = (*, folder, words, network, port, alias, recovers, bitcoind, esplora))]
        #[expect(clippy::too_many_arguments, reason = "each has its name at the caller")]
        fn new(
            py: Python<'_>,
            folder: String,
            words: String,
            network: String,
            port: u16,
            alias: Vec<u8>,
            recovers: bool,
            bitcoind: Option<(String, u16, String, String)>,
            esplora: Option<String>,
        ) -> PyResult<Self> {
            let chain = match (bitcoind, esplora) {
                (Some((host, port, user, password)), None) => Chain::Bitcoind {
                    host,
                    port,
                    user,
                    password,
                },
                (None, Some(url)) => Chain::Esplora { url },
                _ => return Err(PyValueError::new_err("name one source of the chain")),
            };
            let settings = Settings {
                folder,
                words,
                network,
                port,
                alias,
                recovers,
                chain,
            };
            outcome(py, || LdkNode::build(settings)).map(Self)
        }

        /// Starts the node; it follows the chain some time after.
        fn start(&self, py: Python<'_>) -> PyResult<()> {
            self.ask(py, LdkNode::start)
        }

        /// Stops it and writes all that it knows; takes up to a minute.
        fn stop(&self, py: Python<'_>) -> PyResult<()> {
            self.ask(py, LdkNode::stop)
        }

        /// The oldest event that was not acknowledged, None if there is none for so long.
        fn next_event(&self, py: Python<'_>, wait_ms: u32) -> PyResult<Option<Event>> {
            let wait = Duration::from_millis(wait_ms.into());
            let event = self.ask(py, |node| node.next_event(wait))?;
            Ok(event.map(Event::from))
        }

        /// Acknowledges the event last told.
        fn event_handled(&self, py: Python<'_>) -> PyResult<()> {
            self.ask(py, LdkNode::event_handled)
        }

        /// What was logged since the last call: whether it is an error, where, and the text.
        fn take_logs(&self) -> Vec<(bool, String, String)> {
            let lines = self.0.logs().take();
            lines
                .into_iter()
                .map(|line| (line.is_error, line.module, line.text))
                .collect()
        }

        /// The public key in hex.
        fn public_key(&self, py: Python<'_>) -> PyResult<String> {
            self.ask(py, |node| Ok(node.public_key()))
        }

        fn alias(&self, py: Python<'_>) -> PyResult<String> {
            self.ask(py, |node| Ok(node.alias()))
        }

        fn status(&self, py: Python<'_>) -> PyResult<Status> {
            let status = self.ask(py, |node| Ok(node.status()))?;
            Ok(Status {
                is_running: status.is_running,
                block_height: status.block_height,
                lightning_unix_s: status.lightning_unix_s,
                onchain_unix_s: status.onchain_unix_s,
            })
        }

        fn onchain_sat(&self, py: Python<'_>) -> PyResult<u64> {
            self.ask(py, |node| Ok(node.onchain_sat()))
        }

        /// Begins to pay. Raises `LdkError` DuplicatePayment, and PaymentSendingFailed when nothing was sent.
        fn send(
            &self,
            py: Python<'_>,
            invoice: &str,
            max_fee_msat: u64,
            max_delay_blocks: u32,
        ) -> PyResult<()> {
            self.ask(py, |node| {
                node.send(invoice, max_fee_msat, max_delay_blocks)
            })
        }

        /// The record of a hash, of either direction.
        fn payment(&self, py: Python<'_>, payment_hash: [u8; 32]) -> PyResult<Option<Payment>> {
            let payment = self.ask(py, |node| Ok(node.payment(payment_hash)))?;
            Ok(payment.map(Payment::from))
        }

        /// Deletes the record of a hash.
        fn forget(&self, py: Python<'_>, payment_hash: [u8; 32]) -> PyResult<()> {
            self.ask(py, |node| node.forget(payment_hash))
        }

        /// All records that changed last within this time, both ends included.
        fn payments(
            &self,
            py: Python<'_>,
            start_unix_s: u64,
            end_unix_s: u64,
        ) -> PyResult<Vec<Payment>> {
            let payments = self.ask(py, |node| Ok(node.payments(start_unix_s, end_unix_s)))?;
            Ok(payments.into_iter().map(Payment::from).collect())
        }

        /// An invoice with a description, a text or the hash of one; one with a hash waits for `claim` or `fail`.
        #[pyo3(signature = (*, amount_msat, description, description_hash, expiry_s, payment_hash))]
        fn receive(
            &self,
            py: Python<'_>,
            amount_msat: u64,
            description: Option<String>,
            description_hash: Option<[u8; 32]>,
            expiry_s: u32,
            payment_hash: Option<[u8; 32]>,
        ) -> PyResult<String> {
            let description = match (description, description_hash) {
                (Some(text), None) => Description::Text(text),
                (None, Some(hash)) => Description::Hash(hash),
                _ => return Err(PyValueError::new_err("name one description")),
            };
            self.ask(py, |node| {
                node.receive(amount_msat, description, expiry_s, payment_hash)
            })
        }

        /// Claims a held payment; that it returns proves nothing.
        fn claim(
            &self,
            py: Python<'_>,
            payment_hash: [u8; 32],
            preimage: [u8; 32],
        ) -> PyResult<()> {
            self.ask(py, |node| node.claim(payment_hash, preimage))
        }

        /// Fails a held payment back; that it returns proves nothing. Never after `claim`.
        fn fail(&self, py: Python<'_>, payment_hash: [u8; 32]) -> PyResult<()> {
            self.ask(py, |node| node.fail(payment_hash))
        }

        fn new_address(&self, py: Python<'_>) -> PyResult<String> {
            self.ask(py, LdkNode::new_address)
        }

        /// Sends coins, None all of them, and returns the txid. Nothing is sent when it raises `LdkError`.
        fn send_onchain(
            &self,
            py: Python<'_>,
            address: &str,
            amount_sat: Option<u64>,
            sat_per_vbyte: u64,
        ) -> PyResult<String> {
            self.ask(py, |node| {
                node.send_onchain(address, amount_sat, sat_per_vbyte)
            })
        }

        /// Connects and remembers the peer; being connected is fine.
        fn connect(&self, py: Python<'_>, public_key: &str, address: &str) -> PyResult<()> {
            self.ask(py, |node| node.connect(public_key, address))
        }

        /// Begins to open a channel; its end is an event with the id that is returned.
        #[pyo3(signature = (
            *, public_key, address, capacity_sat, push_msat, base_fee_msat, parts_per_million,
        ))]
        #[expect(clippy::too_many_arguments, reason = "each has its name at the caller")]
        fn open_channel(
            &self,
            py: Python<'_>,
            public_key: String,
            address: String,
            capacity_sat: u64,
            push_msat: u64,
            base_fee_msat: Option<u32>,
            parts_per_million: Option<u32>,
        ) -> PyResult<[u8; 16]> {
            let order = ChannelOrder {
                public_key,
                address,
                capacity_sat,
                push_msat,
                base_fee_msat,
                parts_per_million,
            };
            self.ask(py, |node| node.open_channel(&order))
        }

        fn channels(&self, py: Python<'_>) -> PyResult<Vec<Channel>> {
            let channels = self.ask(py, |node| Ok(node.channels()))?;
            Ok(channels.into_iter().map(Channel::from).collect())
        }

        fn close_channel(
            &self,
            py: Python<'_>,
            user_channel_id: [u8; 16],
            public_key: &str,
            force: bool,
        ) -> PyResult<()> {
            self.ask(py, |node| {
                node.close_channel(user_channel_id, public_key, force)
            })
        }

        /// Sets both fees of a channel and keeps the rest of its policy.
        fn set_channel_fees(
            &self,
            py: Python<'_>,
            user_channel_id: [u8; 16],
            base_fee_msat: u32,
            parts_per_million: u32,
        ) -> PyResult<()> {
            self.ask(py, |node| {
                node.set_channel_fees(user_channel_id, base_fee_msat, parts_per_million)
            })
        }
    }
}
