//! The hub's rows: where each lies and who pays for its memory.
//!
//! A channel's row is its owner's, a token's is paid by who admits it, a root's and a pin's by who brings it. Nobody can make the hub's account pay: what comes in by a
//! transfer only changes rows that are there, and no row changes its size.

use ring0_antelope_machine::account::{Name, Token};
use ring0_antelope_machine::channel::Channel;
use ring0_antelope_machine::hash::{Address, Host, Word};
use ring0_antelope_machine::hub::{Hub, Settings, Status};
use ring0_antelope_machine::message::Domains;
use ring0_antelope_machine::vault::{Posted, Vault};

use crate::chain::{self, Row, Table, refuse, require};
use crate::packed::{Input, Output, Packed};

/// A name's number from its letters.
pub(crate) const fn name(letters: &[u8]) -> Name {
    let mut value = 0;
    let mut place = 0;
    while place < letters.len() {
        let index = match letters[place] {
            letter @ b'a'..=b'z' => letter - b'a' + 6,
            digit @ b'1'..=b'5' => digit - b'1' + 1,
            _ => 0,
        };
        assert!(place < 12, "names here have up to 12 letters");
        value |= (index as u64) << (59 - 5 * place);
        place += 1;
    }
    Name(value)
}

/// A row and what is in it.
pub(crate) struct Kept<T> {
    row: Row,
    pub(crate) value: T,
}

impl<T: for<'a> Packed<'a>> Kept<T> {
    fn load(table: &Table, key: u64) -> Option<Kept<T>> {
        let row = table.find(key)?;
        let mut buffer = [0; 512];
        let mut input = Input(row.read(&mut buffer));
        let value = input.read();
        input.end();
        Some(Kept { row, value })
    }

    /// Writes back what has changed.
    pub(crate) fn keep(&self) {
        self.row.update(Output::of(&self.value).bytes());
    }

    pub(crate) fn remove(self) {
        self.row.remove();
    }
}

fn store<'a>(table: &Table, payer: Name, key: u64, value: &impl Packed<'a>) {
    table.store(payer, key, Output::of(value).bytes());
}

/// A revoked session key.
struct Revocation {
    cosigner: Address,
    session: Address,
    from_epoch: u64,
}

/// A pinned block.
struct Pin {
    id: Word,
    number: u32,
}

/// A posted root of a token.
pub(crate) struct Root {
    pub(crate) token: Token,
    pub(crate) posted: Posted,
}

macro_rules! rows {
    ($($row:ident { $($field:ident),* })*) => { $(
        impl Packed<'_> for $row {
            fn unpack(from: &mut Input) -> $row {
                $(let $field = from.read();)*
                $row { $($field),* }
            }

            fn pack(&self, to: &mut Output) {
                $(self.$field.pack(to);)*
            }
        }
    )* };
}

rows! {
    Revocation { cosigner, session, from_epoch }
    Pin { id, number }
    Root { token, posted }
}

/// All tables of one hub.
#[derive(Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) hub: Name,
}

/// Two halves of a hash: scope and key. Nobody finds two hashes that share both.
fn halves(hash: &Word) -> (u64, u64) {
    let half = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    (half(8), half(0))
}

/// The row's hash of two addresses.
fn pair(cosigner: &Address, session: &Address) -> Word {
    let mut bytes = [0; 40];
    bytes[..20].copy_from_slice(cosigner);
    bytes[20..].copy_from_slice(session);
    chain::keccak(&bytes)
}

impl Tables {
    fn table(&self, letters: &[u8], scope: u64) -> Table {
        Table {
            hub: self.hub,
            scope,
            name: name(letters),
        }
    }

    fn single(&self, letters: &[u8]) -> (Table, u64) {
        (self.table(letters, self.hub.0), name(letters).0)
    }

    /// Writes the settings, once for all.
    pub(crate) fn init(&self, settings: &Settings, status: &Status) {
        let (table, key) = self.single(b"settings");
        require(table.find(key).is_none(), "the hub has its settings");
        store(&table, self.hub, key, settings);
        let (table, key) = self.single(b"status");
        store(&table, self.hub, key, status);
    }

    pub(crate) fn settings(&self) -> Settings {
        let (table, key) = self.single(b"settings");
        match Kept::load(&table, key) {
            Some(Kept { value, .. }) => value,
            None => refuse(&"the hub has no settings yet; its account calls init once"),
        }
    }

    pub(crate) fn status(&self) -> Kept<Status> {
        let (table, key) = self.single(b"status");
        match Kept::load(&table, key) {
            Some(kept) => kept,
            None => refuse(&"the hub has no settings yet; its account calls init once"),
        }
    }

