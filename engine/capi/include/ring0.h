/* The native engine of Ring0 behind a C interface. Written by the tests of engine/capi from its sources:
 * do not edit. What each call means beyond its comment, ownership and threads: engine/capi/README.md. */

#ifndef RING0_H
#define RING0_H

#include <stddef.h>
#include <stdint.h>

/* Nothing went wrong. */
#define RING0_REASON_NONE 0

/* Not taken: a client sequence is missing before this packet; send from the expected one. */
#define RING0_REASON_HOLE 1

/* Not taken: the packet begins below and ends above the expected client sequence; send from the expected one. */
#define RING0_REASON_STRADDLE 2

/* Not taken: another processor holds the shard; send the packet again. */
#define RING0_REASON_BUSY 3

/* Not taken: the record ring is full; only packets that reduce risk are taken from its last eighth. */
#define RING0_REASON_RING_FULL 4

/* Not taken: over the message rate of the session or of its account; wait and send again. */
#define RING0_REASON_RATE_LIMITED 5

/* Not taken: the shard is halted, by its operator or by a fault. */
#define RING0_REASON_HALTED 6

/* Answered before, more than the session's window ago; the content is no longer stored. */
#define RING0_REASON_ANSWERED 7

/* The client reference is not above the last one of the session. */
#define RING0_REASON_REFERENCE_NOT_RISING 16

/* The session is killed: only cancels and reduces work until it is revived. */
#define RING0_REASON_SESSION_KILLED 17

/* The session's grant has expired: only cancels and reduces work. */
#define RING0_REASON_SESSION_EXPIRED 18

/* What the command names is frozen by a continuation that is not finished. */
#define RING0_REASON_CONTINUING 19

/* The packet has caused its share of fills; send the rest in another packet. */
#define RING0_REASON_PACKET_FILLS 20

/* The account is killed: only cancels and reduces work until it is revived. */
#define RING0_REASON_ACCOUNT_KILLED 22

/* These instructions exclude each other, see docs/matching.md. */
#define RING0_REASON_NOT_TOGETHER 23

/* The trade group is not the account's. */
#define RING0_REASON_WRONG_TRADE_GROUP 24

/* No instrument is listed under this locate. */
#define RING0_REASON_UNKNOWN_INSTRUMENT 32

/* The stock field is neither spaces nor the instrument's symbol. */
#define RING0_REASON_STOCK_MISMATCH 33

/* The instrument is halted: only cancels and reduces work. */
#define RING0_REASON_INSTRUMENT_HALTED 34

/* The locate is not that of the order's instrument. */
#define RING0_REASON_WRONG_INSTRUMENT 35

/* The instrument is closed: only cancels and reduces work. */
#define RING0_REASON_MARKET_CLOSED 36

/* Orders are being collected for an auction, which takes limit orders that may rest, and stops. */
#define RING0_REASON_NOT_IN_AUCTION 37

/* Another shard trades this instrument: the ack's quantity is its UDP port. */
#define RING0_REASON_WRONG_SHARD 38

/* The price is not a whole number of ticks. */
#define RING0_REASON_NOT_A_TICK 48

/* The shares are not a whole number of lots. */
#define RING0_REASON_NOT_A_LOT 49

/* More lots than the instrument takes in one order. */
#define RING0_REASON_ORDER_TOO_LARGE 50

/* The price is outside the instrument's ladder. */
#define RING0_REASON_OFF_LADDER 51

/* The price is outside the instrument's price band. */
#define RING0_REASON_PRICE_BAND 52

/* Price times quantity is above the instrument's limit for one order. */
#define RING0_REASON_NOTIONAL_TOO_LARGE 53

/* The available balance does not cover the order with its highest fee. */
#define RING0_REASON_FUNDS 54

/* The account's un-co-signed exposure could pass its limit; co-sign a batch first. */
#define RING0_REASON_UNSETTLED_LIMIT 55

/* The post-only order would have traded at entry. */
#define RING0_REASON_WOULD_CROSS 56

/* The fill-or-kill order cannot be filled whole, or not the minimum quantity of an order. */
#define RING0_REASON_NOT_FILLABLE 57

