//! Deposits to and withdrawals from the exchange's accounts: the rail and its node together.

use std::{
    error::Error,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use bitcoin::{Amount, Network, hashes::sha256};
use lightning_invoice::{Bolt11Invoice, Currency};

use crate::{
    amount::{Msat, Scale},
    book::Progress,
    journal::{Account, Entry, Journal},
    node::{Node, NodeError, Options, PayError, Payments},
    rail::{Done, Limits, Rail, RailError},
};

/// What is not done for an account.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The rail's reason.
    #[error(transparent)]
    Rail(#[from] RailError),
    /// The node's reason.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Not an invoice.
    #[error("this is no invoice ({0}); give one in BOLT 11, which begins with `ln`")]
    NoInvoice(String),
    /// Another chain's.
    #[error("the invoice is of another network ({0:?}) than this exchange's node")]
    OtherNetwork(Currency),
    /// It names no amount.
    #[error("the invoice names no amount; say how much is to be paid, in millisatoshi")]
    NoAmount,
    /// Two amounts.
    #[error("the invoice asks for {invoice}, and {given} are to be paid; leave the amount away")]
    OtherAmount {
        /// The invoice's.
        invoice: Msat,
        /// What was given.
        given: Msat,
    },
    /// The exchange's own.
    #[error("the invoice is this exchange's own: move the amount between the two accounts instead")]
    Own,
}

/// What stands behind the accounts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cover {
    /// What customers own on the rail, millisatoshi.
    pub owed_msat: u128,
    /// What leaving all channels now would give, fees of leaving taken off.
    pub channels: Amount,
    /// Spendable coins of the node's wallet.
    pub wallet: Amount,
}

/// An invoice that can be paid.
#[derive(Clone, Debug)]
pub struct Payable {
    /// Its payment hash.
    pub hash: sha256::Hash,
    /// What the payee gets.
    pub amount: Msat,
    /// The invoice.
    pub invoice: Bolt11Invoice,
}

impl Payable {
    /// Seconds for which it is valid from now on.
    #[must_use]
    pub fn left_s(&self) -> u64 {
        let ends = self.invoice.expires_at().unwrap_or_default();
        ends.as_secs().saturating_sub(now_s())
    }
}

/// The node tells it, the rail writes it down.
struct Desk<J>(Mutex<Rail<J>>);

impl<J> Desk<J> {
    fn rail(&self) -> MutexGuard<'_, Rail<J>> {
        self.0.lock().expect("no panic while locked")
    }
}

impl<J: Journal + Send> Payments for Desk<J> {
    fn claimable(&self, hash: sha256::Hash, amount: Msat) -> bool {
        self.rail().claimable(&hash, amount, now_s()).is_ok()
    }

    fn claimed(&self, hash: sha256::Hash, amount: Msat) -> Result<(), Box<dyn Error>> {
        self.rail().claimed(hash, amount)?;
        Ok(())
    }

    fn sent(
        &self,
        hash: sha256::Hash,
        fee: Option<Msat>,
        preimage: &str,
    ) -> Result<(), Box<dyn Error>> {
        let mut rail = self.rail();
        // LDK knows every fee of this version's payments. Should it not, the account has agreed to pay the limit.
        let limit = rail
            .book()
            .withdrawal(&hash)
            .map(|withdrawal| withdrawal.fee_limit);
        rail.sent(hash, fee.or(limit).unwrap_or_default(), preimage)?;
        Ok(())
    }

    fn failed(&self, hash: sha256::Hash, reason: &str) -> Result<(), Box<dyn Error>> {
        self.rail().failed(hash, reason)?;
        Ok(())
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// An exchange's Lightning: one journal, one node.
pub struct Exchange<J> {
    desk: Arc<Desk<J>>,
    node: Node,
    network: Network,
}

impl<J: Journal + Send + 'static> Exchange<J> {
    /// Opens journal and node, brings both to one state, and runs the node.
    ///
    /// What the node has not told before a crash it tells now. A withdrawal that is held and that the node does not know was never
    /// sent, because the node writes a payment down before a peer hears of it: its hold is released.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub fn open(
        options: Options,
        journal: J,
        entries: &[Entry],
        limits: Limits,
        scale: Scale,
    ) -> Result<Self, ExchangeError> {
        let desk = Arc::new(Desk(Mutex::new(Rail::open(
            journal, entries, limits, scale, now_s,
        )?)));
        let network = options.network;
        let mut node = Node::load(options, desk.clone())?;
        node.turn()?;
        let in_hand = node.in_hand();
        let unsent: Vec<_> = desk
            .rail()
            .book()
            .under_way()
            .map(|(hash, _)| *hash)
            .filter(|hash| !in_hand.contains(hash))
            .collect();
        for hash in unsent {
            desk.rail()
                .failed(hash, "the exchange stopped before it was sent")?;
        }
        node.run()?;
        Ok(Self {
            desk,
            node,
            network,
        })
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The rail. No call of the node may be made while it is kept.
    ///
    /// # Panics
    /// After a panic with it.
    pub fn rail(&self) -> MutexGuard<'_, Rail<J>> {
        self.desk.rail()
    }

