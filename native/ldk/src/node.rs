//! The node: built over a folder, started, asked, stopped. Every call blocks its thread; none may run in a task.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ldk_node::bip39::Mnemonic;
use ldk_node::bitcoin::hashes::{Hash, sha256};
use ldk_node::bitcoin::secp256k1::PublicKey;
use ldk_node::bitcoin::{Address, FeeRate, Network};
use ldk_node::config::{ChannelConfig, Config};
use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning::routing::gossip::{NodeAlias, NodeId};
use ldk_node::lightning::routing::router::RouteParametersConfig;
use ldk_node::lightning_invoice::{
    Bolt11Invoice, Bolt11InvoiceDescription, Description as Text, Sha256,
};
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use ldk_node::tokio::time;
use ldk_node::{BuildError, Builder, NodeError, UserChannelId};

use crate::background;
use crate::channels::Channel;
use crate::events::Event;
use crate::logs::Logs;
use crate::payments::Payment;

/// The amount that a claim names is only compared with the invoice: what came is never less (the same number is in
/// fedimint-lightning/src/ldk.rs).
const ANY_AMOUNT_MSAT: u64 = 999_999_999_999_999;

/// The node refused or failed: the name of its error, and its words.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    pub name: String,
    pub text: String,
}

impl Failed {
    fn of(name: &str, text: &str) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.text, self.name)
    }
}

impl From<NodeError> for Failed {
    fn from(error: NodeError) -> Self {
        Self::of(&format!("{error:?}"), &error.to_string())
    }
}

impl From<BuildError> for Failed {
    fn from(error: BuildError) -> Self {
        Self::of(&format!("{error:?}"), &error.to_string())
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::of("NoThreads", &error.to_string())
    }
}

/// Where the node reads the chain.
pub enum Chain {
    Bitcoind {
        host: String,
        port: u16,
        user: String,
        password: String,
    },
    Esplora {
        url: String,
    },
}

/// What a node is built of. `recovers` looks for coins of the words from the first block on, if the folder is new.
pub struct Settings {
    pub folder: String,
    pub words: String,
    pub network: String,
    pub port: u16,
    pub alias: Vec<u8>,
    pub recovers: bool,
    pub chain: Chain,
}

/// How far the node follows the chain; times are those of the last success, None before the first ever.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub is_running: bool,
    pub block_height: u32,
    pub lightning_unix_s: Option<u64>,
    pub onchain_unix_s: Option<u64>,
}

/// What an invoice is for.
pub enum Description {
    Text(String),
    Hash([u8; 32]),
}

/// A channel to open.
pub struct ChannelOrder {
    pub public_key: String,
    pub address: String,
    pub capacity_sat: u64,
    pub push_msat: u64,
    pub base_fee_msat: Option<u32>,
    pub parts_per_million: Option<u32>,
}

pub struct Node {
    node: ldk_node::Node,
    network: Network,
    logs: Arc<Logs>,
}

type Outcome<T> = Result<T, Failed>;

impl Node {
    /// Opens the folder as the Rust gateway does (fedimint-lightning/src/ldk.rs), and starts nothing.
    ///
    /// # Errors
    ///
    /// For settings that are none, and when the folder is of other words or another network.
    pub fn build(settings: Settings) -> Outcome<Self> {
        let network = Network::from_str(&settings.network)
            .map_err(|_| Failed::of("InvalidNetwork", "the network is not known"))?;
        let words = Mnemonic::parse(&settings.words)
            .map_err(|_| Failed::of("InvalidMnemonic", "the words are no mnemonic"))?;
        let mut alias = [0; 32];
        let length = settings.alias.len().min(alias.len());
        alias[..length].copy_from_slice(&settings.alias[..length]);
        let mut builder = Builder::from_config(Config {
            network,
            listening_addresses: Some(vec![SocketAddress::TcpIpV4 {
                addr: [0; 4],
                port: settings.port,
            }]),
            node_alias: Some(NodeAlias(alias)),
            ..Config::default()
        });
        let logs = Arc::new(Logs::default());
        builder.set_custom_logger(logs.clone());
        builder.set_entropy_bip39_mnemonic(words, None);
        builder.set_storage_dir_path(settings.folder);
        builder.set_runtime(background::runtime()?.clone());
        match settings.chain {
            Chain::Bitcoind {
                host,
                port,
                user,
                password,
            } => builder.set_chain_source_bitcoind_rpc(host, port, user, password),
            Chain::Esplora { url } => builder.set_chain_source_esplora(url, None),
        };
        if settings.recovers {
            builder.set_wallet_recovery_mode();
        }
        Ok(Self {
            node: builder.build()?,
            network,
            logs,
        })
    }

    /// Starts the node; it follows the chain some time after.
    ///
    /// # Errors
    ///
    /// When its port is taken, among others.
    pub fn start(&self) -> Outcome<()> {
        Ok(self.node.start()?)
    }