/* Fill-or-kill or a minimum quantity would have to look at more orders than a command may. */
#define RING0_REASON_FOK_TOO_DEEP 58

/* The price is too far from the last trade. */
#define RING0_REASON_DYNAMIC_BAND 59

/* The price is too far beyond the best price of the other side. */
#define RING0_REASON_FAT_FINGER 60

/* The trigger price is not a whole number of ticks, or not on the ladder. */
#define RING0_REASON_BAD_TRIGGER 61

/* The stop's trigger is reached already; send the order without one. */
#define RING0_REASON_WOULD_TRIGGER 62

/* The expiry has passed. */
#define RING0_REASON_ALREADY_EXPIRED 63

/* The order pool is full. */
#define RING0_REASON_BOOK_FULL 64

/* The price level pool is full. */
#define RING0_REASON_LEVELS_FULL 65

/* Too many older live orders of the session share this reference's place. */
#define RING0_REASON_TOO_MANY_LIVE 66

/* All peg queues of this side of the instrument are in use by other kinds, offsets or limits. */
#define RING0_REASON_PEGS_FULL 67

/* More shares than the session or the account may ask in one order. */
#define RING0_REASON_RISK_SHARES 68

/* Price times quantity is more than the session or the account may ask in one order. */
#define RING0_REASON_RISK_NOTIONAL 69

/* The session or the account has as many live orders as it may have. */
#define RING0_REASON_RISK_ORDERS 70

/* No live order of the session has this reference. */
#define RING0_REASON_UNKNOWN_ORDER 80

/* The letter is none of ours. */
#define RING0_REASON_FIELD_LETTER 96

/* Tracking is not zero in a message that has no flags. */
#define RING0_REASON_TRACKING_NOT_ZERO 97

/* The timestamp is not zero. */
#define RING0_REASON_TIMESTAMP_NOT_ZERO 98

/* The high half of a client reference is not zero. */
#define RING0_REASON_REFERENCE_TOO_LARGE 99

/* A client reference is zero. */
#define RING0_REASON_REFERENCE_ZERO 100

/* The side is not one of the message's letters. */
#define RING0_REASON_SIDE_UNKNOWN 101

/* The shares are zero. */
#define RING0_REASON_SHARES_ZERO 102

/* Tracking has a bit that is not defined. */
#define RING0_REASON_FLAG_UNKNOWN 103

/* The time in force is not one of ours. */
#define RING0_REASON_TIME_IN_FORCE_UNKNOWN 104

/* The self-trade rule is not one of ours. */
#define RING0_REASON_SELF_TRADE_UNKNOWN 105

/* Post-only both as reject and as slide. */
#define RING0_REASON_POST_ONLY_TWICE 106

/* Post-only and immediate-or-cancel or fill-or-kill exclude each other. */
#define RING0_REASON_POST_ONLY_IMMEDIATE 107

/* Post-only and market exclude each other. */
#define RING0_REASON_POST_ONLY_MARKET 108

/* Good till time without an expiry; use `O`. */
#define RING0_REASON_EXPIRY_MISSING 109

/* An expiry without good till time. */
#define RING0_REASON_EXPIRY_UNASKED 110

/* The expiry is not a second of the day. */
#define RING0_REASON_EXPIRY_TOO_LATE 111

/* The minimum quantity is above the quantity. */
#define RING0_REASON_MINIMUM_ABOVE_SHARES 112

/* The displayed quantity is above the quantity. */
#define RING0_REASON_DISPLAY_ABOVE_SHARES 113

/* A hidden order has no displayed quantity. */
#define RING0_REASON_DISPLAY_OF_HIDDEN 114

/* The peg kind is not 0, `P` or `M`. */
#define RING0_REASON_PEG_UNKNOWN 115

/* A peg offset without a peg. */
#define RING0_REASON_PEG_OFFSET_UNASKED 116

/* The scope is neither `S` nor `A`. */
#define RING0_REASON_SCOPE_UNKNOWN 117

