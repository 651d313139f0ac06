// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import "../Scene.sol";
import {Wallet} from "../Wallets.sol";

/// @dev OpenZeppelin's domain, at an address and under a chain id of the test's choice.
contract Domain is EIP712("Ring0 Channel Hub", "1") {
    function hash(bytes32 structHash) external view returns (bytes32) {
        return _hashTypedDataV4(structHash);
    }
}

contract Asker {
    function isOwners(address owner, bytes32 digest, bytes calldata signature) external view returns (bool) {
        return Signatures.isOwners(owner, digest, signature);
    }

    function recover(bytes32 digest, bytes32 r, bytes32 vs) external pure returns (address) {
        return Signatures.recover(digest, r, vs);
    }
}

/// @dev Our signing against OpenZeppelin's, which `london` cannot compile.
contract OpenZeppelinTest is Scene {
    Asker internal asker = new Asker();

    /// @dev The two agree where the live chain id is the lineage; ours does not move when the id does.
    function testFuzzDigestEqualsOpenZeppelins(uint64 lineage, bytes32 structHash) public {
        vm.chainId(lineage);
        Domain domain = new Domain();
        bytes32 ours = Messages.digest(Messages.hubDomain(lineage, address(domain)), structHash);
        require(ours == domain.hash(structHash), "digest");
        vm.chainId(uint64(lineage ^ 1));
        require(ours != domain.hash(structHash), "theirs follows the live id");
    }

    function testFuzzRecoverEqualsOpenZeppelins(uint256 key, bytes32 digest, bytes32 noise) public view {
        key = key % (0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - 1) + 1;
        Signature memory s = sign(key, digest);
        require(asker.recover(digest, s.r, s.vs) == vm.addr(key), "signer");
        require(ECDSA.recover(digest, s.r, s.vs) == vm.addr(key), "signer of theirs");
        // Damaged: the same answer, or both refuse.
        bytes32 vs = s.vs ^ noise;
        (address theirs, ECDSA.RecoverError problem,) = ECDSA.tryRecover(digest, s.r, vs);
        try asker.recover(digest, s.r, vs) returns (address ours) {
            require(problem == ECDSA.RecoverError.NoError && ours == theirs, "damaged");
        } catch {
            require(problem != ECDSA.RecoverError.NoError, "refused by ours alone");
        }
    }

    function testFuzzOwnersSignatureEqualsOpenZeppelins(uint256 key, bytes32 digest, bool wallet, bool wrong) public {
        key = key % 1e60 + 1;
        address owner = wallet ? address(new Wallet(vm.addr(key))) : vm.addr(key);
        Signature memory s = sign(wrong ? key + 1 : key, digest);
        // Theirs takes 65 bytes from keys.
        bytes memory theirForm = wallet
            ? bytesOf(s)
            : abi.encodePacked(s.r, uint256(s.vs) & type(uint256).max >> 1, uint8(27 + (uint256(s.vs) >> 255)));
        bool theirs = SignatureChecker.isValidSignatureNow(owner, digest, theirForm);
        require(asker.isOwners(owner, digest, bytesOf(s)) == theirs, "owner's signature");
        require(theirs == !wrong, "and it is right");
    }
}
