// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Agreements} from "./Agreements.sol";
import {Freezes} from "./Freezes.sol";
import {IHubAnnex} from "./IChannelHub.sol";
import {IProofs} from "./IProofs.sol";
import {Checkpoints} from "./Checkpoints.sol";
import {Pins} from "./Pins.sol";
import {Registry} from "./Registry.sol";
import {FundsWord, Record, Funds} from "./Slots.sol";
import {Treasury} from "./Treasury.sol";
import {ChannelStatus, Settings} from "./Types.sol";

/// @title The hub's second half: code only, run by the hub on the hub's storage. Alone it holds nothing and takes no money.
/// @dev All storage is declared in bases that both halves share, so its layout is the same; `check` compares the two.
contract HubAnnex is Agreements, Checkpoints, Treasury, Freezes, Pins {
    constructor(Settings memory s, IProofs proofs_) Registry(s, msg.sender, proofs_) Pins(s) {}

    /// @inheritdoc IHubAnnex
    function channelOf(bytes32 channel) external view override returns (ChannelStatus memory c) {
        Funds f = funds[channel];
        Record r = records[channel];
        c.deposited = f.deposited();
        c.withdrawn = f.withdrawn();
        c.moved = _moved(channel, f);
        c.closed = f.has(FundsWord.CLOSED);
        c.version = r.version();
        c.base = r.base();
        c.deadline = r.deadline();
        c.epoch = r.epoch();
        c.security = r.security();
    }
}
