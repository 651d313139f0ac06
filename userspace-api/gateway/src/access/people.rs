//! The gateway's question "who is asking, and what may it do to this account", answered by `ring0-identity`.

use crate::authority::{Asked, Authority, Right, Who};
use crate::problem::Problem;
use ring0_identity::records::Through;
use ring0_identity::{Caller, Identity, Permission, Request};
use std::sync::Arc;

/// People, organisations and API keys as an [`Authority`].
#[derive(Clone, Debug)]
pub struct People(pub Arc<Identity>);

struct Member {
    identity: Arc<Identity>,
    caller: Caller,
}

fn permission(right: Right) -> Permission {
    match right {
        Right::Read => Permission::ReadAccounts,
        Right::Trade => Permission::PlaceOrders,
        Right::Cancel => Permission::CancelOrders,
        Right::Withdraw => Permission::RequestWithdrawal,
        Right::Cosign => Permission::HandInCosignatures,
    }
}

impl Who for Member {
    fn name(&self) -> String {
        match self.caller.through() {
            Through::Login(login) => format!("login {login}"),
            Through::ApiKey(key) => format!("api key {key}"),
        }
    }

    fn may(&self, right: Right, account: u32) -> Result<(), Problem> {
        let permission = permission(right);
        // A withdrawal's signature by the owner key is in the request itself; whoever takes it looks at it.
        // As it is now: a role may have changed since a stream began.
        let caller = self.identity.renew(&self.caller)?;
        Ok(caller.may_bring(permission, account)?)
    }

    fn accounts(&self) -> Vec<u32> {
        self.caller.accounts().to_vec()
    }

    fn still(&self) -> Result<(), Problem> {
        self.identity.renew(&self.caller)?;
        Ok(())
    }
}

impl Authority for People {
    fn who(&self, asked: &Asked<'_>) -> Result<Arc<dyn Who>, Problem> {
        let caller = self.0.authenticate(&Request {
            method: asked.method,
            path: asked.path,
            query: asked.query,
            body: asked.body,
            authorization: asked.header("authorization"),
            cookie: asked.header("cookie"),
            origin: asked.header("origin"),
            organisation: asked.header("ring0-organisation"),
            from: asked.from,
        })?;
        let identity = Arc::clone(&self.0);
        Ok(Arc::new(Member { identity, caller }))
    }
}
