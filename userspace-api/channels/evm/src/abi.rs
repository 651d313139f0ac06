//! The hub's calls, events and errors, as `contracts/evm/src/Types.sol` and `IChannelHub.sol` have them; a test compares them with what the compiler made.

#![allow(
    missing_docs,
    reason = "said where they are declared, in IChannelHub.sol"
)]

use alloy_primitives::U256;
use alloy_primitives::aliases::U40;
use alloy_sol_types::SolValue;
use ring0_channels::evidence::{Evidence, EvidenceError, GrantProof, Holding, LeafProof as Leaf};
use ring0_channels::key;
use ring0_channels::message::{KIND_TRADING, Terms};

alloy_sol_types::sol! {
    #[derive(Debug)]
    struct Settings {
        uint256 lineage;
        bytes32 venue;
        address operator;
        address treasury;
        uint40 anchor;
        uint40 window;
        uint40 grace;
        uint40 vaultDelay;
        uint32 pinEvery;
        uint32 confirmations;
        uint40 firstEpoch;
    }
    #[derive(Debug)]
    struct Channel { address owner; address cosigner; address token; uint64 nonce; }
    #[derive(Debug)]
    struct State {
        uint40 version;
        uint128 balance;
        uint128 depositedSeen;
        uint128 withdrawnSeen;
        uint40 epoch;
        uint8 kind;
        bytes32 accountRoot;
        bytes32 branch;
    }
    #[derive(Debug)]
    struct Signature { bytes32 r; bytes32 vs; }
    #[derive(Debug)]
    struct CoSignature {
        uint64 account;
        uint256 position;
        bytes32[] path;
        Signature signature;
        bytes grant;
    }
    #[derive(Debug)]
    struct Grant {
        address session;
        uint40 expiry;
        uint40 firstEpoch;
        uint40 lastEpoch;
        uint128 floor;
        int128 startBase;
        uint128 outflow;
        uint256 position;
        bytes32[] path;
        Signature signature;
    }
    #[derive(Debug)]
    struct SumNode { bytes32 hash; uint128 balance; uint128 excess; }
    #[derive(Debug)]
    struct Sibling { bytes32 hash; uint256 sums; }
    #[derive(Debug)]
    struct EntryProof {
        uint256 position;
        bytes32[] path;
        uint40 epoch;
        bytes32 previous;
        Signature signature;
    }
    #[derive(Debug)]
    struct LeafProof {
        uint128 excess;
        uint256 position;
        Sibling[] path;
        EntryProof entry;
    }
    #[derive(Debug)]
    struct Withdrawal {
        Channel channel;
        uint128 withdrawn;
        address recipient;
        bytes32 branch;
        uint40 deadline;
        Signature owner;
        Signature operator;
    }
    #[derive(Debug)]
    struct Closing {
        Channel channel;
        uint128 balance;
        uint128 depositedSeen;
        uint128 withdrawnSeen;
        address recipient;
        bytes32 branch;
        uint40 deadline;
        Signature owner;
        Signature operator;
    }
    #[derive(Debug)]
    struct ChannelStatus {
        uint256 deposited;
        uint256 withdrawn;
        int256 moved;
        bool closed;
        uint40 version;
        int256 base;
        uint40 deadline;
        uint40 epoch;
        uint24 security;
    }
    #[derive(Debug)]
    struct VaultStatus {
        uint256 balance;
        uint256 locked;
        uint256 outstanding;
        uint256 owed;
        uint24 number;
        uint40 epoch;
        uint40 postedAt;
    }

    #[derive(Debug)]
    interface ChannelHub {
        function open(address cosigner, address token, uint64 nonce, uint128 amount) external payable returns (bytes32 channel);
        function deposit(Channel calldata c, uint128 amount) external payable;
        function withdraw(Withdrawal calldata w) external;
        function close(Closing calldata c) external;
        function dispute(Channel calldata c, State calldata s, CoSignature calldata trader, Signature calldata operator) external;
        function disputeByLeaf(Channel calldata c, State calldata s, CoSignature calldata trader, bytes calldata leafProof) external;
        function disputeRecorded(Channel calldata c) external;
        function refute(Channel calldata c, State calldata s, CoSignature calldata trader, Signature calldata operator) external;
        function refuteByLeaf(Channel calldata c, State calldata s, CoSignature calldata trader, bytes calldata leafProof) external;
        function checkpoint(Channel calldata c, State calldata s, CoSignature calldata trader, Signature calldata operator) external;
        function settle(Channel calldata c) external;
        function collectClaim(Channel calldata c) external;
        function fundVault(address token, uint128 amount) external payable;
        function post(address token, SumNode calldata root, bytes calldata entryProof) external;
        function pin(uint256 number) external returns (bytes32 branch);
        function channelOf(bytes32 channel) external view returns (ChannelStatus memory status);
        function cosignerOf(Channel calldata c) external view returns (address cosigner);
        function vaultOf(address token) external view returns (VaultStatus memory status);
        function claimOf(Channel calldata c) external view returns (uint256 left, uint256 funded);
        function pins(bytes32 branch) external view returns (uint256 number);
        function frozenAt() external view returns (uint40 time);
        function lineage() external view returns (uint256 lineage);
        function operator() external view returns (address operator);
        function venueDomain() external view returns (bytes32 separator);
        function hubDomain() external view returns (bytes32 separator);
        function window() external view returns (uint40 seconds_);

        event Opened(bytes32 indexed channel, address indexed owner, address cosigner, address token, uint64 nonce, uint256 amount);
        event Deposited(bytes32 indexed channel, uint256 amount, uint256 deposited);
        event Withdrawn(bytes32 indexed channel, address recipient, uint256 amount, uint256 withdrawn);
        event Closed(bytes32 indexed channel, address recipient, uint256 amount);
        event Disputed(bytes32 indexed channel, uint40 version, int256 base, uint40 deadline);
        event Refuted(bytes32 indexed channel, uint40 version, int256 base, uint24 security);
        event Checkpointed(bytes32 indexed channel, uint40 version, int256 base);
        event Disclosed(uint64 indexed account, uint40 epoch, bytes32 accountRoot, bytes32 r, bytes32 vs);
        event GrantDisclosed(uint64 indexed account, bytes grant);
        event Settled(bytes32 indexed channel, uint256 amount, uint256 claim);
        event Frozen(uint8 reason);

        error ConfigInvalid(string what);
        error PartyInvalid(address party);
        error ChannelUsed(bytes32 channel);
        error ChannelNotOpen(bytes32 channel);
        error ChannelClosed(bytes32 channel);
        error ChannelInDispute(bytes32 channel, uint40 deadline);
        error ChannelNotInDispute(bytes32 channel);
        error HubFrozen();
        error AmountTooLarge(uint256 amount, uint256 max);
        error AmountIsZero();
        error ValueWrong(uint256 expected, uint256 given);
        error TokenAmountWrong(uint256 expected, uint256 received);
        error Expired(uint40 deadline);
        error WrongSigner(address expected, address recovered);
        error OwnerRefused(address owner);
        error NotParty(address caller);
        error KindUnknown(uint8 kind);
        error VersionNotNewer(uint40 recorded, uint40 given);
        error EpochRewinds(uint40 recorded, uint40 given);
        error BranchUnknown(bytes32 branch);
        error AccountRootMismatch(bytes32 stated, bytes32 computed);
        error WindowOver(uint40 deadline);
        error WindowOpen(uint40 deadline);
        error WithdrawnNotMore(uint256 recorded, uint256 given);
        error NotCovered(uint256 amount, uint256 available);
        error SessionRevoked(address session, uint40 fromEpoch, uint40 epoch);
        error BatchOlderThanState(uint40 batch, uint40 state);
        error ExcessAboveVault(uint256 excess, uint256 vault);
        error EpochNotNewer(uint40 posted, uint40 given);
        error BlockNotConfirmed(uint256 number, uint256 earliest);
        error BlockOutOfReach(uint256 number);
        error NothingToCollect();
        error GasTooLow(uint256 left, uint256 needed);
        error ProofRefused();
        error EpochOutsideGrant(uint40 epoch, uint40 first, uint40 last);
        error BelowFloor(uint256 balance, uint256 floor);
        error OutflowExceeded(int256 base, int256 startBase, uint256 outflow);
    }
}