    fn vault_table(&self, token: &Token) -> Table {
        self.table(b"vaults", token.contract.0)
    }

    pub(crate) fn vault(&self, token: &Token) -> Kept<Vault> {
        match Kept::load(&self.vault_table(token), token.symbol.0) {
            Some(kept) => kept,
            None => refuse(&"the hub does not know the token; addtoken admits it"),
        }
    }

    pub(crate) fn add_vault(&self, payer: Name, token: &Token) {
        let table = self.vault_table(token);
        require(
            table.find(token.symbol.0).is_none(),
            "the hub has the token",
        );
        store(&table, payer, token.symbol.0, &Vault::default());
    }

    /// A channel that is there, by its whole id.
    pub(crate) fn channel(&self, id: &Word) -> Kept<Channel> {
        let table = self.table(b"channels", self.hub.0);
        match Kept::<Channel>::load(&table, halves(id).1) {
            Some(kept) if kept.value.id == *id => kept,
            _ => refuse(&"channel was never opened"),
        }
    }

    pub(crate) fn add_channel(&self, channel: &Channel) {
        let table = self.table(b"channels", self.hub.0);
        let key = halves(&channel.id).1;
        require(
            table.find(key).is_none(),
            "channel id used before; take another nonce",
        );
        store(&table, channel.terms.owner, key, channel);
    }

    fn pin_place(&self, id: &Word) -> (Table, u64) {
        let (scope, key) = halves(&chain::keccak(id));
        (self.table(b"pins", scope), key)
    }

    pub(crate) fn add_pin(&self, payer: Name, id: &Word, number: u32) {
        let (table, key) = self.pin_place(id);
        require(table.find(key).is_none(), "block is pinned");
        store(&table, payer, key, &Pin { id: *id, number });
    }

    fn root_place(&self, entry: &Word) -> (Table, u64) {
        let (scope, key) = halves(entry);
        (self.table(b"roots", scope), key)
    }

    pub(crate) fn root(&self, entry: &Word) -> Option<Kept<Root>> {
        let (table, key) = self.root_place(entry);
        Kept::load(&table, key).filter(|it: &Kept<Root>| it.value.posted.entry == *entry)
    }

    /// A root that was posted before and is posted again has a new time and number.
    pub(crate) fn put_root(&self, payer: Name, root: &Root) {
        let (table, key) = self.root_place(&root.posted.entry);
        match table.find(key) {
            Some(row) => row.update(Output::of(root).bytes()),
            None => store(&table, payer, key, root),
        }
    }

    fn revocation_place(&self, cosigner: &Address, session: &Address) -> (Table, u64) {
        let (scope, key) = halves(&pair(cosigner, session));
        (self.table(b"revocations", scope), key)
    }

    pub(crate) fn put_revocation(
        &self,
        payer: Name,
        cosigner: &Address,
        session: &Address,
        from_epoch: u64,
    ) {
        let (table, key) = self.revocation_place(cosigner, session);
        let revocation = Revocation {
            cosigner: *cosigner,
            session: *session,
            from_epoch,
        };
        match table.find(key) {
            Some(row) => row.update(Output::of(&revocation).bytes()),
            None => store(&table, payer, key, &revocation),
        }
    }

    /// The hub as the machine sees it.
    pub(crate) fn hub<'a>(&'a self, settings: &'a Settings, status: Status) -> Hub<'a, Tables> {
        let address = self.hub.address();
        Hub {
            host: self,
            address,
            settings,
            domains: Domains::new(self, &settings.lineage, &address, &settings.venue),
            status,
            now: chain::now(),
        }
    }
}

impl Host for Tables {
    fn keccak(&self, bytes: &[u8]) -> Word {
        chain::keccak(bytes)
    }

    fn recover(&self, digest: &Word, parity: u8, r: &Word, s: &Word) -> Option<[u8; 64]> {
        chain::recover(digest, parity, r, s)
    }

    fn is_pinned(&self, branch: &Word) -> bool {
        let (table, key) = self.pin_place(branch);
        Kept::load(&table, key).is_some_and(|it: Kept<Pin>| it.value.id == *branch)
    }

    fn revoked_from(&self, cosigner: &Address, session: &Address) -> u64 {
        let (table, key) = self.revocation_place(cosigner, session);
        match Kept::<Revocation>::load(&table, key) {
            Some(Kept { value, .. })
                if (value.cosigner, value.session) == (*cosigner, *session) =>
            {
                value.from_epoch
            }
            _ => 0,
        }
    }

    fn posted(&self, entry: &Word) -> Option<Posted> {
        self.root(entry).map(|it| it.value.posted)
    }
}
