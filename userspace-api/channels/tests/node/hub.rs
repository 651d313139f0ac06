//! The hub's calls, as `contracts/evm/src/Types.sol` and `IChannelHub.sol` have them.

alloy_sol_types::sol! {
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
    struct Channel { address owner; address cosigner; address token; uint64 nonce; }
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
    struct Signature { bytes32 r; bytes32 vs; }
    struct SumNode { bytes32 hash; uint128 balance; uint128 excess; }
    struct Sibling { bytes32 hash; uint256 sums; }
    struct EntryProof {
        uint256 position;
        bytes32[] path;
        uint40 epoch;
        bytes32 previous;
        Signature signature;
    }
    struct LeafProof {
        uint128 excess;
        uint256 position;
        Sibling[] path;
        EntryProof entry;
    }
    struct CoSignature {
        uint64 account;
        uint256 position;
        bytes32[] path;
        Signature signature;
        bytes grant;
    }
    function open(address cosigner, address token, uint64 nonce, uint128 amount) external payable returns (bytes32);
    function dispute(Channel c, State s, CoSignature trader, Signature operator) external;
    function disputeByLeaf(Channel c, State s, CoSignature trader, bytes leafProof) external;
    function disputeRecorded(Channel c) external;
    function refute(Channel c, State s, CoSignature trader, Signature operator) external;
    function settle(Channel c) external;
    function post(address token, SumNode root, bytes entryProof) external;
    function pin(uint256 number) external returns (bytes32);
    function fundVault(address token, uint128 amount) external payable;
    error VersionNotNewer(uint40 recorded, uint40 given);
    error AccountRootMismatch(bytes32 stated, bytes32 computed);
    error WindowOpen(uint40 deadline);
    error BranchUnknown(bytes32 branch);
    error BlockNotConfirmed(uint256 number, uint256 earliest);
}

impl From<ring0_channels::key::Signature> for Signature {
    fn from(signature: ring0_channels::key::Signature) -> Signature {
        Signature {
            r: signature.r,
            vs: signature.vs,
        }
    }
}