    /// An invoice; what is paid for it is the account's when it is claimed.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub fn invoice(
        &self,
        account: Account,
        amount: Msat,
        description: &str,
        expiry_s: u32,
    ) -> Result<Bolt11Invoice, ExchangeError> {
        self.rail().may_invoice(amount, expiry_s)?;
        let invoice = self.node.invoice(Some(amount), description, expiry_s)?;
        self.rail()
            .invoiced(*invoice.payment_hash(), account, amount, now_s(), expiry_s)?;
        Ok(invoice)
    }

    /// Reads an invoice that is to be paid. `amount` is for invoices that name none.
    ///
    /// # Errors
    /// It is none, of another network, this exchange's own, or its amount is not the one given.
    pub fn payable(&self, invoice: &str, amount: Option<Msat>) -> Result<Payable, ExchangeError> {
        let parsed = Bolt11Invoice::from_str(invoice.trim())
            .map_err(|error| ExchangeError::NoInvoice(error.to_string()))?;
        if parsed.currency() != Currency::from(self.network) {
            return Err(ExchangeError::OtherNetwork(parsed.currency()));
        }
        if parsed.get_payee_pub_key() == self.node.id() {
            return Err(ExchangeError::Own);
        }
        let named = parsed
            .amount_milli_satoshis()
            .map(Msat::new)
            .transpose()
            .map_err(RailError::from)?;
        let amount = match (named, amount) {
            (Some(invoice), Some(given)) if invoice != given => {
                return Err(ExchangeError::OtherAmount { invoice, given });
            }
            (Some(amount), _) | (None, Some(amount)) => amount,
            (None, None) => return Err(ExchangeError::NoAmount),
        };
        Ok(Payable {
            hash: *parsed.payment_hash(),
            amount,
            invoice: parsed,
        })
    }

    /// Pays an invoice from an account: amount and fee limit are held, and what is left of the limit comes back. The same call again
    /// does nothing but say how far it is. `amount` is for invoices that name none.
    ///
    /// # Errors
    /// See [`ExchangeError`]; nothing was held then.
    pub fn withdraw(
        &self,
        account: Account,
        invoice: &str,
        amount: Option<Msat>,
        fee_limit: Msat,
    ) -> Result<Progress, ExchangeError> {
        let payable = self.payable(invoice, amount)?;
        let (hash, amount, left_s) = (payable.hash, payable.amount, payable.left_s());
        let parsed = payable.invoice;
        let text = parsed.to_string();
        let held = self
            .rail()
            .hold(hash, account, amount, fee_limit, &text, left_s)?;
        if held == Done::Now {
            // From here on it is under way, whatever happens: the node tells how it ends, now or after a restart.
            match self.node.pay(&parsed, amount, fee_limit) {
                Ok(()) | Err(PayError::UnderWay) => {}
                Err(PayError::Never(reason)) => {
                    self.rail().failed(hash, &reason)?;
                }
            }
        }
        let rail = self.rail();
        let withdrawal = rail
            .book()
            .withdrawal(&hash)
            .expect("it is held, or was before");
        Ok(withdrawal.progress.clone())
    }

    /// What stands behind the accounts.
    pub fn cover(&self) -> Cover {
        let channels = self
            .node
            .balances()
            .iter()
            .map(|it| it.claimable_amount_satoshis())
            .sum();
        Cover {
            owed_msat: self.rail().book().owed(),
            channels: Amount::from_sat(channels),
            wallet: self.node.wallet().balance(),
        }
    }
}
