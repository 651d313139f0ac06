// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IChannelHub} from "../src/IChannelHub.sol";
import {Channel} from "../src/Types.sol";

contract Token is ERC20("Token", "TKN") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @dev Keeps one hundredth of every transfer.
contract FeeToken is Token {
    function _update(address from, address to, uint256 value) internal override {
        if (from != address(0) && to != address(0)) {
            super._update(from, address(0xFEE), value / 100);
            value -= value / 100;
        }
        super._update(from, to, value);
    }
}

/// @dev Calls the hub back while it is being deposited.
contract ReentrantToken is Token {
    IChannelHub private hub;
    Channel private channel;
    bytes public answer;

    function aim(IChannelHub hub_, Channel calldata channel_) external {
        hub = hub_;
        channel = channel_;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (address(hub) != address(0) && to == address(hub)) {
            (, answer) = address(hub).call(abi.encodeCall(hub.deposit, (channel, uint128(value))));
        }
    }
}

/// @dev Refuses transfers to whom it does not like.
contract BlacklistToken is Token {
    mapping(address => bool) public refused;

    function refuse(address account, bool value) external {
        refused[account] = value;
    }

    function _update(address from, address to, uint256 value) internal override {
        require(!refused[to], "refused");
        super._update(from, to, value);
    }
}