    /// Stops it and writes all it knows; takes up to a minute.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn stop(&self) -> Outcome<()> {
        Ok(self.node.stop()?)
    }

    /// The oldest event that was not acknowledged, None if there is none for so long.
    ///
    /// # Errors
    ///
    /// When the threads of the node could not be started.
    pub fn next_event(&self, wait: Duration) -> Outcome<Option<Event>> {
        let next = async { time::timeout(wait, self.node.next_event_async()).await };
        Ok(background::runtime()?.block_on(next).ok().map(Event::from))
    }

    /// Acknowledges the event last told; it is told again after a crash until then.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn event_handled(&self) -> Outcome<()> {
        Ok(self.node.event_handled()?)
    }

    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// The public key, in hex.
    pub fn public_key(&self) -> String {
        self.node.node_id().to_string()
    }

    pub fn alias(&self) -> String {
        let alias = self.node.node_alias();
        alias.map_or_else(String::new, |alias| alias.to_string())
    }

    pub fn status(&self) -> Status {
        let status = self.node.status();
        Status {
            is_running: status.is_running,
            block_height: status.current_best_block.height,
            lightning_unix_s: status.latest_lightning_wallet_sync_timestamp,
            onchain_unix_s: status.latest_onchain_wallet_sync_timestamp,
        }
    }

    /// Coins of the wallet, also those kept back for channels, in satoshi.
    pub fn onchain_sat(&self) -> u64 {
        self.node.list_balances().total_onchain_balance_sats
    }

    /// Begins to pay an invoice with an amount.
    ///
    /// # Errors
    ///
    /// `DuplicatePayment`, and `PaymentSendingFailed` when nothing was sent, for which a record is made.
    pub fn send(&self, invoice: &str, max_fee_msat: u64, max_delay_blocks: u32) -> Outcome<()> {
        let invoice = Bolt11Invoice::from_str(invoice).map_err(|_| NodeError::InvalidInvoice)?;
        let limits = RouteParametersConfig::default()
            .with_max_total_routing_fee_msat(max_fee_msat)
            .with_max_total_cltv_expiry_delta(max_delay_blocks);
        self.node.bolt11_payment().send(&invoice, Some(limits))?;
        Ok(())
    }

    /// The record of a hash, of either direction.
    pub fn payment(&self, payment_hash: [u8; 32]) -> Option<Payment> {
        self.node
            .payment(&PaymentId(payment_hash))
            .map(Payment::from)
    }

    /// Deletes the record of a hash.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn forget(&self, payment_hash: [u8; 32]) -> Outcome<()> {
        Ok(self.node.remove_payment(&PaymentId(payment_hash))?)
    }

    /// All records that changed last within this time, both ends included.
    pub fn payments(&self, start_unix_s: u64, end_unix_s: u64) -> Vec<Payment> {
        let within = start_unix_s..=end_unix_s;
        let found = self
            .node
            .list_payments_with_filter(|payment| within.contains(&payment.latest_update_timestamp));
        found.into_iter().map(Payment::from).collect()
    }

    /// An invoice: with a hash one whose payment waits for `claim` or `fail`. A record of the hash is overwritten.
    ///
    /// # Errors
    ///
    /// When the node cannot make it.
    pub fn receive(
        &self,
        amount_msat: u64,
        description: Description,
        expiry_s: u32,
        payment_hash: Option<[u8; 32]>,
    ) -> Outcome<String> {
        let description = match description {
            Description::Text(text) => {
                let text = Text::new(text).map_err(|_| NodeError::InvoiceCreationFailed)?;
                Bolt11InvoiceDescription::Direct(text)
            }
            Description::Hash(hash) => {
                Bolt11InvoiceDescription::Hash(Sha256(sha256::Hash::from_byte_array(hash)))
            }
        };
        let payments = self.node.bolt11_payment();
        let invoice = match payment_hash {
            None => payments.receive(amount_msat, &description, expiry_s),
            Some(hash) => {
                payments.receive_for_hash(amount_msat, &description, expiry_s, PaymentHash(hash))
            }
        };
        Ok(invoice?.to_string())
    }

    /// Claims a held payment; that it returns proves nothing.
    ///
    /// # Errors
    ///
    /// For another preimage, and for a hash without a record.
    pub fn claim(&self, payment_hash: [u8; 32], preimage: [u8; 32]) -> Outcome<()> {
        let payments = self.node.bolt11_payment();
        let preimage = PaymentPreimage(preimage);
        Ok(payments.claim_for_hash(PaymentHash(payment_hash), ANY_AMOUNT_MSAT, preimage)?)
    }

    /// Fails a held payment back; that it returns proves nothing. Overwrites the record, also one that was claimed.
    ///
    /// # Errors
    ///
    /// For a hash without a record.
    pub fn fail(&self, payment_hash: [u8; 32]) -> Outcome<()> {
        let payments = self.node.bolt11_payment();
        Ok(payments.fail_for_hash(PaymentHash(payment_hash))?)
    }

    /// A fresh address of the wallet.
    ///
    /// # Errors
    ///
    /// When the wallet cannot be written.
    pub fn new_address(&self) -> Outcome<String> {
        Ok(self.node.onchain_payment().new_address()?.to_string())
    }

    /// Sends coins, None all of them and the reserves, and returns the txid.
    ///
    /// # Errors
    ///
    /// When nothing is sent.
    pub fn send_onchain(
        &self,
        address: &str,
        amount_sat: Option<u64>,
        sat_per_vbyte: u64,
    ) -> Outcome<String> {
        let address = Address::from_str(address)
            .ok()
            .and_then(|address| address.require_network(self.network).ok())
            .ok_or(NodeError::InvalidAddress)?;
        let rate = FeeRate::from_sat_per_vb(sat_per_vbyte).ok_or(NodeError::InvalidFeeRate)?;
        let coins = self.node.onchain_payment();
        let txid = match amount_sat {
            Some(amount_sat) => coins.send_to_address(&address, amount_sat, Some(rate))?,
            None => coins.send_all_to_address(&address, false, Some(rate))?,
        };
        Ok(txid.to_string())
    }

    /// Connects, and remembers the peer; being connected is fine.
    ///
    /// # Errors
    ///
    /// When the peer does not answer, and for what is no key or address.
    pub fn connect(&self, public_key: &str, address: &str) -> Outcome<()> {
        let (public_key, address) = peer(public_key, address)?;
        Ok(self.node.connect(public_key, address, true)?)
    }

    /// Connects and begins to open a channel for all to see; its end is an event with the id that is returned.
    ///
    /// # Errors
    ///
    /// When nothing was begun.
    pub fn open_channel(&self, order: &ChannelOrder) -> Outcome<[u8; 16]> {
        let (public_key, address) = peer(&order.public_key, &order.address)?;
        let mut config = ChannelConfig::default();
        if let Some(base_fee_msat) = order.base_fee_msat {
            config.forwarding_fee_base_msat = base_fee_msat;
        }
        if let Some(parts_per_million) = order.parts_per_million {
            config.forwarding_fee_proportional_millionths = parts_per_million;
        }
        let id = self.node.open_announced_channel(
            public_key,
            address,
            order.capacity_sat,
            Some(order.push_msat).filter(|push_msat| *push_msat > 0),
            Some(config),
        )?;
        Ok(id.0.to_be_bytes())
    }

    /// All channels, with what is known of the peers.
    pub fn channels(&self) -> Vec<Channel> {
        let graph = self.node.network_graph();
        let peers = self.node.list_peers();
        let describe = |details: ldk_node::ChannelDetails| {
            let key = details.counterparty_node_id;
            let known = graph.node(&NodeId::from_pubkey(&key));
            let announced = known.and_then(|node| node.announcement_info);
            // The port of a peer that called us is not one that it can be called at.
            let stored = peers
                .iter()
                .find(|peer| peer.node_id == key && peer.is_persisted);
            Channel {
                alias: announced.map(|info| info.alias().to_string()),
                address: stored.map(|peer| peer.address.to_string()),
                ..Channel::from(details)
            }
        };
        self.node
            .list_channels()
            .into_iter()
            .map(describe)
            .collect()
    }

    /// Begins to close a channel; nothing happens to one that is not there.
    ///
    /// # Errors
    ///
    /// When it stays open.
    pub fn close_channel(
        &self,
        user_channel_id: [u8; 16],
        public_key: &str,
        force: bool,
    ) -> Outcome<()> {
        let id = UserChannelId(u128::from_be_bytes(user_channel_id));
        let key = key(public_key)?;
        if force {
            let reason = Some("the operator closes it".to_owned());
            self.node.force_close_channel(&id, key, reason)?;
        } else {
            self.node.close_channel(&id, key)?;
        }
        Ok(())
    }

    /// Sets both fees of a channel and keeps the rest of its policy.
    ///
    /// # Errors
    ///
    /// `ChannelConfigUpdateFailed` when there is no such channel, among others.
    pub fn set_channel_fees(
        &self,
        user_channel_id: [u8; 16],
        base_fee_msat: u32,
        parts_per_million: u32,
    ) -> Outcome<()> {
        let id = UserChannelId(u128::from_be_bytes(user_channel_id));
        let channels = self.node.list_channels();
        let channel = channels
            .into_iter()
            .find(|channel| channel.user_channel_id == id)
            .ok_or(NodeError::ChannelConfigUpdateFailed)?;
        let config = ChannelConfig {
            forwarding_fee_base_msat: base_fee_msat,
            forwarding_fee_proportional_millionths: parts_per_million,
            ..channel.config
        };
        let peer = channel.counterparty_node_id;
        Ok(self.node.update_channel_config(&id, peer, config)?)
    }
}

fn key(public_key: &str) -> Outcome<PublicKey> {
    Ok(PublicKey::from_str(public_key).map_err(|_| NodeError::InvalidPublicKey)?)
}

fn peer(public_key: &str, address: &str) -> Outcome<(PublicKey, SocketAddress)> {
    let address = SocketAddress::from_str(address).map_err(|_| NodeError::InvalidSocketAddress)?;
    Ok((key(public_key)?, address))
}