/* The kill byte is neither 0 nor 1. */
#define RING0_REASON_KILL_UNKNOWN 118

/* A reserved byte is not zero. */
#define RING0_REASON_RESERVED_NOT_ZERO 119

/* The index is outside the capacity that the shard was made with. */
#define RING0_REASON_INDEX_OUT_OF_RANGE 128

/* The account is not open. */
#define RING0_REASON_UNKNOWN_ACCOUNT 129

/* The account is open already. */
#define RING0_REASON_ACCOUNT_OPEN 130

/* The amount is zero, or the venue's total would reach 2^63. */
#define RING0_REASON_BAD_AMOUNT 131

/* The instrument is listed already. */
#define RING0_REASON_ALREADY_LISTED 132

/* A listing parameter is zero or out of range, or the largest order could pass 2^63. */
#define RING0_REASON_BAD_LISTING 133

/* The ladder pool has no room for this instrument. */
#define RING0_REASON_LADDER_FULL 134

/* The session is granted already; close it first. */
#define RING0_REASON_SESSION_OPEN 135

/* No such session is granted. */
#define RING0_REASON_UNKNOWN_SESSION 136

/* A grant parameter is out of range. */
#define RING0_REASON_BAD_GRANT 137

/* The pools of answers or references have no room for this session. */
#define RING0_REASON_WINDOWS_FULL 138

/* The session still has live orders; cancel them first. */
#define RING0_REASON_ORDERS_LIVE 139

/* The control command is not known. */
#define RING0_REASON_UNKNOWN_CONTROL 140

/* The instrument's market state does not allow this. */
#define RING0_REASON_BAD_STATE 141

/* The book is crossed: it must be uncrossed before continuous trading. */
#define RING0_REASON_BOOK_CROSSED 142

/* The session has sent something since: its client sequence is not the one named. */
#define RING0_REASON_SESSION_ALIVE 143

/* Venue time has not come to it yet. */
#define RING0_REASON_TOO_EARLY 144

/* A setting is out of range. */
#define RING0_REASON_BAD_SETTING 145

/* An instrument is not closed. */
#define RING0_REASON_NOT_CLOSED 146

/* The number is not that of the account's next transfer, or of the one in flight. */
#define RING0_REASON_TRANSFER_NUMBER 147

/* A transfer of the account is in flight; it is finished first. */
#define RING0_REASON_TRANSFER_PENDING 148

/* The transfer has come in already. */
#define RING0_REASON_TRANSFER_KNOWN 149


// Version of this header. A library with another number from `ring0_abi_version` must not be used with it.
#define RING0_ABI_VERSION 2

// The call was carried out; of an order: it was accepted and is done.
#define RING0_ACCEPTED 0

// The engine refused it: the reason says why, nothing else changed.
#define RING0_REJECTED 1

// Begun but not finished, because the event queue is full: take events out, then `ring0_step`.
#define RING0_CONTINUES 2

// Not taken because the event queue is full: nothing changed; take events out and submit again.
#define RING0_NOT_TAKEN 3

// A pointer that must not be null is null.
#define RING0_NULL -1

// A field has a value that no order or option can have; `ring0_last_error` names it.
#define RING0_ARGUMENT -2

// The trader is not below the number of traders.
#define RING0_TRADER -3

// The instrument is not below the number of instruments.
#define RING0_INSTRUMENT -4

// The asset is not below the number of assets.
#define RING0_ASSET -5

// Memory for the engine is short, or it does not fit 4 GiB.
#define RING0_MEMORY -6

// An invariant did not hold. The engine takes no further call but `ring0_destroy`.
#define RING0_BROKEN -7

// A trader has used every client reference up to 2^32 - 1.
#define RING0_EXHAUSTED -8

// No deposits at creation: every trader begins with nothing.
#define RING0_NO_DEPOSITS 1

// Events are dropped instead of queued, for measuring the engine alone.
#define RING0_NO_EVENTS 2

// Commands are events too: every message with what became of it, every step, every control command.
#define RING0_COMMAND_EVENTS 4

// Asset in which every instrument is paid.
#define RING0_CASH 0