impl From<&Terms> for Channel {
    fn from(terms: &Terms) -> Channel {
        Channel {
            owner: terms.owner,
            cosigner: terms.cosigner,
            token: terms.token,
            nonce: terms.nonce,
        }
    }
}

impl From<key::Signature> for Signature {
    fn from(signature: key::Signature) -> Signature {
        Signature {
            r: signature.r,
            vs: signature.vs,
        }
    }
}

fn word(number: u64) -> U40 {
    // Evidence was verified, which bounds it to 40 bits.
    U40::saturating_from(number)
}

/// A state as the hub takes it.
///
/// # Errors
/// The state's way leads nowhere.
pub fn state(holding: &Holding, newest: &Evidence) -> Result<State, EvidenceError> {
    Ok(State {
        version: word(newest.version),
        balance: newest.balance,
        depositedSeen: newest.deposited_seen,
        withdrawnSeen: newest.withdrawn_seen,
        epoch: word(newest.epoch),
        kind: KIND_TRADING,
        accountRoot: newest.account_root(holding.channel())?,
        branch: newest.branch,
    })
}

impl From<&Evidence> for CoSignature {
    fn from(newest: &Evidence) -> CoSignature {
        let grant = newest.grant.as_ref().map(|it| Grant::from(it).abi_encode());
        CoSignature {
            account: newest.account,
            position: U256::from(newest.position),
            path: newest.path.clone(),
            signature: newest.cosignature.into(),
            grant: grant.unwrap_or_default().into(),
        }
    }
}

impl From<&GrantProof> for Grant {
    fn from(grant: &GrantProof) -> Grant {
        Grant {
            session: grant.session,
            expiry: word(grant.expiry),
            firstEpoch: word(grant.first_epoch),
            lastEpoch: word(grant.last_epoch),
            floor: grant.floor,
            startBase: grant.start_base,
            outflow: grant.outflow,
            position: U256::from(grant.position),
            path: grant.path.clone(),
            signature: grant.signature.into(),
        }
    }
}

impl From<&Leaf> for EntryProof {
    fn from(leaf: &Leaf) -> EntryProof {
        EntryProof {
            position: U256::from(leaf.entry_position),
            path: leaf.entry_path.clone(),
            epoch: word(leaf.epoch),
            previous: leaf.previous,
            signature: leaf.signature.into(),
        }
    }
}

impl From<&Leaf> for LeafProof {
    fn from(leaf: &Leaf) -> LeafProof {
        let sibling = |it: &ring0_channels::tree::Sums| Sibling {
            hash: it.hash,
            sums: U256::from(it.balance) << 128 | U256::from(it.excess),
        };
        LeafProof {
            excess: leaf.excess,
            position: U256::from(leaf.position),
            path: leaf.path.iter().map(sibling).collect(),
            entry: leaf.into(),
        }
    }
}
