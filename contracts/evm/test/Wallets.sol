// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IChannelHub} from "../src/IChannelHub.sol";

/// @dev A contract wallet with one key, which can be rotated.
contract Wallet {
    address public key;

    constructor(address key_) {
        key = key_;
    }

    function rotate(address key_) external {
        key = key_;
    }

    function call(address target, uint256 value, bytes calldata data) external returns (bytes memory) {
        (bool done, bytes memory answer) = target.call{value: value}(data);
        if (!done) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view virtual returns (bytes4) {
        bytes32 vs = bytes32(signature[32:64]);
        address signer = ecrecover(
            digest,
            uint8(27 + (uint256(vs) >> 255)),
            bytes32(signature[:32]),
            bytes32(uint256(vs) & type(uint256).max >> 1)
        );
        return signer == key ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }

    receive() external payable {}
}

/// @dev Says yes to everything, burns all gas, or returns a megabyte: what `mode` says.
contract LyingWallet {
    uint256 public mode;

    function lie(uint256 mode_) external {
        mode = mode_;
    }

    fallback() external payable {
        uint256 m = mode;
        assembly {
            switch m
            case 0 {
                // yes, to everything
                mstore(0, 0x1626ba7e00000000000000000000000000000000000000000000000000000000)
                return(0, 32)
            }
            case 1 { for {} 1 {} {} }
            case 2 { return(0, 90000) }
            case 3 {
                // the magic value in the wrong half
                mstore(0, 0x1626ba7e)
                return(0, 32)
            }
            case 4 {
                // too short an answer
                mstore(0, 0x1626ba7e00000000000000000000000000000000000000000000000000000000)
                return(0, 4)
            }
        }
    }
}

/// @dev Calls the hub back when it is paid.
contract ReentrantReceiver {
    IChannelHub private hub;
    bytes private attack;
    bytes public answer;
    bool public tried;

    function aim(IChannelHub hub_, bytes calldata attack_) external {
        (hub, attack) = (hub_, attack_);
    }

    receive() external payable {
        tried = true;
        (, answer) = address(hub).call(attack);
    }
}

/// @dev Refuses ETH as long as it likes, and then takes what was kept for it.
contract RefusingReceiver {
    bool public refuses = true;

    function collect(IChannelHub hub, address recipient) external {
        hub.collect(address(0), recipient);
    }

    receive() external payable {
        require(!refuses, "refused");
    }
}