// Mass cancel: every instrument. Event: no instrument.
#define RING0_ALL UINT32_MAX

// Side of a buy, the letter B.
#define RING0_BUY 66

// Side of a sell, the letter S.
#define RING0_SELL 83

// Side of a mass cancel of both sides.
#define RING0_BOTH 32

// A new order.
#define RING0_NEW 0

// New price and quantity for a live order; it keeps its place only at the same price with no more lots.
#define RING0_REPLACE 1

// Lots off a live order.
#define RING0_REDUCE 2

// A live order leaves.
#define RING0_CANCEL 3

// All of a trader's orders leave, of one instrument or side if asked.
#define RING0_MASS_CANCEL 4

// Until the day is closed.
#define RING0_DAY 0

// Until cancelled, over days.
#define RING0_GTC 1

// What does not trade at once is cancelled.
#define RING0_IOC 2

// All of it at once or nothing.
#define RING0_FOK 3

// Until `expiry_s`.
#define RING0_GTT 4

// Flag: rejected when it would take.
#define RING0_POST_ONLY 8

// Flag: moved away to rest when it would take.
#define RING0_POST_SLIDE 16

// Flag: rests without being shown.
#define RING0_HIDDEN 256

// Flag: takes any price up to its own; a price of 0 is no bound at all.
#define RING0_MARKET 512

// Self-trade: as the account is set up.
#define RING0_STP_DEFAULT 0

// Self-trade: the incoming order is cancelled.
#define RING0_STP_CANCEL_NEWEST 1

// Self-trade: the resting order is cancelled.
#define RING0_STP_CANCEL_OLDEST 2

// Self-trade: both are cancelled.
#define RING0_STP_CANCEL_BOTH 3

// Self-trade: both lose the smaller of the two quantities.
#define RING0_STP_DECREMENT 4

// Peg to the own side's best price, the letter P.
#define RING0_PEG_PRIMARY 80

// Peg to the middle of the market, the letter M.
#define RING0_PEG_MIDPOINT 77

// Mass cancel: the trader's own orders (0 means the same), the letter S.
#define RING0_SCOPE_SESSION 83

// Mass cancel: the orders of the trader's account, the letter A.
#define RING0_SCOPE_ACCOUNT 65

// Event: a message was carried out or rejected (only with `RING0_COMMAND_EVENTS`).
#define RING0_EVENT_MESSAGE 1

// Event: a step of a long sweep, of triggered stops or of a mass cancel (only with `RING0_COMMAND_EVENTS`).
#define RING0_EVENT_STEP 2

// Event: a control command such as a deposit (only with `RING0_COMMAND_EVENTS`).
#define RING0_EVENT_CONTROL 3

// Event: an order came to rest at the end of its price level or peg queue, displayed or not.
#define RING0_EVENT_RESTED 16

// Event: one fill of an incoming order.
#define RING0_EVENT_FILLED 17

// Event: an order left without having been filled whole.
#define RING0_EVENT_REMOVED 18

// Event: a resting order lost some lots and kept its place.
#define RING0_EVENT_REDUCED 19

// Event: an order was replaced.
#define RING0_EVENT_REPLACED 20

// Event: a stop order waits for its trigger.
#define RING0_EVENT_ARMED 21

// Event: a stop order was triggered and enters the book; what follows is about it.
#define RING0_EVENT_TRIGGERED 22

// Event: an iceberg's displayed lots were used up; the next ones stand at the end of its price level.
#define RING0_EVENT_REFILLED 23

// Event: self-trade prevention took the same lots off two orders.
#define RING0_EVENT_DECREMENTED 24

// Event: one fill of an auction.
#define RING0_EVENT_CROSSED 25

// Event: an auction is done.
#define RING0_EVENT_UNCROSSED 26

// Event: the state of an instrument's market changed.
#define RING0_EVENT_STATE_CHANGED 27

// A native engine and what the caller need not know.
typedef struct ring0_engine ring0_engine;

