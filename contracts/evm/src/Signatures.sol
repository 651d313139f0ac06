// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title Who signed
/// @dev One form only, 64 bytes (EIP-2098), with s in the lower half of the order: a signature cannot be rewritten into
/// another valid one. Who holds 65 bytes (r, s, v) folds v into s before the call.
library Signatures {
    error SignatureInvalid();
    error SignatureHighS(bytes32 s);
    error SignatureLength(uint256 length);

    /// @dev Half of secp256k1's order, rounded down.
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
    /// @dev ERC-1271's answer for "yes": the function's own selector.
    bytes4 private constant MAGIC = 0x1626ba7e;
    /// @dev Enough for a multisignature wallet of several owners, too little to make the caller's transaction expensive.
    uint256 private constant WALLET_GAS = 100_000;

    /// @dev Never zero.
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal pure returns (address signer) {
        uint256 s = uint256(vs) & type(uint256).max >> 1;
        if (s > HALF_ORDER) revert SignatureHighS(bytes32(s));
        signer = ecrecover(digest, uint8(27 + (uint256(vs) >> 255)), r, bytes32(s));
        if (signer == address(0)) revert SignatureInvalid();
    }

    /// @dev By key if the bytes are a key's signature of `owner`, else by asking `owner` (ERC-1271). An account with code
    /// and a key (EIP-7702) passes by either.
    function isOwners(address owner, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        if (owner.code.length == 0) {
            if (signature.length != 64) revert SignatureLength(signature.length);
            return recover(digest, bytes32(signature[:32]), bytes32(signature[32:])) == owner;
        }
        if (signature.length == 64) {
            bytes32 vs = bytes32(signature[32:]);
            uint256 s = uint256(vs) & type(uint256).max >> 1;
            if (
                s <= HALF_ORDER
                    && ecrecover(digest, uint8(27 + (uint256(vs) >> 255)), bytes32(signature[:32]), bytes32(s)) == owner
            ) return true;
        }
        return walletSays(owner, abi.encodeWithSelector(MAGIC, digest, signature));
    }

    /// @dev Assembly, because Solidity copies all that a callee returns: only 32 bytes are read here, whatever comes back.
    function walletSays(address wallet, bytes memory question) private view returns (bool) {
        bool answered;
        bytes32 answer;
        assembly ("memory-safe") {
            answered := staticcall(WALLET_GAS, wallet, add(question, 32), mload(question), 0, 32)
            answered := and(answered, gt(returndatasize(), 31))
            answer := mload(0)
        }
        return answered && answer == bytes32(MAGIC);
    }
}
