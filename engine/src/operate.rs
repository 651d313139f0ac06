//! Control commands: recorded, carried out, published. Rule: `docs/matching.md#control-commands`; bodies in `control.rs`.
//!
//! What each does is with what it is about: accounts, sessions, listings, markets, mass cancels, busts.

use crate::Reason;
use crate::control::ControlKind;
use crate::outbox::{Done, Recorder};
use crate::shard::Shard;

pub(crate) const DONE: Done = Done::accepted(0);

/// A word of a body, by field; for fields of 8 bytes.
macro_rules! word {
    ($shard:expr, $body:ty, $field:ident) => {{
        const AT: usize = core::mem::offset_of!($body, $field);
        const _: () = assert!(AT % 8 == 0);
        $shard.control_body((AT / 8) as u32)
    }};
}
pub(crate) use word;

/// Half a word of a body, by field; for fields of 4 bytes.
macro_rules! half {
    ($shard:expr, $body:ty, $field:ident) => {{
        const AT: usize = core::mem::offset_of!($body, $field);
        const _: () = assert!(AT % 4 == 0);
        ($shard.control_body((AT / 8) as u32) >> (AT % 8 * 8)) as u32
    }};
}
pub(crate) use half;

pub(crate) const fn rejected(reason: Reason) -> Done {
    Done::rejected(reason as u8)
}

impl Shard<'_> {
    /// Carries out one control command whose body `word(0)` … `word(11)` gives, records it and publishes. A broken shard takes none:
    /// false.
    #[inline(always)]
    pub fn control<R: Recorder>(
        self,
        kind: u32,
        boot_ns: u64,
        recorder: &R,
        word: impl Fn(u32) -> u64,
    ) -> bool {
        let header = self.header();
        if header.broken.get() != 0 {
            return false;
        }
        header.packet_work.set(0);
        if kind == ControlKind::Clock as u32 {
            header.day_base_ns.set(word(0));
        }
        header.time_ns.set(self.now(boot_ns));
        self.record_control(kind);
        self.record_control_body(0, word(0));
        self.record_control_body(1, word(1));
        self.record_control_body(2, word(2));
        self.record_control_body(3, word(3));
        self.record_control_body(4, word(4));
        self.record_control_body(5, word(5));
        self.record_control_body(6, word(6));
        self.record_control_body(7, word(7));
        self.record_control_body(8, word(8));
        self.record_control_body(9, word(9));
        self.record_control_body(10, word(10));
        self.record_control_body(11, word(11));
        let done = self.operate(kind);
        self.record_control_result(done);
        self.publish(recorder);
        true
    }

    /// By groups, each a function of its own: what one of them keeps on the stack is not there while another one works.
    #[inline(always)]
    fn operate(self, kind: u32) -> Done {
        const CLOCK: u32 = ControlKind::Clock as u32;
        const OPEN_ACCOUNT: u32 = ControlKind::OpenAccount as u32;
        const DEPOSIT: u32 = ControlKind::Deposit as u32;
        const WITHDRAW: u32 = ControlKind::Withdraw as u32;
        const SET_LIMIT: u32 = ControlKind::SetLimit as u32;
        const SETTLEMENT_MARK: u32 = ControlKind::SettlementMark as u32;
        const LIST: u32 = ControlKind::List as u32;
        const GRANT: u32 = ControlKind::GrantSession as u32;
        const CLOSE_SESSION: u32 = ControlKind::CloseSession as u32;
        const KILL_SESSION: u32 = ControlKind::KillSession as u32;
        const REVIVE_SESSION: u32 = ControlKind::ReviveSession as u32;
        const HALT_SHARD: u32 = ControlKind::HaltShard as u32;
        const RESUME_SHARD: u32 = ControlKind::ResumeShard as u32;
        const SET_RISK: u32 = ControlKind::SetRisk as u32;
        const SET_SELF_TRADE: u32 = ControlKind::SetSelfTrade as u32;
        const KILL_ACCOUNT: u32 = ControlKind::KillAccount as u32;
        const REVIVE_ACCOUNT: u32 = ControlKind::ReviveAccount as u32;
        const DISCONNECT: u32 = ControlKind::Disconnect as u32;
        const EXPIRE: u32 = ControlKind::Expire as u32;
        const OPEN_DAY: u32 = ControlKind::OpenDay as u32;
        const MOVE_LADDER: u32 = ControlKind::MoveLadder as u32;
        const BUST: u32 = ControlKind::Bust as u32;
        const SET_STATE: u32 = ControlKind::SetState as u32;
        const SET_BANDS: u32 = ControlKind::SetBands as u32;
        const UNCROSS: u32 = ControlKind::Uncross as u32;
        const INDICATE: u32 = ControlKind::Indicate as u32;
        const CLEAR: u32 = ControlKind::Clear as u32;
        const CLOSE_DAY: u32 = ControlKind::CloseDay as u32;
        const DELIST: u32 = ControlKind::Delist as u32;
        const GAP: u32 = ControlKind::Gap as u32;
        const ROUTE: u32 = ControlKind::Route as u32;
        const TRANSFER_OUT: u32 = ControlKind::TransferOut as u32;
        const TRANSFER_IN: u32 = ControlKind::TransferIn as u32;
        const TRANSFER_DONE: u32 = ControlKind::TransferDone as u32;
        match kind {
            // The day base was set before the command's time; a gap is told by its record.
            CLOCK | GAP => DONE,
            OPEN_ACCOUNT | SET_RISK | SET_SELF_TRADE | REVIVE_ACCOUNT => self.control_account(kind),
            DEPOSIT | WITHDRAW | SET_LIMIT | SETTLEMENT_MARK => self.control_balance(kind),
            GRANT => self.grant_session(),
            CLOSE_SESSION | REVIVE_SESSION => self.control_session(kind),
            KILL_SESSION | KILL_ACCOUNT | DISCONNECT => self.control_mass(kind),
            EXPIRE => self.control_expire(),
            LIST => self.list_instrument(),
            SET_STATE | UNCROSS | INDICATE | CLEAR | CLOSE_DAY | DELIST => {
                self.control_market(kind)
            }
            SET_BANDS => self.set_bands(),
            MOVE_LADDER => self.move_ladder(),
            OPEN_DAY => self.open_day(),
            BUST => self.bust(),
            ROUTE => self.route(),
            TRANSFER_OUT | TRANSFER_IN | TRANSFER_DONE => self.transfer(kind),
            HALT_SHARD => {
                self.header().halted.set(1);
                DONE
            }
            RESUME_SHARD => {
                crate::region::clear32(&self.header().halted);
                DONE
            }
            _ => rejected(Reason::UnknownControl),
        }
    }
}