// How an engine is made. Begin with `ring0_options_default` and change what differs.
typedef struct ring0_options {
  // Most events that wait to be polled, in 64-byte records: at least 16,384, or 0 for no bound but memory. While fewer
  // than a packet could need are free, new orders are `RING0_NOT_TAKEN`; an eighth is kept for cancels.
  uint64_t events_max;
  // What every trader is given of every asset; 0: ample (2^62 in all, shared alike by the traders).
  uint64_t deposit;
  // Null, or one string of 1 to 8 printable ASCII characters for each instrument. Read during the call only.
  const char *const *symbols;
  // Instruments, 1 to 65,535. The first is 0.
  uint32_t instruments;
  // Traders, 1 to 2^20: each has an account and a session. The first is 0.
  uint32_t traders;
  // Live orders of all instruments together.
  uint32_t orders;
  // Price levels in use at one time, those of hidden orders and stops and peg queues too; 0: as many as orders and ticks can need.
  uint32_t levels;
  // Prices of each instrument, at most 2^24: `price_base` to `price_base + ticks - 1`.
  uint32_t ticks;
  // Lowest price in ticks; not 0.
  uint32_t price_base;
  // Most lots in one order; not 0.
  uint32_t lots_max;
  // Maker fee in millionths of price times lots; negative: a rebate, at most the taker fee.
  int32_t maker_ppm;
  // Taker fee in millionths of price times lots, at most 100,000.
  uint32_t taker_ppm;
  // `RING0_NO_DEPOSITS`, `RING0_NO_EVENTS`, `RING0_COMMAND_EVENTS`, or-ed.
  uint32_t flags;
} ring0_options;

// One instruction of a trader. Begin with zeros and set what is used: zero means "not asked" everywhere.
typedef struct ring0_order {
  // Who.
  uint32_t trader;
  // Of which instrument; `RING0_ALL` only in a mass cancel.
  uint32_t instrument;
  // New: the trader's own name for the order, above all that it used before, or 0 to be given the next one. Replace,
  // reduce, cancel: the live order. Mass cancel: echoed only.
  uint32_t reference;
  // Replace: the new name, as `reference` of a new order. Else 0.
  uint32_t new_reference;
  // Price in ticks.
  uint32_t price;
  // Quantity in lots; reduce: how many to take off.
  uint32_t lots;
  // Least lots to be filled at entry, else it is rejected; 0: none.
  uint32_t minimum;
  // Displayed lots of an iceberg; 0: all.
  uint32_t display;
  // Trigger price of a stop in ticks; 0: none.
  uint32_t trigger;
  // With `RING0_GTT`: second of the day, 1 to 86,399.
  uint32_t expiry_s;
  // `RING0_POST_ONLY`, `RING0_POST_SLIDE`, `RING0_HIDDEN`, `RING0_MARKET`, or-ed.
  uint16_t flags;
  // 0: self-trade prevention goes by the account. Else the account's trade group, which a trader here has not.
  uint16_t trade_group;
  // `RING0_NEW` and the following.
  uint8_t action;
  // `RING0_BUY` or `RING0_SELL`; mass cancel: also `RING0_BOTH`, or 0 for the same. Else not looked at.
  uint8_t side;
  // `RING0_DAY` and the following.
  uint8_t time_in_force;
  // `RING0_STP_DEFAULT` and the following.
  uint8_t self_trade;
  // 0, `RING0_PEG_PRIMARY` or `RING0_PEG_MIDPOINT`.
  uint8_t peg;
  // Offset of the peg in ticks.
  int8_t peg_offset;
  // Mass cancel: 0, `RING0_SCOPE_SESSION` or `RING0_SCOPE_ACCOUNT`.
  uint8_t scope;
  // Mass cancel: 1 also stops the trader's trading until `ring0_revive`.
  uint8_t kill;
  // Zero.
  uint32_t reserved[2];
} ring0_order;

