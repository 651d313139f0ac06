//! What settlement asks of a shard: accounts that open while it trades, marks and limits by the thousand, and an asset that stands still because its
//! figures do not agree (CUSTODY 11 to 13, RULES 19).

use crate::daemon::Daemon;
use crate::instrument::rejected;
use ring0_engine::Reason;
use ring0_engine::control::{
    Control, ControlKind, OpenAccount, SetLimit, SetState, SettlementMark,
};
use ring0_engine::limits::AMOUNT_MAX;
use ring0_engine::record::{Outcome, State};
use serde_json::{Value, json};
use std::time::Instant;

impl Daemon {
    /// Opens an account; one that is open stays as it is.
    pub(crate) fn open_account(&mut self, name: &str) -> Result<Value, String> {
        let account = self.account(name)?;
        if self.shard.account(account).is_some() {
            let mut answer = json!({ "ok": true, "outcome": "known" });
            self.note_durable(&mut answer);
            return Ok(answer);
        }
        let body = OpenAccount {
            account,
            reserved: 0,
        };
        let answer = self.control(ControlKind::OpenAccount, &body)?;
        self.accounts_end = self.accounts_end.max(account + 1);
        Ok(answer)
    }

    /// Carries many commands out, in order. Says how many were accepted, and of the others the place in what was asked and the reason.
    fn many(&mut self, commands: &[Control]) -> Result<Value, String> {
        let begun = Instant::now();
        let results = self.shard.command(commands);
        let results = results.map_err(|error| self.fault_text().unwrap_or(error.to_string()))?;
        let refused: Vec<Value> = results
            .iter()
            .enumerate()
            .filter(|(_, (outcome, _))| *outcome == Outcome::Rejected)
            .map(|(place, (_, reason))| json!({ "place": place, "reason": reason.name() }))
            .collect();
        let mut answer = json!({
            "ok": true,
            "accepted": results.len() - refused.len(),
            "refused": refused,
            "next_sequence": self.shard.shard().header().next_sequence.get(),
            "took_ns": begun.elapsed().as_nanos() as u64,
        });
        self.note_durable(&mut answer);
        Ok(answer)
    }

    /// Settlement marks of a batch.
    pub(crate) fn marks(&mut self, epoch: u64, marks: &[(u32, u32, i64)]) -> Result<Value, String> {
        let commands: Vec<Control> = marks
            .iter()
            .map(|&(account, asset, covered)| {
                let mark = SettlementMark {
                    account,
                    asset,
                    covered,
                    epoch,
                };
                Control::new(ControlKind::SettlementMark, &mark)
            })
            .collect();
        self.many(&commands)
    }

    /// Limits of un-co-signed outflow.
    pub(crate) fn limits(&mut self, limits: &[(u32, u32, Option<u64>)]) -> Result<Value, String> {
        let commands: Vec<Control> = limits
            .iter()
            .map(|&(account, asset, limit)| {
                let limit = limit.unwrap_or(AMOUNT_MAX);
                Control::new(
                    ControlKind::SetLimit,
                    &SetLimit {
                        account,
                        asset,
                        limit,
                    },
                )
            })
            .collect();
        self.many(&commands)
    }

    /// Halts what is traded in an asset or paid in it; what stands still already is left as it is.
    pub(crate) fn halt_asset(&mut self, name: &str) -> Result<Value, String> {
        let (asset, _) = self.asset(name)?;
        let (mut halted, mut asked, mut commands) = (Vec::new(), Vec::new(), Vec::new());
        for (index, plan) in (0_u32..).zip(&self.market.plan.instruments) {
            let of_it = plan.base_asset == asset || plan.quote_asset == asset;
            if !of_it || self.shard.instrument(index).is_none() {
                continue;
            }
            halted.push(plan.symbol.clone());
            if self.market_state(index) == Some(State::Halted) {
                continue;
            }
            let state = State::Halted as u32;
            asked.push(plan.symbol.clone());
            commands.push(Control::new(
                ControlKind::SetState,
                &SetState {
                    instrument: index,
                    state,
                },
            ));
        }
        let results = self.shard.command(&commands);
        let results = results.map_err(|error| self.fault_text().unwrap_or(error.to_string()))?;
        let refused = asked.iter().zip(&results).find(|(_, (outcome, reason))| {
            *outcome == Outcome::Rejected && *reason != Reason::None
        });
        match refused {
            Some((symbol, (_, reason))) => Err(format!(
                "{symbol} could not be halted: {}; halt the shard (`ring0 ctl halt`)",
                rejected(*reason)
            )),
            None => {
                let outcome = match asked.is_empty() {
                    true => "known",
                    false => "accepted",
                };
                Ok(json!({ "ok": true, "outcome": outcome, "instruments": halted }))
            }
        }
    }
}