// What became of an order.
typedef struct ring0_ack {
  // Id of the order: of a new one its own, of a replaced one the id it has now. 0 where no order is meant or found.
  uint64_t order_id;
  // Sequence number of the command's record; 0 when it was not taken.
  uint64_t sequence;
  // The order's reference, given or asked; of a replace the new one.
  uint32_t reference;
  // Lots filled at entry, reduced or cancelled; mass cancel: orders cancelled.
  uint32_t lots;
  // `RING0_ACCEPTED`, `RING0_REJECTED`, `RING0_CONTINUES` or `RING0_NOT_TAKEN`.
  int32_t outcome;
  // Why: one of `RING0_REASON_...`, 0 for none.
  uint32_t reason;
} ring0_ack;

// What a trader has of an asset.
typedef struct ring0_balance {
  // Free to be ordered with or withdrawn.
  uint64_t available;
  // Held for live orders.
  uint64_t held;
} ring0_balance;

// Something that happened, in the order in which it happened. Fields that a kind does not have are zero.
typedef struct ring0_event {
  // Sequence number of the record, rising; of a fill it is the match number.
  uint64_t sequence;
  // The order; of a fill the taker; of an auction's fill the buy; of a replace the order as it is now; of a step the order that sweeps or was triggered.
  uint64_t order_id;
  // Replaced: the id before, equal when the place was kept.
  uint64_t previous_id;
  // Filled, decremented: the resting order. Crossed: the sell.
  uint64_t maker_id;
  // Filled, decremented: the incoming order. Crossed: the buy.
  uint64_t taker_id;
  // Filled: fee of the maker in cash, negative for a rebate. Crossed: of the seller.
  int64_t maker_fee;
  // Filled: fee of the taker in cash. Crossed: of the buyer.
  int64_t taker_fee;
  // Uncrossed: lots traded in the whole auction.
  uint64_t volume;
  // One of `RING0_EVENT_...`; a number that is none of these is of a later version and may be skipped.
  uint32_t kind;
  // Index of the instrument, or `RING0_ALL` where the event is not about one.
  uint32_t instrument;
  // Whose order; of a fill the taker; of an auction's fill the buyer.
  uint32_t trader;
  // Filled, decremented: whose resting order. Crossed: the seller.
  uint32_t maker_trader;
  // Filled, decremented: whose incoming order. Crossed: the buyer.
  uint32_t taker_trader;
  // Client reference; none where two orders meet.
  uint32_t reference;
  // Price in ticks; of a fill the maker's, of an auction its own, of a peg at rest and of a stop the limit.
  uint32_t price;
  // Lots filled, come to rest, armed, triggered, removed, taken off, or newly open after a replace; refilled: open; message and step: as in `ring0_ack`.
  uint32_t lots;
  // Lots open after the event: rested, reduced, replaced, armed, triggered, refilled.
  uint32_t open;
  // Lots displayed after the event: rested, reduced, replaced in its place, refilled.
  uint32_t shown;
  // Armed, triggered: trigger price in ticks.
  uint32_t trigger;
  // Replaced: lots that were open before.
  uint32_t previous_lots;
  // Message, step, control: `RING0_ACCEPTED`, `RING0_REJECTED` or `RING0_CONTINUES`.
  int32_t outcome;
  // Message, control: why it was rejected.
  uint32_t reason;
  // `RING0_BUY` or `RING0_SELL`, of the order; where two orders meet the taker's; of an auction and a state 0.
  uint8_t side;
  // Removed: the letter of the cause, U user, I remainder of an immediate order, M mass cancel, K kill, H halted, T self-trade, E expired, Y
  // end of day, L delisted, O off the ladder, V volatility pause, D disconnected, P operator.
  uint8_t removal;
  // Removed: 1 if it rested in the book.
  uint8_t rested;
  // Replaced: 1 if it kept its place.
  uint8_t kept;
  // Message: its letter on the wire.
  uint8_t letter;
  // State changed: 0 closed, 1 pre-open, 2 opening auction, 3 continuous, 4 volatility pause, 5 closing auction, 6 halted, 7 uncrossing.
  uint8_t state;
  // State changed: the one before.
  uint8_t state_before;
  // Uncrossed: 1 while the book is still crossed.
  uint8_t crossed;
} ring0_event;

// One price level.
typedef struct ring0_level {
  // Open lots of its orders together; 0: there is no such level.
  uint64_t lots;
  // Price in ticks.
  uint32_t price;
  // Orders.
  uint32_t orders;
} ring0_level;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// `RING0_ABI_VERSION` of the library.
uint32_t ring0_abi_version(void);

// Fills `options` with what suits a benchmark: one instrument of 131,072 ticks, 16 traders with ample deposits, 1,048,576
// orders, no fees.
int32_t ring0_options_default(struct ring0_options *options);

// Makes an engine; `options` null: the defaults. Writes the engine to `*engine`, null on failure. The caller owns it and gives it
// back with `ring0_destroy`.
//
// # Safety
// `options` and `engine` are null or point to their type; `options->symbols` is null or has a string for each instrument.
int32_t ring0_create(const struct ring0_options *options,
                     struct ring0_engine **engine);

// Frees an engine; null is allowed, and a broken one too.
//
// # Safety
// `engine` is null or from `ring0_create`, not destroyed before and not in use by another thread.
void ring0_destroy(struct ring0_engine *engine);

// The text of the last error of this thread, "" when there was none. Good until the next call on this thread that fails.
const char *ring0_last_error(void);

// Name of a reason, "Unknown" for a number that is none. Never freed.
const char *ring0_reason_name(uint32_t reason);

// What the sender can do about a reason, in a sentence. Never freed.
const char *ring0_reason_help(uint32_t reason);

// Carries out one order, whatever its action. Gives its outcome (0 to 3) or an error (below 0, and nothing happened).
// `ack` may be null.
int32_t ring0_submit(struct ring0_engine *engine, const struct ring0_order *order, struct ring0_ack *ack);

// Carries out `count` orders in their order, as few packets as may be: up to 68 orders of one trader travel together.
// `acks` is null or has room for `count`. Gives how many were accepted, or an error. After an error for what an order is (null, argument,
// trader, instrument, exhausted) nothing happened.
//
// # Safety
// `orders` has `count` orders; `acks` is null or has room for as many.
int64_t ring0_submit_batch(struct ring0_engine *engine,
                           const struct ring0_order *orders,
                           size_t count,
                           struct ring0_ack *acks);

// A limit order that trades what it can and rests with what is left. Outcome and `ack` as in `ring0_submit`.
int32_t ring0_limit(struct ring0_engine *engine,
                    uint32_t trader,
                    uint32_t instrument,
                    uint8_t side,
                    uint32_t price,
                    uint32_t lots,
                    struct ring0_ack *ack);

// A limit order that trades what it can; what is left is cancelled. Outcome and `ack` as in `ring0_submit`.
int32_t ring0_ioc(struct ring0_engine *engine,
                  uint32_t trader,
                  uint32_t instrument,
                  uint8_t side,
                  uint32_t price,
                  uint32_t lots,
                  struct ring0_ack *ack);

// A limit order that trades all or nothing. Outcome and `ack` as in `ring0_submit`.
int32_t ring0_fok(struct ring0_engine *engine,
                  uint32_t trader,
                  uint32_t instrument,
                  uint8_t side,
                  uint32_t price,
                  uint32_t lots,
                  struct ring0_ack *ack);

// A limit order that is rejected where it would trade at entry. Outcome and `ack` as in `ring0_submit`.
int32_t ring0_post_only(struct ring0_engine *engine,
                        uint32_t trader,
                        uint32_t instrument,
                        uint8_t side,
                        uint32_t price,
                        uint32_t lots,
                        struct ring0_ack *ack);

// An order at any price; what is left is cancelled. Outcome and `ack` as in `ring0_submit`.
int32_t ring0_market(struct ring0_engine *engine,
                     uint32_t trader,
                     uint32_t instrument,
                     uint8_t side,
                     uint32_t lots,
                     struct ring0_ack *ack);

// Takes a live order of the trader away. Outcome and `ack` as in `ring0_submit`.
int32_t ring0_cancel(struct ring0_engine *engine,
                     uint32_t trader,
                     uint32_t instrument,
                     uint32_t reference,
                     struct ring0_ack *ack);

// Takes lots off a live order of the trader, which keeps its place; all of them and more: the order leaves. Outcome and
// `ack` as in `ring0_submit`.
int32_t ring0_reduce(struct ring0_engine *engine,
                     uint32_t trader,
                     uint32_t instrument,
                     uint32_t reference,
                     uint32_t lots,
                     struct ring0_ack *ack);

// Gives a live order of the trader a new price and quantity. `ack->reference` names it from now on. Outcome and `ack` as in
// `ring0_submit`.
int32_t ring0_replace(struct ring0_engine *engine,
                      uint32_t trader,
                      uint32_t instrument,
                      uint32_t reference,
                      uint32_t price,
                      uint32_t lots,
                      struct ring0_ack *ack);

// Takes all orders of the trader away, of an instrument or `RING0_ALL`, of a side or `RING0_BOTH`. Outcome and `ack` as in
// `ring0_submit`.
int32_t ring0_mass_cancel(struct ring0_engine *engine,
                          uint32_t trader,
                          uint32_t instrument,
                          uint8_t side,
                          struct ring0_ack *ack);

// Lets a trader trade again after a mass cancel with `kill`.
int32_t ring0_revive(struct ring0_engine *engine, uint32_t trader);

// Says that the day has come to `second`, 1 to 86,400 since midnight: `RING0_GTT` orders up to it leave. Rejected (the text says why) where
// `ring0_set_time` has not said so much.
int32_t ring0_expire(struct ring0_engine *engine,
                     uint32_t second);

// Gives a trader `amount` of an asset: `RING0_CASH` or what `ring0_base_asset` says. Rejected (the text says why) for an amount of 0
// and where the total of the asset would reach 2^63.
int32_t ring0_deposit(struct ring0_engine *engine,
                      uint32_t trader,
                      uint32_t asset,
                      uint64_t amount);

// Takes `amount` of an asset from what the trader has available.
int32_t ring0_withdraw(struct ring0_engine *engine, uint32_t trader, uint32_t asset, uint64_t amount);

// What a trader has of an asset.
int32_t ring0_balance_of(struct ring0_engine *engine, uint32_t trader, uint32_t asset, struct ring0_balance *balance);

// The asset that an instrument trades against `RING0_CASH`, or an error.
int64_t ring0_base_asset(struct ring0_engine *engine, uint32_t instrument);

// Sets the clock of the calls that follow, in nanoseconds since midnight. It begins at 0 and moves by this call alone; the
// engine's own time never goes back.
int32_t ring0_set_time(struct ring0_engine *engine,
                       uint64_t time_ns);

// Goes on with what `RING0_CONTINUES` left: `RING0_ACCEPTED` when nothing is pending any more, else `RING0_CONTINUES`, and events
// must be taken out first.
int32_t ring0_step(struct ring0_engine *engine);

// Takes out the oldest events, at most `count`, and gives how many, or an error.
//
// # Safety
// `events` has room for `count`.
int64_t ring0_poll(struct ring0_engine *engine, struct ring0_event *events, size_t count);

// How many 64-byte records of events wait (an event has one; a message or control command two), or an error.
int64_t ring0_waiting(struct ring0_engine *engine);

// The best bid and ask of an instrument; `lots` is 0 where a side is empty. Each pointer may be null.
int32_t ring0_best(struct ring0_engine *engine, uint32_t instrument, struct ring0_level *bid, struct ring0_level *ask);

// The best levels of a side, best first, at most `count`; gives how many, or an error.
//
// # Safety
// `levels` has room for `count`.
int64_t ring0_depth(struct ring0_engine *engine,
                    uint32_t instrument,
                    uint8_t side,
                    struct ring0_level *levels,
                    size_t count);

// BLAKE3 of the whole state: equal for equal histories, in the kernel and natively. `hash` has room for 32 bytes.
//
// # Safety
// `hash` has room for 32 bytes.
int32_t ring0_state_hash(struct ring0_engine *engine, uint8_t *hash);

// Walks the whole state and checks every invariant. `RING0_BROKEN` where one does not hold; `ring0_last_error` says which.
int32_t ring0_check(struct ring0_engine *engine);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RING0_H */
